//! Where members stand in rooms.

use serde::{Deserialize, Serialize};

use super::rooms::AccessRefusal;
use crate::id::{RoomId, Seq, UserId};

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
    /// How many are in it.
    pub members: u32,
}

/// What waits for a connecting user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Backlog {
    /// The user's rooms, ascending by id.
    pub rooms: Vec<BacklogRoom>,
    /// Whether any notification is pending, be it past its time.
    pub has_notifications: bool,
}

/// Why an ack was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcknowledgeRefusal {
    /// The room does not open.
    Access(AccessRefusal),
    /// `seq` lies past the newest message.
    PastHead,
}

/// Where a member stands in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPosition {
    /// The newest message the user acknowledged.
    pub last_ack: Seq,
    /// The newest message there is.
    pub last_seq: Seq,
}

/// How far a member has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The member.
    pub user_id: UserId,
    /// The newest message the user acknowledged.
    pub last_ack: Seq,
}

/// A page of receipts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptPage {
    /// Ascending by user id.
    pub receipts: Vec<Receipt>,
    /// Whether more follow.
    pub has_more: bool,
}
