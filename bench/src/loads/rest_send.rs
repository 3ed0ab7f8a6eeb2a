//! `rest-send`: messages by REST over kept-alive connections, each in a closed loop, over many rooms.

use std::time::Instant;

use serde::Serialize;

use super::{Failures, Outcome, Window};
use crate::conn::Conn;
use crate::error::{Result, excerpt};
use crate::histogram::Histogram;
use crate::http;
use crate::json;
use crate::poller::Poller;
use crate::server::Server;
use crate::setup::{Tenant, content};
use crate::socket::SCRATCH;
use crate::usage::round;

/// A `seq` past this is taken for nonsense, so that noting it cannot eat the memory.
const SEQ_LIMIT: u64 = 100_000_000;

/// Messages by REST, in a closed loop
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kept-alive connections, each with one request in flight
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Group rooms of two members, in turns
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rooms: u16,
    /// Length of the measured window, after a second of warm-up
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Bytes of each message's content
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=4096))]
    size: u16,
}

#[derive(Debug, Serialize)]
struct Line {
    load: &'static str,
    connections: u16,
    rooms: u16,
    size: u16,
    messages: u64,
    seconds: f64,
    messages_per_second: f64,
    server_cpu_seconds: Option<f64>,
    messages_per_server_cpu_second: Option<f64>,
    client_cpu_seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    errors: u64,
    gapless: bool,
}

/// A room, and which of its seqs were answered.
#[derive(Debug)]
struct Room {
    id: String,
    reader: String,
    answered: Vec<bool>,
}

/// A connection and the request that it waits for.
#[derive(Debug)]
struct Lane {
    conn: Conn,
    room: usize,
    sent: Instant,
    waits: bool,
}

/// Runs the load.
pub(crate) fn run(server: &Server, poller: &Poller, args: &Args) -> Result<Outcome> {
    let mut tenant = Tenant::create(server)?;
    let mut rooms = Vec::new();
    let mut requests = [Vec::new(), Vec::new()];
    let body = format!(r#"{{"content":"{}"}}"#, content(args.size.into()));
    for number in 0..args.rooms {
        let members = [format!("alice-{number}"), format!("bob-{number}")];
        let id = tenant.create_room("group", &[&members[0], &members[1]])?;
        for (side, member) in requests.iter_mut().zip(&members) {
            side.push(tenant.request("POST", &format!("/rooms/{id}/messages"), member, &body));
        }
        let [reader, _] = members;
        rooms.push(Room { id, reader, answered: Vec::new() });
    }
    // All rooms from one side, then all from the other.
    let requests = requests.concat();

    let mut window = Window::new(server, args.seconds);
    let mut load = Load { poller, requests: &requests, rooms, next: 0, latencies: Histogram::default(), answers: 0 };
    let mut failures = Failures::default();
    load.run(server, &mut window, args.connections, &mut failures)?;

    let usage = window.usage()?;
    tenant.reconnect(server)?;
    let gapless = check(&mut tenant, &load, &mut failures)?;
    let messages = load.latencies.count();
    let line = Line {
        load: "rest-send",
        connections: args.connections,
        rooms: args.rooms,
        size: args.size,
        messages,
        seconds: round(usage.seconds),
        messages_per_second: usage.per_second(messages),
        server_cpu_seconds: usage.server_cpu.map(round),
        messages_per_server_cpu_second: usage.per_server_second(messages),
        client_cpu_seconds: round(usage.client_cpu),
        p50_ms: round(load.latencies.quantile_ms(0.5)),
        p99_ms: round(load.latencies.quantile_ms(0.99)),
        max_ms: round(load.latencies.max_ms()),
        errors: failures.count,
        gapless,
    };
    Outcome::new(&line, failures)
}

struct Load<'a> {
    poller: &'a Poller,
    requests: &'a [Vec<u8>],
    rooms: Vec<Room>,
    next: usize,
    latencies: Histogram,
    /// Answers with 200, warm-up and drain included.
    answers: u64,
}

impl Load<'_> {
    fn run(&mut self, server: &Server, window: &mut Window<'_>, count: u16, failures: &mut Failures) -> Result<()> {
        let mut lanes = Vec::new();
        for token in 0..usize::from(count) {
            let conn = Conn::open(self.poller, token, server.address, None)?;
            let mut lane = Lane { conn, room: 0, sent: Instant::now(), waits: false };
            self.send(&mut lane)?;
            lanes.push(Some(lane));
        }
        let mut scratch = vec![0; SCRATCH];
        let mut ready = Vec::new();
        loop {
            self.poller.wait(&mut ready, window.next(Instant::now()))?;
            let now = Instant::now();
            window.tick(now)?;
            for token in ready.drain(..) {
                let Some(lane) = &mut lanes[token] else { continue };
                if let Err(error) = self.step(lane, window, &mut scratch, failures) {
                    failures.add(error.to_string());
                    // Dropping the connection takes it out of the poller as well.
                    lanes[token] = None;
                }
            }
            if !lanes.iter().flatten().any(|lane| lane.waits || !window.drains(now)) {
                // Either all is answered at the end, or no connection is left.
                window.tick(Instant::now())?;
                return Ok(());
            }
            if now > window.end() {
                failures.add("requests were never answered");
                return Ok(());
            }
        }
    }

    fn send(&mut self, lane: &mut Lane) -> Result<()> {
        let index = self.next % self.requests.len();
        self.next += 1;
        lane.room = index % self.rooms.len();
        lane.sent = Instant::now();
        lane.waits = true;
        lane.conn.output().extend_from_slice(&self.requests[index]);
        lane.conn.flush(self.poller)
    }

    fn step(
        &mut self,
        lane: &mut Lane,
        window: &Window<'_>,
        scratch: &mut [u8],
        failures: &mut Failures,
    ) -> Result<()> {
        lane.conn.receive(scratch)?;
        let Some(head) = http::head(lane.conn.input())? else {
            return lane.conn.flush(self.poller);
        };
        if lane.conn.input().len() < head.total() {
            return Ok(());
        }
        let now = Instant::now();
        if !lane.waits {
            return crate::error::fail("an answer to no request");
        }
        let body = &lane.conn.input()[head.length..head.total()];
        if head.status == 200 {
            self.answers += 1;
            if window.measures() {
                self.latencies.record(now.duration_since(lane.sent));
            }
            if let Err(error) = self.rooms[lane.room].note(body) {
                failures.add(error);
            }
        } else {
            failures.add(format!("{} {}", head.status, excerpt(body)));
        }
        lane.conn.consume(head.total());
        lane.conn.tidy();
        lane.waits = false;
        if window.drains(now) { Ok(()) } else { self.send(lane) }
    }
}

impl Room {
    /// Notes the seq of an answer; each may come once.
    fn note(&mut self, body: &[u8]) -> std::result::Result<(), String> {
        let seq = json::field(body, "seq").and_then(json::number);
        let Some(seq) = seq.filter(|seq| (1..SEQ_LIMIT).contains(seq)) else {
            return Err(format!("no proper seq in {}", excerpt(body)));
        };
        let index = seq as usize - 1;
        if index >= self.answered.len() {
            self.answered.resize(index + 1, false);
        }
        if std::mem::replace(&mut self.answered[index], true) {
            return Err(format!("{}: seq {seq} was answered twice", self.id));
        }
        Ok(())
    }
}

/// Reads every room back. Answered seqs are unique (see [`Room::note`]); with as many stored as were answered, and
/// those exactly 1 to n, what was answered is what is stored.
fn check(tenant: &mut Tenant, load: &Load<'_>, failures: &mut Failures) -> Result<bool> {
    let mut gapless = true;
    let mut stored = 0;
    for room in &load.rooms {
        match tenant.check_history(&room.id, &room.reader, load.answers + 1) {
            Ok(count) => {
                stored += count;
                if room.answered.len() as u64 > count {
                    gapless = false;
                    failures.add(format!("{}: seq {} was answered, {count} are stored", room.id, room.answered.len()));
                }
            }
            Err(error) => {
                gapless = false;
                failures.add(error.to_string());
            }
        }
    }
    if stored != load.answers {
        failures.add(format!("{} messages were answered, {stored} are stored", load.answers));
    }
    Ok(gapless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seq_is_noted_once() {
        let mut room = Room { id: "room_1".into(), reader: String::new(), answered: Vec::new() };
        assert!(room.note(br#"{"seq":2}"#).is_ok());
        assert!(room.note(br#"{"seq":1}"#).is_ok());
        assert!(room.note(br#"{"seq":2}"#).is_err());
        for bad in [&br#"{"seq":0}"#[..], br#"{"seq":9007199254740991}"#, br#"{"seq":"1"}"#, b"{}"] {
            assert!(room.note(bad).is_err());
        }
        assert_eq!(room.answered, [true, true]);
    }
}
