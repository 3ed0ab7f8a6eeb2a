use std::collections::BTreeMap;

use super::*;
use crate::api::{ApiError, ErrorCode, PresenceStatus};
use crate::id::{MessageId, NotificationId, RoomId, Seq, UserId};
use crate::model::{Message, Role, Room, RoomType};
use crate::ws::client::TypingAction;

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
        (
            resume_complete(&summary, Some("x")),
            r#"{"type":"sync.complete","rooms":2,"messages":9,"truncated":{"room_1":5},"request_id":"x"}"#,
        ),
        (
            subscribe_complete(&SyncSummary::default(), &room, Seq(9), None),
            r#"{"type":"sync.complete","rooms":0,"messages":0,"truncated":{},"room_id":"room_1","last_seq":9}"#,
        ),
        (server_shutdown(2_500), r#"{"type":"server.shutdown","reconnect_after_ms":2500}"#),
    ] {
        assert_eq!(text(&frame), expected);
    }
}

#[test]
fn a_change_of_a_message_names_it_and_an_update_has_its_text() {
    let edited = Message { meta: Some("{}".to_owned()), edited_at: Some(UnixMillis(1)), ..message() };
    let cleared = Message { meta: None, ..edited.clone() };
    let start = r#""room_id":"room_1","message_id":"msg_1","seq":7,"sender_id":"alice""#;
    let content = r#""content":"Hello \u0000\"""#;
    let edited_at = r#""edited_at":"1970-01-01T00:00:00.001Z""#;
    for (frame, expected) in [
        (
            message_updated(&edited),
            format!(r#"{{"type":"message.updated",{start},{content},"meta":"{{}}",{edited_at}}}"#),
        ),
        (message_updated(&cleared), format!(r#"{{"type":"message.updated",{start},{content},{edited_at}}}"#)),
        (message_deleted(&edited), format!(r#"{{"type":"message.deleted",{start}}}"#)),
    ] {
        assert_eq!(text(&frame), expected);
    }
}

#[test]
fn frames_about_rooms_show_the_room_as_rest_has_it() {
    let room = Room {
        room_id: RoomId::new("room_1"),
        kind: RoomType::Group,
        unique_key: None,
        name: Some("n".to_owned()),
        metadata: None,
        last_seq: Seq(4),
        created_at: UnixMillis(0),
    };
    let shown = r#"{"room_id":"room_1","type":"group","unique_key":null,"name":"n","metadata":null,"last_seq":4,"created_at":"1970-01-01T00:00:00.000Z"}"#;
    for (frame, expected) in [
        (room_created(&room), format!(r#"{{"type":"room.created","room_id":"room_1","room":{shown}}}"#)),
        (room_updated(&room), format!(r#"{{"type":"room.updated","room_id":"room_1","room":{shown}}}"#)),
        (room_deleted(&room.room_id), r#"{"type":"room.deleted","room_id":"room_1"}"#.to_owned()),
    ] {
        assert_eq!(text(&frame), expected);
    }
}

#[test]
fn frames_about_users_name_the_user_and_presence_counts_whole_seconds() {
    let room = RoomId::new("room_1");
    let bob = UserId::new("bob");
    for (frame, expected) in [
        (
            member_joined(&room, &bob, Role::Member),
            r#"{"type":"member.joined","room_id":"room_1","user_id":"bob","role":"member"}"#,
        ),
        (
            member_updated(&room, &bob, Role::Admin),
            r#"{"type":"member.updated","room_id":"room_1","user_id":"bob","role":"admin"}"#,
        ),
        (
            member_left(&room, &bob, Role::Member),
            r#"{"type":"member.left","room_id":"room_1","user_id":"bob","role":"member"}"#,
        ),
        (
            presence_update(&bob, PresenceStatus::Online, UnixMillis(1_999)),
            r#"{"type":"presence.update","user_id":"bob","status":"online","timestamp":1}"#,
        ),
        (
            presence_update(&bob, PresenceStatus::Offline, UnixMillis(2_000)),
            r#"{"type":"presence.update","user_id":"bob","status":"offline","timestamp":2}"#,
        ),
        (
            typing(&room, &bob, TypingAction::Start),
            r#"{"type":"typing","room_id":"room_1","user_id":"bob","action":"start"}"#,
        ),
        (
            typing(&room, &bob, TypingAction::Stop),
            r#"{"type":"typing","room_id":"room_1","user_id":"bob","action":"stop"}"#,
        ),
    ] {
        assert_eq!(text(&frame), expected);
    }
}

#[test]
fn the_payload_of_a_notification_is_its_text_in_a_string() {
    let id = NotificationId::new("notif_1");
    let frame = notification_frame(&id, "order.\"shipped\"", "{ \"n\": 1.50 }", UnixMillis(1_765_627_800_999));
    assert_eq!(
        text(&frame),
        r#"{"type":"notification","notification_id":"notif_1","topic":"order.\"shipped\"","payload":"{ \"n\": 1.50 }","timestamp":1765627800}"#
    );
}
