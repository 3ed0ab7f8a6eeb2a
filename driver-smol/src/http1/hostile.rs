//! What the reader must refuse and what it must read, whole, byte by byte, and cut anywhere.

use chatapi_core::api::{Body, REQUEST_BODY_MAX_BYTES, Rejection};
use http_types::Version;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Method, Persistence, Phase, Request, RequestReader};

const MALFORMED: Rejection = Rejection::Malformed("");

/// A request as a test sees it, or what ended the connection. The texts of rejections are blanked.
#[derive(Debug, PartialEq)]
enum Seen {
    Request { line: String, body: Option<Vec<u8>>, close: bool },
    Refused(Rejection),
}

fn see(request: &Request) -> Seen {
    Seen::Request {
        line: format!("{} {}", request.method(), request.target()),
        body: match request.body() {
            Body::Complete(bytes) => Some(bytes.to_vec()),
            Body::TooLarge => None,
        },
        close: request.persistence() == Persistence::Close,
    }
}

fn good(line: &str, body: &str) -> Seen {
    Seen::Request { line: line.to_owned(), body: Some(body.as_bytes().to_vec()), close: false }
}

fn last(line: &str, body: &str) -> Seen {
    Seen::Request { line: line.to_owned(), body: Some(body.as_bytes().to_vec()), close: true }
}

fn too_large(line: &str) -> Seen {
    Seen::Request { line: line.to_owned(), body: None, close: true }
}

fn blank(rejection: Rejection) -> Rejection {
    match rejection {
        Rejection::Malformed(text) => {
            assert!(!text.is_empty());
            MALFORMED
        }
        other @ (Rejection::Timeout
        | Rejection::HeadTooLarge
        | Rejection::UnknownMethod
        | Rejection::UnsupportedVersion
        | Rejection::Overloaded
        | Rejection::Stopped) => other,
    }
}

/// Takes what is there; whether it goes on.
fn drain(reader: &mut RequestReader, seen: &mut Vec<Seen>) -> bool {
    loop {
        match reader.next_request() {
            Ok(Some(request)) => seen.push(see(&request)),
            Ok(None) => return reader.phase() != Phase::Ended,
            Err(rejection) => {
                assert_eq!(reader.next_request().unwrap_err(), rejection);
                assert_eq!((reader.phase(), reader.buffer_bytes()), (Phase::Ended, 0));
                seen.push(Seen::Refused(blank(rejection)));
                return false;
            }
        }
    }
}

fn read<'a>(packets: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut reader = RequestReader::new();
    let mut seen = Vec::new();
    for packet in packets {
        reader.push(packet);
        if !drain(&mut reader, &mut seen) {
            break;
        }
        assert_eq!(reader.phase() == Phase::Idle, reader.buffer_bytes() == 0);
    }
    seen
}

fn check(bytes: &[u8], expected: &[Seen]) {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    assert_eq!(read([bytes]), expected, "whole: {shown:?}");
    assert_eq!(read(bytes.chunks(1)), expected, "byte by byte: {shown:?}");
    if bytes.len() < 1000 {
        for at in 0..bytes.len() {
            assert_eq!(read([&bytes[..at], &bytes[at..]]), expected, "cut at {at}: {shown:?}");
        }
        for size in [2, 3, 7] {
            assert_eq!(read(bytes.chunks(size)), expected, "in pieces of {size}: {shown:?}");
        }
    }
}

/// A request with these lines after its `Host`, and the empty line.
fn with(lines: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: h\r\n{lines}\r\n").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    [with("Transfer-Encoding: chunked\r\n"), body.as_bytes().to_vec()].concat()
}

#[test]
fn request_lines_that_are_refused() {
    for (line, rejection) in [
        ("GET /", MALFORMED),
        ("GET", MALFORMED),
        ("hello", MALFORMED),
        ("SSH-2.0-OpenSSH_9.6", MALFORMED),
        (" GET / HTTP/1.1", MALFORMED),
        ("GET  / HTTP/1.1", MALFORMED),
        ("GET /  HTTP/1.1", MALFORMED),
        ("GET\t/ HTTP/1.1", MALFORMED),
        ("GET / HTTP/1.1 ", MALFORMED),
        ("GET / x HTTP/1.1", MALFORMED),
        ("G@T / HTTP/1.1", MALFORMED),
        ("GET / http/1.1", MALFORMED),
        ("GET / HTTP/", MALFORMED),
        ("GET / HTTP/x.y", MALFORMED),
        ("GET / ICY/1.1", MALFORMED),
        ("GET /a\0b HTTP/1.1", MALFORMED),
        ("GET /a\x7Fb HTTP/1.1", MALFORMED),
    ] {
        // At once: what speaks another protocol may wait for us instead of sending an empty line.
        check(format!("{line}\r\n").as_bytes(), &[Seen::Refused(rejection)]);
    }
    for (line, rejection) in [
        ("GET http://h/ HTTP/1.1", MALFORMED),
        ("CONNECT h:443 HTTP/1.1", MALFORMED),
        ("OPTIONS * HTTP/1.1", MALFORMED),
        ("GET a HTTP/1.1", MALFORMED),
        ("GET ?a HTTP/1.1", MALFORMED),
        ("GET /a#b HTTP/1.1", MALFORMED),
        ("GET /\u{e4} HTTP/1.1", MALFORMED),
        ("GET /a\tb HTTP/1.1", MALFORMED),
        ("get / HTTP/1.1", Rejection::UnknownMethod),
        ("BREW /pot HTTP/1.1", Rejection::UnknownMethod),
        ("BREW pot HTTP/1.1", Rejection::UnknownMethod),
        ("GET / HTTP/0.9", Rejection::UnsupportedVersion),
        ("GET / HTTP/1.2", Rejection::UnsupportedVersion),
        ("GET / HTTP/1.10", Rejection::UnsupportedVersion),
        ("GET / HTTP/2", Rejection::UnsupportedVersion),
        ("BREW pot HTTP/3.0", Rejection::UnsupportedVersion),
        ("PRI * HTTP/2.0", Rejection::UnsupportedVersion),
    ] {
        // At the end of the head, which may name the request.
        check(format!("{line}\r\nHost: h\r\nX: y\r\n").as_bytes(), &[]);
        check(format!("{line}\r\nHost: h\r\nX: y\r\n\r\n").as_bytes(), &[Seen::Refused(rejection)]);
    }
    check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[Seen::Refused(Rejection::UnsupportedVersion)]);
    check(b"\x16\x03\x01\x02\0\x01\0", &[Seen::Refused(MALFORMED)]);
    check(b"\0", &[Seen::Refused(MALFORMED)]);
}

#[test]
fn lines_that_do_not_end_in_crlf_are_refused() {
    for text in [
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n",
        "GET / HTTP/1.1\rHost: h\r\r",
        "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\rGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        check(text.as_bytes(), &[Seen::Refused(MALFORMED)]);
    }
}

#[test]
fn headers_that_are_refused() {
    for lines in [
        // Shape.
        "X: a\r\n b\r\n",
        "X: a\r\n\tb\r\n",
        " X: a\r\n",
        "X : a\r\n",
        "X\t: a\r\n",
        "X\r\n",
        ": a\r\n",
        "X Y: a\r\n",
        "X@: a\r\n",
        "\u{e4}: a\r\n",
        "X: a\0b\r\n",
        "X: a\x01b\r\n",
        "X: a\x7Fb\r\n",
        "X: \x1B[31m\r\n",
        "(: a\r\n",
        // Host.
        "Host: h\r\n",
        "Host: other\r\n",
        "hOST: h\r\n",
        // Content-Length.
        "Content-Length:\r\n",
        "Content-Length: x\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: 1 1\r\n",
        "Content-Length: 1.0\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\ncontent-length: 2\r\n",
        "Content-Length: \u{661}\r\n",
        "Content-Length : 1\r\n",
        // Transfer-Encoding.
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: chunked;a=b\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: \x0Bchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
    ] {
        check(&with(lines), &[Seen::Refused(MALFORMED)]);
    }
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x/admin#\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \u{e4}\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        check(head.as_bytes(), &[Seen::Refused(MALFORMED)]);
    }
}

#[test]
fn heads_that_are_too_large_are_refused_unread() {
    let refused = [Seen::Refused(Rejection::HeadTooLarge)];
    let line = [b"GET /".as_slice(), &[b'a'; 20_000]].concat();
    check(&line, &refused);
    let mut reader = RequestReader::new();
    for piece in std::iter::once(&b"GET /"[..]).chain(std::iter::repeat_n(&[b'a'; 65_536][..], 4800)) {
        reader.push(piece);
        assert!(reader.buffer_bytes() <= 3 * 65_536);
        drain(&mut reader, &mut Vec::new());
    }
    assert_eq!(reader.next_request().unwrap_err(), Rejection::HeadTooLarge);

    // The limit to the byte, whatever follows.
    let head = |bytes: usize| {
        let empty = with("X: \r\n").len();
        with(&format!("X: {}\r\n", "x".repeat(bytes - empty)))
    };
    check(&head(16 * 1024), &[good("POST /a", "")]);
    check(&head(16 * 1024 + 1), &refused);
    check(&[head(16 * 1024 + 1), b"\n\0".to_vec()].concat(), &refused);

    check(&with(&"a: b\r\n".repeat(127)), &[good("POST /a", "")]);
    check(&with(&"a: b\r\n".repeat(128)), &refused);
    check(&with(&"\u{e4}\r\n".repeat(128)), &refused);
}

#[test]
fn bodies_that_are_too_large_are_left_to_the_core() {
    let limit = REQUEST_BODY_MAX_BYTES;
    let body = vec![b'x'; limit];
    let fits = [with(&format!("Content-Length: {limit}\r\n")), body.clone()].concat();
    let whole = Seen::Request { line: "POST /a".to_owned(), body: Some(body.clone()), close: false };
    assert_eq!(read(fits.chunks(10_000)), [whole]);
    for length in [(limit + 1).to_string(), "18446744073709551615".to_owned()] {
        check(&with(&format!("Content-Length: {length}\r\n")), &[too_large("POST /a")]);
        check(
            &[with(&format!("Content-Length: {length}\r\nExpect: 100-continue\r\n")), b"GET / ".to_vec()].concat(),
            &[too_large("POST /a")],
        );
    }

    for size in ["200001", "ffffffff", "ffffffffffffffff", "0000000000200001"] {
        check(&chunked(&format!("{size}\r\n")), &[too_large("POST /a")]);
        check(&chunked(&format!("1\r\nx\r\n{size}\r\nxx")), &[too_large("POST /a")]);
    }
    let mut reader = RequestReader::new();
    reader.push(&chunked("100000\r\n"));
    let mut seen = Vec::new();
    for piece in
        [&body[..limit / 2], b"\r\n100000\r\n", &body[limit / 2..], b"\r\n"].iter().flat_map(|p| p.chunks(4096))
    {
        drain(&mut reader, &mut seen);
        reader.push(piece);
        assert!(reader.buffer_bytes() < limit + HEAD_AND_PUSH);
    }
    drain(&mut reader, &mut seen);
    assert_eq!((seen.len(), reader.phase()), (0, Phase::Body));
    reader.push(b"1\r\n");
    drain(&mut reader, &mut seen);
    assert_eq!(seen, [too_large("POST /a")]);
}

const HEAD_AND_PUSH: usize = 16 * 1024 + 2 * 4096;

#[test]
fn chunks_that_are_refused() {
    for body in [
        "\r\n",
        "x\r\n",
        "0x1\r\n",
        "+1\r\n",
        "-1\r\n",
        " 1\r\n",
        "1 \r\n",
        "1 ;a\r\n",
        "1\na\r\n",
        "1\ra\r\n",
        ";a\r\n",
        "1;a\nb\r\n",
        "1;a\0\r\n",
        "\u{661}\r\n",
        "00000000000000001\r\n",
        "10000000000000000\r\n",
        "1\r\nab\r\n",
        "1\r\na\n",
        "1\r\na\r\r",
        "1\r\naX",
        "1\r\na0\r\n\r\n",
        "0\r\n\n",
        "0\r\nX\r\n\r\n",
        "0\r\nX : a\r\n\r\n",
        "0\r\nX: a\r\n b\r\n\r\n",
        "0\r\nX: a\n\r\n",
        "0\r\nX: \0\r\n\r\n",
        "0\r\n: a\r\n\r\n",
    ] {
        check(&chunked(body), &[Seen::Refused(MALFORMED)]);
    }
    check(&chunked(&format!("1;{}", "a".repeat(256))), &[Seen::Refused(MALFORMED)]);
    check(&chunked(&format!("1;{}\r\na\r\n", "a".repeat(200)).repeat(21)), &[Seen::Refused(MALFORMED)]);
    check(&chunked(&format!("0\r\nX: {}", "a".repeat(4096))), &[Seen::Refused(Rejection::HeadTooLarge)]);
    check(&chunked(&format!("0\r\n{}\r\n", "a: b\r\n".repeat(17))), &[Seen::Refused(Rejection::HeadTooLarge)]);
}

#[test]
fn chunks_that_are_read() {
    for (body, decoded) in [
        ("0\r\n\r\n", ""),
        ("000\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("2\r\n\r\n\r\n1\r\n0\r\n0\r\n\r\n", "\r\n0"),
        ("A\r\n0123456789\r\n00f\r\n0123456789abcde\r\n0\r\n\r\n", "01234567890123456789abcde"),
        ("1;a=b;c=\"d\"\r\nx\r\n0;e\r\n\r\n", "x"),
        ("1\r\nx\r\n0\r\nContent-Length: 7\r\nHost: other\r\n\r\n", "x"),
    ] {
        check(&chunked(body), &[good("POST /a", decoded)]);
        let twice = [chunked(body), chunked(body), b"\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()].concat();
        check(&twice, &[good("POST /a", decoded), good("POST /a", decoded), good("GET /b", "")]);
    }
    check(&[with("tRANSFER-eNCODING: Chunked\r\n"), b"1\r\nx\r\n0\r\n\r\n".to_vec()].concat(), &[good("POST /a", "x")]);
}

#[test]
fn requests_that_are_read() {
    for (text, expected) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", vec![good("GET /", "")]),
        ("HEAD /a?b=c%20d HTTP/1.1\r\nhost:h:80\r\n\r\n", vec![good("HEAD /a?b=c%20d", "")]),
        ("OPTIONS /a HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", vec![good("OPTIONS /a", "")]),
        ("GET //a/../b HTTP/1.1\r\nHost: h\r\nX:\r\n\r\n", vec![good("GET //a/../b", "")]),
        // Without a Host in 1.0; it stands only when asked to.
        ("GET / HTTP/1.0\r\n\r\n", vec![last("GET /", "")]),
        ("GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n", vec![good("GET /", "")]),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", vec![last("GET /", "")]),
        ("POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 2\r\n\r\nab", vec![last("POST /", "ab")]),
        // As nginx sends it.
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n\r\n", vec![good("GET /", "")]),
        // Nothing is served after a close.
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\nGET /b", vec![last("GET /", "")]),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: x\r\nConnection: y,close\r\n\r\n\0", vec![last("GET /", "")]),
        // Pipelined.
        (
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: h\r\n\r\nfoo\r\n",
            vec![good("POST /a", "abc"), good("GET /b", ""), Seen::Refused(MALFORMED)],
        ),
        ("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0000\r\n\r\n", vec![good("POST /a", "")]),
        // Empty lines before a request line.
        (
            "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
            vec![good("GET /", ""), good("GET /b", "")],
        ),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n\r\n\r\n\r\n", vec![good("GET /", ""), Seen::Refused(MALFORMED)]),
        ("GET / HTTP/1.1\r\nHost: h\r\nExpect: something\r\n\r\n", vec![good("GET /", "")]),
    ] {
        check(text.as_bytes(), &expected);
    }
}

#[test]
fn the_core_sees_what_stood_on_the_wire() {
    let mut reader = RequestReader::new();
    let head =
        "PATCH /a?b HTTP/1.1\r\nHost: h\r\nX-USER-Id: \t J\u{fc}rgen \r\nx-user-ID:\r\nContent-Length: 2\r\n\r\n{}";
    reader.push(head.as_bytes());
    let request = reader.next_request().unwrap().unwrap();
    assert_eq!((request.method(), request.version()), (Method::Patch, Version::Http1_1));
    assert_eq!(request.header("x-user-id"), Some("J\u{fc}rgen".as_bytes()));
    request.with_parts(|parts| {
        assert_eq!((parts.method, parts.target, parts.body), ("PATCH", "/a?b", Body::Complete(b"{}")));
        let expected: [(&str, &[u8]); 4] =
            [("host", b"h"), ("x-user-id", "J\u{fc}rgen".as_bytes()), ("x-user-id", b""), ("content-length", b"2")];
        assert_eq!(parts.headers, expected);
    });
}

#[test]
fn bytes_after_an_upgrade_are_kept() {
    for connection in ["keep-alive, Upgrade", "close, Upgrade"] {
        let mut reader = RequestReader::new();
        let head = format!("GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: {connection}\r\n\r\n");
        reader.push(&[head.as_bytes(), b"\x81\x80\r\n\0\0"].concat());
        assert_eq!(
            see(&reader.next_request().unwrap().unwrap()),
            Seen::Request {
                line: "GET /ws".to_owned(),
                body: Some(Vec::new()),
                close: connection.starts_with("close"),
            }
        );
        assert_eq!(reader.into_rest(), b"\x81\x80\r\n\0\0");
    }
    assert_eq!(RequestReader::new().into_rest(), b"");
}

#[test]
fn phases() {
    let mut reader = RequestReader::new();
    let mut phases = vec![reader.phase()];
    for piece in ["\r", "\n", "P", "OST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r", "\n", "a", "b"] {
        reader.push(piece.as_bytes());
        assert_eq!(reader.next_request().unwrap().is_some(), piece == "b");
        phases.push(reader.phase());
    }
    use Phase::{Body, Head, Idle};
    assert_eq!(phases, [Idle, Head, Idle, Head, Head, Body, Body, Idle]);
    assert_eq!(reader.buffer_bytes(), 0);
    assert!(size_of::<RequestReader>() <= 32, "{} bytes", size_of::<RequestReader>());
}

#[test]
fn a_continue_is_asked_for_where_it_is_due() {
    for (lines, body, version, due) in [
        ("Content-Length: 2\r\nExpect: 100-Continue\r\n", "", "1.1", true),
        ("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", "", "1.1", true),
        ("Content-Length: 2\r\nExpect: 100-continue\r\n", "a", "1.1", false),
        ("Content-Length: 2\r\nExpect: 100-continue\r\n", "ab", "1.1", false),
        ("Content-Length: 0\r\nExpect: 100-continue\r\n", "", "1.1", false),
        ("Content-Length: 2097153\r\nExpect: 100-continue\r\n", "", "1.1", false),
        ("Content-Length: 2\r\nExpect: 100-continue\r\n", "", "1.0", false),
        ("Content-Length: 2\r\nExpect: other\r\n", "", "1.1", false),
        ("Content-Length: 2\r\n", "", "1.1", false),
    ] {
        let mut reader = RequestReader::new();
        reader.push(format!("POST / HTTP/{version}\r\nHost: h\r\n{lines}\r").as_bytes());
        assert!(reader.next_request().unwrap().is_none() && !reader.take_continue());
        reader.push(format!("\n{body}").as_bytes());
        drop(reader.next_request().unwrap());
        assert_eq!(reader.take_continue(), due, "{lines:?} {body:?} {version}");
        assert!(!reader.take_continue());
    }
}

/// Bytes that look like HTTP often enough to get beyond the first line.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a HTTP/1.1\r\n",
        "HEAD / HTTP/1.0\r\n",
        "Host: h\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        "\r\n",
        "\r\n\r\n",
        "\r",
        "\n",
        " ",
        ":",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "0\r\n",
        "abc",
        "X: y\r\n",
        "200001\r\n",
        "\t",
    ]);
    let word = prop_oneof![
        12 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..40),
    ];
    vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packets_make_no_difference(bytes in prop_oneof![4 => soup(), 1 => vec(any::<u8>(), 0..300)], cuts in vec(1..30_usize, 1..20)) {
        let whole = read([&bytes[..]]);
        prop_assert_eq!(&read(bytes.chunks(1)), &whole);
        let mut rest = &bytes[..];
        let mut packets = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (packet, after) = rest.split_at((*cut).min(rest.len()));
            packets.push(packet);
            rest = after;
        }
        prop_assert_eq!(&read(packets), &whole);
    }

    #[test]
    fn memory_is_bounded(start in soup(), repeated in vec(any::<u8>(), 1..50), times in 0..2000_usize) {
        let mut reader = RequestReader::new();
        let mut seen = Vec::new();
        for packet in [&start, &repeated.repeat(times)].into_iter().flat_map(|bytes| bytes.chunks(4096)) {
            reader.push(packet);
            drain(&mut reader, &mut seen);
            prop_assert!(reader.buffer_bytes() <= REQUEST_BODY_MAX_BYTES + HEAD_AND_PUSH);
        }
    }
}
