//! `idle`: what a connection costs that does nothing, and how fast many of them come.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Failures, Outcome};
use crate::error::{Result, fail};
use crate::limits;
use crate::poller::Poller;
use crate::server::Server;
use crate::setup::{Tenant, content};
use crate::socket::{self, Opening, SCRATCH, Socket, is_type, open_all};
use crate::usage::{Meter, round, rss_kb};
use crate::ws;

/// Requests before the memory is read the first time, so that what any server needs once is not counted.
const WARM_UP_REQUESTS: usize = 1000;
/// How long the pongs of all may take.
const PONGS: Duration = Duration::from_secs(30);

/// Many WebSockets that do nothing
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// WebSockets, each of a user of its own
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// How long all of them do nothing
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Handshakes at once
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=2000))]
    in_flight: u16,
}

#[derive(Debug, Serialize)]
struct Line {
    load: &'static str,
    connections: u32,
    seconds: f64,
    connect_seconds: f64,
    connects_per_second: f64,
    connect_p50_ms: f64,
    connect_p99_ms: f64,
    connect_max_ms: f64,
    rss_before_kb: Option<u64>,
    rss_after_kb: Option<u64>,
    bytes_per_connection: Option<f64>,
    bytes_per_connection_all_counted: Option<f64>,
    server_cpu_seconds: Option<f64>,
    connects_per_server_cpu_second: Option<f64>,
    client_cpu_seconds: f64,
    idle_server_cpu_seconds: Option<f64>,
    pongs: usize,
    errors: u64,
}

/// Runs the load.
pub(crate) fn run(server: &Server, poller: &Poller, args: &Args) -> Result<Outcome> {
    let mut tenant = Tenant::create(server)?;
    warm_up(server, poller, &mut tenant)?;
    let rss_before = rss_kb(server)?;

    let users: Vec<_> = (0..args.connections).map(|number| format!("user-{number}")).collect();
    let opening = Opening {
        api_key: &tenant.api_key,
        users: &users,
        in_flight: args.in_flight.into(),
        // 28,000 ports each; a few more addresses cost nothing.
        sources: u8::try_from(8 + args.connections / 10_000).unwrap_or(u8::MAX),
        timeout: Duration::from_secs(30) + Duration::from_millis(2) * args.connections,
    };
    let meter = Meter::start(server)?;
    let (sockets, latencies) = open_all(poller, server, &opening)?;
    let connecting = meter.read()?;

    let mut idlers = Idlers { poller, sockets: sockets.into_iter().map(Some).collect(), failures: Failures::default() };
    let meter = Meter::start(server)?;
    idlers.rest(Duration::from_secs(args.seconds))?;
    let idling = meter.read()?;
    let rss_after = rss_kb(server)?;
    let pongs = idlers.ping_all()?;

    let count = u64::from(args.connections);
    let per_connection = |kilobytes: f64| round(kilobytes * 1024.0 / count as f64);
    let line = Line {
        load: "idle",
        connections: args.connections,
        seconds: round(idling.seconds),
        connect_seconds: round(connecting.seconds),
        connects_per_second: connecting.per_second(count),
        connect_p50_ms: round(latencies.quantile_ms(0.5)),
        connect_p99_ms: round(latencies.quantile_ms(0.99)),
        connect_max_ms: round(latencies.max_ms()),
        rss_before_kb: rss_before,
        rss_after_kb: rss_after,
        bytes_per_connection: rss_after
            .zip(rss_before)
            .map(|(after, before)| per_connection(after as f64 - before as f64)),
        bytes_per_connection_all_counted: rss_after.map(|after| per_connection(after as f64)),
        server_cpu_seconds: connecting.server_cpu.map(round),
        connects_per_server_cpu_second: connecting.per_server_second(count),
        client_cpu_seconds: round(connecting.client_cpu),
        idle_server_cpu_seconds: idling.server_cpu.map(round),
        pongs,
        errors: idlers.failures.count,
    };
    Outcome::new(&line, idlers.failures)
}

/// The file limit that this load needs, on both sides.
pub(crate) fn files(args: &Args) -> u64 {
    u64::from(args.connections) + limits::SPARE
}

/// Some REST requests, and one WebSocket that comes and goes.
fn warm_up(server: &Server, poller: &Poller, tenant: &mut Tenant) -> Result<()> {
    let room = tenant.create_room("group", &["warm-up", "other"])?;
    let content = content(100);
    for _ in 0..WARM_UP_REQUESTS {
        tenant.send(&room, "warm-up", &content)?;
    }
    tenant.check_history(&room, "warm-up", WARM_UP_REQUESTS as u64)?;
    let handshake = ws::handshake(&tenant.api_key, "somebody");
    let mut socket = Socket::open(poller, 0, server, None, &handshake)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut scratch = vec![0; SCRATCH];
    let mut ready = Vec::new();
    while !socket.is_open() {
        poller.wait(&mut ready, deadline)?;
        if Instant::now() > deadline {
            return fail("the first socket did not open in time");
        }
        socket::step(&mut socket, poller, &mut scratch)?;
    }
    socket.queue_close();
    socket.flush(poller)?;
    drop(socket);
    // The server's end of it, and what the requests left to do, such as a checkpoint.
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

struct Idlers<'a> {
    poller: &'a Poller,
    sockets: Vec<Option<Socket>>,
    failures: Failures,
}

impl Idlers<'_> {
    /// Does nothing but answer the server's pings.
    fn rest(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        let mut ready = Vec::new();
        let mut scratch = vec![0; SCRATCH];
        while Instant::now() < until {
            self.poller.wait(&mut ready, until)?;
            for token in ready.drain(..) {
                let Some(socket) = &mut self.sockets[token] else {
                    continue;
                };
                let stepped = socket::step(socket, self.poller, &mut scratch);
                self.check(token, stepped);
            }
        }
        Ok(())
    }

    /// Sends a ping on every socket and counts the pongs.
    fn ping_all(&mut self) -> Result<usize> {
        let until = Instant::now() + PONGS;
        let mut ready = Vec::new();
        let mut scratch = vec![0; SCRATCH];
        let mut waits = vec![false; self.sockets.len()];
        let mut pongs = 0;
        for (token, waits) in waits.iter_mut().enumerate() {
            let Some(socket) = &mut self.sockets[token] else {
                continue;
            };
            socket.queue(br#"{"type":"ping"}"#);
            *waits = true;
            let sent = socket.flush(self.poller);
            self.check(token, sent);
        }
        while Instant::now() < until
            && self.sockets.iter().zip(&waits).any(|(socket, waits)| socket.is_some() && *waits)
        {
            self.poller.wait(&mut ready, until)?;
            for token in ready.drain(..) {
                let Some(socket) = &mut self.sockets[token] else {
                    continue;
                };
                let heard = hears_pong(socket, self.poller, &mut scratch);
                if matches!(heard, Ok(true)) && std::mem::take(&mut waits[token]) {
                    pongs += 1;
                }
                self.check(token, heard);
            }
        }
        let missing = self.sockets.iter().flatten().count() - pongs.min(self.sockets.iter().flatten().count());
        if missing > 0 {
            self.failures.add(format!("{missing} sockets got no pong"));
        }
        Ok(pongs)
    }

    /// A socket that failed is counted and dropped, which takes it out of the poller as well.
    fn check<T>(&mut self, token: usize, result: Result<T>) {
        if let Err(error) = result {
            self.failures.add(format!("socket {token}: {error}"));
            self.sockets[token] = None;
        }
    }
}

fn hears_pong(socket: &mut Socket, poller: &Poller, scratch: &mut [u8]) -> Result<bool> {
    let mut heard = false;
    socket.receive(scratch)?;
    while let Some(length) = socket.next()? {
        heard |= is_type(socket.text(length), "pong");
    }
    socket.flush(poller)?;
    Ok(heard)
}
