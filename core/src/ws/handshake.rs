//! What a WebSocket handshake says of its caller.

use serde::{Deserialize, Serialize};

use crate::api::{ApiError, UserHeader};
use crate::secret::Digest;

/// A `GET /ws` that is a proper handshake (RFC 6455).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeRequest {
    /// The `Origin` header: a browser's.
    pub origin: Option<String>,
    /// Who calls.
    pub credentials: HandshakeCredentials,
    /// What the connection wants to be sent first, or what is wrong with the query.
    pub backlog: Result<BacklogChoice, ApiError>,
}

/// Credentials of a handshake. A token wins over an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HandshakeCredentials {
    /// There are none.
    Missing,
    /// `X-API-Key`.
    ApiKey {
        /// Its digest.
        api_key: Digest,
        /// `X-User-Id`, else `?user_id=`.
        user: UserHeader,
    },
    /// `?token=`.
    Token {
        /// Its digest.
        token: Digest,
        /// `?user_id=`, which must match the token's.
        user: UserHeader,
    },
}

/// Whether missed messages come on connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BacklogChoice {
    /// The messages past the user's `last_ack`, then `sync.complete`.
    Stream,
    /// `?sync=false`: neither.
    Skip,
}
