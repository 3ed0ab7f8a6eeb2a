//! Just enough HTTP/1.1: requests as bytes, the head of an answer, and a blocking client for set-up and checks.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use crate::error::{Result, excerpt, fail};

/// No head of an answer is longer than this.
const HEAD_LIMIT: usize = 16 * 1024;
/// No body of an answer is longer than this; the longest page of history is about 1 MiB.
const BODY_LIMIT: usize = 8 * 1024 * 1024;
/// Set-up gives an answer so long.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A whole request as bytes.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if method != "GET" {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The status code.
    pub(crate) status: u16,
    /// Bytes of the head, the empty line included.
    pub(crate) length: usize,
    /// Bytes of the body.
    pub(crate) body: usize,
}

impl Head {
    /// Bytes of the whole answer.
    pub(crate) fn total(&self) -> usize {
        self.length + self.body
    }
}

/// The head at the start of `bytes`, or `None` while it is not all there.
pub(crate) fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let mut lines = Lines { bytes, at: 0 };
    let Some(first) = lines.next() else {
        return too_long(bytes);
    };
    let Some(status) = first.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)) else {
        return fail(format!("no HTTP/1.1 answer: {}", excerpt(bytes)));
    };
    let status = status.iter().fold(0, |value, digit| value * 10 + u16::from(digit.wrapping_sub(b'0')));
    let mut body = None;
    loop {
        let Some(line) = lines.next() else {
            return too_long(bytes);
        };
        if line.is_empty() {
            break;
        }
        if let Some(value) = header(line, b"content-length") {
            body = crate::json::number(value).and_then(|length| usize::try_from(length).ok());
        }
    }
    let bare = status < 200 || status == 204 || status == 304;
    match body {
        Some(length) if length > BODY_LIMIT => fail(format!("a body of {length} bytes")),
        Some(length) => Ok(Some(Head { status, length: lines.at, body: length })),
        None if bare => Ok(Some(Head { status, length: lines.at, body: 0 })),
        None => fail(format!("an answer without Content-Length: {}", excerpt(bytes))),
    }
}

/// The value of a header line, if it has this (lower-case) name.
pub(crate) fn header<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (key, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    key.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// The lines of a head, without their ends; the last one is empty.
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    /// The lines from the start of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        self.at += end + 1;
        let line = &rest[..end];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

fn too_long(bytes: &[u8]) -> Result<Option<Head>> {
    if bytes.len() > HEAD_LIMIT { fail("an endless head of an answer") } else { Ok(None) }
}

/// An answer to the blocking [`Client`].
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// One kept-alive connection that asks and waits: for set-up and for checks, outside of what is measured.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddrV4) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address.into(), TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream })
    }

    /// Sends a request as bytes and waits for its answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request)?;
        let mut bytes = Vec::new();
        let mut scratch = [0; 16 * 1024];
        loop {
            let read = self.stream.read(&mut scratch)?;
            if read == 0 {
                return fail("the server closed the connection");
            }
            bytes.extend_from_slice(&scratch[..read]);
            if let Some(head) = head(&bytes)? {
                while bytes.len() < head.total() {
                    let read = self.stream.read(&mut scratch)?;
                    if read == 0 {
                        return fail("the server closed the connection within an answer");
                    }
                    bytes.extend_from_slice(&scratch[..read]);
                }
                return Ok(Answer { status: head.status, body: bytes.split_off(head.length) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_requests() {
        let bytes = request("POST", "/x", &[("A", "b")], "{}");
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "POST /x HTTP/1.1\r\nHost: localhost\r\nA: b\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
        assert!(request("GET", "/y", &[], "").ends_with(b"localhost\r\n\r\n"));
    }

    #[test]
    fn reads_heads_in_any_split() {
        let bytes = b"HTTP/1.1 200 OK\r\nX-Other: 9\r\ncontent-LENGTH: 5\r\n\r\nhello";
        let length = bytes.len() - 5;
        for cut in 0..length {
            assert_eq!(head(&bytes[..cut]).unwrap(), None);
        }
        let parsed = head(bytes).unwrap().unwrap();
        assert_eq!(parsed, Head { status: 200, length, body: 5 });
        assert_eq!(parsed.total(), bytes.len());
    }

    #[test]
    fn no_body_where_none_can_be() {
        assert_eq!(head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().body, 0);
        assert_eq!(head(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").unwrap().unwrap().body, 0);
    }

    #[test]
    fn refuses_what_it_cannot_frame() {
        assert!(head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(head(b"SSH-2.0-OpenSSH\r\n").is_err());
        assert!(head(&[b'x'; HEAD_LIMIT + 1]).is_err());
        assert!(head(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").is_err());
    }

    #[test]
    fn client_asks_twice_on_one_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("IPv4 was bound") };
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for body in ["one", "two"] {
                let mut scratch = [0; 1024];
                assert!(stream.read(&mut scratch).unwrap() > 0);
                for part in [&b"HTTP/1.1 200 OK\r\nContent-Le"[..], b"ngth: 3\r\n\r\n", body.as_bytes()] {
                    stream.write_all(part).unwrap();
                }
            }
        });
        let mut client = Client::connect(address).unwrap();
        for expected in ["one", "two"] {
            let answer = client.ask(&request("GET", "/", &[], "")).unwrap();
            assert_eq!((answer.status, answer.body.as_slice()), (200, expected.as_bytes()));
        }
        server.join().unwrap();
    }
}
