//! Random requests over a small world, so that hits, misses and collisions all happen.

use chatapi_core::model::{Role, RoomType, TenantConfig};
use chatapi_core::store::{Actor, HistoryRange, Idempotency, NewMessage, NewRoom, NewTenant, PageBounds, StoreRequest};
use chatapi_core::{Digest, MessageId, RoomId, Seq, TenantId, TenantKey, UnixMillis, UserId};

/// An endless sequence of requests, decided by whoever yields the numbers. Time only moves forward.
#[derive(Debug)]
pub struct RandomRequests<N> {
    numbers: N,
    now: i64,
    drawn: u64,
}

/// How long an idempotency key of these requests is good, in ms.
const KEY_LIFE: i64 = 2_000;

impl<N: FnMut() -> u64> RandomRequests<N> {
    /// Requests decided by `numbers`.
    pub const fn new(numbers: N) -> Self {
        Self { numbers, now: 1_000_000, drawn: 0 }
    }

    /// The next request.
    pub fn next_request(&mut self) -> StoreRequest {
        self.now += self.below(10) as i64;
        let now = UnixMillis(self.now);
        match self.below(40) {
            0 => StoreRequest::Boot,
            1 => StoreRequest::CheckWritable { now },
            2 => self.create_tenant(),
            3 | 4 => StoreRequest::FindTenant { api_key: Digest([self.below(6) as u8; 32]) },
            5..=7 => self.create_room(),
            8 | 9 => StoreRequest::ListRooms {
                tenant: self.tenant(),
                actor: self.actor(),
                after: (self.below(2) == 0).then(|| self.room_id()),
                limit: self.below(5) as u32 + 1,
            },
            10 | 11 => StoreRequest::ReadRoom { tenant: self.tenant(), room_id: self.room_id(), actor: self.actor() },
            12 | 13 => StoreRequest::ListMembers {
                tenant: self.tenant(),
                room_id: self.room_id(),
                actor: self.actor(),
                after: (self.below(2) == 0).then(|| self.user_id()),
                limit: self.below(4) as u32 + 1,
            },
            14..=23 => self.append(),
            24..=26 => StoreRequest::ReadMessages {
                tenant: self.tenant(),
                room_id: self.room_id(),
                actor: self.actor(),
                range: match self.below(2) {
                    0 => HistoryRange::After(self.seq()),
                    _ => HistoryRange::Before(self.seq()),
                },
                bounds: self.bounds(),
            },
            27..=31 => StoreRequest::Acknowledge {
                tenant: self.tenant(),
                room_id: self.room_id(),
                user_id: self.user_id(),
                seq: self.seq(),
                now,
            },
            32..=34 => StoreRequest::LoadBacklog { tenant: self.tenant(), user_id: self.user_id() },
            35..=37 => StoreRequest::ReadFrames {
                tenant: self.tenant(),
                room_id: self.room_id(),
                after: self.seq(),
                bounds: self.bounds(),
            },
            _ => StoreRequest::ReadHead { tenant: self.tenant(), room_id: self.room_id() },
        }
    }

    fn create_tenant(&mut self) -> StoreRequest {
        let number = self.below(4);
        StoreRequest::CreateTenant(Box::new(NewTenant {
            tenant_id: TenantId::new(&stamped("tenant_", number)),
            name: format!("Tenant {number}"),
            api_key: Digest([self.below(4) as u8; 32]),
            config: TenantConfig { rate_limit: (number == 1).then_some(50), ..TenantConfig::default() },
            webhook_secret: None,
            created_at: UnixMillis(self.now),
        }))
    }

    fn create_room(&mut self) -> StoreRequest {
        let (one, other) = (self.user_id(), self.user_id());
        let dm = self.below(3) == 0;
        let mut members = vec![(one, Role::Admin), (other, Role::Member)];
        if self.below(10) > 0 {
            members.dedup_by(|one, other| one.0 == other.0);
        }
        StoreRequest::CreateRoom(Box::new(NewRoom {
            tenant: self.tenant(),
            room_id: self.room_id(),
            kind: if dm { RoomType::Dm } else { RoomType::Group },
            unique_key: dm.then(|| format!("dm:{}:{}", members[0].0, self.below(2))),
            name: (self.below(2) == 0).then(|| "Ünï".to_owned()),
            metadata: (self.below(2) == 0).then(|| "{ \"a\": 1}".to_owned()),
            members,
            created_at: UnixMillis(self.now),
        }))
    }

    fn append(&mut self) -> StoreRequest {
        self.drawn += 1;
        // Now and then an id that was drawn before.
        let number = if self.below(20) == 0 { self.below(self.drawn) } else { self.drawn };
        let content = self.below(3);
        StoreRequest::AppendMessage(Box::new(NewMessage {
            tenant: self.tenant(),
            room_id: self.room_id(),
            sender_id: self.user_id(),
            message_id: MessageId::new(&stamped("msg_", number)),
            content: format!("{}\u{0}", "x".repeat(content as usize * 20)),
            meta: (self.below(3) == 0).then(|| "[]".to_owned()),
            created_at: UnixMillis(self.now),
            idempotency: (self.below(2) == 0).then(|| Idempotency {
                key: format!("key {}", self.below(3)),
                body: Digest([content as u8 / 2; 32]),
                valid_since: UnixMillis(self.now - KEY_LIFE),
            }),
        }))
    }

    fn tenant(&mut self) -> TenantKey {
        // Mostly the first, sometimes one that there is not.
        TenantKey([1, 1, 1, 1, 1, 1, 1, 2, 2, 9][self.below(10) as usize])
    }

    fn room_id(&mut self) -> RoomId {
        let number = self.below(5);
        RoomId::new(&stamped("room_", number))
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

    fn seq(&mut self) -> Seq {
        match self.below(20) {
            0 => Seq(u64::MAX),
            1 => Seq(1 << 53),
            _ => Seq(self.below(30)),
        }
    }

    fn bounds(&mut self) -> PageBounds {
        PageBounds { messages: self.below(6) as u32, size_bytes: self.below(150) as u32 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.numbers)() % bound.max(1)
    }
}

/// An id of the shape that an id source draws; the first few are of a shape that it does not.
fn stamped(prefix: &str, number: u64) -> String {
    if number == 0 { format!("{prefix}imported-{number}") } else { format!("{prefix}{number:016}") }
}
