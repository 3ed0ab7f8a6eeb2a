//! From a typed answer to the pieces of an HTTP response.

mod body;
mod metrics;
mod nouns;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::answer::{Answer, Success};
use super::cors::Cors;
use super::error::{ApiError, ErrorCode};
use super::openapi;
use super::parse::{ParseHost, meta_of_refused};
use crate::limits::RateLimitStatus;
pub use metrics::MetricsFormat;

pub(crate) use nouns::RoomBody;

/// What of a request its response depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseMeta {
    /// `X-Request-Id`: the caller's if it is 1 to 128 visible ASCII characters, else drawn.
    pub request_id: String,
    /// Whether the request was an HTTP one that wants its body left out (`HEAD`).
    pub is_head: bool,
    /// Who may read the response in a browser.
    pub cors: Cors,
    /// The format that a caller of `GET /metrics` prefers.
    pub metrics_format: MetricsFormat,
}

impl ResponseMeta {
    /// Of what never became a request. `headers` are those of its head that could be read, names in lower case; `Origin` and
    /// `X-Request-Id` are all that count.
    #[must_use]
    pub fn of_refused(headers: &[(&str, &[u8])], host: &mut dyn ParseHost) -> Self {
        meta_of_refused(headers, host)
    }
}

/// An HTTP response. `Content-Length`, `Date` and `Connection` are the driver's, but for the `Connection: Upgrade` of a
/// 426, which stands among the headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Names in the case they are sent in.
    pub headers: Vec<(&'static str, String)>,
    /// The body; of a `HEAD` request too, to count its length.
    pub body: Bytes,
    /// Whether the body is left out on the wire.
    pub is_head: bool,
    /// Whether the connection ends with it.
    pub close: bool,
}

/// Why the driver's reader refused what came over a socket: the head cannot be trusted any further, so that each ends
/// the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// 400: not HTTP, or ambiguous; the text says what to mend.
    Malformed(&'static str),
    /// 408: the head or the body came too slowly.
    Timeout,
    /// 431: the head is over 16 KiB or 128 headers.
    HeadTooLarge,
    /// 501: the method is not known.
    UnknownMethod,
    /// 505: a version other than 1.0 and 1.1.
    UnsupportedVersion,
    /// 503: the server is full.
    Overloaded,
    /// 503: the run is over.
    Stopped,
}

/// Longest request body, in bytes.
pub const REQUEST_BODY_MAX_BYTES: usize = 2 * 1024 * 1024;

/// Encodes the answer to a request.
#[must_use]
pub fn encode(meta: &ResponseMeta, answer: &Answer) -> HttpResponse {
    let mut response = match &answer.result {
        Ok(success) => {
            let (status, body) = body::success(success, meta.metrics_format);
            let mut response = with_body(meta, status, content_type(success, meta), body);
            if status == 503 {
                response.headers.push(("Retry-After", "1".to_owned()));
            }
            if status == 204 {
                // Nothing is there that could have a type.
                response.headers.retain(|(name, _)| *name != "Content-Type");
            }
            response
        }
        Err(error) => refuse(meta, error, &[]),
    };
    if let Some(status) = &answer.rate_limit {
        response.headers.extend(rate_limit_headers(status));
    }
    response
}

/// Encodes the answer to what was no proper request, or came when none could be served.
#[must_use]
pub fn reject(rejection: Rejection, meta: &ResponseMeta) -> HttpResponse {
    let error = match rejection {
        Rejection::Malformed(reason) => ApiError::new(ErrorCode::Validation, reason),
        Rejection::Timeout => ApiError::new(
            ErrorCode::RequestTimeout,
            "the request came too slowly: send its head within 10 s and its body within 30 s",
        ),
        Rejection::HeadTooLarge => {
            ApiError::new(ErrorCode::HeadersTooLarge, "the head of a request may hold 16 KiB and 128 headers at most")
        }
        Rejection::UnknownMethod => ApiError::new(ErrorCode::NotImplemented, "this method is not known"),
        Rejection::UnsupportedVersion => {
            ApiError::new(ErrorCode::HttpVersionNotSupported, "speak HTTP/1.1 or HTTP/1.0")
        }
        Rejection::Stopped => ApiError::unavailable("the server is shutting down: try again", 5_000),
        Rejection::Overloaded => ApiError::unavailable("the server is full: try again later", 1_000),
    };
    HttpResponse { close: true, ..refuse(meta, &error, &[]) }
}

/// The headers of the 101 to an accepted handshake, but for those of the upgrade itself, which are the driver's.
#[must_use]
pub fn encode_upgrade(meta: &ResponseMeta, rate_limit: &RateLimitStatus) -> Vec<(&'static str, String)> {
    let mut headers = answer_headers(meta);
    headers.extend(rate_limit_headers(rate_limit));
    headers
}

/// The headers that tell how the caller's bucket stands.
fn rate_limit_headers(status: &RateLimitStatus) -> [(&'static str, String); 3] {
    [
        ("RateLimit-Limit", status.limit.to_string()),
        ("RateLimit-Remaining", status.remaining.to_string()),
        ("RateLimit-Reset", status.reset_secs.to_string()),
    ]
}

/// The envelope of an error, with headers that tell how to do better.
pub(super) fn refuse(meta: &ResponseMeta, error: &ApiError, told: &[(&'static str, &str)]) -> HttpResponse {
    let mut response = with_body(meta, error.code.status(), JSON, body::failure(error));
    if let Some(secs) = retry_after_secs(error) {
        response.headers.push(("Retry-After", secs.to_string()));
    }
    response.headers.extend(told.iter().map(|(name, value)| (*name, (*value).to_owned())));
    response
}

/// 204 to an `OPTIONS` that is no preflight.
pub(super) fn tell_methods(meta: &ResponseMeta, allow: &'static str) -> HttpResponse {
    let mut headers = answer_headers(meta);
    headers.push(("Allow", allow.to_owned()));
    HttpResponse { status: 204, headers, body: Bytes::new(), is_head: meta.is_head, close: false }
}

/// 204 to a preflight from an origin that is allowed.
pub(super) fn allow_preflight(meta: &ResponseMeta, methods: &str) -> HttpResponse {
    let mut headers = vec![request_id_header(meta)];
    meta.cors.add_to_preflight(&mut headers, methods);
    HttpResponse { status: 204, headers, body: Bytes::new(), is_head: meta.is_head, close: false }
}

/// 200 with the document of the API.
pub(super) fn tell_document(meta: &ResponseMeta) -> HttpResponse {
    with_body(meta, 200, JSON, Bytes::from_static(openapi::DOCUMENT.as_bytes()))
}

fn with_body(meta: &ResponseMeta, status: u16, content_type: &str, body: Bytes) -> HttpResponse {
    let mut headers = answer_headers(meta);
    headers.push(("Content-Type", content_type.to_owned()));
    HttpResponse { status, headers, body, is_head: meta.is_head, close: false }
}

const JSON: &str = "application/json";

fn content_type(success: &Success, meta: &ResponseMeta) -> &'static str {
    if matches!(success, Success::Metrics(_)) { meta.metrics_format.content_type() } else { JSON }
}

/// What stands in every answer but that to a preflight.
fn answer_headers(meta: &ResponseMeta) -> Vec<(&'static str, String)> {
    let mut headers = Vec::with_capacity(HEADERS_USUALLY);
    headers.push(request_id_header(meta));
    meta.cors.add_to_answer(&mut headers);
    headers
}

/// With CORS and the caller's bucket, so that none of them moves the others.
const HEADERS_USUALLY: usize = 8;

fn request_id_header(meta: &ResponseMeta) -> (&'static str, String) {
    ("X-Request-Id", meta.request_id.clone())
}

/// Rounded up, so that nobody comes back too early. 429 and 503 always say when.
fn retry_after_secs(error: &ApiError) -> Option<u64> {
    let needed = matches!(error.code, ErrorCode::RateLimitExceeded | ErrorCode::Unavailable);
    match error.retry_after_ms {
        Some(millis) => Some(millis.div_ceil(1_000).max(1)),
        None if needed => Some(1),
        None => None,
    }
}
