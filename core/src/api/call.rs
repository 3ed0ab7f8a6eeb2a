//! REST requests, parsed: what the core is asked, by whom.

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use crate::id::{RoomId, Seq, UserId};
use crate::model::{RoomType, TenantConfig};
use crate::secret::{Digest, Secret};
use crate::store::HistoryRange;

/// A request whose route is known. What is wrong with its query or body is kept in `call`, so that authentication and
/// the rate limit come first (protocol, section 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiRequest {
    /// Who may call the route.
    pub access: Access,
    /// What the request says about its caller.
    pub credentials: Credentials,
    /// What it asks for.
    pub call: Result<Call, ApiError>,
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Anyone.
    Public,
    /// Anyone, or the holder of `METRICS_TOKEN` if that is set.
    Metrics,
    /// The holder of the master key.
    Master,
    /// A tenant, for one of its users.
    User,
    /// The same, to connect: it is paid for from the bucket of connects.
    UserToConnect,
    /// A tenant, for one of its users or for itself.
    UserOrTenant,
}

/// Credentials of a REST request, as far as the core may know them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// `X-Master-Key` stands there and is right.
    pub is_master: bool,
    /// `Authorization: Bearer` stands there and is `METRICS_TOKEN`.
    pub is_metrics_reader: bool,
    /// The digest of `X-API-Key`.
    pub api_key: Option<Digest>,
    /// `X-User-Id`.
    pub user: UserHeader,
}

/// What `X-User-Id` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserHeader {
    /// It is not there.
    Absent,
    /// It breaks the rules of a user id.
    Invalid,
    /// A user id.
    User(UserId),
}

/// What a request asks for, every field within its limits as far as they don't depend on the tenant or the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// `GET /health`
    Health,
    /// `GET /livez`
    Livez,
    /// `GET /readyz`
    Readyz,
    /// `GET /metrics`
    Metrics,
    /// `POST /admin/tenants`
    CreateTenant(Box<CreateTenant>),
    /// `GET /rooms`
    ListRooms {
        /// The cursor: the last room of the page before.
        after: Option<RoomId>,
        /// 1 to 1,000.
        limit: u32,
    },
    /// `POST /rooms`
    CreateRoom(Box<CreateRoom>),
    /// `GET /rooms/{room_id}`
    ReadRoom {
        /// The room.
        room_id: RoomId,
    },
    /// `GET /rooms/{room_id}/members`
    ListMembers {
        /// The room.
        room_id: RoomId,
        /// The cursor: the last member of the page before.
        after: Option<UserId>,
        /// 1 to 10,000.
        limit: u32,
    },
    /// `POST /rooms/{room_id}/messages`
    SendMessage(Box<SendMessage>),
    /// `GET /rooms/{room_id}/messages`
    ReadMessages {
        /// The room.
        room_id: RoomId,
        /// Which part.
        range: HistoryRange,
        /// 1 to 100.
        limit: u32,
    },
    /// `POST /acks`
    Acknowledge {
        /// The room.
        room_id: RoomId,
        /// The newest message read.
        seq: Seq,
    },
    /// `POST /ws/token`
    IssueToken {
        /// The token, drawn by the parser.
        token: Secret,
    },
}

/// The body of `POST /admin/tenants`, with the secrets that the parser drew for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTenant {
    /// 1 to 200 characters.
    pub name: String,
    /// Each within its limits.
    pub config: TenantConfig,
    /// Given, or drawn where there is a `webhook_url` and none was given.
    pub webhook_secret: Option<Secret>,
    /// Drawn.
    pub api_key: Secret,
}

/// The body of `POST /rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateRoom {
    /// The kind.
    pub kind: RoomType,
    /// As named, each once; at most 10,000.
    pub members: Vec<UserId>,
    /// At most 200 characters.
    pub name: Option<String>,
    /// JSON text of at most 16 KiB; `""` was read as absent.
    pub metadata: Option<String>,
}

/// A message to be sent, by REST or by a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendMessage {
    /// The room.
    pub room_id: RoomId,
    /// At least a byte; how long it may be depends on the tenant.
    pub content: String,
    /// JSON text of at most 16 KiB; `""` was read as absent.
    pub meta: Option<String>,
    /// 1 to 128 visible ASCII characters.
    pub idempotency_key: Option<String>,
}
