//! A connection's task. Idle it holds a socket, a queue without memory, and tungstenite's small state.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use chatapi_core::ws::parse_client_frame;
use chatapi_core::{CloseReason, ClosedBy, ConnId, FLUSH_REPORT_BYTES, FLUSH_REPORT_FRAMES, Input};
use futures_lite::FutureExt as _;
use smol::{Async, Timer};

use super::inbound::{Inbound, Received};
use super::outbox::Outbox;
use super::outgoing::Outgoing;
use crate::budget::Share;
use crate::deadline::Deadline;
use crate::server::Server;

/// How many frames one system call takes.
const FRAMES_PER_WRITE: usize = 64;
/// How many system calls a task makes before others have their turn.
const TURNS: usize = 16;
/// Bytes that left are reported at least so often.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// The same where the peer says something: the core then takes it that what left has arrived.
const REPORT_INTERVAL_OF_A_PEER_THAT_SPEAKS: Duration = Duration::from_millis(20);
/// For how long a message may take from its first byte on.
const MESSAGE_TIME: Duration = Duration::from_secs(30);
/// For how long a connection is kept to say goodbye.
const CLOSING_TIME: Duration = Duration::from_secs(2);

/// The code of a close (RFC 6455, section 7.4).
const TRY_AGAIN_LATER: u16 = 1013;

thread_local! {
    /// Bytes pass through here on their way from a socket: no connection needs a buffer of its own.
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; 64 * 1024].into_boxed_slice());
}

/// Serves a connection from its 101 on, until it has ended. `early` is what came with the handshake.
///
/// What this returns is what an idle connection costs, so it holds the connection once, and not what comes at its end.
pub(crate) fn serve(
    server: Arc<Server>,
    conn: ConnId,
    outbox: Arc<Outbox>,
    socket: Async<TcpStream>,
    early: &[u8],
) -> impl Future<Output = ()> + Send + use<> {
    let mut connection = Connection {
        unfinished: None,
        server,
        conn,
        outbox,
        socket,
        inbound: Inbound::new(),
        writing: VecDeque::new(),
        written_of_first: 0,
        was_full: false,
        peer_reads: false,
        flushed_frames: 0,
        flushed_bytes: 0,
        last_report: Instant::now(),
        last_report_to_a_speaker: None,
        state: State::Open,
    };
    if !early.is_empty() {
        connection.receive(early);
    }
    async move {
        let by = poll_fn(|context| connection.poll(context)).await;
        Box::pin(connection.finish(by)).await;
    }
}

struct Connection {
    server: Arc<Server>,
    conn: ConnId,
    outbox: Arc<Outbox>,
    socket: Async<TcpStream>,
    inbound: Inbound,
    unfinished: Option<Box<Unfinished>>,
    writing: VecDeque<Outgoing>,
    written_of_first: usize,
    /// The socket took less than it was given.
    was_full: bool,
    /// It has taken more since: the peer must have read.
    peer_reads: bool,
    flushed_frames: u32,
    flushed_bytes: u64,
    last_report: Instant,
    last_report_to_a_speaker: Option<Instant>,
    state: State,
}

/// A message that is not complete. Most come in one piece, and most connections are idle: this is made when it is needed.
struct Unfinished {
    /// What it takes of everyone's memory.
    share: Share,
    /// When it must be complete.
    deadline: Deadline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// What is queued up to a close frame still goes out, nothing else.
    Closing(ClosedBy),
}

impl Connection {
    /// Reads and writes until the connection is to end, and says by whose doing.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ClosedBy> {
        for _ in 0..TURNS {
            self.take_queued(context);
            if self.unfinished.as_ref().is_some_and(|unfinished| unfinished.deadline.is_over(context)) {
                self.refuse_message("a message is to arrive within 30 s");
            }
            let Ok(wrote) = self.poll_write(context) else {
                return Poll::Ready(ClosedBy::Error);
            };
            let Ok(read) = self.poll_read(context) else {
                return Poll::Ready(ClosedBy::Error);
            };
            if let State::Closing(by) = self.state {
                return Poll::Ready(by);
            }
            if !wrote && !read {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn take_queued(&mut self, context: &Context<'_>) {
        let mut waiting = self.outbox.take(context.waker());
        if self.state != State::Open {
            return;
        }
        if self.writing.is_empty() {
            self.writing = waiting.frames;
        } else {
            self.writing.append(&mut waiting.frames);
        }
        if let Some(reason) = waiting.close {
            if matches!(reason, CloseReason::SlowReader | CloseReason::Unresponsive) {
                // Whoever does not read gets the close frame if the socket takes it, not what waits before it.
                self.writing.truncate(usize::from(self.written_of_first > 0));
            }
            self.writing.push_back(Outgoing::close(reason.code(), reason.text()));
            self.state = State::Closing(ClosedBy::Server);
        }
    }

    /// Writes what waits. Says whether the socket took anything.
    fn poll_write(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        while !self.writing.is_empty() {
            let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
            let mut count = 0;
            for (slice, frame) in slices.iter_mut().zip(&self.writing) {
                let skip = if count == 0 { self.written_of_first } else { 0 };
                *slice = IoSlice::new(frame.bytes.get(skip..).unwrap_or_default());
                count += 1;
            }
            match self.socket.get_ref().write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    wrote = true;
                    self.peer_reads |= std::mem::take(&mut self.was_full);
                    self.count_written(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.was_full = true;
                    if self.socket.poll_writable(context)?.is_pending() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if wrote {
            self.report_if_due();
            if self.writing.is_empty() {
                self.writing = VecDeque::new();
            }
        }
        Ok(wrote)
    }

    fn count_written(&mut self, written: usize) {
        let mut left = self.written_of_first + written;
        while let Some(first) = self.writing.front() {
            if left < first.bytes.len() {
                break;
            }
            left -= first.bytes.len();
            if let Some(counted_bytes) = first.counted_bytes {
                self.flushed_frames += 1;
                self.flushed_bytes += counted_bytes;
            }
            self.writing.pop_front();
        }
        self.written_of_first = left;
    }

    fn report_if_due(&mut self) {
        let is_much = self.flushed_bytes >= FLUSH_REPORT_BYTES || self.flushed_frames >= FLUSH_REPORT_FRAMES;
        if is_much || self.peer_reads || self.last_report.elapsed() >= REPORT_INTERVAL {
            self.report();
        }
    }

    fn report_to_a_speaker(&mut self) {
        let is_due = |at: Instant| at.elapsed() >= REPORT_INTERVAL_OF_A_PEER_THAT_SPEAKS;
        if self.flushed_frames > 0 && self.last_report_to_a_speaker.is_none_or(is_due) {
            self.report();
            self.last_report_to_a_speaker = Some(self.last_report);
        }
    }

    fn report(&mut self) {
        if self.state != State::Open {
            return;
        }
        self.last_report = Instant::now();
        self.server.hub.handle(Input::Flushed {
            conn: self.conn,
            frames: std::mem::take(&mut self.flushed_frames),
            size_bytes: std::mem::take(&mut self.flushed_bytes),
            peer_reads: std::mem::take(&mut self.peer_reads),
        });
    }

    /// Reads what came. Says whether there may be more.
    fn poll_read(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        while self.socket.poll_readable(context)?.is_ready() {
            let read = READ_BUFFER.with_borrow_mut(|buffer| {
                let count = self.socket.get_ref().read(buffer)?;
                self.receive(buffer.get(..count).unwrap_or_default());
                Ok(count)
            });
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(true),
                // Readiness can be a false alarm: only a pending poll waits for the next.
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn receive(&mut self, bytes: &[u8]) {
        if self.state != State::Open {
            return;
        }
        self.report_to_a_speaker();
        let (hub, conn) = (&self.server.hub, self.conn);
        let mut end = None;
        let (mut gave_a_sign, mut said_something) = (false, false);
        self.inbound.receive(bytes, |received| {
            match received {
                Received::Text(text) => {
                    said_something = true;
                    hub.handle(Input::Frame { conn, frame: Box::new(parse_client_frame(&text)) });
                }
                Received::Sign => gave_a_sign = true,
                Received::Close => end = Some((ClosedBy::Client, None)),
                Received::Violation(code, reason) => {
                    end = Some((ClosedBy::Server, Some(Outgoing::close(code, reason))));
                }
            }
            end.is_none()
        });
        if gave_a_sign {
            // However many came at once, they say the same.
            hub.handle(Input::Heard { conn });
        }
        let answer = self.inbound.take_answers();
        match end {
            None => {
                self.answer(answer);
                self.bound_message(said_something);
            }
            Some((by, close)) => {
                self.writing.extend(answer);
                self.writing.extend(close);
                self.state = State::Closing(by);
            }
        }
    }

    /// Bounds what a message that is not complete may take, in memory and in time.
    fn bound_message(&mut self, is_another: bool) {
        let bytes = self.inbound.unfinished_bytes();
        if bytes == 0 || is_another {
            self.unfinished = None;
        }
        if bytes == 0 {
            return;
        }
        let server = &self.server;
        let unfinished = self.unfinished.get_or_insert_with(|| {
            let deadline = server.deadlines.register();
            deadline.set(MESSAGE_TIME);
            Box::new(Unfinished { share: server.budget.share(), deadline })
        });
        if unfinished.share.hold(bytes).is_err() {
            self.refuse_message("the server is full: try again later");
        }
    }

    /// Closes, for want of room or patience for a message, and drops what came of it.
    fn refuse_message(&mut self, reason: &str) {
        self.inbound = Inbound::new();
        self.unfinished = None;
        if self.state == State::Open {
            self.writing.push_back(Outgoing::close(TRY_AGAIN_LATER, reason));
            self.state = State::Closing(ClosedBy::Server);
        }
    }

    /// Queues a pong before everything that is not begun, in the place of one that still waits there: the core does not
    /// count pongs, so no more than one may wait, however many pings come from a peer that does not read.
    fn answer(&mut self, pong: Option<Outgoing>) {
        let Some(pong) = pong else {
            return;
        };
        let next = usize::from(self.written_of_first > 0);
        match self.writing.get_mut(next) {
            Some(waiting) if waiting.is_answer => *waiting = pong,
            _ => self.writing.insert(next, pong),
        }
    }

    /// Tells the core, then gives the peer a moment to read what is still to be sent. A socket that is closed with
    /// unread bytes in it resets, and the peer may lose the close frame: so what it sends is read to its end.
    async fn finish(mut self, by: ClosedBy) {
        self.server.hub.handle(Input::Closed { conn: self.conn, by });
        if by != ClosedBy::Error {
            let say_goodbye = async {
                while !self.writing.is_empty() {
                    poll_fn(|context| self.poll_flush(context)).await?;
                }
                self.socket.get_ref().shutdown(Shutdown::Write)?;
                while poll_fn(|context| self.poll_drain(context)).await? > 0 {}
                Ok::<(), io::Error>(())
            };
            let time_out = async {
                Timer::after(CLOSING_TIME).await;
                Ok(())
            };
            // Whatever comes of it, the connection is over.
            drop(say_goodbye.or(time_out).await);
        }
        self.server.hub.close_outbox(self.conn);
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wrote = self.poll_write(context)?;
        if wrote || self.writing.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_drain(&self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            if self.socket.poll_readable(context)?.is_pending() {
                return Poll::Pending;
            }
            match READ_BUFFER.with_borrow_mut(|buffer| self.socket.get_ref().read(buffer)) {
                Err(error) if is_transient(&error) => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

/// Whether an error only says to try again.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
