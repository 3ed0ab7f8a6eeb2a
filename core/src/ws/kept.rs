//! What of the broadcasts to a slow reader waits until its queue has room: of each kind only the latest counts.

use std::collections::BTreeMap;

use super::server::{Frame, ack_received, presence_update};
use crate::api::PresenceStatus;
use crate::id::{RoomId, Seq, UserId};
use crate::time::UnixMillis;

/// A broadcast of which a later one replaces an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Replaceable {
    /// How far a member has read.
    Ack { room_id: RoomId, user_id: UserId, seq: Seq },
    /// Whether a user is online.
    Presence { user_id: UserId, status: PresenceStatus, at: UnixMillis },
}

impl Replaceable {
    pub(crate) fn frame(&self) -> Frame {
        match self {
            Self::Ack { room_id, user_id, seq } => ack_received(room_id, *seq, user_id, None),
            Self::Presence { user_id, status, at } => presence_update(user_id, *status, *at),
        }
    }

    fn subject(&self) -> Subject {
        match self {
            Self::Ack { room_id, user_id, .. } => (Some(room_id.clone()), user_id.clone()),
            Self::Presence { user_id, .. } => (None, user_id.clone()),
        }
    }
}

/// What a later one is about too: a user in a room, or a user.
type Subject = (Option<RoomId>, UserId);

/// The latest of each that could not be sent yet.
#[derive(Debug, Default)]
pub(crate) struct Kept(BTreeMap<Subject, Replaceable>);

impl Kept {
    /// How many are kept for a connection (protocol, section 7).
    const MAX: usize = 1_024;

    /// Whether an earlier one is kept, which must not be overtaken.
    pub(crate) fn holds_earlier(&self, later: &Replaceable) -> bool {
        !self.0.is_empty() && self.0.contains_key(&later.subject())
    }

    /// Says whether it was kept.
    pub(crate) fn keep(&mut self, broadcast: Replaceable) -> bool {
        let subject = broadcast.subject();
        if self.0.len() >= Self::MAX && !self.0.contains_key(&subject) {
            return false;
        }
        self.0.insert(subject, broadcast);
        true
    }

    /// Forgets the ack of a member, because a later one is told at once.
    pub(crate) fn drop_ack(&mut self, room_id: &RoomId, user_id: &UserId) {
        self.0.remove(&(Some(room_id.clone()), user_id.clone()));
    }

    /// Forgets what is about a room.
    pub(crate) fn drop_room(&mut self, room_id: &RoomId) {
        self.0.retain(|(of, _), _| of.as_ref() != Some(room_id));
    }

    pub(crate) fn take_first(&mut self) -> Option<Replaceable> {
        self.0.pop_first().map(|(_, broadcast)| broadcast)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
