//! Server frames, encoded once when they are made.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::api::ApiError;
use crate::id::{RoomId, Seq, UserId};
use crate::model::Message;
use crate::time::UnixMillis;

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

/// The `message` frame as every member gets it.
#[must_use]
pub fn message_frame(message: &Message) -> Frame {
    message_for_sender(message, None, false)
}

/// The `message` frame for the connection that sent it: with the frame's `request_id`, and marked where it repeats an
/// earlier one.
pub(crate) fn message_for_sender(message: &Message, request_id: Option<&str>, replayed: bool) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        room_id: &'a RoomId,
        message_id: &'a str,
        seq: Seq,
        sender_id: &'a UserId,
        content: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        meta: Option<&'a str>,
        created_at: Stamp,
        #[serde(skip_serializing_if = "Option::is_none")]
        edited_at: Option<Stamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        deleted_at: Option<Stamp>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        replayed: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    }
    Frame::encode(&Body {
        r#type: "message",
        room_id: &message.room_id,
        message_id: message.message_id.as_str(),
        seq: message.seq,
        sender_id: &message.sender_id,
        content: &message.content,
        meta: message.meta.as_deref(),
        created_at: Stamp(message.created_at),
        edited_at: message.edited_at.map(Stamp),
        deleted_at: message.deleted_at.map(Stamp),
        replayed,
        request_id,
    })
}

pub(crate) fn connected(user_id: &UserId, connection_id: &str, server_time: UnixMillis, epoch: &str) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        user_id: &'a UserId,
        connection_id: &'a str,
        server_time: Stamp,
        epoch: &'a str,
    }
    Frame::encode(&Body { r#type: "connected", user_id, connection_id, server_time: Stamp(server_time), epoch })
}

pub(crate) fn ack_received(room_id: &RoomId, seq: Seq, user_id: &UserId, request_id: Option<&str>) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        room_id: &'a RoomId,
        seq: Seq,
        user_id: &'a UserId,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    }
    Frame::encode(&Body { r#type: "ack.received", room_id, seq, user_id, request_id })
}

pub(crate) fn pong(request_id: Option<&str>) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    }
    Frame::encode(&Body { r#type: "pong", request_id })
}

pub(crate) fn error(error: &ApiError, request_id: Option<&str>) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        code: &'static str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    }
    Frame::encode(&Body {
        r#type: "error",
        code: error.code.as_str(),
        message: &error.message,
        field: error.field.as_deref(),
        retry_after_ms: error.retry_after_ms,
        request_id,
    })
}

/// What a connection got of its backlog.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SyncSummary {
    /// Rooms that had missed messages.
    pub(crate) rooms: u64,
    /// Messages that were streamed.
    pub(crate) messages: u64,
    /// Rooms of which only the newest came, with the first of them.
    pub(crate) truncated: BTreeMap<RoomId, Seq>,
}

pub(crate) fn sync_complete(summary: &SyncSummary) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        rooms: u64,
        messages: u64,
        truncated: &'a BTreeMap<RoomId, Seq>,
    }
    let SyncSummary { rooms, messages, truncated } = summary;
    Frame::encode(&Body { r#type: "sync.complete", rooms: *rooms, messages: *messages, truncated })
}

pub(crate) fn server_shutdown(reconnect_after_ms: u64) -> Frame {
    #[derive(Serialize)]
    struct Body {
        r#type: &'static str,
        reconnect_after_ms: u64,
    }
    Frame::encode(&Body { r#type: "server.shutdown", reconnect_after_ms })
}

/// A wall-clock stamp as the wire has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp(pub(crate) UnixMillis);

impl Serialize for Stamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ErrorCode;
    use crate::id::MessageId;

    fn text(frame: &Frame) -> &str {
        std::str::from_utf8(frame.as_bytes()).unwrap()
    }

    fn message() -> Message {
        Message {
            message_id: MessageId::new("msg_1"),
            room_id: RoomId::new("room_1"),
            sender_id: UserId::new("alice"),
            seq: Seq(7),
            content: "Hello \u{0}\"".to_owned(),
            meta: None,
            created_at: UnixMillis(1_765_627_800_123),
            edited_at: None,
            deleted_at: None,
        }
    }

    #[test]
    fn a_message_frame_holds_only_what_is_set() {
        assert_eq!(
            text(&message_frame(&message())),
            r#"{"type":"message","room_id":"room_1","message_id":"msg_1","seq":7,"sender_id":"alice","content":"Hello \u0000\"","created_at":"2025-12-13T12:10:00.123Z"}"#
        );
    }

    #[test]
    fn the_sender_s_frame_carries_its_request_id_and_says_when_it_repeats() {
        let all = Message {
            meta: Some("{}".to_owned()),
            edited_at: Some(UnixMillis(0)),
            deleted_at: Some(UnixMillis(1)),
            ..message()
        };
        let frame = message_for_sender(&all, Some("r1"), true);
        assert!(
            text(&frame).ends_with(
                r#""meta":"{}","created_at":"2025-12-13T12:10:00.123Z","edited_at":"1970-01-01T00:00:00.000Z","deleted_at":"1970-01-01T00:00:00.001Z","replayed":true,"request_id":"r1"}"#
            ),
            "{}",
            text(&frame)
        );
    }

    #[test]
    fn a_request_id_put_in_later_stands_as_if_it_had_been_there() {
        let frame = message_frame(&message()).with_request_id("r\"1");
        assert_eq!(frame, message_for_sender(&message(), Some("r\"1"), false));
    }

    #[test]
    fn every_other_frame_has_the_fields_of_the_protocol() {
        let user = UserId::new("bob");
        let room = RoomId::new("room_1");
        let failed = ApiError { retry_after_ms: Some(20), ..ApiError::invalid("seq", "no") };
        let plain = ApiError::new(ErrorCode::NotFound, "none");
        let summary = SyncSummary { rooms: 2, messages: 9, truncated: BTreeMap::from([(room.clone(), Seq(5))]) };
        for (frame, expected) in [
            (
                connected(&user, "conn_1", UnixMillis(0), "e1"),
                r#"{"type":"connected","user_id":"bob","connection_id":"conn_1","server_time":"1970-01-01T00:00:00.000Z","epoch":"e1"}"#,
            ),
            (
                ack_received(&room, Seq(3), &user, None),
                r#"{"type":"ack.received","room_id":"room_1","seq":3,"user_id":"bob"}"#,
            ),
            (pong(Some("x")), r#"{"type":"pong","request_id":"x"}"#),
            (pong(None), r#"{"type":"pong"}"#),
            (
                error(&failed, Some("x")),
                r#"{"type":"error","code":"VALIDATION_ERROR","message":"no","field":"seq","retry_after_ms":20,"request_id":"x"}"#,
            ),
            (error(&plain, None), r#"{"type":"error","code":"NOT_FOUND","message":"none"}"#),
            (sync_complete(&summary), r#"{"type":"sync.complete","rooms":2,"messages":9,"truncated":{"room_1":5}}"#),
            (server_shutdown(2_500), r#"{"type":"server.shutdown","reconnect_after_ms":2500}"#),
        ] {
            assert_eq!(text(&frame), expected);
        }
    }
}
