//! The state machine's frame: what goes in, what comes out, and when it wants to run again.

use std::collections::{BTreeMap, VecDeque};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::api::{ApiError, HealthCheck};
use crate::auth::{TenantCache, TokenTable};
use crate::config::Config;
use crate::effect::{CloseReason, Effect, Event};
use crate::id::{ConnId, IdSource, OpId, RequestId};
use crate::input::Input;
use crate::metrics::{Counters, MetricsSnapshot, ProcessGauges};
use crate::notifications::Expansions;
use crate::operations::{Finished, Operations, Origin, Step};
use crate::recovery::Recovery;
use crate::store::{Lane, StoreFailure, StoreReply, StoreRequest, StoreResult};
use crate::sweeping::Sweeper;
use crate::time::{MonoMicros, Now};
use crate::ws::{Audiences, Frame, Sessions, Typings, server_shutdown};

/// ChatAPI's state machine.
///
/// # The driving contract
///
/// 1. [`Core::new`] wants to boot the store: drain its effects before the first input.
/// 2. After every [`Core::handle`], take effects from [`Core::poll_effect`] until it gives `None`. The next input is
///    refused by a panic while any are left.
/// 3. Carry effects out in the order they came in, those of one input before those of the next. Only their hand-over
///    to queues needs to happen in this order; sockets and disks may take their time.
/// 4. Every [`Effect::Store`] is answered by one [`Input::Stored`] with its name; those of the write lane in the order
///    of submission, and not before they are durable. [`StoreRequest::lane`] says which lane a request takes. How many
///    wait in each is bounded by the core: [`crate::MAX_WRITES_WAITING`], [`crate::MAX_READS_WAITING`].
/// 5. Every [`Input::Request`] is answered by one [`Effect::Respond`]; every [`Input::Handshake`] by one
///    [`Effect::Respond`] or [`Effect::Accept`]. If its socket is gone by then, drop the answer; for an accept, report
///    [`Input::Closed`].
/// 6. From its accept on a connection takes [`Input::Frame`], [`Input::Heard`] and [`Input::Flushed`], and ends with
///    one [`Input::Closed`], whoever ended it. After [`Effect::Close`] nothing for it follows.
/// 7. Call [`Core::handle`] with [`Input::Tick`] once the moment of [`Core::next_timeout`] has come; ask for it anew
///    after every drain. It covers every reason to run again. A late tick delays, an early one does nothing.
/// 8. `now.mono` never decreases; where it does, the core takes the latest it has seen. `now.wall` may jump.
/// 9. After [`Effect::Stop`] nothing is handled any more: what was queued may still be written, the store is closed.
/// 10. The same configuration, seed and inputs give the same effects, bit for bit.
#[derive(Debug)]
pub struct Core {
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) started: MonoMicros,
    pub(crate) ids: IdSource,
    pub(crate) epoch: String,
    pub(crate) phase: Phase,
    pub(crate) operations: Operations,
    pub(crate) tenants: TenantCache,
    pub(crate) tokens: TokenTable,
    pub(crate) sessions: Sessions,
    pub(crate) audiences: Audiences,
    pub(crate) typing: Typings,
    pub(crate) expansions: Expansions,
    pub(crate) sweeper: Sweeper,
    pub(crate) health: HealthCheck,
    pub(crate) recovery: Recovery,
    pub(crate) counters: Counters,
    /// REST requests under way, and since when.
    pub(crate) arrivals: BTreeMap<RequestId, MonoMicros>,
    random: ChaCha20Rng,
    effects: VecDeque<Effect>,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The store has not booted.
    Starting,
    /// Requests are served.
    Serving,
    /// Nothing new is accepted, what is under way is answered.
    Draining { deadline: MonoMicros },
    /// Nothing happens any more.
    Stopped,
}

/// Why the core wants to run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKind {
    /// A store request is given up.
    StoreReply,
    /// The write of a health check is given up.
    Health,
    /// What could not be read from the store is read again.
    Retry,
    /// Something is removed that nobody can see any more.
    Sweep,
    /// A user who has no connection is offline.
    Presence,
    /// A typing has lasted long enough.
    Typing,
    /// A connection is pinged, or was silent or stuck for too long.
    KeepAlive,
    /// A shutdown ends.
    Drain,
}

impl Core {
    /// A core at the start of a run. `seed` decides everything random in it; `now` is the origin of its uptime.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], now: Now) -> Self {
        let mut random = ChaCha20Rng::from_seed(seed);
        let ids = IdSource::new(ChaCha20Rng::from_rng(&mut random));
        let mut core = Self {
            config,
            now,
            started: now.mono,
            ids,
            epoch: String::new(),
            phase: Phase::Starting,
            operations: Operations::default(),
            tenants: TenantCache::default(),
            tokens: TokenTable::default(),
            sessions: Sessions::default(),
            audiences: Audiences::default(),
            typing: Typings::default(),
            expansions: Expansions::default(),
            sweeper: Sweeper::default(),
            health: HealthCheck::default(),
            recovery: Recovery::default(),
            counters: Counters::default(),
            arrivals: BTreeMap::new(),
            random,
            effects: VecDeque::new(),
        };
        core.submit(None, Step::Boot, StoreRequest::Boot);
        core
    }

    /// Takes one input. Never fails and never blocks.
    ///
    /// # Panics
    ///
    /// If effects of the input before are left, or an invariant of the core's own is broken: the store is the truth,
    /// and a process that doubts itself restarts from it.
    pub fn handle(&mut self, now: Now, input: Input) {
        assert!(self.effects.is_empty(), "drain the effects of an input before the next");
        self.now = Now { mono: now.mono.max(self.now.mono), wall: now.wall };
        if self.phase == Phase::Stopped {
            return;
        }
        match input {
            Input::Request { request, body } => {
                self.arrivals.insert(request, self.now.mono);
                self.on_request(request, body);
            }
            Input::Handshake { request, conn, body } => self.on_handshake(request, conn, body),
            Input::Frame { conn, frame } => self.on_frame(conn, *frame),
            Input::Heard { conn } => self.on_heard(conn),
            Input::Flushed { conn, frames, size_bytes, peer_reads } => {
                self.on_flushed(conn, frames, size_bytes, peer_reads);
            }
            Input::Closed { conn, .. } => self.on_closed(conn),
            Input::Stored { op, result } => self.on_stored(op, result),
            Input::Tick => self.on_tick(),
            Input::Shutdown => self.on_shutdown(),
        }
        self.stop_when_drained();
    }

    /// The next thing to carry out; `None` when all of the last input's effects are taken.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Core::handle`] with [`Input::Tick`] at the latest, and why; `None` while nothing is due ever.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(MonoMicros, TimerKind)> {
        let drain = match self.phase {
            Phase::Stopped => return None,
            Phase::Draining { deadline } => Some(deadline),
            Phase::Starting | Phase::Serving => None,
        };
        [
            (self.operations.next_deadline(), TimerKind::StoreReply),
            (self.health.deadline(), TimerKind::Health),
            (self.recovery.next_retry(), TimerKind::Retry),
            (self.sweeper.next(), TimerKind::Sweep),
            (self.sessions.next_grace_end(), TimerKind::Presence),
            (self.typing.next_end(), TimerKind::Typing),
            (self.sessions.next_wake(), TimerKind::KeepAlive),
            (drain, TimerKind::Drain),
        ]
        .into_iter()
        .filter_map(|(at, kind)| Some((at?, kind)))
        .min()
    }

    /// Everything counted so far, for drivers that export it by other ways than `GET /metrics`.
    #[must_use]
    pub fn metrics(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            active_connections: self.sessions.count(),
            messages_sent: self.counters.messages_sent,
            dropped_broadcasts: self.counters.dropped_broadcasts,
            delivery_attempts: self.counters.delivery_attempts,
            delivery_failures: self.counters.delivery_failures,
            requests_answered: self.counters.requests_answered,
            pending_store_writes: self.operations.waiting(Lane::Write),
            pending_store_reads: self.operations.waiting(Lane::Read),
            late_store_replies: self.counters.late_store_replies,
            uptime: self.now.mono - self.started,
            rest_latency: self.counters.rest_latency,
            store_latency: self.counters.store_latency,
            delivery_latency: self.counters.delivery_latency,
            process: ProcessGauges::default(),
        }
    }

    /// How many rooms its connections listen to, each room counted for each connection: a simulation compares it with what
    /// it should be, so that nothing is held for those who are gone.
    #[must_use]
    pub fn rooms_listened_to(&self) -> usize {
        self.audiences.places()
    }

    /// How many REST requests are not answered: a simulation compares it with what it should be.
    #[must_use]
    pub fn requests_under_way(&self) -> usize {
        self.arrivals.len()
    }

    pub(crate) fn emit(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn send_to_one(&mut self, conn: ConnId, frame: Frame) {
        self.emit(Effect::Send { conns: vec![conn], frame });
    }

    /// Hands a step to the store. Callers that act for a tenant ask [`Operations::has_room`] first.
    pub(crate) fn submit(&mut self, tenant: Option<crate::TenantKey>, step: Step, request: StoreRequest) -> OpId {
        let op = self.operations.begin(self.now.mono, tenant, request.lane(), step);
        self.emit(Effect::Store { op, request });
        op
    }

    /// A number below `bound`, which is above zero.
    pub(crate) fn draw_below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    fn on_stored(&mut self, op: OpId, result: StoreResult) {
        let Some(Finished { step, in_time, tenant, submitted }) = self.operations.finish(op) else {
            return;
        };
        self.counters.store_latency.observe(self.now.mono - submitted);
        if !in_time {
            self.counters.late_store_replies += 1;
        }
        if let Err(failure) = result {
            self.emit(Effect::Report(Event::StoreFailed { op, failure }));
        }
        match step {
            Step::Boot => self.on_booted(result),
            Step::CheckWritable => self.on_health_checked(result),
            Step::FindTenant { api_key, keys_version } => self.on_tenant_found(api_key, keys_version, result),
            Step::CreateTenant { request, secrets } => self.on_tenant_created(request, secrets, result),
            Step::Read { origin } => self.on_read(origin, result),
            Step::ListPresence { origin } => self.on_presence_read(origin, tenant, result),
            Step::CreateRoom { origin, actor, room_id, members } => {
                self.on_room_created(origin, actor, room_id, members, tenant, result);
            }
            Step::ChangeTenant { request, tenant_id, given_secret, fresh_secret } => {
                self.on_tenant_changed(request, tenant_id, given_secret, fresh_secret, result);
            }
            Step::RotateKey { request, tenant_id, api_key, sockets } => {
                self.on_key_rotated(request, tenant_id, api_key, sockets, result);
            }
            Step::DeleteTenant { request, tenant_id } => self.on_tenant_deleted(request, tenant_id, result),
            Step::RefreshTenant { tenant_id } => self.on_tenant_refreshed(tenant_id, result),
            Step::ChangeRoom { origin } => self.on_room_changed(origin, result),
            Step::DeleteRoom { origin, room_id } => self.on_room_deleted(origin, room_id, tenant, result),
            Step::AddMember { origin, room_id, user_id } => {
                self.on_member_added(origin, room_id, user_id, tenant, result);
            }
            Step::RemoveMember { origin, room_id, user_id } => {
                self.on_member_removed(origin, room_id, user_id, tenant, result);
            }
            Step::ChangeMessage { origin, room_id, message_id } => {
                self.on_message_changed(origin, room_id, message_id, tenant, result);
            }
            Step::RefreshMessage { room_id, message_id } => {
                self.on_message_refreshed(room_id, message_id, tenant, result);
            }
            Step::Type { origin, conn, room_id, action } => {
                self.on_room_typed_in(origin, conn, &room_id, action, result);
            }
            Step::Notify { origin, notification_id, created_at } => {
                self.on_notified(origin, notification_id, created_at, result);
            }
            Step::ListExpansions => self.on_expansions_listed(result),
            Step::Expand { notification } => self.on_expanded(notification, result),
            Step::Confirm { conn } => self.confirm_notifications(conn),
            Step::Sweep => self.on_swept(result),
            Step::LoadPositions { conn } => self.on_positions(conn, op, result),
            Step::ReadNotifications { conn } => self.on_notifications_read(conn, op, result),
            Step::Append { origin, room_id } => self.on_appended(origin, room_id, tenant, result),
            Step::Acknowledge { origin, room_id, user_id } => {
                self.on_acknowledged(origin, room_id, user_id, tenant, result);
            }
            Step::LoadBacklog { conn, choice } => self.on_backlog(conn, choice, result),
            Step::ReadFrames { conn } => self.on_frames_read(conn, op, result),
            Step::ReadHead { room_id } => self.on_head(room_id, tenant, result),
        }
        self.resume_reading();
    }

    fn on_booted(&mut self, result: StoreResult) {
        let booted = match result {
            Ok(StoreReply::Booted { epoch, newest_id }) => Some((epoch, newest_id)),
            Ok(_) | Err(_) => None,
        };
        let Some((epoch, newest_id)) = booted else {
            self.boot_later();
            return;
        };
        self.epoch = epoch;
        self.ids.continue_after(newest_id.unwrap_or_default());
        if self.phase == Phase::Starting {
            self.phase = Phase::Serving;
            self.emit(Effect::Report(Event::Ready));
            self.list_expansions();
            self.sweep_now();
        }
    }

    fn on_tick(&mut self) {
        let now = self.now.mono;
        while let Some((op, origin)) = self.operations.give_up_one(now) {
            self.emit(Effect::Report(Event::StoreTimedOut { op }));
            self.refuse(origin, StoreFailure::OutcomeUnknown);
        }
        self.give_up_health_check();
        self.retry_readings();
        self.sweep_if_due();
        self.stop_long_typings();
        self.announce_offline();
        self.tenants.forget_unused_keys(now);
        self.keep_alive();
    }

    fn on_shutdown(&mut self) {
        if matches!(self.phase, Phase::Draining { .. }) {
            return;
        }
        self.phase = Phase::Draining { deadline: self.now.mono + self.config.shutdown_drain_timeout };
        for conn in self.sessions.all() {
            let reconnect_after_ms = RECONNECT_AFTER_MS_LEAST + self.draw_below(RECONNECT_AFTER_MS_SPREAD);
            self.send_to_one(conn, server_shutdown(reconnect_after_ms));
            self.close(conn, CloseReason::Shutdown);
        }
    }

    fn stop_when_drained(&mut self) {
        let Phase::Draining { deadline } = self.phase else {
            return;
        };
        if self.now.mono >= deadline {
            for origin in self.operations.give_up_all() {
                self.refuse(origin, StoreFailure::OutcomeUnknown);
            }
            self.abandon_health_check();
        } else if !self.operations.is_idle() {
            return;
        }
        self.phase = Phase::Stopped;
        self.emit(Effect::Stop);
    }

    /// Tells whoever waits for a step that the store could not serve it.
    pub(crate) fn refuse(&mut self, origin: Origin, failure: StoreFailure) {
        match origin {
            Origin::Request { request, tenant } => self.respond(request, tenant, Err(failure.into())),
            Origin::Frame { conn, request_id } => self.answer_error(conn, &failure.into(), request_id.as_deref()),
            Origin::Key(api_key) => self.key_lookup_failed(api_key, failure),
            Origin::Session(conn) => self.close(conn, CloseReason::StoreUnavailable),
            Origin::Nobody => {}
        }
    }
}

/// `reconnect_after_ms` lies between 2,500 and 7,500 (protocol, section 10).
const RECONNECT_AFTER_MS_LEAST: u64 = 2_500;
const RECONNECT_AFTER_MS_SPREAD: u64 = 5_001;

impl From<StoreFailure> for ApiError {
    fn from(failure: StoreFailure) -> Self {
        match failure {
            StoreFailure::Busy => Self::unavailable("storage is busy: nothing was changed, try again", 1_000),
            StoreFailure::Full => Self::unavailable("storage is full: nothing was changed, try again later", 5_000),
            StoreFailure::Failed => Self::unavailable("storage failed: nothing was changed, try again", 1_000),
            StoreFailure::OutcomeUnknown => Self::unavailable(
                "storage did not confirm the outcome: look before you repeat, or repeat with the same Idempotency-Key",
                1_000,
            ),
        }
    }
}
