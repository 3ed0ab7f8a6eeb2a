//! The second phase: faults stop, everyone reads and comes back, and within a bounded time every obligation is met.

use chatapi_core::{ConnId, Micros, RoomId, Seq, TimerKind};

use super::frames::must_hear;
use super::link::{Link, Owed, Told};
use super::{Phase, Simulation, user_id};
use crate::action::{Connect, OnRoom, OnTopic, Page, Peer, Position, Probe as Look, Rest, RoomPick, Who};
use crate::invariant::{Checked, Invariant, Violation, ensure};
use crate::probe::Probe;

/// How long everything may take to come to rest.
const PEACE: Micros = Micros::from_secs(200);

impl Simulation {
    /// Ends the faults and checks everything that is owed.
    ///
    /// # Errors
    ///
    /// The first invariant that is broken.
    pub fn make_peace(&mut self) -> Checked {
        self.tell(|_| "* peace".to_owned());
        self.come_to_rest()?;
        self.is_peace = true;
        self.check_quiet()?;
        self.check_everyone_caught_up()?;
        self.check_presence_at_peace()?;
        self.audit()?;
        // Long enough for everyone to be heard of once more.
        self.advance(Micros::from_secs(40))?;
        self.settle()?;
        self.check_nothing_pending()?;
        // What a fresh process knows is what is durable.
        self.crash();
        self.is_peace = false;
        self.come_to_rest()?;
        self.is_peace = true;
        self.has_restarted_in_peace = true;
        self.audit()?;
        self.check_answered_survived()
    }

    /// Which promise is broken by something that is missing now.
    pub(super) const fn restart_invariant(&self) -> Invariant {
        if self.has_restarted_in_peace { Invariant::RestartEqualsStore } else { Invariant::EveryoneCatchesUp }
    }

    fn come_to_rest(&mut self) -> Checked {
        let stalled: Vec<ConnId> =
            self.links.values().filter(|link| link.peer == Peer::Stalls).map(|link| link.conn).collect();
        for conn in stalled {
            if let Some(link) = self.links.get_mut(&conn) {
                link.peer = Peer::Reads;
            }
        }
        self.settle()?;
        // A shutdown under way comes to its end first.
        for _ in 0..100 {
            if self.process.as_ref().is_none_or(|process| process.phase == Phase::Running) {
                break;
            }
            self.advance(Micros::from_secs(1))?;
            self.settle()?;
        }
        let has_ended = self.process.as_ref().is_none_or(|process| process.phase == Phase::Running);
        ensure!(has_ended, CleanShutdown, "the shutdown does not end");
        self.start()?;
        let end = self.clock.mono + PEACE.0;
        while self.clock.mono < end {
            self.settle()?;
            self.advance(Micros::from_secs(10))?;
        }
        self.settle()?;
        // What nobody created in the scenario is not missed.
        for number in 0..self.setup.tenants {
            self.create_tenant(number)?;
            self.settle()?;
        }
        Ok(())
    }

    fn check_quiet(&mut self) -> Checked {
        let unanswered = self.requests.values().find(|outstanding| !outstanding.is_abandoned);
        ensure!(unanswered.is_none(), OneAnswer, "in peace {unanswered:?} is not answered");
        let Some(process) = &self.process else {
            return Ok(());
        };
        let metrics = process.core.metrics();
        let pending = metrics.pending_store_writes + metrics.pending_store_reads;
        ensure!(pending == 0, OperationsOnce, "in peace {pending} steps are pending");
        let under_way = process.core.requests_under_way();
        ensure!(under_way == 0, OneAnswer, "in peace {under_way} requests count as under way");
        let expected: usize = self.links.values().map(|link| self.model.rooms_of(&link.user).count()).sum();
        let listened_to = process.core.rooms_listened_to();
        ensure!(
            listened_to == expected,
            OperationsOnce,
            "in peace {listened_to} places in audiences are taken, {expected} are due to open connections"
        );
        let next = process.core.next_timeout();
        ensure!(
            next.is_none_or(|(_, kind)| matches!(kind, TimerKind::KeepAlive | TimerKind::Sweep)),
            NoSpinning,
            "in peace the core wants to run for {next:?}"
        );
        for link in self.links.values() {
            ensure!(link.peer != Peer::Vanishes, BoundedQueues, "{:?} vanished long ago and is still open", link.conn);
            ensure!(!link.has_queued(), BoundedQueues, "in peace something waits for {:?}", link.conn);
            let mut owed = link.owed.values().filter(|owed| self.must_be_answered(link, owed));
            let owed = owed.next();
            ensure!(owed.is_none(), OneAnswer, "{:?} was never answered {owed:?}", link.conn);
            ensure!(
                link.sent.synced || !link.wants_backlog,
                EveryoneCatchesUp,
                "{:?} of {} was never synced",
                link.conn,
                link.user
            );
        }
        Ok(())
    }

    /// A typing is answered only where it is refused.
    fn must_be_answered(&self, link: &Link, owed: &Owed) -> bool {
        match owed {
            Owed::Typing { room_id } => self.model.room(room_id).is_none_or(|room| room.tenant != link.who.tenant),
            Owed::Message { .. } | Owed::Ack { .. } | Owed::Sync | Owed::Pong => true,
        }
    }

    /// Every open connection has every message of its rooms, up to the newest.
    fn check_everyone_caught_up(&mut self) -> Checked {
        let mut caught_up = false;
        for link in self.links.values().filter(|link| must_hear(link)) {
            for (room_id, room) in self.model.rooms_of(&link.user) {
                let head = room.head();
                match link.sent.positions.get(room_id).copied() {
                    Some(position) => {
                        caught_up |= link.sent.positions.len() > 1 && position > 100;
                        ensure!(
                            position == head,
                            EveryoneCatchesUp,
                            "{:?} of {} has {position} of {head} messages of {room_id}",
                            link.conn,
                            link.user
                        );
                    }
                    None => ensure!(
                        !link.wants_backlog || room.last_ack(&link.user) == head,
                        EveryoneCatchesUp,
                        "{:?} of {} has no message of {room_id}, which has {head}",
                        link.conn,
                        link.user
                    ),
                }
            }
            if link.was_stalled {
                caught_up = true;
            }
        }
        if caught_up {
            self.probes.hit(Probe::SlowReaderCaughtUp);
        }
        Ok(())
    }

    /// Everyone comes back and looks at everything.
    fn audit(&mut self) -> Checked {
        for tenant in 0..self.setup.tenants {
            for user in 0..self.setup.users {
                self.audit_user(Who { tenant, user })?;
            }
        }
        self.probe(Look::Ready)?;
        self.probe(Look::Metrics)?;
        self.probe(Look::Health)?;
        self.settle()
    }

    fn audit_user(&mut self, who: Who) -> Checked {
        let user = user_id(who);
        // Room for one more connection, and for the requests of this look.
        let own: Vec<ConnId> = self.links.values().filter(|link| link.user == user).map(|link| link.conn).collect();
        for conn in own {
            self.links.remove(&conn);
            self.input(chatapi_core::Input::Closed { conn, by: chatapi_core::ClosedBy::Client })?;
        }
        self.patiently(who, |world| world.connect(who, Connect { token: None, sync: true, as_other: false }))?;
        self.check_backlog(who)?;
        self.patiently(who, |world| world.ask_rest(who, &Rest::ListRooms { limit: 1_000 }))?;
        self.patiently(who, |world| world.ask_rest(who, &Rest::Topic(OnTopic::List)))?;
        let rooms: Vec<RoomId> = self.model.rooms_of(&user).map(|(room_id, _)| room_id.clone()).collect();
        for (index, room_id) in rooms.iter().enumerate() {
            let room = RoomPick::Own(u16::try_from(index).unwrap_or(u16::MAX));
            self.patiently(who, |world| world.ask_rest(who, &Rest::ListMembers(room)))?;
            self.patiently(who, |world| world.ask_rest(who, &Rest::ReadRoom(room)))?;
            self.patiently(who, |world| world.ask_rest(who, &Rest::Room(room, OnRoom::Receipts)))?;
            let head = self.head(room_id);
            // The newest and the oldest page.
            for page in [
                Page { from: Position::Past(1), backwards: true, limit: 100 },
                Page { from: Position::Back(u16::try_from(head).unwrap_or(u16::MAX)), backwards: false, limit: 100 },
            ] {
                self.patiently(who, |world| world.ask_rest(who, &Rest::History(room, page)))?;
            }
        }
        Ok(())
    }

    /// Does something after a moment in which the rate limit recovers, and waits for its end.
    fn patiently(&mut self, who: Who, act: impl FnOnce(&mut Self) -> Checked) -> Checked {
        let now = self.now().mono;
        let is_exhausted = self.tenants[usize::from(who.tenant)]
            .as_ref()
            .is_some_and(|tenant| tenant.requests.possible.left(now) == 0 || tenant.connects.possible.left(now) == 0);
        if is_exhausted {
            self.advance(Micros::from_millis(1_001))?;
        }
        act(self)?;
        self.settle()
    }

    /// A fresh connection got exactly what its user has not acknowledged.
    fn check_backlog(&mut self, who: Who) -> Checked {
        let user = user_id(who);
        let invariant = self.restart_invariant();
        let Some(link) = self.links.values().find(|link| link.user == user && link.closed.is_none()) else {
            return Err(Violation::new(invariant, format!("in peace {user} could not connect")));
        };
        if !link.sent.synced {
            return Err(Violation::new(invariant, format!("in peace the connect of {user} was not synced")));
        }
        let mut missed = 0;
        let mut told = Told::default();
        for (room_id, room) in self.model.rooms_of(&user) {
            let (acked, head) = (room.last_ack(&user), room.head());
            let position = link.sent.positions.get(room_id).copied();
            let expected = (acked < head).then_some(head);
            if position != expected {
                let what = format!("{user} missed {acked}..{head} of {room_id} and was sent up to {position:?}");
                return Err(Violation::new(invariant, what));
            }
            missed += (head - acked).min(1_000);
            told.rooms += u64::from(acked < head);
            if head - acked > 1_000 {
                told.truncated.insert(room_id.clone(), head - 999);
            }
        }
        if link.sent.before_sync != missed {
            let what = format!("{user} missed {missed} messages and was sent {}", link.sent.before_sync);
            return Err(Violation::new(invariant, what));
        }
        told.messages = missed;
        if link.sent.told != told {
            return Err(Violation::new(invariant, format!("{user} is told {:?}, it was {told:?}", link.sent.told)));
        }
        if missed > 0 && self.incarnation > 1 {
            self.probes.hit(Probe::ResumeAcrossCrash);
        }
        Ok(())
    }

    /// Every message that a sender was told of is in the store, after all.
    pub(super) fn check_answered_survived(&self) -> Checked {
        for (room_id, seq, message_id) in &self.answered {
            let survives = self.store.durable().holds(room_id, Seq(*seq), message_id);
            ensure!(survives, AnsweredSurvives, "{room_id} {seq} was answered and is gone");
        }
        Ok(())
    }
}
