//! `many-rooms`: what it takes to connect for a user who is in thousands of rooms, and what others notice of it.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Outcome;
use crate::error::{Result, fail};
use crate::exchange::{Exchange, pairs};
use crate::histogram::Histogram;
use crate::poller::Poller;
use crate::server::Server;
use crate::setup::{Tenant, content};
use crate::socket::{self, SCRATCH, Socket};
use crate::usage::{round, thread_seconds};
use crate::ws;

/// Others' messages may take so long meanwhile, by their 99th percentile.
const OTHERS_LIMIT_MS: f64 = 50.0;
/// A room may add so much to a connect: far less than a query.
const ROOM_LIMIT_US: f64 = 30.0;
const FEW_ROOMS: u32 = 50;
const OTHERS: u16 = 50;
const OTHERS_PER_SECOND: f64 = 1_000.0;

const BEFORE: usize = 1;
const DURING: usize = 2;
const MISSED: usize = 3;

/// A user in thousands of rooms, who connects
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rooms of the user
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..=50_000))]
    rooms: u32,
    /// Connects of each user
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connects: u32,
}

#[derive(Debug, Serialize)]
struct Line {
    load: &'static str,
    rooms: u32,
    few_rooms: u32,
    few_p50_ms: f64,
    many_p50_ms: f64,
    many_max_ms: f64,
    us_per_room: f64,
    us_per_room_limit: f64,
    writer_ms_per_connect: Option<f64>,
    missed_in_each_ms: f64,
    others_p99_before_ms: f64,
    others_p99_during_ms: f64,
    others_max_during_ms: f64,
    others_limit_ms: f64,
    others_p99_missed_ms: f64,
    errors: u64,
}

/// Runs the load.
pub(crate) fn run(server: &Server, poller: &Poller, args: &Args) -> Result<Outcome> {
    let mut tenant = Tenant::create(server)?;
    let mut rooms = Vec::new();
    for number in 0..args.rooms {
        let other = format!("other-{}", number % 100);
        rooms.push(tenant.create_room("group", &["many", &other])?);
        if number < FEW_ROOMS {
            tenant.create_room("group", &["few", &other])?;
        }
    }
    let mut others = Tenant::create(server)?;
    let circles = pairs(&mut others, OTHERS, OTHERS_PER_SECOND)?;
    let exchange = Exchange::start(poller, server, &others.api_key, circles)?;
    poller.rest(Duration::from_secs(2))?;

    exchange.enter(BEFORE);
    poller.rest(Duration::from_secs(5))?;
    let few = connects(server, poller, &tenant.api_key, "few", args.connects)?;
    let writer_quiet = writer_rate(server, poller)?;
    exchange.enter(DURING);
    let (start, writer) = (Instant::now(), thread_seconds(server, "writer")?);
    let many = connects(server, poller, &tenant.api_key, "many", args.connects)?;
    let writer = thread_seconds(server, "writer")?.zip(writer).zip(writer_quiet).map(|((end, begin), quiet)| {
        (end - begin - quiet * start.elapsed().as_secs_f64()) * 1000.0 / f64::from(args.connects)
    });
    exchange.enter(0);
    tenant.reconnect(server)?;
    let text = content(100);
    for (number, room) in rooms.iter().enumerate() {
        tenant.send(room, &format!("other-{}", number % 100), &text)?;
    }
    exchange.enter(MISSED);
    let missed = connects(server, poller, &tenant.api_key, "many", 5)?;
    let mut told = exchange.finish()?;

    let us_per_room = (many.quantile_ms(0.5) - few.quantile_ms(0.5)) * 1000.0 / f64::from(args.rooms - FEW_ROOMS);
    if us_per_room > ROOM_LIMIT_US {
        told.failures.add(format!("a room takes {us_per_room:.1} µs of a connect, the limit is {ROOM_LIMIT_US}"));
    }
    let p99 = told.p99_ms(0, DURING);
    if p99 > OTHERS_LIMIT_MS {
        told.failures.add(format!("others: p99 is {p99:.1} ms meanwhile, the limit is {OTHERS_LIMIT_MS}"));
    }
    let line = Line {
        load: "many-rooms",
        rooms: args.rooms,
        few_rooms: FEW_ROOMS,
        few_p50_ms: round(few.quantile_ms(0.5)),
        many_p50_ms: round(many.quantile_ms(0.5)),
        many_max_ms: round(many.max_ms()),
        us_per_room: round(us_per_room),
        us_per_room_limit: ROOM_LIMIT_US,
        writer_ms_per_connect: writer.map(round),
        missed_in_each_ms: round(missed.quantile_ms(0.5)),
        others_p99_before_ms: round(told.p99_ms(0, BEFORE)),
        others_p99_during_ms: round(p99),
        others_max_during_ms: round(told.cell(0, DURING).latencies.max_ms()),
        others_limit_ms: OTHERS_LIMIT_MS,
        others_p99_missed_ms: round(told.p99_ms(0, MISSED)),
        errors: told.failures.count,
    };
    Outcome::new(&line, told.failures)
}

/// How long the writer is busy for the others alone, of each second.
fn writer_rate(server: &Server, poller: &Poller) -> Result<Option<f64>> {
    let (start, before) = (Instant::now(), thread_seconds(server, "writer")?);
    poller.rest(Duration::from_secs(3))?;
    let after = thread_seconds(server, "writer")?;
    Ok(after.zip(before).map(|(after, before)| (after - before) / start.elapsed().as_secs_f64()))
}

/// One connect after another, each from the first byte to `sync.complete`.
fn connects(server: &Server, poller: &Poller, api_key: &str, user: &str, count: u32) -> Result<Histogram> {
    let mut latencies = Histogram::default();
    let mut scratch = vec![0; SCRATCH];
    let mut ready = Vec::new();
    let handshake = ws::handshake(api_key, user);
    for _ in 0..count {
        let start = Instant::now();
        let deadline = start + Duration::from_secs(30);
        let mut socket = Socket::open(poller, 0, server, None, &handshake)?;
        while !socket.is_open() {
            poller.wait(&mut ready, deadline)?;
            if Instant::now() > deadline {
                return fail(format!("{user} did not catch up in time"));
            }
            socket::step(&mut socket, poller, &mut scratch)?;
        }
        latencies.record(start.elapsed());
        drop(socket);
        poller.rest(Duration::from_millis(20))?;
    }
    Ok(latencies)
}
