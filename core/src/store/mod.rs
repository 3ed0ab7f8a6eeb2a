//! What the core asks of a store, and what it may answer: whole business steps, each atomic.
//!
//! A refusal that belongs to the step (no such room, no member) is part of its reply; a [`StoreFailure`] says that the
//! store itself could not serve. A store has no clock: every stamp comes with the request.

mod messages;
mod notifications;
mod positions;
mod rooms;
mod tenants;

use serde::{Deserialize, Serialize};

use crate::id::{IdStamp, MessageId, NotificationKey, RoomId, Seq, TenantId, TenantKey, UserId};
use crate::model::{ListedRoom, Message, Room, Subscription, Tenant};
use crate::secret::Digest;
use crate::time::UnixMillis;
use crate::ws::Frame;

pub use messages::{
    AppendOutcome, AppendRefusal, Appended, DeleteMessageRefusal, DeleteOutcome, DeletedMessage, EditMessageRefusal,
    HistoryRange, Idempotency, MessageEdit, MessagePage, NewMessage, PageBounds, ReadMessageRefusal,
};
pub use notifications::{
    Expansion, NewNotification, NotificationPage, NotificationTargets, NotifyRefusal, PendingNotifications,
    SubscribeOutcome, SubscribeRefusal, Subscribed,
};
pub use positions::{AcknowledgeRefusal, Acknowledged, Backlog, BacklogRoom, Receipt, ReceiptPage, RoomPosition};
pub use rooms::{
    AccessRefusal, Actor, AddMemberRefusal, AddOutcome, AddedMember, ChangeRoomRefusal, CreatedRoom, DeleteRoomRefusal,
    MemberPage, NewMember, NewRoom, RemoveMemberRefusal, RemovedMember, RoomChange,
};
pub use tenants::{
    ChangedTenant, ConfigChange, KeyOwner, KeyRotation, NewTenant, SecretOutcome, TenantChange, TenantPage,
};

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
    /// Finds the tenant that an API key names. → [`StoreReply::KeyOwner`]
    FindTenant {
        /// The digest of the key.
        api_key: Digest,
    },
    /// Tenants in ascending order of their ids, which is oldest first. → [`StoreReply::Tenants`]
    ListTenants {
        /// Only tenants whose id sorts above this one.
        after: Option<TenantId>,
        /// At most so many.
        limit: u32,
    },
    /// A tenant, in order with the changes. → [`StoreReply::Tenant`]
    ReadTenant {
        /// Which.
        tenant_id: TenantId,
    },
    /// → [`StoreReply::TenantChanged`]
    ChangeTenant(Box<TenantChange>),
    /// Gives a tenant a new API key. → [`StoreReply::KeyRotated`]
    RotateKey(KeyRotation),
    /// Makes a tenant, and all that is its, vanish at once; [`Self::Sweep`] removes the data. → [`StoreReply::TenantDeleted`]
    DeleteTenant {
        /// Which.
        tenant_id: TenantId,
        /// The stamp.
        now: UnixMillis,
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
    /// → [`StoreReply::RoomChanged`]
    ChangeRoom(Box<RoomChange>),
    /// Makes a room vanish at once; [`Self::Sweep`] removes its data. → [`StoreReply::RoomDeleted`]
    DeleteRoom {
        /// The tenant.
        tenant: TenantKey,
        /// The room.
        room_id: RoomId,
        /// Who asks: an admin, or the tenant itself.
        actor: Actor,
        /// The stamp.
        now: UnixMillis,
    },
    /// Puts a user into a room, or changes the role of one who is in it. → [`StoreReply::MemberAdded`]
    AddMember(Box<NewMember>),
    /// Takes a user out of a room; with the last one the room vanishes. → [`StoreReply::MemberRemoved`]
    RemoveMember {
        /// The tenant.
        tenant: TenantKey,
        /// The room: a group or channel.
        room_id: RoomId,
        /// Who asks: an admin, the tenant itself, or the member who leaves.
        actor: Actor,
        /// The member.
        user_id: UserId,
        /// The stamp.
        now: UnixMillis,
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
    /// How far the members have read, in ascending order of their ids. → [`StoreReply::Receipts`]
    ListReceipts {
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
    /// → [`StoreReply::Message`]
    ReadMessage {
        /// The tenant.
        tenant: TenantKey,
        /// The room.
        room_id: RoomId,
        /// The message.
        message_id: MessageId,
        /// Who asks.
        actor: Actor,
    },
    /// The same for the core itself, in order with the changes. → [`StoreReply::Message`]
    RereadMessage {
        /// The tenant.
        tenant: TenantKey,
        /// The room.
        room_id: RoomId,
        /// The message.
        message_id: MessageId,
    },
    /// → [`StoreReply::MessageEdited`]
    EditMessage(Box<MessageEdit>),
    /// Empties a message; its number stays. → [`StoreReply::MessageDeleted`]
    DeleteMessage {
        /// The tenant.
        tenant: TenantKey,
        /// The room.
        room_id: RoomId,
        /// The message.
        message_id: MessageId,
        /// Who asks: its sender, still a member, or the tenant itself.
        actor: Actor,
        /// Becomes `deleted_at`.
        now: UnixMillis,
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
    /// Every room of a user, with where the user stands, and whether notifications are pending. It goes through the
    /// writer, so that it stands in order with every change of rooms, members and heads.
    /// → [`StoreReply::Backlog`]
    LoadBacklog {
        /// The tenant.
        tenant: TenantKey,
        /// The user.
        user_id: UserId,
    },
    /// Where a user stands in some rooms, in order with the changes. → [`StoreReply::Positions`]
    LoadPositions {
        /// The tenant.
        tenant: TenantKey,
        /// The user.
        user_id: UserId,
        /// The rooms, each once.
        rooms: Vec<RoomId>,
    },
    /// The messages of some rooms past cursors, as the frames to send, to someone who is a member. Room after room is
    /// read within what the bounds leave, of each at least one message if there is any; where a room's messages do not
    /// all fit, and where nothing is left, the rest of the rooms is not answered for. → [`StoreReply::Frames`]
    ReadFrames {
        /// The tenant.
        tenant: TenantKey,
        /// Each room once, with the number past which it is read.
        rooms: Vec<(RoomId, Seq)>,
        /// Where the page ends, of all rooms together.
        bounds: PageBounds,
    },
    /// The number of a room's newest message, in order with the changes. → [`StoreReply::Head`]
    ReadHead {
        /// The tenant.
        tenant: TenantKey,
        /// The room.
        room_id: RoomId,
    },
    /// Stores a notification; nobody is told yet. → [`StoreReply::Notified`]
    Notify(Box<NewNotification>),
    /// The notifications that are not expanded to their end, oldest first, [`EXPANSIONS_LISTED_MAX`] at the most. → [`StoreReply::Expansions`]
    ListExpansions,
    /// Goes on with a notification: the next of its users get it, those who are to have it when they come online too.
    /// Of each user's pending ones the newest [`PENDING_NOTIFICATIONS_MAX`] stay. → [`StoreReply::Expanded`]
    ExpandNotification {
        /// Which.
        notification: NotificationKey,
        /// At most so many users.
        limit: u32,
    },
    /// → [`StoreReply::Notifications`]
    ReadNotifications(PendingNotifications),
    /// Forgets pending notifications that reached their user. → [`StoreReply::Confirmed`]
    ConfirmNotifications {
        /// The tenant.
        tenant: TenantKey,
        /// The user.
        user_id: UserId,
        /// Which.
        notifications: Vec<NotificationKey>,
    },
    /// → [`StoreReply::Subscribed`]
    Subscribe {
        /// The tenant.
        tenant: TenantKey,
        /// The user.
        user_id: UserId,
        /// The topic.
        topic: String,
        /// The stamp.
        now: UnixMillis,
    },
    /// A user's subscriptions in ascending order of their ids. → [`StoreReply::Subscriptions`]
    ListSubscriptions {
        /// The tenant.
        tenant: TenantKey,
        /// The user.
        user_id: UserId,
    },
    /// → [`StoreReply::Unsubscribed`]
    Unsubscribe {
        /// The tenant.
        tenant: TenantKey,
        /// The user.
        user_id: UserId,
        /// The subscription.
        subscription_id: u64,
    },
    /// Removes a part of what nobody can see any more: data of deleted tenants and rooms, notifications past their
    /// time, retired keys. → [`StoreReply::Swept`]
    Sweep {
        /// Pending notifications stored before are past their time.
        notifications_before: UnixMillis,
        /// Keys retired until before are past theirs.
        keys_before: UnixMillis,
        /// At most so many rows.
        rows: u32,
    },
}

/// How many pending notifications wait for a user at the most (protocol, section 6).
pub const PENDING_NOTIFICATIONS_MAX: u32 = 1_000;
/// How many notifications that are not expanded a store lists at once.
pub const EXPANSIONS_LISTED_MAX: u32 = 10_000;
/// How many topics a user subscribes to at the most (protocol, section 6).
pub const SUBSCRIPTIONS_MAX: u32 = 1_000;

impl StoreRequest {
    /// Which way the request takes.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Boot
            | Self::CheckWritable { .. }
            | Self::CreateTenant(_)
            | Self::ReadTenant { .. }
            | Self::ChangeTenant(_)
            | Self::RotateKey(_)
            | Self::DeleteTenant { .. }
            | Self::CreateRoom(_)
            | Self::ChangeRoom(_)
            | Self::DeleteRoom { .. }
            | Self::AddMember(_)
            | Self::RemoveMember { .. }
            | Self::AppendMessage(_)
            | Self::RereadMessage { .. }
            | Self::EditMessage(_)
            | Self::DeleteMessage { .. }
            | Self::Acknowledge { .. }
            | Self::LoadBacklog { .. }
            | Self::LoadPositions { .. }
            | Self::ReadHead { .. }
            | Self::Notify(_)
            | Self::ListExpansions
            | Self::ExpandNotification { .. }
            | Self::ConfirmNotifications { .. }
            | Self::Subscribe { .. }
            | Self::Unsubscribe { .. }
            | Self::Sweep { .. } => Lane::Write,
            Self::FindTenant { .. }
            | Self::ListTenants { .. }
            | Self::ListRooms { .. }
            | Self::ReadRoom { .. }
            | Self::ListMembers { .. }
            | Self::ListReceipts { .. }
            | Self::ReadMessages { .. }
            | Self::ReadMessage { .. }
            | Self::ReadFrames { .. }
            | Self::ReadNotifications(_)
            | Self::ListSubscriptions { .. } => Lane::Read,
        }
    }
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
    /// To [`StoreRequest::FindTenant`]; `None` where the key names nobody.
    KeyOwner(Option<KeyOwner>),
    /// To [`StoreRequest::ListTenants`].
    Tenants(TenantPage),
    /// To [`StoreRequest::ReadTenant`].
    Tenant(Option<Tenant>),
    /// To [`StoreRequest::ChangeTenant`]; `None` where there is no such tenant.
    TenantChanged(Option<ChangedTenant>),
    /// To [`StoreRequest::RotateKey`]; `None` where there is no such tenant.
    KeyRotated(Option<TenantKey>),
    /// To [`StoreRequest::DeleteTenant`]; `None` where there is no such tenant.
    TenantDeleted(Option<TenantKey>),
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
    /// To [`StoreRequest::ChangeRoom`].
    RoomChanged(Result<Room, ChangeRoomRefusal>),
    /// To [`StoreRequest::DeleteRoom`].
    RoomDeleted(Result<(), DeleteRoomRefusal>),
    /// To [`StoreRequest::AddMember`].
    MemberAdded(Result<AddedMember, AddMemberRefusal>),
    /// To [`StoreRequest::RemoveMember`].
    MemberRemoved(Result<RemovedMember, RemoveMemberRefusal>),
    /// To [`StoreRequest::ListMembers`].
    Members(Result<MemberPage, AccessRefusal>),
    /// To [`StoreRequest::ListReceipts`].
    Receipts(Result<ReceiptPage, AccessRefusal>),
    /// To [`StoreRequest::AppendMessage`].
    Appended(Result<Appended, AppendRefusal>),
    /// To [`StoreRequest::ReadMessages`].
    Messages(Result<MessagePage, AccessRefusal>),
    /// To [`StoreRequest::ReadMessage`] and [`StoreRequest::RereadMessage`].
    Message(Result<Message, ReadMessageRefusal>),
    /// To [`StoreRequest::EditMessage`]: as it now is.
    MessageEdited(Result<Message, EditMessageRefusal>),
    /// To [`StoreRequest::DeleteMessage`].
    MessageDeleted(Result<DeletedMessage, DeleteMessageRefusal>),
    /// To [`StoreRequest::Acknowledge`].
    Acknowledged(Result<Acknowledged, AcknowledgeRefusal>),
    /// To [`StoreRequest::LoadBacklog`].
    Backlog(Backlog),
    /// To [`StoreRequest::LoadPositions`], in the order of the rooms asked for.
    Positions(Vec<Result<RoomPosition, AccessRefusal>>),
    /// To [`StoreRequest::ReadFrames`]: for each of the first rooms asked for what lies past its cursor, nothing where the
    /// room is gone.
    Frames(Vec<Vec<(Seq, Frame)>>),
    /// To [`StoreRequest::ReadHead`]; `None` where the room is gone.
    Head(Option<Seq>),
    /// To [`StoreRequest::Notify`].
    Notified(Result<NotificationKey, NotifyRefusal>),
    /// To [`StoreRequest::ListExpansions`].
    Expansions(Vec<NotificationKey>),
    /// To [`StoreRequest::ExpandNotification`]; `None` where it is expanded, or gone.
    Expanded(Option<Expansion>),
    /// To [`StoreRequest::ReadNotifications`].
    Notifications(NotificationPage),
    /// To [`StoreRequest::ConfirmNotifications`].
    Confirmed,
    /// To [`StoreRequest::Subscribe`].
    Subscribed(Result<Subscribed, SubscribeRefusal>),
    /// To [`StoreRequest::ListSubscriptions`].
    Subscriptions(Vec<Subscription>),
    /// To [`StoreRequest::Unsubscribe`].
    Unsubscribed {
        /// Whether the user had it.
        existed: bool,
    },
    /// To [`StoreRequest::Sweep`].
    Swept {
        /// Whether there may be more to remove.
        has_more: bool,
    },
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
