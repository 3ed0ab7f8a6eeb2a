//! The connections, by name and by user; who is online, and in which rooms.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::session::{Due, Session};
use crate::api::PresenceStatus;
use crate::id::{ConnId, RoomId, TenantKey, UserId};
use crate::time::{Micros, MonoMicros};

/// A user is offline so long after the last connection closed (protocol, section 7).
const PRESENCE_GRACE: Micros = Micros::from_secs(5);

/// A user of a tenant.
pub(crate) type UserRef = (TenantKey, UserId);

/// The connections, by name and by user.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_conn: BTreeMap<ConnId, Session>,
    by_user: BTreeMap<UserRef, OnlineUser>,
    wakes: BTreeSet<(MonoMicros, ConnId)>,
    /// When the grace of those ends who have no connection.
    graces: BTreeSet<(MonoMicros, UserRef)>,
    waiting_for_reader: VecDeque<ConnId>,
}

/// A user who has a connection, or had one until a moment ago.
#[derive(Debug)]
struct OnlineUser {
    conns: Vec<UserConn>,
    rooms: BTreeSet<RoomId>,
    presence: Presence,
}

/// What others were told of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// Nothing yet: the user's rooms are not known.
    Unannounced,
    /// That the user is online.
    Online,
    /// The same; it ends unless the user comes back.
    Leaving { until: MonoMicros },
}

/// A connection of a user's.
#[derive(Debug, Clone, Copy)]
struct UserConn {
    conn: ConnId,
    /// It has joined the audiences of the user's rooms; else it is about to.
    has_joined: bool,
}

impl OnlineUser {
    fn joined(&self) -> Vec<ConnId> {
        self.conns.iter().filter(|own| own.has_joined).map(|own| own.conn).collect()
    }

    fn has_joined(&self) -> bool {
        self.conns.iter().any(|own| own.has_joined)
    }
}

impl Sessions {
    pub(crate) fn open(&mut self, conn: ConnId, tenant: TenantKey, user: UserId, now: MonoMicros) {
        let session = Session::new(tenant, user.clone(), now);
        self.wakes.insert((session.wake_at(), conn));
        let user = (tenant, user);
        if let Some(online) = self.by_user.get_mut(&user) {
            if let Presence::Leaving { until } = online.presence {
                online.presence = Presence::Online;
                self.graces.remove(&(until, user));
            }
            online.conns.push(UserConn { conn, has_joined: false });
        } else {
            // Most users have one connection: the usual first allocation would be for four.
            let conns = vec![UserConn { conn, has_joined: false }];
            let online = OnlineUser { conns, rooms: BTreeSet::new(), presence: Presence::Unannounced };
            self.by_user.insert(user, online);
        }
        let earlier = self.by_conn.insert(conn, session);
        assert!(earlier.is_none(), "the driver named two connections {conn:?}");
    }

    /// Forgets a connection. Hands back its state, and the rooms whose audiences it had joined.
    pub(crate) fn remove(&mut self, conn: ConnId, now: MonoMicros) -> Option<(Session, Vec<RoomId>)> {
        let session = self.by_conn.remove(&conn)?;
        let user = (session.tenant, session.user.clone());
        let mut rooms = Vec::new();
        if let Some(online) = self.by_user.get_mut(&user) {
            if online.conns.iter().any(|own| own.conn == conn && own.has_joined) {
                rooms.extend(online.rooms.iter().cloned());
            }
            online.conns.retain(|own| own.conn != conn);
            if online.conns.is_empty() {
                match online.presence {
                    Presence::Unannounced => {
                        self.by_user.remove(&user);
                    }
                    Presence::Online | Presence::Leaving { .. } => {
                        let until = now + PRESENCE_GRACE;
                        online.presence = Presence::Leaving { until };
                        self.graces.insert((until, user));
                    }
                }
            }
        }
        Some((session, rooms))
    }

    pub(crate) fn get(&self, conn: ConnId) -> Option<&Session> {
        self.by_conn.get(&conn)
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.by_conn.get_mut(&conn)
    }

    pub(crate) fn contains(&self, conn: ConnId) -> bool {
        self.by_conn.contains_key(&conn)
    }

    pub(crate) fn count(&self) -> u64 {
        self.by_conn.len() as u64
    }

    pub(crate) fn all(&self) -> Vec<ConnId> {
        self.by_conn.keys().copied().collect()
    }

    pub(crate) fn count_of(&self, tenant: TenantKey, user: &UserId) -> usize {
        self.by_user.get(&(tenant, user.clone())).map_or(0, |online| online.conns.len())
    }

    /// Every connection of a user, whether its rooms are known or not.
    pub(crate) fn conns_of(&self, tenant: TenantKey, user: &UserId) -> Vec<ConnId> {
        let online = self.by_user.get(&(tenant, user.clone()));
        online.map(|online| online.conns.iter().map(|own| own.conn).collect()).unwrap_or_default()
    }

    /// The connections of a user that hear of the user's rooms.
    pub(crate) fn joined_conns_of(&self, tenant: TenantKey, user: &UserId) -> Vec<ConnId> {
        self.by_user.get(&(tenant, user.clone())).map(OnlineUser::joined).unwrap_or_default()
    }

    /// Every connection of a tenant's users.
    pub(crate) fn conns_of_tenant(&self, tenant: TenantKey) -> Vec<ConnId> {
        self.users_of(tenant).flat_map(|(_, online)| online.conns.iter().map(|own| own.conn)).collect()
    }

    /// The tenant's users who are online, ascending.
    pub(crate) fn online_users(&self, tenant: TenantKey) -> Vec<UserId> {
        self.users_of(tenant).map(|(user, _)| user.clone()).collect()
    }

    /// Whether a user is online.
    pub(crate) fn status(&self, tenant: TenantKey, user: &UserId) -> PresenceStatus {
        match self.by_user.contains_key(&(tenant, user.clone())) {
            true => PresenceStatus::Online,
            false => PresenceStatus::Offline,
        }
    }

    fn users_of(&self, tenant: TenantKey) -> impl Iterator<Item = (&UserId, &OnlineUser)> {
        // No user id is empty: this sorts before all of them.
        let first = (tenant, UserId::new(""));
        let users = self.by_user.range(first..).take_while(move |((of, _), _)| *of == tenant);
        users.map(|((_, user), online)| (user, online))
    }

    /// A connection of the user that has not answered its ping for too long.
    pub(crate) fn unresponsive_of(&self, tenant: TenantKey, user: &UserId, now: MonoMicros) -> Option<ConnId> {
        let mut conns = self.conns_of(tenant, user).into_iter();
        conns.find(|conn| self.get(*conn).is_some_and(|session| session.ignores_its_ping(now)))
    }

    /// Notes the rooms whose audiences a connection has joined, which are all of its user's.
    pub(crate) fn enter_rooms(&mut self, conn: ConnId, rooms: BTreeSet<RoomId>) {
        let Some(session) = self.by_conn.get(&conn) else {
            return;
        };
        if let Some(online) = self.by_user.get_mut(&(session.tenant, session.user.clone())) {
            online.rooms = rooms;
            if let Some(own) = online.conns.iter_mut().find(|own| own.conn == conn) {
                own.has_joined = true;
            }
        }
    }

    /// Whether a connection of the user has joined the audiences of its rooms.
    pub(crate) fn has_joined(&self, tenant: TenantKey, user: &UserId) -> bool {
        self.by_user.get(&(tenant, user.clone())).is_some_and(OnlineUser::has_joined)
    }

    /// Whether a room is among those that the user's connections hear of.
    pub(crate) fn is_in_room(&self, tenant: TenantKey, user: &UserId, room_id: &RoomId) -> bool {
        let online = self.by_user.get(&(tenant, user.clone()));
        online.is_some_and(|online| online.has_joined() && online.rooms.contains(room_id))
    }

    /// The rooms of a user who is online.
    pub(crate) fn rooms_of(&self, tenant: TenantKey, user: &UserId) -> impl Iterator<Item = &RoomId> {
        self.by_user.get(&(tenant, user.clone())).into_iter().flat_map(|online| online.rooms.iter())
    }

    /// Adds a room to a user's; hands back the connections that are to join its audience.
    pub(crate) fn join_room(&mut self, tenant: TenantKey, user: &UserId, room_id: &RoomId) -> Vec<ConnId> {
        let Some(online) = self.by_user.get_mut(&(tenant, user.clone())) else {
            return Vec::new();
        };
        if online.presence == Presence::Unannounced || !online.rooms.insert(room_id.clone()) {
            return Vec::new();
        }
        online.joined()
    }

    /// Takes a room from a user's; hands back the connections that had joined its audience.
    pub(crate) fn leave_room(&mut self, tenant: TenantKey, user: &UserId, room_id: &RoomId) -> Vec<ConnId> {
        let online = self.by_user.get_mut(&(tenant, user.clone()));
        match online.map(|online| (online.rooms.remove(room_id), online)) {
            Some((true, online)) => online.joined(),
            Some((false, _)) | None => Vec::new(),
        }
    }

    /// Notes that others are told that the user is online; says whether that is new.
    pub(crate) fn announce(&mut self, tenant: TenantKey, user: &UserId) -> bool {
        let online = self.by_user.get_mut(&(tenant, user.clone()));
        online.is_some_and(|online| {
            let before = std::mem::replace(&mut online.presence, Presence::Online);
            before == Presence::Unannounced
        })
    }

    /// When the next user's grace ends.
    pub(crate) fn next_grace_end(&self) -> Option<MonoMicros> {
        self.graces.first().map(|(until, _)| *until)
    }

    /// The next user whose grace is over, with the rooms the user is in; the user is offline from here on.
    pub(crate) fn take_gone(&mut self, now: MonoMicros) -> Option<(UserRef, BTreeSet<RoomId>)> {
        if self.graces.first().is_none_or(|(until, _)| *until > now) {
            return None;
        }
        let (_, user) = self.graces.pop_first()?;
        let online = self.by_user.remove(&user)?;
        Some((user, online.rooms))
    }

    pub(crate) fn next_wake(&self) -> Option<MonoMicros> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// The next connection for which something is due.
    pub(crate) fn take_due(&mut self, now: MonoMicros) -> Option<(ConnId, Due)> {
        while let Some(&(at, conn)) = self.wakes.first().filter(|(at, _)| *at <= now) {
            self.wakes.remove(&(at, conn));
            let Some(session) = self.by_conn.get_mut(&conn) else {
                continue;
            };
            let due = session.take_due(now);
            if matches!(due, Due::Nothing | Due::Ping) {
                self.wakes.insert((session.wake_at(), conn));
            }
            if due != Due::Nothing {
                return Some((conn, due));
            }
        }
        None
    }

    pub(crate) fn wait_for_reader(&mut self, conn: ConnId) {
        if let Some(session) = self.by_conn.get_mut(&conn)
            && !std::mem::replace(&mut session.waits_for_reader, true)
        {
            self.waiting_for_reader.push_back(conn);
        }
    }

    pub(crate) fn is_waiting_for_reader(&self, conn: ConnId) -> bool {
        self.get(conn).is_some_and(|session| session.waits_for_reader)
    }

    /// The next connection that waits to read on; those that are gone meanwhile are left out.
    pub(crate) fn next_waiting_for_reader(&mut self) -> Option<ConnId> {
        while let Some(conn) = self.waiting_for_reader.pop_front() {
            if let Some(session) = self.by_conn.get_mut(&conn) {
                session.waits_for_reader = false;
                return Some(conn);
            }
        }
        None
    }
}
