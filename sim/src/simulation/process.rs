//! A server process: its start, its death, its end, and what an earlier life left.

use chatapi_core::store::{NewMessage, StoreRequest};
use chatapi_core::{Config, Core, Input, MessageId, Micros, OpId, RoomId, Seq, TimerKind, UnixMillis};

use super::hearing::Hearing;
use super::{Limits, Phase, Process, Simulation, WALL_START_MS, user_id};
use crate::action::Who;
use crate::invariant::Checked;
use crate::probe::Probe;
use crate::sabotage::Sabotage;

impl Simulation {
    pub(super) fn start(&mut self) -> Checked {
        if self.process.is_some() {
            return Ok(());
        }
        self.check_answered_survived()?;
        self.incarnation += 1;
        self.model.begin_life(self.incarnation);
        let config = Config {
            max_connections_per_user: self.setup.connections_per_user,
            large_room_members: self.setup.large_room_members,
            shutdown_drain_timeout: Micros::from_millis(self.setup.drain_timeout_ms),
            ..Config::default()
        };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.setup.core_seed.to_le_bytes());
        seed[8..16].copy_from_slice(&self.incarnation.to_le_bytes());
        // A process's clock begins anywhere, and not where the one before ended.
        let origin = self.clock.mono - self.incarnation.min(1_000);
        let mut process = Process {
            core: Core::new(config, seed, self.now_since(origin)),
            phase: Phase::Running,
            origin,
            has_booted: false,
        };
        let mut effects = Vec::new();
        while let Some(effect) = process.core.poll_effect() {
            effects.push(effect);
        }
        self.process = Some(process);
        self.last_op = OpId(0);
        self.last_written = None;
        self.reported_appends = 0;
        for tenant in self.tenants.iter_mut().flatten() {
            tenant.requests = Limits::new(tenant.requests.sure);
            tenant.connects = Limits::new(tenant.connects.sure);
        }
        self.carry_out(effects)
    }

    pub(super) fn crash(&mut self) {
        if self.process.is_none() {
            return;
        }
        if self.store.open_count() >= 2 {
            self.probes.hit(Probe::CrashWithUndurable);
        }
        if self.store.has_reports() {
            self.probes.hit(Probe::CrashWithUnreported);
        }
        self.end_process();
        self.store.crash();
        if let Some(differential) = &mut self.differential {
            differential.reopen();
        }
        if self.saboteur.as_ref().is_some_and(|saboteur| saboteur.kind == Sabotage::ForgottenCommit)
            && let Some(earlier) = self.before_last_commit.take()
            && self.answered.iter().any(|(room_id, seq, message_id)| !earlier.holds(room_id, Seq(*seq), message_id))
        {
            self.store.replace_durable(earlier);
        }
    }

    /// Every connection ends, and with it what was asked over it.
    pub(super) fn end_process(&mut self) {
        self.process = None;
        self.links.clear();
        self.hearing = Hearing::default();
        self.heads_at_crash = self.model.rooms().iter().map(|room_id| (room_id.clone(), self.head(room_id))).collect();
        if self.model.unexpanded().is_some_and(|known| !known.named.is_empty()) {
            self.probes.hit(Probe::CrashWhileExpanding);
        }
        for (_, outstanding) in std::mem::take(&mut self.requests) {
            self.note_lost_answer(&outstanding.asked);
        }
    }

    pub(super) fn shut_down(&mut self) -> Checked {
        let now = self.now();
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        if process.phase != Phase::Running {
            // A second one changes nothing.
            return self.input(Input::Shutdown);
        }
        process.phase = Phase::Draining { since: now.mono };
        if !self.requests.is_empty() {
            self.probes.hit(Probe::ShutdownUnderWay);
        }
        let recovers = self.process.as_ref().is_some_and(|process| {
            matches!(process.core.next_timeout(), Some((_, TimerKind::Retry))) || !process.has_booted
        });
        if recovers {
            self.probes.hit(Probe::ShutdownDuringRecovery);
        }
        self.input(Input::Shutdown)
    }

    /// A process that has said that everything is done: its store finishes what is queued, and it is gone.
    pub(super) fn end_stopped_process(&mut self) -> Checked {
        if self.process.as_ref().is_none_or(|process| process.phase != Phase::Stopped) {
            return Ok(());
        }
        self.execute(usize::MAX);
        self.commit()?;
        self.end_process();
        self.store.crash();
        Ok(())
    }

    pub(super) fn prefill(&mut self, who: Who, room: usize, count: u16) -> Checked {
        let rooms: Vec<RoomId> = self.model.rooms_of(&user_id(who)).map(|(room_id, _)| room_id.clone()).collect();
        let key = self.tenant_key(who.tenant);
        let (Some(tenant), false, None) = (key, rooms.is_empty(), &self.process) else {
            return Ok(());
        };
        let room_id = rooms[room % rooms.len()].clone();
        let mut filled = Vec::new();
        for _ in 0..count {
            self.messages_written += 1;
            let request = StoreRequest::AppendMessage(Box::new(NewMessage {
                tenant,
                room_id: room_id.clone(),
                sender_id: user_id(who),
                message_id: MessageId::new(&format!("msg_{:016}", self.messages_written)),
                content: format!("<t{}> #{} of an earlier life", who.tenant, self.messages_written),
                meta: None,
                created_at: UnixMillis(WALL_START_MS),
                idempotency: None,
            }));
            if let Ok(reply) = self.store.prefill(&request) {
                filled.push((request, reply));
            }
        }
        self.learn(filled)?;
        if self.model.room(&room_id).is_some_and(|room| room.head() >= 10_000) {
            self.probes.hit(Probe::TenThousand);
        }
        Ok(())
    }
}
