//! Who types: told to the other members, and stopped ten seconds after the last start or with the connection.

use std::collections::BTreeMap;

use chatapi_core::ws::TypingAction;
use chatapi_core::{ConnId, Micros, MonoMicros, RoomId, UserId};

use super::Simulation;
use super::hearing::{Reach, Typed};
use crate::invariant::{Checked, ensure};
use crate::probe::Probe;

/// A typing is stopped so long after its last start (protocol, section 7).
const TYPING_MAX: Micros = Micros::from_secs(10);

/// Who types where, on which connection, and until when.
pub(crate) type Typings = BTreeMap<(ConnId, RoomId), Typing>;

/// A typing under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Typing {
    until: MonoMicros,
    /// Whether the core must know of it.
    reach: Reach,
}

impl Simulation {
    /// A typing frame is served.
    pub(super) fn type_in(
        &mut self,
        conn: ConnId,
        room_id: &RoomId,
        action: TypingAction,
        now: MonoMicros,
        expected: &mut Vec<(Typed, Reach)>,
    ) {
        let Some(user) = self.links.get(&conn).map(|link| link.user.clone()) else {
            return;
        };
        let is_member = self.model.room(room_id).is_some_and(|room| room.members.contains_key(&user));
        let reach = match self.hearing.has_joined(&user) && self.hearing.knows_room(&user, room_id) {
            true => Reach::Surely,
            false if is_member && self.hearing.has_joined(&user) => Reach::Perhaps,
            false => return,
        };
        let place = (conn, room_id.clone());
        match action {
            TypingAction::Start if self.is_surely_large(room_id) => {}
            TypingAction::Start => {
                self.hearing.typings.insert(place, Typing { until: now + TYPING_MAX, reach });
                self.tell_typing(&user, room_id, true, reach, expected);
            }
            TypingAction::Stop => {
                self.hearing.typings.remove(&place);
                self.tell_typing(&user, room_id, false, reach, expected);
            }
        }
    }

    pub(super) fn stop_long_typings(&mut self, now: MonoMicros, expected: &mut Vec<(Typed, Reach)>) {
        let over = self.hearing.typings.iter().filter(|(_, typing)| typing.until <= now);
        let over: Vec<(ConnId, RoomId)> = over.map(|(place, _)| place.clone()).collect();
        for (conn, room_id) in over {
            if let Some(user) = self.links.get(&conn).map(|link| link.user.clone()) {
                self.probes.hit(Probe::TypingStopped);
                self.stop_typing(conn, &user, &room_id, expected);
            }
        }
    }

    pub(super) fn stop_typings_of(&mut self, conn: ConnId, user: &UserId, expected: &mut Vec<(Typed, Reach)>) {
        let own = self.hearing.typings.keys().filter(|(of, _)| *of == conn);
        let own: Vec<RoomId> = own.map(|(_, room_id)| room_id.clone()).collect();
        for room_id in own {
            self.stop_typing(conn, user, &room_id, expected);
        }
    }

    /// A typing ends by itself: others hear of it unless the user types there on another connection.
    fn stop_typing(&mut self, conn: ConnId, user: &UserId, room_id: &RoomId, expected: &mut Vec<(Typed, Reach)>) {
        let Some(typing) = self.hearing.typings.remove(&(conn, room_id.clone())) else {
            return;
        };
        let conns = self.hearing.users.get(user).map(|known| &known.conns);
        let others = self
            .hearing
            .typings
            .iter()
            .filter(|((other, room), _)| room == room_id && conns.is_some_and(|conns| conns.contains_key(other)));
        match others.map(|(_, other)| other.reach).max() {
            Some(Reach::Surely) => {}
            Some(Reach::Perhaps | Reach::Never) => self.tell_typing(user, room_id, false, Reach::Perhaps, expected),
            None => self.tell_typing(user, room_id, false, typing.reach, expected),
        }
    }

    fn tell_typing(
        &self,
        user: &UserId,
        room_id: &RoomId,
        starts: bool,
        most: Reach,
        expected: &mut Vec<(Typed, Reach)>,
    ) {
        for (conn, reach) in self.hearers_in(user, room_id) {
            let typed = Typed { conn, room_id: room_id.clone(), user: user.clone(), starts };
            expected.push((typed, reach.min(most)));
        }
    }

    /// Whoever was told had to be, and whoever reads was told.
    pub(super) fn check_typings(
        &self,
        told: Vec<Typed>,
        mut expected: Vec<(Typed, Reach)>,
        closed: &[ConnId],
    ) -> Checked {
        for typed in told {
            let found = expected.iter().position(|(due, _)| *due == typed);
            let Some(found) = found else {
                ensure!(false, Presence, "{typed:?} is told, and nobody typed so: {expected:?}");
                return Ok(());
            };
            expected.swap_remove(found);
        }
        let missing = expected
            .iter()
            .find(|(due, reach)| *reach == Reach::Surely && self.is_quick(due.conn) && !closed.contains(&due.conn));
        ensure!(missing.is_none(), Presence, "{missing:?} was not told");
        Ok(())
    }
}
