//! Browsers of other origins (protocol, section 2): who may read what, and what they are told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a test that failed")]

mod support;

use std::io::{Read as _, Write as _};

use support::{Response, Server};

const APP: &str = "https://app.example";
const OTHER: &str = "https://other.example";
const ORIGINS: (&str, &str) = ("WS_ALLOWED_ORIGINS", "https://app.example, https://second.example");
const EXPOSED: &str = "X-Request-Id, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After";
const UPGRADE: &str = "Connection: upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// `Access-Control-Allow-Origin`, `Vary`, `Access-Control-Expose-Headers`.
type Told<'a> = [Option<&'a str>; 3];

const LISTED: Told<'_> = [Some(APP), Some("Origin"), Some(EXPOSED)];
const UNLISTED: Told<'_> = [None, Some("Origin"), None];
const ANYONE: Told<'_> = [Some("*"), None, Some(EXPOSED)];
const SILENT: Told<'_> = [None, None, None];

fn told(response: &Response) -> Told<'_> {
    ["Access-Control-Allow-Origin", "Vary", "Access-Control-Expose-Headers"].map(|name| response.header(name))
}

/// The status of an answer's text, and what it tells.
fn raw_told(text: &str) -> (u16, Told<'_>) {
    let head = text.split("\r\n\r\n").next().unwrap();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    (status, ["access-control-allow-origin", "vary", "access-control-expose-headers"].map(header))
}

fn preflight(server: &Server, path: &str, origin: &str) -> Response {
    let headers = [
        ("Origin", origin),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type,x-api-key,x-user-id"),
    ];
    server.request("OPTIONS", path, &headers, "")
}

#[test]
fn an_allowed_origin_reads_answers_and_errors_and_the_headers_that_are_exposed() {
    let server = Server::start_with(&[ORIGINS]);
    let tenant = server.create_tenant(r#"{"rate_limit":1}"#);
    let key = ("X-API-Key", tenant.api_key.as_str());
    let origin = ("Origin", APP);
    let rooms = || server.request("GET", "/rooms", &[key, origin], "");
    let first = rooms();
    assert_eq!((first.status, told(&first)), (200, LISTED));
    // Each of the names that are exposed stands there, somewhere.
    for name in ["X-Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"] {
        assert!(first.header(name).is_some(), "{name}");
    }
    let limited = rooms();
    assert_eq!((limited.status, told(&limited)), (429, LISTED));
    assert!(limited.header("Retry-After").is_some());
    for (method, path, status) in [
        ("GET", "/health", 200),
        ("HEAD", "/livez", 200),
        ("OPTIONS", "/rooms", 204),
        ("GET", "/v1/metrics", 200),
        ("PUT", "/admin/tenants", 405),
        ("POST", "/acks", 401),
        ("GET", "/nowhere", 404),
        ("GET", "/ws", 426),
    ] {
        let answer = server.request(method, path, &[origin], "");
        assert_eq!((answer.status, told(&answer)), (status, LISTED), "{method} {path}");
    }
    let second = server.request("GET", "/livez", &[("Origin", "https://second.example")], "");
    assert_eq!(second.header("Access-Control-Allow-Origin"), Some("https://second.example"));
}

#[test]
fn another_origin_is_served_without_a_word_but_caches_learn_that_a_list_decides() {
    let server = Server::start_with(&[ORIGINS]);
    let tenant = server.create_tenant("{}");
    let key = ("X-API-Key", tenant.api_key.as_str());
    let not_allowed: [&[(&str, &str)]; 5] = [
        &[("Origin", OTHER)],
        &[("Origin", "null")],
        &[("Origin", "https://app.example.evil")],
        &[("Origin", "")],
        &[],
    ];
    for headers in not_allowed {
        let served = server.request("GET", "/rooms", &[&[key], headers].concat(), "");
        assert_eq!((served.status, told(&served)), (200, UNLISTED), "{headers:?}");
        let unknown = server.request("GET", "/nowhere", headers, "");
        assert_eq!((unknown.status, told(&unknown)), (404, UNLISTED), "{headers:?}");
    }
    let repeated = server.request("GET", "/rooms", &[key, ("Origin", APP), ("Origin", APP)], "");
    assert_eq!((repeated.status, told(&repeated)), (400, UNLISTED));
}

#[test]
fn a_star_allows_every_origin_and_is_told_to_all_alike() {
    let server = Server::start_with(&[("ALLOWED_ORIGINS", "*")]);
    for headers in [&[("Origin", OTHER)][..], &[("Origin", "null")], &[]] {
        for (path, status) in [("/livez", 200), ("/rooms", 401), ("/nowhere", 404)] {
            let answer = server.request("GET", path, headers, "");
            assert_eq!((answer.status, told(&answer)), (status, ANYONE), "{path} {headers:?}");
        }
    }
    let repeated = server.request("GET", "/livez", &[("Origin", APP), ("Origin", OTHER)], "");
    assert_eq!(told(&repeated), SILENT);
    let allowed = preflight(&server, "/rooms", OTHER);
    assert_eq!((allowed.status, told(&allowed)), (204, [Some("*"), None, None]));
    let refused = server.raw(b"GET / HTTP/1.2\r\nHost: x\r\n\r\n");
    assert_eq!(raw_told(&refused), (505, ANYONE));
}

#[test]
fn without_a_setting_no_origin_is_allowed_and_nothing_is_told() {
    let server = Server::start();
    for headers in [&[("Origin", APP)][..], &[]] {
        for (path, status) in [("/livez", 200), ("/rooms", 401), ("/nowhere", 404)] {
            let answer = server.request("GET", path, headers, "");
            assert_eq!((answer.status, told(&answer)), (status, SILENT), "{path} {headers:?}");
        }
    }
    let refused = preflight(&server, "/rooms", APP);
    assert_eq!((refused.status, refused.code(), told(&refused)), (403, "AUTHORIZATION_ERROR", SILENT));
}

#[test]
fn a_preflight_tells_an_allowed_origin_the_methods_of_the_route_and_the_headers_for_600_s() {
    let server = Server::start_with(&[ORIGINS]);
    for (path, methods) in [
        ("/rooms", "GET, HEAD, POST, OPTIONS"),
        ("/v1/rooms/room_1/messages", "GET, HEAD, POST, OPTIONS"),
        ("/acks", "POST, OPTIONS"),
        ("/ws/token", "POST, OPTIONS"),
        ("/health", "GET, HEAD, OPTIONS"),
    ] {
        let answer = preflight(&server, path, APP);
        assert_eq!((answer.status, told(&answer)), (204, [Some(APP), Some("Origin"), None]), "{path}");
        assert!(answer.body.is_null() && answer.header("X-Request-Id").is_some());
        let allowed = ["Methods", "Headers"].map(|what| answer.header(&format!("Access-Control-Allow-{what}")));
        let headers = "Content-Type, X-API-Key, X-User-Id, X-Request-Id, Idempotency-Key";
        assert_eq!(allowed, [Some(methods), Some(headers)], "{path}");
        assert_eq!(answer.header("Access-Control-Max-Age"), Some("600"));
        assert_eq!(answer.header("Access-Control-Allow-Credentials"), None, "keys travel in headers, never in cookies");
    }
}

#[test]
fn a_preflight_from_an_origin_that_is_not_allowed_is_403() {
    let server = Server::start_with(&[ORIGINS]);
    for origin in [OTHER, "null", "", "https://APP.example"] {
        let refused = preflight(&server, "/rooms", origin);
        assert_eq!((refused.status, refused.code()), (403, "AUTHORIZATION_ERROR"), "{origin}");
        assert_eq!((told(&refused), refused.header("Access-Control-Allow-Methods")), (UNLISTED, None), "{origin}");
    }
    let repeated = [("Origin", APP), ("Origin", APP), ("Access-Control-Request-Method", "GET")];
    assert_eq!(server.request("OPTIONS", "/rooms", &repeated, "").status, 403);
}

#[test]
fn an_unknown_path_is_404_for_preflights_too_and_options_that_is_none_tells_the_methods() {
    let server = Server::start_with(&[ORIGINS]);
    for (origin, told_then) in [(APP, LISTED), (OTHER, UNLISTED)] {
        let unknown = preflight(&server, "/nowhere", origin);
        assert_eq!((unknown.status, unknown.code(), told(&unknown)), (404, "NOT_FOUND", told_then));
        let options = server.request("OPTIONS", "/rooms", &[("Origin", origin)], "");
        assert_eq!((options.status, told(&options)), (204, told_then));
        assert_eq!(options.header("Allow"), Some("GET, HEAD, POST, OPTIONS"));
        assert_eq!(options.header("Access-Control-Allow-Methods"), None);
    }
    let options = server.request("OPTIONS", "/rooms", &[("Access-Control-Request-Method", "POST")], "");
    assert_eq!((options.status, options.header("Allow")), (204, Some("GET, HEAD, POST, OPTIONS")));
}

#[test]
fn what_http_itself_rejects_is_readable_by_an_allowed_origin_as_far_as_its_head_could_be_read() {
    let server = Server::start_with(&[ORIGINS]);
    let tenant = server.create_tenant("{}");
    let known = format!("X-API-Key: {}\r\nX-User-Id: alice\r\n", tenant.api_key);
    let post = |lines: &str| format!("POST /rooms HTTP/1.1\r\nHost: x\r\nOrigin: {APP}\r\n{lines}\r\n");
    for (request, status) in [
        (post("Content-Length: x\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n") + "1\r\n{\r\nxyz\r\n", 400),
        (post("Bad Name: x\r\n"), 400),
        (post(&format!("{known}Content-Length: 2097153\r\n")), 413),
        (post(&"A: b\r\n".repeat(127)), 431),
        (post(&format!("A: {}\r\n", "b".repeat(20_000))), 431),
        (format!("BREW /pot HTTP/1.1\r\nHost: x\r\nORIGIN:{APP}\r\n\r\n"), 501),
        (format!("GET / HTTP/1.2\r\nHost: x\r\nOrigin: {APP}\r\n\r\n"), 505),
        (format!("GET /ws HTTP/1.0\r\nHost: x\r\nOrigin: {APP}\r\n{UPGRADE}\r\n"), 400),
    ] {
        let answer = server.raw(request.as_bytes());
        assert_eq!(raw_told(&answer), (status, LISTED), "{request:?}");
        for other in [request.replace(APP, OTHER), request.replace(APP, &format!("{APP}\r\nOrigin: {APP}"))] {
            let answer = server.raw(other.as_bytes());
            let (_, told) = raw_told(&answer);
            assert_eq!(told, UNLISTED, "{other:?}");
        }
    }
    for unread in ["nonsense\r\n\r\n".to_owned(), format!("GET / HTTP/1.1\r\nBad Name: x\r\nOrigin: {APP}\r\n\r\n")] {
        let answer = server.raw(unread.as_bytes());
        assert_eq!(raw_told(&answer), (400, UNLISTED), "{unread:?}");
    }
}

#[test]
fn a_request_that_comes_too_slowly_or_finds_no_room_is_readable_too() {
    let server = Server::start_with(&[ORIGINS]);
    let mut slow = server.open();
    slow.write_all(format!("POST /rooms HTTP/1.1\r\nHost: x\r\nOrigin: {APP}\r\nA: ").as_bytes()).unwrap();
    // 32 of 2 MiB are all that may be held together.
    let mut large: Vec<_> = (0..40).map(|_| server.open()).collect();
    let head = format!("POST /rooms HTTP/1.1\r\nHost: x\r\nOrigin: {APP}\r\nContent-Length: 2097152\r\n\r\n");
    let body = vec![b' '; 2_000_000];
    for stream in &mut large {
        // One that was turned away takes no more.
        drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
    }
    let last = large.last_mut().unwrap();
    let full = support::read_to_end(last);
    assert_eq!(raw_told(&full), (503, LISTED));
    let late = support::read_to_end(&mut slow);
    assert_eq!(raw_told(&late), (408, LISTED));
}

#[test]
fn a_handshake_is_answered_like_any_request_refused_or_not() {
    let server = Server::start_with(&[ORIGINS]);
    let tenant = server.create_tenant("{}");
    let handshake = |origin: &str, lines: &str| {
        let mut stream = server.open();
        let request = format!("GET /ws HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\n{UPGRADE}{lines}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        String::from_utf8(answer).unwrap().to_ascii_lowercase()
    };
    let exposed = EXPOSED.to_ascii_lowercase();
    let listed = [Some(APP), Some("origin"), Some(exposed.as_str())];
    let unlisted = [None, Some("origin"), None];
    let key = format!("X-API-Key: {}\r\nX-User-Id: alice\r\n", tenant.api_key);
    assert_eq!(raw_told(&handshake(APP, &key)), (101, listed));
    assert_eq!(raw_told(&handshake(APP, "")), (401, listed));
    assert_eq!(raw_told(&handshake(OTHER, &key)), (403, unlisted));
}
