mod bodies;
mod cors;
mod handshake;
mod routes;

use std::sync::LazyLock;

use super::*;
use crate::api::call::{Credentials, UserHeader};
use crate::secret::Digest;

/// Allows one origin.
struct Host;

const APP: &str = "https://app.example";

static ALLOWED: LazyLock<AllowedOrigins> = LazyLock::new(|| AllowedOrigins::Listed(vec![APP.to_owned()]));

impl Entropy for Host {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

impl ParseHost for Host {
    fn is_master_key(&self, given: &[u8]) -> bool {
        given == b"master"
    }

    fn is_metrics_token(&self, given: &[u8]) -> bool {
        given == b"metrics"
    }

    fn allowed_origins(&self) -> &AllowedOrigins {
        &ALLOWED
    }
}

type RawHeaders<'a> = &'a [(&'a str, &'a [u8])];

const UPGRADE: [(&str, &[u8]); 4] = [
    ("connection", b"keep-alive, Upgrade"),
    ("upgrade", b"WebSocket"),
    ("sec-websocket-version", b"13"),
    ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
];

fn parse(method: &str, target: &str, headers: RawHeaders<'_>, body: Body<'_>) -> (ResponseMeta, Action) {
    let parts = RequestParts { method, target, headers, body };
    parse_request(&parts, &mut Host)
}

fn request(method: &str, target: &str, headers: RawHeaders<'_>, body: &str) -> ApiRequest {
    match parse(method, target, headers, Body::Complete(body.as_bytes())).1 {
        Action::Call(request) => *request,
        other @ (Action::Answer(_) | Action::Handshake(_)) => panic!("{method} {target}: {other:?}"),
    }
}

fn answer(method: &str, target: &str, headers: RawHeaders<'_>) -> HttpResponse {
    match parse(method, target, headers, Body::TooLarge).1 {
        Action::Answer(response) => response,
        other @ (Action::Call(_) | Action::Handshake(_)) => panic!("{method} {target}: {other:?}"),
    }
}

fn header<'a>(response: &'a HttpResponse, name: &str) -> Option<&'a str> {
    let found = response.headers.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value.as_str())
}

fn user(id: &str) -> UserHeader {
    UserHeader::User(UserId::new(id))
}

#[test]
fn an_unknown_path_is_404_and_another_method_405_before_anything_else() {
    let unknown = answer("POST", "/nothing?limit=0", &[("x-api-key", b"a"), ("x-api-key", b"b")]);
    assert_eq!((unknown.status, header(&unknown, "Allow")), (404, None));
    for (method, target, allow) in [
        ("DELETE", "/rooms", "GET, HEAD, POST, OPTIONS"),
        ("PUT", "/rooms/r", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("GET", "/rooms/r/members/bob", "DELETE, OPTIONS"),
        ("patch", "/rooms/r/messages/m", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("DELETE", "/admin/tenants/t/rotate-key", "POST, OPTIONS"),
        ("GET", "/acks", "POST, OPTIONS"),
        ("HEAD", "/v1/acks", "POST, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("POST", "/ws", "GET, HEAD, OPTIONS"),
        ("get", "/rooms", "GET, HEAD, POST, OPTIONS"),
    ] {
        let response = answer(method, target, &UPGRADE);
        assert_eq!((response.status, header(&response, "Allow")), (405, Some(allow)), "{method} {target}");
        assert!(std::str::from_utf8(&response.body).unwrap().contains("METHOD_NOT_ALLOWED"));
        assert_eq!(response.is_head, method == "HEAD");
    }
}

#[test]
fn options_tells_the_methods_of_a_path() {
    for (target, allow) in [("/rooms?x", "GET, HEAD, POST, OPTIONS"), ("/v1/ws", "GET, HEAD, OPTIONS")] {
        let response = answer("OPTIONS", target, &[]);
        assert_eq!((response.status, header(&response, "Allow")), (204, Some(allow)));
        assert!(response.body.is_empty() && header(&response, "X-Request-Id").is_some());
        assert_eq!(header(&response, "Content-Type"), None);
    }
    assert_eq!(answer("OPTIONS", "/nothing", &[]).status, 404);
}

#[test]
fn the_document_of_the_api_is_told_to_anyone() {
    for target in ["/openapi.json", "/v1/openapi.json?x"] {
        for (method, is_head) in [("GET", false), ("HEAD", true)] {
            let Action::Answer(response) = parse(method, target, &[], Body::Complete(b"ignored")).1 else {
                panic!("{method} {target}");
            };
            assert_eq!((response.status, response.is_head, response.close), (200, is_head, false));
            assert_eq!(header(&response, "Content-Type"), Some("application/json"));
            assert!(response.body.starts_with(b"{\n  \"openapi\": \"3.1.0\","));
        }
        assert_eq!(answer("GET", target, &[]).status, 413);
    }
}

#[test]
fn the_request_id_is_the_caller_s_if_it_can_be_echoed_else_drawn() {
    let longest = [b'~'; 128];
    let id = |headers: RawHeaders<'_>| parse("GET", "/health", headers, Body::Complete(b"")).0.request_id;
    assert_eq!(id(&[("x-request-id", b"abc-1")]), "abc-1");
    assert_eq!(id(&[("x-request-id", &longest)]).len(), 128);
    let bad: [RawHeaders<'_>; 6] = [
        &[],
        &[("x-request-id", b"")],
        &[("x-request-id", b"a b")],
        &[("x-request-id", "é".as_bytes())],
        &[("x-request-id", &[b'~'; 129])],
        &[("x-request-id", b"a"), ("x-request-id", b"a")],
    ];
    for headers in bad {
        let drawn = id(headers);
        assert!(drawn.starts_with("req_") && drawn.len() >= 20, "{drawn}");
    }
}

#[test]
fn the_format_of_metrics_is_the_caller_s_choice_and_no_other_route_s() {
    let format = |target, headers| parse("GET", target, headers, Body::Complete(b"")).0.metrics_format;
    let text: RawHeaders<'_> = &[("accept", b"text/plain"), ("accept", b"application/openmetrics-text;q=0.5")];
    assert_eq!(format("/metrics", &[]), MetricsFormat::Json);
    assert_eq!(format("/v1/metrics?x", text), MetricsFormat::Text);
    assert_eq!(format("/metrics", &text[1..]), MetricsFormat::OpenMetrics);
    assert_eq!(format("/health", text), MetricsFormat::Json);
}

#[test]
fn credentials_come_from_their_headers_alone() {
    let none = Credentials { is_master: false, is_metrics_reader: false, api_key: None, user: UserHeader::Absent };
    let cases: [(RawHeaders<'_>, Credentials); 9] = [
        (&[], none.clone()),
        (
            &[("x-api-key", b"sk_1"), ("x-user-id", "é:b".as_bytes())],
            Credentials { api_key: Some(Digest::of(b"sk_1")), user: user("é:b"), ..none.clone() },
        ),
        (&[("x-user-id", b"")], Credentials { user: UserHeader::Invalid, ..none.clone() }),
        (&[("x-user-id", b"\xff")], Credentials { user: UserHeader::Invalid, ..none.clone() }),
        (&[("x-master-key", b"master")], Credentials { is_master: true, ..none.clone() }),
        (&[("x-master-key", b"other"), ("authorization", b"metrics")], none.clone()),
        (&[("authorization", b"bearer metrics")], Credentials { is_metrics_reader: true, ..none.clone() }),
        (&[("authorization", b"Bearer")], none.clone()),
        (&[("authorization", b"Bearer metricsx")], none.clone()),
    ];
    for (headers, credentials) in cases {
        let read = request("GET", "/rooms?api_key=sk_2&user_id=x&token=t", headers, "");
        assert_eq!(read.credentials, credentials, "{headers:?}");
    }
}

#[test]
fn a_header_that_stands_twice_is_refused_and_none_of_the_two_is_used() {
    let cases: [(&str, &str, RawHeaders<'_>, &str); 6] = [
        ("GET", "/rooms", &[("x-api-key", b"a"), ("x-api-key", b"a")], "X-API-Key"),
        ("GET", "/rooms", &[("x-user-id", b"a"), ("x-user-id", b"b")], "X-User-Id"),
        ("GET", "/rooms", &[("origin", b"a"), ("origin", b"b")], "Origin"),
        ("POST", "/admin/tenants", &[("x-master-key", b"master"), ("x-master-key", b"master")], "X-Master-Key"),
        (
            "GET",
            "/metrics",
            &[("authorization", b"Bearer metrics"), ("authorization", b"Bearer metrics")],
            "Authorization",
        ),
        ("POST", "/rooms/r/messages", &[("idempotency-key", b"a"), ("idempotency-key", b"a")], "Idempotency-Key"),
    ];
    for (method, target, headers, field) in cases {
        let read = request(method, target, headers, r#"{"name":"a","content":"c"}"#);
        assert_eq!(read.call.unwrap_err().field.as_deref(), Some(field));
        let Credentials { is_master, is_metrics_reader, api_key, user } = read.credentials;
        assert!(!is_master && !is_metrics_reader && api_key.is_none(), "{field}");
        assert!(matches!(user, UserHeader::Absent | UserHeader::Invalid), "{field}");
    }
    let health = request("GET", "/health", &[("x-api-key", b"a"), ("x-api-key", b"b")], "");
    assert_eq!(health.call, Ok(Call::Public(PublicCall::Health)), "a public route looks at no credentials");
}

#[test]
fn what_is_wrong_with_a_request_is_kept_until_its_caller_is_known() {
    let big_meta = format!(r#"{{"content":"c","meta":"{}"}}"#, "1".repeat(16_385));
    let long_key = [b'k'; 129];
    for (method, target, key, body, field) in [
        ("POST", "/admin/tenants", None, "", None),
        ("POST", "/admin/tenants", None, "{", None),
        ("POST", "/admin/tenants", None, "[]", None),
        ("POST", "/admin/tenants", None, r#"{"name":"a","name":"b"}"#, Some("name")),
        ("POST", "/admin/tenants", None, r#"{"name":"a","config":{"x":1}}"#, Some("config.x")),
        ("POST", "/rooms", None, "", None),
        ("POST", "/rooms", None, r#"{"type":"dm"}"#, Some("members")),
        ("GET", "/rooms?limit=0", None, "", Some("limit")),
        ("GET", "/rooms?after=", None, "", Some("after")),
        ("GET", "/rooms?limit=1&limit=2", None, "", Some("limit")),
        ("GET", "/rooms/r/members?after=%20a", None, "", Some("after")),
        ("GET", "/rooms/r/members?limit=-1", None, "", Some("limit")),
        ("GET", "/rooms/r/messages?after_seq=-1", None, "", Some("after_seq")),
        ("GET", "/rooms/r/messages?after_seq=1&before_seq=2", None, "", Some("before_seq")),
        ("GET", "/rooms/r/messages?limit=x", None, "", Some("limit")),
        ("POST", "/rooms/r/messages", None, "", None),
        ("POST", "/rooms/r/messages", None, "{}", Some("content")),
        ("POST", "/rooms/r/messages", None, r#"{"content":null}"#, Some("content")),
        ("POST", "/rooms/r/messages", None, r#"{"content":5}"#, Some("content")),
        ("POST", "/rooms/r/messages", None, r#"{"content":""}"#, Some("content")),
        ("POST", "/rooms/r/messages", None, r#"{"content":"\ud800"}"#, None),
        ("POST", "/rooms/r/messages", None, r#"{"content":"c","meta":"{"}"#, Some("meta")),
        ("POST", "/rooms/r/messages", None, &big_meta, Some("meta")),
        ("POST", "/rooms/r/messages", Some(b"".as_slice()), r#"{"content":"c"}"#, Some("Idempotency-Key")),
        ("POST", "/rooms/r/messages", Some(b"a b".as_slice()), r#"{"content":"c"}"#, Some("Idempotency-Key")),
        ("POST", "/rooms/r/messages", Some(&long_key[..]), r#"{"content":"c"}"#, Some("Idempotency-Key")),
        ("POST", "/acks", None, r#"{"seq":1}"#, Some("room_id")),
        ("POST", "/acks", None, r#"{"room_id":"r"}"#, Some("seq")),
        ("POST", "/acks", None, r#"{"room_id":"r","seq":-1}"#, Some("seq")),
        ("POST", "/acks", None, r#"{"room_id":"r","seq":1e3}"#, Some("seq")),
        ("POST", "/acks", None, r#"{"room_id":"r","seq":9007199254740992}"#, Some("seq")),
        ("POST", "/ws/token", None, "{", None),
        ("GET", "/admin/tenants?after=", None, "", Some("after")),
        ("GET", "/admin/tenants?limit=0", None, "", Some("limit")),
        ("GET", "/rooms/r/presence?after=%20a", None, "", Some("after")),
        ("GET", "/rooms/r/receipts?limit=x", None, "", Some("limit")),
    ] {
        let mut headers: Vec<(&str, &[u8])> = vec![("x-api-key", b"sk"), ("x-user-id", b"alice")];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        let read = request(method, target, &headers, body);
        assert_eq!(read.credentials.api_key, Some(Digest::of(b"sk")), "{method} {target} {body:.60}");
        assert_eq!(read.credentials.user, user("alice"));
        let error = read.call.unwrap_err();
        assert_eq!(error.field.as_deref(), field, "{method} {target} {body:.60}: {}", error.message);
        let is_413 = error.code == ErrorCode::PayloadTooLarge;
        assert_eq!(is_413, body.len() > 16_384, "{method} {target} {body:.60}");
        assert!(is_413 || error.code == ErrorCode::Validation);
    }
}

#[test]
fn a_body_that_was_too_large_is_413_on_every_route() {
    for (method, target) in [
        ("POST", "/rooms/r/messages"),
        ("PATCH", "/rooms/r"),
        ("DELETE", "/rooms/r"),
        ("POST", "/notify"),
        ("POST", "/ws/token"),
        ("GET", "/rooms"),
        ("GET", "/health"),
    ] {
        let Action::Call(read) = parse(method, target, &[], Body::TooLarge).1 else {
            panic!("{method} {target}");
        };
        assert_eq!(read.call.unwrap_err().code, ErrorCode::PayloadTooLarge, "{method} {target}");
    }
}
