//! The bodies of answers, to the letter of the protocol (sections 3 to 6 and 9).

use bytes::Bytes;
use serde::Serialize;

use super::metrics::{self, MetricsFormat};
use super::nouns::{ConfigBody, MemberBody, MessageBody, RoomBody, SubscriptionBody};
use crate::api::answer::{Health, PresenceStatus, Success, TenantCreated};
use crate::api::error::ApiError;
use crate::id::{NotificationId, RoomId, Seq, TenantId, UserId};
use crate::model::{ListedRoom, Member, Tenant};
use crate::secret::Secret;
use crate::store::{Receipt, ReceiptPage, TenantPage};
use crate::time::Micros;
use crate::ws::Stamp;

/// The status and the body of what was asked for.
pub(super) fn success(success: &Success, metrics_format: MetricsFormat) -> (u16, Bytes) {
    match success {
        Success::Health(health) => (if health.db_writable { 200 } else { 503 }, json(&HealthBody::of(health))),
        Success::Alive | Success::Ready => (200, json(&StatusBody { status: "ok" })),
        Success::Metrics(snapshot) => (200, metrics::body(snapshot, metrics_format)),
        Success::TenantCreated(tenant) => (201, json(&TenantCreatedBody::of(tenant))),
        Success::Tenants(page) => (200, json(&TenantsBody::of(page))),
        Success::Tenant(shown) => (200, json(&TenantBody::of(&shown.tenant, shown.webhook_secret.as_ref()))),
        Success::KeyRotated { tenant_id, api_key } => {
            (200, json(&KeyRotatedBody { tenant_id, api_key: api_key.reveal() }))
        }
        Success::Done => (204, Bytes::new()),
        Success::Rooms { rooms, has_more } => (200, json(&RoomsBody::of(rooms, *has_more))),
        Success::RoomCreated(room) => (201, json(&RoomBody::of(room, None))),
        Success::Room(room) => (200, json(&RoomBody::of(room, None))),
        Success::Members(page) => (200, json(&MembersBody::of(&page.members, page.has_more))),
        Success::MemberAdded(member) => (201, json(&MemberBody::of(member))),
        Success::Member(member) => (200, json(&MemberBody::of(member))),
        Success::Presence { members, has_more } => (200, json(&PresencePageBody::of(members, *has_more))),
        Success::Receipts(page) => (200, json(&ReceiptsBody::of(page))),
        Success::Message(message) => (200, json(&MessageBody::of(message))),
        Success::Messages(page) => (
            200,
            json(&MessagesBody {
                messages: page.messages.iter().map(MessageBody::of).collect(),
                has_more: page.has_more,
            }),
        ),
        Success::Acknowledged { room_id, last_ack } => {
            (200, json(&AcknowledgedBody { success: true, room_id, last_ack: *last_ack }))
        }
        Success::Notified { notification_id, created_at } => {
            (202, json(&NotifiedBody { notification_id, created_at: Stamp(*created_at) }))
        }
        Success::SubscriptionCreated(subscription) => (201, json(&SubscriptionBody::of(subscription))),
        Success::Subscription(subscription) => (200, json(&SubscriptionBody::of(subscription))),
        Success::Subscriptions(subscriptions) => {
            let subscriptions = subscriptions.iter().map(SubscriptionBody::of).collect();
            (200, json(&SubscriptionsBody { subscriptions }))
        }
        Success::Token(token) => (200, json(&TokenBody { token: token.reveal(), expires_in: TOKEN_LIFETIME_SECS })),
    }
}

/// The envelope of an error.
pub(super) fn failure(error: &ApiError) -> Bytes {
    json(&FailureBody {
        success: false,
        error: FailureDetail { code: error.code.as_str(), message: &error.message, field: error.field.as_deref() },
    })
}

/// How long a WebSocket token may wait for its handshake.
const TOKEN_LIFETIME_SECS: u64 = 60;

pub(super) fn json(body: &impl Serialize) -> Bytes {
    let mut bytes = Vec::with_capacity(256);
    // Writing structs with string keys into memory cannot fail; an empty object is what a client can best survive.
    if serde_json::to_writer(&mut bytes, body).is_err() {
        bytes = b"{}".to_vec();
    }
    Bytes::from(bytes)
}

#[derive(Serialize)]
struct FailureBody<'a> {
    success: bool,
    error: FailureDetail<'a>,
}

#[derive(Serialize)]
struct FailureDetail<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

#[derive(Serialize)]
struct StatusBody {
    status: &'static str,
}

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    uptime: String,
    db_writable: bool,
}

impl HealthBody {
    fn of(health: &Health) -> Self {
        Self {
            status: if health.db_writable { "ok" } else { "error" },
            service: "chatapi",
            version: env!("CARGO_PKG_VERSION"),
            uptime: go_duration(health.uptime),
            db_writable: health.db_writable,
        }
    }
}

#[derive(Serialize)]
struct TenantCreatedBody<'a> {
    tenant_id: &'a TenantId,
    name: &'a str,
    api_key: &'a str,
    config: ConfigBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_secret: Option<&'a str>,
    created_at: Stamp,
}

impl<'a> TenantCreatedBody<'a> {
    fn of(tenant: &'a TenantCreated) -> Self {
        Self {
            tenant_id: &tenant.tenant_id,
            name: &tenant.name,
            api_key: tenant.api_key.reveal(),
            config: ConfigBody::of(&tenant.config),
            webhook_secret: tenant.webhook_secret.as_ref().map(|secret| secret.reveal()),
            created_at: Stamp(tenant.created_at),
        }
    }
}

#[derive(Serialize)]
struct TenantsBody<'a> {
    tenants: Vec<TenantBody<'a>>,
    next: Option<&'a TenantId>,
}

impl<'a> TenantsBody<'a> {
    fn of(page: &'a TenantPage) -> Self {
        Self {
            tenants: page.tenants.iter().map(|tenant| TenantBody::of(tenant, None)).collect(),
            next: page.tenants.last().filter(|_| page.has_more).map(|tenant| &tenant.tenant_id),
        }
    }
}

#[derive(Serialize)]
struct TenantBody<'a> {
    tenant_id: &'a TenantId,
    name: &'a str,
    config: ConfigBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_secret: Option<&'a str>,
    created_at: Stamp,
}

impl<'a> TenantBody<'a> {
    fn of(tenant: &'a Tenant, webhook_secret: Option<&'a Secret>) -> Self {
        Self {
            tenant_id: &tenant.tenant_id,
            name: &tenant.name,
            config: ConfigBody::of(&tenant.config),
            webhook_secret: webhook_secret.map(Secret::reveal),
            created_at: Stamp(tenant.created_at),
        }
    }
}

#[derive(Serialize)]
struct KeyRotatedBody<'a> {
    tenant_id: &'a TenantId,
    api_key: &'a str,
}

#[derive(Serialize)]
struct RoomsBody<'a> {
    rooms: Vec<RoomBody<'a>>,
    next: Option<&'a RoomId>,
}

impl<'a> RoomsBody<'a> {
    fn of(rooms: &'a [ListedRoom], has_more: bool) -> Self {
        Self {
            rooms: rooms.iter().map(|listed| RoomBody::of(&listed.room, listed.position)).collect(),
            next: rooms.last().filter(|_| has_more).map(|listed| &listed.room.room_id),
        }
    }
}

#[derive(Serialize)]
struct MembersBody<'a> {
    members: Vec<MemberBody<'a>>,
    next: Option<&'a UserId>,
}

impl<'a> MembersBody<'a> {
    fn of(members: &'a [Member], has_more: bool) -> Self {
        Self {
            members: members.iter().map(MemberBody::of).collect(),
            next: members.last().filter(|_| has_more).map(|member| &member.user_id),
        }
    }
}

#[derive(Serialize)]
struct PresencePageBody<'a> {
    presence: Vec<PresenceBody<'a>>,
    next: Option<&'a UserId>,
}

#[derive(Serialize)]
struct PresenceBody<'a> {
    user_id: &'a UserId,
    status: PresenceStatus,
}

impl<'a> PresencePageBody<'a> {
    fn of(members: &'a [(UserId, PresenceStatus)], has_more: bool) -> Self {
        Self {
            presence: members.iter().map(|(user_id, status)| PresenceBody { user_id, status: *status }).collect(),
            next: members.last().filter(|_| has_more).map(|(user_id, _)| user_id),
        }
    }
}

#[derive(Serialize)]
struct ReceiptsBody<'a> {
    receipts: Vec<ReceiptBody<'a>>,
    next: Option<&'a UserId>,
}

#[derive(Serialize)]
struct ReceiptBody<'a> {
    user_id: &'a UserId,
    last_ack: Seq,
}

impl<'a> ReceiptsBody<'a> {
    fn of(page: &'a ReceiptPage) -> Self {
        Self {
            receipts: page
                .receipts
                .iter()
                .map(|Receipt { user_id, last_ack }| ReceiptBody { user_id, last_ack: *last_ack })
                .collect(),
            next: page.receipts.last().filter(|_| page.has_more).map(|receipt| &receipt.user_id),
        }
    }
}

#[derive(Serialize)]
struct MessagesBody<'a> {
    messages: Vec<MessageBody<'a>>,
    has_more: bool,
}

#[derive(Serialize)]
struct AcknowledgedBody<'a> {
    success: bool,
    room_id: &'a RoomId,
    last_ack: Seq,
}

#[derive(Serialize)]
struct NotifiedBody<'a> {
    notification_id: &'a NotificationId,
    created_at: Stamp,
}

#[derive(Serialize)]
struct SubscriptionsBody<'a> {
    subscriptions: Vec<SubscriptionBody<'a>>,
}

#[derive(Serialize)]
struct TokenBody<'a> {
    token: &'a str,
    expires_in: u64,
}

pub(super) fn whole_secs(span: Micros) -> u64 {
    span.0 / 1_000_000
}

/// A span in whole seconds as Go prints it: `2h30m45s`, `1m0s`, `0s`.
fn go_duration(span: Micros) -> String {
    let secs = whole_secs(span);
    match (secs / 3_600, secs / 60 % 60, secs % 60) {
        (0, 0, secs) => format!("{secs}s"),
        (0, minutes, secs) => format!("{minutes}m{secs}s"),
        (hours, minutes, secs) => format!("{hours}h{minutes}m{secs}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_prints_as_go_prints_durations() {
        for (secs, text) in [
            (0, "0s"),
            (45, "45s"),
            (60, "1m0s"),
            (3_599, "59m59s"),
            (3_600, "1h0m0s"),
            (9_045, "2h30m45s"),
            (360_000, "100h0m0s"),
        ] {
            assert_eq!(go_duration(Micros(secs * 1_000_000 + 999_999)), text);
        }
    }
}
