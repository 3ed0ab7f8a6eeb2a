//! From a typed answer to the pieces of an HTTP response.

use bytes::Bytes;

use super::answer::Answer;
use super::error::ApiError;
use crate::limits::RateLimitStatus;
use crate::secret::Entropy;

/// What of a request its response depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseMeta {
    /// `X-Request-Id`: the caller's if it is 1 to 128 visible ASCII characters, else drawn.
    pub request_id: String,
    /// Whether the request was an HTTP one that wants its body left out (`HEAD`).
    pub is_head: bool,
}

/// An HTTP response. `Content-Length`, `Date` and `Connection` are the driver's.
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
}

/// Longest request body, in bytes.
pub const REQUEST_BODY_MAX_BYTES: usize = 2 * 1024 * 1024;

/// Encodes the answer to a request.
#[must_use]
pub fn encode(meta: &ResponseMeta, answer: &Answer) -> HttpResponse {
    todo!()
}

/// Encodes the answer to what was no proper request, with a request id drawn from `entropy`.
#[must_use]
pub fn reject(rejection: Rejection, entropy: &mut dyn Entropy) -> HttpResponse {
    todo!()
}
