//! `unread`: the list of rooms for a user who has read nothing of a room of a million messages.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::{Failures, Outcome};
use crate::error::{Result, excerpt, fail};
use crate::fill::{Full, READER, fill};
use crate::histogram::Histogram;
use crate::json;
use crate::poller::Poller;
use crate::server::Server;
use crate::setup::Tenant;
use crate::usage::{Meter, round};

/// The list may take so long, by its median.
const P50_LIMIT_MS: f64 = 5.0;
/// What a room of so many unread messages is told to have.
const COUNTED_MAX: u64 = 1_000;

/// The list of rooms, with one that is full of unread messages
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Messages in the room, none of them read
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    messages: u64,
    /// How often the list is read
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    requests: u32,
}

#[derive(Debug, Serialize)]
struct Line {
    load: &'static str,
    messages: u64,
    unread_count: u64,
    p50_ms: f64,
    p50_limit_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    read_p50_ms: f64,
    server_cpu_us: Option<f64>,
    errors: u64,
}

/// Fills the database.
pub(crate) fn prepare(directory: &Path, args: &Args) -> Result<()> {
    fill(directory, 1, args.messages)
}

/// Runs the load.
pub(crate) fn run(server: &Server, _poller: &Poller, args: &Args) -> Result<Outcome> {
    if server.directory().is_none() {
        return fail("this load fills a database first: it needs a server of its own");
    }
    let full = Full::new(1);
    let mut tenant = Tenant::existing(server, &full.api_key())?;
    let mut unread = 0;
    let meter = Meter::start(server)?;
    let latencies = list(&mut tenant, args.requests, &mut unread)?;
    let usage = meter.read()?;
    let mut failures = Failures::default();
    if unread != COUNTED_MAX {
        failures.add(format!("unread_count is {unread}"));
    }
    let p50 = latencies.quantile_ms(0.5);
    if p50 > P50_LIMIT_MS {
        failures.add(format!("p50 is {p50:.2} ms, the limit is {P50_LIMIT_MS}"));
    }
    // The same with nothing to count.
    let ack = format!(r#"{{"room_id":"{}","seq":{}}}"#, full.room_id(), args.messages);
    tenant.ask("POST", "/acks", READER, &ack)?;
    let read = list(&mut tenant, args.requests, &mut unread)?;
    if unread != 0 {
        failures.add(format!("unread_count is {unread} after all was read"));
    }
    let line = Line {
        load: "unread",
        messages: args.messages,
        unread_count: COUNTED_MAX,
        p50_ms: round(p50),
        p50_limit_ms: P50_LIMIT_MS,
        p99_ms: round(latencies.quantile_ms(0.99)),
        max_ms: round(latencies.max_ms()),
        read_p50_ms: round(read.quantile_ms(0.5)),
        server_cpu_us: usage.server_cpu.map(|cpu| round(cpu * 1e6 / f64::from(args.requests))),
        errors: failures.count,
    };
    Outcome::new(&line, failures)
}

/// Reads the list again and again; `unread` is what it tells of its one room.
fn list(tenant: &mut Tenant, count: u32, unread: &mut u64) -> Result<Histogram> {
    let mut latencies = Histogram::default();
    for _ in 0..count {
        let start = Instant::now();
        let body = tenant.ask("GET", "/rooms", READER, "")?;
        latencies.record(start.elapsed());
        let rooms = json::field(&body, "rooms").unwrap_or_default();
        let room = json::elements(rooms).next().unwrap_or_default();
        let Some(count) = json::field(room, "unread_count").and_then(json::number) else {
            return fail(format!("no unread_count in {}", excerpt(&body)));
        };
        *unread = count;
    }
    Ok(latencies)
}
