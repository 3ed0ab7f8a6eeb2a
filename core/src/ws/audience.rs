//! Who hears of a room: the connections of those of its members who are online, and how far they were told.
//!
//! A room stands here while a member is online. Each of its connections is either *live*, and is pushed every message
//! as it is stored, or *catching up* from a cursor (see [`super::catch_up`]). What has not been pushed is never lost: a
//! connection that cannot take a push, or a room whose numbers jump, goes back to catching up.

use std::collections::{BTreeMap, BTreeSet};

use super::kept::Replaceable;
use super::server::Frame;
use crate::core::Core;
use crate::effect::{CloseReason, Effect};
use crate::id::{ConnId, RoomId, Seq};

/// The rooms that somebody is online for.
#[derive(Debug, Default)]
pub(crate) struct Audiences {
    rooms: BTreeMap<RoomId, Audience>,
}

#[derive(Debug)]
struct Audience {
    /// The newest message that was pushed, or stood there when the room's first member came online.
    last_pushed: Seq,
    /// How many are in the room, online or not.
    members: u32,
    conns: BTreeSet<ConnId>,
}

impl Audiences {
    /// Adds a connection to a room of so many members whose newest message is `head`. Hands back the newest message that
    /// was pushed.
    pub(crate) fn join(&mut self, room_id: &RoomId, conn: ConnId, head: Seq, members: u32) -> Seq {
        if !self.rooms.contains_key(room_id) {
            self.rooms.insert(room_id.clone(), Audience { last_pushed: head, members, conns: BTreeSet::new() });
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

    /// Forgets a room; hands back who heard of it.
    pub(crate) fn remove(&mut self, room_id: &RoomId) -> BTreeSet<ConnId> {
        self.rooms.remove(room_id).map(|audience| audience.conns).unwrap_or_default()
    }

    /// The newest message that was pushed to a room; `None` where nobody is online for it.
    pub(crate) fn last_pushed(&self, room_id: &RoomId) -> Option<Seq> {
        self.rooms.get(room_id).map(|audience| audience.last_pushed)
    }

    /// Notes how many are in a room.
    pub(crate) fn set_members(&mut self, room_id: &RoomId, members: u32) {
        if let Some(audience) = self.rooms.get_mut(room_id) {
            audience.members = members;
        }
    }

    /// Whether a room has more than `bound` members.
    pub(crate) fn is_larger_than(&self, room_id: &RoomId, bound: u32) -> bool {
        self.rooms.get(room_id).is_some_and(|audience| audience.members > bound)
    }

    /// How many places in audiences are taken.
    pub(crate) fn places(&self) -> usize {
        self.rooms.values().map(|audience| audience.conns.len()).sum()
    }

    pub(crate) fn contains(&self, room_id: &RoomId, conn: ConnId) -> bool {
        self.rooms.get(room_id).is_some_and(|audience| audience.conns.contains(&conn))
    }

    /// Who hears of a room, ascending.
    pub(crate) fn conns(&self, room_id: &RoomId) -> Vec<ConnId> {
        self.iter(room_id).collect()
    }

    /// Who hears of a room, ascending.
    pub(crate) fn iter(&self, room_id: &RoomId) -> impl Iterator<Item = ConnId> {
        self.rooms.get(room_id).into_iter().flat_map(|audience| audience.conns.iter().copied())
    }

    /// Notes that `head` is the newest message; hands back what was until then, if that is less.
    pub(crate) fn advance(&mut self, room_id: &RoomId, head: Seq) -> Option<Seq> {
        let audience = self.rooms.get_mut(room_id)?;
        (head > audience.last_pushed).then(|| std::mem::replace(&mut audience.last_pushed, head))
    }
}

/// The ways to tell connections something, by what becomes of it where a queue is full.
impl Core {
    /// Queues a frame that must not be dropped: where it does not fit, the connection ends, and the next catches up.
    pub(crate) fn send_own(&mut self, conn: ConnId, frame: Frame) {
        self.send_all(vec![conn], frame);
    }

    /// Queues a frame that must not be dropped on each connection: where it does not fit, the connection ends.
    pub(crate) fn send_all(&mut self, conns: Vec<ConnId>, frame: Frame) {
        let (mut receivers, mut too_slow) = (Vec::with_capacity(conns.len()), Vec::new());
        for conn in conns {
            let Some(session) = self.sessions.get_mut(conn) else {
                continue;
            };
            let fits = session.queue.takes(frame.size_bytes(), self.now.mono);
            if fits { receivers.push(conn) } else { too_slow.push(conn) }
        }
        self.emit_send(receivers, frame);
        for conn in too_slow {
            self.close(conn, CloseReason::SlowReader);
        }
    }

    /// Queues a frame that is dropped, and counted, where it does not fit.
    pub(crate) fn send_if_room(&mut self, conns: Vec<ConnId>, frame: Frame) {
        let mut receivers = Vec::with_capacity(conns.len());
        for conn in conns {
            let Some(session) = self.sessions.get_mut(conn) else {
                continue;
            };
            if session.queue.takes(frame.size_bytes(), self.now.mono) {
                receivers.push(conn);
            } else {
                self.counters.dropped_broadcasts += 1;
            }
        }
        self.emit_send(receivers, frame);
    }

    /// Queues a frame of which only the latest counts: where it does not fit it is kept until there is room.
    pub(crate) fn send_latest(&mut self, conns: Vec<ConnId>, broadcast: &Replaceable) {
        let frame = broadcast.frame();
        let mut receivers = Vec::with_capacity(conns.len());
        for conn in conns {
            let Some(session) = self.sessions.get_mut(conn) else {
                continue;
            };
            if !session.keeps_earlier(broadcast) && session.queue.takes(frame.size_bytes(), self.now.mono) {
                receivers.push(conn);
            } else if !session.keep(broadcast.clone()) {
                self.counters.dropped_broadcasts += 1;
            }
        }
        self.emit_send(receivers, frame);
    }

    pub(crate) fn emit_send(&mut self, conns: Vec<ConnId>, frame: Frame) {
        if !conns.is_empty() {
            self.emit(Effect::Send { conns, frame });
        }
    }
}
