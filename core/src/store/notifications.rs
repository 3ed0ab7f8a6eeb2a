//! Steps on notifications and subscriptions.
//!
//! A notification is stored with its targets in one small transaction, however many they are. Afterwards it is expanded
//! chunk by chunk: who is in a chunk gets a row of the pending ones if the notification is durable, and is told if online.

use serde::{Deserialize, Serialize};

use crate::id::{NotificationId, NotificationKey, RoomId, TenantKey, UserId};
use crate::model::Subscription;
use crate::time::UnixMillis;
use crate::ws::Frame;

/// A notification to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNotification {
    /// The tenant.
    pub tenant: TenantKey,
    /// Its id.
    pub notification_id: NotificationId,
    /// 1 to 200 characters.
    pub topic: String,
    /// JSON text.
    pub payload: String,
    /// Whom it is for.
    pub targets: NotificationTargets,
    /// Whether it waits for those who are offline.
    pub durable: bool,
    /// The stamp.
    pub created_at: UnixMillis,
}

/// Whom a notification is for: all of these together, each user once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NotificationTargets {
    /// These users, ascending, each once.
    pub user_ids: Vec<UserId>,
    /// The members of this room.
    pub room_id: Option<RoomId>,
    /// Whoever subscribed to its topic.
    pub topic_subscribers: bool,
}

/// Why a notification was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotifyRefusal {
    /// The tenant has no such room.
    NoRoom,
    /// The tenant is gone.
    NoTenant,
}

/// The next users of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expansion {
    /// The tenant.
    pub tenant: TenantKey,
    /// What they are told.
    pub frame: Frame,
    /// Whether it waits for those who are offline.
    pub durable: bool,
    /// Who; none of them was named by an earlier chunk.
    pub users: Vec<UserId>,
    /// Whether more follow.
    pub has_more: bool,
}

/// The oldest pending notifications of a user past a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationPage {
    /// Ascending by key, as the frames to send.
    pub notifications: Vec<(NotificationKey, Frame)>,
    /// Whether more follow.
    pub has_more: bool,
}

/// Where a page of notifications is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingNotifications {
    /// The tenant.
    pub tenant: TenantKey,
    /// The user.
    pub user_id: UserId,
    /// Only notifications past it.
    pub after: NotificationKey,
    /// Only notifications since then.
    pub since: UnixMillis,
    /// At most so many.
    pub limit: u32,
    /// None that would take the payloads past so many bytes; one always fits.
    pub size_bytes: u32,
}

/// A subscription that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The subscription.
    pub subscription: Subscription,
    /// By this request, or by an earlier one.
    pub outcome: SubscribeOutcome,
}

/// Whether a subscription was stored by this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubscribeOutcome {
    /// By this one.
    New,
    /// By an earlier one.
    Existing,
}

/// Why a subscription was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubscribeRefusal {
    /// The user has as many as one may have.
    TooMany,
    /// The tenant is gone.
    NoTenant,
}
