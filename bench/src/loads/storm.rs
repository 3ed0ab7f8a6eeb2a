//! `storm`: everyone is cut and comes back at once. How soon all have caught up, what others notice, and whether anybody
//! is told of it who need not be.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Failures, Outcome};
use crate::error::{Error, Result, fail};
use crate::exchange::{Exchange, pairs};
use crate::json;
use crate::limits;
use crate::poller::Poller;
use crate::server::Server;
use crate::setup::{Tenant, content};
use crate::socket::{SCRATCH, Socket, is_type, source};
use crate::usage::{Meter, round};
use crate::ws;

/// All must have caught up so soon.
const SYNC_LIMIT: f64 = 5.0;
/// The others' p99 may be so many times what it is before.
const SLOWDOWN_LIMIT: f64 = 2.0;
const MEMBERS: usize = 20;
const ROOMS_EACH: usize = 10;
/// Steps through the users that have no factor in common with their number, so that each user's rooms hold other people.
const STEPS: [usize; ROOMS_EACH] = [1, 3, 7, 9, 11, 13, 17, 19, 21, 23];
/// Between two storms: the others' messages settle.
const PAUSE: Duration = Duration::from_secs(2);
/// Longer than the grace within which a reconnect goes unnoticed.
const AWAY: Duration = Duration::from_millis(6500);
/// How many go away for longer than the grace, one of so many.
const LEAVERS: usize = 20;
const OTHERS: u16 = 50;
const OTHERS_PER_SECOND: f64 = 1_000.0;

const BEFORE: usize = 1;
const DURING: usize = 2;
const BETWEEN: usize = 3;

/// Thousands of WebSockets that are cut and reconnect at once
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Users, a multiple of 20 without the factors 3, 7, 11, 13, 17, 19 and 23
    #[arg(long, default_value_t = 2000, value_parser = users)]
    users: u32,
    /// Storms, one after another
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Messages that wait in each small room for its members
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    missed: u32,
}

#[derive(Debug, Serialize)]
struct Line {
    load: &'static str,
    users: u32,
    rounds: u32,
    connect_seconds: f64,
    sync_seconds_mean: f64,
    sync_seconds_max: f64,
    sync_seconds_limit: f64,
    server_cpu_seconds_per_storm: Option<f64>,
    others_p99_before_ms: f64,
    others_p99_during_ms: f64,
    others_max_during_ms: f64,
    others_sent_during: u64,
    ratio: f64,
    ratio_limit: f64,
    presence_at_connect: u64,
    presence_in_storms: u64,
    presence_of_leavers: u64,
    presence_of_leavers_expected: u64,
    errors: u64,
}

/// Runs the load.
pub(crate) fn run(server: &Server, poller: &Poller, args: &Args) -> Result<Outcome> {
    let mut tenant = Tenant::create(server)?;
    let mut crowd = Crowd::gather(server, poller.another()?, &mut tenant, args)?;
    let mut others = Tenant::create(server)?;
    let circles = pairs(&mut others, OTHERS, OTHERS_PER_SECOND)?;

    let connect_seconds = crowd.connect(server)?;
    crowd.listen(Duration::from_secs(1))?;
    let presence_at_connect = crowd.check_presence(|_, _, _| 1, Tolerance::AtMost);
    let exchange = Exchange::start(poller, server, &others.api_key, circles)?;
    crowd.listen(PAUSE)?;
    exchange.enter(BEFORE);
    crowd.listen(Duration::from_secs(5))?;

    let mut times = Vec::new();
    let mut cpu = Some(0.0);
    for _ in 0..args.rounds {
        exchange.enter(DURING);
        let meter = Meter::start(server)?;
        crowd.cut(|_| true);
        times.push(crowd.connect(server)?);
        cpu = cpu.zip(meter.read()?.server_cpu).map(|(sum, one)| sum + one);
        exchange.enter(BETWEEN);
        crowd.listen(PAUSE)?;
    }
    // Past the end of every grace that a storm began.
    crowd.listen(AWAY)?;
    let presence_in_storms = crowd.check_presence(|_, _, _| 0, Tolerance::AtMost);

    crowd.cut(leaves);
    crowd.listen(AWAY)?;
    crowd.connect(server)?;
    crowd.listen(Duration::from_secs(1))?;
    let expected = |observer: usize, user: usize, knows: bool| u8::from(knows && leaves(user) && !leaves(observer));
    let expected_sum = crowd.expected(expected);
    let presence_of_leavers = crowd.check_presence(expected, Tolerance::Exactly);

    let mut told = exchange.finish()?;
    let mut failures = std::mem::take(&mut crowd.failures);
    failures.append(&mut told.failures);
    let slowest = times.iter().copied().fold(0.0, f64::max);
    if slowest > SYNC_LIMIT {
        failures.add(format!("all were synced after {slowest:.1} s, the limit is {SYNC_LIMIT}"));
    }
    let (before, during) = (told.p99_ms(0, BEFORE), told.p99_ms(0, DURING));
    let ratio = during / before.max(f64::MIN_POSITIVE);
    if ratio > SLOWDOWN_LIMIT {
        failures.add(format!("others: p99 is {ratio:.2} times what it was, the limit is {SLOWDOWN_LIMIT}"));
    }
    let line = Line {
        load: "storm",
        users: args.users,
        rounds: args.rounds,
        connect_seconds: round(connect_seconds),
        sync_seconds_mean: round(times.iter().sum::<f64>() / f64::from(args.rounds)),
        sync_seconds_max: round(slowest),
        sync_seconds_limit: SYNC_LIMIT,
        server_cpu_seconds_per_storm: cpu.map(|cpu| round(cpu / f64::from(args.rounds))),
        others_p99_before_ms: round(before),
        others_p99_during_ms: round(during),
        others_max_during_ms: round(told.cell(0, DURING).latencies.max_ms()),
        others_sent_during: told.cell(0, DURING).sent,
        ratio: round(ratio),
        ratio_limit: SLOWDOWN_LIMIT,
        presence_at_connect,
        presence_in_storms,
        presence_of_leavers,
        presence_of_leavers_expected: expected_sum,
        errors: failures.count,
    };
    Outcome::new(&line, failures)
}

/// The file limit that this load needs, on both sides: a cut connection may still be there when the next one comes.
pub(crate) fn files(args: &Args) -> u64 {
    2 * u64::from(args.users) + 1024 + limits::SPARE
}

/// Whether a user goes away for longer than the grace.
fn leaves(user: usize) -> bool {
    user.is_multiple_of(LEAVERS)
}

fn users(text: &str) -> std::result::Result<u32, String> {
    let users: u32 = text.parse().map_err(|error| format!("{error}"))?;
    let shares_a_factor = STEPS.iter().skip(1).any(|step| users.is_multiple_of(*step as u32));
    if users == 0 || users > 20_000 || !users.is_multiple_of(MEMBERS as u32) || shares_a_factor {
        return Err("not a multiple of 20 without the factors 3, 7, 11, 13, 17, 19 and 23, at most 20000".to_owned());
    }
    Ok(users)
}

/// Which counts of presence are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tolerance {
    AtMost,
    /// But for observers who were away themselves: what they missed is not told again.
    Exactly,
}

/// The users, and how often each heard of each other one.
struct Crowd {
    poller: Poller,
    api_key: String,
    names: Vec<String>,
    sockets: Vec<Option<Socket>>,
    /// Who shares a small room with whom.
    knows: Vec<BTreeSet<usize>>,
    /// How often each heard that each other is `online`, and `offline`, since the last check.
    heard: [Vec<u8>; 2],
    failures: Failures,
}

impl Crowd {
    /// Makes the rooms, and a message or more in each.
    fn gather(server: &Server, poller: Poller, tenant: &mut Tenant, args: &Args) -> Result<Self> {
        let count = args.users as usize;
        let names: Vec<_> = (0..count).map(|user| format!("user-{user}")).collect();
        let mut knows = vec![BTreeSet::new(); count];
        let text = content(100);
        for step in STEPS {
            for room in 0..count / MEMBERS {
                let members: Vec<usize> = (0..MEMBERS).map(|member| (room * MEMBERS + member) * step % count).collect();
                let of_room: Vec<_> = members.iter().map(|user| names[*user].as_str()).collect();
                let id = tenant.create_room("group", &of_room)?;
                for _ in 0..args.missed {
                    tenant.send(&id, of_room[0], &text)?;
                }
                for user in &members {
                    knows[*user].extend(members.iter().filter(|other| *other != user));
                }
            }
        }
        let everyone: Vec<_> = names.iter().map(String::as_str).collect();
        let large = tenant.create_room("channel", &everyone)?;
        for _ in 0..args.missed {
            tenant.send(&large, everyone[0], &text)?;
        }
        tenant.reconnect(server)?;
        let api_key = tenant.api_key.clone();
        let sockets = (0..count).map(|_| None).collect();
        let heard = [vec![0; count * count], vec![0; count * count]];
        Ok(Self { poller, api_key, names, sockets, knows, heard, failures: Failures::default() })
    }

    /// Connects whoever is not; seconds until all of them have caught up.
    fn connect(&mut self, server: &Server) -> Result<f64> {
        let start = Instant::now();
        let deadline = start + Duration::from_secs(60);
        let mut missing = 0;
        for (token, name) in self.names.iter().enumerate() {
            if self.sockets[token].is_none() {
                let handshake = ws::handshake(&self.api_key, name);
                let source = source(token, 8);
                self.sockets[token] = Some(Socket::open(&self.poller, token, server, Some(source), &handshake)?);
                missing += 1;
            }
        }
        let mut scratch = vec![0; SCRATCH];
        let mut ready = Vec::new();
        while missing > 0 {
            if Instant::now() > deadline {
                return fail(format!("{missing} did not catch up in time"));
            }
            self.poller.wait(&mut ready, deadline)?;
            for token in ready.drain(..) {
                let was_open = self.is_open(token);
                self.hear(token, &mut scratch)?;
                if !was_open && self.is_open(token) {
                    missing -= 1;
                }
            }
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// Cuts connections without a word.
    fn cut(&mut self, whose: impl Fn(usize) -> bool) {
        for (_, socket) in self.sockets.iter_mut().enumerate().filter(|(user, _)| whose(*user)) {
            *socket = None;
        }
    }

    fn listen(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        let mut scratch = vec![0; SCRATCH];
        let mut ready = Vec::new();
        while Instant::now() < until {
            self.poller.wait(&mut ready, until)?;
            for token in ready.drain(..) {
                self.hear(token, &mut scratch)?;
            }
        }
        Ok(())
    }

    fn is_open(&self, token: usize) -> bool {
        self.sockets[token].as_ref().is_some_and(Socket::is_open)
    }

    fn hear(&mut self, token: usize, scratch: &mut [u8]) -> Result<()> {
        let Some(socket) = &mut self.sockets[token] else {
            return Ok(());
        };
        let because = |error: Error| Error::Failed(format!("user-{token}: {error}"));
        socket.receive(scratch).map_err(because)?;
        while let Some(length) = socket.next().map_err(because)? {
            let text = socket.text(length);
            if is_type(text, "presence.update") {
                let user = json::field(text, "user_id").and_then(json::string);
                let user = user.and_then(|user| json::number(user.strip_prefix(b"user-")?));
                let is_offline = json::field(text, "status").and_then(json::string) == Some(b"offline");
                match user.map(|user| user as usize).filter(|user| *user < self.names.len()) {
                    Some(user) => {
                        let heard = &mut self.heard[usize::from(is_offline)][token * self.names.len() + user];
                        *heard = heard.saturating_add(1);
                    }
                    None => self.failures.add("a presence of nobody"),
                }
            }
        }
        socket.flush(&self.poller)
    }

    fn expected(&self, expected: impl Fn(usize, usize, bool) -> u8) -> u64 {
        let count = self.names.len();
        let all = (0..count).flat_map(|observer| (0..count).map(move |user| (observer, user)));
        let one_kind: u64 =
            all.map(|(observer, user)| u64::from(expected(observer, user, self.knows[observer].contains(&user)))).sum();
        2 * one_kind
    }

    /// Compares what each heard of each with what is right, of either kind; begins to count anew. How many frames there
    /// were.
    fn check_presence(&mut self, expected: impl Fn(usize, usize, bool) -> u8, tolerance: Tolerance) -> u64 {
        let count = self.names.len();
        let mut frames = 0;
        for (heard, status) in self.heard.iter().zip(["online", "offline"]) {
            for observer in 0..count {
                for user in 0..count {
                    let heard = heard[observer * count + user];
                    frames += u64::from(heard);
                    let knows = self.knows[observer].contains(&user);
                    let expected = expected(observer, user, knows);
                    let is_right = match tolerance {
                        Tolerance::AtMost => heard <= expected && (knows || heard == 0),
                        Tolerance::Exactly => heard == expected || leaves(observer),
                    };
                    if !is_right {
                        let told = format!("user-{observer} heard {heard} times that user-{user} is {status}");
                        self.failures.add(format!("{told}, {expected} is right"));
                    }
                }
            }
        }
        for heard in &mut self.heard {
            heard.fill(0);
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_fill_their_rooms() {
        assert_eq!(users("2000"), Ok(2000));
        assert_eq!(users("200"), Ok(200));
        for bad in ["0", "10", "60", "140", "x", "2000000"] {
            assert!(users(bad).is_err(), "{bad}");
        }
    }
}
