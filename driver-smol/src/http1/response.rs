//! Responses to bytes, by async-h1's encoder, in memory.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use async_h1::server::Encoder;
use chatapi_core::api::HttpResponse;
use futures_lite::AsyncRead;
use futures_lite::io::Cursor;
use http_types::headers::{CONNECTION, CONTENT_TYPE};
use http_types::{Body, Method, Response, StatusCode};

use super::head::is_token;
use super::request::Persistence;

/// Appends a response to `out`, for a single write of it or of all that pipelined requests are answered with. `Date`,
/// `Content-Length` and `Connection` are added, names come in lower case and sorted.
///
/// Returns what then becomes of the connection: `after`, unless the response ends it.
///
/// # Errors
///
/// None is known, as nothing is waited for; `out` is as it was then, and the connection is to be closed.
pub fn encode_response(response: HttpResponse, after: Persistence, out: &mut Vec<u8>) -> io::Result<Persistence> {
    let after = if response.close { Persistence::Close } else { after };
    let method = if response.is_head { Method::Head } else { Method::Get };
    let status = StatusCode::try_from(response.status).unwrap_or(StatusCode::InternalServerError);
    let body_bytes = response.body.len();
    let mut head_bytes = HEAD_GUESS_BYTES;

    let mut encoded = Response::new(status);
    for (name, value) in response.headers {
        head_bytes += name.len() + value.len() + ": \r\n".len();
        // http-types panics on what is no ASCII, and would write a line break as it is.
        if is_token(name.as_bytes()) {
            encoded.append_header(name, sanitise(value));
        }
    }
    if body_bytes > 0 {
        let is_typed = encoded.header(CONTENT_TYPE).is_some();
        encoded.set_body(Body::from_reader(Cursor::new(response.body), Some(body_bytes)));
        if !is_typed {
            // http-types' own guess.
            encoded.remove_header(CONTENT_TYPE);
        }
    }
    // Beside what stands there already: RFC 9110, section 7.8, asks for the `Connection: Upgrade` of a 426.
    match after {
        Persistence::Close => encoded.append_header(CONNECTION, "close"),
        Persistence::KeepAliveNamed => encoded.append_header(CONNECTION, "keep-alive"),
        Persistence::KeepAlive => {}
    }

    let start = out.len();
    let capacity = head_bytes + if response.is_head { 0 } else { body_bytes };
    if let Err(error) = read_to_end(Encoder::new(encoded, method), capacity, out) {
        out.truncate(start);
        return Err(error);
    }
    if status == StatusCode::NoContent {
        remove_content_length(out, start);
    }
    Ok(after)
}

/// What the status line, `Date`, `Content-Length` and `Connection` take, and a little more.
const HEAD_GUESS_BYTES: usize = 192;

fn sanitise(value: String) -> String {
    let is_plain = |c: char| matches!(c, '\t' | ' '..='~');
    if value.chars().all(is_plain) {
        return value;
    }
    value.chars().map(|c| if is_plain(c) { c } else { '?' }).collect()
}

fn read_to_end(encoder: Encoder, capacity: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = pin!(encoder);
    let mut context = Context::from_waker(Waker::noop());
    let mut end = out.len();
    out.resize(end + capacity, 0);
    loop {
        if end == out.len() {
            out.resize(end + HEAD_GUESS_BYTES, 0);
        }
        match encoder.as_mut().poll_read(&mut context, &mut out[end..]) {
            Poll::Ready(Ok(0)) => break,
            Poll::Ready(Ok(read)) => end += read,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
        }
    }
    out.truncate(end);
    Ok(())
}

/// RFC 9110, section 8.6: no `Content-Length` in a 204, where the encoder always writes one.
fn remove_content_length(out: &mut Vec<u8>, start: usize) {
    const LINE: &[u8] = b"\r\ncontent-length: 0";
    if let Some(at) = out[start..].windows(LINE.len()).position(|window| window == LINE) {
        out.drain(start + at..start + at + LINE.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&'static str, &str)], body: &'static str) -> HttpResponse {
        HttpResponse {
            status,
            headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            body: body.into(),
            is_head: false,
            close: false,
        }
    }

    /// The response as text, its date blanked.
    fn encoded(response: HttpResponse, after: Persistence) -> String {
        let mut out = b"before ".to_vec();
        encode_response(response, after, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("before ").unwrap();
        let date = text.find("\r\ndate: ").unwrap() + "\r\ndate: ".len();
        let end = date + text[date..].find("\r\n").unwrap();
        assert!(text[date..end].ends_with(" GMT") && end - date == "Sun, 06 Nov 1994 08:49:37 GMT".len());
        format!("{}-{}", &text[..date], &text[end..])
    }

    #[test]
    fn bytes() {
        let json = ("Content-Type", "application/json");
        let ok = || response(200, &[("X-Request-Id", "r1"), json], "{}");
        assert_eq!(
            encoded(ok(), Persistence::KeepAlive),
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\ndate: -\r\nx-request-id: r1\r\n\r\n{}"
        );
        assert_eq!(
            encoded(ok(), Persistence::KeepAliveNamed),
            "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\ncontent-type: application/json\r\ndate: -\r\n\
             x-request-id: r1\r\n\r\n{}"
        );
        assert_eq!(
            encoded(HttpResponse { is_head: true, close: true, ..ok() }, Persistence::KeepAlive),
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\ncontent-type: application/json\r\ndate: -\r\n\
             x-request-id: r1\r\n\r\n"
        );
        assert_eq!(
            encoded(response(204, &[("Allow", "GET"), ("Vary", "Origin"), ("Vary", "A")], ""), Persistence::Close),
            "HTTP/1.1 204 No Content\r\nallow: GET\r\nconnection: close\r\ndate: -\r\nvary: Origin\r\nvary: A\r\n\r\n"
        );
        assert_eq!(
            encoded(response(200, &[], ""), Persistence::KeepAlive),
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ndate: -\r\n\r\n"
        );
        assert_eq!(
            encoded(response(404, &[], "no type"), Persistence::KeepAlive),
            "HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\ndate: -\r\n\r\nno type"
        );
    }

    #[test]
    fn the_connection_header_of_a_426_stands_beside_the_one_that_ends_the_connection() {
        let upgrade = response(426, &[("Connection", "Upgrade"), ("Upgrade", "websocket")], "");
        assert_eq!(
            encoded(upgrade, Persistence::Close),
            "HTTP/1.1 426 Upgrade Required\r\nconnection: Upgrade\r\nconnection: close\r\ncontent-length: 0\r\n\
             date: -\r\nupgrade: websocket\r\n\r\n"
        );
    }

    #[test]
    fn every_status_of_the_protocol_is_known() {
        for status in
            [200, 201, 202, 204, 400, 401, 403, 404, 405, 408, 409, 413, 422, 426, 429, 431, 500, 501, 503, 505]
        {
            let text = encoded(response(status, &[], ""), Persistence::KeepAlive);
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        }
        assert!(encoded(response(299, &[], ""), Persistence::Close).starts_with("HTTP/1.1 500 "));
    }

    #[test]
    fn no_header_can_panic_or_split() {
        let text = encoded(
            response(200, &[("X-A", "a\r\nSet-Cookie: b"), ("X-B", "\u{e4}\0\u{7f}"), ("X \u{e4}", "c")], ""),
            Persistence::KeepAlive,
        );
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ndate: -\r\nx-a: a??Set-Cookie: b\r\nx-b: ???\r\n\r\n"
        );
    }

    #[test]
    fn a_large_body_comes_whole() {
        let body: Vec<u8> = (0..3_000_000_u32).map(|i| i as u8).collect();
        let mut out = Vec::new();
        let large = HttpResponse { body: body.clone().into(), ..response(200, &[], "") };
        encode_response(large, Persistence::KeepAlive, &mut out).unwrap();
        assert!(out.ends_with(&body) && out.len() < body.len() + 100);
        assert!(out.capacity() < body.len() + 1000, "one buffer, allocated once");
    }
}
