//! A body that was taken is JSON by the strictest reading, and what was read of it stands there.

use std::fmt::Debug;

use chatapi_core::api::{AdminCall, Call, ChangeRoom, EditMessage, Notify, RotateKey, TenantCall, UserCall};
use chatapi_core::model::Edit;
use chatapi_core::store::{ConfigChange, NotificationTargets, TenantChange};
use chatapi_core::{RoomId, Secret, UserId};
use serde_json::Value;

use crate::json::Tree;

pub(super) fn check_call(body: &[u8], idempotency_key: Option<&[u8]>, call: &Call) {
    match call {
        Call::Public(_) => {}
        Call::Admin(call) => check_admin(body, call),
        Call::Tenant(call) => check_tenant(body, call),
        Call::User(call) => check_user(body, idempotency_key, call),
    }
}

fn strict(body: &[u8]) -> Tree {
    Tree::strict(body).expect("a body that is not strict JSON is refused")
}

fn field<'t>(tree: &'t Tree, key: &str) -> Option<&'t Tree> {
    let (_, value) = tree.entries()?.iter().find(|(known, _)| known == key)?;
    Some(value)
}

/// A field that is neither absent nor `null`.
fn given<'t>(tree: &'t Tree, key: &str) -> Option<&'t Tree> {
    field(tree, key).filter(|value| !value.is_null())
}

fn text(tree: &Tree, key: &str) -> Option<String> {
    field(tree, key)?.text().map(str::to_owned)
}

/// Absent keeps, `null` clears; what `read` makes nothing of clears too.
fn check_edit<T: PartialEq + Debug>(tree: &Tree, key: &str, edit: &Edit<T>, read: impl FnOnce(&Tree) -> Option<T>) {
    let expected = match field(tree, key) {
        None => Edit::Keep,
        Some(value) if value.is_null() => Edit::Clear,
        Some(value) => read(value).map_or(Edit::Clear, Edit::Set),
    };
    assert_eq!(*edit, expected, "{key}");
}

fn any_text(value: &Tree) -> Option<String> {
    Some(value.text().expect("only a string is taken").to_owned())
}

/// JSON text in a string; `""` is none.
fn json_text(value: &Tree) -> Option<String> {
    any_text(value).filter(|text| !text.is_empty())
}

fn small(value: &Tree) -> Option<u32> {
    Some(value.integer().and_then(|number| u32::try_from(number).ok()).expect("only a small number is taken"))
}

fn flag(value: &Tree) -> Option<bool> {
    match value {
        Tree::Leaf(Value::Bool(flag)) => Some(*flag),
        Tree::Leaf(_) | Tree::Array(_) | Tree::Object(_) => panic!("only true and false are taken"),
    }
}

fn check_admin(body: &[u8], call: &AdminCall) {
    match call {
        AdminCall::CreateTenant(tenant) => assert_eq!(text(&strict(body), "name").as_ref(), Some(&tenant.name)),
        AdminCall::ChangeTenant(change) => check_tenant_change(&strict(body), change),
        AdminCall::RotateKey(rotate) => {
            let RotateKey { tenant_id: _, api_key: _, grace_seconds, close_sockets } = &**rotate;
            let tree = if body.is_empty() { Tree::Object(Vec::new()) } else { strict(body) };
            assert!(tree.entries().is_some());
            assert_eq!(given(&tree, "grace_seconds").and_then(small).unwrap_or(0), *grace_seconds);
            assert_eq!(given(&tree, "close_sockets").and_then(flag).unwrap_or(false), *close_sockets);
        }
        AdminCall::ListTenants { .. } | AdminCall::ReadTenant { .. } | AdminCall::DeleteTenant { .. } => {}
    }
}

fn check_tenant_change(tree: &Tree, change: &TenantChange) {
    let TenantChange { tenant_id: _, name, config, fresh_secret: _ } = change;
    assert_eq!(field(tree, "name").and_then(any_text), *name);
    let nothing = Tree::Object(Vec::new());
    let settings = given(tree, "config").unwrap_or(&nothing);
    let ConfigChange { webhook_url, webhook_secret, rate_limit, max_message_size, retry_limit, durable_notifications } =
        config;
    check_edit(settings, "webhook_url", webhook_url, any_text);
    check_edit(settings, "webhook_secret", webhook_secret, |value| any_text(value).map(Secret::new));
    check_edit(settings, "rate_limit", rate_limit, small);
    check_edit(settings, "max_message_size", max_message_size, small);
    check_edit(settings, "retry_limit", retry_limit, small);
    check_edit(settings, "durable_notifications", durable_notifications, flag);
    const SETTINGS: [&str; 6] =
        ["webhook_url", "webhook_secret", "rate_limit", "max_message_size", "retry_limit", "durable_notifications"];
    let entries = settings.entries().expect("settings are an object");
    assert!(entries.iter().all(|(key, _)| SETTINGS.contains(&key.as_str())), "a typo in a setting gets lost");
}

fn check_tenant(body: &[u8], call: &TenantCall) {
    match call {
        TenantCall::CreateRoom(room) => {
            let tree = strict(body);
            assert_eq!(text(&tree, "type").as_deref(), Some(room.kind.as_str()));
            assert_eq!(text(&tree, "name"), room.name);
            assert_eq!(given(&tree, "metadata").and_then(json_text), room.metadata);
        }
        TenantCall::ChangeRoom(change) => {
            let ChangeRoom { room_id: _, name, metadata } = &**change;
            let tree = strict(body);
            check_edit(&tree, "name", name, any_text);
            check_edit(&tree, "metadata", metadata, json_text);
        }
        TenantCall::AddMember { room_id: _, user_id, role } => {
            let tree = strict(body);
            assert_eq!(text(&tree, "user_id").as_deref(), Some(user_id.as_str()));
            assert_eq!(text(&tree, "role").as_deref(), role.map(|role| role.as_str()));
        }
        TenantCall::Notify(notify) => check_notification(body, notify),
        TenantCall::ListRooms { .. }
        | TenantCall::ReadRoom { .. }
        | TenantCall::DeleteRoom { .. }
        | TenantCall::ListMembers(_)
        | TenantCall::ListPresence(_)
        | TenantCall::ListReceipts(_)
        | TenantCall::RemoveMember { .. }
        | TenantCall::ReadMessages { .. }
        | TenantCall::ReadMessage { .. }
        | TenantCall::DeleteMessage { .. } => {}
    }
}

fn check_notification(body: &[u8], notify: &Notify) {
    let Notify { topic, payload, targets } = notify;
    let tree = strict(body);
    assert_eq!(text(&tree, "topic").as_ref(), Some(topic));
    assert_eq!(Tree::strict(payload.as_bytes()).as_ref(), field(&tree, "payload"), "{payload}");
    let is_there = body.windows(payload.len()).any(|window| window == payload.as_bytes());
    assert!(is_there && payload.trim_ascii() == payload, "the payload is kept byte for byte: {payload}");
    let nothing = Tree::Object(Vec::new());
    let named = given(&tree, "targets").unwrap_or(&nothing);
    let fields = ["user_ids", "room_id", "topic_subscribers"].map(|key| given(named, key));
    let expected = fields.iter().any(Option::is_some).then(|| {
        let [users, room, subscribers] = fields;
        let ids = match users {
            Some(Tree::Array(ids)) => ids.iter().filter_map(any_text).map(|id| UserId::new(&id)).collect(),
            None => Vec::new(),
            Some(Tree::Leaf(_) | Tree::Object(_)) => panic!("only an array is taken"),
        };
        let distinct: std::collections::BTreeSet<UserId> = ids.into_iter().collect();
        NotificationTargets {
            user_ids: distinct.into_iter().collect(),
            room_id: room.and_then(any_text).map(|id| RoomId::new(&id)),
            topic_subscribers: subscribers.and_then(flag).unwrap_or(false),
        }
    });
    assert_eq!(*targets, expected, "an audience is neither widened nor lost");
}

fn check_user(body: &[u8], idempotency_key: Option<&[u8]>, call: &UserCall) {
    match call {
        UserCall::SendMessage(message) => {
            let tree = strict(body);
            assert_eq!(text(&tree, "content").as_ref(), Some(&message.content));
            assert_eq!(given(&tree, "meta").and_then(json_text), message.meta);
            let key = idempotency_key.map(|key| String::from_utf8_lossy(key).into_owned());
            assert_eq!(key, message.idempotency_key);
        }
        UserCall::EditMessage(edit) => {
            let EditMessage { room_id: _, message_id: _, content, meta } = &**edit;
            let tree = strict(body);
            assert_eq!(text(&tree, "content").as_ref(), Some(content));
            check_edit(&tree, "meta", meta, json_text);
        }
        UserCall::Acknowledge { room_id, seq } => {
            let tree = strict(body);
            let number = field(&tree, "seq").and_then(Tree::integer);
            assert_eq!(text(&tree, "room_id").as_deref(), Some(room_id.as_str()));
            assert_eq!(number.and_then(|number| u64::try_from(number).ok()), Some(seq.0));
        }
        UserCall::Subscribe { topic } => assert_eq!(text(&strict(body), "topic").as_ref(), Some(topic)),
        UserCall::IssueToken { .. } => assert!(body.is_empty() || Tree::strict(body).is_some()),
        UserCall::ListSubscriptions | UserCall::Unsubscribe { .. } => {}
    }
}
