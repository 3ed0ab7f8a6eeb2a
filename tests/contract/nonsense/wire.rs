//! Requests in bytes over a kept connection: no client in between that would refuse to send them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::Server;

/// A request, right or wrong.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: Vec<u8>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn new(method: &str, target: &str, body: impl Into<Vec<u8>>) -> Self {
        let (method, target) = (method.to_owned(), target.as_bytes().to_vec());
        Self { method, target, headers: Vec::new(), body: body.into() }
    }

    pub(super) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.method.as_bytes(), b" ", &self.target, b" HTTP/1.1\r\nHost: x\r\n"].concat();
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        if !self.body.is_empty() {
            bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }

    /// For a failing test to show.
    pub(super) fn shown(&self) -> String {
        let bytes = self.bytes();
        bytes[..bytes.len().min(1_500)].escape_ascii().to_string()
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) has_request_id: bool,
    pub(super) retry_after: bool,
    pub(super) body: Value,
}

/// A client that opens another connection where the server ended the last.
pub(super) struct Wire<'a> {
    server: &'a Server,
    connection: Option<BufReader<TcpStream>>,
}

impl<'a> Wire<'a> {
    pub(super) const fn new(server: &'a Server) -> Self {
        Self { server, connection: None }
    }

    pub(super) fn ask(&mut self, request: &Request) -> Reply {
        let mut connection = self.connection.take().unwrap_or_else(|| BufReader::new(self.server.open()));
        // Who refuses early may not take all of it.
        drop(connection.get_mut().write_all(&request.bytes()));
        let (reply, stays) = read(&mut connection, request.method == "HEAD")
            .unwrap_or_else(|| panic!("no answer to {}", request.shown()));
        self.connection = stays.then_some(connection);
        reply
    }
}

/// The answer, and whether the connection stays.
fn read(connection: &mut BufReader<TcpStream>, is_head: bool) -> Option<(Reply, bool)> {
    let (mut status, mut length, mut stays) = (None, 0, true);
    let (mut has_request_id, mut retry_after) = (false, false);
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        match (status, line.split_once(": ")) {
            (None, _) => status = Some(line.split(' ').nth(1)?.parse().ok()?),
            (Some(_), None) => break,
            (Some(_), Some(("content-length", value))) => length = value.parse().ok()?,
            (Some(_), Some(("connection", value))) => stays = value != "close",
            (Some(_), Some(("x-request-id", value))) => has_request_id = !value.is_empty(),
            (Some(_), Some(("retry-after", _))) => retry_after = true,
            (Some(_), Some(_)) => {}
        }
    }
    let mut body = vec![0; if is_head { 0 } else { length }];
    connection.read_exact(&mut body).ok()?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).ok()? };
    Some((Reply { status: status?, has_request_id, retry_after, body }, stays))
}
