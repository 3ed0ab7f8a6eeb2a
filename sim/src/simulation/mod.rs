//! A world that one list of actions decides: the real core between simulated clients, sockets, a store and a clock.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `mod.rs` | the world, and what an action does |
//! | `process.rs`, `storing.rs`, `time.rs`, `sockets.rs` | a server process, its store's work, its clocks, its sockets |
//! | `requests.rs`, `resources.rs`, `clients.rs` | what clients do: REST requests; handshakes and frames |
//! | `effects.rs` | what the core wants done, checked as it comes |
//! | `answers.rs`, `refusals.rs`, `resource_answers.rs` | what clients were answered, compared with the model |
//! | `frames.rs` | what connections were sent, compared with the model |
//! | `hearing.rs`, `presence.rs`, `typing.rs` | who can hear of what; who is online, who types |
//! | `syncing.rs`, `notifications.rs` | what is sent again; notifications |
//! | `asked.rs` | what the core asks of the store, compared with what clients asked |
//! | `live.rs` | what must have reached everyone once nothing is under way |
//! | `peace.rs` | the second phase: faults stop, and every obligation must be met |
//! | `link.rs`, `staged_store.rs`, `bucket.rs` | a connection, the store's stages, the rate limit as an oracle sees it |

mod answers;
mod asked;
mod bucket;
pub(crate) mod clients;
mod effects;
mod frames;
mod hearing;
mod link;
mod live;
mod notifications;
mod peace;
mod presence;
mod process;
mod refusals;
mod requests;
mod resource_answers;
mod resources;
mod sockets;
mod staged_store;
mod storing;
mod syncing;
mod time;
mod typing;

use std::collections::{BTreeMap, BTreeSet};

use chatapi_core::api::ResponseMeta;
use chatapi_core::{AllowedOrigins, ConnId, Core, MessageId, Micros, MonoMicros, OpId, RequestId, RoomId, UserId};

use crate::action::{Action, Scenario, Setup, Who};
use crate::differential::Differential;
use crate::entropy::{Counter, MASTER_KEY};
use crate::invariant::{Checked, Violation};
use crate::memory_store::MemoryStore;
use crate::model::Model;
use crate::probe::Probes;
use crate::sabotage::{Sabotage, Saboteur};
use crate::story::Story;
use crate::trace::Trace;
use bucket::Debt;
use effects::{Failing, Handling};
use hearing::Hearing;
use link::Link;
use requests::Asked;
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
    /// When sockets last took everything that waited for reading peers.
    kept_up_at: u64,
    effects_of_last_input: usize,
    handling: Handling,
    /// When a write of a health check was last reported to have succeeded.
    last_written: Option<MonoMicros>,
    /// Messages whose storing this process was told of.
    reported_appends: u64,
    /// How often the store has failed or was given up, and when it last did.
    failures: u64,
    last_failure: u64,
    failing: Failing,
    /// How many connections were closed for what fails.
    failures_blamed: usize,
    stores_of_last_input: usize,
    /// Whose frame, which is none and bears no name, is being handled.
    garbage_of: Option<ConnId>,
    /// The frame under way was refused by the rate limit.
    frame_refused: bool,
    /// The same, because too many syncs wait.
    sync_refused: bool,
    hearing: Hearing,
    /// How many messages each room had when a process died last.
    heads_at_crash: BTreeMap<RoomId, u64>,
    /// Who was let in by the input under way.
    accepted: Vec<UserId>,
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
    /// It was answered, whatever with.
    is_used_up: bool,
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
            entropy: Counter::new(AllowedOrigins::Listed(Vec::new())),
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
            kept_up_at: 0,
            effects_of_last_input: 0,
            handling: Handling::Other,
            last_written: None,
            reported_appends: 0,
            failures: 0,
            last_failure: 0,
            failing: Failing::Nothing,
            failures_blamed: 0,
            stores_of_last_input: 0,
            garbage_of: None,
            frame_refused: false,
            sync_refused: false,
            hearing: Hearing::default(),
            heads_at_crash: BTreeMap::new(),
            accepted: Vec::new(),
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
            Action::Doze(span) => self.doze(Micros(*span)),
            Action::Wake => self.wake(),
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

    pub(super) fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let line = line(self);
            let at = self.clock.mono;
            if let Some(story) = &mut self.story {
                story.line(at, line);
            }
        }
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
