//! Messages, their changes and acks, told to whoever is online for their room.

use super::catch_up::ChangeRoute;
use super::kept::Replaceable;
use super::server::{Frame, ack_received, message_deleted, message_for_sender, message_frame, message_updated};
use crate::core::Core;
use crate::effect::CloseReason;
use crate::id::{ConnId, RoomId, Seq, TenantKey, UserId};
use crate::model::Message;
use crate::operations::Origin;
use crate::store::Acknowledged;

impl Core {
    /// Pushes a message that was just stored to everyone who is online for its room.
    pub(crate) fn publish_message(&mut self, message: &Message, origin: &Origin) {
        let room_id = &message.room_id;
        let sender = FrameOrigin::of(origin);
        let Some(last_pushed) = self.audiences.last_pushed(room_id) else {
            return self.answer_outside(message, sender);
        };
        if message.seq != last_pushed.next() {
            // Stored but never reported messages lie between, or this one came after a reading that showed it.
            self.room_advanced(room_id, message.seq);
            return self.answer_outside(message, sender);
        }
        self.audiences.advance(room_id, message.seq);
        let frame = message_frame(message);
        let mut receivers = Vec::new();
        for conn in self.audiences.conns(room_id) {
            let own = sender.as_ref().filter(|sender| sender.conn == conn);
            let request_id = own.and_then(|sender| sender.request_id);
            let Some(session) = self.sessions.get_mut(conn) else {
                continue;
            };
            let own_frame = request_id.map(|request_id| message_for_sender(message, Some(request_id), false));
            let size_bytes = own_frame.as_ref().unwrap_or(&frame).size_bytes();
            if session.is_catching_up(room_id) || !session.queue.takes(size_bytes, self.now.mono) {
                session.catch_up_from(room_id, last_pushed);
                self.keep_request_id(conn, room_id, message.seq, request_id);
                continue;
            }
            match own_frame {
                Some(own_frame) => self.send_to_one(conn, own_frame),
                None => receivers.push(conn),
            }
        }
        self.emit_send(receivers, frame);
        if let Some(sender) = sender.filter(|sender| !self.audiences.contains(room_id, sender.conn)) {
            self.answer_outside(message, Some(sender));
        }
    }

    /// Notes that a room's newest message is `head`. If more was stored than was pushed, everyone online for it catches
    /// up. Says whether that is so.
    pub(crate) fn room_advanced(&mut self, room_id: &RoomId, head: Seq) -> bool {
        let Some(last_pushed) = self.audiences.advance(room_id, head) else {
            return false;
        };
        for conn in self.audiences.conns(room_id) {
            if let Some(session) = self.sessions.get_mut(conn) {
                session.catch_up_from(room_id, last_pushed);
            }
            self.read_on(conn);
        }
        true
    }

    /// Answers a repeat by idempotency key to the connection that sent it, alone.
    pub(crate) fn send_replay(&mut self, message: &Message, origin: &Origin) {
        if let Some(sender) = FrameOrigin::of(origin) {
            self.send_own(sender.conn, message_for_sender(message, sender.request_id, true));
        }
    }

    /// Tells everyone who was sent a message that it was edited or deleted; the others will be sent it as it now is.
    pub(crate) fn publish_change(&mut self, message: &Message) {
        let Some(last_pushed) = self.audiences.last_pushed(&message.room_id) else {
            return;
        };
        let frame = change_frame(message);
        let mut receivers = Vec::new();
        for conn in self.audiences.conns(&message.room_id) {
            let Some(session) = self.sessions.get_mut(conn) else {
                continue;
            };
            match session.route_change(&message.room_id, message.seq, &frame, last_pushed) {
                ChangeRoute::Tell => receivers.push(conn),
                ChangeRoute::Skip | ChangeRoute::Held => {}
                ChangeRoute::Overflow => self.close(conn, CloseReason::SlowReader),
            }
        }
        self.send_all(receivers, frame);
    }

    /// Tells of an ack: every member's connections where it moved, in a large room the acking user's, else the asking
    /// connection alone.
    pub(crate) fn publish_ack(
        &mut self,
        origin: &Origin,
        tenant: TenantKey,
        room_id: &RoomId,
        user_id: &UserId,
        acknowledged: Acknowledged,
    ) {
        let asking = FrameOrigin::of(origin);
        if let Some(asking) = &asking {
            if let Some(session) = self.sessions.get_mut(asking.conn) {
                session.drop_kept_ack(room_id, user_id);
            }
            let frame = ack_received(room_id, acknowledged.last_ack, user_id, asking.request_id);
            self.send_own(asking.conn, frame);
        }
        if !acknowledged.moved {
            return;
        }
        let mut receivers = if self.is_large(room_id) {
            self.sessions.joined_conns_of(tenant, user_id)
        } else {
            self.audiences.conns(room_id)
        };
        receivers.retain(|conn| asking.as_ref().is_none_or(|asking| asking.conn != *conn));
        let (room_id, user_id) = (room_id.clone(), user_id.clone());
        self.send_latest(receivers, &Replaceable::Ack { room_id, user_id, seq: acknowledged.last_ack });
    }

    /// Whether a room that somebody is online for is a large one (protocol, section 7).
    pub(crate) fn is_large(&self, room_id: &RoomId) -> bool {
        self.audiences.is_larger_than(room_id, self.config.large_room_members)
    }

    /// Answers the sender's frame where its connection does not hear of the room, or was sent the message already.
    fn answer_outside(&mut self, message: &Message, sender: Option<FrameOrigin<'_>>) {
        let Some(FrameOrigin { conn, request_id }) = sender else {
            return;
        };
        self.keep_request_id(conn, &message.room_id, message.seq, request_id);
        if self.sessions.get(conn).is_some_and(|session| !session.is_catching_up(&message.room_id)) {
            let was_sent = self.audiences.contains(&message.room_id, conn);
            self.send_own(conn, message_for_sender(message, request_id, was_sent));
        }
    }

    /// Keeps the `request_id` of a connection's own message until that is sent; a connection that waits for too many ends.
    fn keep_request_id(&mut self, conn: ConnId, room_id: &RoomId, seq: Seq, request_id: Option<&str>) {
        if let Some(session) = self.sessions.get_mut(conn)
            && !session.keep_request_id(room_id, seq, request_id)
        {
            self.close(conn, CloseReason::SlowReader);
        }
    }
}

/// What tells of a message's change.
pub(crate) fn change_frame(message: &Message) -> Frame {
    match message.deleted_at {
        Some(_) => message_deleted(message),
        None => message_updated(message),
    }
}

/// The connection whose frame is answered.
#[derive(Debug, Clone, Copy)]
struct FrameOrigin<'a> {
    conn: ConnId,
    request_id: Option<&'a str>,
}

impl<'a> FrameOrigin<'a> {
    fn of(origin: &'a Origin) -> Option<Self> {
        match origin {
            Origin::Frame { conn, request_id } => Some(Self { conn: *conn, request_id: request_id.as_deref() }),
            Origin::Request { .. } | Origin::Key(_) | Origin::Session(_) | Origin::Nobody => None,
        }
    }
}
