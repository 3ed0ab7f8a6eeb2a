//! Frames about a connection itself: what it is, how far it has caught up, what could not be served, what was sent to
//! its user.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Frame, Stamp, unix_secs};
use crate::api::ApiError;
use crate::id::{NotificationId, RoomId, Seq, UserId};
use crate::time::UnixMillis;

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

/// What a connection got of messages that were stored before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SyncSummary {
    /// Rooms that had such messages.
    pub(crate) rooms: u64,
    /// Messages that were streamed.
    pub(crate) messages: u64,
    /// Rooms of which only the newest came, with the first of them.
    pub(crate) truncated: BTreeMap<RoomId, Seq>,
}

/// Ends the backlog that comes by itself on a connect.
pub(crate) fn sync_complete(summary: &SyncSummary) -> Frame {
    sync_complete_of(summary, None, None)
}

/// Answers a `resume`.
pub(crate) fn resume_complete(summary: &SyncSummary, request_id: Option<&str>) -> Frame {
    sync_complete_of(summary, None, request_id)
}

/// Answers a `subscribe` to a room whose newest message then was `last_seq`.
pub(crate) fn subscribe_complete(
    summary: &SyncSummary,
    room_id: &RoomId,
    last_seq: Seq,
    request_id: Option<&str>,
) -> Frame {
    sync_complete_of(summary, Some((room_id, last_seq)), request_id)
}

fn sync_complete_of(summary: &SyncSummary, room: Option<(&RoomId, Seq)>, request_id: Option<&str>) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        rooms: u64,
        messages: u64,
        truncated: &'a BTreeMap<RoomId, Seq>,
        #[serde(skip_serializing_if = "Option::is_none")]
        room_id: Option<&'a RoomId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_seq: Option<Seq>,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    }
    let SyncSummary { rooms, messages, truncated } = summary;
    let (room_id, last_seq) = room.unzip();
    Frame::encode(&Body {
        r#type: "sync.complete",
        rooms: *rooms,
        messages: *messages,
        truncated,
        room_id,
        last_seq,
        request_id,
    })
}

/// The `notification` frame as every target gets it. `payload` is its JSON text, which stands in a string of the frame.
#[must_use]
pub fn notification_frame(
    notification_id: &NotificationId,
    topic: &str,
    payload: &str,
    created_at: UnixMillis,
) -> Frame {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'static str,
        notification_id: &'a NotificationId,
        topic: &'a str,
        payload: &'a str,
        timestamp: i64,
    }
    Frame::encode(&Body { r#type: "notification", notification_id, topic, payload, timestamp: unix_secs(created_at) })
}

pub(crate) fn server_shutdown(reconnect_after_ms: u64) -> Frame {
    #[derive(Serialize)]
    struct Body {
        r#type: &'static str,
        reconnect_after_ms: u64,
    }
    Frame::encode(&Body { r#type: "server.shutdown", reconnect_after_ms })
}
