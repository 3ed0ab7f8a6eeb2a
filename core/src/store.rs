//! What the core asks of a store, and what it may answer: whole business steps, each atomic.
//!
//! A refusal that belongs to the step (no such room, no member) is part of its reply; a [`StoreFailure`] says that the
//! store itself could not serve. A store has no clock: every stamp comes with the request.

use serde::{Deserialize, Serialize};

use crate::id::{IdStamp, MessageId, RoomId, Seq, TenantId, TenantKey, UserId};
use crate::model::{ListedRoom, Member, Message, Role, Room, RoomType, Tenant, TenantConfig};
use crate::secret::{Digest, Secret};
use crate::time::UnixMillis;
use crate::ws::Frame;

/// The two ways into a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lane {
    /// One writer: steps are carried out in the order of submission and answered in it, after their commit. Reads
    /// that must stand in order with the changes go here too.
    Write,
    /// Readers beside the writer: answered in any order, from what is committed.
    Read,
}

/// A business step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreRequest {
    /// The first request of every run. → [`StoreReply::Booted`]
    Boot,
    /// Writes a row for the health check. → [`StoreReply::Written`]
    CheckWritable {
        /// The stamp to write.
        now: UnixMillis,
    },
    /// → [`StoreReply::TenantCreated`]
    CreateTenant(Box<NewTenant>),
    /// Finds the tenant that an API key names. → [`StoreReply::Tenant`]
    FindTenant {
        /// The digest of the key.
        api_key: Digest,
    },
    /// Creates a room with its first members; a dm that exists is returned as it is. → [`StoreReply::RoomCreated`]
    CreateRoom(Box<NewRoom>),
    /// Rooms in descending order of their ids, which is newest first. → [`StoreReply::Rooms`]
    ListRooms {
        /// The tenant.
        tenant: TenantKey,
        /// Whose rooms; the tenant itself sees all.
        actor: Actor,
        /// Only rooms whose id sorts below this one.
        after: Option<RoomId>,
        /// At most so many.
        limit: u32,
    },
    /// → [`StoreReply::Room`]
    ReadRoom {
        /// The tenant.
        tenant: TenantKey,
        /// The room.
        room_id: RoomId,
        /// Who asks.
        actor: Actor,
    },
    /// Members in ascending order of their ids. → [`StoreReply::Members`]
    ListMembers {
        /// The tenant.
        tenant: TenantKey,
        /// The room.
        room_id: RoomId,
        /// Who asks.
        actor: Actor,
        /// Only members whose id sorts above this one.
        after: Option<UserId>,
        /// At most so many.
        limit: u32,
    },
    /// Gives a message the room's next number and stores it. → [`StoreReply::Appended`]
    AppendMessage(Box<NewMessage>),
    /// A page of a room's history, ascending by number. → [`StoreReply::Messages`]
    ReadMessages {
        /// The tenant.
        tenant: TenantKey,
        /// The room.
        room_id: RoomId,
        /// Who asks.
        actor: Actor,
        /// Which part.
        range: HistoryRange,
        /// Where the page ends.
        bounds: PageBounds,
    },
    /// Moves a member's `last_ack` forward; a lower `seq` changes nothing. → [`StoreReply::Acknowledged`]
    Acknowledge {
        /// The tenant.
        tenant: TenantKey,
        /// The room.
        room_id: RoomId,
        /// The member.
        user_id: UserId,
        /// The newest message read.
        seq: Seq,
        /// The stamp of the change.
        now: UnixMillis,
    },
    /// Every room of a user, with where the user stands, in ascending order of the rooms' ids. It goes through the
    /// writer, so that it stands in order with every change of rooms, members and heads.
    /// → [`StoreReply::Backlog`]
    LoadBacklog {
        /// The tenant.
        tenant: TenantKey,
        /// The user.
        user_id: UserId,
    },
    /// The messages of a room past a cursor, as the frames to send, to someone who is a member.
    /// → [`StoreReply::Frames`]
    ReadFrames {
        /// The tenant.
        tenant: TenantKey,
        /// The room.
        room_id: RoomId,
        /// Only messages past it.
        after: Seq,
        /// Where the page ends.
        bounds: PageBounds,
    },
    /// The number of a room's newest message, in order with the changes. → [`StoreReply::Head`]
    ReadHead {
        /// The tenant.
        tenant: TenantKey,
        /// The room.
        room_id: RoomId,
    },
}

impl StoreRequest {
    /// Which way the request takes.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Boot
            | Self::CheckWritable { .. }
            | Self::CreateTenant(_)
            | Self::CreateRoom(_)
            | Self::AppendMessage(_)
            | Self::Acknowledge { .. }
            | Self::LoadBacklog { .. }
            | Self::ReadHead { .. } => Lane::Write,
            Self::FindTenant { .. }
            | Self::ListRooms { .. }
            | Self::ReadRoom { .. }
            | Self::ListMembers { .. }
            | Self::ReadMessages { .. }
            | Self::ReadFrames { .. } => Lane::Read,
        }
    }
}

/// On whose behalf a room is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// A user, who must be a member.
    User(UserId),
    /// The tenant's own backend, which may look at every room of its own.
    Tenant,
}

/// A tenant to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTenant {
    /// Its id.
    pub tenant_id: TenantId,
    /// Its name.
    pub name: String,
    /// The digest of its API key.
    pub api_key: Digest,
    /// Its settings.
    pub config: TenantConfig,
    /// The key its webhooks are signed with.
    pub webhook_secret: Option<Secret>,
    /// The stamp.
    pub created_at: UnixMillis,
}

/// A room to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRoom {
    /// The tenant.
    pub tenant: TenantKey,
    /// Its id, unless it is a dm that exists.
    pub room_id: RoomId,
    /// Its kind.
    pub kind: RoomType,
    /// Unique in the tenant.
    pub unique_key: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// JSON text.
    pub metadata: Option<String>,
    /// Who is in it from the start, each once.
    pub members: Vec<(UserId, Role)>,
    /// The stamp.
    pub created_at: UnixMillis,
}

/// A message to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMessage {
    /// The tenant.
    pub tenant: TenantKey,
    /// The room.
    pub room_id: RoomId,
    /// The sender, who must be a member.
    pub sender_id: UserId,
    /// Its id, unless it is a repeat.
    pub message_id: MessageId,
    /// Its text.
    pub content: String,
    /// JSON text.
    pub meta: Option<String>,
    /// The stamp.
    pub created_at: UnixMillis,
    /// What makes a repeat recognizable.
    pub idempotency: Option<Idempotency>,
}

/// An idempotency key, in the space of a sender in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// 1 to 128 visible ASCII characters.
    pub key: String,
    /// The digest of the request as it was first sent.
    pub body: Digest,
    /// A key that was stored before this moment counts no more. A store keeps it for another day all the same: the wall
    /// clock that decided so may be set back.
    pub valid_since: UnixMillis,
}

/// Which part of a room's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HistoryRange {
    /// The first messages past it.
    After(Seq),
    /// The last messages before it.
    Before(Seq),
}

/// Where a page of messages ends, whichever comes first; it holds at least one message if there is any, however large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageBounds {
    /// At most so many messages.
    pub messages: u32,
    /// No message that would take the page past so many bytes, as [`Message::size_on_wire_bytes`] counts.
    pub size_bytes: u32,
}

/// What a store answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreReply {
    /// To [`StoreRequest::Boot`].
    Booted {
        /// Changes when the database was restored from a backup.
        epoch: String,
        /// The newest stamp among the ids it holds.
        newest_id: Option<IdStamp>,
    },
    /// To [`StoreRequest::CheckWritable`].
    Written,
    /// To [`StoreRequest::CreateTenant`].
    TenantCreated(Tenant),
    /// To [`StoreRequest::FindTenant`].
    Tenant(Option<Tenant>),
    /// To [`StoreRequest::CreateRoom`].
    RoomCreated(CreatedRoom),
    /// To [`StoreRequest::ListRooms`].
    Rooms {
        /// The page.
        rooms: Vec<ListedRoom>,
        /// Whether more follow.
        has_more: bool,
    },
    /// To [`StoreRequest::ReadRoom`].
    Room(Result<Room, AccessRefusal>),
    /// To [`StoreRequest::ListMembers`].
    Members(Result<MemberPage, AccessRefusal>),
    /// To [`StoreRequest::AppendMessage`].
    Appended(Result<Appended, AppendRefusal>),
    /// To [`StoreRequest::ReadMessages`].
    Messages(Result<MessagePage, AccessRefusal>),
    /// To [`StoreRequest::Acknowledge`].
    Acknowledged(Result<Acknowledged, AcknowledgeRefusal>),
    /// To [`StoreRequest::LoadBacklog`].
    Backlog(Vec<BacklogRoom>),
    /// To [`StoreRequest::ReadFrames`]; empty where the room is gone.
    Frames(Vec<(Seq, Frame)>),
    /// To [`StoreRequest::ReadHead`]; `None` where the room is gone.
    Head(Option<Seq>),
}

/// What became of [`StoreRequest::CreateRoom`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CreatedRoom {
    /// It is new.
    New(Room),
    /// A dm of these two exists; as it is, with its present members.
    Existing {
        /// The room.
        room: Room,
        /// Its members.
        members: Vec<UserId>,
    },
}

/// A page of members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPage {
    /// Ascending by user id.
    pub members: Vec<Member>,
    /// Whether more follow.
    pub has_more: bool,
}

/// A page of history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagePage {
    /// Ascending by number.
    pub messages: Vec<Message>,
    /// Whether more follow in the direction asked for.
    pub has_more: bool,
}

/// A message that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// The message, as it now is.
    pub message: Message,
    /// By this request, or by an earlier one with the same idempotency key.
    pub outcome: AppendOutcome,
}

/// Whether a message was stored by this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendOutcome {
    /// By this one.
    Stored,
    /// By an earlier one with the same idempotency key.
    Replayed,
}

/// Where a member stands after an ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The newest message the member acknowledged.
    pub last_ack: Seq,
    /// Whether this request moved it.
    pub moved: bool,
}

/// A room of a connecting user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacklogRoom {
    /// The room.
    pub room_id: RoomId,
    /// The newest message the user acknowledged.
    pub last_ack: Seq,
    /// The newest message there is.
    pub last_seq: Seq,
}

/// Why a room does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessRefusal {
    /// The tenant has no such room.
    NoRoom,
    /// The user is not in it.
    NotMember,
}

/// Why a message was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendRefusal {
    /// The room does not open.
    Access(AccessRefusal),
    /// The idempotency key was used with another body.
    KeyReused,
}

/// Why an ack was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcknowledgeRefusal {
    /// The room does not open.
    Access(AccessRefusal),
    /// `seq` lies past the newest message.
    PastHead,
}

/// Why the store itself could not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreFailure {
    /// Another process holds the database, or the queue is full; nothing changed.
    Busy,
    /// No space is left; nothing changed.
    Full,
    /// The step failed; nothing changed.
    Failed,
    /// The commit failed: the step may be stored or not.
    OutcomeUnknown,
}

/// A reply, or why there is none.
pub type StoreResult = Result<StoreReply, StoreFailure>;
