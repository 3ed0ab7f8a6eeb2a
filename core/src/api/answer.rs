//! REST answers, before they are encoded.

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use crate::id::TenantId;
use crate::id::{RoomId, Seq};
use crate::limits::RateLimitStatus;
use crate::metrics::{MetricsSnapshot, ProcessGauges};
use crate::model::{ListedRoom, Message, Room, TenantConfig};
use crate::secret::Secret;
use crate::store::{MemberPage, MessagePage};
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
