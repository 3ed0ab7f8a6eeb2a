//! What is no proper request, over bare sockets: answered or cut, and nobody else notices (protocol, section 1).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a test that failed")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use support::{Server, read_to_end};

/// The status and error code of each answer in what a server sent.
fn answers(text: &str) -> Vec<(u16, Option<String>)> {
    text.split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|answer| {
            // The version stands in messages too.
            let status = answer[..3].parse().ok()?;
            let code = answer.split_once("\"code\":\"").map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
            Some((status, code))
        })
        .collect()
}

#[test]
fn what_http_itself_rejects_is_answered_and_cut() {
    let server = Server::start();
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(20_000));
    let many_headers = format!("GET /livez HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(129));
    let post = "POST /rooms HTTP/1.1\r\nHost: x\r\n";
    for (request, status, code) in [
        (long_target.as_str(), 431, "HEADERS_TOO_LARGE"),
        (&many_headers, 431, "HEADERS_TOO_LARGE"),
        ("nonsense\r\n\r\n", 400, "VALIDATION_ERROR"),
        ("GET /livez HTTP/1.1\nHost: x\n\n", 400, "VALIDATION_ERROR"),
        ("GET /livez HTTP/1.1\r\n\r\n", 400, "VALIDATION_ERROR"),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, "VALIDATION_ERROR"),
        ("GET http://x/livez HTTP/1.1\r\nHost: x\r\n\r\n", 400, "VALIDATION_ERROR"),
        ("GET livez HTTP/1.1\r\nHost: x\r\n\r\n", 400, "VALIDATION_ERROR"),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400, "VALIDATION_ERROR"),
        ("GET /livez HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", 400, "VALIDATION_ERROR"),
        ("GET /livez HTTP/1.1\r\nHost : x\r\n\r\n", 400, "VALIDATION_ERROR"),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 400, "VALIDATION_ERROR"),
        ("BREW /livez HTTP/1.1\r\nHost: x\r\n\r\n", 501, "NOT_IMPLEMENTED"),
        ("GET /livez HTTP/2.0\r\nHost: x\r\n\r\n", 505, "HTTP_VERSION_NOT_SUPPORTED"),
        (&format!("{post}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"), 400, "VALIDATION_ERROR"),
        (&format!("{post}Content-Length: +1\r\n\r\nx"), 400, "VALIDATION_ERROR"),
        (&format!("{post}Content-Length: 1, 1\r\n\r\nx"), 400, "VALIDATION_ERROR"),
        (&format!("{post}Content-Length: 99999999999999999999\r\n\r\nx"), 400, "VALIDATION_ERROR"),
        (&format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 400, "VALIDATION_ERROR"),
        (&format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"), 400, "VALIDATION_ERROR"),
        (&format!("{post}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), 400, "VALIDATION_ERROR"),
    ] {
        // Whatever follows a request that cannot be trusted is not one.
        let text = server.raw(format!("{request}GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        assert_eq!(answers(&text), [(status, Some(code.to_owned()))], "{request:?}: {text}");
        assert!(text.to_lowercase().contains("connection: close"), "{text}");
        assert!(text.to_lowercase().contains("x-request-id: "), "{text}");
    }
    assert_eq!(server.request("GET", "/livez", &[], "").status, 200);
}

/// `X-Request-Id` of each answer in what a server sent.
fn request_ids(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect()
}

#[test]
fn a_refusal_names_the_request_as_its_sender_did_as_far_as_its_head_could_be_read() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let post = |lines: &str| format!("POST /rooms HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n{lines}\r\n");
    let known = format!("X-API-Key: {}\r\nX-User-Id: alice\r\n", tenant.api_key);
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    for (request, status) in [
        (post("Content-Length: 1\r\nContent-Length: 1\r\n"), 400),
        (post("Content-Length: x\r\n"), 400),
        (post("Host: y\r\n"), 400),
        (post(&format!("{known}Content-Length: 2097153\r\n")), 413),
        (post(&format!("{known}Transfer-Encoding: chunked\r\n")) + "200001\r\n", 413),
        (post("Transfer-Encoding: gzip\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n") + "1\r\n{\r\nxyz\r\n", 400),
        (post("Transfer-Encoding: chunked\r\n") + "0\r\n" + &"a: b\r\n".repeat(17) + "\r\n", 431),
        (format!("GET /ws HTTP/1.0\r\nHost: x\r\nX-Request-Id: mine\r\n{handshake}\r\n\r\n"), 400),
        ("BREW /pot HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n\r\n".to_owned(), 501),
        ("GET / HTTP/1.2\r\nHost: x\r\nX-Request-Id: mine\r\n\r\n".to_owned(), 505),
        ("GET http://x/ HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n\r\n".to_owned(), 400),
        // It came before the fault.
        (post(&"A: b\r\n".repeat(127)), 431),
        (post(&format!("A: {}\r\n", "b".repeat(20_000))), 431),
        (post("Bad Name: x\r\n"), 400),
        (post("Bad Name: x\r\nX-Request-Id: another\r\n"), 400),
        (post("no field\r\n"), 400),
        (post("A: \0\r\n"), 400),
        (post("A: b\n"), 400),
        (post("Bad Name: x\r\n").replace("X-Request-Id: mine", "x-request-id:mine "), 400),
    ] {
        let text = server.raw(request.as_bytes());
        assert_eq!((answers(&text)[0].0, request_ids(&text)), (status, vec!["mine"]), "{request:?}: {text}");
    }
    // Where it did not come before the fault, or there is not one that is fit to be echoed, a new one is drawn.
    for (request, status) in [
        (post("").replace("Host: x", "Bad Name: x"), 400),
        (post("").replace("Host: x", &("A: b\r\n".repeat(128) + "A: b")), 431),
        (post("").replace("Host: x", &format!("A: {}", "b".repeat(20_000))), 431),
        (post("").replace("mine", "mi\0ne"), 400),
        (post("").replace("mine", &"x".repeat(20_000)), 431),
        (post("").replace("mine\r\n", "mine\r\n and more\r\n"), 400),
        (post("X-Request-Id: another\r\nBad Name: x\r\n"), 400),
        (post("X-Request-Id: another\r\nContent-Length: x\r\n"), 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nX-Request-Id: a b\r\nContent-Length: x\r\n\r\n".to_owned(), 400),
        ("nonsense\r\nX-Request-Id: mine\r\n\r\n".to_owned(), 400),
    ] {
        let text = server.raw(request.as_bytes());
        assert_eq!(answers(&text)[0].0, status, "{request:?}: {text}");
        assert!(matches!(request_ids(&text)[..], [id] if id.starts_with("req_")), "{request:?}: {text}");
    }
}

#[test]
fn a_head_without_end_is_not_buffered() {
    let server = Server::start();
    let before = server.resident_bytes();
    let mut stream = server.open();
    drop(stream.write_all(b"GET /"));
    let part = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        if stream.write_all(&part).is_err() {
            break;
        }
    }
    let text = read_to_end(&mut stream);
    assert!(text.is_empty() || answers(&text)[0].0 == 431, "{text}");
    assert!(server.resident_bytes() < before + (8 << 20));
}

#[test]
fn a_body_over_2_mib_is_413_once_its_sender_is_known_and_not_read() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let head = |key: &str, framing: &str| {
        format!("POST /rooms HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nX-User-Id: alice\r\n{framing}\r\n\r\n")
    };
    let by_length = head(&tenant.api_key, "Content-Length: 2097153");
    assert_eq!(answers(&server.raw(by_length.as_bytes())), [(413, Some("PAYLOAD_TOO_LARGE".to_owned()))]);
    let of_a_stranger = head("sk_nobody", "Content-Length: 2097153");
    assert_eq!(answers(&server.raw(of_a_stranger.as_bytes()))[0].0, 401);
    let by_chunks = format!("{}200001\r\n{}", head(&tenant.api_key, "Transfer-Encoding: chunked"), "x".repeat(1_000));
    assert_eq!(answers(&server.raw(by_chunks.as_bytes()))[0].0, 413);
}

#[test]
fn a_client_that_writes_the_whole_of_a_body_over_2_mib_still_reads_its_answer() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    for length in [(2 << 20) + 1, 5 << 19] {
        let head = format!(
            "POST /rooms HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nX-User-Id: alice\r\nContent-Length: {length}\r\n\r\n",
            tenant.api_key
        );
        let mut stream = server.open();
        stream.write_all(head.as_bytes()).unwrap();
        for part in vec![b'x'; length].chunks(64 * 1024) {
            stream.write_all(part).unwrap();
            // As over a network: the answer is there long before the last of the body.
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answers(&answer), [(413, Some("PAYLOAD_TOO_LARGE".to_owned()))]);
    }
}

#[test]
fn bodies_that_are_not_complete_share_64_mib_and_stop_neither_small_requests_nor_small_frames() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let mut bob = server.connect(&tenant, "bob");
    bob.next_of("sync.complete");
    let before = server.resident_bytes();
    let body = vec![b'x'; (1 << 20) - 1];
    let mut streams: Vec<TcpStream> = (0..80).map(|_| server.open()).collect();
    for stream in &mut streams {
        stream
            .write_all(b"POST /rooms HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nContent-Length: 1048576\r\n\r\n")
            .unwrap();
        // A server that refuses early may close before it has read everything.
        drop(stream.write_all(&body));
        stream.set_nonblocking(true).unwrap();
    }
    let mut refused = Vec::new();
    support::eventually("what is too much is refused", || {
        streams.retain_mut(|stream| {
            let mut answer = vec![0; 4_096];
            let Ok(count) = stream.read(&mut answer) else {
                return true;
            };
            refused.push(String::from_utf8_lossy(&answer[..count]).into_owned());
            false
        });
        refused.len() >= 16
    });
    for answer in &refused {
        assert_eq!(answers(answer), [(503, Some("UNAVAILABLE".to_owned()))], "{answer}");
        assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
        assert_eq!(request_ids(answer), ["mine"], "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    assert!(streams.len() > 48, "{} have room", streams.len());
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 90 << 20, "the server grew by {grown} bytes");
    assert_eq!(server.send(&tenant, "alice", &room, "small").status, 200);
    assert_eq!(bob.next()["content"], "small");
    bob.send(&serde_json::json!({"type": "ping"}));
    assert_eq!(bob.next()["type"], "pong");
    bob.send_text(&"x".repeat(2_000_000));
    assert_eq!(bob.close_code().0, 1013);
    drop(streams);
    support::eventually("there is room again", || {
        let answer = server.request("POST", "/rooms", &[], &"x".repeat(1 << 20));
        assert!(matches!(answer.status, 401 | 503), "{answer:?}");
        answer.status == 401
    });
}

#[test]
fn bodies_and_messages_that_are_never_complete_are_cut_after_30_s() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let mut bob = server.connect(&tenant, "bob");
    bob.next_of("sync.complete");
    let mut socket = bob.abandon();
    let mut body = server.open();
    let started = Instant::now();
    body.write_all(b"POST /rooms HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nContent-Length: 100\r\n\r\nx").unwrap();
    // The begin of a frame; pings come between the fragments of a message and do not make it any younger.
    socket.write_all(&[0x01, 0x81, 0, 0, 0, 0, b'x']).unwrap();
    for stream in [&body, &socket] {
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    }
    let mut seen = Vec::new();
    let is_closed =
        |seen: &[u8]| seen.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..4] == 1013_u16.to_be_bytes());
    while !is_closed(&seen) {
        assert!(started.elapsed() < Duration::from_secs(40), "{seen:?}");
        let mut buffer = [0; 1_024];
        match socket.read(&mut buffer) {
            Ok(count) => seen.extend(&buffer[..count]),
            Err(_) => socket.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap(),
        }
    }
    assert!(started.elapsed() > Duration::from_secs(25), "{:?}", started.elapsed());
    body.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let text = read_to_end(&mut body);
    assert_eq!(answers(&text), [(408, Some("REQUEST_TIMEOUT".to_owned()))]);
    assert_eq!(request_ids(&text), ["mine"]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start();
    let paths = ["/livez", "/nowhere", "/readyz", "/rooms", "/livez"];
    let mut all: String = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    all.push_str(
        "POST /acks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n",
    );
    all.push_str("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let statuses: Vec<u16> = answers(&server.raw(all.as_bytes())).into_iter().map(|(status, _)| status).collect();
    assert!(
        statuses == [200, 404, 200, 401, 200, 401, 200] || statuses == [200, 404, 200, 401, 200, 400],
        "{statuses:?}"
    );
}

#[test]
fn http_1_0_is_served_as_nginx_speaks_it() {
    let server = Server::start();
    let text = server.raw(b"GET /livez HTTP/1.0\r\nConnection: close\r\n\r\n");
    assert_eq!(answers(&text), [(200, None)]);
    let text = server.raw(b"GET /rooms HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(answers(&text).iter().map(|(status, _)| *status).collect::<Vec<_>>(), [401, 200]);
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let server = Server::start();
    let mut stream = server.open();
    stream
        .write_all(
            b"POST /acks HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").unwrap();
    assert_eq!(answers(&read_to_end(&mut stream))[0].0, 401);
}

#[test]
fn two_hundred_connections_that_trickle_disturb_nobody_and_are_cut_after_10_s() {
    let server = Server::start();
    let tenant = server.create_tenant(r#"{"rate_limit":1000000}"#);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let mut bytes = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ".iter().copied().chain(std::iter::repeat(b'x'));
    let mut trickling: Vec<TcpStream> = (0..200).map(|_| server.open()).collect();
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut rounds = 0;
    while started.elapsed() < Duration::from_secs(9) {
        let byte = [bytes.next().unwrap()];
        for stream in &mut trickling {
            stream.write_all(&byte).unwrap();
        }
        rounds += 1;
        // The time until the next byte is spent as others would spend it.
        while started.elapsed() < Duration::from_secs(rounds) {
            let sent_at = Instant::now();
            assert_eq!(server.send(&tenant, "alice", &room, "x").status, 200);
            slowest = slowest.max(sent_at.elapsed());
        }
    }
    assert!(slowest < Duration::from_millis(500), "somebody waited {slowest:?}");
    for stream in &mut trickling {
        assert_eq!(answers(&read_to_end(stream)), [(408, Some("REQUEST_TIMEOUT".to_owned()))]);
    }
    assert!(started.elapsed() < Duration::from_secs(14), "{:?}", started.elapsed());
}

#[test]
fn a_connection_that_ends_in_the_middle_of_a_request_leaves_nothing_behind() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &[]);
    let request = format!(
        "POST /rooms/{room}/messages HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nX-User-Id: alice\r\nContent-Length: 15\r\n\r\n{{\"content\":",
        tenant.api_key
    );
    for cut in [10, request.len() - 20, request.len()] {
        let mut stream = server.open();
        stream.write_all(&request.as_bytes()[..cut]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let text = read_to_end(&mut stream);
        assert!(text.is_empty() || answers(&text)[0].0 == 400, "{text}");
    }
    assert!(server.history(&tenant, "alice", &room).is_empty());
}

#[test]
fn bytes_that_come_with_an_upgrade_are_the_connection_s_first_frames() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let mut stream = server.open();
    let mut bytes = format!(
        "GET /ws?user_id=bob HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        tenant.api_key
    )
    .into_bytes();
    let payload = br#"{"type":"ping","request_id":"early"}"#;
    bytes.extend([0x81, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0]);
    bytes.extend(payload);
    stream.write_all(&bytes).unwrap();
    let mut seen = Vec::new();
    let pong = br#"{"type":"pong","request_id":"early"}"#;
    while !seen.windows(pong.len()).any(|window| window == pong) {
        let mut buffer = [0; 1_024];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&buffer[..count]);
    }
    let text = String::from_utf8_lossy(&seen);
    assert!(text.starts_with("HTTP/1.1 101 ") && text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
}
