//! Frames about messages, and how far they were read.

use serde::Serialize;

use super::{Frame, Stamp};
use crate::id::{RoomId, Seq, UserId};
use crate::model::Message;

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

/// Tells every member that a message has another text.
pub(crate) fn message_updated(message: &Message) -> Frame {
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
        edited_at: Option<Stamp>,
    }
    Frame::encode(&Body {
        r#type: "message.updated",
        room_id: &message.room_id,
        message_id: message.message_id.as_str(),
        seq: message.seq,
        sender_id: &message.sender_id,
        content: &message.content,
        meta: message.meta.as_deref(),
        edited_at: message.edited_at.map(Stamp),
    })
}

/// Tells every member that a message is deleted.
pub(crate) fn message_deleted(message: &Message) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        room_id: &'a RoomId,
        message_id: &'a str,
        seq: Seq,
        sender_id: &'a UserId,
    }
    Frame::encode(&Body {
        r#type: "message.deleted",
        room_id: &message.room_id,
        message_id: message.message_id.as_str(),
        seq: message.seq,
        sender_id: &message.sender_id,
    })
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
