//! What the core counts and measures.

mod histogram;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::time::Micros;
pub use histogram::Histogram;

/// The counters, gauges and latencies at one moment; `GET /metrics` tells all of them, in each of its formats.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MetricsSnapshot {
    /// WebSocket connections that are open.
    pub active_connections: u64,
    /// Messages stored since the start.
    pub messages_sent: u64,
    /// Frames dropped because their reader was too slow; messages never are.
    pub dropped_broadcasts: u64,
    /// Webhooks called since the start.
    pub delivery_attempts: u64,
    /// Those that did not succeed.
    pub delivery_failures: u64,
    /// REST requests answered since the start, handshakes included.
    pub requests_answered: u64,
    /// Steps that wait for the store in its write lane.
    pub pending_store_writes: u64,
    /// Steps that wait for the store in its read lane.
    pub pending_store_reads: u64,
    /// Answers of the store that came too late for anyone.
    pub late_store_replies: u64,
    /// Since the start.
    pub uptime: Micros,
    /// From a REST request's arrival at the core to its answer. What is answered without the core is not in it, nor are
    /// handshakes.
    pub rest_latency: Histogram,
    /// From a step's submission to the store's reply, be that late.
    pub store_latency: Histogram,
    /// From the call of a webhook to its outcome.
    pub delivery_latency: Histogram,
    /// What only the driver knows.
    pub process: ProcessGauges,
}

/// Gauges of the process around the core: zero as the core gives them, filled in by the driver before the answer is
/// encoded ([`crate::api::Answer::add_process_gauges`]). So recordings hold nothing that a replay could not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessGauges {
    /// Length of the store's write-ahead log, in bytes.
    pub wal_bytes: u64,
    /// Steps in the writer's queue, those in the present transaction not counted.
    pub queued_writes: u64,
    /// Steps that no reader has taken up.
    pub queued_reads: u64,
    /// Effects that wait to be carried out: answers, pushes of frames.
    pub queued_effects: u64,
    /// Bytes of request bodies and WebSocket messages that are not answered or not complete, as far as the budget for them
    /// counts: those over 16 KiB.
    pub incoming_bytes: u64,
}

/// What only grows.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) messages_sent: u64,
    pub(crate) dropped_broadcasts: u64,
    /// Nothing delivers in this version.
    pub(crate) delivery_attempts: u64,
    pub(crate) delivery_failures: u64,
    pub(crate) requests_answered: u64,
    pub(crate) late_store_replies: u64,
    pub(crate) rest_latency: Histogram,
    pub(crate) store_latency: Histogram,
    pub(crate) delivery_latency: Histogram,
}
