//! From the pieces of an HTTP request to a typed call: routes, queries, bodies.

use super::call::ApiRequest;
use super::encode::{HttpResponse, ResponseMeta};
use crate::secret::Entropy;
use crate::ws::HandshakeRequest;

/// An HTTP request as the driver's reader framed it.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// As it stood on the wire: `GET`.
    pub method: &'a str,
    /// Origin form, as it stood on the wire: `/rooms?limit=2`.
    pub target: &'a str,
    /// In order; names in lower case, values raw.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body.
    pub body: Body<'a>,
}

/// The body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// All of it; empty where there is none.
    Complete(&'a [u8]),
    /// Larger than [`crate::api::REQUEST_BODY_MAX_BYTES`], and not read.
    TooLarge,
}

/// What the driver lends to the parser: randomness for fresh secrets, and comparisons in constant time.
pub trait ParseHost: Entropy {
    /// Whether `given` is the master key.
    fn is_master_key(&self, given: &[u8]) -> bool;
    /// Whether `given` is `METRICS_TOKEN`; false where none is set.
    fn is_metrics_token(&self, given: &[u8]) -> bool;
}

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The answer depends on nothing but the request: no such path, another method, `OPTIONS`, a `GET /ws` that is no handshake.
    Answer(HttpResponse),
    /// For [`crate::Input::Request`].
    Call(Box<ApiRequest>),
    /// For [`crate::Input::Handshake`].
    Handshake(Upgrade),
}

/// A proper WebSocket handshake (RFC 6455, section 4.2.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Upgrade {
    /// What the core decides on.
    pub request: Box<HandshakeRequest>,
    /// The client's `Sec-WebSocket-Key`, from which the driver derives the accept key.
    pub key: String,
}

/// Parses a request. The [`ResponseMeta`] goes with it to [`super::encode`].
pub fn parse_request(parts: &RequestParts<'_>, host: &mut dyn ParseHost) -> (ResponseMeta, Action) {
    todo!()
}
