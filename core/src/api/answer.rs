//! REST answers, before they are encoded.

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use crate::id::{NotificationId, RoomId, Seq, TenantId, UserId};
use crate::limits::RateLimitStatus;
use crate::metrics::{MetricsSnapshot, ProcessGauges};
use crate::model::{ListedRoom, Member, Message, Room, Subscription, Tenant, TenantConfig};
use crate::secret::Secret;
use crate::store::{MemberPage, MessagePage, ReceiptPage, TenantPage};
use crate::time::{Micros, UnixMillis};

/// The answer to a request; [`crate::api::encode`] makes a response of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Told in every answer to a valid key.
    pub rate_limit: Option<RateLimitStatus>,
    /// What was asked for, or why not.
    pub result: Result<Success, ApiError>,
}

impl Answer {
    /// Fills in what only the driver knows, where the answer tells metrics.
    pub fn add_process_gauges(&mut self, read: impl FnOnce() -> ProcessGauges) {
        if let Ok(Success::Metrics(snapshot)) = &mut self.result {
            snapshot.process = read();
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Success {
    /// 200 of `/health`, or its 503.
    Health(Health),
    /// 200 of `/livez`.
    Alive,
    /// 200 of `/readyz`.
    Ready,
    /// 200 of `/metrics`.
    Metrics(Box<MetricsSnapshot>),
    /// 201 of `POST /admin/tenants`.
    TenantCreated(Box<TenantCreated>),
    /// 200 of `GET /admin/tenants`, every default filled into the settings.
    Tenants(TenantPage),
    /// 200: a tenant.
    Tenant(Box<TenantShown>),
    /// 200 of `POST /admin/tenants/{tenant_id}/rotate-key`.
    KeyRotated {
        /// The tenant.
        tenant_id: TenantId,
        /// Its new API key.
        api_key: Secret,
    },
    /// 204: it is done, there is nothing to tell.
    Done,
    /// 200 of `GET /rooms`.
    Rooms {
        /// The page.
        rooms: Vec<ListedRoom>,
        /// Whether more follow.
        has_more: bool,
    },
    /// 201: a room that is new.
    RoomCreated(Box<Room>),
    /// 200: a room that was there.
    Room(Box<Room>),
    /// 200 of `GET /rooms/{room_id}/members`.
    Members(MemberPage),
    /// 201: a member who is new in the room.
    MemberAdded(Member),
    /// 200: a member who was in it.
    Member(Member),
    /// 200 of `GET /rooms/{room_id}/presence`.
    Presence {
        /// The page, ascending by user id.
        members: Vec<(UserId, PresenceStatus)>,
        /// Whether more follow.
        has_more: bool,
    },
    /// 200 of `GET /rooms/{room_id}/receipts`.
    Receipts(ReceiptPage),
    /// 200: a message.
    Message(Box<Message>),
    /// 200 of `GET /rooms/{room_id}/messages`.
    Messages(MessagePage),
    /// 200 of `POST /acks`.
    Acknowledged {
        /// The room.
        room_id: RoomId,
        /// Where the user stands.
        last_ack: Seq,
    },
    /// 202 of `POST /notify`.
    Notified {
        /// The notification.
        notification_id: NotificationId,
        /// When it was stored.
        created_at: UnixMillis,
    },
    /// 201: a subscription that is new.
    SubscriptionCreated(Subscription),
    /// 200: a subscription that was there.
    Subscription(Subscription),
    /// 200 of `GET /subscriptions`.
    Subscriptions(Vec<Subscription>),
    /// 200 of `POST /ws/token`.
    Token(Secret),
}

/// The state of the process, by its last real write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether the last write came through in time.
    pub db_writable: bool,
    /// Since the start.
    pub uptime: Micros,
}

/// Whether a user is online.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresenceStatus {
    /// From the first connection on.
    Online,
    /// Some time after the last one has closed.
    Offline,
}

/// A tenant, with the secret that stands in this answer alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantShown {
    /// The tenant, every default filled into its settings.
    pub tenant: Tenant,
    /// The webhook secret that this call set or generated.
    pub webhook_secret: Option<Secret>,
}

/// A tenant that was just created, with the secrets that stand in this answer alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantCreated {
    /// Its id.
    pub tenant_id: TenantId,
    /// Its name.
    pub name: String,
    /// Its API key.
    pub api_key: Secret,
    /// Its settings, every default filled in.
    pub config: TenantConfig,
    /// The secret that this call set or generated.
    pub webhook_secret: Option<Secret>,
    /// When it was created.
    pub created_at: UnixMillis,
}
