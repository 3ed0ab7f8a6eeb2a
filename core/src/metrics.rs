//! What the core counts.

use serde::{Deserialize, Serialize};

use crate::time::Micros;

/// The counters and gauges at one moment, named as `GET /metrics` names them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MetricsSnapshot {
    /// WebSocket connections that are open.
    pub active_connections: u64,
    /// Messages stored since the start.
    pub messages_sent: u64,
    /// Frames dropped because their reader was too slow; messages never are.
    pub dropped_broadcasts: u64,
    /// REST requests answered since the start, handshakes included.
    pub requests_answered: u64,
    /// Steps that wait for the store.
    pub pending_store_operations: u64,
    /// Answers of the store that came too late for anyone.
    pub late_store_replies: u64,
    /// Since the start.
    pub uptime: Micros,
}

/// What only grows.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) messages_sent: u64,
    pub(crate) dropped_broadcasts: u64,
    pub(crate) requests_answered: u64,
    pub(crate) late_store_replies: u64,
}
