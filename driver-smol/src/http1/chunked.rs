//! Decoding a chunked body (RFC 9112, section 7.1) in place.

use chatapi_core::api::{REQUEST_BODY_MAX_BYTES, Rejection};

use super::head;
use super::lines::{LineError, Lines};

/// Longest line with a chunk's size, its extensions included.
const SIZE_LINE_MAX_BYTES: usize = 256;
/// Most hexadecimal digits of a size, leading zeros included.
const SIZE_MAX_DIGITS: usize = 16;
/// Most bytes of extensions in a whole body: they are ignored, and must not cost more than the body does.
const EXTENSIONS_MAX_BYTES: usize = 4 * 1024;
/// Longest trailer section.
const TRAILER_MAX_BYTES: usize = 4 * 1024;

/// The decoder of one body. In the buffer stand the head, the body as far as it is decoded, and what is not decoded yet.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    lines: Lines,
    extension_bytes: usize,
    body_start: usize,
    body_end: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Size,
    Data(usize),
    DataEnd,
    Trailer,
}

/// How far a body is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// More must come.
    Partial,
    /// The body ends at `body_end`; what follows it in the buffer starts at `rest`.
    Complete {
        /// The end of the decoded body.
        body_end: usize,
        /// The start of what is no part of the request.
        rest: usize,
    },
    /// It is larger than the limit, and was not read past it.
    TooLarge,
}

impl Chunked {
    /// For a body whose first chunk begins at `body_start` of the buffer.
    pub(super) fn new(body_start: usize) -> Self {
        let lines = Lines::default();
        Self { state: State::Size, lines, extension_bytes: 0, body_start, body_end: body_start }
    }

    /// Where the body begins in the buffer.
    pub(super) fn start(&self) -> usize {
        self.body_start
    }

    /// Decodes what came; the buffer is no longer than the decoded bytes, and the few that wait for their line's end.
    pub(super) fn decode(&mut self, bytes: &mut Vec<u8>) -> Result<Decoded, Rejection> {
        let mut raw = self.body_end;
        loop {
            match self.state {
                State::Size => {
                    let Some(size) = self.size(&bytes[raw..])? else { break };
                    raw += self.lines.position();
                    self.lines = Lines::default();
                    let room = REQUEST_BODY_MAX_BYTES - (self.body_end - self.body_start);
                    self.state = match usize::try_from(size) {
                        Ok(0) => State::Trailer,
                        Ok(size) if size <= room => State::Data(size),
                        Ok(_) | Err(_) => return Ok(Decoded::TooLarge),
                    };
                }
                State::Data(size) => {
                    let length = size.min(bytes.len() - raw);
                    bytes.copy_within(raw..raw + length, self.body_end);
                    self.body_end += length;
                    raw += length;
                    if length < size {
                        self.state = State::Data(size - length);
                        break;
                    }
                    self.state = State::DataEnd;
                }
                State::DataEnd => match bytes[raw..] {
                    [b'\r', b'\n', ..] => {
                        raw += 2;
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => break,
                    _ => return Err(Rejection::Malformed("a chunk is longer than its size")),
                },
                State::Trailer => {
                    if !self.trailer(&bytes[raw..])? {
                        break;
                    }
                    return Ok(Decoded::Complete { body_end: self.body_end, rest: raw + self.lines.position() });
                }
            }
        }
        bytes.drain(self.body_end..raw);
        Ok(Decoded::Partial)
    }

    fn size(&mut self, section: &[u8]) -> Result<Option<u64>, Rejection> {
        const SIZE: Rejection = Rejection::Malformed("a chunk's size must be a hexadecimal number");
        let line = match self.lines.next_line(section, SIZE_LINE_MAX_BYTES) {
            Ok(Some(line)) => &section[line],
            Ok(None) => return Ok(None),
            Err(LineError::Control | LineError::TooLong) => return Err(SIZE),
        };
        let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
        let (digits, extensions) = line.split_at(digits);
        // RFC 9112, section 7.1.1: unknown extensions are ignored.
        if digits.len() > SIZE_MAX_DIGITS || extensions.first().is_some_and(|&byte| byte != b';') {
            return Err(SIZE);
        }
        self.extension_bytes += extensions.len();
        if self.extension_bytes > EXTENSIONS_MAX_BYTES {
            return Err(Rejection::Malformed("the chunks have too many extensions"));
        }
        let digits = std::str::from_utf8(digits).map_err(|_| SIZE)?;
        u64::from_str_radix(digits, 16).map(Some).map_err(|_| SIZE)
    }

    /// Whether the trailer section is complete. Its fields are dropped: RFC 9110, section 6.5.1, forbids to merge them
    /// into the headers unasked.
    fn trailer(&mut self, section: &[u8]) -> Result<bool, Rejection> {
        loop {
            match self.lines.next_line(section, TRAILER_MAX_BYTES) {
                Ok(Some(line)) if line.is_empty() => break,
                Ok(Some(_)) => {}
                Ok(None) => return Ok(false),
                Err(LineError::TooLong) => return Err(Rejection::HeadTooLarge),
                Err(LineError::Control) => return Err(Rejection::Malformed("a trailer is not well formed")),
            }
        }
        head::check_trailers(&section[..self.lines.position()])?;
        Ok(true)
    }
}
