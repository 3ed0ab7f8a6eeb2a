//! Server frames, encoded once when they are made.

mod messages;
mod rooms;
mod session;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;

pub use messages::message_frame;
pub(crate) use messages::{ack_received, message_deleted, message_for_sender, message_updated};
pub(crate) use rooms::{
    member_joined, member_left, member_updated, presence_update, room_created, room_deleted, room_updated, typing,
};
pub use session::notification_frame;
pub(crate) use session::{
    SyncSummary, connected, error, pong, resume_complete, server_shutdown, subscribe_complete, sync_complete,
};

/// The payload of a text frame: one JSON object. Clones share the bytes. Its serialized form is that text in a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Serialize for Frame {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = std::str::from_utf8(&self.0).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(text)
    }
}

impl<'de> Deserialize<'de> for Frame {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Bytes::from(text)))
    }
}

impl Frame {
    /// The JSON text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The length in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.0.len()
    }

    /// When the message it is of was last edited or deleted, as the wire has it; `None` where it never was.
    pub(crate) fn changed_at(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Stamps {
            edited_at: Option<String>,
            deleted_at: Option<String>,
        }
        let Stamps { edited_at, deleted_at } = serde_json::from_slice(&self.0).ok()?;
        edited_at.max(deleted_at)
    }

    /// The same frame with a `request_id`, which it must not have yet.
    pub(crate) fn with_request_id(&self, request_id: &str) -> Self {
        #[derive(Serialize)]
        struct Tail<'a> {
            request_id: &'a str,
        }
        let tail = Self::encode(&Tail { request_id });
        let mut bytes = Vec::with_capacity(self.size_bytes() + tail.size_bytes());
        bytes.extend_from_slice(self.0.strip_suffix(b"}").unwrap_or(&self.0));
        bytes.push(b',');
        bytes.extend_from_slice(tail.0.strip_prefix(b"{").unwrap_or(&tail.0));
        Self(Bytes::from(bytes))
    }

    fn encode(body: &impl Serialize) -> Self {
        let mut bytes = Vec::with_capacity(256);
        // Writing structs with string keys into memory cannot fail; an empty object is what a client can best survive.
        if serde_json::to_writer(&mut bytes, body).is_err() {
            bytes = b"{}".to_vec();
        }
        Self(Bytes::from(bytes))
    }
}

/// A wall-clock stamp as the wire has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp(pub(crate) UnixMillis);

impl Serialize for Stamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A wall-clock stamp for the frames that tell whole Unix seconds.
fn unix_secs(stamp: UnixMillis) -> i64 {
    stamp.0.div_euclid(1_000)
}
