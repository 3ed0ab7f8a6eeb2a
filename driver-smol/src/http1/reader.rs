//! The strict request reader: bytes in, requests or a refusal out.

use std::mem;
use std::ops::Range;

use chatapi_core::api::{REQUEST_BODY_MAX_BYTES, Rejection};

use super::chunked::{Chunked, Decoded};
use super::head::{
    FIELDS_MAX, Framing, HEAD_MAX_BYTES, Head, find_fields, parse_request_line, read_fields, split_request_line,
    told_by_lines, told_name,
};
use super::lines::{LineError, Lines};
use super::request::{Field, Request, RequestLine, slice};

/// What is written when [`RequestReader::take_continue`] says so.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Empty lines that are skipped before a request line (RFC 9112, section 2.2).
const BLANK_LINES_MAX: u8 = 2;

/// Frames the requests of one connection.
///
/// After each [`push`](Self::push), [`next_request`](Self::next_request) is called until it gives `None`; while a
/// request is answered nothing is pushed. Then no more is buffered than a head, a body within the limit and one push.
/// The result depends on the bytes alone, never on how they were cut into packets.
///
/// Between requests it holds no buffer.
#[derive(Debug, Default)]
pub struct RequestReader {
    state: State,
}

/// Where a connection is, for its deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Between requests; nothing is buffered.
    Idle,
    /// A head has begun.
    Head,
    /// A head is complete, its body is not.
    Body,
    /// No request follows: one was refused, or was the last. What is pushed is dropped.
    Ended,
}

impl RequestReader {
    /// For a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.state {
            State::Idle { blank_lines } => {
                self.state = State::Open(Box::new(Pending::new(bytes.to_vec(), *blank_lines)));
            }
            State::Open(pending) => pending.push(bytes),
            State::Failed(_) | State::Closed(_) => {}
        }
    }

    /// The next request, or `None` until more is pushed.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] ends the connection: no later byte can be trusted. It is given again by every later call.
    pub fn next_request(&mut self) -> Result<Option<Request>, Rejection> {
        let pending = match &mut self.state {
            State::Open(pending) => pending,
            State::Failed(failure) => return Err(failure.rejection),
            State::Idle { .. } | State::Closed(_) => return Ok(None),
        };
        match pending.advance() {
            Ok(Progress::Partial) => Ok(None),
            Ok(Progress::Blank) => {
                self.state = State::Idle { blank_lines: pending.blank_lines };
                Ok(None)
            }
            Ok(Progress::Complete { request, rest }) => {
                self.state = match (request.keep_alive, rest.is_empty()) {
                    (true, true) => State::default(),
                    (true, false) => State::Open(Box::new(Pending::new(rest, 0))),
                    // RFC 9112, section 9.6: nothing that follows a `close` is served.
                    (false, _) => State::Closed(rest),
                };
                Ok(Some(request))
            }
            Err(rejection) => {
                let told = pending.told().into_iter().map(|(name, value)| (name, value.to_vec())).collect();
                self.state = State::Failed(Box::new(Failure { rejection, told }));
                Err(rejection)
            }
        }
    }

    /// Whether [`CONTINUE`] is to be written now; true once. To be asked when [`next_request`](Self::next_request) gave
    /// `None`.
    ///
    /// RFC 9110, section 10.1.1: not in HTTP/1.0, not where the body already comes, and not where it is refused unread.
    #[must_use]
    pub fn take_continue(&mut self) -> bool {
        match &mut self.state {
            State::Open(pending) => mem::take(&mut pending.continue_due),
            State::Idle { .. } | State::Failed(_) | State::Closed(_) => false,
        }
    }

    /// Where the connection is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Idle { .. } => Phase::Idle,
            State::Open(pending) if pending.body.is_some() => Phase::Body,
            State::Open(_) => Phase::Head,
            State::Failed(_) | State::Closed(_) => Phase::Ended,
        }
    }

    /// The fields of the request that is on its way or was refused, as far as a refusal depends on them
    /// ([`ResponseMeta::of_refused`](chatapi_core::api::ResponseMeta::of_refused)). Of a head that is not complete or could
    /// not be read, the lines before the fault count.
    #[must_use]
    pub fn told(&self) -> Vec<(&'static str, &[u8])> {
        match &self.state {
            State::Open(pending) => pending.told(),
            State::Failed(failure) => failure.told.iter().map(|(name, value)| (*name, value.as_slice())).collect(),
            State::Idle { .. } | State::Closed(_) => Vec::new(),
        }
    }

    /// The bytes that follow the request last given: after an upgrade they are the new protocol's.
    #[must_use]
    pub fn into_rest(self) -> Vec<u8> {
        match self.state {
            State::Open(pending) => pending.bytes,
            State::Closed(rest) => rest,
            State::Idle { .. } | State::Failed(_) => Vec::new(),
        }
    }

    /// How much memory its buffers hold.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        match &self.state {
            State::Open(pending) => pending.bytes.capacity(),
            State::Closed(rest) => rest.capacity(),
            State::Failed(failure) => failure.told.iter().map(|(_, value)| value.capacity()).sum(),
            State::Idle { .. } => 0,
        }
    }
}

#[derive(Debug)]
enum State {
    Idle { blank_lines: u8 },
    Open(Box<Pending>),
    Failed(Box<Failure>),
    Closed(Vec<u8>),
}

impl Default for State {
    fn default() -> Self {
        Self::Idle { blank_lines: 0 }
    }
}

/// Why no request follows, and how the sender of the last one named it.
#[derive(Debug)]
struct Failure {
    rejection: Rejection,
    told: Vec<(&'static str, Vec<u8>)>,
}

/// A request on its way.
#[derive(Debug)]
struct Pending {
    /// The head, as much of the body as came, and what follows.
    bytes: Vec<u8>,
    lines: Lines,
    blank_lines: u8,
    continue_due: bool,
    /// Where the request line stands, and where the fields begin.
    line: Option<(Range<usize>, usize)>,
    field_lines: usize,
    /// Once the head could be read.
    fields: Vec<Field>,
    body: Option<Body>,
}

/// A body on its way, and the head that it follows.
#[derive(Debug)]
struct Body {
    line: RequestLine,
    head: Head,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    /// The body stands from the first to the second.
    Length(usize, usize),
    Chunked(Chunked),
    /// The head ends there.
    TooLarge(usize),
}

enum Progress {
    Partial,
    /// Nothing but skipped empty lines came.
    Blank,
    Complete {
        request: Request,
        rest: Vec<u8>,
    },
}

impl Pending {
    fn new(bytes: Vec<u8>, blank_lines: u8) -> Self {
        Self {
            bytes,
            lines: Lines::default(),
            blank_lines,
            continue_due: false,
            line: None,
            field_lines: 0,
            fields: Vec::new(),
            body: None,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.continue_due = false;
        // It grows as bytes come, not as they are announced, and not past what a body may take.
        let most = match self.body.as_ref().map(|body| &body.reading) {
            None | Some(Reading::TooLarge(_)) => HEAD_MAX_BYTES,
            Some(Reading::Length(_, end)) => *end,
            Some(Reading::Chunked(chunked)) => chunked.start() + REQUEST_BODY_MAX_BYTES,
        };
        let needed = self.bytes.len() + bytes.len();
        if needed > self.bytes.capacity() {
            let capacity = needed.max(most.min(2 * self.bytes.capacity()));
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn advance(&mut self) -> Result<Progress, Rejection> {
        if self.body.is_none() {
            let Some(end) = self.find_head_end()? else {
                return Ok(if self.bytes.is_empty() { Progress::Blank } else { Progress::Partial });
            };
            self.begin_body(end)?;
        }
        self.advance_body()
    }

    fn told(&self) -> Vec<(&'static str, &[u8])> {
        if self.fields.is_empty() {
            let lines = self.line.as_ref().and_then(|(_, start)| self.bytes.get(*start..self.lines.position()));
            return told_by_lines(lines.unwrap_or_default());
        }
        let place = |field: &Field| Some((told_name(slice(&self.bytes, field.name))?, slice(&self.bytes, field.value)));
        self.fields.iter().filter_map(place).collect()
    }

    /// The length of the head, once all of it is there. That it is HTTP is checked as soon as the request line is complete:
    /// what speaks another protocol may never send an empty line.
    fn find_head_end(&mut self) -> Result<Option<usize>, Rejection> {
        loop {
            let line = match self.lines.next_line(&self.bytes, HEAD_MAX_BYTES) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(LineError::TooLong) => return Err(Rejection::HeadTooLarge),
                Err(LineError::Control) => {
                    return Err(Rejection::Malformed("lines must end in CRLF and hold no control characters"));
                }
            };
            match (&self.line, line.is_empty()) {
                (None, true) => {
                    if self.blank_lines == BLANK_LINES_MAX {
                        return Err(Rejection::Malformed("there must be a request line"));
                    }
                    self.blank_lines += 1;
                    self.bytes.drain(..self.lines.position());
                    self.lines = Lines::default();
                }
                (None, false) => {
                    split_request_line(&self.bytes[line.clone()])?;
                    self.line = Some((line, self.lines.position()));
                }
                (Some(_), true) => return Ok(Some(self.lines.position())),
                (Some(_), false) => {
                    self.field_lines += 1;
                    if self.field_lines > FIELDS_MAX {
                        return Err(Rejection::HeadTooLarge);
                    }
                }
            }
        }
    }

    fn begin_body(&mut self, head_end: usize) -> Result<(), Rejection> {
        let Some((line, fields_start)) = &self.line else {
            return Ok(());
        };
        // First of all the fields: whatever else is wrong with the head, its sender gets its own request id back.
        self.fields = find_fields(&mut self.bytes, *fields_start..head_end, self.field_lines)?;
        let line = parse_request_line(&self.bytes[line.clone()])?;
        let head = read_fields(&self.bytes, &self.fields, line.version)?;
        let reading = match head.framing {
            Framing::Length(length) => Reading::Length(head_end, head_end + length),
            Framing::Chunked => Reading::Chunked(Chunked::new(head_end)),
            Framing::TooLarge => Reading::TooLarge(head_end),
        };
        self.continue_due = head.expects_continue && self.bytes.len() == head_end;
        self.body = Some(Body { line, head, reading });
        Ok(())
    }

    fn advance_body(&mut self) -> Result<Progress, Rejection> {
        let Some(Body { reading, .. }) = &mut self.body else {
            return Ok(Progress::Partial);
        };
        let (body, rest) = match reading {
            Reading::Length(_, end) if self.bytes.len() < *end => return Ok(Progress::Partial),
            Reading::Length(start, end) => (Some(*start..*end), *end),
            Reading::TooLarge(head_end) => (None, *head_end),
            Reading::Chunked(chunked) => {
                let start = chunked.start();
                match chunked.decode(&mut self.bytes)? {
                    Decoded::Partial => return Ok(Progress::Partial),
                    Decoded::Complete { body_end, rest } => (Some(start..body_end), rest),
                    Decoded::TooLarge => (None, start),
                }
            }
        };
        let Some(Body { line, head, .. }) = self.body.take() else {
            return Ok(Progress::Partial);
        };
        let rest = if body.is_some() {
            // Most often nothing follows, and nothing is copied.
            self.bytes.split_off(rest)
        } else {
            // What came of the body must not take room while the refusal is worked out.
            self.bytes.truncate(rest);
            self.bytes.shrink_to_fit();
            Vec::new()
        };
        let keep_alive = head.keep_alive && body.is_some();
        let (fields, bytes) = (mem::take(&mut self.fields), mem::take(&mut self.bytes));
        let request = Request { line, fields, bytes, body, keep_alive };
        Ok(Progress::Complete { request, rest })
    }
}
