//! `ws-send`: pairs of users in a dm each, both sending over WebSocket with some messages in flight.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Failures, Outcome, Window};
use crate::error::{Result, excerpt, fail};
use crate::histogram::Histogram;
use crate::json;
use crate::poller::Poller;
use crate::server::Server;
use crate::setup::{Tenant, content};
use crate::socket::{Opening, SCRATCH, Socket, open_all};
use crate::usage::round;

/// Messages by WebSocket, in a closed loop
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pairs of users, each pair in a dm of its own, each user with one WebSocket
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=2000))]
    pairs: u16,
    /// Messages in flight on each WebSocket
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=500))]
    in_flight: u16,
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
    pairs: u16,
    in_flight: u16,
    size: u16,
    messages: u64,
    deliveries: u64,
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

/// One user of a pair. The other one's token differs in the last bit.
#[derive(Debug)]
struct Talker {
    socket: Socket,
    /// A `send_message` frame up to the request id.
    frame: Vec<u8>,
    /// When each slot's message was sent; `None` while the slot is free.
    slots: Vec<Option<Instant>>,
    sent: u64,
    echoes: u64,
    others: u64,
    last_seq: u64,
}

/// What a frame is to this load.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// The echo of what this slot sent.
    Echo { seq: u64, slot: usize },
    /// A message of the other side.
    Other { seq: u64 },
    /// Presence and the like.
    Ignored,
    /// An error, or a message that makes no sense.
    Bad,
}

/// Runs the load.
pub(crate) fn run(server: &Server, poller: &Poller, args: &Args) -> Result<Outcome> {
    let mut tenant = Tenant::create(server)?;
    let mut users = Vec::new();
    let mut rooms = Vec::new();
    for number in 0..args.pairs {
        let pair = [format!("alice-{number}"), format!("bob-{number}")];
        rooms.push(tenant.create_room("dm", &[&pair[0], &pair[1]])?);
        users.extend(pair);
    }
    let timeout = Duration::from_secs(30);
    let opening = Opening { api_key: &tenant.api_key, users: &users, in_flight: 64, sources: 8, timeout };
    let (sockets, _) = open_all(poller, server, &opening)?;
    let content = content(args.size.into());
    let talkers = sockets.into_iter().enumerate().map(|(token, socket)| {
        let room = &rooms[token / 2];
        let frame = format!(r#"{{"type":"send_message","room_id":"{room}","content":"{content}","request_id":""#);
        let slots = vec![None; args.in_flight.into()];
        Talker { socket, frame: frame.into_bytes(), slots, sent: 0, echoes: 0, others: 0, last_seq: 0 }
    });
    let mut load = Load {
        poller,
        talkers: talkers.collect(),
        latencies: Histogram::default(),
        deliveries: 0,
        failures: Failures::default(),
        gapless: true,
    };
    let mut window = Window::new(server, args.seconds);
    load.run(&mut window)?;
    let usage = window.usage()?;
    load.check_counts();
    tenant.reconnect(server)?;
    load.check_histories(&mut tenant, &rooms, &users);

    let messages = load.latencies.count();
    let line = Line {
        load: "ws-send",
        pairs: args.pairs,
        in_flight: args.in_flight,
        size: args.size,
        messages,
        deliveries: load.deliveries,
        seconds: round(usage.seconds),
        messages_per_second: usage.per_second(messages),
        server_cpu_seconds: usage.server_cpu.map(round),
        messages_per_server_cpu_second: usage.per_server_second(messages),
        client_cpu_seconds: round(usage.client_cpu),
        p50_ms: round(load.latencies.quantile_ms(0.5)),
        p99_ms: round(load.latencies.quantile_ms(0.99)),
        max_ms: round(load.latencies.max_ms()),
        errors: load.failures.count,
        gapless: load.gapless,
    };
    Outcome::new(&line, load.failures)
}

struct Load<'a> {
    poller: &'a Poller,
    talkers: Vec<Talker>,
    latencies: Histogram,
    /// `message` frames within the window, echoes included.
    deliveries: u64,
    failures: Failures,
    gapless: bool,
}

impl Load<'_> {
    fn run(&mut self, window: &mut Window<'_>) -> Result<()> {
        for talker in &mut self.talkers {
            for slot in 0..talker.slots.len() {
                talker.send(slot, Instant::now());
            }
            talker.socket.flush(self.poller)?;
        }
        let mut scratch = vec![0; SCRATCH];
        let mut ready = Vec::new();
        loop {
            self.poller.wait(&mut ready, window.next(Instant::now()))?;
            let now = Instant::now();
            window.tick(now)?;
            for token in ready.drain(..) {
                // Without one socket its pair has no meaning any more, nor has the rest of the run.
                self.step(token, window, &mut scratch)?;
            }
            let drains = window.drains(now);
            if drains && (0..self.talkers.len()).all(|token| self.is_done(token)) {
                return window.tick(Instant::now());
            }
            if now > window.end() {
                // `check_counts` says what is missing.
                return Ok(());
            }
        }
    }

    /// Whether all that both sides sent has come to this one.
    fn is_done(&self, token: usize) -> bool {
        let talker = &self.talkers[token];
        talker.echoes == talker.sent && talker.others == self.talkers[token ^ 1].sent
    }

    fn step(&mut self, token: usize, window: &Window<'_>, scratch: &mut [u8]) -> Result<()> {
        let talker = &mut self.talkers[token];
        talker.socket.receive(scratch)?;
        let now = Instant::now();
        let drains = window.drains(now);
        while let Some(length) = talker.socket.next()? {
            let text = talker.socket.text(length);
            let (seq, slot) = match see(text) {
                Seen::Echo { seq, slot } => (seq, Some(slot)),
                Seen::Other { seq } => (seq, None),
                Seen::Ignored => continue,
                Seen::Bad => return fail(format!("an unexpected frame: {}", excerpt(text))),
            };
            if seq != talker.last_seq + 1 {
                self.gapless = false;
                self.failures.add(format!("socket {token}: seq {seq} came after {}", talker.last_seq));
            }
            talker.last_seq = seq;
            self.deliveries += u64::from(window.measures());
            let Some(slot) = slot else {
                talker.others += 1;
                continue;
            };
            talker.echoes += 1;
            let Some(sent) = talker.slots.get_mut(slot).and_then(Option::take) else {
                return fail(format!("socket {token}: an echo for slot {slot}, which is not in flight"));
            };
            if window.measures() {
                self.latencies.record(now.duration_since(sent));
            }
            if !drains {
                talker.send(slot, now);
            }
        }
        talker.socket.flush(self.poller)
    }

    fn check_counts(&mut self) {
        for token in 0..self.talkers.len() {
            let (talker, other) = (&self.talkers[token], &self.talkers[token ^ 1]);
            if !self.is_done(token) {
                self.failures.add(format!(
                    "socket {token} sent {}, {} came back; of the other side's {} came {}",
                    talker.sent, talker.echoes, other.sent, talker.others
                ));
            }
        }
    }

    fn check_histories(&mut self, tenant: &mut Tenant, rooms: &[String], users: &[String]) {
        for (pair, room) in rooms.iter().enumerate() {
            let sent = self.talkers[2 * pair].sent + self.talkers[2 * pair + 1].sent;
            match tenant.check_history(room, &users[2 * pair], sent) {
                Ok(stored) if stored == sent => {}
                Ok(stored) => self.failures.add(format!("{room}: {sent} were sent, {stored} are stored")),
                Err(error) => {
                    self.gapless = false;
                    self.failures.add(error.to_string());
                }
            }
        }
    }
}

impl Talker {
    /// Queues a message from a free slot; the slot is the request id.
    fn send(&mut self, slot: usize, now: Instant) {
        let length = self.frame.len();
        self.frame.extend_from_slice(slot.to_string().as_bytes());
        self.frame.extend_from_slice(b"\"}");
        self.socket.queue(&self.frame);
        self.frame.truncate(length);
        self.slots[slot] = Some(now);
        self.sent += 1;
    }
}

fn see(text: &[u8]) -> Seen {
    let (mut kind, mut seq, mut slot) = (None, None, None);
    for (key, value) in json::fields(text) {
        match key {
            b"type" => kind = json::string(value),
            b"seq" => seq = json::number(value),
            b"request_id" => slot = json::string(value),
            _ => {}
        }
    }
    match (kind, seq, slot) {
        (Some(b"message"), Some(seq), None) => Seen::Other { seq },
        (Some(b"message"), Some(seq), Some(slot)) => match json::number(slot) {
            Some(slot) => Seen::Echo { seq, slot: slot as usize },
            None => Seen::Bad,
        },
        (None | Some(b"message" | b"error" | b"server.shutdown"), ..) => Seen::Bad,
        (Some(_), ..) => Seen::Ignored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_frames_apart() {
        let cases = [
            (r#"{"type":"message","seq":7,"request_id":"3"}"#, Seen::Echo { seq: 7, slot: 3 }),
            (r#"{"type":"message","room_id":"r","seq":8}"#, Seen::Other { seq: 8 }),
            (r#"{"type":"presence.update","user_id":"x"}"#, Seen::Ignored),
            (r#"{"type":"message","seq":7,"request_id":"other"}"#, Seen::Bad),
            (r#"{"type":"message"}"#, Seen::Bad),
            (r#"{"type":"error","code":"CONFLICT"}"#, Seen::Bad),
            ("nothing", Seen::Bad),
        ];
        for (text, expected) in cases {
            assert_eq!(see(text.as_bytes()), expected, "{text}");
        }
    }
}
