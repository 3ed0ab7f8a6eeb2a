//! A steady exchange of messages, on a thread of its own: what everyone else notices of a load.
//!
//! Messages go at a fixed rate, not in a closed loop: a slow server is then asked as much as a fast one. Each carries the
//! time of its sending, so that every receiver tells how long it took; and a room's numbers must come without a gap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Result, excerpt, fail};
use crate::histogram::Histogram;
use crate::json;
use crate::loads::Failures;
use crate::poller::Poller;
use crate::server::Server;
use crate::setup::{Tenant, content};
use crate::socket::{Opening, SCRATCH, Socket, open_all};

/// What is still under way at the end gets so long.
const DRAIN: Duration = Duration::from_secs(15);

/// Users who talk in one room, one after another.
#[derive(Debug)]
pub(crate) struct Circle {
    /// Their room.
    pub(crate) room: String,
    /// Each with one WebSocket.
    pub(crate) users: Vec<String>,
    /// Messages a second of all together.
    pub(crate) per_second: f64,
    /// Bytes of each message's content, at least as many as its stamp takes.
    pub(crate) size: usize,
    /// Latencies are counted for each class apart.
    pub(crate) class: usize,
}

/// Makes `pairs` dms whose users say `per_second` messages of 100 bytes together.
pub(crate) fn pairs(tenant: &mut Tenant, pairs: u16, per_second: f64) -> Result<Vec<Circle>> {
    let circle = |number| {
        let users = vec![format!("alice-{number}"), format!("bob-{number}")];
        let room = tenant.create_room("dm", &[&users[0], &users[1]])?;
        Ok(Circle { room, users, per_second: per_second / f64::from(pairs), size: 100, class: 0 })
    };
    (0..pairs).map(circle).collect()
}

/// An exchange under way.
#[derive(Debug)]
pub(crate) struct Exchange {
    control: Arc<Control>,
    thread: JoinHandle<Result<Told>>,
}

#[derive(Debug, Default)]
struct Control {
    phase: AtomicUsize,
    ends: AtomicBool,
}

/// What an exchange found, by class and phase.
#[derive(Debug)]
pub(crate) struct Told {
    cells: Vec<Vec<Cell>>,
    /// Messages that are missing, repeated or refused.
    pub(crate) failures: Failures,
}

/// One class in one phase.
#[derive(Debug, Default, Clone)]
pub(crate) struct Cell {
    /// Messages that were sent.
    pub(crate) sent: u64,
    /// From send to receive, for every receiver but the sender.
    pub(crate) latencies: Histogram,
}

impl Exchange {
    /// Opens all sockets, and begins to talk in phase 0.
    pub(crate) fn start(poller: &Poller, server: &Server, api_key: &str, circles: Vec<Circle>) -> Result<Self> {
        let poller = poller.another()?;
        let users: Vec<_> = circles.iter().flat_map(|circle| circle.users.clone()).collect();
        let timeout = Duration::from_secs(30);
        let opening = Opening { api_key, users: &users, in_flight: 64, sources: 8, timeout };
        let (sockets, _) = open_all(&poller, server, &opening)?;
        let control = Arc::new(Control::default());
        let talk = Talk::new(poller, circles, sockets, Arc::clone(&control));
        Ok(Self { control, thread: std::thread::spawn(move || talk.run()) })
    }

    /// What is sent from now on counts for another phase.
    pub(crate) fn enter(&self, phase: usize) {
        self.control.phase.store(phase, Ordering::Relaxed);
    }

    /// Ends the talk; what was sent still has to come.
    pub(crate) fn finish(self) -> Result<Told> {
        self.control.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|_| fail("the exchange's thread panicked"))
    }
}

impl Told {
    /// What was found of a class in a phase.
    pub(crate) fn cell(&self, class: usize, phase: usize) -> Cell {
        self.cells.get(class).and_then(|phases| phases.get(phase)).cloned().unwrap_or_default()
    }

    /// The 99th percentile of a class in a phase, in milliseconds.
    pub(crate) fn p99_ms(&self, class: usize, phase: usize) -> f64 {
        self.cell(class, phase).latencies.quantile_ms(0.99)
    }

    fn cell_mut(&mut self, class: usize, phase: usize) -> &mut Cell {
        grow(grow(&mut self.cells, class), phase)
    }
}

fn grow<T: Default + Clone>(cells: &mut Vec<T>, index: usize) -> &mut T {
    if cells.len() <= index {
        cells.resize(index + 1, T::default());
    }
    &mut cells[index]
}

struct Talk {
    poller: Poller,
    control: Arc<Control>,
    epoch: Instant,
    circles: Vec<Talking>,
    listeners: Vec<Listener>,
    told: Told,
}

struct Talking {
    circle: Circle,
    /// The token of its first user.
    first: usize,
    sent: usize,
    refused: usize,
    due: Instant,
    padding: String,
}

struct Listener {
    socket: Socket,
    circle: usize,
    received: usize,
    last_seq: Option<u64>,
}

/// What a message says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    micros: u64,
    phase: usize,
    /// The sender's token.
    sender: usize,
}

impl Talk {
    fn new(poller: Poller, circles: Vec<Circle>, sockets: Vec<Socket>, control: Arc<Control>) -> Self {
        let epoch = Instant::now();
        let count = circles.len().max(1) as f64;
        let mut first = 0;
        let mut owners = Vec::new();
        let talking = circles.into_iter().enumerate().map(|(index, circle)| {
            owners.extend(std::iter::repeat_n(index, circle.users.len()));
            // Circles of the same rate take turns instead of talking all at once.
            let due = epoch + Duration::from_secs_f64(index as f64 / count / circle.per_second);
            let padding = content(circle.size.saturating_sub(40));
            let own_first = first;
            first += circle.users.len();
            Talking { circle, first: own_first, sent: 0, refused: 0, due, padding }
        });
        let circles = talking.collect();
        let listeners = sockets.into_iter().zip(owners);
        let listeners = listeners.map(|(socket, circle)| Listener { socket, circle, received: 0, last_seq: None });
        let told = Told { cells: Vec::new(), failures: Failures::default() };
        Self { poller, control, epoch, circles, listeners: listeners.collect(), told }
    }

    fn run(mut self) -> Result<Told> {
        let mut ready = Vec::new();
        let mut scratch = vec![0; SCRATCH];
        let mut end = None;
        loop {
            let now = Instant::now();
            if end.is_none() && self.control.ends.load(Ordering::Relaxed) {
                end = Some(now + DRAIN);
            }
            let next = match end {
                None => self.speak(now)?,
                Some(_) => now + Duration::from_millis(10),
            };
            if let Some(end) = end {
                let misses = |one: &&Listener| {
                    let talking = &self.circles[one.circle];
                    one.received + talking.refused != talking.sent
                };
                let missing = self.listeners.iter().filter(misses).count();
                if missing == 0 {
                    return Ok(self.told);
                }
                if now > end {
                    self.told.failures.add(format!("{missing} of those who talk did not get all that was said"));
                    return Ok(self.told);
                }
            }
            // Within this time an end is noticed.
            self.poller.wait(&mut ready, next.min(now + Duration::from_millis(100)))?;
            for token in ready.drain(..) {
                self.listen(token, &mut scratch)
                    .map_err(|error| Error::Failed(format!("one of those who talk: {error}")))?;
            }
        }
    }

    /// Sends all that is due; when the next is.
    fn speak(&mut self, now: Instant) -> Result<Instant> {
        let phase = self.control.phase.load(Ordering::Relaxed);
        let mut next = now + Duration::from_secs(1);
        for talking in &mut self.circles {
            while talking.due <= now {
                let token = talking.first + talking.sent % talking.circle.users.len();
                talking.sent += 1;
                talking.due += Duration::from_secs_f64(1.0 / talking.circle.per_second);
                let stamp = self.epoch.elapsed().as_micros();
                let text = format!(
                    r#"{{"type":"send_message","room_id":"{}","content":"{stamp} {phase} {token} {}"}}"#,
                    talking.circle.room, talking.padding
                );
                let socket = &mut self.listeners[token].socket;
                socket.queue(text.as_bytes());
                socket.flush(&self.poller)?;
                self.told.cell_mut(talking.circle.class, phase).sent += 1;
            }
            next = next.min(talking.due);
        }
        Ok(next)
    }

    fn listen(&mut self, token: usize, scratch: &mut [u8]) -> Result<()> {
        let listener = &mut self.listeners[token];
        listener.socket.receive(scratch)?;
        let now = self.epoch.elapsed();
        while let Some(length) = listener.socket.next()? {
            let text = listener.socket.text(length);
            let kind = json::field(text, "type").and_then(json::string);
            match kind {
                Some(b"message") => {}
                Some(b"error") => {
                    self.circles[listener.circle].refused += 1;
                    self.told.failures.add(format!("refused: {}", excerpt(text)));
                    continue;
                }
                Some(b"server.shutdown") | None => return fail(excerpt(text)),
                Some(_) => continue,
            }
            let (Some(seq), Some(stamp)) = (json::field(text, "seq").and_then(json::number), stamp(text)) else {
                return fail(format!("an unexpected message: {}", excerpt(text)));
            };
            if listener.last_seq.is_some_and(|last| seq != last + 1) {
                self.told.failures.add(format!("seq {seq} came after {:?}", listener.last_seq));
            }
            listener.last_seq = Some(seq);
            listener.received += 1;
            if stamp.sender != token {
                let took = now.saturating_sub(Duration::from_micros(stamp.micros));
                let class = self.circles[listener.circle].circle.class;
                self.told.cell_mut(class, stamp.phase).latencies.record(took);
            }
        }
        listener.socket.flush(&self.poller)
    }
}

fn stamp(text: &[u8]) -> Option<Stamp> {
    let content = json::field(text, "content").and_then(json::string)?;
    let mut words = content.split(|byte| *byte == b' ');
    let mut number = || words.next().and_then(json::number);
    Some(Stamp { micros: number()?, phase: number()? as usize, sender: number()? as usize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_when_it_was_sent() {
        let text = br#"{"type":"message","seq":7,"content":"1234 2 55 xxxx"}"#;
        assert_eq!(stamp(text), Some(Stamp { micros: 1234, phase: 2, sender: 55 }));
        assert_eq!(stamp(br#"{"content":"hello"}"#), None);
        assert_eq!(stamp(br"{}"), None);
    }

    #[test]
    fn cells_appear_where_something_is_counted() {
        let mut told = Told { cells: Vec::new(), failures: Failures::default() };
        told.cell_mut(1, 2).sent = 3;
        assert_eq!(told.cell(1, 2).sent, 3);
        assert_eq!((told.cell(0, 0).sent, told.cell(1, 1).sent, told.cell(7, 7).sent), (0, 0, 0));
    }
}
