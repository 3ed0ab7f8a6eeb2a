//! Steps on messages.

use serde::{Deserialize, Serialize};

use super::rooms::AccessRefusal;
use crate::id::{MessageId, RoomId, Seq, TenantKey, UserId};
use crate::model::{Edit, Message};
use crate::secret::Digest;
use crate::time::UnixMillis;

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

impl PageBounds {
    /// What a page of several rooms leaves for the next of them; `None` where it is full.
    #[must_use]
    pub fn left_after(self, taken: &MessagePage) -> Option<Self> {
        let size_bytes: usize = taken.messages.iter().map(Message::size_on_wire_bytes).sum();
        let messages = self.messages.saturating_sub(u32::try_from(taken.messages.len()).unwrap_or(u32::MAX));
        let size_bytes = self.size_bytes.saturating_sub(u32::try_from(size_bytes).unwrap_or(u32::MAX));
        (!taken.has_more && messages > 0 && size_bytes > 0).then_some(Self { messages, size_bytes })
    }
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

/// Why a message was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendRefusal {
    /// The room does not open.
    Access(AccessRefusal),
    /// The idempotency key was used with another body.
    KeyReused,
}

/// Why a message is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadMessageRefusal {
    /// The room does not open.
    Access(AccessRefusal),
    /// The room has no such message.
    NoMessage,
}

/// A change of a message by its sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageEdit {
    /// The tenant.
    pub tenant: TenantKey,
    /// The room.
    pub room_id: RoomId,
    /// The message.
    pub message_id: MessageId,
    /// Who asks: its sender, still a member.
    pub user_id: UserId,
    /// Its new text.
    pub content: String,
    /// JSON text.
    pub meta: Edit<String>,
    /// Becomes `edited_at`.
    pub now: UnixMillis,
}

/// Why a message was not edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EditMessageRefusal {
    /// The room does not open.
    Access(AccessRefusal),
    /// The room has no such message.
    NoMessage,
    /// Another user sent it.
    NotSender,
    /// It is deleted.
    Deleted,
}

/// A message that is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedMessage {
    /// As it now is.
    pub message: Message,
    /// By this request, or by an earlier one.
    pub outcome: DeleteOutcome,
}

/// Whether a message was deleted by this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeleteOutcome {
    /// By this one.
    Deleted,
    /// By an earlier one.
    Before,
}

/// Why a message was not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeleteMessageRefusal {
    /// The room does not open.
    Access(AccessRefusal),
    /// The room has no such message.
    NoMessage,
    /// Another user sent it.
    NotSender,
}
