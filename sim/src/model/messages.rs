//! Messages as they were stored, and as they were changed since.

use chatapi_core::model::Message;
use chatapi_core::store::NewMessage;
use chatapi_core::{MessageId, RoomId, UserId};

use super::Model;
use crate::invariant::{Checked, ensure};

/// A message as somebody is shown it.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields of the protocol")]
pub struct Shown<'a> {
    pub room_id: &'a RoomId,
    pub seq: u64,
    pub message_id: &'a str,
    pub sender_id: &'a str,
    pub content: &'a str,
    pub meta: Option<&'a str>,
    pub created_at: &'a str,
    pub edited_at: Option<&'a str>,
    pub deleted_at: Option<&'a str>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelMessage {
    /// Its id.
    pub message_id: MessageId,
    /// Who sent it.
    pub sender_id: UserId,
    /// Its stamp, as the wire has it.
    pub created_at: String,
    /// What it ever was; the last is what it is.
    pub versions: Vec<Version>,
}

/// A message's body at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Version {
    /// Its text.
    pub content: String,
    /// What came with it.
    pub meta: Option<String>,
    /// When it became so by an edit, as the wire has it.
    pub edited_at: Option<String>,
    /// When it was deleted.
    pub deleted_at: Option<String>,
}

impl ModelMessage {
    pub(super) fn new(new: &NewMessage) -> Self {
        let first = Version { content: new.content.clone(), meta: new.meta.clone(), ..Version::default() };
        Self {
            message_id: new.message_id.clone(),
            sender_id: new.sender_id.clone(),
            created_at: new.created_at.to_string(),
            versions: vec![first],
        }
    }

    /// Its text as it was first sent.
    #[must_use]
    pub fn original(&self) -> &str {
        self.versions.first().map_or("", |version| version.content.as_str())
    }

    /// Its body as it is.
    #[must_use]
    pub fn present(&self) -> Version {
        self.versions.last().cloned().unwrap_or_default()
    }

    /// Whether it is deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.versions.last().is_some_and(|version| version.deleted_at.is_some())
    }
}

impl Model {
    /// The message with that number in a room.
    #[must_use]
    pub fn message(&self, room_id: &RoomId, seq: u64) -> Option<&ModelMessage> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.rooms.get(room_id)?.messages.get(index)
    }

    /// Whether a message that somebody is shown is durable, and is what it was. Hands back which version it is.
    ///
    /// # Errors
    ///
    /// What it breaks.
    pub fn check_message(&self, message: &Message) -> Checked<usize> {
        self.check_shown(&Shown {
            room_id: &message.room_id,
            seq: message.seq.0,
            message_id: message.message_id.as_str(),
            sender_id: message.sender_id.as_str(),
            content: &message.content,
            meta: message.meta.as_deref(),
            created_at: &message.created_at.to_string(),
            edited_at: message.edited_at.map(|stamp| stamp.to_string()).as_deref(),
            deleted_at: message.deleted_at.map(|stamp| stamp.to_string()).as_deref(),
        })
    }

    /// The same, of the parts of a frame.
    ///
    /// # Errors
    ///
    /// What it breaks.
    pub fn check_shown(&self, shown: &Shown<'_>) -> Checked<usize> {
        let Shown { room_id, seq, message_id, sender_id, content, meta, created_at, edited_at, deleted_at } = *shown;
        let Some(stored) = self.message(room_id, seq) else {
            ensure!(false, DurableFirst, "{room_id} {seq} is shown and is not durable: {content:.60}");
            return Ok(0);
        };
        let version = stored.versions.iter().rposition(|version| {
            version.content == content
                && version.meta.as_deref() == meta
                && version.edited_at.as_deref() == edited_at
                && version.deleted_at.as_deref() == deleted_at
        });
        let is_same = stored.message_id.as_str() == message_id
            && stored.sender_id.as_str() == sender_id
            && stored.created_at == created_at;
        match version {
            Some(version) if is_same => Ok(version),
            Some(_) | None => {
                ensure!(
                    false,
                    StableBodies,
                    "{room_id} {seq} is shown as {message_id} {content:.60} {edited_at:?} {deleted_at:?}, it is {} {:?}",
                    stored.message_id,
                    stored.present()
                );
                Ok(0)
            }
        }
    }

    /// Whether a version of a message is the present one.
    #[must_use]
    pub fn is_present(&self, room_id: &RoomId, seq: u64, version: usize) -> bool {
        self.message(room_id, seq).is_some_and(|message| version + 1 == message.versions.len())
    }
}
