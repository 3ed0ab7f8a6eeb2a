//! REST requests, parsed: what the core is asked, by whom.

use serde::{Deserialize, Serialize};

use super::error::ApiError;
use crate::id::{MessageId, RoomId, Seq, TenantId, UserId};
use crate::model::{Edit, Role, RoomType, TenantConfig};
use crate::secret::{Digest, Secret};
use crate::store::{HistoryRange, NotificationTargets, TenantChange};

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
    /// By anyone.
    Public(PublicCall),
    /// By the operator.
    Admin(AdminCall),
    /// By a tenant, for one of its users or for itself.
    Tenant(TenantCall),
    /// By a tenant, for one of its users.
    User(UserCall),
}

/// What anyone may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PublicCall {
    /// `GET /health`
    Health,
    /// `GET /livez`
    Livez,
    /// `GET /readyz`
    Readyz,
    /// `GET /metrics`
    Metrics,
}

/// What the holder of the master key may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminCall {
    /// `POST /admin/tenants`
    CreateTenant(Box<CreateTenant>),
    /// `GET /admin/tenants`
    ListTenants {
        /// The cursor: the last tenant of the page before.
        after: Option<TenantId>,
        /// 1 to 1,000.
        limit: u32,
    },
    /// `GET /admin/tenants/{tenant_id}`
    ReadTenant {
        /// The tenant.
        tenant_id: TenantId,
    },
    /// `PATCH /admin/tenants/{tenant_id}`
    ChangeTenant(Box<TenantChange>),
    /// `POST /admin/tenants/{tenant_id}/rotate-key`
    RotateKey(Box<RotateKey>),
    /// `DELETE /admin/tenants/{tenant_id}`
    DeleteTenant {
        /// The tenant.
        tenant_id: TenantId,
    },
}

/// What a tenant may ask for, for one of its users or for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TenantCall {
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
    /// `PATCH /rooms/{room_id}`
    ChangeRoom(Box<ChangeRoom>),
    /// `DELETE /rooms/{room_id}`
    DeleteRoom {
        /// The room.
        room_id: RoomId,
    },
    /// `GET /rooms/{room_id}/members`
    ListMembers(MembersQuery),
    /// `GET /rooms/{room_id}/presence`
    ListPresence(MembersQuery),
    /// `GET /rooms/{room_id}/receipts`
    ListReceipts(MembersQuery),
    /// `POST /rooms/{room_id}/members`
    AddMember {
        /// The room.
        room_id: RoomId,
        /// Who is to be in it.
        user_id: UserId,
        /// As what.
        role: Option<Role>,
    },
    /// `DELETE /rooms/{room_id}/members/{user_id}`
    RemoveMember {
        /// The room.
        room_id: RoomId,
        /// Who is to leave it.
        user_id: UserId,
    },
    /// `GET /rooms/{room_id}/messages`
    ReadMessages {
        /// The room.
        room_id: RoomId,
        /// Which part.
        range: HistoryRange,
        /// 1 to 100.
        limit: u32,
    },
    /// `GET /rooms/{room_id}/messages/{message_id}`
    ReadMessage {
        /// The room.
        room_id: RoomId,
        /// The message.
        message_id: MessageId,
    },
    /// `DELETE /rooms/{room_id}/messages/{message_id}`
    DeleteMessage {
        /// The room.
        room_id: RoomId,
        /// The message.
        message_id: MessageId,
    },
    /// `POST /notify`
    Notify(Box<Notify>),
}

/// What a tenant may ask for, for one of its users alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserCall {
    /// `POST /rooms/{room_id}/messages`
    SendMessage(Box<SendMessage>),
    /// `PATCH /rooms/{room_id}/messages/{message_id}`
    EditMessage(Box<EditMessage>),
    /// `POST /acks`
    Acknowledge {
        /// The room.
        room_id: RoomId,
        /// The newest message read.
        seq: Seq,
    },
    /// `POST /subscriptions`
    Subscribe {
        /// 1 to 200 characters.
        topic: String,
    },
    /// `GET /subscriptions`
    ListSubscriptions,
    /// `DELETE /subscriptions/{id}`
    Unsubscribe {
        /// The subscription.
        subscription_id: u64,
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

/// The body of `POST /admin/tenants/{tenant_id}/rotate-key`, with the key that the parser drew for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateKey {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Drawn.
    pub api_key: Secret,
    /// For how long the old key works on, 0 to 86,400.
    pub grace_seconds: u32,
    /// Whether the tenant's sockets are closed.
    pub close_sockets: bool,
}

/// A page of a room's members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersQuery {
    /// The room.
    pub room_id: RoomId,
    /// The cursor: the last member of the page before.
    pub after: Option<UserId>,
    /// 1 to 10,000.
    pub limit: u32,
}

/// The body of `PATCH /rooms/{room_id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRoom {
    /// The room.
    pub room_id: RoomId,
    /// At most 200 characters.
    pub name: Edit<String>,
    /// JSON text of at most 16 KiB; `""` was read as `null`.
    pub metadata: Edit<String>,
}

/// The body of `PATCH /rooms/{room_id}/messages/{message_id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditMessage {
    /// The room.
    pub room_id: RoomId,
    /// The message.
    pub message_id: MessageId,
    /// At least a byte; how long it may be depends on the tenant.
    pub content: String,
    /// JSON text of at most 16 KiB; `""` was read as `null`.
    pub meta: Edit<String>,
}

/// The body of `POST /notify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// 1 to 200 characters.
    pub topic: String,
    /// JSON text of at most 64 KiB, kept byte for byte.
    pub payload: String,
    /// `None`: every user of the tenant who is online.
    pub targets: Option<NotificationTargets>,
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
