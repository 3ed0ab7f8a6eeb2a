//! What can happen in a simulated world: plain data, so that a scenario is a list that can be shrunk, kept and read.
//!
//! Everything is named by small numbers that are taken modulo what there is, so that an action keeps its meaning when
//! others are taken out of the list before it; what has nothing to act on does nothing.

use serde::{Deserialize, Serialize};

/// A whole scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// How the world begins.
    pub setup: Setup,
    /// What happens in it, in this order; peace follows.
    pub actions: Vec<Action>,
}

/// How a world begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Decides what the core draws.
    pub core_seed: u64,
    /// `WS_MAX_CONNECTIONS_PER_USER`.
    pub connections_per_user: u32,
    /// `SHUTDOWN_DRAIN_TIMEOUT`, in milliseconds.
    pub drain_timeout_ms: u64,
    /// How many tenants there are.
    pub tenants: u8,
    /// How many users each has.
    pub users: u8,
    /// `rate_limit` of each tenant in turn.
    pub rate_limits: Vec<u32>,
    /// `max_message_size` of every tenant.
    pub max_message_size: u32,
    /// `LARGE_ROOM_MEMBERS`.
    #[serde(default = "usual_large_room")]
    pub large_room_members: u32,
    /// The tenants without `durable_notifications`.
    #[serde(default)]
    pub forgetful_tenants: Vec<u8>,
}

const fn usual_large_room() -> u32 {
    100
}

impl Setup {
    /// Whether the notifications of a tenant wait for those who are offline.
    #[must_use]
    pub fn keeps_notifications(&self, tenant: u8) -> bool {
        !self.forgetful_tenants.contains(&tenant)
    }
}

/// A user of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Who {
    /// The tenant's number.
    pub tenant: u8,
    /// The user's number in it.
    pub user: u8,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// An operator creates the tenant of that number, if there is none yet.
    CreateTenant(u8),
    /// A user's backend sends a REST request.
    Rest(Who, Rest),
    /// Somebody without an account looks at the process.
    Probe(Probe),
    /// A user connects.
    Connect(Who, Connect),
    /// The client of a connection sends a frame.
    Frame(Pick, ClientFrame),
    /// The client of a connection sends so many frames that are none.
    Garbage(Pick, u8),
    /// A request's connection breaks before its answer.
    LoseAnswer(Pick),
    /// A connection ends.
    Disconnect(Pick, Ending),
    /// What a connection's peer does with what it is sent.
    SetPeer(Pick, Peer),
    /// A socket takes up to so many frames of what waits for it.
    Flush(Pick, u16),
    /// The store carries out up to so many of the waiting changes, in a transaction that stays open.
    Execute(u16),
    /// The open transaction becomes durable.
    Commit,
    /// The open transaction ends badly.
    FailCommit(CommitFault),
    /// The next waiting change is refused, and nothing else happens to it.
    RefuseWrite(Refusal),
    /// The core hears of up to so many changes that are durable or failed.
    Report(u16),
    /// A reader carries out one of the waiting reads.
    Read(Pick),
    /// A reader cannot serve one of the waiting reads.
    RefuseRead(Pick, Refusal),
    /// The core hears of one of the reads that were carried out.
    ReportRead(Pick),
    /// Everything under way comes to its end, without time passing.
    Settle,
    /// Time passes; the core is woken when it wants.
    Advance(Span),
    /// Time passes, and the core is woken only at its end.
    Oversleep(Span),
    /// Time passes, and nothing is done about it: the next input comes before a tick that is due.
    Doze(Span),
    /// The core is woken, whether it wants or not.
    Wake,
    /// The wall clock is set by so many milliseconds.
    StepWallClock(i64),
    /// The process dies.
    Crash,
    /// The process is asked to end.
    Shutdown,
    /// The process starts again, if it has ended.
    Start,
    /// So many messages come into a room in an earlier life; only while no process runs.
    Prefill(Who, Pick, u16),
}

/// One of what there is, by a number taken modulo how many there are.
pub type Pick = u16;

/// A span of simulated time, in microseconds.
pub type Span = u64;

/// A REST request of a user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rest {
    /// `POST /rooms`
    CreateRoom {
        /// The kind.
        kind: Kind,
        /// The users named.
        members: Vec<u8>,
        /// Whether the tenant's backend acts for itself.
        by_tenant: bool,
    },
    /// `GET /rooms`
    ListRooms {
        /// The page's length.
        limit: u16,
    },
    /// `GET /rooms/{room_id}`
    ReadRoom(RoomPick),
    /// `GET /rooms/{room_id}/members`
    ListMembers(RoomPick),
    /// `POST /rooms/{room_id}/messages`
    Send(RoomPick, Text),
    /// `GET /rooms/{room_id}/messages`
    History(RoomPick, Page),
    /// `POST /acks`
    Acknowledge(RoomPick, Position),
    /// Something about a single message.
    Message(RoomPick, Position, OnMessage),
    /// Something about a room.
    Room(RoomPick, OnRoom),
    /// Something about the user's subscriptions.
    Topic(OnTopic),
    /// `POST /notify`
    Notify(Notify),
    /// `POST /ws/token`
    Token,
    /// A request with something wrong in it.
    Nonsense(u8),
}

/// What is asked about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnMessage {
    /// `GET /rooms/{room_id}/messages/{message_id}`
    Read,
    /// `PATCH /rooms/{room_id}/messages/{message_id}`
    Edit(Text),
    /// `DELETE /rooms/{room_id}/messages/{message_id}`
    Delete {
        /// Whether the tenant's backend acts for itself.
        by_tenant: bool,
    },
}

/// What is asked about a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnRoom {
    /// `GET /rooms/{room_id}/presence`
    Presence,
    /// `GET /rooms/{room_id}/receipts`
    Receipts,
    /// `PATCH /rooms/{room_id}`
    Change {
        /// Its name.
        name: Change,
        /// Its metadata.
        metadata: Change,
        /// Whether the tenant's backend acts for itself.
        by_tenant: bool,
    },
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It is not named.
    Keep,
    /// It is null.
    Clear,
    /// It is one of several values.
    Set(u8),
}

/// What is asked about subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnTopic {
    /// `POST /subscriptions` of one of several topics.
    Subscribe(u8),
    /// `GET /subscriptions`
    List,
    /// `DELETE /subscriptions/{id}` of one of those there ever were, or the one after them.
    Unsubscribe(Pick),
}

/// A notification to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// One of several topics, those of [`OnTopic::Subscribe`].
    pub topic: u8,
    /// Whom it is for.
    pub targets: Targets,
    /// Whether the tenant's backend acts for itself.
    pub by_tenant: bool,
}

/// Whom a notification is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Targets {
    /// Everyone who is online.
    Online,
    /// An empty list.
    Nobody,
    /// These users.
    Users(Vec<u8>),
    /// These users among hundreds that there are not: more than one step of its expansion takes.
    Crowd(Vec<u8>),
    /// The members of a room.
    Room(RoomPick),
    /// Who subscribed to its topic.
    Subscribers,
    /// All of these together.
    All(Vec<u8>, RoomPick),
}

/// A request without a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// `GET /health`
    Health,
    /// `GET /readyz`
    Ready,
    /// `GET /metrics`
    Metrics,
    /// A tenant route with a key that names nobody.
    UnknownKey(u8),
}

/// Which room is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomPick {
    /// One that the user is a member of.
    Own(Pick),
    /// Any of any tenant.
    Any(Pick),
    /// None.
    Missing,
}

/// The kinds of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// `dm`
    Dm,
    /// `group`
    Group,
    /// `channel`
    Channel,
}

/// A message to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The idempotency key, if one comes with it. The body follows from it and from `variant`, so that a key that comes
    /// again comes with the same body or with another.
    pub key: Option<u8>,
    /// Which of the bodies of this key.
    pub variant: u8,
    /// Bytes of padding.
    pub padding: u32,
    /// Whether the padding takes six bytes for each on the wire.
    pub escaped: bool,
}

/// A page of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Where it starts.
    pub from: Position,
    /// Whether it goes towards older messages.
    pub backwards: bool,
    /// Its length.
    pub limit: u8,
}

/// A message's number, relative to what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// So many before the newest.
    Back(u16),
    /// So many past the newest.
    Past(u16),
}

/// How a user connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// By a token that was issued: one of the last for this user, used or not; else by the tenant's key.
    pub token: Option<u8>,
    /// Whether the backlog is wanted.
    pub sync: bool,
    /// Whether `?user_id=` names somebody else than the token's user.
    pub as_other: bool,
}

/// A frame of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientFrame {
    /// `send_message`
    Send(RoomPick, Text),
    /// `ack`
    Acknowledge(RoomPick, Position),
    /// `typing.start`
    StartTyping(RoomPick),
    /// `typing.stop`
    StopTyping(RoomPick),
    /// `subscribe`, from a position or from the user's ack on.
    Subscribe(RoomPick, Option<Position>),
    /// `resume` of a room and so many of the user's own beside it, all from there on.
    Resume(RoomPick, u8, Position),
    /// `ping`
    Ping,
}

/// How a connection ends from the client's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// With a close frame.
    Close,
    /// With a reset, which the server hears of.
    Reset,
}

/// What a connection's peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// It reads and answers pings.
    Reads,
    /// It reads nothing, and answers nothing.
    Stalls,
    /// It is gone, and the server has not heard of it.
    Vanishes,
}

/// How a transaction ends badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommitFault {
    /// It is durable, and nobody knows.
    Kept,
    /// Nothing of it is kept, and nobody knows.
    Lost,
    /// It was rolled back, and that is known.
    RolledBack(Refusal),
}

/// Why the store does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Another process holds the database.
    Busy,
    /// The disk is full.
    Full,
    /// The step failed.
    Failed,
}
