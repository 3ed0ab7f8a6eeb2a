//! The core between an input and its effects, each checked as it comes.

use chatapi_core::store::{StoreReply, StoreRequest};
use chatapi_core::{CloseReason, ConnId, Effect, Event, Input, OpId, RequestId};

use super::asked::tenant_served;
use super::link::Link;
use super::requests::Asked;
use super::{BucketName, Phase, Simulation};
use crate::action::Peer;
use crate::invariant::{Checked, Invariant, Violation, ensure};
use crate::probe::Probe;

/// A connection is silent for this long, in microseconds, before another of its user may take its place.
const PING_ANSWER_MAX: u64 = 10_000_000;
/// And this long before it is closed.
const SILENCE_MAX: u64 = 60_000_000;

impl Simulation {
    /// Lets the core handle an input, and carries out what it wants.
    pub(super) fn input(&mut self, mut input: Input) -> Checked {
        let mut now = self.now();
        let mut credentials = None;
        if let (Input::Handshake { conn, .. }, true) = (&input, self.saboteur.is_some()) {
            credentials = self.credentials_of(*conn);
        }
        let happening = self.happening(&input);
        let Some(process) = self.process.as_mut().filter(|process| process.phase != Phase::Stopped) else {
            return Ok(());
        };
        let mut times = 1;
        if let Some(saboteur) = &mut self.saboteur {
            times = saboteur.on_input(&mut now, &mut input, credentials.as_ref());
        }
        self.inputs += 1;
        self.trace.input(now, &input);
        let mut effects = Vec::new();
        for _ in 1..times {
            process.core.handle(now, input.clone());
            while let Some(effect) = process.core.poll_effect() {
                effects.push(effect);
            }
        }
        self.handling = Handling::of(&input);
        self.failing = Failing::of(&input);
        self.failures_blamed = 0;
        self.stores_of_last_input = 0;
        let mut named = 0;
        if let Input::Stored { result: Ok(StoreReply::Frames(pages)), .. } = &input {
            named = pages.iter().map(Vec::len).sum();
        }
        if times > 0 {
            process.core.handle(now, input);
            while let Some(effect) = process.core.poll_effect() {
                effects.push(effect);
            }
        }
        let bound = 64 + 8 * (self.links.len() + self.requests.len()) + named;
        ensure!(
            effects.len() <= bound,
            NoSpinning,
            "{} effects of one input, with {} connections and {} requests",
            effects.len(),
            self.links.len(),
            self.requests.len()
        );
        self.effects_of_last_input = effects.len();
        self.carry_out(effects)?;
        self.check_told(happening)?;
        self.check_cap()?;
        self.handling = Handling::Other;
        self.check_shutdown()
    }

    pub(super) fn carry_out(&mut self, mut effects: Vec<Effect>) -> Checked {
        self.let_saboteur_at(&mut effects);
        self.trace.effects(&effects);
        for effect in effects {
            if self.story.is_some() {
                self.tell(|_| crate::story::effect(&effect));
            }
            let is_stopped = self.process.as_ref().is_some_and(|process| process.phase == Phase::Stopped);
            ensure!(!is_stopped, CleanShutdown, "after Stop came {effect:?}");
            match effect {
                Effect::Store { op, request } => self.on_store(op, request)?,
                Effect::Respond { request, answer } => self.on_answer(request, &answer)?,
                Effect::Accept { request, conn, rate_limit } => {
                    self.on_accept(request, conn)?;
                    let who = self.links.get(&conn).map(|link| link.who);
                    if let Some(who) = who {
                        self.check_remaining(who.tenant, BucketName::Connects, rate_limit)?;
                    }
                }
                Effect::Send { conns, frame } => self.on_send(&conns, &frame)?,
                Effect::Ping { conns } => {
                    let now = self.now().mono;
                    for conn in conns {
                        self.open_link_of(conn)?.queue_ping(now);
                    }
                }
                Effect::Close { conn, reason } => self.on_close(conn, reason)?,
                Effect::Report(event) => self.on_event(&event),
                Effect::Stop => self.on_stop()?,
            }
        }
        Ok(())
    }

    fn let_saboteur_at(&mut self, effects: &mut Vec<Effect>) {
        let is_stopped = self.process.as_ref().is_some_and(|process| process.phase == Phase::Stopped);
        let Some(mut saboteur) = self.saboteur.take() else {
            return;
        };
        let open = || self.links.values().filter(|link| link.closed.is_none() && link.sent.connected);
        let others = |conn: ConnId| {
            let tenant = self.links.get(&conn)?.who.tenant;
            open().find(|link| link.who.tenant != tenant).map(|link| link.conn)
        };
        let strangers = |conn: ConnId, room_id: &chatapi_core::RoomId| {
            let tenant = self.links.get(&conn)?.who.tenant;
            let members = &self.model.room(room_id)?.members;
            let mut outside = open().filter(|link| link.who.tenant == tenant && !members.contains_key(&link.user));
            outside.next().map(|link| link.conn)
        };
        let anyone = self.links.keys().next().copied();
        let fellow = |conns: &[ConnId]| {
            let tenant = self.links.get(conns.first()?)?.who.tenant;
            let users: Vec<_> = conns.iter().filter_map(|conn| Some(&self.links.get(conn)?.user)).collect();
            open().find(|link| link.who.tenant == tenant && !users.contains(&&link.user)).map(|link| link.conn)
        };
        saboteur.on_effects(effects, is_stopped, others, strangers, fellow, anyone);
        self.saboteur = Some(saboteur);
    }

    fn on_store(&mut self, op: OpId, mut request: StoreRequest) -> Checked {
        ensure!(op > self.last_op, OperationsOnce, "{op:?} was submitted after {:?}", self.last_op);
        self.last_op = op;
        if let Some(saboteur) = &mut self.saboteur {
            saboteur.on_submit(&mut request);
        }
        self.check_asked(&request)?;
        self.note_asked(op, &request);
        // Whoever is heard of confirms what it was sent, whatever becomes of its frame.
        self.stores_of_last_input += usize::from(!matches!(request, StoreRequest::ConfirmNotifications { .. }));
        if let Some(tenant) = self.charged_tenant(&request) {
            self.charge(tenant, BucketName::Requests, true, "a request")?;
        }
        self.store.submit(op, request);
        Ok(())
    }

    /// Whose bucket a step was paid from when it was submitted; frames are charged where they are sent.
    fn charged_tenant(&self, request: &StoreRequest) -> Option<u8> {
        let tenant = tenant_served(request)?;
        if self.handling == Handling::Frame { None } else { self.model.tenant_number(tenant) }
    }

    /// Counts work for a tenant. `is_admitted` says whether the core took it on.
    pub(super) fn charge(&mut self, tenant: u8, bucket: BucketName, is_admitted: bool, what: &str) -> Checked {
        let now = self.now().mono;
        let Some(limits) = self.limits_mut(tenant, bucket) else {
            return Ok(());
        };
        if is_admitted {
            limits.sure.add(now);
            limits.possible.add(now);
            ensure!(!limits.sure.is_over(now), RateLimit, "tenant {tenant}: {what} was admitted over the limit");
        } else {
            ensure!(
                limits.possible.left(now) == 0,
                RateLimit,
                "tenant {tenant}: {what} was refused with {} tokens left",
                limits.possible.left(now)
            );
        }
        Ok(())
    }

    /// Work that may have been counted by the core.
    pub(super) fn charge_perhaps(&mut self, tenant: u8, bucket: BucketName) {
        let now = self.now().mono;
        if let Some(limits) = self.limits_mut(tenant, bucket) {
            limits.possible.add(now);
        }
    }

    fn limits_mut(&mut self, tenant: u8, bucket: BucketName) -> Option<&mut super::Limits> {
        let tenant = self.tenants.get_mut(usize::from(tenant))?.as_mut()?;
        Some(match bucket {
            BucketName::Requests => &mut tenant.requests,
            BucketName::Connects => &mut tenant.connects,
        })
    }

    pub(super) fn check_remaining(
        &mut self,
        tenant: u8,
        bucket: BucketName,
        told: chatapi_core::RateLimitStatus,
    ) -> Checked {
        let now = self.now().mono;
        let Some(limits) = self.limits_mut(tenant, bucket) else {
            return Ok(());
        };
        let (least, most) = (limits.possible.left(now), limits.sure.left(now));
        ensure!(
            (least..=most).contains(&u64::from(told.remaining)),
            RateLimit,
            "tenant {tenant} is told that {} tokens remain, it is {least} to {most}",
            told.remaining
        );
        Ok(())
    }

    fn on_accept(&mut self, request: RequestId, conn: ConnId) -> Checked {
        let Some(outstanding) = self.requests.remove(&request) else {
            ensure!(false, OneAnswer, "{request:?} was accepted and is not waiting");
            return Ok(());
        };
        let (Asked::Handshake { conn: named, user, token, sync, as_other }, Some(who)) =
            (&outstanding.asked, outstanding.who)
        else {
            ensure!(false, OneAnswer, "{:?} was accepted as a handshake", outstanding.asked);
            return Ok(());
        };
        ensure!(*named == conn, OneAnswer, "{request:?} was accepted as {conn:?}, it is {named:?}");
        let now = self.now().mono;
        if let Some(index) = *token {
            let incarnation = self.incarnation;
            let token = &mut self.tokens[index];
            ensure!(!token.is_used_up, TokensOnce, "a token of {user} that was used up admitted");
            ensure!(!as_other, TokensOnce, "a token of {user} admitted somebody");
            ensure!(
                token.incarnation == incarnation && now.0 < token.issued.0 + 60_000_000,
                TokensOnce,
                "a token of {user} that was issued at {:?} in life {} admitted at {now:?} in life {incarnation}",
                token.issued,
                token.incarnation
            );
            token.is_used_up = true;
        }
        let is_running = self.process.as_ref().is_some_and(|process| process.phase == Phase::Running);
        ensure!(is_running, CleanShutdown, "{conn:?} was accepted during a shutdown");
        self.charge(who.tenant, BucketName::Connects, true, "a connect")?;
        let mut link = Link::new(conn, who, user.clone(), *sync, now);
        link.sent.failures_at_start = self.failures;
        for (room_id, room) in self.model.rooms_of(user) {
            link.sent.stood_at.insert(room_id.clone(), (room.last_ack(user), room.head()));
        }
        self.accepted.push(link.user.clone());
        self.hearing.of_input.accepted.push(conn);
        self.links.insert(conn, link);
        if outstanding.is_abandoned {
            // The socket was gone before its answer came: the driver says so.
            self.gone.push(conn);
        }
        Ok(())
    }

    /// However many connect, a user has at most so many connections.
    fn check_cap(&mut self) -> Checked {
        for user in std::mem::take(&mut self.accepted) {
            let open = self.links.values().filter(|link| link.closed.is_none() && link.user == user).count();
            let cap = self.setup.connections_per_user as usize;
            ensure!(open <= cap, RateLimit, "{user} has {open} connections, at most {cap} are admitted");
        }
        Ok(())
    }

    /// Tells the core of connections that ended before they were established.
    pub(super) fn report_gone(&mut self) -> Checked {
        for conn in std::mem::take(&mut self.gone) {
            if self.links.remove(&conn).is_some() {
                self.input(Input::Closed { conn, by: chatapi_core::ClosedBy::Error })?;
            }
        }
        Ok(())
    }

    /// A connection that may still be sent to.
    pub(super) fn open_link_of(&mut self, conn: ConnId) -> Checked<&mut Link> {
        match self.links.get_mut(&conn) {
            Some(link) if link.closed.is_none() => Ok(link),
            Some(_) => Err(Violation::new(Invariant::OneAnswer, format!("{conn:?} is sent to after its close"))),
            None => Err(Violation::new(Invariant::OneAnswer, format!("{conn:?} is sent to and is not open"))),
        }
    }

    fn on_close(&mut self, conn: ConnId, reason: CloseReason) -> Checked {
        let now = self.now().mono;
        let cap = self.setup.connections_per_user as usize;
        let link = self.open_link_of(conn)?;
        link.closed = Some(reason);
        self.hearing.of_input.closed.push(conn);
        let link = &self.links[&conn];
        let (who, user) = (link.who, link.user.clone());
        let silent = (now - link.last_heard).0;
        let is_new = !link.sent.connected;
        let pinged = link.pinged;
        let knows_of_shutdown = link.sent.shutdown;
        let peer = link.peer;
        let (queued_bytes, queued_frames) = link.queued();
        let invalid = link.invalid_in_a_row;
        match reason {
            CloseReason::TooManyConnections => {
                let open = self.links.values().filter(|link| link.closed.is_none() && link.user == user).count();
                ensure!(
                    is_new && open >= cap,
                    OneAnswer,
                    "{conn:?} of {user} was closed as one too many beside {open}"
                );
                self.probes.hit(Probe::CapRefused);
            }
            CloseReason::TooManyInvalidFrames => {
                ensure!(invalid >= 20, OneAnswer, "{conn:?} was closed after {invalid} invalid frames");
            }
            CloseReason::SlowReader => {
                ensure!(
                    peer != Peer::Reads || queued_bytes >= 64 * 1024 || queued_frames >= 64,
                    BoundedQueues,
                    "{conn:?} was closed as too slow with {queued_bytes} bytes in {queued_frames} frames waiting"
                );
                self.probes.hit(Probe::SlowReaderClosed);
            }
            CloseReason::Unresponsive => {
                let unanswered = pinged.map_or(0, |pinged| (now - pinged).0);
                ensure!(
                    unanswered >= PING_ANSWER_MAX,
                    BoundedQueues,
                    "{conn:?} had {unanswered} µs to answer a ping and is closed"
                );
                if self.handling == Handling::Other {
                    ensure!(silent >= SILENCE_MAX, BoundedQueues, "{conn:?} was silent for {silent} µs and is closed");
                    self.probes.hit(Probe::VanishedClosed);
                } else {
                    self.probes.hit(Probe::CapReplaced);
                }
            }
            CloseReason::Shutdown => {
                let drains = self.process.as_ref().is_some_and(|process| process.phase != Phase::Running);
                ensure!(
                    drains && knows_of_shutdown,
                    CleanShutdown,
                    "{conn:?} of {who:?} was closed for a shutdown that there is not, or was not told of"
                );
            }
            CloseReason::KeyRotated | CloseReason::TenantDeleted => {
                ensure!(false, OneAnswer, "{conn:?} of {who:?} was closed as {reason:?}, which nobody asked for");
            }
            CloseReason::StoreUnavailable => {
                // One reading failed, or several were given up at once.
                self.failures_blamed += 1;
                let most = match self.failing {
                    Failing::Nothing => 0,
                    Failing::OneStep => 1,
                    Failing::SeveralSteps => usize::MAX,
                };
                ensure!(
                    self.failures_blamed <= most,
                    BoundedQueues,
                    "{conn:?} of {user} was closed for a store that fails, {:?}",
                    self.failing
                );
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: &Event) {
        match event {
            Event::RoomRecovered { .. } => self.probes.hit(Probe::RoomRecovered),
            Event::StoreTimedOut { op } => {
                self.hearing.give_up(*op);
                self.note_failure();
                self.probes.hit(Probe::StoreTimedOut);
            }
            Event::StoreFailed { .. } | Event::Ready | Event::TenantCreated { .. } | Event::TenantDeleted { .. } => {}
        }
    }

    fn on_stop(&mut self) -> Checked {
        let now = self.now().mono;
        let drain = self.setup.drain_timeout_ms * 1_000;
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let Phase::Draining { since } = process.phase else {
            ensure!(false, CleanShutdown, "Stop without a shutdown");
            return Ok(());
        };
        process.phase = Phase::Stopped;
        if (now - since).0 >= drain {
            self.probes.hit(Probe::ShutdownAtDeadline);
        }
        ensure!(
            (now - since).0 >= drain || self.store.is_idle(),
            CleanShutdown,
            "Stop came {} µs after the shutdown began, with steps under way",
            (now - since).0
        );
        let unanswered = self.requests.values().find(|outstanding| !outstanding.is_abandoned);
        ensure!(unanswered.is_none(), CleanShutdown, "Stop came with {unanswered:?} unanswered");
        let open = self.links.values().find(|link| link.closed.is_none());
        ensure!(open.is_none(), CleanShutdown, "Stop came with {:?} open", open.map(|link| link.conn));
        Ok(())
    }

    fn check_shutdown(&mut self) -> Checked {
        let now = self.now().mono;
        let drain = self.setup.drain_timeout_ms * 1_000;
        if let Some(Phase::Draining { since }) = self.process.as_ref().map(|process| process.phase) {
            ensure!((now - since).0 <= drain, CleanShutdown, "the shutdown since {since:?} is not over at {now:?}");
        }
        self.report_gone()
    }
}

/// What of the store fails by the input that is being handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failing {
    Nothing,
    OneStep,
    SeveralSteps,
}

impl Failing {
    const fn of(input: &Input) -> Self {
        match input {
            Input::Stored { result: Err(_), .. } => Self::OneStep,
            Input::Tick => Self::SeveralSteps,
            Input::Request { .. }
            | Input::Handshake { .. }
            | Input::Frame { .. }
            | Input::Heard { .. }
            | Input::Flushed { .. }
            | Input::Closed { .. }
            | Input::Stored { .. }
            | Input::Shutdown => Self::Nothing,
        }
    }
}

/// Which input the core is handling, as far as the limits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handling {
    /// A request, or the answer to the look-up of a key that requests wait for: what is answered now was decided now.
    Deciding,
    /// A client frame.
    Frame,
    Other,
}

impl Handling {
    fn of(input: &Input) -> Self {
        match input {
            Input::Request { .. } | Input::Handshake { .. } => Self::Deciding,
            Input::Stored { result: Ok(StoreReply::KeyOwner(_)) | Err(_), .. } => Self::Deciding,
            Input::Frame { .. } => Self::Frame,
            Input::Stored { .. }
            | Input::Heard { .. }
            | Input::Flushed { .. }
            | Input::Closed { .. }
            | Input::Tick
            | Input::Shutdown => Self::Other,
        }
    }
}
