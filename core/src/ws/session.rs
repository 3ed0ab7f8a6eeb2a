//! A connection's state: whose it is, what waits for it, when it was heard of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::sync::{CatchUp, KeptAcks};
use crate::id::{ConnId, RoomId, Seq, TenantKey, UserId};
use crate::limits::TokenBucket;
use crate::time::{Micros, MonoMicros};
use crate::{FLUSH_REPORT_BYTES, FLUSH_REPORT_FRAMES};

/// What waits for a connection at the most (protocol, section 7).
const WAITING_BYTES_MAX: u64 = 1024 * 1024;
const WAITING_FRAMES_MAX: u32 = 1_024;
/// Below this much, a connection that catches up reads on.
const LOW_WATER_BYTES: u64 = 256 * 1024;
const LOW_WATER_FRAMES: u32 = 256;
/// `ping`, `ack` and `typing` frames a second, together.
const CONTROL_FRAMES_PER_SECOND: u32 = 50;
const PING_INTERVAL: Micros = Micros::from_secs(30);
/// A connection that was silent, or took nothing of what waits for it, for so long is closed.
const SILENCE_MAX: Micros = Micros::from_secs(60);
/// A connection that has not answered its ping for so long makes room for another of its user.
const PING_ANSWER_MAX: Micros = Micros::from_secs(10);

/// A connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) tenant: TenantKey,
    pub(crate) user: UserId,
    pub(crate) control: TokenBucket,
    pub(crate) invalid_in_a_row: u8,
    pub(crate) queue: QueueLoad,
    last_heard: MonoMicros,
    next_ping: MonoMicros,
    unanswered_ping: Option<MonoMicros>,
    pub(crate) catch_up: Option<Box<CatchUp>>,
    kept_acks: Option<Box<KeptAcks>>,
    waits_for_reader: bool,
}

/// What waits for a connection, as far as the driver has reported.
#[derive(Debug)]
pub(crate) struct QueueLoad {
    frames: u32,
    size_bytes: u64,
    /// When the connection last took something, or something began to wait.
    last_taken: MonoMicros,
    /// The first ping that was sent since: the driver reports what left before it when it leaves.
    pinged: Option<MonoMicros>,
}

impl QueueLoad {
    const fn empty(now: MonoMicros) -> Self {
        Self { frames: 0, size_bytes: 0, last_taken: now, pinged: None }
    }

    /// Counts a frame as waiting if it fits; a single one always fits an empty queue.
    pub(crate) fn takes(&mut self, size_bytes: usize, now: MonoMicros) -> bool {
        let size_bytes = size_bytes as u64;
        let counts_as_empty = self.size_bytes <= FLUSH_REPORT_BYTES && self.frames <= FLUSH_REPORT_FRAMES;
        let fits = self.size_bytes + size_bytes <= WAITING_BYTES_MAX && self.frames < WAITING_FRAMES_MAX;
        if !(counts_as_empty || fits) {
            return false;
        }
        if self.frames == 0 {
            self.last_taken = now;
            self.pinged = None;
        }
        self.frames += 1;
        self.size_bytes += size_bytes;
        true
    }

    const fn flushed(&mut self, frames: u32, size_bytes: u64, now: MonoMicros) {
        self.frames = self.frames.saturating_sub(frames);
        self.size_bytes = self.size_bytes.saturating_sub(size_bytes);
        self.last_taken = now;
        self.pinged = None;
    }

    /// When it will have been stuck for too long, unless it takes something: a ping must have had its time, lest a
    /// process that slept takes its own silence for the peer's.
    fn stuck_at(&self) -> Option<MonoMicros> {
        let pinged = self.pinged.filter(|_| self.frames > 0)?;
        Some((self.last_taken + SILENCE_MAX).max(pinged + PING_ANSWER_MAX))
    }

    const fn is_below_low_water(&self) -> bool {
        self.size_bytes < LOW_WATER_BYTES && self.frames < LOW_WATER_FRAMES
    }
}

/// What is due for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    Silent,
    Stuck,
}

impl Session {
    fn new(tenant: TenantKey, user: UserId, now: MonoMicros) -> Self {
        Self {
            tenant,
            user,
            control: TokenBucket::full(CONTROL_FRAMES_PER_SECOND, now),
            invalid_in_a_row: 0,
            queue: QueueLoad::empty(now),
            last_heard: now,
            next_ping: now + PING_INTERVAL,
            unanswered_ping: None,
            catch_up: None,
            kept_acks: None,
            waits_for_reader: false,
        }
    }

    pub(crate) const fn heard(&mut self, now: MonoMicros) {
        self.last_heard = now;
        self.unanswered_ping = None;
    }

    pub(crate) fn flushed(&mut self, frames: u32, size_bytes: u64, peer_reads: bool, now: MonoMicros) {
        self.queue.flushed(frames, size_bytes, now);
        if peer_reads {
            self.heard(now);
        }
    }

    pub(crate) const fn is_below_low_water(&self) -> bool {
        self.queue.is_below_low_water()
    }

    pub(crate) fn is_catching_up(&self, room_id: &RoomId) -> bool {
        self.catch_up.as_ref().is_some_and(|catch_up| catch_up.contains(room_id))
    }

    pub(crate) fn catch_up(&self) -> Option<&CatchUp> {
        self.catch_up.as_deref()
    }

    pub(crate) fn catch_up_mut(&mut self) -> Option<&mut CatchUp> {
        self.catch_up.as_deref_mut()
    }

    /// Begins with the backlog.
    pub(crate) fn set_catch_up(&mut self, catch_up: CatchUp) {
        self.catch_up = Some(Box::new(catch_up));
    }

    pub(crate) fn catch_up_from(&mut self, room_id: &RoomId, cursor: Seq) {
        self.catch_up.get_or_insert_default().add(room_id, cursor);
    }

    pub(crate) fn drop_finished_catch_up(&mut self) {
        self.catch_up.take_if(|catch_up| catch_up.is_over());
    }

    /// Keeps the `request_id` of a message of the connection's own until that is sent. Says whether it could.
    pub(crate) fn keep_request_id(&mut self, room_id: &RoomId, seq: Seq, request_id: Option<&str>) -> bool {
        match (&mut self.catch_up, request_id) {
            (Some(catch_up), Some(request_id)) => catch_up.keep_request_id(room_id, seq, request_id),
            (None, _) | (_, None) => true,
        }
    }

    /// Whether an earlier ack of the same user is kept, which a later one must not overtake.
    pub(crate) fn has_kept_ack(&self, room_id: &RoomId, user_id: &UserId) -> bool {
        self.kept_acks.as_ref().is_some_and(|kept| kept.contains(room_id, user_id))
    }

    /// Forgets a kept ack, because a later one is told at once.
    pub(crate) fn drop_kept_ack(&mut self, room_id: &RoomId, user_id: &UserId) {
        if let Some(kept) = &mut self.kept_acks {
            kept.remove(room_id, user_id);
        }
        self.kept_acks.take_if(|kept| kept.is_empty());
    }

    /// Keeps another's ack until the queue has room; says whether it was kept.
    pub(crate) fn keep_ack(&mut self, room_id: &RoomId, user_id: &UserId, seq: Seq) -> bool {
        self.kept_acks.get_or_insert_default().keep(room_id, user_id, seq)
    }

    /// The next kept ack, if the queue has room again.
    pub(crate) fn take_kept_ack(&mut self) -> Option<(RoomId, UserId, Seq)> {
        if !self.is_below_low_water() {
            return None;
        }
        let kept = self.kept_acks.as_mut()?.take_first();
        self.kept_acks.take_if(|kept| kept.is_empty());
        kept
    }

    /// What is due; a ping counts as sent.
    fn take_due(&mut self, now: MonoMicros) -> Due {
        if self.silent_at().is_some_and(|at| at <= now) {
            return Due::Silent;
        }
        if self.queue.stuck_at().is_some_and(|at| at <= now) {
            return Due::Stuck;
        }
        if now < self.next_ping {
            return Due::Nothing;
        }
        self.next_ping = now + PING_INTERVAL;
        self.unanswered_ping.get_or_insert(now);
        self.queue.pinged.get_or_insert(now);
        Due::Ping
    }

    /// When it will have been silent for too long, a ping included that it had time to answer.
    fn silent_at(&self) -> Option<MonoMicros> {
        let pinged = self.unanswered_ping?;
        Some((self.last_heard + SILENCE_MAX).max(pinged + PING_ANSWER_MAX))
    }

    fn wake_at(&self) -> MonoMicros {
        let ends = [self.silent_at(), self.queue.stuck_at()];
        ends.into_iter().flatten().fold(self.next_ping, MonoMicros::min)
    }

    fn ignores_its_ping(&self, now: MonoMicros) -> bool {
        self.unanswered_ping.is_some_and(|since| now - since >= PING_ANSWER_MAX)
    }
}

/// The connections, by name and by user.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_conn: BTreeMap<ConnId, Session>,
    by_user: BTreeMap<(TenantKey, UserId), Presence>,
    wakes: BTreeSet<(MonoMicros, ConnId)>,
    waiting_for_reader: VecDeque<ConnId>,
}

/// A user who is online.
#[derive(Debug, Default)]
struct Presence {
    conns: Vec<UserConn>,
    rooms: BTreeSet<RoomId>,
}

/// A connection of a user's.
#[derive(Debug, Clone, Copy)]
struct UserConn {
    conn: ConnId,
    /// It has joined the audiences of the user's rooms; else it is about to.
    has_joined: bool,
}

impl Presence {
    fn joined(&self) -> Vec<ConnId> {
        self.conns.iter().filter(|own| own.has_joined).map(|own| own.conn).collect()
    }
}

impl Sessions {
    pub(crate) fn open(&mut self, conn: ConnId, tenant: TenantKey, user: UserId, now: MonoMicros) {
        let session = Session::new(tenant, user.clone(), now);
        self.wakes.insert((session.wake_at(), conn));
        let conns = &mut self.by_user.entry((tenant, user)).or_default().conns;
        // Most users have one connection: the usual first allocation would be for four.
        conns.reserve_exact(1);
        conns.push(UserConn { conn, has_joined: false });
        let earlier = self.by_conn.insert(conn, session);
        assert!(earlier.is_none(), "the driver named two connections {conn:?}");
    }

    /// Forgets a connection. Hands back its state, and the rooms whose audiences it had joined.
    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<(Session, Vec<RoomId>)> {
        let session = self.by_conn.remove(&conn)?;
        let user = (session.tenant, session.user.clone());
        let mut rooms = Vec::new();
        if let Some(presence) = self.by_user.get_mut(&user) {
            if presence.joined().contains(&conn) {
                rooms.extend(presence.rooms.iter().cloned());
            }
            presence.conns.retain(|own| own.conn != conn);
            if presence.conns.is_empty() {
                self.by_user.remove(&user);
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
        self.by_user.get(&(tenant, user.clone())).map_or(0, |presence| presence.conns.len())
    }

    /// A connection of the user that has not answered its ping for too long.
    pub(crate) fn unresponsive_of(&self, tenant: TenantKey, user: &UserId, now: MonoMicros) -> Option<ConnId> {
        let presence = self.by_user.get(&(tenant, user.clone()))?;
        let mut conns = presence.conns.iter().map(|own| own.conn);
        conns.find(|conn| self.get(*conn).is_some_and(|session| session.ignores_its_ping(now)))
    }

    /// Notes the rooms whose audiences a connection has joined, which are all of its user's.
    pub(crate) fn enter_rooms(&mut self, conn: ConnId, rooms: BTreeSet<RoomId>) {
        let Some(session) = self.by_conn.get(&conn) else {
            return;
        };
        if let Some(presence) = self.by_user.get_mut(&(session.tenant, session.user.clone())) {
            presence.rooms = rooms;
            if let Some(own) = presence.conns.iter_mut().find(|own| own.conn == conn) {
                own.has_joined = true;
            }
        }
    }

    /// Whether a connection of the user has joined the audiences of its rooms.
    pub(crate) fn has_joined(&self, tenant: TenantKey, user: &UserId) -> bool {
        self.by_user.get(&(tenant, user.clone())).is_some_and(|presence| !presence.joined().is_empty())
    }

    /// Adds a room to a user's; hands back the connections that are to join its audience.
    pub(crate) fn join_room(&mut self, tenant: TenantKey, user: &UserId, room_id: &RoomId) -> Vec<ConnId> {
        let Some(presence) = self.by_user.get_mut(&(tenant, user.clone())) else {
            return Vec::new();
        };
        let joined = presence.joined();
        if joined.is_empty() || !presence.rooms.insert(room_id.clone()) {
            return Vec::new();
        }
        joined
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
