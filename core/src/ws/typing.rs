//! Who types: told to the other members, and stopped by the server after a while or with the connection.

use std::collections::{BTreeMap, BTreeSet};

use super::client::TypingAction;
use super::server::typing;
use crate::core::Core;
use crate::id::{ConnId, RoomId, TenantKey, UserId};
use crate::operations::{Origin, Step};
use crate::store::{Actor, StoreReply, StoreRequest, StoreResult};
use crate::time::{Micros, MonoMicros};

/// A typing that was started is stopped after so long (protocol, section 7).
const TYPING_MAX: Micros = Micros::from_secs(10);

/// The typings that were started. A connection starts 50 a second at the most, so that it has 500 here at the most.
#[derive(Debug, Default)]
pub(crate) struct Typings {
    until: BTreeMap<(ConnId, RoomId), MonoMicros>,
    ends: BTreeSet<(MonoMicros, ConnId, RoomId)>,
}

impl Typings {
    pub(crate) fn next_end(&self) -> Option<MonoMicros> {
        self.ends.first().map(|(at, ..)| *at)
    }

    /// Forgets a typing; says whether there was one.
    pub(crate) fn forget(&mut self, conn: ConnId, room_id: &RoomId) -> bool {
        let typing = (conn, room_id.clone());
        let until = self.until.remove(&typing);
        if let Some(until) = until {
            self.ends.remove(&(until, typing.0, typing.1));
        }
        until.is_some()
    }

    fn start(&mut self, conn: ConnId, room_id: &RoomId, now: MonoMicros) {
        self.forget(conn, room_id);
        let until = now + TYPING_MAX;
        self.until.insert((conn, room_id.clone()), until);
        self.ends.insert((until, conn, room_id.clone()));
    }

    fn contains(&self, conn: ConnId, room_id: &RoomId) -> bool {
        self.until.contains_key(&(conn, room_id.clone()))
    }

    fn rooms_of(&self, conn: ConnId) -> Vec<RoomId> {
        // No room id is empty: this sorts before all of them.
        let typings = self.until.range((conn, RoomId::new(""))..).take_while(|((of, _), _)| *of == conn);
        typings.map(|((_, room_id), _)| room_id.clone()).collect()
    }

    fn take_over(&mut self, now: MonoMicros) -> Option<(ConnId, RoomId)> {
        if self.next_end().is_none_or(|at| at > now) {
            return None;
        }
        let (_, conn, room_id) = self.ends.pop_first()?;
        self.until.remove(&(conn, room_id.clone()));
        Some((conn, room_id))
    }
}

impl Core {
    /// Serves `typing.start` and `typing.stop`. Whether a room that the connection does not hear of exists, the store
    /// must tell.
    pub(crate) fn type_in(
        &mut self,
        origin: Origin,
        conn: ConnId,
        tenant: TenantKey,
        user: UserId,
        room_id: RoomId,
        action: TypingAction,
    ) {
        if self.sessions.is_in_room(tenant, &user, &room_id) {
            return self.publish_typing(conn, tenant, &user, &room_id, action);
        }
        let request = StoreRequest::ReadRoom { tenant, room_id: room_id.clone(), actor: Actor::User(user) };
        self.submit_for(tenant, origin, request, |origin| Step::Type { origin, conn, room_id, action });
    }

    pub(crate) fn on_room_typed_in(
        &mut self,
        origin: Origin,
        conn: ConnId,
        room_id: &RoomId,
        action: TypingAction,
        result: StoreResult,
    ) {
        match result {
            // Whoever was told that it was given up has not typed.
            Ok(StoreReply::Room(Ok(_))) if origin == Origin::Nobody => {}
            Ok(StoreReply::Room(Ok(_))) => {
                let Some(session) = self.sessions.get(conn) else {
                    return;
                };
                let (tenant, user) = (session.tenant, session.user.clone());
                if self.sessions.is_in_room(tenant, &user, room_id) {
                    self.publish_typing(conn, tenant, &user, room_id, action);
                }
            }
            result => self.on_read(origin, result),
        }
    }

    /// Stops the typings that have lasted long enough.
    pub(crate) fn stop_long_typings(&mut self) {
        while let Some((conn, room_id)) = self.typing.take_over(self.now.mono) {
            if let Some(session) = self.sessions.get(conn) {
                let (tenant, user) = (session.tenant, session.user.clone());
                self.publish_typing_stopped(tenant, &user, &room_id);
            }
        }
    }

    /// Stops the typings of a connection that has ended.
    pub(crate) fn stop_typings_of(&mut self, conn: ConnId, tenant: TenantKey, user: &UserId) {
        for room_id in self.typing.rooms_of(conn) {
            self.typing.forget(conn, &room_id);
            self.publish_typing_stopped(tenant, user, &room_id);
        }
    }

    /// Stops the typings of a user in a room that the user leaves: nobody else would, since the connections go on.
    pub(crate) fn stop_typings_in(&mut self, tenant: TenantKey, user: &UserId, room_id: &RoomId) {
        let conns = self.sessions.conns_of(tenant, user);
        let stopped = conns.into_iter().filter(|conn| self.typing.forget(*conn, room_id)).count();
        if stopped > 0 {
            self.tell_typing(tenant, user, room_id, TypingAction::Stop);
        }
    }

    /// Tells that a typing has ended, unless the user types there on another connection.
    fn publish_typing_stopped(&mut self, tenant: TenantKey, user: &UserId, room_id: &RoomId) {
        let others = self.sessions.conns_of(tenant, user);
        if !others.into_iter().any(|other| self.typing.contains(other, room_id)) {
            self.tell_typing(tenant, user, room_id, TypingAction::Stop);
        }
    }

    fn publish_typing(
        &mut self,
        conn: ConnId,
        tenant: TenantKey,
        user: &UserId,
        room_id: &RoomId,
        action: TypingAction,
    ) {
        match action {
            TypingAction::Start if self.is_large(room_id) => return,
            TypingAction::Start => self.typing.start(conn, room_id, self.now.mono),
            TypingAction::Stop => {
                self.typing.forget(conn, room_id);
            }
        }
        self.tell_typing(tenant, user, room_id, action);
    }

    fn tell_typing(&mut self, tenant: TenantKey, user: &UserId, room_id: &RoomId, action: TypingAction) {
        if self.is_large(room_id) {
            return;
        }
        let own = self.sessions.conns_of(tenant, user);
        let mut others = self.audiences.conns(room_id);
        others.retain(|conn| !own.contains(conn));
        self.send_if_room(others, typing(room_id, user, action));
    }
}
