//! What the protocol says about each field of a call.

use chatapi_core::api::{ApiError, Call, CreateRoom, CreateTenant, ErrorCode, SendMessage, UserHeader};
use chatapi_core::model::TenantConfig;
use chatapi_core::store::HistoryRange;
use chatapi_core::ws::{HandshakeCredentials, HandshakeRequest};
use chatapi_core::{RoomId, Seq, UserId};
use serde::de::IgnoredAny;

use crate::json::MAX_INTEGER;

pub(super) fn check_call(call: &Call) {
    match call {
        Call::Health | Call::Livez | Call::Readyz | Call::Metrics => {}
        Call::CreateTenant(tenant) => check_tenant(tenant),
        Call::ListRooms { after, limit } => {
            assert!(after.as_ref().is_none_or(|room_id| !room_id.as_str().is_empty()));
            assert!((1..=1_000).contains(limit), "{limit}");
        }
        Call::CreateRoom(room) => check_room(room),
        Call::ReadRoom { room_id } => check_path_id(room_id),
        Call::ListMembers { room_id, after, limit } => {
            check_path_id(room_id);
            after.iter().for_each(check_user);
            assert!((1..=10_000).contains(limit), "{limit}");
        }
        Call::SendMessage(message) => {
            check_path_id(&message.room_id);
            check_message(message);
        }
        Call::ReadMessages { room_id, range, limit } => {
            check_path_id(room_id);
            match range {
                HistoryRange::After(seq) => check_seq(*seq),
                HistoryRange::Before(seq) => assert!(i64::try_from(seq.0).is_ok(), "{seq}"),
            }
            assert!((1..=100).contains(limit), "{limit}");
        }
        Call::Acknowledge { room_id: _, seq } => check_seq(*seq),
        Call::IssueToken { token } => assert!(token.reveal().starts_with("wst_") && token.reveal().len() == 26),
    }
}

pub(super) fn check_handshake(request: &HandshakeRequest) {
    match &request.credentials {
        HandshakeCredentials::Missing => {}
        HandshakeCredentials::ApiKey { user, .. } | HandshakeCredentials::Token { user, .. } => match user {
            UserHeader::User(id) => check_user(id),
            UserHeader::Absent | UserHeader::Invalid => {}
        },
    }
    if let Err(error) = &request.backlog {
        check_error(error);
    }
}

/// 1 to 128 bytes of UTF-8 without control characters or white space at its ends.
pub(super) fn check_user(id: &UserId) {
    let id = id.as_str();
    assert!((1..=128).contains(&id.len()), "{} bytes", id.len());
    assert!(!id.chars().any(char::is_control), "{id:?}");
    assert!(!id.starts_with(char::is_whitespace) && !id.ends_with(char::is_whitespace), "{id:?}");
}

/// What the form of a request is refused for, before anyone knows who asks.
pub(super) fn check_error(error: &ApiError) {
    let ApiError { code, message, field, retry_after_ms } = error;
    assert!(matches!(code, ErrorCode::Validation | ErrorCode::PayloadTooLarge), "{code:?}");
    assert!((1..400).contains(&message.len()), "{message}");
    if let Some(field) = field {
        // `config.` and a key that is told back, or the path of a duplicate.
        assert!((1..=64 + "config.".len()).contains(&field.len()), "{field}");
    }
    assert_eq!(*retry_after_ms, None);
}

fn check_tenant(tenant: &CreateTenant) {
    let CreateTenant { name, config, webhook_secret, api_key } = tenant;
    assert!((1..=200).contains(&name.chars().count()), "{name}");
    let TenantConfig { webhook_url, rate_limit, max_message_size, retry_limit, durable_notifications: _ } = config;
    if let Some(url) = webhook_url {
        assert!(url.len() <= 2_048, "{} bytes", url.len());
        let lower = url.to_ascii_lowercase();
        let rest = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://"));
        let authority = rest.expect("the scheme is http or https").split(['/', '?', '#']).next().unwrap_or_default();
        assert!(!authority.is_empty() && !authority.contains('@'), "{url}");
        assert!(!url.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\'), "{url}");
        assert!(webhook_secret.is_some(), "what goes to a webhook is signed");
    }
    assert!(rate_limit.is_none_or(|limit| (1..=1_000_000_000).contains(&limit)), "{rate_limit:?}");
    assert!(max_message_size.is_none_or(|size| (1..=262_144).contains(&size)), "{max_message_size:?}");
    assert!(retry_limit.is_none_or(|limit| (1..=100).contains(&limit)), "{retry_limit:?}");
    if let Some(secret) = webhook_secret {
        let key = secret.reveal().strip_prefix("whsec_").expect("the prefix of a webhook secret");
        let bytes = key.trim_end_matches('=').len() * 3 / 4;
        assert!(key.len() % 4 == 0 && (24..=64).contains(&bytes), "{bytes} bytes");
    }
    assert!(api_key.reveal().starts_with("sk_") && api_key.reveal().len() == 46);
}

fn check_room(room: &CreateRoom) {
    let CreateRoom { kind: _, members, name, metadata } = room;
    members.iter().for_each(check_user);
    assert!(name.as_ref().is_none_or(|name| name.chars().count() <= 200));
    check_json_text(metadata.as_deref());
}

fn check_message(message: &SendMessage) {
    let SendMessage { room_id: _, content, meta, idempotency_key } = message;
    assert!(!content.is_empty());
    check_json_text(meta.as_deref());
    if let Some(key) = idempotency_key {
        assert!((1..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()), "{key:?}");
    }
}

fn check_json_text(text: Option<&str>) {
    if let Some(text) = text {
        assert!((1..=16 * 1024).contains(&text.len()), "{} bytes", text.len());
        assert!(serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text}");
    }
}

/// An empty one would have been another path.
fn check_path_id(room_id: &RoomId) {
    assert!(!room_id.as_str().is_empty());
}

fn check_seq(seq: Seq) {
    assert!(seq.0 <= MAX_INTEGER.unsigned_abs(), "{seq}");
}
