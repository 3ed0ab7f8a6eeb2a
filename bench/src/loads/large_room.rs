//! `large-room`: whether a message costs by who is online, not by who is a member; and who hears of acks and typing.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Failures, Outcome};
use crate::error::{Result, excerpt, fail};
use crate::histogram::Histogram;
use crate::json;
use crate::poller::Poller;
use crate::server::Server;
use crate::setup::{Tenant, content};
use crate::socket::{Opening, SCRATCH, Socket, is_type, open_all};
use crate::usage::{Meter, round, thread_seconds};

/// A message in the large room may cost so many times what it costs in the small one.
const COST_LIMIT: f64 = 1.3;
/// Before each round: what the last one left.
const SETTLE: Duration = Duration::from_millis(300);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many of those who are online talk.
const TALKERS: usize = 10;

/// A room of thousands of members, few of them online
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Members of the large room
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(101..=10_000))]
    members: u16,
    /// Members who are online, and all of the small room
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(10..=100))]
    online: u16,
    /// Rounds in each of the two rooms, in turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Messages of a round
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    messages: u64,
    /// Messages in flight on each of the WebSockets that send
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=100))]
    in_flight: u64,
}

#[derive(Debug, Serialize)]
struct Line {
    load: &'static str,
    members: u16,
    online: u16,
    create_ms: f64,
    small: Cost,
    large: Cost,
    cpu_ratio: Option<f64>,
    writer_ratio: Option<f64>,
    ratio_limit: f64,
    small_ack_heard_by: usize,
    large_ack_heard_by: usize,
    small_typing_heard_by: usize,
    large_typing_heard_by: usize,
    errors: u64,
}

/// Of a message in a room: the median of all rounds.
#[derive(Debug, Serialize)]
struct Cost {
    messages_per_second: f64,
    server_cpu_us: Option<f64>,
    writer_us: Option<f64>,
    p99_ms: f64,
}

/// Runs the load.
pub(crate) fn run(server: &Server, poller: &Poller, args: &Args) -> Result<Outcome> {
    let mut tenant = Tenant::create(server)?;
    let names: Vec<_> = (0..args.members).map(|user| format!("user-{user}")).collect();
    let members: Vec<_> = names.iter().map(String::as_str).collect();
    let online = usize::from(args.online);
    let small = tenant.create_room("group", &members[..online])?;
    let start = Instant::now();
    let large = tenant.create_room("group", &members)?;
    let create_ms = start.elapsed().as_secs_f64() * 1000.0;
    let opening = Opening {
        api_key: &tenant.api_key,
        users: &names[..online],
        in_flight: 64,
        sources: 8,
        timeout: Duration::from_secs(30),
    };
    let (sockets, _) = open_all(poller, server, &opening)?;
    let mut load = Load { poller, server, sockets, failures: Failures::default() };
    load.settle()?;

    // The first round in each is for the caches alone.
    load.round(&small, args)?;
    load.round(&large, args)?;
    let (mut in_small, mut in_large) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        in_small.push(load.round(&small, args)?);
        in_large.push(load.round(&large, args)?);
    }
    let acks = |load: &mut Load<'_>, room: &str| load.heard_by("ack", room, r#","seq":1"#, "ack.received");
    let typing = |load: &mut Load<'_>, room: &str| load.heard_by("typing.start", room, "", "typing");
    let (small_ack, large_ack) = (acks(&mut load, &small)?, acks(&mut load, &large)?);
    let (small_typing, large_typing) = (typing(&mut load, &small)?, typing(&mut load, &large)?);
    for (what, heard, right) in [
        ("the ack in the small room", small_ack, online),
        ("the ack in the large room", large_ack, 1),
        ("the typing in the small room", small_typing, online - 1),
        ("the typing in the large room", large_typing, 0),
    ] {
        if heard != right {
            load.failures.add(format!("{heard} heard of {what}, {right} should"));
        }
    }
    let (small, large) = (cost(in_small), cost(in_large));
    let ratio = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| round(a / b));
    let cpu_ratio = ratio(large.server_cpu_us, small.server_cpu_us);
    if cpu_ratio.is_some_and(|ratio| ratio > COST_LIMIT) {
        load.failures.add(format!("a message costs {cpu_ratio:?} times as much, the limit is {COST_LIMIT}"));
    }
    let line = Line {
        load: "large-room",
        members: args.members,
        online: args.online,
        create_ms: round(create_ms),
        cpu_ratio,
        writer_ratio: ratio(large.writer_us, small.writer_us),
        small,
        large,
        ratio_limit: COST_LIMIT,
        small_ack_heard_by: small_ack,
        large_ack_heard_by: large_ack,
        small_typing_heard_by: small_typing,
        large_typing_heard_by: large_typing,
        errors: load.failures.count,
    };
    Outcome::new(&line, load.failures)
}

fn cost(rounds: Vec<Cost>) -> Cost {
    let median = |of: fn(&Cost) -> Option<f64>| {
        let mut all: Vec<f64> = rounds.iter().filter_map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().map(round)
    };
    Cost {
        messages_per_second: median(|one| Some(one.messages_per_second)).unwrap_or_default(),
        server_cpu_us: median(|one| one.server_cpu_us),
        writer_us: median(|one| one.writer_us),
        p99_ms: median(|one| Some(one.p99_ms)).unwrap_or_default(),
    }
}

struct Load<'a> {
    poller: &'a Poller,
    server: &'a Server,
    sockets: Vec<Socket>,
    failures: Failures,
}

impl Load<'_> {
    /// Reads what is left, until nothing comes for a moment.
    fn settle(&mut self) -> Result<()> {
        let until = Instant::now() + SETTLE;
        while Instant::now() < until {
            self.pass(until, |_, _| Ok(()))?;
        }
        Ok(())
    }

    /// Waits once, and hands every text frame that came to `take`, with the socket's token.
    fn pass(&mut self, until: Instant, mut take: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let mut ready = Vec::new();
        let mut scratch = vec![0; SCRATCH];
        self.poller.wait(&mut ready, until)?;
        for token in ready {
            let socket = &mut self.sockets[token];
            socket.receive(&mut scratch)?;
            while let Some(length) = socket.next()? {
                take(token, socket.text(length))?;
            }
            socket.flush(self.poller)?;
        }
        Ok(())
    }

    /// Some talk in a closed loop until all has come to everyone.
    fn round(&mut self, room: &str, args: &Args) -> Result<Cost> {
        let frame = format!(r#"{{"type":"send_message","room_id":"{room}","content":"{}"}}"#, content(100));
        let meter = Meter::start(self.server)?;
        let writer = thread_seconds(self.server, "writer")?;
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut sent = 0;
        let mut sent_at = vec![std::collections::VecDeque::new(); TALKERS];
        let mut latencies = Histogram::default();
        let mut missing = args.messages * self.sockets.len() as u64;
        let mut send = |socket: &mut Socket, times: &mut std::collections::VecDeque<Instant>| {
            if sent < args.messages {
                sent += 1;
                socket.queue(frame.as_bytes());
                times.push_back(Instant::now());
            }
        };
        for (token, times) in sent_at.iter_mut().enumerate() {
            for _ in 0..args.in_flight {
                send(&mut self.sockets[token], times);
            }
            self.sockets[token].flush(self.poller)?;
        }
        while missing > 0 {
            let mut own = [0; TALKERS];
            self.pass(deadline, |token, text| {
                if is_type(text, "error") {
                    return fail(excerpt(text));
                }
                if is_type(text, "message") {
                    missing -= 1;
                    let sender = json::field(text, "sender_id").and_then(json::string);
                    let sender = sender.and_then(|sender| json::number(sender.strip_prefix(b"user-")?));
                    if token < TALKERS && sender == Some(token as u64) {
                        own[token] += 1;
                    }
                }
                Ok(())
            })?;
            for (token, times) in sent_at.iter_mut().enumerate() {
                for _ in 0..own[token] {
                    if let Some(sent_at) = times.pop_front() {
                        latencies.record(sent_at.elapsed());
                    }
                    send(&mut self.sockets[token], times);
                }
                if own[token] > 0 {
                    self.sockets[token].flush(self.poller)?;
                }
            }
            if Instant::now() > deadline {
                return fail(format!("{missing} messages did not come"));
            }
        }
        let writer = thread_seconds(self.server, "writer")?.zip(writer).map(|(end, start)| end - start);
        let usage = meter.read()?;
        self.settle()?;
        let each = |seconds: f64| seconds * 1e6 / args.messages as f64;
        Ok(Cost {
            messages_per_second: usage.per_second(args.messages),
            server_cpu_us: usage.server_cpu.map(each),
            writer_us: writer.map(each),
            p99_ms: latencies.quantile_ms(0.99),
        })
    }

    /// The first socket sends something; how many then hear of it, by a ping on each socket after it was served.
    fn heard_by(&mut self, kind: &str, room: &str, more: &str, told: &str) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        self.sockets[0].queue(format!(r#"{{"type":"{kind}","room_id":"{room}"{more}}}"#).as_bytes());
        self.sockets[0].flush(self.poller)?;
        let mut heard = vec![false; self.sockets.len()];
        let mut listen = |load: &mut Self| -> Result<usize> {
            let mut pongs = 0;
            load.pass(deadline, |token, text| {
                if is_type(text, "error") {
                    return fail(excerpt(text));
                }
                heard[token] |= is_type(text, told);
                pongs += usize::from(is_type(text, "pong"));
                Ok(())
            })?;
            Ok(pongs)
        };
        let until = Instant::now() + SETTLE;
        while Instant::now() < until {
            self.sockets[0].queue(br#"{"type":"ping"}"#);
            self.sockets[0].flush(self.poller)?;
            listen(self)?;
            self.poller.rest(Duration::from_millis(50))?;
        }
        for socket in &mut self.sockets {
            socket.queue(br#"{"type":"ping"}"#);
            socket.flush(self.poller)?;
        }
        let mut pongs = 0;
        while pongs < self.sockets.len() {
            pongs += listen(self)?;
            if Instant::now() > deadline {
                return fail("a ping was not answered");
            }
        }
        Ok(heard.iter().filter(|heard| **heard).count())
    }
}
