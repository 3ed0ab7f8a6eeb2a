//! What the protocol says about each field of a call.

use chatapi_core::api::{
    AdminCall, ApiError, Call, ChangeRoom, CreateRoom, CreateTenant, EditMessage, ErrorCode, MembersQuery, Notify,
    RotateKey, SendMessage, TenantCall, UserCall, UserHeader,
};
use chatapi_core::model::{Edit, TenantConfig};
use chatapi_core::store::{ConfigChange, HistoryRange, NotificationTargets, TenantChange};
use chatapi_core::ws::{HandshakeCredentials, HandshakeRequest};
use chatapi_core::{Secret, Seq, UserId};
use serde::de::IgnoredAny;

use crate::json::MAX_INTEGER;

pub(super) fn check_call(call: &Call) {
    match call {
        Call::Public(_) => {}
        Call::Admin(call) => check_admin(call),
        Call::Tenant(call) => check_tenant(call),
        Call::User(call) => check_user_call(call),
    }
}

fn check_admin(call: &AdminCall) {
    match call {
        AdminCall::CreateTenant(tenant) => check_new_tenant(tenant),
        AdminCall::ListTenants { after, limit } => {
            after.iter().for_each(|id| check_path_id(id.as_str()));
            assert!((1..=1_000).contains(limit), "{limit}");
        }
        AdminCall::ReadTenant { tenant_id } | AdminCall::DeleteTenant { tenant_id } => {
            check_path_id(tenant_id.as_str());
        }
        AdminCall::ChangeTenant(change) => check_tenant_change(change),
        AdminCall::RotateKey(rotate) => {
            let RotateKey { tenant_id, api_key, grace_seconds, close_sockets: _ } = &**rotate;
            check_path_id(tenant_id.as_str());
            check_api_key(api_key);
            assert!(*grace_seconds <= 86_400, "{grace_seconds}");
        }
    }
}

fn check_tenant(call: &TenantCall) {
    match call {
        TenantCall::ListRooms { after, limit } => {
            after.iter().for_each(|id| check_path_id(id.as_str()));
            assert!((1..=1_000).contains(limit), "{limit}");
        }
        TenantCall::CreateRoom(room) => check_room(room),
        TenantCall::ReadRoom { room_id } | TenantCall::DeleteRoom { room_id } => check_path_id(room_id.as_str()),
        TenantCall::ChangeRoom(change) => {
            let ChangeRoom { room_id, name, metadata } = &**change;
            check_path_id(room_id.as_str());
            assert!(set(name).is_none_or(|name| name.chars().count() <= 200));
            check_json_text(set(metadata).map(String::as_str));
        }
        TenantCall::ListMembers(query) | TenantCall::ListPresence(query) | TenantCall::ListReceipts(query) => {
            let MembersQuery { room_id, after, limit } = query;
            check_path_id(room_id.as_str());
            after.iter().for_each(check_user);
            assert!((1..=10_000).contains(limit), "{limit}");
        }
        TenantCall::AddMember { room_id, user_id, role: _ } | TenantCall::RemoveMember { room_id, user_id } => {
            check_path_id(room_id.as_str());
            check_user(user_id);
        }
        TenantCall::ReadMessages { room_id, range, limit } => {
            check_path_id(room_id.as_str());
            match range {
                HistoryRange::After(seq) => check_seq(*seq),
                HistoryRange::Before(seq) => assert!(i64::try_from(seq.0).is_ok(), "{seq}"),
            }
            assert!((1..=100).contains(limit), "{limit}");
        }
        TenantCall::ReadMessage { room_id, message_id } | TenantCall::DeleteMessage { room_id, message_id } => {
            check_path_id(room_id.as_str());
            check_path_id(message_id.as_str());
        }
        TenantCall::Notify(notify) => {
            let Notify { topic, payload, targets } = &**notify;
            check_label(topic);
            assert!((1..=64 * 1024).contains(&payload.len()), "{} bytes", payload.len());
            if let Some(NotificationTargets { user_ids, room_id: _, topic_subscribers: _ }) = targets {
                assert!(user_ids.len() <= 10_000 && user_ids.is_sorted_by(|one, next| one < next));
                user_ids.iter().for_each(check_user);
            }
        }
    }
}

fn check_user_call(call: &UserCall) {
    match call {
        UserCall::SendMessage(message) => {
            check_path_id(message.room_id.as_str());
            check_message(message);
        }
        UserCall::EditMessage(edit) => {
            let EditMessage { room_id, message_id, content, meta } = &**edit;
            check_path_id(room_id.as_str());
            check_path_id(message_id.as_str());
            assert!(!content.is_empty());
            check_json_text(set(meta).map(String::as_str));
        }
        UserCall::Acknowledge { room_id: _, seq } => check_seq(*seq),
        UserCall::Subscribe { topic } => check_label(topic),
        UserCall::ListSubscriptions => {}
        UserCall::Unsubscribe { subscription_id } => check_seq(Seq(*subscription_id)),
        UserCall::IssueToken { token } => assert!(token.reveal().starts_with("wst_") && token.reveal().len() == 26),
    }
}

/// What a change sets a field to.
fn set<T>(edit: &Edit<T>) -> Option<&T> {
    match edit {
        Edit::Keep | Edit::Clear => None,
        Edit::Set(value) => Some(value),
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

fn check_new_tenant(tenant: &CreateTenant) {
    let CreateTenant { name, config, webhook_secret, api_key } = tenant;
    check_label(name);
    let TenantConfig { webhook_url, rate_limit, max_message_size, retry_limit, durable_notifications: _ } = config;
    check_config(webhook_url.as_ref(), *rate_limit, *max_message_size, *retry_limit);
    assert!(webhook_url.is_none() || webhook_secret.is_some(), "what goes to a webhook is signed");
    webhook_secret.iter().for_each(check_webhook_secret);
    check_api_key(api_key);
}

fn check_tenant_change(change: &TenantChange) {
    let TenantChange { tenant_id, name, config, fresh_secret } = change;
    check_path_id(tenant_id.as_str());
    name.iter().for_each(|name| check_label(name));
    let ConfigChange {
        webhook_url,
        webhook_secret,
        rate_limit,
        max_message_size,
        retry_limit,
        durable_notifications: _,
    } = config;
    check_config(set(webhook_url), set(rate_limit).copied(), set(max_message_size).copied(), set(retry_limit).copied());
    set(webhook_secret).into_iter().chain([fresh_secret]).for_each(check_webhook_secret);
}

fn check_config(
    webhook_url: Option<&String>,
    rate_limit: Option<u32>,
    max_message_size: Option<u32>,
    retry_limit: Option<u32>,
) {
    if let Some(url) = webhook_url {
        assert!(url.len() <= 2_048, "{} bytes", url.len());
        let lower = url.to_ascii_lowercase();
        let rest = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://"));
        let authority = rest.expect("the scheme is http or https").split(['/', '?', '#']).next().unwrap_or_default();
        assert!(!authority.is_empty() && !authority.contains('@'), "{url}");
        assert!(!url.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\'), "{url}");
    }
    assert!(rate_limit.is_none_or(|limit| (1..=1_000_000_000).contains(&limit)), "{rate_limit:?}");
    assert!(max_message_size.is_none_or(|size| (1..=262_144).contains(&size)), "{max_message_size:?}");
    assert!(retry_limit.is_none_or(|limit| (1..=100).contains(&limit)), "{retry_limit:?}");
}

fn check_webhook_secret(secret: &Secret) {
    let key = secret.reveal().strip_prefix("whsec_").expect("the prefix of a webhook secret");
    let bytes = key.trim_end_matches('=').len() * 3 / 4;
    assert!(key.len().is_multiple_of(4) && (24..=64).contains(&bytes), "{bytes} bytes");
}

fn check_api_key(key: &Secret) {
    assert!(key.reveal().starts_with("sk_") && key.reveal().len() == 46);
}

/// Names of tenants, and topics.
fn check_label(text: &str) {
    assert!((1..=200).contains(&text.chars().count()), "{text}");
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
fn check_path_id(id: &str) {
    assert!(!id.is_empty());
}

fn check_seq(seq: Seq) {
    assert!(seq.0 <= MAX_INTEGER.unsigned_abs(), "{seq}");
}
