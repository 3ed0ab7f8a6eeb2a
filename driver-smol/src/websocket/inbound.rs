//! What the peer sends. tungstenite does the framing, masking, reassembly and UTF-8 checks on memory instead of a
//! socket, so that an idle connection holds no buffer and all that goes out takes one way.

use std::io::{self, Read, Write};

use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use async_tungstenite::tungstenite::{Error, Message, Utf8Bytes, WebSocket};
use chatapi_core::api::REQUEST_BODY_MAX_BYTES;

use super::boundaries::Boundaries;
use super::outgoing::Outgoing;

/// What came in.
#[derive(Debug)]
pub(crate) enum Received {
    Text(Utf8Bytes),
    /// A ping or a pong.
    Sign,
    /// A close frame; its answer is among the bytes to send.
    Close,
    /// The peer broke a rule: close with this code.
    Violation(u16, &'static str),
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct Inbound {
    socket: Box<WebSocket<Memory>>,
    boundaries: Boundaries,
    /// A large frame came since tungstenite's buffer was small.
    has_grown: bool,
}

/// Stands where tungstenite expects a socket.
#[derive(Debug, Default)]
struct Memory {
    incoming: Vec<u8>,
    taken: usize,
    outgoing: Vec<u8>,
}

/// tungstenite keeps a buffer of this size for each connection.
const READ_BUFFER_BYTES: usize = 128;
/// A larger frame makes that buffer grow, for good: at the end of such a message it starts anew.
const LARGE_FRAME_BYTES: usize = 1_024;

impl Inbound {
    pub(crate) fn new() -> Self {
        Self { socket: new_socket(), boundaries: Boundaries::default(), has_grown: false }
    }

    /// Takes bytes from the socket and gives what they complete to `each`, until that says to stop.
    pub(crate) fn receive(&mut self, bytes: &[u8], mut each: impl FnMut(Received) -> bool) {
        self.boundaries.advance(bytes);
        self.has_grown |= bytes.len().max(self.unfinished_bytes()) > LARGE_FRAME_BYTES;
        self.socket.get_mut().incoming.extend_from_slice(bytes);
        let waits_for_more = loop {
            let received = match self.socket.read() {
                Ok(Message::Text(text)) => Received::Text(text),
                Ok(Message::Ping(_) | Message::Pong(_)) => Received::Sign,
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => Received::Close,
                Ok(Message::Binary(_)) => Received::Violation(1003, "binary frames are not served: send text"),
                Ok(Message::Frame(_)) => continue,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(error) => violation(&error),
            };
            if !each(received) {
                break false;
            }
        };
        let memory = self.socket.get_mut();
        memory.incoming = Vec::new();
        memory.taken = 0;
        if waits_for_more && self.has_grown && self.unfinished_bytes() == 0 {
            self.shrink();
        }
    }

    /// Between two messages tungstenite knows nothing that is worth its buffer.
    fn shrink(&mut self) {
        let mut socket = new_socket();
        drop(self.socket.flush());
        socket.get_mut().outgoing = std::mem::take(&mut self.socket.get_mut().outgoing);
        self.socket = socket;
        self.has_grown = false;
    }

    /// How many bytes of a message came that is not complete; 0 between two messages.
    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.boundaries.unfinished_bytes()
    }

    /// What is to be sent in answer: a pong to the newest ping, or the answer to a close.
    pub(crate) fn take_answers(&mut self) -> Option<Outgoing> {
        // Writing into memory cannot fail but for a peer that is being closed, and then nothing is owed any more.
        drop(self.socket.flush());
        let outgoing = std::mem::take(&mut self.socket.get_mut().outgoing);
        (!outgoing.is_empty()).then(|| Outgoing::answer(outgoing))
    }
}

fn new_socket() -> Box<WebSocket<Memory>> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(64 * 1024)
        .max_message_size(Some(REQUEST_BODY_MAX_BYTES))
        .max_frame_size(Some(REQUEST_BODY_MAX_BYTES));
    Box::new(WebSocket::from_raw_socket(Memory::default(), Role::Server, Some(config)))
}

fn violation(error: &Error) -> Received {
    if matches!(error, Error::Capacity(_)) {
        Received::Violation(1009, "a message is at most 2 MiB")
    } else if matches!(error, Error::Utf8(_)) {
        Received::Violation(1007, "text frames are UTF-8")
    } else {
        Received::Violation(1002, "the WebSocket protocol was broken")
    }
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut rest = self.incoming.get(self.taken..).unwrap_or_default();
        if rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = rest.read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}

impl Write for Memory {
    /// One frame at a time comes here. It stands for those before it: of the pongs that wait only the newest has to be
    /// sent (RFC 6455, section 5.5.3), and none before the answer to a close. A peer that pings without reading would
    /// otherwise decide how much waits for it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.clear();
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked client frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut bytes = vec![first];
        match u16::try_from(payload.len()).unwrap() {
            length @ 0..=125 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            length => {
                bytes.push(0x80 | 126);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend(mask);
        bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
        bytes
    }

    fn receive(inbound: &mut Inbound, bytes: &[u8]) -> Vec<String> {
        let mut seen = Vec::new();
        inbound.receive(bytes, |received| {
            let goes_on = matches!(received, Received::Text(_) | Received::Sign);
            seen.push(match received {
                Received::Text(text) => text.to_string(),
                Received::Sign => "sign".to_owned(),
                Received::Close => "close".to_owned(),
                Received::Violation(code, _) => code.to_string(),
            });
            goes_on
        });
        seen
    }

    #[test]
    fn frames_come_whole_however_their_bytes_are_split() {
        let bytes = [frame(0x01, b"he"), frame(0x80, b"llo"), frame(0x8a, b""), frame(0x81, &[b'x'; 300])].concat();
        for size in [1, 2, 7, 100, bytes.len()] {
            let mut inbound = Inbound::new();
            let seen: Vec<String> = bytes.chunks(size).flat_map(|chunk| receive(&mut inbound, chunk)).collect();
            assert_eq!(seen, ["hello".to_owned(), "sign".to_owned(), "x".repeat(300)], "{size}");
        }
    }

    #[test]
    fn a_ping_is_answered_and_so_is_a_close() {
        let mut inbound = Inbound::new();
        assert_eq!(receive(&mut inbound, &frame(0x89, b"p")), ["sign"]);
        assert_eq!(&inbound.take_answers().unwrap().bytes[..], [0x8a, 1, b'p']);
        assert_eq!(receive(&mut inbound, &frame(0x88, &1000_u16.to_be_bytes())), ["close"]);
        assert_eq!(&inbound.take_answers().unwrap().bytes[..], [0x88, 2, 0x03, 0xe8]);
        assert!(inbound.take_answers().is_none());
    }

    #[test]
    fn what_a_large_message_took_is_given_back_and_nothing_after_it_is_lost() {
        let large = "x".repeat(60_000);
        let [begin, ping, end] = [frame(0x01, large.as_bytes()), frame(0x89, b"p"), frame(0x80, b"y")];
        let bytes = [&begin[..], &ping, &end, &frame(0x81, b"next")].concat();
        for size in [1, 2, 100, 4_096, bytes.len()] {
            let mut inbound = Inbound::new();
            let seen: Vec<String> = bytes.chunks(size).flat_map(|chunk| receive(&mut inbound, chunk)).collect();
            assert_eq!(seen, ["sign".to_owned(), format!("{large}y"), "next".to_owned()], "{size}");
            assert_eq!(&inbound.take_answers().unwrap().bytes[..], [0x8a, 1, b'p'], "{size}");
            assert!(!inbound.has_grown, "{size}");
        }
    }

    #[test]
    fn of_many_pings_the_newest_alone_is_answered() {
        let mut inbound = Inbound::new();
        let pings: Vec<u8> = (b'a'..=b'z').flat_map(|letter| frame(0x89, &[letter])).collect();
        assert_eq!(receive(&mut inbound, &pings).len(), 26);
        assert_eq!(&inbound.take_answers().unwrap().bytes[..], [0x8a, 1, b'z']);
        assert!(inbound.take_answers().is_none());
    }

    #[test]
    fn what_breaks_the_protocol_is_closed_with_its_code() {
        let unmasked = [0x81, 2, b'h', b'i'];
        let too_long = [0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0x20, 0, 1, 1, 2, 3, 4];
        for (bytes, code) in [
            (frame(0x82, b"x"), "1003"),
            (frame(0x81, b"\xff"), "1007"),
            (frame(0x83, b"x"), "1002"),
            (frame(0x80, b"x"), "1002"),
            (frame(0xc1, b"x"), "1002"),
            (unmasked.to_vec(), "1002"),
            (too_long.to_vec(), "1009"),
        ] {
            assert_eq!(receive(&mut Inbound::new(), &bytes), [code], "{bytes:?}");
        }
    }

    #[test]
    fn a_message_in_fragments_is_at_most_2_mib() {
        let mut inbound = Inbound::new();
        let part = vec![b'x'; 60_000];
        assert!(receive(&mut inbound, &frame(0x01, &part)).is_empty());
        let seen: Vec<String> = (0..40).flat_map(|_| receive(&mut inbound, &frame(0x00, &part))).collect();
        assert_eq!(seen.first().map(String::as_str), Some("1009"));
    }
}
