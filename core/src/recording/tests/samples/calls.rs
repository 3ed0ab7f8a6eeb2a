//! What callers ask.

use super::{
    API_KEY, TEXT, TOKEN, WEBHOOK_SECRET, WEBHOOK_URL, config, room_id, secret, send_message, some, targets, user,
    variants,
};
use crate::api::{
    AdminCall, Call, ChangeRoom, CreateRoom, CreateTenant, EditMessage, MembersQuery, Notify, PublicCall, RotateKey,
    TenantCall, UserCall,
};
use crate::id::{MessageId, Seq, TenantId};
use crate::model::{Edit, Role, RoomType, TenantConfig};
use crate::store::{ConfigChange, HistoryRange, NotificationTargets, TenantChange};

pub(in crate::recording::tests) fn calls() -> Vec<Call> {
    let mut calls: Vec<Call> = public_calls().into_iter().map(Call::Public).collect();
    calls.extend(admin_calls().into_iter().map(Call::Admin));
    calls.extend(tenant_calls().into_iter().map(Call::Tenant));
    calls.extend(user_calls().into_iter().map(Call::User));
    calls
}

pub(in crate::recording::tests) fn public_calls() -> Vec<PublicCall> {
    vec![PublicCall::Health, PublicCall::Livez, PublicCall::Readyz, PublicCall::Metrics]
}

fn tenant_id() -> TenantId {
    TenantId::new("tenant_1")
}

fn message_id() -> MessageId {
    MessageId::new("msg_1")
}

/// Changes of every kind to a tenant.
pub(super) fn tenant_changes() -> [TenantChange; 3] {
    let change =
        |name, config| TenantChange { tenant_id: tenant_id(), name, config, fresh_secret: secret(WEBHOOK_SECRET) };
    let set = ConfigChange {
        webhook_url: Edit::Set(WEBHOOK_URL.to_owned()),
        webhook_secret: Edit::Set(secret(WEBHOOK_SECRET)),
        rate_limit: Edit::Set(u32::MAX),
        max_message_size: Edit::Set(1),
        retry_limit: Edit::Set(100),
        durable_notifications: Edit::Set(false),
    };
    let clear = ConfigChange {
        webhook_url: Edit::Clear,
        webhook_secret: Edit::Clear,
        rate_limit: Edit::Clear,
        max_message_size: Edit::Clear,
        retry_limit: Edit::Clear,
        durable_notifications: Edit::Clear,
    };
    [change(None, ConfigChange::default()), change(some(TEXT), set), change(None, clear)]
}

pub(in crate::recording::tests) fn admin_calls() -> Vec<AdminCall> {
    let mut calls = vec![
        AdminCall::CreateTenant(Box::new(CreateTenant {
            name: TEXT.to_owned(),
            config: config(),
            webhook_secret: Some(secret(WEBHOOK_SECRET)),
            api_key: secret(API_KEY),
        })),
        AdminCall::CreateTenant(Box::new(CreateTenant {
            name: "n".to_owned(),
            config: TenantConfig::default(),
            webhook_secret: None,
            api_key: secret(API_KEY),
        })),
        AdminCall::ListTenants { after: None, limit: 1_000 },
        AdminCall::ListTenants { after: Some(tenant_id()), limit: 1 },
        AdminCall::ReadTenant { tenant_id: tenant_id() },
        AdminCall::RotateKey(Box::new(RotateKey {
            tenant_id: tenant_id(),
            api_key: secret(API_KEY),
            grace_seconds: 86_400,
            close_sockets: true,
        })),
        AdminCall::DeleteTenant { tenant_id: tenant_id() },
    ];
    calls.extend(tenant_changes().map(|change| AdminCall::ChangeTenant(Box::new(change))));
    calls
}

fn members(after: bool) -> MembersQuery {
    MembersQuery { room_id: room_id(), after: after.then(user), limit: 10_000 }
}

pub(in crate::recording::tests) fn tenant_calls() -> Vec<TenantCall> {
    let notify =
        |targets| TenantCall::Notify(Box::new(Notify { topic: TEXT.to_owned(), payload: "{ }".to_owned(), targets }));
    vec![
        TenantCall::ListRooms { after: Some(room_id()), limit: 1 },
        TenantCall::CreateRoom(Box::new(CreateRoom {
            kind: RoomType::Channel,
            members: vec![user(), user()],
            name: Some(String::new()),
            metadata: None,
        })),
        TenantCall::ReadRoom { room_id: room_id() },
        TenantCall::ChangeRoom(Box::new(ChangeRoom {
            room_id: room_id(),
            name: Edit::Set(TEXT.to_owned()),
            metadata: Edit::Clear,
        })),
        TenantCall::ChangeRoom(Box::new(ChangeRoom { room_id: room_id(), name: Edit::Keep, metadata: Edit::Keep })),
        TenantCall::DeleteRoom { room_id: room_id() },
        TenantCall::ListMembers(members(false)),
        TenantCall::ListPresence(members(true)),
        TenantCall::ListReceipts(members(true)),
        TenantCall::AddMember { room_id: room_id(), user_id: user(), role: None },
        TenantCall::AddMember { room_id: room_id(), user_id: user(), role: Some(Role::Admin) },
        TenantCall::RemoveMember { room_id: room_id(), user_id: user() },
        TenantCall::ReadMessages { room_id: room_id(), range: HistoryRange::After(Seq(0)), limit: 50 },
        TenantCall::ReadMessages { room_id: room_id(), range: HistoryRange::Before(Seq(u64::MAX)), limit: 50 },
        TenantCall::ReadMessage { room_id: room_id(), message_id: message_id() },
        TenantCall::DeleteMessage { room_id: room_id(), message_id: message_id() },
        notify(None),
        notify(Some(NotificationTargets::default())),
        notify(Some(targets())),
    ]
}

pub(in crate::recording::tests) fn user_calls() -> Vec<UserCall> {
    vec![
        UserCall::SendMessage(Box::new(send_message())),
        UserCall::EditMessage(Box::new(EditMessage {
            room_id: room_id(),
            message_id: message_id(),
            content: TEXT.to_owned(),
            meta: Edit::Set("[ 1 ]".to_owned()),
        })),
        UserCall::Acknowledge { room_id: room_id(), seq: Seq(3) },
        UserCall::Subscribe { topic: TEXT.to_owned() },
        UserCall::ListSubscriptions,
        UserCall::Unsubscribe { subscription_id: u64::MAX },
        UserCall::IssueToken { token: secret(TOKEN) },
    ]
}

variants! {
    call of Call: Public Admin Tenant User;
    public_call of PublicCall: Health Livez Readyz Metrics;
    admin_call of AdminCall: CreateTenant ListTenants ReadTenant ChangeTenant RotateKey DeleteTenant;
    tenant_call of TenantCall: ListRooms CreateRoom ReadRoom ChangeRoom DeleteRoom ListMembers ListPresence ListReceipts
        AddMember RemoveMember ReadMessages ReadMessage DeleteMessage Notify;
    user_call of UserCall: SendMessage EditMessage Acknowledge Subscribe ListSubscriptions Unsubscribe IssueToken;
}
