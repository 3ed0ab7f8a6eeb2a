//! Random requests over a small world, so that hits, misses and collisions all happen.

mod notifications;
mod rooms;
mod tenants;

use std::collections::VecDeque;

use chatapi_core::model::Role;
use chatapi_core::store::{Actor, HistoryRange, PageBounds, StoreRequest};
use chatapi_core::{MessageId, NotificationKey, RoomId, Seq, TenantId, TenantKey, UnixMillis, UserId};

/// An endless sequence of requests, decided by whoever yields the numbers. Time only moves forward, and so do ids: what
/// is deleted is not the end of everything.
#[derive(Debug)]
pub struct RandomRequests<N> {
    numbers: N,
    now: i64,
    asked: u64,
    messages: u64,
    notifications: u64,
    rooms: u64,
    /// The rooms that were to be created last.
    places: VecDeque<(TenantKey, RoomId)>,
    /// The messages that were to be stored last: where, by whom, under which id.
    lately: VecDeque<(TenantKey, RoomId, UserId, MessageId)>,
}

/// After so many requests a few names are given up for new ones.
const GENERATION: u64 = 100;
/// So many rooms are remembered.
const PLACES: usize = 6;
/// So many messages are remembered, and one that is none.
const LATELY: usize = 12;

impl<N: FnMut() -> u64> RandomRequests<N> {
    /// Requests decided by `numbers`.
    pub const fn new(numbers: N) -> Self {
        Self {
            numbers,
            now: 1_000_000,
            asked: 0,
            messages: 0,
            notifications: 0,
            rooms: 0,
            places: VecDeque::new(),
            lately: VecDeque::new(),
        }
    }

    /// The next request.
    pub fn next_request(&mut self) -> StoreRequest {
        self.asked += 1;
        self.now += self.below(10) as i64;
        match self.below(100) {
            0 => StoreRequest::Boot,
            1 => StoreRequest::CheckWritable { now: self.now() },
            2..=11 => self.on_tenants(),
            12..=39 => self.on_rooms(),
            40..=69 => self.on_messages(),
            70..=79 => self.on_positions(),
            _ => self.on_notifications(),
        }
    }

    fn on_positions(&mut self) -> StoreRequest {
        let ((tenant, room_id), user_id) = (self.place(), self.user_id());
        match self.below(8) {
            0..=3 => {
                StoreRequest::Acknowledge { tenant, room_id: self.room_id(), user_id, seq: self.seq(), now: self.now() }
            }
            4 | 5 => StoreRequest::LoadBacklog { tenant, user_id },
            6 => {
                let mut rooms: Vec<RoomId> = (0..self.below(4)).map(|_| self.room_id()).collect();
                rooms.sort();
                rooms.dedup();
                StoreRequest::LoadPositions { tenant, user_id, rooms }
            }
            _ => StoreRequest::ReadHead { tenant, room_id },
        }
    }

    const fn now(&self) -> UnixMillis {
        UnixMillis(self.now)
    }

    const fn generation(&self) -> u64 {
        self.asked / GENERATION
    }

    fn tenant(&mut self) -> TenantKey {
        // Of the young ones mostly the oldest; sometimes one that there is not.
        let past = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 99][self.below(12) as usize];
        TenantKey(1 + self.generation() as i64 / 8 + past)
    }

    fn tenant_id(&mut self) -> TenantId {
        let number = self.generation() / 8 + self.below(4);
        TenantId::new(&stamped("tenant_", number))
    }

    /// A room that was to be created lately, mostly looked for in its tenant.
    fn place(&mut self) -> (TenantKey, RoomId) {
        let known = self.below(PLACES as u64 + 1) as usize;
        let (tenant, room_id) = match self.places.get(known) {
            Some(known) => known.clone(),
            None => (self.tenant(), RoomId::new("room_none")),
        };
        if self.below(10) == 0 { (self.tenant(), room_id) } else { (tenant, room_id) }
    }

    fn room_id(&mut self) -> RoomId {
        self.place().1
    }

    /// A message that was to be stored lately, mostly looked for where it should be, by whom it is from.
    fn message(&mut self) -> (TenantKey, RoomId, UserId, MessageId) {
        let known = self.below(LATELY as u64) as usize;
        let (tenant, room_id, user_id, message_id) = match self.lately.get(known) {
            Some(known) => known.clone(),
            None => {
                let (tenant, room_id) = self.place();
                (tenant, room_id, self.user_id(), MessageId::new("msg_none"))
            }
        };
        let room_id = if self.below(8) == 0 { self.room_id() } else { room_id };
        let user_id = if self.below(4) == 0 { self.user_id() } else { user_id };
        (tenant, room_id, user_id, message_id)
    }

    fn notification(&mut self) -> NotificationKey {
        // Some are refused, and take no key.
        let asked = self.notifications as i64;
        let back = self.below(asked.unsigned_abs() / 2 + 8) as i64;
        NotificationKey(asked + 1 - back)
    }

    fn user_id(&mut self) -> UserId {
        UserId::new(["alice", "alice", "alice", "bob", "bob", "Bob", "zoë", "a:b"][self.below(8) as usize])
    }

    fn actor(&mut self) -> Actor {
        match self.below(4) {
            0 => Actor::Tenant,
            _ => Actor::User(self.user_id()),
        }
    }

    fn role(&mut self) -> Option<Role> {
        [None, Some(Role::Member), Some(Role::Admin)][self.below(3) as usize]
    }

    fn seq(&mut self) -> Seq {
        match self.below(20) {
            0 => Seq(u64::MAX),
            1 => Seq(1 << 53),
            2..=8 => Seq(self.below(30)),
            _ => Seq(self.below(4)),
        }
    }

    fn range(&mut self) -> HistoryRange {
        match self.below(2) {
            0 => HistoryRange::After(self.seq()),
            _ => HistoryRange::Before(self.seq()),
        }
    }

    /// A few rooms to be read at once, that one first.
    fn cursors(&mut self, room_id: RoomId) -> Vec<(RoomId, Seq)> {
        let mut rooms = vec![(room_id, self.seq())];
        for _ in 0..self.below(4) {
            let room = (self.room_id(), self.seq());
            if !rooms.iter().any(|(room_id, _)| *room_id == room.0) {
                rooms.push(room);
            }
        }
        rooms
    }

    fn bounds(&mut self) -> PageBounds {
        PageBounds { messages: self.below(6) as u32, size_bytes: self.below(150) as u32 }
    }

    fn perhaps<T>(&mut self, one_of: u64, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(one_of) == 0).then(|| draw(self))
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.numbers)() % bound.max(1)
    }
}

/// An id of the shape that an id source draws; the first few are of a shape that it does not.
fn stamped(prefix: &str, number: u64) -> String {
    if number == 0 { format!("{prefix}imported-{number}") } else { format!("{prefix}{number:016}") }
}
