//! `GET /ws`: is it a proper handshake (RFC 6455, section 4.2.1), and whose?

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::headers::{Headers, Single};
use super::query::{Query, invalid};
use super::{Body, Upgrade, too_large};
use crate::api::call::UserHeader;
use crate::api::error::{ApiError, ErrorCode};
use crate::id::UserId;
use crate::secret::Digest;
use crate::ws::{BacklogChoice, HandshakeCredentials, HandshakeRequest};

/// Why a request is no handshake, with the headers that say how to make one.
pub(super) type NoHandshake = (ApiError, Vec<(&'static str, &'static str)>);

/// Reads a handshake. What is wrong with its query is kept in it, so that origin and credentials come first.
pub(super) fn read(
    method: &str,
    headers: &Headers<'_>,
    query: Query<'_>,
    body: Body<'_>,
) -> Result<Upgrade, NoHandshake> {
    let is_upgrade = headers.lists("connection", "upgrade") && headers.lists("upgrade", "websocket");
    if method != "GET" || !is_upgrade {
        let message = "this is a WebSocket endpoint: connect with a WebSocket client";
        return Err((
            ApiError::new(ErrorCode::UpgradeRequired, message),
            vec![("Upgrade", "websocket"), ("Connection", "Upgrade")],
        ));
    }
    if headers.single("sec-websocket-version").once().map(<[u8]>::trim_ascii) != Some(b"13") {
        let message = "Sec-WebSocket-Version must be 13";
        return Err((
            ApiError::new(ErrorCode::UpgradeRequired, message),
            vec![("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")],
        ));
    }
    let Some(key) = headers.single("sec-websocket-key").once().and_then(websocket_key) else {
        let message = "Sec-WebSocket-Key must stand once and be the base64 of 16 bytes";
        return Err((ApiError::invalid("Sec-WebSocket-Key", message), Vec::new()));
    };
    Ok(Upgrade {
        request: Box::new(HandshakeRequest {
            origin: origin(headers),
            credentials: credentials(headers, query),
            backlog: backlog(headers, query, body),
        }),
        key: key.to_owned(),
    })
}

/// A repeated or unreadable `Origin` is still a browser's: it must not pass for none.
fn origin(headers: &Headers<'_>) -> Option<String> {
    let values: Vec<_> = headers.values("origin").map(String::from_utf8_lossy).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn credentials(headers: &Headers<'_>, query: Query<'_>) -> HandshakeCredentials {
    let user_in_query = || match query.get("user_id") {
        Ok(None) => UserHeader::Absent,
        Ok(Some(id)) => UserId::parse(id.as_bytes()).map_or(UserHeader::Invalid, UserHeader::User),
        Err(_) => UserHeader::Invalid,
    };
    match query.get("token") {
        Ok(Some(token)) => {
            return HandshakeCredentials::Token { token: Digest::of(token.as_bytes()), user: user_in_query() };
        }
        Err(_) => return HandshakeCredentials::Missing,
        Ok(None) => {}
    }
    match headers.api_key.once() {
        None => HandshakeCredentials::Missing,
        Some(key) => HandshakeCredentials::ApiKey {
            api_key: Digest::of(key),
            user: match headers.user_id {
                Single::Absent => user_in_query(),
                given @ (Single::Once(_) | Single::Repeated) => given.user(),
            },
        },
    }
}

fn backlog(headers: &Headers<'_>, query: Query<'_>, body: Body<'_>) -> Result<BacklogChoice, ApiError> {
    headers.origin.refuse_repeats("Origin")?;
    query.get("token")?;
    query.get("user_id")?;
    headers.api_key.refuse_repeats("X-API-Key")?;
    headers.user_id.refuse_repeats("X-User-Id")?;
    if body == Body::TooLarge {
        return Err(too_large());
    }
    match query.get("sync")?.as_deref() {
        None | Some("true") => Ok(BacklogChoice::Stream),
        Some("false") => Ok(BacklogChoice::Skip),
        Some(_) => Err(invalid("sync", "must be true or false")),
    }
}

fn websocket_key(raw: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(raw.trim_ascii()).ok()?;
    let nonce = STANDARD.decode(text).ok()?;
    (nonce.len() == 16).then_some(text)
}
