//! What happens in a scenario, drawn from choices: weights that differ from seed to seed (swarm testing), so that some
//! worlds have no crash at all and others little else.

mod sockets;

use std::collections::VecDeque;

use crate::action::{
    Action, Change, ClientFrame, CommitFault, Connect, Ending, Kind, OnMessage, OnRoom, OnTopic, Page, Peer, Position,
    Probe, Refusal, Rest, RoomPick, Setup, Targets, Text, Who,
};
use crate::choices::{Choices, Seeded};
use crate::simulation::Simulation;
use crate::simulation::clients::TOO_MUCH;

/// A rate limit that is never reached.
const HIGH: u32 = 1_000_000;

/// Draws actions one by one.
#[derive(Debug)]
pub struct Generator<C> {
    /// What clients do and when the store works.
    workload: C,
    /// What goes wrong.
    faults: C,
    usual: Vec<(ActionKind, u64)>,
    unusual: Vec<(ActionKind, u64)>,
    /// How many of a hundred actions are something going wrong.
    faults_percent: u64,
    left: u64,
    planned: VecDeque<Action>,
    setup: Setup,
}

/// What kind of action comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ActionKind {
    Send,
    SendWithKey,
    CreateRoom,
    List,
    History,
    Acknowledge,
    Change,
    LookCloser,
    Topic,
    Notify,
    Type,
    SyncAgain,
    SyncStorm,
    Token,
    Nonsense,
    Look,
    Connect,
    Frame,
    Garbage,
    Burst,
    Storm,
    Flush,
    Execute,
    Commit,
    Report,
    Read,
    ReportRead,
    Settle,
    Wait,
    LoseAnswer,
    Disconnect,
    Stall,
    ReadOn,
    Vanish,
    FailCommit,
    RefuseWrite,
    RefuseRead,
    Oversleep,
    Doze,
    Wake,
    LongWait,
    StepWallClock,
    Crash,
    Shutdown,
    Start,
}

/// Each kind, its usual weight, and whether a seed may do without it.
const KINDS: &[(ActionKind, u64, bool)] = &[
    (ActionKind::Send, 60, false),
    (ActionKind::SendWithKey, 25, true),
    (ActionKind::CreateRoom, 8, true),
    (ActionKind::List, 10, true),
    (ActionKind::History, 10, true),
    (ActionKind::Acknowledge, 20, true),
    (ActionKind::Change, 14, true),
    (ActionKind::LookCloser, 6, true),
    (ActionKind::Topic, 6, true),
    (ActionKind::Notify, 10, true),
    (ActionKind::Type, 16, true),
    (ActionKind::SyncAgain, 12, true),
    (ActionKind::SyncStorm, 1, true),
    (ActionKind::Token, 6, true),
    (ActionKind::Nonsense, 4, true),
    (ActionKind::Look, 6, true),
    (ActionKind::Connect, 25, false),
    (ActionKind::Frame, 60, true),
    (ActionKind::Garbage, 2, true),
    (ActionKind::Burst, 2, true),
    (ActionKind::Storm, 1, true),
    (ActionKind::Flush, 20, true),
    (ActionKind::Execute, 40, false),
    (ActionKind::Commit, 40, false),
    (ActionKind::Report, 40, false),
    (ActionKind::Read, 40, false),
    (ActionKind::ReportRead, 40, false),
    (ActionKind::Settle, 40, true),
    (ActionKind::Wait, 30, true),
    (ActionKind::LoseAnswer, 6, true),
    (ActionKind::Disconnect, 8, true),
    (ActionKind::Stall, 4, true),
    (ActionKind::ReadOn, 3, true),
    (ActionKind::Vanish, 2, true),
    (ActionKind::FailCommit, 5, true),
    (ActionKind::RefuseWrite, 5, true),
    (ActionKind::RefuseRead, 3, true),
    (ActionKind::Oversleep, 3, true),
    (ActionKind::Doze, 3, true),
    (ActionKind::Wake, 2, true),
    (ActionKind::LongWait, 3, true),
    (ActionKind::StepWallClock, 2, true),
    (ActionKind::Crash, 1, true),
    (ActionKind::Shutdown, 1, true),
    (ActionKind::Start, 20, false),
];

impl ActionKind {
    /// Whether it is something going wrong.
    const fn is_fault(self) -> bool {
        matches!(
            self,
            Self::LoseAnswer
                | Self::Disconnect
                | Self::Stall
                | Self::ReadOn
                | Self::Vanish
                | Self::FailCommit
                | Self::RefuseWrite
                | Self::RefuseRead
                | Self::Oversleep
                | Self::Doze
                | Self::Wake
                | Self::LongWait
                | Self::StepWallClock
                | Self::Crash
                | Self::Shutdown
        )
    }
}

/// A slow reader takes a little.
const fn sip(slow: u16) -> [Action; 3] {
    [Action::SetPeer(slow, Peer::Reads), Action::Flush(slow, 70), Action::SetPeer(slow, Peer::Stalls)]
}

/// One of a list, by its weights.
fn weighted(choices: &mut impl Choices, list: &[(ActionKind, u64)]) -> ActionKind {
    let total: u64 = list.iter().map(|(_, weight)| weight).sum();
    let mut at = choices.below(total.max(1));
    for (kind, weight) in list {
        if at < *weight {
            return *kind;
        }
        at -= weight;
    }
    ActionKind::Settle
}

impl Generator<Seeded> {
    /// The scenario of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        Self::new(Seeded::new(seed, 1), Seeded::new(seed, 2))
    }
}

impl<C: Choices> Generator<C> {
    /// A scenario of these choices.
    #[must_use]
    pub fn new(mut workload: C, mut faults: C) -> Self {
        let flavour = workload.below(100);
        let setup = Setup {
            core_seed: workload.below(1 << 32),
            connections_per_user: 1 + workload.below(4) as u32,
            drain_timeout_ms: workload.pick(&[200, 2_000, 10_000]),
            tenants: 1 + workload.below(3) as u8,
            users: 2 + workload.below(4) as u8,
            rate_limits: (0..3).map(|_| workload.pick(&[2, 20, HIGH, HIGH, HIGH, HIGH, HIGH, HIGH])).collect(),
            max_message_size: workload.pick(&[4_096, 4_096, 4_096, 300, 262_144]),
            large_room_members: workload.pick(&[100, 100, 100, 3, 2]),
            forgetful_tenants: if workload.percent(30) { vec![0] } else { Vec::new() },
        };
        let (mut usual, mut unusual) = (Vec::new(), Vec::new());
        for (kind, weight, may_miss) in KINDS {
            let (choices, list) =
                if kind.is_fault() { (&mut faults, &mut unusual) } else { (&mut workload, &mut usual) };
            let is_off = *may_miss && choices.percent(20);
            let factor = 1 + choices.below(8);
            list.push((*kind, if is_off { 0 } else { weight * factor }));
        }
        let mut generator = Self {
            left: 60 + workload.below(500),
            faults_percent: faults.below(20),
            workload,
            faults,
            usual,
            unusual,
            planned: VecDeque::new(),
            setup,
        };
        generator.plan_prologue(flavour);
        generator
    }

    /// How the world begins.
    #[must_use]
    pub const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The next action; `None` when peace is to come.
    pub fn next_action(&mut self, world: &Simulation) -> Option<Action> {
        if let Some(planned) = self.planned.pop_front() {
            return Some(planned);
        }
        if self.left == 0 || self.workload.is_exhausted() {
            return None;
        }
        self.left -= 1;
        if !world.is_running() && self.workload.percent(60) {
            if self.workload.percent(50) {
                self.planned.push_back(Action::Settle);
            }
            return Some(Action::Start);
        }
        // What clients do is drawn by itself: another fault shifts none of it.
        let chosen = if self.faults.percent(self.faults_percent) {
            weighted(&mut self.faults, &self.unusual)
        } else {
            weighted(&mut self.workload, &self.usual)
        };
        Some(self.draw(chosen))
    }

    /// Tenants and a few rooms, in most worlds before anything goes wrong.
    fn plan_prologue(&mut self, flavour: u64) {
        self.planned.push_back(Action::Settle);
        for tenant in 0..self.setup.tenants {
            self.planned.push_back(Action::CreateTenant(tenant));
        }
        self.planned.push_back(Action::Settle);
        for tenant in 0..self.setup.tenants {
            for _ in 0..1 + self.workload.below(3) {
                let who = Who { tenant, user: self.workload.below(u64::from(self.setup.users)) as u8 };
                let create = self.create_room();
                self.planned.push_back(Action::Rest(who, create));
                self.planned.push_back(Action::Settle);
            }
        }
        let prefill = match flavour {
            99 => 10_000,
            93..=98 => 1_000 + self.workload.below(400),
            86..=92 => 50 + self.workload.below(200),
            _ => return,
        };
        let who = Who { tenant: 0, user: 0 };
        let group = Rest::CreateRoom { kind: Kind::Group, members: (0..self.setup.users).collect(), by_tenant: false };
        self.planned.extend([
            Action::Rest(who, group),
            Action::Settle,
            Action::Crash,
            Action::Prefill(who, u16::MAX, prefill as u16),
            Action::Start,
            Action::Settle,
        ]);
    }

    fn draw(&mut self, kind: ActionKind) -> Action {
        match kind {
            ActionKind::Send => {
                let text = self.text(None);
                Action::Rest(self.who(), Rest::Send(self.room(), text))
            }
            ActionKind::SendWithKey => {
                let key = self.workload.below(4) as u8;
                let text = self.text(Some(key));
                Action::Rest(self.hot_user(), Rest::Send(RoomPick::Own(0), text))
            }
            ActionKind::CreateRoom => {
                let create = self.create_room();
                Action::Rest(self.who(), create)
            }
            ActionKind::List => {
                let rest = match self.workload.below(3) {
                    0 => Rest::ListRooms { limit: self.workload.pick(&[1, 2, 1_000]) },
                    1 => Rest::ReadRoom(self.room()),
                    _ => Rest::ListMembers(self.room()),
                };
                Action::Rest(self.who(), rest)
            }
            ActionKind::Notify => {
                let notify = self.notify();
                if matches!(notify.targets, Targets::Crowd(_)) {
                    let work = [Action::Execute(100), Action::Commit, Action::Report(100)];
                    for _ in 0..1 + self.workload.below(4) {
                        self.planned.extend(work.clone());
                    }
                    if self.workload.percent(30) {
                        self.planned.extend([Action::Execute(100), Action::Commit, Action::Crash, Action::Start]);
                    }
                }
                Action::Rest(self.who(), Rest::Notify(notify))
            }
            ActionKind::Type => {
                let room = self.room();
                let starts = self.workload.percent(70);
                let frame = if starts { ClientFrame::StartTyping(room) } else { ClientFrame::StopTyping(room) };
                Action::Frame(self.pick(), frame)
            }
            ActionKind::SyncAgain => {
                let frame = self.sync_again();
                Action::Frame(self.pick(), frame)
            }
            ActionKind::SyncStorm => {
                let conn = self.pick();
                let count = self.workload.pick(&[5, 40, 104]);
                for _ in 0..count {
                    let frame = self.sync_again();
                    self.planned.push_back(Action::Frame(conn, frame));
                }
                Action::Settle
            }
            ActionKind::History => {
                let page = Page {
                    from: self.position(),
                    backwards: self.workload.percent(50),
                    limit: self.workload.pick(&[1, 10, 100]),
                };
                Action::Rest(self.who(), Rest::History(self.room(), page))
            }
            ActionKind::Acknowledge => Action::Rest(self.who(), Rest::Acknowledge(self.room(), self.position())),
            ActionKind::Change => {
                let change = self.change();
                Action::Rest(self.who(), change)
            }
            ActionKind::LookCloser => {
                let rest = match self.workload.below(3) {
                    0 => Rest::Room(self.room(), OnRoom::Presence),
                    1 => Rest::Room(self.room(), OnRoom::Receipts),
                    _ => Rest::Message(self.room(), self.position(), OnMessage::Read),
                };
                Action::Rest(self.who(), rest)
            }
            ActionKind::Topic => {
                let on_topic = match self.workload.below(5) {
                    0 | 1 => OnTopic::Subscribe(self.workload.below(4) as u8),
                    2 => OnTopic::List,
                    _ => OnTopic::Unsubscribe(self.pick()),
                };
                Action::Rest(self.who(), Rest::Topic(on_topic))
            }
            ActionKind::Token => Action::Rest(self.who(), Rest::Token),
            ActionKind::Nonsense => Action::Rest(self.who(), Rest::Nonsense(self.workload.below(256) as u8)),
            ActionKind::Look => Action::Probe(match self.workload.below(4) {
                0 => Probe::Health,
                1 => Probe::Ready,
                2 => Probe::Metrics,
                _ => Probe::UnknownKey(self.workload.below(3) as u8),
            }),
            ActionKind::Connect => Action::Connect(
                self.who(),
                Connect {
                    token: if self.workload.percent(30) { Some(self.workload.below(3) as u8) } else { None },
                    sync: self.workload.percent(80),
                    as_other: self.workload.percent(10),
                },
            ),
            ActionKind::Frame => {
                let frame = match self.workload.below(8) {
                    0 => ClientFrame::Ping,
                    1 | 2 => ClientFrame::Acknowledge(self.room(), self.position()),
                    3 => {
                        let key = self.workload.below(4) as u8;
                        ClientFrame::Send(RoomPick::Own(0), self.text(Some(key)))
                    }
                    _ => ClientFrame::Send(self.room(), self.text(None)),
                };
                Action::Frame(self.pick(), frame)
            }
            ActionKind::Garbage => Action::Garbage(self.pick(), self.workload.pick(&[1, 19, 20])),
            ActionKind::Burst => self.burst(),
            ActionKind::Storm => self.storm(),
            ActionKind::Flush => Action::Flush(self.pick(), self.workload.pick(&[1, 10, 100, 1_000])),
            ActionKind::Execute => Action::Execute(self.workload.pick(&[1, 2, 100])),
            ActionKind::Commit => Action::Commit,
            ActionKind::Report => Action::Report(self.workload.pick(&[1, 2, 100])),
            ActionKind::Read => Action::Read(self.pick()),
            ActionKind::ReportRead => Action::ReportRead(self.pick()),
            ActionKind::Settle => Action::Settle,
            ActionKind::Wait => Action::Advance(1 + self.workload.below(200_000)),
            ActionKind::LoseAnswer => Action::LoseAnswer(self.faults.below(1 << 16) as u16),
            ActionKind::Disconnect => {
                let ending = if self.faults.percent(50) { Ending::Close } else { Ending::Reset };
                Action::Disconnect(self.faults.below(1 << 16) as u16, ending)
            }
            ActionKind::Stall => Action::SetPeer(self.faults.below(1 << 16) as u16, Peer::Stalls),
            ActionKind::ReadOn => Action::SetPeer(self.faults.below(1 << 16) as u16, Peer::Reads),
            ActionKind::Vanish => Action::SetPeer(self.faults.below(1 << 16) as u16, Peer::Vanishes),
            ActionKind::FailCommit => Action::FailCommit(match self.faults.below(4) {
                0 => CommitFault::RolledBack(self.refusal()),
                1 => CommitFault::Lost,
                _ => CommitFault::Kept,
            }),
            ActionKind::RefuseWrite => Action::RefuseWrite(self.refusal()),
            ActionKind::RefuseRead => {
                let pick = self.faults.below(1 << 16) as u16;
                Action::RefuseRead(pick, self.refusal())
            }
            ActionKind::Oversleep => Action::Oversleep(self.faults.below(40_000_000)),
            ActionKind::Doze => Action::Doze(self.faults.below(15_000_000)),
            ActionKind::Wake => Action::Wake,
            ActionKind::LongWait => Action::Advance(1_000_000 + self.faults.below(90_000_000)),
            ActionKind::StepWallClock => Action::StepWallClock(match self.faults.below(3) {
                0 => -(self.faults.below(3_600_000) as i64),
                1 => self.faults.below(3_600_000) as i64,
                _ => 24 * 3_600_000 + 1_000 * self.faults.below(7_200) as i64,
            }),
            ActionKind::Crash => Action::Crash,
            ActionKind::Shutdown => Action::Shutdown,
            ActionKind::Start => Action::Start,
        }
    }

    /// Much at once: for queues and pages that reach their bounds.
    fn burst(&mut self) -> Action {
        let who = self.hot_user();
        let rate = self.setup.rate_limits[usize::from(who.tenant % self.setup.tenants) % self.setup.rate_limits.len()];
        if rate != HIGH {
            return Action::Settle;
        }
        let (count, padding, escaped) = match self.workload.below(4) {
            0 => (1_600, 0, false),
            1 => (120, 3_000, false),
            2 => (90, 3_000, true),
            _ => (12, 200_000, self.workload.percent(50)),
        };
        let step = self.workload.pick(&[1, 7, 50]);
        let slow = self.pick();
        let sips = self.workload.percent(50);
        for number in 0..count {
            let text = Text { key: None, variant: 0, padding, escaped };
            self.planned.push_back(Action::Rest(who, Rest::Send(RoomPick::Own(0), text)));
            if number % step == 0 {
                self.planned.push_back(Action::Settle);
            }
            if sips && number % 300 == 299 {
                self.planned.extend(sip(slow));
            }
        }
        if self.workload.percent(50) {
            for back in (0..40).rev() {
                let ack = Rest::Acknowledge(RoomPick::Own(0), Position::Back(back));
                self.planned.extend([Action::Rest(who, ack), Action::Settle]);
                // Room for a frame again, and not for all that is kept.
                if sips && back % 4 == 0 {
                    self.planned.extend(sip(slow));
                }
            }
        }
        if count == 1_600 || self.workload.percent(50) {
            self.come_and_go(who);
        }
        Action::SetPeer(slow, Peer::Stalls)
    }

    /// Everyone connects at once, before the store has answered anybody; some give up, and messages go on.
    fn storm(&mut self) -> Action {
        for _ in 0..40 {
            let connect = Connect { token: None, sync: self.workload.percent(90), as_other: false };
            let connect = Action::Connect(self.who(), connect);
            self.planned.push_back(connect);
            let also = match self.workload.below(6) {
                0 => Action::Disconnect(self.pick(), Ending::Reset),
                1 => Action::Rest(self.who(), Rest::Send(RoomPick::Own(0), self.text(None))),
                2 => Action::Execute(1),
                3 => Action::Commit,
                4 => Action::Report(1),
                _ => Action::Read(self.pick()),
            };
            self.planned.push_back(also);
        }
        self.planned.push_back(Action::Settle);
        Action::Settle
    }

    fn create_room(&mut self) -> Rest {
        let users = u64::from(self.setup.users);
        let kind = self.workload.pick(&[Kind::Dm, Kind::Group, Kind::Channel]);
        let count = if kind == Kind::Dm { 2 } else { 1 + self.workload.below(users) };
        let members = (0..count).map(|_| self.workload.below(users) as u8).collect();
        Rest::CreateRoom { kind, members, by_tenant: self.workload.percent(15) }
    }

    /// An edit or a deletion, of something recent mostly, or a room's new labels.
    fn change(&mut self) -> Rest {
        let by_tenant = self.workload.percent(20);
        match self.workload.below(8) {
            0..=3 => {
                let text = self.text(None);
                Rest::Message(self.room(), self.position(), OnMessage::Edit(text))
            }
            4 | 5 => Rest::Message(self.room(), self.position(), OnMessage::Delete { by_tenant }),
            _ => {
                let (name, metadata) = (self.label(), self.label());
                Rest::Room(self.room(), OnRoom::Change { name, metadata, by_tenant })
            }
        }
    }

    fn label(&mut self) -> Change {
        match self.workload.below(4) {
            0 => Change::Keep,
            1 => Change::Clear,
            _ => Change::Set(self.workload.below(100) as u8),
        }
    }

    fn text(&mut self, key: Option<u8>) -> Text {
        Text {
            key,
            variant: u8::from(self.workload.percent(15)) + 2 * u8::from(self.workload.percent(50)),
            padding: self.workload.pick(&[0, 0, 0, 0, 10, 10, 3_000, TOO_MUCH]),
            escaped: self.workload.percent(30),
        }
    }

    fn room(&mut self) -> RoomPick {
        match self.workload.below(20) {
            0 => RoomPick::Missing,
            1..=3 => RoomPick::Any(self.pick()),
            // The oldest is hot.
            4..=10 => RoomPick::Own(0),
            _ => RoomPick::Own(self.pick()),
        }
    }

    fn position(&mut self) -> Position {
        match self.workload.below(12) {
            0 => Position::Past(1 + self.workload.below(3) as u16),
            1..=5 => Position::Back(0),
            _ => Position::Back(self.workload.below(30) as u16),
        }
    }

    fn who(&mut self) -> Who {
        Who { tenant: self.workload.below(3) as u8, user: self.workload.below(6) as u8 }
    }

    fn hot_user(&mut self) -> Who {
        Who { tenant: self.workload.below(3) as u8, user: self.workload.below(2) as u8 }
    }

    fn pick(&mut self) -> u16 {
        self.workload.below(1 << 16) as u16
    }

    fn refusal(&mut self) -> Refusal {
        self.faults.pick(&[Refusal::Busy, Refusal::Full, Refusal::Failed])
    }
}
