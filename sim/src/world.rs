//! A scripted world: the real core between simulated sockets, a simulated clock and a simulated store.
//!
//! A test says what happens and looks at what came out; nothing happens by itself but what [`World::run`] carries out.
//! Requests and frames pass through the core's own parsers and encoders, so that what is tested is what clients see.

use std::collections::{BTreeMap, VecDeque};

use chatapi_core::api::{Action, Answer, Body, HttpResponse, RequestParts, ResponseMeta, encode, parse_request};
use chatapi_core::recording::{self, Redactor};
use chatapi_core::store::{Lane, StoreFailure, StoreRequest, StoreResult};
use chatapi_core::ws::parse_client_frame;
use chatapi_core::{
    CloseReason, ClosedBy, Config, ConnId, Core, Effect, Event, Input, Micros, Now, OpId, RequestId, UnixMillis,
};
use serde_json::Value;

use crate::entropy::{Counter, MASTER_KEY};
use crate::memory_store::MemoryStore;

/// What a client got for a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, with their names as they are sent.
    pub headers: BTreeMap<String, String>,
    /// The body; null where it is empty.
    pub body: Value,
}

/// How the store treats the next step of the write lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does nothing and says so.
    Refuse(StoreFailure),
    /// It carries the step out, and says that it does not know.
    CommitButUnknown,
    /// It does nothing, and says that it does not know.
    LoseButUnknown,
}

/// The other end of a connection.
#[derive(Debug, Default)]
struct Peer {
    frames: Vec<Value>,
    pings: usize,
    closed: Option<CloseReason>,
    /// Sizes of the frames that the peer has not taken.
    untaken: Vec<u64>,
    reads: bool,
}

/// The world.
#[derive(Debug)]
pub struct World {
    core: Core,
    now: Now,
    store: MemoryStore,
    writes: VecDeque<(OpId, StoreRequest)>,
    reads: VecDeque<(OpId, StoreRequest)>,
    store_is_held: bool,
    faults: VecDeque<Fault>,
    pending: BTreeMap<RequestId, ResponseMeta>,
    answers: BTreeMap<RequestId, Response>,
    peers: BTreeMap<ConnId, Peer>,
    reports: Vec<Event>,
    is_stopped: bool,
    last_id: u64,
    entropy: Counter,
    recording: Option<Recording>,
}

/// What was recorded of a world.
#[derive(Debug)]
struct Recording {
    redactor: Redactor,
    text: Vec<u8>,
}

/// A tenant of the world's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantHandle {
    /// Its API key.
    pub api_key: String,
    /// Its id.
    pub tenant_id: String,
}

impl World {
    /// A world whose store has booted.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut world = Self::starting(config);
        world.run();
        world
    }

    /// A world whose store has not booted.
    #[must_use]
    pub fn starting(config: Config) -> Self {
        Self::begin(config, None)
    }

    /// A world that is recorded, and whose store has booted. `key` is that of the recording's stand-ins.
    #[must_use]
    pub fn recorded(config: Config, key: &[u8; 32]) -> Self {
        let mut world = Self::begin(config, Some(Redactor::new(key)));
        world.run();
        world
    }

    /// The recording so far; empty where there is none.
    #[must_use]
    pub fn recording(&self) -> &[u8] {
        self.recording.as_ref().map_or(&[], |recording| &recording.text)
    }

    fn begin(config: Config, redactor: Option<Redactor>) -> Self {
        let now = Now { mono: chatapi_core::MonoMicros(1_000_000), wall: UnixMillis(1_765_627_800_000) };
        let seed = [7; 32];
        let mut world = Self {
            core: Core::new(config.clone(), seed, now),
            now,
            store: MemoryStore::new("epoch-1"),
            writes: VecDeque::new(),
            reads: VecDeque::new(),
            store_is_held: false,
            faults: VecDeque::new(),
            pending: BTreeMap::new(),
            answers: BTreeMap::new(),
            peers: BTreeMap::new(),
            reports: Vec::new(),
            is_stopped: false,
            last_id: 0,
            entropy: Counter::new(config.allowed_origins.clone()),
            recording: redactor.map(|redactor| Recording { redactor, text: Vec::new() }),
        };
        let mut effects = world.drain();
        if let Some(Recording { redactor, text }) = &mut world.recording {
            text.extend(recording::header(&config, seed, now, &redactor.effects(&mut effects)));
        }
        world
    }

    /// Carries out everything that can be done without time passing.
    pub fn run(&mut self) {
        loop {
            self.let_peers_read();
            let step =
                if self.store_is_held { None } else { self.writes.pop_front().or_else(|| self.reads.pop_front()) };
            let Some((op, request)) = step else {
                return;
            };
            self.carry_out(op, &request);
        }
    }

    /// Lets the store do nothing until [`World::release_store`].
    pub fn hold_store(&mut self) {
        self.store_is_held = true;
    }

    /// Lets the store work again.
    pub fn release_store(&mut self) {
        self.store_is_held = false;
        self.run();
    }

    /// Carries out one waiting read, before every waiting change: as a reader may that is quick.
    pub fn carry_out_one_read(&mut self) {
        if let Some((op, request)) = self.reads.pop_front() {
            self.carry_out(op, &request);
        }
    }

    /// Carries out all waiting changes without telling the core. Hands back what it is to be told.
    pub fn commit_unreported(&mut self) -> Vec<(OpId, StoreResult)> {
        let store = &mut self.store;
        self.writes.drain(..).map(|(op, request)| (op, store.execute(&request))).collect()
    }

    /// Tells the core what the store answered.
    pub fn report(&mut self, replies: Vec<(OpId, StoreResult)>) {
        for (op, result) in replies {
            self.input(Input::Stored { op, result });
        }
    }

    /// Steps that wait for the store.
    #[must_use]
    pub fn waiting(&self) -> Vec<&StoreRequest> {
        self.writes.iter().chain(&self.reads).map(|(_, request)| request).collect()
    }

    /// Treats the next step of the write lane that way.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push_back(fault);
    }

    /// Lets time pass, waking the core whenever it wants.
    pub fn advance(&mut self, span: Micros) {
        let end = self.now.mono + span;
        while let Some((at, _)) = self.core.next_timeout().filter(|(at, _)| *at <= end) {
            self.move_clock(at);
            self.input(Input::Tick);
            self.run();
        }
        self.move_clock(end);
    }

    /// Lets time pass, waking the core only at its end: as for a process that was not run meanwhile.
    pub fn oversleep(&mut self, span: Micros) {
        self.move_clock(self.now.mono + span);
        self.input(Input::Tick);
        self.run();
    }

    /// Steps the wall clock, back or forth.
    pub fn step_wall_clock(&mut self, by_ms: i64) {
        self.now.wall.0 += by_ms;
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Panics
    ///
    /// If there is none without time passing.
    pub fn rest(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let request = self.rest_later(method, target, headers, body);
        self.run();
        self.answer(request).unwrap_or_else(|| panic!("{method} {target} was not answered"))
    }

    /// Sends a request. Its answer is to be asked for by [`World::answer`].
    pub fn rest_later(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> RequestId {
        let headers: Vec<(String, &[u8])> =
            headers.iter().map(|(name, value)| (name.to_lowercase(), value.as_bytes())).collect();
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let parts = RequestParts { method, target, headers: &headers, body: Body::Complete(body.as_bytes()) };
        let (meta, action) = parse_request(&parts, &mut self.entropy);
        let request = RequestId(self.draw_id());
        match action {
            Action::Answer(response) => {
                self.answers.insert(request, Response::of(&response));
            }
            Action::Call(body) => {
                self.pending.insert(request, meta);
                self.input(Input::Request { request, body });
            }
            Action::Handshake(upgrade) => {
                let conn = ConnId(self.draw_id());
                self.pending.insert(request, meta);
                self.input(Input::Handshake { request, conn, body: upgrade.request });
            }
        }
        request
    }

    /// The answer to a request, once.
    pub fn answer(&mut self, request: RequestId) -> Option<Response> {
        self.answers.remove(&request)
    }

    /// Creates a tenant with `config`, a JSON object.
    pub fn create_tenant(&mut self, config: &str) -> TenantHandle {
        let body = format!(r#"{{"name":"demo","config":{config}}}"#);
        let created = self.rest("POST", "/admin/tenants", &[("X-Master-Key", MASTER_KEY)], &body);
        assert_eq!(created.status, 201, "{created:?}");
        TenantHandle { api_key: created.text("api_key"), tenant_id: created.text("tenant_id") }
    }

    /// Sends a request as a user of a tenant's.
    pub fn as_user(&mut self, tenant: &TenantHandle, user: &str, method: &str, target: &str, body: &str) -> Response {
        self.rest(method, target, &[("X-API-Key", &tenant.api_key), ("X-User-Id", user)], body)
    }

    /// Creates a group and hands back its id.
    pub fn create_room(&mut self, tenant: &TenantHandle, creator: &str, members: &[&str]) -> String {
        let body = serde_json::json!({"type": "group", "members": members}).to_string();
        let created = self.as_user(tenant, creator, "POST", "/rooms", &body);
        assert_eq!(created.status, 201, "{created:?}");
        created.text("room_id")
    }

    /// Sends a message by REST and hands back its number.
    pub fn send(&mut self, tenant: &TenantHandle, user: &str, room: &str, content: &str) -> u64 {
        let body = serde_json::json!({"content": content}).to_string();
        let sent = self.as_user(tenant, user, "POST", &format!("/rooms/{room}/messages"), &body);
        assert_eq!(sent.status, 200, "{sent:?}");
        sent.body["seq"].as_u64().unwrap_or_default()
    }

    /// Connects a user by headers, reading what comes.
    ///
    /// # Panics
    ///
    /// If the handshake is refused.
    pub fn connect(&mut self, tenant: &TenantHandle, user: &str) -> ConnId {
        let conn = self.connect_to(tenant, user, "/ws");
        self.run();
        conn
    }

    /// Connects a user by headers with a target of the test's; nothing of the store's is carried out.
    ///
    /// # Panics
    ///
    /// If the handshake is refused.
    pub fn connect_to(&mut self, tenant: &TenantHandle, user: &str, target: &str) -> ConnId {
        let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", user)];
        self.handshake(target, &headers).unwrap_or_else(|refusal| panic!("{user} was refused: {refusal:?}"))
    }

    /// Shakes hands.
    ///
    /// # Errors
    ///
    /// The answer of a server that refuses.
    pub fn handshake(&mut self, target: &str, headers: &[(&str, &str)]) -> Result<ConnId, Response> {
        let mut all = vec![
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        all.extend_from_slice(headers);
        let request = self.rest_later("GET", target, &all, "");
        if !self.answers.contains_key(&request) && self.pending.contains_key(&request) {
            // Its key is yet to be looked up.
            while self.pending.contains_key(&request) && !self.reads.is_empty() {
                self.carry_out_one_read();
            }
        }
        match self.answer(request) {
            Some(refusal) => Err(refusal),
            None => Ok(self.newest_peer()),
        }
    }

    /// Sends a text frame.
    pub fn frame(&mut self, conn: ConnId, text: &str) {
        self.input(Input::Frame { conn, frame: Box::new(parse_client_frame(text)) });
        self.run();
    }

    /// Sends a text frame, and carries out nothing.
    pub fn frame_later(&mut self, conn: ConnId, text: &str) {
        self.input(Input::Frame { conn, frame: Box::new(parse_client_frame(text)) });
    }

    /// A ping or pong of the peer's.
    pub fn heard(&mut self, conn: ConnId) {
        self.input(Input::Heard { conn });
    }

    /// The frames that came since the last look.
    pub fn frames(&mut self, conn: ConnId) -> Vec<Value> {
        self.peers.get_mut(&conn).map(|peer| std::mem::take(&mut peer.frames)).unwrap_or_default()
    }

    /// The numbers of the `message` frames that came since the last look.
    pub fn seqs(&mut self, conn: ConnId) -> Vec<u64> {
        let frames = self.frames(conn);
        frames.iter().filter(|frame| frame["type"] == "message").filter_map(|frame| frame["seq"].as_u64()).collect()
    }

    /// How many pings came.
    #[must_use]
    pub fn pings(&self, conn: ConnId) -> usize {
        self.peers.get(&conn).map_or(0, |peer| peer.pings)
    }

    /// Why the server closed the connection, if it did.
    #[must_use]
    pub fn closed(&self, conn: ConnId) -> Option<CloseReason> {
        self.peers.get(&conn).and_then(|peer| peer.closed)
    }

    /// The peer stops reading.
    pub fn stall(&mut self, conn: ConnId) {
        self.set_reading(conn, false);
    }

    /// The peer reads on.
    pub fn read_on(&mut self, conn: ConnId) {
        self.set_reading(conn, true);
        self.run();
    }

    /// A peer that does not read takes so many frames all the same.
    pub fn take(&mut self, conn: ConnId, frames: usize) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let taken: Vec<u64> = peer.untaken.drain(..frames.min(peer.untaken.len())).collect();
        let frames = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        self.input(Input::Flushed { conn, frames, size_bytes: taken.iter().sum(), peer_reads: true });
    }

    /// Bytes and frames that the peer has not taken.
    #[must_use]
    pub fn untaken(&self, conn: ConnId) -> (u64, usize) {
        self.peers.get(&conn).map_or((0, 0), |peer| (peer.untaken.iter().sum(), peer.untaken.len()))
    }

    /// The peer goes.
    pub fn disconnect(&mut self, conn: ConnId, by: ClosedBy) {
        self.input(Input::Closed { conn, by });
    }

    /// The process shall end.
    pub fn shut_down(&mut self) {
        self.input(Input::Shutdown);
    }

    /// Whether the core has said that everything is done.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// What the core reported since the last look.
    pub fn reports(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.reports)
    }

    /// When the core wants to run again.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Micros> {
        self.core.next_timeout().map(|(at, _)| at - self.now.mono)
    }

    fn input(&mut self, input: Input) {
        let recorded = self.recording.as_ref().map(|recording| recording.redactor.input(&input));
        self.core.handle(self.now, input);
        let mut effects = self.drain();
        if let (Some(Recording { redactor, text }), Some(input)) = (&mut self.recording, recorded) {
            text.extend(recording::step(self.now, &input, Some(&redactor.effects(&mut effects))));
        }
    }

    /// Carries out what the core wants. Hands it back if it is to be recorded.
    fn drain(&mut self) -> Vec<Effect> {
        let mut drained = Vec::new();
        while let Some(effect) = self.core.poll_effect() {
            if self.recording.is_some() {
                drained.push(effect.clone());
            }
            assert!(!self.is_stopped, "{effect:?} after Stop");
            match effect {
                Effect::Store { op, request } => match request.lane() {
                    Lane::Write => self.writes.push_back((op, request)),
                    Lane::Read => self.reads.push_back((op, request)),
                },
                Effect::Respond { request, answer } => self.take_answer(request, &answer),
                Effect::Accept { request, conn, .. } => {
                    let meta = self.pending.remove(&request);
                    assert!(meta.is_some(), "{request:?} was answered twice");
                    self.peers.insert(conn, Peer { reads: true, ..Peer::default() });
                }
                Effect::Send { conns, frame } => {
                    for conn in conns {
                        let peer = self.open_peer(conn);
                        peer.untaken.push(frame.size_bytes() as u64);
                        let value = serde_json::from_slice(frame.as_bytes());
                        peer.frames.push(value.unwrap_or_else(|error| panic!("a frame is no JSON: {error}")));
                    }
                }
                Effect::Ping { conns } => {
                    for conn in conns {
                        self.open_peer(conn).pings += 1;
                    }
                }
                Effect::Close { conn, reason } => self.open_peer(conn).closed = Some(reason),
                Effect::Report(event) => self.reports.push(event),
                Effect::Stop => self.is_stopped = true,
            }
        }
        drained
    }

    fn take_answer(&mut self, request: RequestId, answer: &Answer) {
        let Some(meta) = self.pending.remove(&request) else {
            panic!("{request:?} was answered twice");
        };
        self.answers.insert(request, Response::of(&encode(&meta, answer)));
    }

    fn carry_out(&mut self, op: OpId, request: &StoreRequest) {
        let fault = if request.lane() == Lane::Write { self.faults.pop_front() } else { None };
        let result = match fault {
            None => self.store.execute(request),
            Some(Fault::Refuse(failure)) => Err(failure),
            Some(Fault::LoseButUnknown) => Err(StoreFailure::OutcomeUnknown),
            Some(Fault::CommitButUnknown) => self.store.execute(request).and(Err(StoreFailure::OutcomeUnknown)),
        };
        self.input(Input::Stored { op, result });
    }

    fn let_peers_read(&mut self) {
        let taken: Vec<(ConnId, u32, u64)> = self
            .peers
            .iter_mut()
            .filter(|(_, peer)| peer.reads && peer.closed.is_none() && !peer.untaken.is_empty())
            .map(|(conn, peer)| {
                let sizes = std::mem::take(&mut peer.untaken);
                (*conn, u32::try_from(sizes.len()).unwrap_or(u32::MAX), sizes.iter().sum())
            })
            .collect();
        for (conn, frames, size_bytes) in taken {
            self.input(Input::Flushed { conn, frames, size_bytes, peer_reads: false });
        }
    }

    fn set_reading(&mut self, conn: ConnId, reads: bool) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.reads = reads;
        }
    }

    /// The other end of a connection that may still be sent to.
    fn open_peer(&mut self, conn: ConnId) -> &mut Peer {
        match self.peers.get_mut(&conn) {
            Some(peer) if peer.closed.is_none() => peer,
            Some(_) => panic!("{conn:?} is sent to after its close"),
            None => panic!("{conn:?} is sent to before its accept"),
        }
    }

    fn newest_peer(&self) -> ConnId {
        self.peers.last_key_value().map_or_else(|| panic!("nobody is connected"), |(conn, _)| *conn)
    }

    fn move_clock(&mut self, to: chatapi_core::MonoMicros) {
        let span = to - self.now.mono;
        self.now.wall.0 += i64::try_from(span.0 / 1_000).unwrap_or(i64::MAX);
        self.now.mono = to.max(self.now.mono);
    }

    const fn draw_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Response {
    fn of(response: &HttpResponse) -> Self {
        let headers = response.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let body = if response.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("a body is no JSON: {error}"))
        };
        Self { status: response.status, headers, body }
    }

    /// A text field of the body; empty where it is none.
    #[must_use]
    pub fn text(&self, field: &str) -> String {
        self.body[field].as_str().unwrap_or_default().to_owned()
    }

    /// The code of an error.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}
