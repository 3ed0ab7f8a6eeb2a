//! A world that one list of actions decides: the real core between simulated clients, sockets, a store and a clock.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `mod.rs` | the world, the clock, what an action does to the store and the process |
//! | `clients.rs` | what clients do: requests, handshakes, frames |
//! | `effects.rs` | what the core wants done, checked as it comes |
//! | `answers.rs` | what clients were answered, compared with the model |
//! | `frames.rs` | what connections were sent, compared with the model |
//! | `peace.rs` | the second phase: faults stop, and every obligation must be met |
//! | `link.rs`, `staged_store.rs`, `bucket.rs` | a connection, the store's stages, the rate limit as an oracle sees it |

mod answers;
mod bucket;
mod clients;
mod effects;
mod frames;
mod link;
mod peace;
mod staged_store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chatapi_core::api::ResponseMeta;
use chatapi_core::store::{NewMessage, StoreReply, StoreRequest, StoreResult};
use chatapi_core::{
    Config, ConnId, Core, Input, MessageId, Micros, MonoMicros, Now, OpId, RequestId, RoomId, Seq, TimerKind,
    UnixMillis, UserId,
};

use crate::action::{Action, CommitFault, Peer, Scenario, Setup, Who};
use crate::differential::Differential;
use crate::entropy::{Counter, MASTER_KEY};
use crate::invariant::{Checked, Violation, ensure};
use crate::memory_store::MemoryStore;
use crate::model::Model;
use crate::probe::{Probe, Probes};
use crate::sabotage::{Sabotage, Saboteur};
use crate::story::Story;
use crate::trace::Trace;
use bucket::Debt;
use clients::Asked;
use effects::Handling;
use link::Link;
use staged_store::StagedStore;

/// The wall clock at the start: 2025-12-13T12:10:00Z.
const WALL_START_MS: i64 = 1_765_627_800_000;

/// A socket whose peer reads takes what waits for it within this time.
const SOCKETS_KEEP_UP: Micros = Micros::from_secs(1);

/// A world.
#[derive(Debug)]
pub struct Simulation {
    setup: Setup,
    clock: Clock,
    process: Option<Process>,
    incarnation: u64,
    store: StagedStore,
    model: Model,
    links: BTreeMap<ConnId, Link>,
    requests: BTreeMap<RequestId, Outstanding>,
    tenants: Vec<Option<Tenant>>,
    tokens: Vec<Token>,
    last_id: u64,
    messages_written: u64,
    last_op: OpId,
    entropy: Counter,
    trace: Trace,
    probes: Probes,
    story: Option<Story>,
    saboteur: Option<Saboteur>,
    differential: Option<Differential>,
    /// Transactions before the last, for a store that forgets.
    before_last_commit: Option<MemoryStore>,
    /// Texts of which a sender was told that they are stored, and never heard so.
    lost_answers: Vec<String>,
    clock_was_set_back: bool,
    /// Messages that a sender was told of.
    answered: Vec<(RoomId, u64, MessageId)>,
    /// Faults are over; what was due may be late no more.
    is_peace: bool,
    /// What is missing now was known before the last restart.
    has_restarted_in_peace: bool,
    inputs: u64,
    effects_of_last_input: usize,
    handling: Handling,
    /// The frame under way was refused by the rate limit.
    frame_refused: bool,
    /// Accepted connections whose sockets had gone.
    gone: Vec<ConnId>,
}

/// A server process.
#[derive(Debug)]
struct Process {
    core: Core,
    phase: Phase,
    /// The moment that its monotonic clock calls zero.
    origin: u64,
    has_booted: bool,
}

/// How far a process has come, as the world sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Draining { since: MonoMicros },
    Stopped,
}

/// Simulated time. The monotonic clock of the world never stops; that of a process begins with it.
#[derive(Debug, Clone, Copy)]
struct Clock {
    mono: u64,
    wall_ms: i64,
    /// Microseconds that have not made up a millisecond of the wall clock.
    rest: u64,
}

/// A tenant, as its backend knows it.
#[derive(Debug, Clone)]
struct Tenant {
    api_key: String,
    requests: Limits,
    connects: Limits,
}

/// Two oracles of a rate limit: what was surely admitted, and what may have been.
#[derive(Debug, Clone, Copy)]
struct Limits {
    sure: Debt,
    possible: Debt,
}

/// The two buckets of a tenant (protocol, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BucketName {
    Requests,
    Connects,
}

/// A token, as its user knows it.
#[derive(Debug, Clone)]
struct Token {
    text: String,
    who: Who,
    issued: MonoMicros,
    incarnation: u64,
    uses: u32,
    admitted: bool,
}

/// A request that was not answered yet.
#[derive(Debug)]
struct Outstanding {
    who: Option<Who>,
    asked: Asked,
    meta: ResponseMeta,
    /// Nobody waits for the answer any more.
    is_abandoned: bool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Inputs that the core handled.
    pub inputs: u64,
    /// Simulated time, in microseconds.
    pub simulated: u64,
    /// How often the process died.
    pub crashes: u64,
    /// States that were reached.
    pub probes: Probes,
    /// The digest of everything that went in and came out.
    pub trace: String,
    /// What was broken, if anything.
    pub violation: Option<Violation>,
    /// Lines of the story, where one was asked for.
    pub story: Vec<String>,
    /// The kinds of request that SQLite answered as the model did.
    pub answered_by_sqlite: BTreeSet<&'static str>,
}

impl Simulation {
    /// A world before its first action, with a server that has just been started.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        let tenants = usize::from(setup.tenants);
        Self {
            setup: setup.clone(),
            clock: Clock { mono: 1_000_000, wall_ms: WALL_START_MS, rest: 0 },
            process: None,
            incarnation: 0,
            store: StagedStore::new("epoch"),
            model: Model::default(),
            links: BTreeMap::new(),
            requests: BTreeMap::new(),
            tenants: vec![None; tenants],
            tokens: Vec::new(),
            last_id: 0,
            messages_written: 0,
            last_op: OpId(0),
            entropy: Counter::default(),
            trace: Trace::default(),
            probes: Probes::default(),
            story: None,
            saboteur: None,
            differential: None,
            before_last_commit: None,
            lost_answers: Vec::new(),
            clock_was_set_back: false,
            answered: Vec::new(),
            is_peace: false,
            has_restarted_in_peace: false,
            inputs: 0,
            effects_of_last_input: 0,
            handling: Handling::Other,
            frame_refused: false,
            gone: Vec::new(),
        }
    }

    /// Tells the run as a story.
    pub fn tell_story(&mut self) {
        self.story = Some(Story::default());
    }

    /// Puts a saboteur between the core and the world.
    pub fn sabotage(&mut self, kind: Sabotage) {
        self.saboteur = Some(Saboteur::new(kind));
    }

    /// Lets SQLite carry out everything too, and compares.
    pub fn compare_with_sqlite(&mut self, differential: Differential) {
        self.differential = Some(differential);
    }

    /// Does everything in a scenario and then makes peace.
    ///
    /// # Errors
    ///
    /// The first invariant that is broken.
    pub fn run(&mut self, scenario: &Scenario) -> Checked {
        self.begin()?;
        for action in &scenario.actions {
            self.apply(action)?;
        }
        self.make_peace()
    }

    /// Starts the first process.
    ///
    /// # Errors
    ///
    /// The first invariant that is broken.
    pub fn begin(&mut self) -> Checked {
        self.start()
    }

    /// What the run came to.
    #[must_use]
    pub fn outcome(self, result: Checked) -> Outcome {
        Outcome {
            inputs: self.inputs,
            simulated: self.clock.mono,
            crashes: self.incarnation.saturating_sub(1),
            probes: self.probes,
            trace: self.trace.digest(),
            violation: result.err(),
            story: self.story.map(Story::into_lines).unwrap_or_default(),
            answered_by_sqlite: self.differential.map(|sqlite| sqlite.answered().clone()).unwrap_or_default(),
        }
    }

    /// Whether a server process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// How many connections are open.
    #[must_use]
    pub fn open_links(&self) -> usize {
        self.links.len()
    }

    /// Lets an action happen. One that has nothing to act on does nothing.
    ///
    /// # Errors
    ///
    /// The first invariant that is broken.
    pub fn apply(&mut self, action: &Action) -> Checked {
        self.tell(|_| format!("* {action:?}"));
        match action {
            Action::CreateTenant(number) => self.create_tenant(*number),
            Action::Rest(who, rest) => self.ask_rest(*who, rest),
            Action::Probe(probe) => self.probe(*probe),
            Action::Connect(who, connect) => self.connect(*who, *connect),
            Action::Frame(pick, frame) => self.send_frame(*pick, *frame),
            Action::Garbage(pick, count) => self.send_garbage(*pick, *count),
            Action::LoseAnswer(pick) => {
                self.lose_answer(*pick);
                Ok(())
            }
            Action::Disconnect(pick, ending) => self.disconnect(*pick, *ending),
            Action::SetPeer(pick, peer) => self.set_peer(*pick, *peer),
            Action::Flush(pick, count) => match self.pick_link(*pick) {
                Some(conn) => self.flush(conn, usize::from(*count)),
                None => Ok(()),
            },
            Action::Execute(count) => {
                self.execute(usize::from(*count));
                Ok(())
            }
            Action::Commit => self.commit(),
            Action::FailCommit(fault) => self.fail_commit(*fault),
            Action::RefuseWrite(refusal) => {
                self.store.refuse_write(*refusal);
                Ok(())
            }
            Action::Report(count) => self.report(usize::from(*count)),
            Action::Read(pick) => self.read(usize::from(*pick)),
            Action::RefuseRead(pick, refusal) => {
                self.store.refuse_read(usize::from(*pick), *refusal);
                Ok(())
            }
            Action::ReportRead(pick) => self.report_read(usize::from(*pick)),
            Action::Settle => self.settle(),
            Action::Advance(span) => self.advance(Micros(*span)),
            Action::Oversleep(span) => self.oversleep(Micros(*span)),
            Action::StepWallClock(by_ms) => {
                self.step_wall_clock(*by_ms);
                Ok(())
            }
            Action::Crash => {
                self.crash();
                Ok(())
            }
            Action::Shutdown => self.shut_down(),
            Action::Start => self.start(),
            Action::Prefill(who, room, count) => self.prefill(*who, usize::from(*room), *count),
        }
    }

    fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let line = line(self);
            let at = self.clock.mono;
            if let Some(story) = &mut self.story {
                story.line(at, line);
            }
        }
    }

    // The process.

    fn start(&mut self) -> Checked {
        if self.process.is_some() {
            return Ok(());
        }
        self.check_answered_survived()?;
        self.incarnation += 1;
        let config = Config {
            max_connections_per_user: self.setup.connections_per_user,
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
        for tenant in self.tenants.iter_mut().flatten() {
            tenant.requests = Limits::new(tenant.requests.sure);
            tenant.connects = Limits::new(tenant.connects.sure);
        }
        self.carry_out(effects)
    }

    fn crash(&mut self) {
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
    fn end_process(&mut self) {
        self.process = None;
        self.links.clear();
        for (_, outstanding) in std::mem::take(&mut self.requests) {
            self.note_lost_answer(&outstanding.asked);
        }
    }

    fn shut_down(&mut self) -> Checked {
        let now = self.now();
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        if process.phase != Phase::Running {
            return Ok(());
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
    fn end_stopped_process(&mut self) -> Checked {
        if self.process.as_ref().is_none_or(|process| process.phase != Phase::Stopped) {
            return Ok(());
        }
        self.execute(usize::MAX);
        self.commit()?;
        self.end_process();
        self.store.crash();
        Ok(())
    }

    fn prefill(&mut self, who: Who, room: usize, count: u16) -> Checked {
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

    // The store.

    fn execute(&mut self, count: usize) {
        self.store.execute(count);
    }

    fn commit(&mut self) -> Checked {
        if self.saboteur.as_ref().is_some_and(|saboteur| saboteur.kind == Sabotage::ForgottenCommit)
            && self.store.has_open()
        {
            self.before_last_commit = Some(self.store.durable().clone());
        }
        let committed = self.store.commit();
        self.learn(committed)
    }

    fn fail_commit(&mut self, fault: CommitFault) -> Checked {
        if self.store.has_open() {
            match fault {
                CommitFault::Kept => self.probes.hit(Probe::UnknownButKept),
                CommitFault::Lost => self.probes.hit(Probe::UnknownAndLost),
                CommitFault::RolledBack(_) => {}
            }
        }
        let committed = self.store.fail_commit(fault);
        self.learn(committed)
    }

    /// The model takes in what became durable.
    fn learn(&mut self, mut committed: Vec<(StoreRequest, StoreReply)>) -> Checked {
        for (request, reply) in &mut committed {
            if let Some(saboteur) = &mut self.saboteur {
                saboteur.on_commit(reply);
            }
            if self.model.forgets_a_key(request, reply) {
                self.probes.hit(Probe::KeyForgotten);
            }
            self.model.commit(request, reply)?;
        }
        match &mut self.differential {
            Some(differential) => differential.commit(committed),
            None => Ok(()),
        }
    }

    fn report(&mut self, count: usize) -> Checked {
        let is_early = self.saboteur.as_ref().is_some_and(|saboteur| saboteur.kind == Sabotage::EarlyReport);
        for _ in 0..count {
            let report = self.store.take_report().or_else(|| if is_early { self.store.take_undurable() } else { None });
            let Some((op, result)) = report else {
                return Ok(());
            };
            self.tell_stored(op, result)?;
            if is_early {
                return Ok(());
            }
        }
        Ok(())
    }

    fn read(&mut self, pick: usize) -> Checked {
        let Some((request, result)) = self.store.read(pick) else {
            return Ok(());
        };
        if let (StoreRequest::ReadFrames { room_id, .. }, Ok(StoreReply::Frames(page))) = (&request, &result) {
            let newest = page.last().map_or(0, |(seq, _)| seq.0);
            if self.store.unreported_appends().any(|(room, seq)| room == room_id && seq.0 <= newest) {
                self.probes.hit(Probe::PageAheadOfPushes);
            }
        }
        match &mut self.differential {
            Some(differential) => differential.read(&request, &result),
            None => Ok(()),
        }
    }

    fn report_read(&mut self, pick: usize) -> Checked {
        let Some((op, result)) = self.store.take_read_result(pick) else {
            return Ok(());
        };
        let is_page = matches!(&result, Ok(StoreReply::Frames(page)) if !page.is_empty());
        self.tell_stored(op, result)?;
        if is_page && self.effects_of_last_input == 0 {
            self.probes.hit(Probe::StaleRead);
        }
        Ok(())
    }

    fn tell_stored(&mut self, op: OpId, mut result: StoreResult) -> Checked {
        if let Some(saboteur) = &mut self.saboteur {
            saboteur.on_report(&mut result, self.incarnation);
        }
        let was_starting = self.process.as_ref().is_some_and(|process| !process.has_booted);
        if matches!(result, Ok(StoreReply::Booted { .. })) {
            if let Some(process) = &mut self.process {
                process.has_booted = true;
            }
        } else if was_starting && result.is_err() {
            self.probes.hit(Probe::BootFailed);
        }
        let late = self.late_replies();
        self.input(Input::Stored { op, result })?;
        if self.late_replies() > late {
            self.probes.hit(Probe::LateReply);
        }
        Ok(())
    }

    fn late_replies(&self) -> u64 {
        self.process.as_ref().map_or(0, |process| process.core.metrics().late_store_replies)
    }

    /// Everything under way comes to its end, without time passing.
    fn settle(&mut self) -> Checked {
        for _ in 0..10_000 {
            self.flush_all()?;
            if self.store.is_idle() {
                return self.end_stopped_process();
            }
            self.execute(usize::MAX);
            self.commit()?;
            self.report(usize::MAX)?;
            while self.store.has_reads() {
                self.read(0)?;
                self.report_read(0)?;
            }
            self.report_read(0)?;
        }
        ensure!(false, NoSpinning, "the store is asked without end: {:?}", self.store.oldest_unreported_read());
        Ok(())
    }

    // Time.

    fn now(&self) -> Now {
        self.now_since(self.process.as_ref().map_or(0, |process| process.origin))
    }

    fn now_since(&self, origin: u64) -> Now {
        Now { mono: MonoMicros(self.clock.mono - origin), wall: UnixMillis(self.clock.wall_ms) }
    }

    fn next_timeout(&self) -> Option<(MonoMicros, TimerKind)> {
        if self.saboteur.as_ref().is_some_and(|saboteur| saboteur.kind == Sabotage::Restless) {
            return Some((self.now().mono, TimerKind::Retry));
        }
        self.process.as_ref().and_then(|process| process.core.next_timeout())
    }

    fn advance(&mut self, span: Micros) -> Checked {
        let end = self.clock.mono + span.0;
        if span >= SOCKETS_KEEP_UP {
            self.flush_all()?;
        }
        while let Some((at, kind)) = self.next_timeout() {
            let origin = self.process.as_ref().map_or(0, |process| process.origin);
            if at.0 + origin > end {
                break;
            }
            self.move_clock(at.0 + origin);
            self.tick(kind)?;
            self.flush_all()?;
        }
        self.move_clock(end);
        self.end_stopped_process()
    }

    fn oversleep(&mut self, span: Micros) -> Checked {
        if span >= SOCKETS_KEEP_UP {
            self.flush_all()?;
        }
        let due = self.next_timeout();
        self.move_clock(self.clock.mono + span.0);
        let now = self.now().mono;
        match due.filter(|(at, _)| *at <= now) {
            Some((at, kind)) => {
                if (now - at).0 >= 10_000_000 {
                    self.probes.hit(Probe::LateTick);
                }
                self.tick(kind)
            }
            None => Ok(()),
        }
    }

    fn tick(&mut self, kind: TimerKind) -> Checked {
        self.input(Input::Tick)?;
        let now = self.now().mono;
        let next = self.next_timeout();
        ensure!(
            next.is_none_or(|(at, _)| at > now),
            NoSpinning,
            "after a tick for {kind:?} at {now:?} the next time-out is {next:?}"
        );
        Ok(())
    }

    fn move_clock(&mut self, to: u64) {
        let micros = to.saturating_sub(self.clock.mono) + self.clock.rest;
        self.clock.mono = self.clock.mono.max(to);
        self.clock.wall_ms += i64::try_from(micros / 1_000).unwrap_or(i64::MAX);
        self.clock.rest = micros % 1_000;
    }

    fn step_wall_clock(&mut self, by_ms: i64) {
        self.clock.wall_ms = (self.clock.wall_ms + by_ms).max(0);
        if by_ms < 0 {
            self.clock_was_set_back = true;
            self.probes.hit(Probe::ClockSetBack);
        }
    }

    // Connections.

    fn pick_link(&self, pick: u16) -> Option<ConnId> {
        let count = self.links.len();
        self.links.keys().nth(usize::from(pick) % count.max(1)).copied()
    }

    fn flush_all(&mut self) -> Checked {
        let queued: Vec<ConnId> = self
            .links
            .iter()
            .filter(|(_, link)| link.peer != Peer::Stalls && (link.has_queued() || link.closed.is_some()))
            .map(|(conn, _)| *conn)
            .collect();
        let mut queued: VecDeque<ConnId> = queued.into();
        while let Some(conn) = queued.pop_front() {
            self.flush(conn, usize::MAX)?;
        }
        Ok(())
    }

    fn flush(&mut self, conn: ConnId, count: usize) -> Checked {
        let now = self.now().mono;
        let Some(link) = self.links.get_mut(&conn) else {
            return Ok(());
        };
        let inputs = link.flush(count, now);
        let is_over = link.closed.is_some();
        for input in inputs {
            self.input(input)?;
        }
        if is_over {
            self.links.remove(&conn);
            return self.input(Input::Closed { conn, by: chatapi_core::ClosedBy::Server });
        }
        Ok(())
    }

    fn tenant_key(&self, tenant: u8) -> Option<chatapi_core::TenantKey> {
        self.model.tenant_key(tenant)
    }
}

impl Limits {
    /// Nothing is owed; the rate stays.
    fn new(like: Debt) -> Self {
        let none = like.paid();
        Self { sure: none, possible: none }
    }

    fn of(rate: u32) -> Self {
        Self { sure: Debt::none(rate), possible: Debt::none(rate) }
    }
}

/// A user's id, with a mark of the tenant in it, so that a leak shows in the bytes themselves.
#[must_use]
pub(crate) fn user_id(who: Who) -> UserId {
    UserId::new(&format!("<t{}>u{}", who.tenant, who.user))
}
