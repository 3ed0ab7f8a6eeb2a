//! From a path, a method and a query to a call.

use super::*;
use crate::api::call::{Access, MembersQuery, RotateKey, SendMessage};
use crate::id::{MessageId, Seq};
use crate::model::Edit;
use crate::store::{ConfigChange, HistoryRange, TenantChange};

fn room_id() -> RoomId {
    RoomId::new("room_1")
}

fn tenant_id() -> TenantId {
    TenantId::new("tenant_1")
}

/// Each request comes to the call, with a caller that has this access, under both of its paths.
fn check<const COUNT: usize>(access: Access, cases: [(&str, &str, &str, Call); COUNT]) {
    for (method, target, body, call) in cases {
        for target in [target.to_owned(), format!("/v1{target}")] {
            let read = request(method, &target, &[], body);
            assert_eq!((read.access, read.call.as_ref()), (access, Ok(&call)), "{method} {target} {body}");
        }
    }
}

#[test]
fn what_anyone_may_ask() {
    check(
        Access::Public,
        [
            ("GET", "/health", "", Call::Public(PublicCall::Health)),
            ("GET", "/livez", "", Call::Public(PublicCall::Livez)),
            ("HEAD", "/readyz", "ignored", Call::Public(PublicCall::Readyz)),
        ],
    );
    check(Access::Metrics, [("GET", "/metrics", "", Call::Public(PublicCall::Metrics))]);
}

#[test]
fn what_the_operator_may_ask() {
    let list =
        |after: Option<&str>, limit| Call::Admin(AdminCall::ListTenants { after: after.map(TenantId::new), limit });
    let change = |name: Option<&str>, config| {
        let fresh_secret = Secret::webhook(&mut Host);
        let name = name.map(str::to_owned);
        Call::Admin(AdminCall::ChangeTenant(Box::new(TenantChange {
            tenant_id: tenant_id(),
            name,
            config,
            fresh_secret,
        })))
    };
    let rotate = |grace_seconds, close_sockets| {
        let api_key = Secret::api_key(&mut Host);
        let rotate = RotateKey { tenant_id: tenant_id(), api_key, grace_seconds, close_sockets };
        Call::Admin(AdminCall::RotateKey(Box::new(rotate)))
    };
    let key = "/admin/tenants/tenant_1/rotate-key";
    let keep = ConfigChange::default();
    let limited = ConfigChange { rate_limit: Edit::Set(7), retry_limit: Edit::Clear, ..keep.clone() };
    check(
        Access::Master,
        [
            ("GET", "/admin/tenants", "", list(None, 100)),
            ("GET", "/admin/tenants?after=tenant_9&limit=2", "", list(Some("tenant_9"), 2)),
            ("GET", "/admin/tenants?limit=1001", "", list(None, 1_000)),
            ("GET", "/admin/tenants/tenant_1", "x", Call::Admin(AdminCall::ReadTenant { tenant_id: tenant_id() })),
            ("DELETE", "/admin/tenants/tenant_1", "x", Call::Admin(AdminCall::DeleteTenant { tenant_id: tenant_id() })),
            ("PATCH", "/admin/tenants/tenant_1", "{}", change(None, keep.clone())),
            ("PATCH", "/admin/tenants/tenant_1", r#"{"config":null,"x":1}"#, change(None, keep.clone())),
            ("PATCH", "/admin/tenants/tenant_1", r#"{"name":"n","config":{}}"#, change(Some("n"), keep)),
            (
                "PATCH",
                "/admin/tenants/tenant_1",
                r#"{"config":{"rate_limit":7,"retry_limit":null}}"#,
                change(None, limited),
            ),
            ("POST", key, "", rotate(0, false)),
            ("POST", key, "{}", rotate(0, false)),
            ("POST", key, r#"{"grace_seconds":null,"close_sockets":null}"#, rotate(0, false)),
            ("POST", key, r#"{"grace_seconds":0,"close_sockets":false}"#, rotate(0, false)),
            ("POST", key, r#"{"grace_seconds":86400,"close_sockets":true}"#, rotate(86_400, true)),
        ],
    );
    let created = request("POST", "/admin/tenants", &[], r#"{"name":"acme"}"#);
    assert_eq!(created.access, Access::Master);
    assert!(matches!(created.call, Ok(Call::Admin(AdminCall::CreateTenant(_)))), "{:?}", created.call);
}

#[test]
fn what_a_tenant_may_ask_of_its_rooms() {
    let rooms =
        |after: Option<&str>, limit| Call::Tenant(TenantCall::ListRooms { after: after.map(RoomId::new), limit });
    let members =
        |after: Option<&str>, limit| MembersQuery { room_id: room_id(), after: after.map(UserId::new), limit };
    let bob = UserId::new("b/ob");
    check(
        Access::UserOrTenant,
        [
            ("GET", "/rooms", "", rooms(None, 1_000)),
            ("GET", "/rooms?after=room_9&limit=2", "", rooms(Some("room_9"), 2)),
            ("GET", "/rooms?limit=1001&x", "", rooms(None, 1_000)),
            ("GET", "/rooms/room_1", "", Call::Tenant(TenantCall::ReadRoom { room_id: room_id() })),
            ("DELETE", "/rooms/room_1", "{", Call::Tenant(TenantCall::DeleteRoom { room_id: room_id() })),
            ("GET", "/rooms/room_1/members", "", Call::Tenant(TenantCall::ListMembers(members(None, 10_000)))),
            (
                "GET",
                "/rooms/room_1/members?after=a+b&limit=99999999999999999999",
                "",
                Call::Tenant(TenantCall::ListMembers(members(Some("a b"), 10_000))),
            ),
            (
                "GET",
                "/rooms/room_1/presence?after=a&limit=1",
                "",
                Call::Tenant(TenantCall::ListPresence(members(Some("a"), 1))),
            ),
            ("GET", "/rooms/room_1/receipts", "", Call::Tenant(TenantCall::ListReceipts(members(None, 10_000)))),
            (
                "DELETE",
                "/rooms/room_1/members/b%2Fob?limit=0",
                "",
                Call::Tenant(TenantCall::RemoveMember { room_id: room_id(), user_id: bob }),
            ),
        ],
    );
    let created = request("POST", "/rooms", &[], r#"{"type":"dm","members":["bob"]}"#);
    assert_eq!(created.access, Access::UserOrTenant);
    assert!(matches!(created.call, Ok(Call::Tenant(TenantCall::CreateRoom(_)))), "{:?}", created.call);
    let notified = request("POST", "/notify", &[], r#"{"topic":"t","payload":null}"#);
    assert_eq!(notified.access, Access::UserOrTenant);
    assert!(matches!(notified.call, Ok(Call::Tenant(TenantCall::Notify(_)))), "{:?}", notified.call);
}

#[test]
fn what_a_tenant_may_ask_of_messages() {
    let messages = |range, limit| Call::Tenant(TenantCall::ReadMessages { room_id: room_id(), range, limit });
    let message_id = MessageId::new("msg_1");
    let (read, delete) = (message_id.clone(), message_id);
    check(
        Access::UserOrTenant,
        [
            ("GET", "/rooms/room_1/messages", "", messages(HistoryRange::After(Seq(0)), 50)),
            (
                "GET",
                "/rooms/room_1/messages?before_seq=99999999999999999999&limit=101",
                "",
                messages(HistoryRange::Before(Seq(i64::MAX.unsigned_abs())), 100),
            ),
            (
                "GET",
                "/rooms/room_1/messages/msg_1",
                "",
                Call::Tenant(TenantCall::ReadMessage { room_id: room_id(), message_id: read }),
            ),
            (
                "DELETE",
                "/rooms/room_1/messages/msg_1",
                "",
                Call::Tenant(TenantCall::DeleteMessage { room_id: room_id(), message_id: delete }),
            ),
        ],
    );
}

#[test]
fn what_needs_a_user() {
    let edit = |content: &str, meta| {
        let (message_id, content) = (MessageId::new("msg_1"), content.to_owned());
        Call::User(UserCall::EditMessage(Box::new(EditMessage { room_id: room_id(), message_id, content, meta })))
    };
    let ack = Call::User(UserCall::Acknowledge { room_id: room_id(), seq: Seq(0) });
    let token = || Call::User(UserCall::IssueToken { token: Secret::token(&mut Host) });
    let subscribe = Call::User(UserCall::Subscribe { topic: "é".repeat(200) });
    let topic = format!(r#"{{"topic":"{}","x":[]}}"#, "é".repeat(200));
    let message = "/rooms/room_1/messages/msg_1";
    check(
        Access::User,
        [
            ("PATCH", message, r#"{"content":"c\u0000"}"#, edit("c\0", Edit::Keep)),
            ("PATCH", message, r#"{"content":"c","meta":null}"#, edit("c", Edit::Clear)),
            ("PATCH", message, r#"{"content":"c","meta":""}"#, edit("c", Edit::Clear)),
            ("PATCH", message, r#"{"content":"c","meta":"[ 1 ]"}"#, edit("c", Edit::Set("[ 1 ]".to_owned()))),
            ("POST", "/acks", r#"{"room_id":"room_1","seq":0}"#, ack),
            ("POST", "/subscriptions", &topic, subscribe),
            ("GET", "/subscriptions", "", Call::User(UserCall::ListSubscriptions)),
            ("DELETE", "/subscriptions/12", "{", Call::User(UserCall::Unsubscribe { subscription_id: 12 })),
        ],
    );
    check(Access::UserToConnect, [("POST", "/ws/token", "", token()), ("POST", "/ws/token", "[7]", token())]);
    for (headers, key) in [(&[] as RawHeaders<'_>, None), (&[("idempotency-key", b"k-1!")], Some("k-1!"))] {
        let body = r#"{"content":"Hi\u0000","unknown":{"a":[1]}}"#;
        let read = request("POST", "/rooms/room_1/messages", headers, body);
        let message = SendMessage {
            room_id: room_id(),
            content: "Hi\0".to_owned(),
            meta: None,
            idempotency_key: key.map(str::to_owned),
        };
        assert_eq!((read.access, read.call), (Access::User, Ok(Call::User(UserCall::SendMessage(Box::new(message))))));
    }
}
