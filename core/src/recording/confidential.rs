//! Where credentials and the like stand in inputs and effects.
//!
//! Every variant is named and every field on the way is spelled out: whoever adds one is asked by the compiler whether
//! it holds anything that must not be recorded.

use crate::api::{Answer, ApiRequest, Call, CreateTenant, Credentials, Success, TenantCreated};
use crate::effect::{Effect, Event};
use crate::input::Input;
use crate::model::{Tenant, TenantConfig};
use crate::secret::{Digest, Secret};
use crate::store::{NewTenant, StoreReply, StoreRequest};
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
                Ok(StoreReply::TenantCreated(_) | StoreReply::Tenant(_)) => true,
                Ok(
                    StoreReply::Booted { .. }
                    | StoreReply::Written
                    | StoreReply::RoomCreated(_)
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
        Call::CreateTenant(tenant) => {
            let CreateTenant { name: _, config, webhook_secret, api_key } = &mut **tenant;
            in_config(config, f);
            in_secret(webhook_secret.as_mut(), f);
            in_secret(Some(api_key), f);
        }
        Call::IssueToken { token } => in_secret(Some(token), f),
        Call::Health
        | Call::Livez
        | Call::Readyz
        | Call::Metrics
        | Call::ListRooms { after: _, limit: _ }
        | Call::CreateRoom(_)
        | Call::ReadRoom { room_id: _ }
        | Call::ListMembers { room_id: _, after: _, limit: _ }
        | Call::SendMessage(_)
        | Call::ReadMessages { room_id: _, range: _, limit: _ }
        | Call::Acknowledge { room_id: _, seq: _ } => {}
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
        StoreRequest::Boot
        | StoreRequest::CheckWritable { now: _ }
        | StoreRequest::CreateRoom(_)
        | StoreRequest::ListRooms { tenant: _, actor: _, after: _, limit: _ }
        | StoreRequest::ReadRoom { tenant: _, room_id: _, actor: _ }
        | StoreRequest::ListMembers { tenant: _, room_id: _, actor: _, after: _, limit: _ }
        | StoreRequest::AppendMessage(_)
        | StoreRequest::ReadMessages { tenant: _, room_id: _, actor: _, range: _, bounds: _ }
        | StoreRequest::Acknowledge { tenant: _, room_id: _, user_id: _, seq: _, now: _ }
        | StoreRequest::LoadBacklog { tenant: _, user_id: _ }
        | StoreRequest::ReadFrames { tenant: _, room_id: _, after: _, bounds: _ }
        | StoreRequest::ReadHead { tenant: _, room_id: _ } => {}
    }
}

fn in_reply(reply: &mut StoreReply, f: &mut impl FnMut(Confidential<'_>)) {
    match reply {
        StoreReply::TenantCreated(tenant) => in_tenant(Some(tenant), f),
        StoreReply::Tenant(tenant) => in_tenant(tenant.as_mut(), f),
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
        Success::Token(token) => in_secret(Some(token), f),
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
