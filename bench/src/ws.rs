//! Just enough of WebSocket (RFC 6455) for a client: the handshake's bytes, one frame in, one frame out.

use crate::error::{Result, excerpt, fail};
use crate::http::{self, Lines};

/// The key of RFC 6455's own example, so that the answer can be checked without SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Any mask will do: it protects proxies from hostile pages, and there is neither here.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x8e];

/// No frame of the server is longer than this.
const FRAME_LIMIT: u64 = 4 * 1024 * 1024;

/// Opcodes that come from, or go to, a server.
pub(crate) const TEXT: u8 = 1;
/// Close.
pub(crate) const CLOSE: u8 = 8;
/// Ping.
pub(crate) const PING: u8 = 9;
/// Pong.
pub(crate) const PONG: u8 = 10;

/// The request of a handshake, by API key and user id.
pub(crate) fn handshake(api_key: &str, user: &str) -> Vec<u8> {
    handshake_at("/ws", api_key, user)
}

/// The same, with a query string beside the path.
pub(crate) fn handshake_at(path: &str, api_key: &str, user: &str) -> Vec<u8> {
    let headers = [
        ("X-API-Key", api_key),
        ("X-User-Id", user),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    http::request("GET", path, &headers, "")
}

/// The length of the answer to [`handshake`], or `None` while it is not all there; a refusal is an error.
pub(crate) fn accepted(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head) = http::head(bytes)? else {
        return Ok(None);
    };
    if head.status != 101 {
        return fail(format!("the handshake was refused: {}", excerpt(bytes)));
    }
    let mut lines = Lines::new(&bytes[..head.length]);
    if lines.any(|line| http::header(line, b"sec-websocket-accept") == Some(ACCEPT)) {
        Ok(Some(head.length))
    } else {
        fail("the handshake was answered with a wrong Sec-WebSocket-Accept")
    }
}

/// A frame of the server: where its payload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its opcode.
    pub(crate) opcode: u8,
    /// Bytes of the frame's head.
    pub(crate) head: usize,
    /// Bytes of the payload.
    pub(crate) payload: usize,
}

impl Frame {
    /// Bytes of the whole frame.
    pub(crate) fn total(&self) -> usize {
        self.head + self.payload
    }
}

/// The frame at the start of `bytes`, or `None` while it is not all there.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Frame>> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    // The server under test sends whole frames; anything else would be news.
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return fail(format!("a frame that is fragmented, masked or has reserved bits: {first:#x} {second:#x}"));
    }
    let (head, payload) = match second & 0x7f {
        126 => match rest {
            [a, b, ..] => (4, u64::from(u16::from_be_bytes([*a, *b]))),
            _ => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (10, u64::from_be_bytes(*length)),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    if payload > FRAME_LIMIT {
        return fail(format!("a frame of {payload} bytes"));
    }
    let frame = Frame { opcode: first & 0x0f, head, payload: payload as usize };
    Ok((bytes.len() >= frame.total()).then_some(frame))
}

/// Appends one masked frame to `output`.
pub(crate) fn encode(output: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    output.push(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => output.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            output.push(0x80 | 126);
            output.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            output.push(0x80 | 127);
            output.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    output.extend_from_slice(&MASK);
    output.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server does with a client's frame.
    fn unmask(frame: &[u8]) -> (u8, Vec<u8>) {
        assert_ne!(frame[1] & 0x80, 0, "client frames are masked");
        let head = match frame[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let (mask, payload) = frame[head..].split_at(4);
        (frame[0] & 0x0f, payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect())
    }

    #[test]
    fn encodes_every_length() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut frame = Vec::new();
            encode(&mut frame, TEXT, &payload);
            assert_eq!(unmask(&frame), (TEXT, payload), "{length}");
        }
    }

    #[test]
    fn decodes_every_length_in_any_split() {
        for (head, length) in
            [(vec![0x81, 5], 5), (vec![0x81, 126, 1, 0], 256), (vec![0x89, 127, 0, 0, 0, 0, 0, 1, 0, 0], 65_536)]
        {
            let mut bytes = head.clone();
            bytes.resize(head.len() + length, b'x');
            for cut in (0..head.len() + 1).chain([bytes.len() - 1]) {
                assert_eq!(decode(&bytes[..cut]).unwrap(), None);
            }
            let expected = Frame { opcode: head[0] & 0x0f, head: head.len(), payload: length };
            bytes.extend_from_slice(b"the next one");
            assert_eq!(decode(&bytes).unwrap(), Some(expected));
        }
    }

    #[test]
    fn refuses_what_a_server_must_not_send() {
        assert!(decode(&[0x01, 0]).is_err(), "fragmented");
        assert!(decode(&[0xc1, 0]).is_err(), "reserved bit");
        assert!(decode(&[0x81, 0x80]).is_err(), "masked");
        assert!(decode(&[0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0]).is_err(), "too long");
    }

    #[test]
    fn checks_the_handshake() {
        let good =
            b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81";
        assert_eq!(accepted(good).unwrap(), Some(good.len() - 1));
        assert_eq!(accepted(&good[..40]).unwrap(), None);
        assert!(accepted(b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: x\r\n\r\n").is_err());
        assert!(accepted(b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n").is_err());
    }
}
