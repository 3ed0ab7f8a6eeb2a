//! A WebSocket of a user, from the handshake on, and the opening of many.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::conn::Conn;
use crate::error::{Error, Result, excerpt, fail};
use crate::histogram::Histogram;
use crate::json;
use crate::poller::Poller;
use crate::server::Server;
use crate::ws;

/// So many bytes are read at once.
pub(crate) const SCRATCH: usize = 64 * 1024;

/// How far a socket has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for the 101.
    Upgrading,
    /// Waits for `connected`.
    Greeting,
    /// Waits for `sync.complete`.
    Syncing,
    /// Has caught up.
    Open,
}

/// One WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    conn: Conn,
    phase: Phase,
}

impl Socket {
    /// Begins to connect and to shake hands.
    pub(crate) fn open(
        poller: &Poller,
        token: usize,
        server: &Server,
        source: Option<Ipv4Addr>,
        handshake: &[u8],
    ) -> Result<Self> {
        let mut conn = Conn::open(poller, token, server.address, source)?;
        conn.output().extend_from_slice(handshake);
        Ok(Self { conn, phase: Phase::Upgrading })
    }

    /// Whether `sync.complete` has come.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether `connected` has come.
    pub(crate) fn is_greeted(&self) -> bool {
        matches!(self.phase, Phase::Syncing | Phase::Open)
    }

    /// Reads once; then [`Self::next`] until `None`, and [`Self::flush`].
    pub(crate) fn receive(&mut self, scratch: &mut [u8]) -> Result<()> {
        self.conn.receive(scratch)
    }

    /// The length of the next text frame, which [`Self::text`] then gives. Server pings are answered here, the
    /// phases are kept here; a close frame is an error.
    pub(crate) fn next(&mut self) -> Result<Option<usize>> {
        if self.phase == Phase::Upgrading {
            let Some(length) = ws::accepted(self.conn.input())? else {
                return Ok(None);
            };
            self.conn.consume(length);
            self.phase = Phase::Greeting;
        }
        while let Some(frame) = ws::decode(self.conn.input())? {
            self.conn.consume(frame.total());
            match frame.opcode {
                ws::TEXT => {
                    self.advance(frame.payload)?;
                    return Ok(Some(frame.payload));
                }
                ws::PING => {
                    let payload = self.conn.recent(frame.payload).to_vec();
                    ws::encode(self.conn.output(), ws::PONG, &payload);
                }
                ws::PONG => {}
                ws::CLOSE => return fail(close_reason(self.conn.recent(frame.payload))),
                other => return fail(format!("a frame with opcode {other}")),
            }
        }
        self.conn.tidy();
        Ok(None)
    }

    /// The text frame that [`Self::next`] told of.
    pub(crate) fn text(&self, length: usize) -> &[u8] {
        self.conn.recent(length)
    }

    /// Puts a text frame in the queue.
    pub(crate) fn queue(&mut self, text: &[u8]) {
        ws::encode(self.conn.output(), ws::TEXT, text);
    }

    /// Says good-bye; the server then ends the connection.
    pub(crate) fn queue_close(&mut self) {
        ws::encode(self.conn.output(), ws::CLOSE, &1000u16.to_be_bytes());
    }

    /// Sends what is queued, as far as there is room.
    pub(crate) fn flush(&mut self, poller: &Poller) -> Result<()> {
        self.conn.flush(poller)
    }

    fn advance(&mut self, length: usize) -> Result<()> {
        let text = self.conn.recent(length);
        self.phase = match self.phase {
            Phase::Open => return Ok(()),
            Phase::Upgrading | Phase::Greeting if is_type(text, "connected") => Phase::Syncing,
            Phase::Upgrading | Phase::Greeting => {
                return fail(format!("the first frame is not `connected`: {}", excerpt(text)));
            }
            Phase::Syncing if is_type(text, "sync.complete") => Phase::Open,
            Phase::Syncing => Phase::Syncing,
        };
        Ok(())
    }
}

/// Whether a frame has this type.
pub(crate) fn is_type(text: &[u8], name: &str) -> bool {
    json::field(text, "type").and_then(json::string) == Some(name.as_bytes())
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [a, b, reason @ ..] => format!("the server closed: {} {}", u16::from_be_bytes([*a, *b]), excerpt(reason)),
        _ => "the server closed without a code".to_owned(),
    }
}

/// How [`open_all`] goes about it.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    /// Whose keys to show.
    pub(crate) api_key: &'a str,
    /// One socket for each of these users, under the token that is its index.
    pub(crate) users: &'a [String],
    /// At most so many handshakes at once.
    pub(crate) in_flight: usize,
    /// So many source addresses take turns.
    pub(crate) sources: u8,
    /// All must be open by then.
    pub(crate) timeout: Duration,
}

/// Opens a socket for every user and waits for all backlogs; also the latency of each, from connect to
/// `sync.complete`. The first failure ends it.
pub(crate) fn open_all(poller: &Poller, server: &Server, opening: &Opening<'_>) -> Result<(Vec<Socket>, Histogram)> {
    let deadline = Instant::now() + opening.timeout;
    let mut sockets: Vec<Socket> = Vec::with_capacity(opening.users.len());
    let mut started = Vec::with_capacity(opening.users.len());
    let mut latencies = Histogram::default();
    let mut ready = Vec::new();
    let mut scratch = vec![0; SCRATCH];
    let mut open = 0;
    while open < opening.users.len() {
        while sockets.len() < opening.users.len() && sockets.len() - open < opening.in_flight {
            let token = sockets.len();
            let source = source(token, opening.sources);
            started.push(Instant::now());
            let handshake = ws::handshake(opening.api_key, &opening.users[token]);
            sockets.push(Socket::open(poller, token, server, Some(source), &handshake)?);
        }
        poller.wait(&mut ready, deadline)?;
        for token in ready.drain(..) {
            let was_open = sockets[token].is_open();
            step(&mut sockets[token], poller, &mut scratch)
                .map_err(|error| Error::Failed(format!("{}: {error}", opening.users[token])))?;
            if !was_open && sockets[token].is_open() {
                latencies.record(started[token].elapsed());
                open += 1;
            }
        }
        if Instant::now() > deadline {
            return fail(format!("only {open} of {} sockets opened in time", opening.users.len()));
        }
    }
    Ok((sockets, latencies))
}

/// Reads and answers what came, for a socket of which no text is awaited.
pub(crate) fn step(socket: &mut Socket, poller: &Poller, scratch: &mut [u8]) -> Result<()> {
    socket.receive(scratch)?;
    while socket.next()?.is_some() {}
    socket.flush(poller)
}

/// 127.0.0.2 and the ones after it, in turns.
pub(crate) fn source(index: usize, sources: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + (index % usize::from(sources.clamp(1, 250))) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_take_turns_and_stay_on_loopback() {
        assert_eq!(source(0, 3), Ipv4Addr::new(127, 0, 0, 2));
        assert_eq!(source(5, 3), Ipv4Addr::new(127, 0, 0, 4));
        assert_eq!(source(7, 0), Ipv4Addr::new(127, 0, 0, 2));
        assert!((0..1000).all(|index| source(index, 255).is_loopback()));
    }

    #[test]
    fn types_and_close_reasons() {
        assert!(is_type(br#"{"a":{"type":"x"},"type":"pong"}"#, "pong"));
        assert!(!is_type(br#"{"content":"\"type\":\"pong\""}"#, "pong"));
        assert_eq!(close_reason(&[3, 240, b'p']), "the server closed: 1008 p");
    }
}
