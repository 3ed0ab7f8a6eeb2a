//! From the parts of a request to a call, and from an answer to bytes: [`parse_request`] and [`encode`](chatapi_core::api::encode).
//!
//! An input is text: a line with method and target, header lines, an empty line, the body (`<too large>` is one that
//! was not read). One that begins with a zero byte is read by `arbitrary` instead, so that any part may hold anything.
//! The same bytes then choose an answer, which is encoded.

mod answers;
mod bodies;
mod limits;
mod query;

use std::sync::LazyLock;

use arbitrary::Unstructured;
use chatapi::http1::Persistence;
use chatapi_core::api::{
    Action, ApiRequest, Body, HttpResponse, ParseHost, RequestParts, ResponseMeta, UserHeader, parse_request,
};
use chatapi_core::{AllowedOrigins, Digest, Entropy, UserId};
use serde_json::Value;

/// Parses one request, and encodes one answer.
pub fn run(input: &[u8]) {
    let parts = Parts::read(input);
    let (meta, action) = parts.parse();
    check_request_id(&parts, &meta);
    assert_eq!(parts.parse(), (meta.clone(), action.clone()), "the same request, the same outcome");
    check_version_prefix(&parts, &action);
    check_head(&parts, &action);
    check_secrets(&parts, &action);
    match &action {
        Action::Answer(response) => check_answer(&parts, &meta, response),
        Action::Call(request) => check_call(&parts, request),
        Action::Handshake(upgrade) => {
            assert_eq!(parts.method, "GET");
            assert!(upgrade.key.len() == 24 && upgrade.key.is_ascii(), "{}", upgrade.key);
            limits::check_handshake(&upgrade.request);
            query::check_handshake(parts.query(), &upgrade.request);
        }
    }
    answers::encode_one(&meta, &mut Unstructured::new(input));
}

/// The parts of a request, owned.
#[derive(Debug, Clone)]
struct Parts {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    /// `None`: too large.
    body: Option<Vec<u8>>,
}

impl Parts {
    fn read(input: &[u8]) -> Self {
        match input.split_first() {
            // It never runs out: past the end everything is empty.
            Some((0, bytes)) => Self::arbitrary(&mut Unstructured::new(bytes)).unwrap_or_else(|_| Self::text(bytes)),
            _ => Self::text(input),
        }
    }

    fn text(input: &[u8]) -> Self {
        let mut rest = input;
        let mut line = || {
            let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            line
        };
        let first = String::from_utf8_lossy(line());
        let (method, target) = first.split_once(' ').unwrap_or(("GET", &first));
        let mut headers = Vec::new();
        loop {
            let field = line();
            if field.is_empty() {
                break;
            }
            let colon = field.iter().position(|&byte| byte == b':').unwrap_or(field.len());
            let name = String::from_utf8_lossy(&field[..colon]).to_ascii_lowercase();
            headers.push((name, field.get(colon + 1..).unwrap_or_default().trim_ascii_start().to_vec()));
        }
        let body = (rest != b"<too large>").then(|| rest.to_vec());
        Self { method: method.to_owned(), target: target.to_owned(), headers, body }
    }

    fn arbitrary(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        const METHODS: [&str; 6] = ["GET", "POST", "HEAD", "OPTIONS", "PATCH", "DELETE"];
        const NAMES: [&str; 12] = [
            "x-api-key",
            "x-user-id",
            "x-master-key",
            "authorization",
            "idempotency-key",
            "origin",
            "x-request-id",
            "connection",
            "upgrade",
            "sec-websocket-version",
            "sec-websocket-key",
            "accept",
        ];
        let method = if bytes.ratio(9, 10)? { *bytes.choose(&METHODS)? } else { bytes.arbitrary()? };
        let mut headers = Vec::new();
        for _ in 0..bytes.int_in_range(0..=8)? {
            let name = if bytes.ratio(9, 10)? { *bytes.choose(&NAMES)? } else { bytes.arbitrary()? };
            headers.push((name.to_ascii_lowercase(), bytes.arbitrary::<Vec<u8>>()?));
        }
        let (method, target) = (method.to_owned(), bytes.arbitrary::<String>()?);
        let is_read = bytes.ratio(9, 10)?;
        let rest = bytes.bytes(bytes.len())?;
        Ok(Self { method, target, headers, body: is_read.then(|| rest.to_vec()) })
    }

    fn parse(&self) -> (ResponseMeta, Action) {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let body = self.body.as_deref().map_or(Body::TooLarge, Body::Complete);
        let parts = RequestParts { method: &self.method, target: &self.target, headers: &headers, body };
        parse_request(&parts, &mut Host(0))
    }

    fn action(&self) -> Action {
        self.parse().1
    }

    fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    fn values(&self, name: &str) -> Vec<&[u8]> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_slice()).collect()
    }

    /// The value of a header that stands once.
    fn once(&self, name: &str) -> Option<&[u8]> {
        match self.values(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// The one origin that is allowed.
const ORIGIN: &str = "https://a.example";

/// Draws 1, 2, 3 …, so that no two secrets are the same.
struct Host(u8);

impl Entropy for Host {
    fn fill(&mut self, buffer: &mut [u8]) {
        self.0 += 1;
        buffer.fill(self.0);
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
        static ALLOWED: LazyLock<AllowedOrigins> = LazyLock::new(|| AllowedOrigins::Listed(vec![ORIGIN.to_owned()]));
        &ALLOWED
    }
}

/// The caller's if it is 1 to 128 visible ASCII characters, else drawn.
fn check_request_id(parts: &Parts, meta: &ResponseMeta) {
    let is_fit = |id: &&[u8]| (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
    match parts.once("x-request-id").filter(is_fit) {
        Some(given) => assert_eq!(meta.request_id.as_bytes(), given),
        None => assert!(meta.request_id.starts_with("req_") && meta.request_id.len() == 20, "{}", meta.request_id),
    }
    assert_eq!(meta.is_head, parts.method == "HEAD");
}

/// Every route is also there under `/v1`, and only once.
fn check_version_prefix(parts: &Parts, action: &Action) {
    if parts.target.starts_with('/') && !parts.target.starts_with("/v1/") {
        let prefixed = Parts { target: format!("/v1{}", parts.target), ..parts.clone() };
        assert_eq!(prefixed.action(), *action, "{} under /v1", parts.target);
    }
}

/// `HEAD` answers like `GET`, without a body; but it is no handshake.
fn check_head(parts: &Parts, action: &Action) {
    if parts.method != "GET" {
        return;
    }
    let path = parts.target.split('?').next().unwrap_or_default();
    let head = Parts { method: "HEAD".to_owned(), ..parts.clone() }.action();
    match (action, head) {
        (Action::Call(get), Action::Call(head)) => assert_eq!(*get, head),
        (_, Action::Answer(head)) if matches!(path, "/ws" | "/v1/ws") => {
            assert_eq!((head.status, head.is_head), (426, true))
        }
        (Action::Answer(get), Action::Answer(head)) => assert_eq!(HttpResponse { is_head: true, ..get.clone() }, head),
        (get, head) => panic!("{get:?} to GET, {head:?} to HEAD"),
    }
}

/// What is asked for, or told, does not depend on what a credential is: so it cannot hold one.
fn check_secrets(parts: &Parts, action: &Action) {
    let is_credential = |name: &str| matches!(name, "x-api-key" | "x-master-key" | "authorization");
    let replaced = |(name, value): &(String, Vec<u8>)| {
        let value = if is_credential(name) { b"another".to_vec() } else { value.clone() };
        (name.clone(), value)
    };
    let other = Parts { headers: parts.headers.iter().map(replaced).collect(), ..parts.clone() }.action();
    match (action, other) {
        (Action::Answer(told), Action::Answer(other)) => assert_eq!(*told, other),
        (Action::Call(asked), Action::Call(other)) => assert_eq!(asked.call, other.call),
        (Action::Handshake(asked), Action::Handshake(other)) => {
            assert_eq!(asked.request.backlog, other.request.backlog);
        }
        (action, other) => panic!("{action:?} and {other:?}"),
    }
}

/// What is answered at once: 404, 405, `OPTIONS`, preflights, no handshake.
fn check_answer(parts: &Parts, meta: &ResponseMeta, response: &HttpResponse) {
    for after in [Persistence::Close, Persistence::KeepAlive, Persistence::KeepAliveNamed] {
        answers::check_bytes(response, after);
    }
    let header = |name| answers::header(response, name);
    assert_eq!(header("X-Request-Id"), Some(meta.request_id.as_str()));
    assert_eq!((response.is_head, response.close), (meta.is_head, false));
    let is_allowed = parts.once("origin") == Some(ORIGIN.as_bytes());
    let is_preflight = parts.method == "OPTIONS"
        && ["origin", "access-control-request-method"].iter().all(|name| !parts.values(name).is_empty());
    assert_eq!(header("Access-Control-Allow-Origin"), is_allowed.then_some(ORIGIN));
    assert_eq!(header("Vary"), Some("Origin"), "a list decides");
    if response.status == 204 {
        assert!(parts.method == "OPTIONS" && response.body.is_empty());
        assert_eq!(header("Allow").is_some(), !is_preflight);
        assert_eq!(header("Access-Control-Allow-Methods").is_some(), is_preflight && is_allowed);
        return;
    }
    if response.status == 200 {
        let path = parts.target.split('?').next().unwrap_or_default();
        assert!(matches!(path, "/openapi.json" | "/v1/openapi.json") && parts.body.is_some());
        assert!(response.body.starts_with(b"{"));
        return;
    }
    answers::check_envelope(response);
    match response.status {
        403 => assert!(is_preflight && !is_allowed),
        413 => assert!(parts.body.is_none()),
        400 => assert!(header("Allow").is_none()),
        404 => assert!(header("Allow").is_none()),
        405 => assert!(header("Allow").is_some_and(|allow| allow.split(", ").all(|known| known != parts.method))),
        426 => assert_eq!((header("Upgrade"), header("Connection")), (Some("websocket"), Some("Upgrade"))),
        other => panic!("{other} without asking anyone"),
    }
}

fn check_call(parts: &Parts, request: &ApiRequest) {
    let ApiRequest { access: _, credentials, call } = request;
    assert_eq!(credentials.api_key, parts.once("x-api-key").map(Digest::of));
    assert_eq!(credentials.is_master, parts.once("x-master-key") == Some(b"master"));
    if credentials.is_metrics_reader {
        assert!(parts.once("authorization").is_some_and(|value| value.ends_with(b"metrics") || value.ends_with(b" ")));
    }
    match (&credentials.user, &parts.values("x-user-id")[..]) {
        (UserHeader::Absent, []) => {}
        (UserHeader::User(id), [raw]) => {
            assert_eq!(id.as_str().as_bytes(), *raw);
            limits::check_user(id);
        }
        (UserHeader::Invalid, [raw]) => assert_eq!(UserId::parse(raw), None),
        (UserHeader::Invalid, [_, _, ..]) => {}
        (user, values) => panic!("{user:?} of {values:?}"),
    }
    match call {
        Ok(call) => {
            limits::check_call(call);
            query::check_call(parts.query(), call);
            let body = parts.body.as_deref().expect("a body that was too large is refused");
            bodies::check_call(body, parts.once("idempotency-key"), call);
        }
        Err(error) => {
            limits::check_error(error);
            query::check_blame(parts.query(), error);
        }
    }
}

fn parse_json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_from_text() {
        let parts = Parts::read(b"POST /rooms?a\nX-Api-Key: sk\nempty\n\n{}\n\n");
        assert_eq!((parts.method.as_str(), parts.target.as_str()), ("POST", "/rooms?a"));
        assert_eq!(parts.headers, [("x-api-key".to_owned(), b"sk".to_vec()), ("empty".to_owned(), Vec::new())]);
        assert_eq!(parts.body, Some(b"{}\n\n".to_vec()));
        assert_eq!(Parts::read(b"GET /\n\n<too large>").body, None);
    }
}
