//! What clients do: requests, handshakes and frames, through the core's own parsers.

use chatapi_core::api::{Action as Parsed, Body, RequestParts, parse_request};
use chatapi_core::model::{Role, RoomType};
use chatapi_core::ws::{HandshakeCredentials, parse_client_frame};
use chatapi_core::{ClosedBy, ConnId, Digest, Input, RequestId, RoomId, UserId};

use super::asked::{Wish, meta_of};
use super::link::Owed;
use super::{Limits, MASTER_KEY, Outstanding, Simulation, Tenant, Token, user_id};
use crate::action::{
    ClientFrame, Connect, Ending, Kind, Page, Peer, Pick, Position, Probe as Look, Rest, RoomPick, Text, Who,
};
use crate::invariant::{Checked, ensure};
use crate::probe::Probe;

/// What a client asked for, as far as the answer is to be compared with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    CreateTenant(u8),
    CreateRoom { dm_of: Option<(UserId, UserId)>, wish: Option<Wish>, by_tenant: bool },
    ListRooms { limit: usize },
    ReadRoom(RoomId),
    ListMembers(RoomId),
    Send { room_id: RoomId, content: String, key: Option<String> },
    History { room_id: RoomId, page: Wanted },
    Acknowledge { room_id: RoomId, seq: u64, head_then: u64 },
    Token,
    Nonsense { status: u16 },
    Health,
    Ready,
    Metrics,
    UnknownKey,
    Handshake { conn: ConnId, user: UserId, token: Option<usize>, sync: bool, as_other: bool },
}

/// A page of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) from: u64,
    pub(crate) backwards: bool,
    pub(crate) limit: u64,
}

/// Requests with something wrong in them, and how each is refused.
const NONSENSE: &[(&str, &str, &str, u16)] = &[
    ("POST", "/rooms", "", 400),
    ("POST", "/rooms", r#"{"type":"club","members":["x"]}"#, 400),
    ("POST", "/rooms", r#"{"type":"dm","members":["a","b","c"]}"#, 400),
    ("POST", "/rooms", r#"{"type":"group","members":"x"}"#, 400),
    ("POST", "/rooms/room_0/messages", r#"{"content":""}"#, 400),
    ("POST", "/rooms/room_0/messages", r#"{"content":"x","content":"y"}"#, 400),
    ("POST", "/rooms/room_0/messages", r#"{"content":"\ud800"}"#, 400),
    ("GET", "/rooms/room_0/messages?limit=0", "", 400),
    ("GET", "/rooms/room_0/messages?after_seq=1&before_seq=2", "", 400),
    ("POST", "/acks", r#"{"room_id":"room_0","seq":-1}"#, 400),
    ("POST", "/acks", r#"{"room_id":"room_0","seq":1e99}"#, 400),
    ("GET", "/nowhere", "", 404),
    ("DELETE", "/acks", "", 405),
];

/// The padding that takes a text past what its tenant allows.
pub(crate) const TOO_MUCH: u32 = u32::MAX;

/// Frames that are none.
const GARBAGE: &[&str] = &[
    "",
    "{",
    "[]",
    r#"{"type":"nonsense"}"#,
    r#"{"type":"ack","room_id":"room_0"}"#,
    r#"{"type":"send_message","room_id":7,"content":"x"}"#,
];

impl Simulation {
    // Requests.

    pub(super) fn create_tenant(&mut self, number: u8) -> Checked {
        let index = usize::from(number) % self.tenants.len();
        if self.tenants[index].is_some() {
            return Ok(());
        }
        let number = u8::try_from(index).unwrap_or(0);
        if self.requests.values().any(|outstanding| outstanding.asked == Asked::CreateTenant(number)) {
            return Ok(());
        }
        let rate = self.rate_of(number);
        let body = format!(
            r#"{{"name":"<t{number}>","config":{{"rate_limit":{rate},"max_message_size":{}}}}}"#,
            self.setup.max_message_size
        );
        let headers = [("x-master-key", MASTER_KEY.as_bytes())];
        self.ask(None, Asked::CreateTenant(number), ("POST", "/admin/tenants"), &headers, body.as_bytes())
    }

    pub(super) fn take_tenant(&mut self, number: u8, api_key: String) {
        let limits = |rate| Limits::of(rate);
        let rate = self.rate_of(number);
        if let Some(place) = self.tenants.get_mut(usize::from(number)) {
            *place = Some(Tenant { api_key, requests: limits(rate), connects: limits(rate.saturating_mul(10)) });
        }
    }

    fn rate_of(&self, number: u8) -> u32 {
        let rates = &self.setup.rate_limits;
        rates.get(usize::from(number) % rates.len().max(1)).copied().unwrap_or(100)
    }

    pub(super) fn ask_rest(&mut self, who: Who, rest: &Rest) -> Checked {
        let who = self.existing(who);
        match rest {
            Rest::CreateRoom { kind, members, by_tenant } => self.create_room(who, *kind, members, *by_tenant),
            Rest::ListRooms { limit } => {
                let limit = usize::from(*limit.max(&1));
                let target = format!("/rooms?limit={limit}");
                self.ask_as(who, Asked::ListRooms { limit }, ("GET", &target), None, b"")
            }
            Rest::ReadRoom(room) => {
                let room_id = self.pick_room(who, *room);
                let target = format!("/rooms/{room_id}");
                self.ask_as(who, Asked::ReadRoom(room_id), ("GET", &target), None, b"")
            }
            Rest::ListMembers(room) => {
                let room_id = self.pick_room(who, *room);
                let target = format!("/rooms/{room_id}/members");
                self.ask_as(who, Asked::ListMembers(room_id), ("GET", &target), None, b"")
            }
            Rest::Send(room, text) => {
                let room_id = self.pick_room(who, *room);
                let (content, key) = self.write(who, &room_id, *text);
                let body = message_body(&content);
                let target = format!("/rooms/{room_id}/messages");
                let asked = Asked::Send { room_id, content, key: key.clone() };
                if key.is_some() && self.requests.values().any(|other| other.who == Some(who) && other.asked == asked) {
                    self.probes.hit(Probe::TwinsInFlight);
                }
                self.ask_as(who, asked, ("POST", &target), key.as_deref(), body.as_bytes())
            }
            Rest::History(room, page) => {
                let room_id = self.pick_room(who, *room);
                let wanted = self.page(&room_id, *page);
                let side = if wanted.backwards { "before_seq" } else { "after_seq" };
                let target = format!("/v1/rooms/{room_id}/messages?{side}={}&limit={}", wanted.from, wanted.limit);
                self.ask_as(who, Asked::History { room_id, page: wanted }, ("GET", &target), None, b"")
            }
            Rest::Acknowledge(room, position) => {
                let room_id = self.pick_room(who, *room);
                let (seq, head_then) = (self.position(&room_id, *position), self.head(&room_id));
                let body = format!(r#"{{"room_id":"{room_id}","seq":{seq}}}"#);
                let asked = Asked::Acknowledge { room_id, seq, head_then };
                self.ask_as(who, asked, ("POST", "/acks"), None, body.as_bytes())
            }
            Rest::Token => self.ask_as(who, Asked::Token, ("POST", "/ws/token"), None, b""),
            Rest::Nonsense(pick) => {
                let (method, target, body, status) = NONSENSE[usize::from(*pick) % NONSENSE.len()];
                self.ask_as(who, Asked::Nonsense { status }, (method, target), None, body.as_bytes())
            }
        }
    }

    pub(super) fn probe(&mut self, look: Look) -> Checked {
        match look {
            Look::Health => self.ask(None, Asked::Health, ("GET", "/health"), &[], b""),
            Look::Ready => self.ask(None, Asked::Ready, ("GET", "/readyz"), &[], b""),
            Look::Metrics => self.ask(None, Asked::Metrics, ("GET", "/metrics"), &[], b""),
            Look::UnknownKey(number) => {
                let key = format!("sk_nobody{number}");
                let headers = [("x-api-key", key.as_bytes()), ("x-user-id", b"nobody".as_slice())];
                self.ask(None, Asked::UnknownKey, ("GET", "/rooms"), &headers, b"")
            }
        }
    }

    fn create_room(&mut self, who: Who, kind: Kind, members: &[u8], by_tenant: bool) -> Checked {
        let users: Vec<UserId> =
            members.iter().map(|user| user_id(self.existing(Who { user: *user, ..who }))).collect();
        let names: Vec<&str> = users.iter().map(UserId::as_str).collect();
        let kind = match kind {
            Kind::Dm => "dm",
            Kind::Group => "group",
            Kind::Channel => "channel",
        };
        let metadata = format!(r#""<t{}>""#, who.tenant);
        let body = serde_json::json!({"type": kind, "members": names, "metadata": metadata}).to_string();
        let dm_of = match (kind, users.as_slice()) {
            ("dm", [one, other]) if one != other => Some((one.clone(), other.clone())),
            _ => None,
        };
        if dm_of.is_some()
            && self
                .requests
                .values()
                .any(|other| matches!(&other.asked, Asked::CreateRoom { dm_of: other, .. } if *other == dm_of))
        {
            self.probes.hit(Probe::DmRace);
        }
        let caller = (!by_tenant).then(|| user_id(who));
        let wish = wish(kind, users.clone(), caller, &metadata);
        let asked = Asked::CreateRoom { dm_of, wish, by_tenant };
        if by_tenant {
            let Some(api_key) = self.api_key(who) else {
                return Ok(());
            };
            let headers = [("x-api-key", api_key.as_bytes())];
            return self.ask(Some(who), asked, ("POST", "/rooms"), &headers, body.as_bytes());
        }
        self.ask_as(who, asked, ("POST", "/rooms"), None, body.as_bytes())
    }

    /// Asks as a user of a tenant that exists.
    fn ask_as(&mut self, who: Who, asked: Asked, route: (&str, &str), key: Option<&str>, body: &[u8]) -> Checked {
        let Some(api_key) = self.api_key(who) else {
            return Ok(());
        };
        let user = user_id(who);
        let mut headers = vec![("x-api-key", api_key.as_bytes()), ("x-user-id", user.as_str().as_bytes())];
        headers.extend(key.map(|key| ("idempotency-key", key.as_bytes())));
        self.ask(Some(who), asked, route, &headers, body)
    }

    fn ask(
        &mut self,
        who: Option<Who>,
        asked: Asked,
        (method, target): (&str, &str),
        headers: &[(&str, &[u8])],
        body: &[u8],
    ) -> Checked {
        if self.process.is_none() {
            return Ok(());
        }
        self.tell(|_| {
            format!("  {} asks {method} {target}", who.map_or("somebody".to_owned(), |who| user_id(who).to_string()))
        });
        let parts = RequestParts { method, target, headers, body: Body::Complete(body) };
        let (meta, action) = parse_request(&parts, &mut self.entropy);
        let request = RequestId(self.draw_id());
        let input = match action {
            Parsed::Answer(response) => {
                let expected = matches!(asked, Asked::Nonsense { status } if status == response.status);
                ensure!(expected, OneAnswer, "{method} {target} was refused outright with {}", response.status);
                return Ok(());
            }
            Parsed::Call(body) => Input::Request { request, body },
            Parsed::Handshake(upgrade) => {
                let Asked::Handshake { conn, .. } = &asked else {
                    ensure!(false, OneAnswer, "{method} {target} was taken for a handshake");
                    return Ok(());
                };
                Input::Handshake { request, conn: *conn, body: upgrade.request }
            }
        };
        self.requests.insert(request, Outstanding { who, asked, meta, is_abandoned: false });
        self.input(input)
    }

    pub(super) fn lose_answer(&mut self, pick: Pick) {
        let waiting = self.requests.values_mut().filter(|outstanding| !outstanding.is_abandoned);
        let mut waiting: Vec<&mut Outstanding> = waiting.collect();
        let count = waiting.len();
        if count > 0 {
            let outstanding = &mut waiting[usize::from(pick) % count];
            outstanding.is_abandoned = true;
            let asked = outstanding.asked.clone();
            self.note_lost_answer(&asked);
        }
    }

    /// A sender will never hear what became of its message.
    pub(super) fn note_lost_answer(&mut self, asked: &Asked) {
        if let Asked::Send { content, key: Some(_), .. } = asked {
            self.lost_answers.push(content.clone());
        }
    }

    // Connections.

    pub(super) fn connect(&mut self, who: Who, connect: Connect) -> Checked {
        let who = self.existing(who);
        let Some(api_key) = self.api_key(who) else {
            return Ok(());
        };
        let user = user_id(who);
        let own = self.tokens.iter().enumerate().filter(|(_, token)| token.who == who);
        let token = connect.token.and_then(|back| own.rev().nth(usize::from(back)).map(|(index, _)| index));
        let mut target = format!("/ws?sync={}", connect.sync);
        if let Some(index) = token {
            let token = &mut self.tokens[index];
            token.uses += 1;
            if token.uses == 2 {
                self.probes.hit(Probe::TokenUsedTwice);
            }
            target += &format!("&token={}", token.text);
            if connect.as_other {
                target += "&user_id=somebody";
                self.probes.hit(Probe::TokenOfAnother);
            }
        }
        let conn = ConnId(self.draw_id());
        let mut headers = vec![
            ("connection", b"Upgrade".as_slice()),
            ("upgrade", b"websocket"),
            ("sec-websocket-version", b"13"),
            ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        if token.is_none() {
            headers.extend([("x-api-key", api_key.as_bytes()), ("x-user-id", user.as_str().as_bytes())]);
        }
        let as_other = token.is_some() && connect.as_other;
        let asked = Asked::Handshake { conn, user: user.clone(), token, sync: connect.sync, as_other };
        self.ask(Some(who), asked, ("GET", &target), &headers, b"")
    }

    /// What a saboteur puts in the place of a token that was used: the tenant's own key.
    pub(super) fn credentials_of(&self, conn: ConnId) -> Option<HandshakeCredentials> {
        let asked = self
            .requests
            .values()
            .find(|outstanding| matches!(&outstanding.asked, Asked::Handshake { conn: own, .. } if *own == conn));
        let who = asked?.who?;
        let user = user_id(who);
        let api_key = Digest::of(self.api_key(who)?.as_bytes());
        Some(HandshakeCredentials::ApiKey { api_key, user: chatapi_core::api::UserHeader::User(user) })
    }

    pub(super) fn send_frame(&mut self, pick: Pick, frame: ClientFrame) -> Checked {
        let Some(conn) = self.open_link(pick) else {
            return Ok(());
        };
        let who = self.links[&conn].who;
        let request_id = format!("r{}", self.draw_id());
        let (text, owed, is_control) = match frame {
            ClientFrame::Send(room, text) => {
                let room_id = self.pick_room(who, room);
                let (content, key) = self.write(who, &room_id, text);
                let mut fields = serde_json::json!({"room_id": room_id.as_str(), "content": content});
                if let Some(key) = key {
                    fields["idempotency_key"] = key.into();
                }
                if let Some(meta) = meta_of(&content) {
                    fields["meta"] = meta.into();
                }
                // Both forms of a frame mean the same.
                let frame = if text.variant.is_multiple_of(2) {
                    serde_json::json!({"type": "send_message", "request_id": request_id, "data": fields})
                } else {
                    fields["type"] = "send_message".into();
                    fields["request_id"] = request_id.as_str().into();
                    fields
                };
                (frame.to_string(), Owed::Message { room_id, content }, false)
            }
            ClientFrame::Acknowledge(room, position) => {
                let room_id = self.pick_room(who, room);
                let (seq, head_then) = (self.position(&room_id, position), self.head(&room_id));
                let frame =
                    format!(r#"{{"type":"ack","room_id":"{room_id}","seq":{seq},"request_id":"{request_id}"}}"#);
                (frame, Owed::Ack { room_id, seq, head_then }, true)
            }
            ClientFrame::Ping => (format!(r#"{{"type":"ping","request_id":"{request_id}"}}"#), Owed::Pong, true),
        };
        if let Some(link) = self.links.get_mut(&conn) {
            link.owed.insert(request_id, owed);
            link.invalid_in_a_row = 0;
        }
        self.frame_input(conn, &text, is_control)
    }

    pub(super) fn send_garbage(&mut self, pick: Pick, count: u8) -> Checked {
        for index in 0..count {
            let Some(conn) = self.open_link(pick) else {
                return Ok(());
            };
            let frames = self.links.get_mut(&conn).map_or(0, |link| {
                link.invalid_in_a_row += 1;
                link.invalid_in_a_row
            });
            let text = GARBAGE[(usize::from(index) + usize::from(pick)) % GARBAGE.len()];
            self.garbage_of = Some(conn);
            self.frame_input(conn, text, text.contains(r#""ack""#))?;
            let is_open = self.links.get(&conn).is_some_and(|link| link.closed.is_none());
            ensure!(
                !(is_open && self.garbage_of.take().is_some()),
                OneAnswer,
                "{conn:?} sent {text}, and was told nothing"
            );
            if frames >= 20 {
                let is_closed = self.links.get(&conn).is_none_or(|link| link.closed.is_some());
                ensure!(is_closed, BoundedQueues, "{conn:?} sent {frames} invalid frames in a row and is open");
                self.probes.hit(Probe::GarbageClosed);
            }
        }
        Ok(())
    }

    /// Hands a frame to the core, and settles what it took of the limits.
    fn frame_input(&mut self, conn: ConnId, text: &str, is_control: bool) -> Checked {
        let now = self.now().mono;
        let Some(link) = self.links.get_mut(&conn) else {
            return Ok(());
        };
        let tenant = link.who.tenant;
        link.heard(now);
        self.tell(|_| format!("  {conn:?} sends {text:.200}"));
        self.frame_refused = false;
        self.input(Input::Frame { conn, frame: Box::new(parse_client_frame(text)) })?;
        if self.frame_refused {
            self.probes.hit(Probe::FrameRateLimited);
        }
        let refused = self.frame_refused;
        ensure!(!refused || self.stores_of_last_input == 0, RateLimit, "{conn:?}: a frame was refused, and acted on");
        if is_control {
            let Some(link) = self.links.get_mut(&conn) else {
                return Ok(());
            };
            if refused {
                ensure!(link.control.left(now) == 0, RateLimit, "{conn:?}: a control frame was refused too early");
            } else {
                link.control.add(now);
                ensure!(!link.control.is_over(now), RateLimit, "{conn:?}: more control frames than its limit");
            }
            return Ok(());
        }
        if !refused && self.links.get(&conn).is_none_or(|link| link.closed.is_some()) {
            // The refusal may not have fitted the queue any more.
            self.charge_perhaps(tenant, super::BucketName::Requests);
            return Ok(());
        }
        self.charge(tenant, super::BucketName::Requests, !refused, "a frame")
    }

    fn open_link(&self, pick: Pick) -> Option<ConnId> {
        let open: Vec<ConnId> = self
            .links
            .values()
            .filter(|link| link.closed.is_none() && link.peer != Peer::Vanishes)
            .map(|link| link.conn)
            .collect();
        open.get(usize::from(pick) % open.len().max(1)).copied()
    }

    pub(super) fn disconnect(&mut self, pick: Pick, ending: Ending) -> Checked {
        let Some(conn) = self.pick_link(pick) else {
            return Ok(());
        };
        let by = match ending {
            Ending::Close => ClosedBy::Client,
            Ending::Reset => ClosedBy::Error,
        };
        self.links.remove(&conn);
        self.tell(|_| format!("  {conn:?} ends: {ending:?}"));
        self.input(Input::Closed { conn, by })
    }

    pub(super) fn set_peer(&mut self, pick: Pick, peer: Peer) -> Checked {
        let Some(conn) = self.pick_link(pick) else {
            return Ok(());
        };
        if let Some(link) = self.links.get_mut(&conn)
            && link.peer != Peer::Vanishes
        {
            link.peer = peer;
            link.was_stalled |= peer == Peer::Stalls;
        }
        Ok(())
    }

    // What is meant by numbers.

    /// A user that there is.
    fn existing(&self, who: Who) -> Who {
        Who { tenant: who.tenant % self.setup.tenants.max(1), user: who.user % self.setup.users.max(1) }
    }

    fn api_key(&self, who: Who) -> Option<String> {
        self.tenants.get(usize::from(who.tenant))?.as_ref().map(|tenant| tenant.api_key.clone())
    }

    fn pick_room(&mut self, who: Who, pick: RoomPick) -> RoomId {
        let missing = RoomId::new("room_0000000000000000");
        let user = user_id(who);
        let picked = match pick {
            RoomPick::Own(pick) => {
                let own: Vec<&RoomId> = self.model.rooms_of(&user).map(|(room_id, _)| room_id).collect();
                own.get(usize::from(pick) % own.len().max(1)).map(|room_id| (*room_id).clone())
            }
            RoomPick::Any(pick) => {
                let all = self.model.rooms();
                all.get(usize::from(pick) % all.len().max(1)).cloned()
            }
            RoomPick::Missing => None,
        };
        let room_id = picked.unwrap_or(missing);
        if let Some(room) = self.model.room(&room_id) {
            if room.tenant != who.tenant {
                self.probes.hit(Probe::ForeignRoom);
            } else if !room.members.contains_key(&user) {
                self.probes.hit(Probe::NotMember);
            }
        }
        room_id
    }

    pub(super) fn head(&self, room_id: &RoomId) -> u64 {
        self.model.room(room_id).map_or(0, crate::model::ModelRoom::head)
    }

    fn position(&self, room_id: &RoomId, position: Position) -> u64 {
        let head = self.head(room_id);
        match position {
            Position::Back(back) => head.saturating_sub(u64::from(back)),
            Position::Past(past) => head + u64::from(past),
        }
    }

    fn page(&self, room_id: &RoomId, page: Page) -> Wanted {
        let from = self.position(room_id, page.from);
        Wanted { from, backwards: page.backwards, limit: u64::from(page.limit.clamp(1, 100)) }
    }

    /// The text of a message: where it comes from, and what makes it one of its kind.
    fn write(&mut self, who: Who, room_id: &RoomId, text: Text) -> (String, Option<String>) {
        let user = user_id(who);
        let mark = match text.key {
            Some(key) => format!("key=k{key} variant={}", text.variant % 2),
            None => {
                self.messages_written += 1;
                format!("#{}", self.messages_written)
            }
        };
        let mut content = format!("<t{}> {room_id} {user} {mark} ", who.tenant);
        let room = (self.setup.max_message_size as usize).saturating_sub(content.len());
        // A byte too much, now and then.
        let padding = if text.padding == TOO_MUCH { room + 1 } else { (text.padding as usize).min(room) };
        content.extend(std::iter::repeat_n(if text.escaped { '\u{1}' } else { 'x' }, padding));
        (content, text.key.map(|key| format!("k{key}")))
    }

    pub(super) const fn draw_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A user was given a token.
    pub(super) fn take_token(&mut self, who: Who, text: String) {
        let issued = self.now().mono;
        let token = Token { text, who, issued, incarnation: self.incarnation, uses: 0, is_used_up: false };
        self.tokens.push(token);
    }
}

fn message_body(content: &str) -> String {
    match meta_of(content) {
        Some(meta) => serde_json::json!({ "content": content, "meta": meta }),
        None => serde_json::json!({ "content": content }),
    }
    .to_string()
}

/// Who is to be in a new room (protocol, section 4).
fn wish(kind: &str, mut users: Vec<UserId>, caller: Option<UserId>, metadata: &str) -> Option<Wish> {
    users.sort();
    users.dedup();
    let kind = RoomType::parse(kind)?;
    if let Some(caller) = caller.as_ref().filter(|caller| !users.contains(caller))
        && (kind != RoomType::Dm || users.len() == 1)
    {
        users.push(caller.clone());
        users.sort();
    }
    if kind == RoomType::Dm && users.len() != 2 {
        return None;
    }
    let role_of = |user: &UserId| {
        if kind != RoomType::Dm && caller.as_ref() == Some(user) { Role::Admin } else { Role::Member }
    };
    let members = users.into_iter().map(|user| (user.clone(), role_of(&user))).collect();
    Some(Wish { kind, members, metadata: metadata.to_owned() })
}
