//! Frames about rooms, and about those who are in them.

use serde::Serialize;

use super::{Frame, unix_secs};
use crate::api::{PresenceStatus, RoomBody};
use crate::id::{RoomId, UserId};
use crate::model::{Role, Room};
use crate::time::UnixMillis;
use crate::ws::client::TypingAction;

/// Tells every member of a room that is new.
pub(crate) fn room_created(room: &Room) -> Frame {
    room_frame("room.created", room)
}

/// Tells every member that a room has another name or other metadata.
pub(crate) fn room_updated(room: &Room) -> Frame {
    room_frame("room.updated", room)
}

fn room_frame(kind: &'static str, room: &Room) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        room_id: &'a RoomId,
        room: RoomBody<'a>,
    }
    Frame::encode(&Body { r#type: kind, room_id: &room.room_id, room: RoomBody::of(room, None) })
}

/// Tells everyone who was in a room that it is gone.
pub(crate) fn room_deleted(room_id: &RoomId) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        room_id: &'a RoomId,
    }
    Frame::encode(&Body { r#type: "room.deleted", room_id })
}

/// Tells every member, the new one too, who joined.
pub(crate) fn member_joined(room_id: &RoomId, user_id: &UserId, role: Role) -> Frame {
    member_frame("member.joined", room_id, user_id, role)
}

/// Tells every member that one of them has another role.
pub(crate) fn member_updated(room_id: &RoomId, user_id: &UserId, role: Role) -> Frame {
    member_frame("member.updated", room_id, user_id, role)
}

/// Tells every member, and the one who left, what the latter was.
pub(crate) fn member_left(room_id: &RoomId, user_id: &UserId, role: Role) -> Frame {
    member_frame("member.left", room_id, user_id, role)
}

fn member_frame(kind: &'static str, room_id: &RoomId, user_id: &UserId, role: Role) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        room_id: &'a RoomId,
        user_id: &'a UserId,
        role: Role,
    }
    Frame::encode(&Body { r#type: kind, room_id, user_id, role })
}

/// Tells those who share a room with a user whether that user is online, since `at`.
pub(crate) fn presence_update(user_id: &UserId, status: PresenceStatus, at: UnixMillis) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        user_id: &'a UserId,
        status: PresenceStatus,
        timestamp: i64,
    }
    Frame::encode(&Body { r#type: "presence.update", user_id, status, timestamp: unix_secs(at) })
}

/// Tells the other members that a user types, or no longer does.
pub(crate) fn typing(room_id: &RoomId, user_id: &UserId, action: TypingAction) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        room_id: &'a RoomId,
        user_id: &'a UserId,
        action: TypingAction,
    }
    Frame::encode(&Body { r#type: "typing", room_id, user_id, action })
}
