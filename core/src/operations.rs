//! Steps that wait for the store: each an enum value under a name, looked at again when its reply comes.

use std::collections::{BTreeMap, VecDeque};

use crate::api::CreatedSecrets;
use crate::id::{
    ConnId, MessageId, NotificationId, NotificationKey, OpId, RequestId, RoomId, TenantId, TenantKey, UserId,
};
use crate::secret::{Digest, Secret};
use crate::store::{Actor, Lane};
use crate::time::{Micros, MonoMicros, UnixMillis};
use crate::ws::{BacklogChoice, TypingAction};

/// How many steps may wait in the write lane before requests get 503.
pub const MAX_WRITES_WAITING: usize = 4_096;
/// How many steps may wait in the read lane before requests get 503.
pub const MAX_READS_WAITING: usize = 1_000;
/// A store request that is not answered for so long is given up.
pub(crate) const STORE_TIMEOUT: Micros = Micros::from_secs(10);

/// A step that waits, with what is needed to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Boot,
    CheckWritable,
    /// Its waiters stand in the tenant cache; an answer is void once keys changed since `keys_version`.
    FindTenant {
        api_key: Digest,
        keys_version: u64,
    },
    CreateTenant {
        request: Option<RequestId>,
        secrets: CreatedSecrets,
    },
    /// A read whose reply is the answer.
    Read {
        origin: Origin,
    },
    /// Members are read, whose presence is told.
    ListPresence {
        origin: Origin,
    },
    CreateRoom {
        origin: Origin,
        actor: Actor,
        room_id: RoomId,
        members: Vec<UserId>,
    },
    Append {
        origin: Origin,
        room_id: RoomId,
    },
    Acknowledge {
        origin: Origin,
        room_id: RoomId,
        user_id: UserId,
    },
    ChangeTenant {
        request: Option<RequestId>,
        tenant_id: TenantId,
        /// Which secret the answer shows, the store says.
        given_secret: Option<Secret>,
        fresh_secret: Secret,
    },
    RotateKey {
        request: Option<RequestId>,
        tenant_id: TenantId,
        api_key: Secret,
        sockets: Sockets,
    },
    DeleteTenant {
        request: Option<RequestId>,
        tenant_id: TenantId,
    },
    /// After an outcome was unknown: what of the tenant is stored.
    RefreshTenant {
        tenant_id: TenantId,
    },
    ChangeRoom {
        origin: Origin,
    },
    DeleteRoom {
        origin: Origin,
        room_id: RoomId,
    },
    AddMember {
        origin: Origin,
        room_id: RoomId,
        user_id: UserId,
    },
    RemoveMember {
        origin: Origin,
        room_id: RoomId,
        user_id: UserId,
    },
    /// A message is edited or deleted.
    ChangeMessage {
        origin: Origin,
        room_id: RoomId,
        message_id: MessageId,
    },
    /// After an outcome was unknown: whether the message was changed.
    RefreshMessage {
        room_id: RoomId,
        message_id: MessageId,
    },
    /// Whether the room exists that a member of none of its audience types in.
    Type {
        origin: Origin,
        conn: ConnId,
        room_id: RoomId,
        action: TypingAction,
    },
    Notify {
        origin: Origin,
        notification_id: NotificationId,
        created_at: UnixMillis,
    },
    ListExpansions,
    Expand {
        notification: NotificationKey,
    },
    /// More of the connection's may follow.
    Confirm {
        conn: ConnId,
    },
    Sweep,
    LoadBacklog {
        conn: ConnId,
        choice: BacklogChoice,
    },
    LoadPositions {
        conn: ConnId,
    },
    ReadNotifications {
        conn: ConnId,
    },
    ReadFrames {
        conn: ConnId,
    },
    /// After an outcome was unknown: what of the room is stored.
    ReadHead {
        room_id: RoomId,
    },
}

/// What becomes of a tenant's connections when its key is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sockets {
    Stay,
    Close,
}

/// Who waits for a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A REST request; `tenant` is told about its rate limit.
    Request { request: RequestId, tenant: Option<TenantKey> },
    /// A client frame.
    Frame { conn: ConnId, request_id: Option<String> },
    /// All who came with this key.
    Key(Digest),
    /// A connection that cannot go on without it.
    Session(ConnId),
    /// Nobody any more.
    Nobody,
}

/// A step whose reply has come.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) step: Step,
    /// Whether somebody still waits for it.
    pub(crate) in_time: bool,
    pub(crate) tenant: Option<TenantKey>,
    pub(crate) submitted: MonoMicros,
}

/// The steps that wait.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    last: u64,
    pending: BTreeMap<OpId, Pending>,
    /// In the order of submission, which is the order of the deadlines.
    deadlines: VecDeque<(MonoMicros, OpId)>,
    writes: LaneLoad,
    reads: LaneLoad,
}

#[derive(Debug)]
struct Pending {
    step: Step,
    tenant: Option<TenantKey>,
    lane: Lane,
    submitted: MonoMicros,
    given_up: bool,
}

/// What waits in a lane, the steps that were given up included: they are still queued.
#[derive(Debug, Default)]
struct LaneLoad {
    total: usize,
    by_tenant: BTreeMap<TenantKey, usize>,
}

impl Operations {
    pub(crate) fn begin(&mut self, now: MonoMicros, tenant: Option<TenantKey>, lane: Lane, step: Step) -> OpId {
        self.last += 1;
        let op = OpId(self.last);
        self.pending.insert(op, Pending { step, tenant, lane, submitted: now, given_up: false });
        self.deadlines.push_back((now + STORE_TIMEOUT, op));
        self.load_mut(lane).add(tenant);
        op
    }

    /// Whether a lane takes one more step of a tenant's: it is not full, and no tenant holds more than half of it
    /// while others wait. `None` asks for the lane as a whole.
    pub(crate) fn has_room(&self, lane: Lane, tenant: Option<TenantKey>) -> bool {
        let (load, bound) = match lane {
            Lane::Write => (&self.writes, MAX_WRITES_WAITING),
            Lane::Read => (&self.reads, MAX_READS_WAITING),
        };
        let own = tenant.and_then(|tenant| load.by_tenant.get(&tenant)).copied().unwrap_or(0);
        load.total < bound && (own < bound / 2 || own == load.total)
    }

    /// Takes a step out; `None` for a name that nothing waits under.
    pub(crate) fn finish(&mut self, op: OpId) -> Option<Finished> {
        let Pending { step, tenant, lane, submitted, given_up } = self.pending.remove(&op)?;
        self.load_mut(lane).subtract(tenant);
        while self.deadlines.front().is_some_and(|(_, op)| self.is_settled(*op)) {
            self.deadlines.pop_front();
        }
        Some(Finished { step, in_time: !given_up, tenant, submitted })
    }

    /// Whether nothing waits in the write lane.
    pub(crate) const fn writer_is_idle(&self) -> bool {
        self.writes.total == 0
    }

    pub(crate) fn next_deadline(&self) -> Option<MonoMicros> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// Gives up one step whose time is over: it keeps waiting, but whoever waited for it is handed back.
    pub(crate) fn give_up_one(&mut self, now: MonoMicros) -> Option<(OpId, Origin)> {
        while let Some(&(deadline, op)) = self.deadlines.front() {
            if !self.is_settled(op) && deadline > now {
                return None;
            }
            self.deadlines.pop_front();
            if let Some(pending) = self.pending.get_mut(&op).filter(|pending| !pending.given_up) {
                pending.given_up = true;
                return Some((op, pending.step.take_origin()));
            }
        }
        None
    }

    /// Gives up everything.
    pub(crate) fn give_up_all(&mut self) -> Vec<Origin> {
        self.deadlines.clear();
        let waiting = self.pending.values_mut().filter(|pending| !pending.given_up);
        waiting
            .map(|pending| {
                pending.given_up = true;
                pending.step.take_origin()
            })
            .collect()
    }

    /// Whether nobody waits for the store.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many steps wait in a lane, those included that were given up.
    pub(crate) fn waiting(&self, lane: Lane) -> u64 {
        let load = match lane {
            Lane::Write => &self.writes,
            Lane::Read => &self.reads,
        };
        load.total as u64
    }

    fn is_settled(&self, op: OpId) -> bool {
        self.pending.get(&op).is_none_or(|pending| pending.given_up)
    }

    const fn load_mut(&mut self, lane: Lane) -> &mut LaneLoad {
        match lane {
            Lane::Write => &mut self.writes,
            Lane::Read => &mut self.reads,
        }
    }
}

impl LaneLoad {
    fn add(&mut self, tenant: Option<TenantKey>) {
        self.total += 1;
        if let Some(tenant) = tenant {
            *self.by_tenant.entry(tenant).or_default() += 1;
        }
    }

    fn subtract(&mut self, tenant: Option<TenantKey>) {
        self.total -= 1;
        let Some(tenant) = tenant else {
            return;
        };
        if let Some(own) = self.by_tenant.get_mut(&tenant) {
            *own -= 1;
            if *own == 0 {
                self.by_tenant.remove(&tenant);
            }
        }
    }
}

impl Step {
    /// Who waits for the step; from then on nobody does.
    fn take_origin(&mut self) -> Origin {
        match self {
            Self::Read { origin }
            | Self::ListPresence { origin }
            | Self::CreateRoom { origin, .. }
            | Self::ChangeRoom { origin, .. }
            | Self::DeleteRoom { origin, .. }
            | Self::AddMember { origin, .. }
            | Self::RemoveMember { origin, .. }
            | Self::ChangeMessage { origin, .. }
            | Self::Type { origin, .. }
            | Self::Notify { origin, .. }
            | Self::Append { origin, .. }
            | Self::Acknowledge { origin, .. } => std::mem::replace(origin, Origin::Nobody),
            Self::FindTenant { api_key, .. } => Origin::Key(*api_key),
            Self::CreateTenant { request, .. }
            | Self::ChangeTenant { request, .. }
            | Self::RotateKey { request, .. }
            | Self::DeleteTenant { request, .. } => {
                request.take().map_or(Origin::Nobody, |request| Origin::Request { request, tenant: None })
            }
            Self::LoadBacklog { conn, .. }
            | Self::LoadPositions { conn }
            | Self::ReadNotifications { conn }
            | Self::ReadFrames { conn } => Origin::Session(*conn),
            Self::Boot
            | Self::CheckWritable
            | Self::ReadHead { .. }
            | Self::RefreshTenant { .. }
            | Self::RefreshMessage { .. }
            | Self::ListExpansions
            | Self::Expand { .. }
            | Self::Confirm { .. }
            | Self::Sweep => Origin::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: MonoMicros = MonoMicros(1_000);

    fn begin(operations: &mut Operations, now: MonoMicros, lane: Lane, tenant: i64) -> OpId {
        let step = Step::Read { origin: Origin::Key(Digest([0; 32])) };
        operations.begin(now, Some(TenantKey(tenant)), lane, step)
    }

    #[test]
    fn a_tenant_may_fill_a_lane_alone_but_only_half_of_it_beside_others() {
        let mut operations = Operations::default();
        let first = begin(&mut operations, START, Lane::Read, 1);
        for _ in 1..MAX_READS_WAITING / 2 {
            begin(&mut operations, START, Lane::Read, 1);
        }
        assert!(operations.has_room(Lane::Read, Some(TenantKey(1))), "nobody else waits");
        begin(&mut operations, START, Lane::Read, 2);
        assert!(!operations.has_room(Lane::Read, Some(TenantKey(1))));
        assert!(operations.has_room(Lane::Read, Some(TenantKey(2))));
        assert!(operations.has_room(Lane::Write, Some(TenantKey(1))), "lanes are apart");
        operations.finish(first).unwrap();
        assert!(operations.has_room(Lane::Read, Some(TenantKey(1))));
    }

    #[test]
    fn a_full_lane_takes_nobody() {
        let mut operations = Operations::default();
        for tenant in 0..MAX_READS_WAITING {
            begin(&mut operations, START, Lane::Read, i64::try_from(tenant).unwrap());
        }
        assert!(!operations.has_room(Lane::Read, Some(TenantKey(-1))));
    }

    #[test]
    fn a_step_is_given_up_once_and_its_reply_is_known_to_be_late() {
        let mut operations = Operations::default();
        let op = begin(&mut operations, START, Lane::Write, 1);
        assert_eq!(operations.next_deadline(), Some(START + STORE_TIMEOUT));
        assert!(operations.give_up_one(MonoMicros(STORE_TIMEOUT.0)).is_none());
        let (given_up, origin) = operations.give_up_one(START + STORE_TIMEOUT).unwrap();
        assert_eq!((given_up, origin), (op, Origin::Key(Digest([0; 32]))));
        assert!(operations.give_up_one(START + STORE_TIMEOUT).is_none());
        assert_eq!(operations.next_deadline(), None);
        let finished = operations.finish(op).unwrap();
        assert_eq!((finished.step, finished.in_time), (Step::Read { origin: Origin::Nobody }, false));
        assert!(operations.finish(op).is_none(), "a reply that comes twice finds nothing");
    }

    #[test]
    fn the_next_deadline_is_that_of_the_oldest_step_that_waits() {
        let mut operations = Operations::default();
        let first = begin(&mut operations, START, Lane::Write, 1);
        begin(&mut operations, MonoMicros(5_000), Lane::Write, 1);
        operations.finish(first).unwrap();
        assert_eq!(operations.next_deadline(), Some(MonoMicros(5_000) + STORE_TIMEOUT));
    }
}
