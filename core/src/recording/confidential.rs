//! Where credentials and the like stand in inputs and effects.
//!
//! Every variant is named and every field on the way is spelled out: whoever adds one is asked by the compiler whether
//! it holds anything that must not be recorded.

use crate::api::{
    AdminCall, Answer, ApiRequest, Call, CreateTenant, Credentials, RotateKey, Success, TenantCall, TenantCreated,
    TenantShown, UserCall,
};
use crate::effect::{Effect, Event};
use crate::input::Input;
use crate::model::{Edit, Tenant, TenantConfig};
use crate::secret::{Digest, Secret};
use crate::store::{
    ChangedTenant, ConfigChange, KeyOwner, KeyRotation, NewTenant, StoreReply, StoreRequest, TenantChange, TenantPage,
};
use crate::ws::{HandshakeCredentials, HandshakeRequest};

/// Something that must not be recorded as it is.
#[derive(Debug)]
pub(super) enum Confidential<'a> {
    /// The digest of a credential.
    Credential(&'a mut Digest),
    /// Where a tenant's webhooks go.
    Address(&'a mut String),
}

impl Input {
    /// Whether it may hold anything confidential: most don't, and need no copy to be redacted.
    pub(super) const fn holds_confidential(&self) -> bool {
        match self {
            Self::Request { .. } | Self::Handshake { .. } => true,
            Self::Stored { op: _, result } => match result {
                Ok(
                    StoreReply::TenantCreated(_)
                    | StoreReply::KeyOwner(_)
                    | StoreReply::Tenants(_)
                    | StoreReply::Tenant(_)
                    | StoreReply::TenantChanged(_),
                ) => true,
                Ok(
                    StoreReply::Booted { .. }
                    | StoreReply::Written
                    | StoreReply::KeyRotated(_)
                    | StoreReply::TenantDeleted(_)
                    | StoreReply::RoomCreated(_)
                    | StoreReply::RoomChanged(_)
                    | StoreReply::RoomDeleted(_)
                    | StoreReply::MemberAdded(_)
                    | StoreReply::MemberRemoved(_)
                    | StoreReply::Receipts(_)
                    | StoreReply::Message(_)
                    | StoreReply::MessageEdited(_)
                    | StoreReply::MessageDeleted(_)
                    | StoreReply::Positions(_)
                    | StoreReply::Notified(_)
                    | StoreReply::Expansions(_)
                    | StoreReply::Expanded(_)
                    | StoreReply::Notifications(_)
                    | StoreReply::Confirmed
                    | StoreReply::Subscribed(_)
                    | StoreReply::Subscriptions(_)
                    | StoreReply::Unsubscribed { .. }
                    | StoreReply::Swept { .. }
                    | StoreReply::Rooms { .. }
                    | StoreReply::Room(_)
                    | StoreReply::Members(_)
                    | StoreReply::Appended(_)
                    | StoreReply::Messages(_)
                    | StoreReply::Acknowledged(_)
                    | StoreReply::Backlog(_)
                    | StoreReply::Frames(_)
                    | StoreReply::Head(_),
                )
                | Err(_) => false,
            },
            Self::Frame { .. }
            | Self::Heard { .. }
            | Self::Flushed { .. }
            | Self::Closed { .. }
            | Self::Tick
            | Self::Shutdown => false,
        }
    }

    /// Shows everything confidential in it to `f`.
    pub(super) fn for_each_confidential(&mut self, f: &mut impl FnMut(Confidential<'_>)) {
        match self {
            Self::Request { request: _, body } => {
                let ApiRequest { access: _, credentials, call } = &mut **body;
                let Credentials { is_master: _, is_metrics_reader: _, api_key, user: _ } = credentials;
                if let Some(api_key) = api_key {
                    f(Confidential::Credential(api_key));
                }
                if let Ok(call) = call {
                    in_call(call, f);
                }
            }
            Self::Handshake { request: _, conn: _, body } => {
                let HandshakeRequest { origin: _, credentials, backlog: _ } = &mut **body;
                match credentials {
                    HandshakeCredentials::Missing => {}
                    HandshakeCredentials::ApiKey { api_key: credential, user: _ }
                    | HandshakeCredentials::Token { token: credential, user: _ } => {
                        f(Confidential::Credential(credential));
                    }
                }
            }
            Self::Stored { op: _, result } => {
                if let Ok(reply) = result {
                    in_reply(reply, f);
                }
            }
            Self::Frame { conn: _, frame: _ }
            | Self::Heard { conn: _ }
            | Self::Flushed { conn: _, frames: _, size_bytes: _, peer_reads: _ }
            | Self::Closed { conn: _, by: _ }
            | Self::Tick
            | Self::Shutdown => {}
        }
    }
}

impl Effect {
    /// Shows everything confidential in it to `f`.
    pub(super) fn for_each_confidential(&mut self, f: &mut impl FnMut(Confidential<'_>)) {
        match self {
            Self::Store { op: _, request } => in_request(request, f),
            Self::Respond { request: _, answer } => {
                let Answer { rate_limit: _, result } = &mut **answer;
                if let Ok(success) = result {
                    in_success(success, f);
                }
            }
            Self::Report(event) => in_event(event),
            Self::Accept { request: _, conn: _, rate_limit: _ }
            | Self::Send { conns: _, frame: _ }
            | Self::Ping { conns: _ }
            | Self::Close { conn: _, reason: _ }
            | Self::Stop => {}
        }
    }
}

fn in_call(call: &mut Call, f: &mut impl FnMut(Confidential<'_>)) {
    match call {
        Call::Public(_) => {}
        Call::Admin(call) => in_admin_call(call, f),
        Call::Tenant(call) => in_tenant_call(call),
        Call::User(call) => in_user_call(call, f),
    }
}

fn in_admin_call(call: &mut AdminCall, f: &mut impl FnMut(Confidential<'_>)) {
    match call {
        AdminCall::CreateTenant(tenant) => {
            let CreateTenant { name: _, config, webhook_secret, api_key } = &mut **tenant;
            in_config(config, f);
            in_secret(webhook_secret.as_mut(), f);
            in_secret(Some(api_key), f);
        }
        AdminCall::ChangeTenant(change) => in_tenant_change(change, f),
        AdminCall::RotateKey(rotation) => {
            let RotateKey { tenant_id: _, api_key, grace_seconds: _, close_sockets: _ } = &mut **rotation;
            in_secret(Some(api_key), f);
        }
        AdminCall::ListTenants { after: _, limit: _ }
        | AdminCall::ReadTenant { tenant_id: _ }
        | AdminCall::DeleteTenant { tenant_id: _ } => {}
    }
}

const fn in_tenant_call(call: &TenantCall) {
    match call {
        TenantCall::ListRooms { after: _, limit: _ }
        | TenantCall::CreateRoom(_)
        | TenantCall::ReadRoom { room_id: _ }
        | TenantCall::ChangeRoom(_)
        | TenantCall::DeleteRoom { room_id: _ }
        | TenantCall::ListMembers(_)
        | TenantCall::ListPresence(_)
        | TenantCall::ListReceipts(_)
        | TenantCall::AddMember { room_id: _, user_id: _, role: _ }
        | TenantCall::RemoveMember { room_id: _, user_id: _ }
        | TenantCall::ReadMessages { room_id: _, range: _, limit: _ }
        | TenantCall::ReadMessage { room_id: _, message_id: _ }
        | TenantCall::DeleteMessage { room_id: _, message_id: _ }
        | TenantCall::Notify(_) => {}
    }
}

fn in_user_call(call: &mut UserCall, f: &mut impl FnMut(Confidential<'_>)) {
    match call {
        UserCall::IssueToken { token } => in_secret(Some(token), f),
        UserCall::SendMessage(_)
        | UserCall::EditMessage(_)
        | UserCall::Acknowledge { room_id: _, seq: _ }
        | UserCall::Subscribe { topic: _ }
        | UserCall::ListSubscriptions
        | UserCall::Unsubscribe { subscription_id: _ } => {}
    }
}

fn in_request(request: &mut StoreRequest, f: &mut impl FnMut(Confidential<'_>)) {
    match request {
        StoreRequest::CreateTenant(tenant) => {
            let NewTenant { tenant_id: _, name: _, api_key, config, webhook_secret, created_at: _ } = &mut **tenant;
            f(Confidential::Credential(api_key));
            in_config(config, f);
            in_secret(webhook_secret.as_mut(), f);
        }
        StoreRequest::FindTenant { api_key } => f(Confidential::Credential(api_key)),
        StoreRequest::ChangeTenant(change) => in_tenant_change(change, f),
        StoreRequest::RotateKey(KeyRotation { tenant_id: _, api_key, retired_until: _, now: _ }) => {
            f(Confidential::Credential(api_key));
        }
        StoreRequest::ListTenants { after: _, limit: _ }
        | StoreRequest::ReadTenant { tenant_id: _ }
        | StoreRequest::DeleteTenant { tenant_id: _, now: _ }
        | StoreRequest::ChangeRoom(_)
        | StoreRequest::DeleteRoom { tenant: _, room_id: _, actor: _, now: _ }
        | StoreRequest::AddMember(_)
        | StoreRequest::RemoveMember { tenant: _, room_id: _, actor: _, user_id: _, now: _ }
        | StoreRequest::ListReceipts { tenant: _, room_id: _, actor: _, after: _, limit: _ }
        | StoreRequest::ReadMessage { tenant: _, room_id: _, message_id: _, actor: _ }
        | StoreRequest::RereadMessage { tenant: _, room_id: _, message_id: _ }
        | StoreRequest::EditMessage(_)
        | StoreRequest::DeleteMessage { tenant: _, room_id: _, message_id: _, actor: _, now: _ }
        | StoreRequest::LoadPositions { tenant: _, user_id: _, rooms: _ }
        | StoreRequest::Notify(_)
        | StoreRequest::ListExpansions
        | StoreRequest::ExpandNotification { notification: _, limit: _ }
        | StoreRequest::ReadNotifications(_)
        | StoreRequest::ConfirmNotifications { tenant: _, user_id: _, notifications: _ }
        | StoreRequest::Subscribe { tenant: _, user_id: _, topic: _, now: _ }
        | StoreRequest::ListSubscriptions { tenant: _, user_id: _ }
        | StoreRequest::Unsubscribe { tenant: _, user_id: _, subscription_id: _ }
        | StoreRequest::Sweep { notifications_before: _, keys_before: _, rows: _ }
        | StoreRequest::Boot
        | StoreRequest::CheckWritable { now: _ }
        | StoreRequest::CreateRoom(_)
        | StoreRequest::ListRooms { tenant: _, actor: _, after: _, limit: _ }
        | StoreRequest::ReadRoom { tenant: _, room_id: _, actor: _ }
        | StoreRequest::ListMembers { tenant: _, room_id: _, actor: _, after: _, limit: _ }
        | StoreRequest::AppendMessage(_)
        | StoreRequest::ReadMessages { tenant: _, room_id: _, actor: _, range: _, bounds: _ }
        | StoreRequest::Acknowledge { tenant: _, room_id: _, user_id: _, seq: _, now: _ }
        | StoreRequest::LoadBacklog { tenant: _, user_id: _ }
        | StoreRequest::ReadFrames { tenant: _, rooms: _, bounds: _ }
        | StoreRequest::ReadHead { tenant: _, room_id: _ } => {}
    }
}

fn in_reply(reply: &mut StoreReply, f: &mut impl FnMut(Confidential<'_>)) {
    match reply {
        StoreReply::TenantCreated(tenant) => in_tenant(Some(tenant), f),
        StoreReply::KeyOwner(owner) => {
            if let Some(KeyOwner { tenant, valid_until: _ }) = owner {
                in_tenant(Some(tenant), f);
            }
        }
        StoreReply::Tenants(TenantPage { tenants, has_more: _ }) => {
            tenants.iter_mut().for_each(|tenant| in_tenant(Some(tenant), f));
        }
        StoreReply::Tenant(tenant) => in_tenant(tenant.as_mut(), f),
        StoreReply::TenantChanged(changed) => {
            if let Some(ChangedTenant { tenant, secret: _ }) = changed {
                in_tenant(Some(tenant), f);
            }
        }
        StoreReply::KeyRotated(_)
        | StoreReply::TenantDeleted(_)
        | StoreReply::RoomChanged(_)
        | StoreReply::RoomDeleted(_)
        | StoreReply::MemberAdded(_)
        | StoreReply::MemberRemoved(_)
        | StoreReply::Receipts(_)
        | StoreReply::Message(_)
        | StoreReply::MessageEdited(_)
        | StoreReply::MessageDeleted(_)
        | StoreReply::Positions(_)
        | StoreReply::Notified(_)
        | StoreReply::Expansions(_)
        | StoreReply::Expanded(_)
        | StoreReply::Notifications(_)
        | StoreReply::Confirmed
        | StoreReply::Subscribed(_)
        | StoreReply::Subscriptions(_)
        | StoreReply::Unsubscribed { existed: _ }
        | StoreReply::Swept { has_more: _ } => {}
        StoreReply::Booted { epoch: _, newest_id: _ }
        | StoreReply::Written
        | StoreReply::RoomCreated(_)
        | StoreReply::Rooms { rooms: _, has_more: _ }
        | StoreReply::Room(_)
        | StoreReply::Members(_)
        | StoreReply::Appended(_)
        | StoreReply::Messages(_)
        | StoreReply::Acknowledged(_)
        | StoreReply::Backlog(_)
        | StoreReply::Frames(_)
        | StoreReply::Head(_) => {}
    }
}

fn in_success(success: &mut Success, f: &mut impl FnMut(Confidential<'_>)) {
    match success {
        Success::TenantCreated(tenant) => {
            let TenantCreated { tenant_id: _, name: _, api_key, config, webhook_secret, created_at: _ } = &mut **tenant;
            in_secret(Some(api_key), f);
            in_config(config, f);
            in_secret(webhook_secret.as_mut(), f);
        }
        Success::Tenants(TenantPage { tenants, has_more: _ }) => {
            tenants.iter_mut().for_each(|tenant| in_tenant(Some(tenant), f));
        }
        Success::Tenant(shown) => {
            let TenantShown { tenant, webhook_secret } = &mut **shown;
            in_tenant(Some(tenant), f);
            in_secret(webhook_secret.as_mut(), f);
        }
        Success::KeyRotated { tenant_id: _, api_key } => in_secret(Some(api_key), f),
        Success::Token(token) => in_secret(Some(token), f),
        Success::Done
        | Success::MemberAdded(_)
        | Success::Member(_)
        | Success::Presence { members: _, has_more: _ }
        | Success::Receipts(_)
        | Success::Notified { notification_id: _, created_at: _ }
        | Success::SubscriptionCreated(_)
        | Success::Subscription(_)
        | Success::Subscriptions(_) => {}
        Success::Health(_)
        | Success::Alive
        | Success::Ready
        | Success::Metrics(_)
        | Success::Rooms { rooms: _, has_more: _ }
        | Success::RoomCreated(_)
        | Success::Room(_)
        | Success::Members(_)
        | Success::Message(_)
        | Success::Messages(_)
        | Success::Acknowledged { room_id: _, last_ack: _ } => {}
    }
}

/// Events are logged: nothing confidential may ever be in one.
const fn in_event(event: &Event) {
    match event {
        Event::Ready
        | Event::TenantCreated { tenant_id: _ }
        | Event::TenantDeleted { tenant_id: _ }
        | Event::StoreFailed { op: _, failure: _ }
        | Event::StoreTimedOut { op: _ }
        | Event::RoomRecovered { room_id: _ } => {}
    }
}

fn in_tenant(tenant: Option<&mut Tenant>, f: &mut impl FnMut(Confidential<'_>)) {
    if let Some(Tenant { key: _, tenant_id: _, name: _, config, created_at: _ }) = tenant {
        in_config(config, f);
    }
}

fn in_tenant_change(change: &mut TenantChange, f: &mut impl FnMut(Confidential<'_>)) {
    let TenantChange { tenant_id: _, name: _, config, fresh_secret } = change;
    let ConfigChange {
        webhook_url,
        webhook_secret,
        rate_limit: _,
        max_message_size: _,
        retry_limit: _,
        durable_notifications: _,
    } = config;
    if let Edit::Set(url) = webhook_url {
        f(Confidential::Address(url));
    }
    if let Edit::Set(secret) = webhook_secret {
        in_secret(Some(secret), f);
    }
    in_secret(Some(fresh_secret), f);
}

fn in_config(config: &mut TenantConfig, f: &mut impl FnMut(Confidential<'_>)) {
    let TenantConfig { webhook_url, rate_limit: _, max_message_size: _, retry_limit: _, durable_notifications: _ } =
        config;
    if let Some(url) = webhook_url {
        f(Confidential::Address(url));
    }
}

fn in_secret(secret: Option<&mut Secret>, f: &mut impl FnMut(Confidential<'_>)) {
    if let Some(secret) = secret {
        f(Confidential::Credential(secret.digest_mut()));
    }
}
