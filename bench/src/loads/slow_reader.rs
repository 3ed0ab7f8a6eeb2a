//! `slow-reader`: what a client costs the others that reads nothing while its room fills, and whether it gets everything
//! in the end.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Failures, Outcome};
use crate::error::{Result, excerpt, fail};
use crate::exchange::{Circle, Exchange};
use crate::json;
use crate::poller::Poller;
use crate::server::Server;
use crate::setup::Tenant;
use crate::socket::{SCRATCH, Socket, is_type};
use crate::usage::{round, rss_kb};
use crate::ws;

/// The server's memory may grow by so much meanwhile.
const GROWTH_LIMIT_KB: f64 = 20.0 * 1024.0;
/// The others' p99 may be so many times what it is without a slow reader.
const SLOWDOWN_LIMIT: f64 = 2.0;
/// Messages a second in the other room.
const ELSEWHERE_PER_SECOND: f64 = 100.0;
/// How long the slow reader may take to get what it missed.
const CATCH_UP: Duration = Duration::from_secs(120);
/// How long it listens then while the others go on.
const LIVE: Duration = Duration::from_secs(3);
/// With nobody talking, all has come when nothing comes for so long.
const QUIET: Duration = Duration::from_millis(500);

const SAME_ROOM: usize = 0;
const OTHER_ROOM: usize = 1;

const WARM_UP: usize = 0;
const WITHOUT: usize = 1;
const WITH: usize = 2;
const AFTER: usize = 3;

/// A client that reads nothing for a while, and the others
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Messages that flow to the slow reader's room meanwhile
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    messages: u32,
    /// For how long it reads nothing; as long is measured without it before
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..=50))]
    seconds: u64,
    /// Bytes of each message's content
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u16).range(100..=4096))]
    size: u16,
}

#[derive(Debug, Serialize)]
struct Line {
    load: &'static str,
    messages_meanwhile: u64,
    seconds: u64,
    rss_before_kb: Option<u64>,
    rss_max_kb: Option<u64>,
    growth_kb: Option<f64>,
    growth_without_kb: Option<f64>,
    growth_limit_kb: f64,
    same_room_p99_without_ms: f64,
    same_room_p99_ms: f64,
    same_room_ratio: f64,
    other_room_p99_without_ms: f64,
    other_room_p99_ms: f64,
    other_room_ratio: f64,
    ratio_limit: f64,
    caught_up: u64,
    catch_up_seconds: f64,
    errors: u64,
}

/// Runs the load.
pub(crate) fn run(server: &Server, poller: &Poller, args: &Args) -> Result<Outcome> {
    let mut tenant = Tenant::create(server)?;
    let talkers: Vec<_> = ["alice", "bob", "carol"].map(str::to_owned).into();
    let others: Vec<_> = ["dave", "erin"].map(str::to_owned).into();
    let room = tenant.create_room("group", &["alice", "bob", "carol", "slow"])?;
    let elsewhere = tenant.create_room("group", &["dave", "erin"])?;
    let per_second = f64::from(args.messages) / args.seconds as f64;
    let size = args.size.into();
    let circles = vec![
        Circle { room: room.clone(), users: talkers, per_second, size, class: SAME_ROOM },
        Circle { room: elsewhere, users: others, per_second: ELSEWHERE_PER_SECOND, size, class: OTHER_ROOM },
    ];
    let exchange = Exchange::start(poller, server, &tenant.api_key, circles)?;
    // Page cache, log and allocator reach their size before anything is compared.
    poller.rest(Duration::from_secs(args.seconds.div_ceil(2)))?;
    let time = Duration::from_secs(args.seconds);
    let (before, highest) = spend(server, poller, &exchange, WITHOUT, time)?;
    let growth_without = growth(before, highest);

    let slow_poller = poller.another()?;
    let mut slow = SlowReader::connect(server, &slow_poller, &tenant.api_key)?;
    let (rss_before, rss_max) = spend(server, poller, &exchange, WITH, time)?;
    exchange.enter(AFTER);
    let start = Instant::now();
    slow.read_on(&slow_poller, |slow| slow.received >= u64::from(args.messages))?;
    let catch_up_seconds = start.elapsed().as_secs_f64();
    // The talk goes on: it must become live meanwhile.
    let live_at = Instant::now() + LIVE;
    slow.read_on(&slow_poller, |_| Instant::now() > live_at)?;
    let mut told = exchange.finish()?;
    slow.read_on(&slow_poller, |_| false)?;

    let sent: u64 = (WARM_UP..=AFTER).map(|phase| told.cell(SAME_ROOM, phase).sent).sum();
    let missed = told.cell(SAME_ROOM, WITH).sent;
    check_all(&slow, sent, missed, &mut told.failures);
    let growth_kb = growth(rss_before, rss_max);
    if growth_kb.is_some_and(|growth| growth > GROWTH_LIMIT_KB) {
        told.failures.add(format!("the memory grew by {growth_kb:?} kB, the limit is {GROWTH_LIMIT_KB}"));
    }
    let mut ratio = |class, name: &str| {
        let ratio = told.p99_ms(class, WITH) / told.p99_ms(class, WITHOUT).max(f64::MIN_POSITIVE);
        if ratio > SLOWDOWN_LIMIT {
            told.failures.add(format!("{name}: p99 is {ratio:.2} times what it was, the limit is {SLOWDOWN_LIMIT}"));
        }
        round(ratio)
    };
    let same_room_ratio = ratio(SAME_ROOM, "the same room");
    let other_room_ratio = ratio(OTHER_ROOM, "the other room");
    let line = Line {
        load: "slow-reader",
        messages_meanwhile: missed,
        seconds: args.seconds,
        rss_before_kb: rss_before,
        rss_max_kb: rss_max,
        growth_kb,
        growth_without_kb: growth_without,
        growth_limit_kb: GROWTH_LIMIT_KB,
        same_room_p99_without_ms: round(told.p99_ms(SAME_ROOM, WITHOUT)),
        same_room_p99_ms: round(told.p99_ms(SAME_ROOM, WITH)),
        same_room_ratio,
        other_room_p99_without_ms: round(told.p99_ms(OTHER_ROOM, WITHOUT)),
        other_room_p99_ms: round(told.p99_ms(OTHER_ROOM, WITH)),
        other_room_ratio,
        ratio_limit: SLOWDOWN_LIMIT,
        caught_up: slow.received,
        catch_up_seconds: round(catch_up_seconds),
        errors: told.failures.count,
    };
    Outcome::new(&line, told.failures)
}

/// Lets a phase pass; the memory at its start, and the most of it.
fn spend(
    server: &Server,
    poller: &Poller,
    exchange: &Exchange,
    phase: usize,
    time: Duration,
) -> Result<(Option<u64>, Option<u64>)> {
    exchange.enter(phase);
    let before = rss_kb(server)?;
    let mut highest = before;
    let until = Instant::now() + time;
    while Instant::now() < until {
        poller.rest(Duration::from_millis(200))?;
        highest = highest.max(rss_kb(server)?);
    }
    Ok((before, highest))
}

fn growth(before: Option<u64>, highest: Option<u64>) -> Option<f64> {
    before.zip(highest).map(|(before, highest)| highest as f64 - before as f64)
}

fn check_all(slow: &SlowReader, sent: u64, missed: u64, failures: &mut Failures) {
    if slow.received < missed {
        failures.add(format!("the slow reader got {}, it missed {missed}", slow.received));
    }
    if slow.last_seq != Some(sent) {
        failures.add(format!("the slow reader came to {:?}, of {sent} messages", slow.last_seq));
    }
    for gap in &slow.gaps {
        failures.add(gap.clone());
    }
}

struct SlowReader {
    socket: Socket,
    received: u64,
    last_seq: Option<u64>,
    /// Where a number came that is not the next.
    gaps: Vec<String>,
}

impl SlowReader {
    /// Connects without a backlog, and reads as far as `connected`.
    fn connect(server: &Server, poller: &Poller, api_key: &str) -> Result<Self> {
        let handshake = ws::handshake_at("/ws?sync=false", api_key, "slow");
        let socket = Socket::open(poller, 0, server, None, &handshake)?;
        let mut slow = Self { socket, received: 0, last_seq: None, gaps: Vec::new() };
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut scratch = vec![0; 512];
        let mut ready = Vec::new();
        while !slow.socket.is_greeted() {
            poller.wait(&mut ready, deadline)?;
            if Instant::now() > deadline {
                return fail("the slow reader was not greeted in time");
            }
            slow.read(poller, &mut scratch)?;
        }
        Ok(slow)
    }

    /// Reads as fast as it can until `is_over`, or until nothing came for a moment.
    fn read_on(&mut self, poller: &Poller, is_over: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + CATCH_UP;
        let mut scratch = vec![0; SCRATCH];
        let mut ready = Vec::new();
        while !is_over(self) {
            poller.wait(&mut ready, Instant::now() + QUIET)?;
            if ready.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return fail("the slow reader does not come to an end");
            }
            self.read(poller, &mut scratch)?;
        }
        Ok(())
    }

    fn read(&mut self, poller: &Poller, scratch: &mut [u8]) -> Result<()> {
        self.socket.receive(scratch)?;
        while let Some(length) = self.socket.next()? {
            let text = self.socket.text(length);
            if is_type(text, "error") {
                return fail(excerpt(text));
            }
            if !is_type(text, "message") {
                continue;
            }
            let seq = json::field(text, "seq").and_then(json::number);
            if self.last_seq.is_some_and(|last| seq != Some(last + 1)) && self.gaps.len() < 5 {
                self.gaps.push(format!("the slow reader got seq {seq:?} after {:?}", self.last_seq));
            }
            self.last_seq = seq;
            self.received += 1;
        }
        self.socket.flush(poller)
    }
}
