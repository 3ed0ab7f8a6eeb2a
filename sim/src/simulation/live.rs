//! What must have reached everyone by the time that nothing is under way: what is live comes at once, and not only when
//! somebody catches up later.

use std::collections::BTreeMap;

use chatapi_core::{RoomId, UserId};

use super::frames::must_hear;
use super::link::Link;
use super::{Phase, Simulation};
use crate::invariant::{Checked, ensure};

/// For so long after a failure of the store, in microseconds, something may still be read again.
const RECOVERY: u64 = 5_000_000;

impl Simulation {
    pub(super) const fn note_failure(&mut self) {
        self.failures += 1;
        self.last_failure = self.clock.mono;
    }

    /// How far everyone has acknowledged in the rooms of a user.
    pub(super) fn acks_around(&self, user: &UserId) -> BTreeMap<(RoomId, UserId), u64> {
        let rooms = self.model.rooms_of(user);
        rooms
            .flat_map(|(room_id, room)| {
                room.members.iter().map(|(user, member)| ((room_id.clone(), user.clone()), member.last_ack))
            })
            .collect()
    }

    /// With nothing under way, whoever reads has every message of its rooms, and has heard of every ack.
    pub(super) fn check_live(&self) -> Checked {
        let serves = self.process.as_ref().is_some_and(|process| process.phase == Phase::Running && process.has_booted);
        let recovers = self.failures > 0 && self.clock.mono < self.last_failure + RECOVERY;
        if !serves || recovers {
            return Ok(());
        }
        for link in self.links.values().filter(|link| must_hear(link)) {
            ensure!(
                link.sent.syncs.is_empty(),
                EveryoneCatchesUp,
                "{:?} of {} reads, and waits for {:?} with nothing under way",
                link.conn,
                link.user,
                link.sent.syncs
            );
            if link.sent.failures_at_start == self.failures {
                self.check_notifications_told(link)?;
            }
        }
        for link in self.links.values().filter(|link| must_hear(link) && link.sent.synced) {
            for (room_id, position) in &link.sent.positions {
                let head = self.head(room_id);
                ensure!(
                    *position == head,
                    EveryoneCatchesUp,
                    "{:?} of {} reads, and has {position} of {head} messages of {room_id}, with nothing under way",
                    link.conn,
                    link.user
                );
            }
            if link.sent.failures_by_then != self.failures {
                continue;
            }
            self.check_changes_heard(link)?;
            if link.was_stalled {
                continue;
            }
            for (place, last_ack) in self.acks_around(&link.user) {
                if place.1 != link.user && self.is_surely_large(&place.0) {
                    continue;
                }
                let before = link.sent.acks_by_then.get(&place).copied().unwrap_or(0);
                let heard = link.sent.acks.get(&place).copied().unwrap_or(before);
                ensure!(
                    heard.max(before) >= last_ack,
                    AcksAndUnread,
                    "{:?} of {} has heard of {heard} of {place:?}, acknowledged is {last_ack}",
                    link.conn,
                    link.user
                );
            }
        }
        Ok(())
    }

    /// Whoever was shown a message has heard what became of it.
    fn check_changes_heard(&self, link: &Link) -> Checked {
        for (room_id, room) in self.model.rooms_of(&link.user) {
            for seq in room.changed.iter().filter(|seq| link.was_shown(room_id, **seq)) {
                let version = link.sent.versions.get(&(room_id.clone(), *seq)).copied().unwrap_or(0);
                ensure!(
                    self.model.is_present(room_id, *seq, version),
                    EveryoneCatchesUp,
                    "{:?} of {} was shown {room_id} {seq}, and has not heard what became of it",
                    link.conn,
                    link.user
                );
            }
        }
        Ok(())
    }
}
