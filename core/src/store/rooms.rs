//! Steps on rooms and their members.

use serde::{Deserialize, Serialize};

use crate::id::{RoomId, Seq, TenantKey, UserId};
use crate::model::{Edit, Member, Role, Room, RoomType};
use crate::time::UnixMillis;

/// On whose behalf a room is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// A user, who must be a member.
    User(UserId),
    /// The tenant's own backend, which may look at every room of its own.
    Tenant,
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

/// What became of a room to be created.
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
    /// The tenant is gone.
    NoTenant,
}

/// A page of members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPage {
    /// Ascending by user id.
    pub members: Vec<Member>,
    /// Whether more follow.
    pub has_more: bool,
}

/// Why a room does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessRefusal {
    /// The tenant has no such room.
    NoRoom,
    /// The user is not in it.
    NotMember,
}

/// A change of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomChange {
    /// The tenant.
    pub tenant: TenantKey,
    /// The room.
    pub room_id: RoomId,
    /// Who asks: an admin of a group or channel, either member of a dm, or the tenant itself.
    pub actor: Actor,
    /// Its name.
    pub name: Edit<String>,
    /// JSON text.
    pub metadata: Edit<String>,
}

/// Why a room was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeRoomRefusal {
    /// The room does not open.
    Access(AccessRefusal),
    /// The user is no admin of it.
    NotAdmin,
}

/// Why a room was not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeleteRoomRefusal {
    /// The room does not open.
    Access(AccessRefusal),
    /// The user is no admin of it.
    NotAdmin,
    /// A dm is deleted by the tenant alone.
    IsDm,
}

/// A user who is to be in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMember {
    /// The tenant.
    pub tenant: TenantKey,
    /// The room: a group or channel.
    pub room_id: RoomId,
    /// Who asks: an admin, the tenant itself, or the user, who may join a channel as `member`. A user who is in the room
    /// already may ask for that too, and nothing changes.
    pub actor: Actor,
    /// Who is to be in it.
    pub user_id: UserId,
    /// As what. `None` is `member` for a new one, and keeps the role of another.
    pub role: Option<Role>,
    /// The stamp.
    pub now: UnixMillis,
}

/// A user who is in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedMember {
    /// As the member now is.
    pub member: Member,
    /// What the request did.
    pub outcome: AddOutcome,
    /// The room's newest message, which is the new member's `last_ack`.
    pub last_seq: Seq,
    /// How many are in the room now.
    pub members: u32,
    /// Who became admin, because the last one stepped down by this.
    pub successor: Option<Member>,
}

/// What a request to add a member did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddOutcome {
    /// The user is new in the room; `last_ack` starts at its newest message.
    Joined,
    /// The user was in it with another role.
    RoleChanged,
    /// The user was in it just so.
    Unchanged,
}

/// Why a user was not added to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddMemberRefusal {
    /// The room does not open.
    Access(AccessRefusal),
    /// The user who asks is no admin of it.
    NotAdmin,
    /// A dm has the members it was created with.
    IsDm,
}

/// A user who left a room, or was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedMember {
    /// What the user was.
    pub role: Role,
    /// How many are left; with none the room is deleted.
    pub members: u32,
    /// Who became admin, because the last one went: the other member who joined first, by id where several did.
    pub successor: Option<Member>,
}

/// Why a member was not removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoveMemberRefusal {
    /// The room does not open.
    Access(AccessRefusal),
    /// The user who asks is neither an admin nor the one who leaves.
    NotAdmin,
    /// A dm has the members it was created with.
    IsDm,
    /// The user is not in the room.
    NoMember,
}
