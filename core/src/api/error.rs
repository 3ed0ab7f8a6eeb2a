//! What is told to a caller whose request could not be served (protocol, section 1).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The error codes of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorCode {
    /// 400: the request breaks a rule of its form.
    Validation,
    /// 401: the caller is not known.
    Authentication,
    /// 403: the caller may not.
    Authorization,
    /// 404: there is no such thing, or none of the caller's tenant.
    NotFound,
    /// 405: the path takes other methods.
    MethodNotAllowed,
    /// 408: the request came too slowly.
    RequestTimeout,
    /// 409: the state of the thing forbids it.
    Conflict,
    /// 413: a body or a field is too large.
    PayloadTooLarge,
    /// 422: the idempotency key was used with another body.
    IdempotencyKeyReused,
    /// 426: the route is for WebSocket handshakes.
    UpgradeRequired,
    /// 429: the tenant's bucket is empty.
    RateLimitExceeded,
    /// 431: the head is too large.
    HeadersTooLarge,
    /// 500: a fault of the server's.
    Internal,
    /// 501: the method is not known.
    NotImplemented,
    /// 503: storage cannot answer, an overload, or a shutdown under way.
    Unavailable,
    /// 505: the version of HTTP is not spoken.
    HttpVersionNotSupported,
}

impl ErrorCode {
    /// The code on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validation => "VALIDATION_ERROR",
            Self::Authentication => "AUTHENTICATION_ERROR",
            Self::Authorization => "AUTHORIZATION_ERROR",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::RequestTimeout => "REQUEST_TIMEOUT",
            Self::Conflict => "CONFLICT",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            Self::UpgradeRequired => "UPGRADE_REQUIRED",
            Self::RateLimitExceeded => "RATE_LIMIT_EXCEEDED",
            Self::HeadersTooLarge => "HEADERS_TOO_LARGE",
            Self::Internal => "INTERNAL_ERROR",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::HttpVersionNotSupported => "HTTP_VERSION_NOT_SUPPORTED",
        }
    }

    /// The status that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Validation => 400,
            Self::Authentication => 401,
            Self::Authorization => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::Conflict => 409,
            Self::PayloadTooLarge => 413,
            Self::IdempotencyKeyReused => 422,
            Self::UpgradeRequired => 426,
            Self::RateLimitExceeded => 429,
            Self::HeadersTooLarge => 431,
            Self::Internal => 500,
            Self::NotImplemented => 501,
            Self::Unavailable => 503,
            Self::HttpVersionNotSupported => 505,
        }
    }
}

/// An error as REST's envelope and a socket's `error` frame carry it. The message tells the caller what to do, and
/// never holds a secret, SQL or another tenant's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// The code.
    pub code: ErrorCode,
    /// For people.
    pub message: Cow<'static, str>,
    /// The field to blame, if one is.
    pub field: Option<Cow<'static, str>>,
    /// When to try again: `Retry-After` rounds it up to whole seconds, frames tell it as `retry_after_ms`.
    pub retry_after_ms: Option<u64>,
}

impl ApiError {
    /// An error that blames no field.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), field: None, retry_after_ms: None }
    }

    /// 400 that blames `field`.
    #[must_use]
    pub fn invalid(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field: Some(field.into()), ..Self::new(ErrorCode::Validation, message) }
    }

    /// 413 that blames `field`.
    #[must_use]
    pub fn too_large(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field: Some(field.into()), ..Self::new(ErrorCode::PayloadTooLarge, message) }
    }

    /// 404 of a room, the same for a missing one and another tenant's.
    #[must_use]
    pub fn no_room() -> Self {
        Self::new(ErrorCode::NotFound, "there is no such room")
    }

    /// 403 for a user who is not in the room.
    #[must_use]
    pub fn not_member() -> Self {
        Self::new(ErrorCode::Authorization, "the user is not a member of this room")
    }

    /// 503: try again after `retry_after_ms`.
    #[must_use]
    pub fn unavailable(message: &'static str, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(ErrorCode::Unavailable, message) }
    }

    /// 429: a token is there after `retry_after_ms`.
    #[must_use]
    pub fn rate_limited(retry_after_ms: u64) -> Self {
        Self {
            retry_after_ms: Some(retry_after_ms),
            ..Self::new(
                ErrorCode::RateLimitExceeded,
                "too many requests: slow down and try again after the stated time",
            )
        }
    }
}
