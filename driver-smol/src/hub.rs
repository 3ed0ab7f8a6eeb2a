//! Where everything meets: the core behind its lock, and the hand-over of what it decides.
//!
//! Whoever has an input takes the lock, lets the core handle it, and moves the effects to their queues under the same
//! lock, so that no effect overtakes another. Pushes are all that happens there; what costs more (filling a thousand
//! connections' queues, waking their tasks) happens outside, by one thread at a time, in the order of the effects; and what
//! is too much for one go by a task.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use chatapi_core::api::Answer;
use chatapi_core::recording::RecordedInput;
use chatapi_core::store::{Lane, StoreRequest, StoreResult};
use chatapi_core::{
    CloseReason, Config, ConnId, Core, Effect, Event, Input, MonoMicros, OpId, RateLimitStatus, RequestId,
};
use futures_lite::future::yield_now;

use crate::clock::Clock;
use crate::exchange::{Exchange, Reply};
use crate::logging::Reports;
use crate::recorder::Recorder;
use crate::store_link::StoreLink;
use crate::timer::Alarm;
use crate::websocket::{Outbox, Outgoing};

/// How much a thread carries out, in pushes to queues, before it leaves the rest to a task: whoever has an input, the
/// store's writer too, has other things to do.
const CARRY_MAX: usize = 4_096;
/// How many effects it takes from their queue at a time.
const CARRY_BATCH: usize = 64;
/// How many replies of the store pass through the core under one lock.
const BATCH: usize = 64;

/// The core and everything it is connected to.
pub(crate) struct Hub {
    core: Mutex<Core>,
    clock: Clock,
    last_id: AtomicU64,
    store: OnceLock<StoreLink>,
    exchanges: Mutex<BTreeMap<RequestId, Arc<Exchange>>>,
    outboxes: RwLock<HashMap<ConnId, Arc<Outbox>>>,
    handover: Mutex<VecDeque<Handover>>,
    /// Held by the thread that carries out what was handed over.
    carrying: Mutex<()>,
    /// Something was left to the task that carries out the rest.
    is_left: AtomicBool,
    left: event_listener::Event,
    alarm: Alarm,
    ready: Milestone,
    stopped: Milestone,
    busy: AtomicUsize,
    recorder: Option<Recorder>,
    reports: Reports,
}

/// An input on its way to the core, with its text if it is to be recorded.
struct Noted {
    input: Input,
    recorded: Option<RecordedInput>,
}

/// A request that is being served.
pub(crate) struct Busy(Option<Arc<Hub>>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(hub) = &self.0 {
            hub.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// An effect that waits to be carried out outside the core's lock.
enum Handover {
    Respond(RequestId, Box<Answer>),
    Accept(RequestId, RateLimitStatus),
    Send(Vec<ConnId>, Outgoing),
    Ping(Vec<ConnId>),
    Close(ConnId, CloseReason),
    Report(Event),
    Stop,
}

impl Handover {
    /// What it costs to carry it out.
    fn pushes(&self) -> usize {
        match self {
            Self::Send(conns, _) | Self::Ping(conns) => conns.len().max(1),
            Self::Respond(..) | Self::Accept(..) | Self::Close(..) | Self::Report(_) | Self::Stop => 1,
        }
    }
}

/// How much of what was handed over a thread has seen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    /// All of it, or another thread does.
    All,
    Some,
}

impl Hub {
    pub(crate) fn new(config: Config, seed: [u8; 32], recorder: Option<Recorder>) -> Self {
        let clock = Clock::start();
        let now = clock.now();
        if let Some(recorder) = &recorder {
            recorder.introduce(config.clone(), seed, now);
        }
        Self {
            core: Mutex::new(Core::new(config, seed, now)),
            clock,
            last_id: AtomicU64::new(0),
            store: OnceLock::new(),
            exchanges: Mutex::default(),
            outboxes: RwLock::default(),
            handover: Mutex::default(),
            carrying: Mutex::default(),
            is_left: AtomicBool::new(false),
            left: event_listener::Event::new(),
            alarm: Alarm::default(),
            ready: Milestone::default(),
            stopped: Milestone::default(),
            busy: AtomicUsize::new(0),
            recorder,
            reports: Reports::default(),
        }
    }

    /// Connects the store and lets the core boot it.
    pub(crate) fn start(&self, store: StoreLink) {
        if self.store.set(store).is_ok() {
            let mut core = self.lock_core();
            let mut gathered = Gathered::default();
            match &self.recorder {
                None => gathered.drain(&mut core, None),
                Some(recorder) => {
                    let mut effects = Vec::new();
                    gathered.drain(&mut core, Some(&mut effects));
                    recorder.start(effects);
                }
            }
            self.push(core, gathered);
            self.carry_out();
        }
    }

    pub(crate) fn store(&self) -> Option<&StoreLink> {
        self.store.get()
    }

    /// Lets the core handle an input.
    pub(crate) fn handle(&self, input: Input) {
        let noted = self.note(input);
        let mut core = self.lock_core();
        let mut gathered = Gathered::default();
        self.handle_one(&mut core, noted, &mut gathered);
        self.push(core, gathered);
        self.carry_out();
    }

    /// Lets the core handle the replies of the store, in one pass for each batch.
    pub(crate) fn handle_replies(&self, replies: Vec<(OpId, StoreResult)>) {
        let inputs = replies.into_iter().map(|(op, result)| self.note(Input::Stored { op, result }));
        if self.recorder.is_some() {
            // Their texts are made before the lock is taken.
            self.handle_all(inputs.collect::<Vec<_>>().into_iter());
        } else {
            self.handle_all(inputs);
        }
    }

    fn handle_all(&self, inputs: impl Iterator<Item = Noted>) {
        let mut inputs = inputs.peekable();
        while inputs.peek().is_some() {
            let mut core = self.lock_core();
            let mut gathered = Gathered::default();
            for noted in inputs.by_ref().take(BATCH) {
                self.handle_one(&mut core, noted, &mut gathered);
            }
            self.push(core, gathered);
            self.carry_out();
        }
    }

    fn note(&self, input: Input) -> Noted {
        let recorded = self.recorder.as_ref().and_then(|recorder| recorder.note(&input));
        Noted { input, recorded }
    }

    fn handle_one(&self, core: &mut Core, noted: Noted, gathered: &mut Gathered) {
        let Noted { input, recorded } = noted;
        let now = self.clock.now();
        let Some((recorder, recorded)) = self.recorder.as_ref().zip(recorded) else {
            core.handle(now, input);
            return gathered.drain(core, None);
        };
        let step = recorder.begin(now, recorded);
        core.handle(now, input);
        let mut effects = Vec::new();
        gathered.drain(core, Some(&mut effects));
        step.end(effects);
    }

    /// Wakes the core if its time has come. Says when that is next.
    pub(crate) fn tick(&self) -> Option<MonoMicros> {
        let due = self.lock_core().next_timeout();
        if due.is_some_and(|(at, _)| at <= self.clock.now().mono) {
            self.handle(Input::Tick);
        }
        self.lock_core().next_timeout().map(|(at, _)| at)
    }

    pub(crate) const fn recorder(&self) -> Option<&Recorder> {
        self.recorder.as_ref()
    }

    pub(crate) const fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    pub(crate) const fn reports(&self) -> &Reports {
        &self.reports
    }

    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Hands a REST request or a handshake to the core; its answer comes to `exchange`.
    pub(crate) fn ask(&self, exchange: &Arc<Exchange>, input: impl FnOnce(RequestId) -> Input) -> RequestId {
        let request = RequestId(self.draw_id());
        lock(&self.exchanges).insert(request, Arc::clone(exchange));
        self.handle(input(request));
        // A core that has stopped takes no input: what was asked since its stop was carried out finds its end here.
        if self.stopped.is_reached() {
            self.reply(request, Reply::Stopped);
        }
        request
    }

    /// Forgets a request whose socket is gone.
    pub(crate) fn forget(&self, request: RequestId) {
        lock(&self.exchanges).remove(&request);
    }

    /// Names a connection that is about to be, and gives it a queue.
    pub(crate) fn open_outbox(&self) -> (ConnId, Arc<Outbox>) {
        let conn = ConnId(self.draw_id());
        let outbox = Arc::new(Outbox::default());
        self.outboxes.write().unwrap_or_else(PoisonError::into_inner).insert(conn, Arc::clone(&outbox));
        (conn, outbox)
    }

    pub(crate) fn close_outbox(&self, conn: ConnId) {
        self.outboxes.write().unwrap_or_else(PoisonError::into_inner).remove(&conn);
    }

    /// Notes a request that is being served until its answer is written. Nobody waits for those that come after the
    /// stop: they may never end.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        if self.stopped.is_reached() {
            return Busy(None);
        }
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Some(Arc::clone(self)))
    }

    /// Whether anything is still to be written: answers under way, connections that are being closed.
    pub(crate) fn is_writing(&self) -> bool {
        let open = self.outboxes.read().unwrap_or_else(PoisonError::into_inner).len();
        open > 0 || self.busy.load(Ordering::Relaxed) > 0
    }

    /// How many effects wait to be carried out.
    pub(crate) fn queued_effects(&self) -> u64 {
        lock(&self.handover).len() as u64
    }

    /// Waits until the core serves.
    pub(crate) async fn ready(&self) {
        self.ready.wait().await;
    }

    /// Waits until the core has said that everything is done.
    pub(crate) async fn stopped(&self) {
        self.stopped.wait().await;
    }

    fn draw_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn lock_core(&self) -> MutexGuard<'_, Core> {
        // A core that panicked doubts its own state: the process ends, and restarts from the store.
        self.core.lock().unwrap_or_else(|_| {
            tracing::error!("the core broke an invariant of its own: the process ends, the database is the truth");
            if let Some(recorder) = &self.recorder {
                recorder.close(None, Duration::from_secs(1));
            }
            std::process::abort()
        })
    }

    /// Pushes effects to their queues while the core is still locked.
    fn push(&self, core: MutexGuard<'_, Core>, gathered: Gathered) {
        let Gathered { writes, reads, handover } = gathered;
        if let Some(store) = self.store.get() {
            store.write(writes);
            store.read(reads);
        }
        if !handover.is_empty() {
            lock(&self.handover).extend(handover);
        }
        let next = core.next_timeout().map(|(at, _)| at);
        drop(core);
        self.alarm.set(next);
    }

    /// Carries out what was handed over, unless another thread is at it: that one then does this too.
    fn carry_out(&self) {
        if self.carry_some() == Carried::Some {
            self.is_left.store(true, Ordering::Release);
            self.left.notify(1);
        }
    }

    /// Carries out what others left, for as long as the process lives.
    pub(crate) async fn carry_the_rest(&self) {
        loop {
            let left = self.left.listen();
            if !self.is_left.swap(false, Ordering::AcqRel) {
                left.await;
                continue;
            }
            self.carry_out();
            yield_now().await;
        }
    }

    fn carry_some(&self) -> Carried {
        let mut pushes = 0;
        loop {
            let carrying = match self.carrying.try_lock() {
                Ok(carrying) => carrying,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Carried::All,
            };
            while pushes < CARRY_MAX {
                let batch: Vec<Handover> = {
                    let mut handover = lock(&self.handover);
                    let count = handover.len().min(CARRY_BATCH);
                    handover.drain(..count).collect()
                };
                if batch.is_empty() {
                    break;
                }
                for effect in batch {
                    pushes += effect.pushes();
                    self.carry_out_one(effect);
                }
            }
            drop(carrying);
            // Something may have been handed over after the last look, by a thread that found this one at it.
            if lock(&self.handover).is_empty() {
                return Carried::All;
            }
            if pushes >= CARRY_MAX {
                return Carried::Some;
            }
        }
    }

    fn carry_out_one(&self, effect: Handover) {
        match effect {
            Handover::Respond(request, answer) => self.reply(request, Reply::Answer(answer)),
            Handover::Accept(request, rate_limit) => self.reply(request, Reply::Accepted(rate_limit)),
            Handover::Send(conns, frame) => {
                let outboxes = self.outboxes.read().unwrap_or_else(PoisonError::into_inner);
                for outbox in conns.iter().filter_map(|conn| outboxes.get(conn)) {
                    outbox.push(frame.clone());
                }
            }
            Handover::Ping(conns) => {
                let outboxes = self.outboxes.read().unwrap_or_else(PoisonError::into_inner);
                for outbox in conns.iter().filter_map(|conn| outboxes.get(conn)) {
                    outbox.push(Outgoing::ping());
                }
            }
            Handover::Close(conn, reason) => {
                let outboxes = self.outboxes.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(outbox) = outboxes.get(&conn) {
                    outbox.close(reason);
                }
            }
            Handover::Report(event) => {
                self.reports.report(&event);
                if event == Event::Ready {
                    self.ready.reach();
                }
            }
            Handover::Stop => {
                self.stopped.reach();
                let unanswered = std::mem::take(&mut *lock(&self.exchanges));
                for exchange in unanswered.values() {
                    exchange.set(Reply::Stopped);
                }
            }
        }
    }

    fn reply(&self, request: RequestId, reply: Reply) {
        let exchange = lock(&self.exchanges).remove(&request);
        if let Some(exchange) = exchange {
            exchange.set(reply);
        }
    }
}

/// Something that happens once and can be waited for.
#[derive(Default)]
struct Milestone {
    is_reached: AtomicBool,
    reached: event_listener::Event,
}

impl Milestone {
    fn reach(&self) {
        self.is_reached.store(true, Ordering::Release);
        self.reached.notify(usize::MAX);
    }

    fn is_reached(&self) -> bool {
        self.is_reached.load(Ordering::Acquire)
    }

    async fn wait(&self) {
        loop {
            let reached = self.reached.listen();
            if self.is_reached() {
                return;
            }
            reached.await;
        }
    }
}

/// Effects of one or more inputs, by the queue they go to.
#[derive(Default)]
struct Gathered {
    writes: Vec<(OpId, StoreRequest)>,
    reads: Vec<(OpId, StoreRequest)>,
    handover: Vec<Handover>,
}

impl Gathered {
    /// Takes the effects of an input, with a copy of each to `recorded`.
    fn drain(&mut self, core: &mut Core, mut recorded: Option<&mut Vec<Effect>>) {
        while let Some(effect) = core.poll_effect() {
            if let Some(recorded) = &mut recorded {
                recorded.push(effect.clone());
            }
            match effect {
                Effect::Store { op, request } => match request.lane() {
                    Lane::Write => self.writes.push((op, request)),
                    Lane::Read => self.reads.push((op, request)),
                },
                Effect::Respond { request, answer } => self.handover.push(Handover::Respond(request, answer)),
                Effect::Accept { request, rate_limit, .. } => {
                    self.handover.push(Handover::Accept(request, rate_limit));
                }
                Effect::Send { conns, frame } => {
                    self.handover.push(Handover::Send(conns, Outgoing::text(&frame)));
                }
                Effect::Ping { conns } => self.handover.push(Handover::Ping(conns)),
                Effect::Close { conn, reason } => self.handover.push(Handover::Close(conn, reason)),
                Effect::Report(event) => self.handover.push(Handover::Report(event)),
                Effect::Stop => self.handover.push(Handover::Stop),
            }
        }
    }
}

/// Locks a queue. A thread that panicked while it held it left it whole: every change is one push or one swap.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures_lite::FutureExt as _;

    use super::*;

    #[test]
    fn a_thread_carries_out_a_part_of_what_waits_and_a_task_the_rest_in_order() {
        let hub = Hub::new(Config::default(), [7; 32], None);
        let (conn, outbox) = hub.open_outbox();
        let all = 3 * CARRY_MAX as u32;
        let frame = |number: u32| Handover::Send(vec![conn], Outgoing::answer(number.to_be_bytes().to_vec()));
        lock(&hub.handover).extend((0..all).map(frame));
        let taken = || {
            let frames = outbox.take(Waker::noop()).frames;
            frames.into_iter().map(|frame| u32::from_be_bytes(frame.bytes[..].try_into().unwrap())).collect::<Vec<_>>()
        };
        hub.carry_out();
        let first = taken();
        assert!(first.len() < all as usize / 2, "{}", first.len());
        // Who comes with an input of its own meanwhile takes its turn too.
        hub.carry_out();
        let second = taken();
        let mut rest = Vec::new();
        let until_all = async {
            while first.len() + second.len() + rest.len() < all as usize {
                rest.extend(taken());
                yield_now().await;
            }
        };
        smol::block_on(until_all.or(hub.carry_the_rest()));
        assert_eq!([first, second, rest].concat(), (0..all).collect::<Vec<_>>());
    }
}
