//! Who hears of a room: the connections of those of its members who are online, and how far they were told.
//!
//! A room stands here while a member is online. Each of its connections is either *live*, and is pushed every message
//! as it is stored, or *catching up* from a cursor (see [`super::sync`]). What has not been pushed is never lost: a
//! connection that cannot take a push, or a room whose numbers jump, goes back to catching up.

use std::collections::{BTreeMap, BTreeSet};

use super::server::{Frame, ack_received, message_for_sender, message_frame};
use crate::core::Core;
use crate::effect::{CloseReason, Effect};
use crate::id::{ConnId, RoomId, Seq, TenantKey, UserId};
use crate::model::Message;
use crate::operations::Origin;
use crate::store::Acknowledged;

/// The rooms that somebody is online for.
#[derive(Debug, Default)]
pub(crate) struct Audiences {
    rooms: BTreeMap<RoomId, Audience>,
}

#[derive(Debug)]
struct Audience {
    /// The newest message that was pushed, or stood there when the room's first member came online.
    last_pushed: Seq,
    conns: BTreeSet<ConnId>,
}

impl Audiences {
    /// Adds a connection to a room whose newest message is `head`. Hands back the newest message that was pushed.
    pub(crate) fn join(&mut self, room_id: &RoomId, conn: ConnId, head: Seq) -> Seq {
        if !self.rooms.contains_key(room_id) {
            self.rooms.insert(room_id.clone(), Audience { last_pushed: head, conns: BTreeSet::new() });
        }
        self.rooms.get_mut(room_id).map_or(head, |audience| {
            audience.conns.insert(conn);
            audience.last_pushed
        })
    }

    pub(crate) fn leave(&mut self, room_id: &RoomId, conn: ConnId) {
        if let Some(audience) = self.rooms.get_mut(room_id) {
            audience.conns.remove(&conn);
            if audience.conns.is_empty() {
                self.rooms.remove(room_id);
            }
        }
    }

    /// The newest message that was pushed to a room; `None` where nobody is online for it.
    pub(crate) fn last_pushed(&self, room_id: &RoomId) -> Option<Seq> {
        self.rooms.get(room_id).map(|audience| audience.last_pushed)
    }

    /// How many places in audiences are taken.
    pub(crate) fn places(&self) -> usize {
        self.rooms.values().map(|audience| audience.conns.len()).sum()
    }

    fn contains(&self, room_id: &RoomId, conn: ConnId) -> bool {
        self.rooms.get(room_id).is_some_and(|audience| audience.conns.contains(&conn))
    }

    fn conns(&self, room_id: &RoomId) -> Vec<ConnId> {
        self.rooms.get(room_id).map(|audience| audience.conns.iter().copied().collect()).unwrap_or_default()
    }

    /// Notes that `head` is the newest message; hands back what was until then, if that is less.
    fn advance(&mut self, room_id: &RoomId, head: Seq) -> Option<Seq> {
        let audience = self.rooms.get_mut(room_id)?;
        (head > audience.last_pushed).then(|| std::mem::replace(&mut audience.last_pushed, head))
    }
}

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
            if session.is_catching_up(room_id) {
                if !session.keep_request_id(room_id, message.seq, request_id) {
                    self.close(conn, CloseReason::SlowReader);
                }
                continue;
            }
            let own_frame = request_id.map(|request_id| message_for_sender(message, Some(request_id), false));
            let size_bytes = own_frame.as_ref().unwrap_or(&frame).size_bytes();
            if !session.queue.takes(size_bytes, self.now.mono) {
                session.catch_up_from(room_id, last_pushed);
                if !session.keep_request_id(room_id, message.seq, request_id) {
                    self.close(conn, CloseReason::SlowReader);
                }
                continue;
            }
            match own_frame {
                Some(own_frame) => self.send_to_one(conn, own_frame),
                None => receivers.push(conn),
            }
        }
        self.send_to_all(receivers, frame);
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

    /// Tells of an ack: every member's connections where it moved, else the asking connection alone.
    pub(crate) fn publish_ack(
        &mut self,
        origin: &Origin,
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
        let frame = ack_received(room_id, acknowledged.last_ack, user_id, None);
        let mut receivers = Vec::new();
        for conn in self.audiences.conns(room_id) {
            if asking.as_ref().is_some_and(|asking| asking.conn == conn) {
                continue;
            }
            let Some(session) = self.sessions.get_mut(conn) else {
                continue;
            };
            let waits = session.has_kept_ack(room_id, user_id);
            if !waits && session.queue.takes(frame.size_bytes(), self.now.mono) {
                receivers.push(conn);
            } else if !session.keep_ack(room_id, user_id, acknowledged.last_ack) {
                self.counters.dropped_broadcasts += 1;
            }
        }
        self.send_to_all(receivers, frame);
    }

    /// Adds those of `members` who are online, and not in it yet, to the audience of a room. They are told what lies
    /// past `told`.
    pub(crate) fn join_online(&mut self, tenant: TenantKey, room_id: &RoomId, members: &[UserId], told: Seq) {
        for user in members {
            for conn in self.sessions.join_room(tenant, user, room_id) {
                let last_pushed = self.audiences.join(room_id, conn, told);
                if let Some(session) = self.sessions.get_mut(conn).filter(|_| last_pushed > told) {
                    session.catch_up_from(room_id, told);
                    self.read_on(conn);
                }
            }
        }
    }

    /// Queues a frame that must not be dropped: where it does not fit, the connection ends, and the next catches up.
    pub(crate) fn send_own(&mut self, conn: ConnId, frame: Frame) {
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        if session.queue.takes(frame.size_bytes(), self.now.mono) {
            self.send_to_one(conn, frame);
        } else {
            self.close(conn, CloseReason::SlowReader);
        }
    }

    /// Answers the sender's frame where its connection does not hear of the room, or was sent the message already.
    fn answer_outside(&mut self, message: &Message, sender: Option<FrameOrigin<'_>>) {
        let Some(FrameOrigin { conn, request_id }) = sender else {
            return;
        };
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        if !session.keep_request_id(&message.room_id, message.seq, request_id) {
            return self.close(conn, CloseReason::SlowReader);
        }
        if !session.is_catching_up(&message.room_id) {
            let was_sent = self.audiences.contains(&message.room_id, conn);
            self.send_own(conn, message_for_sender(message, request_id, was_sent));
        }
    }

    fn send_to_all(&mut self, conns: Vec<ConnId>, frame: Frame) {
        if !conns.is_empty() {
            self.emit(Effect::Send { conns, frame });
        }
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
