//! REST requests, through the core's own parser.

use chatapi_core::api::{Action as Parsed, Body, RequestParts, parse_request};
use chatapi_core::model::{Edit, Role, RoomType};
use chatapi_core::{ConnId, Input, MessageId, RequestId, RoomId, UserId};

use super::asked::{Wish, meta_of};
use super::notifications::Announcement;
use super::{Limits, MASTER_KEY, Outstanding, Simulation, Tenant, user_id};
use crate::action::{Kind, Probe as Look, Rest, Who};
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
    ReadMessage { room_id: RoomId, message_id: MessageId, seq: u64 },
    EditMessage { room_id: RoomId, message_id: MessageId, seq: u64, content: String },
    DeleteMessage { room_id: RoomId, message_id: MessageId, seq: u64, by_tenant: bool },
    ListPresence(RoomId),
    ListReceipts(RoomId),
    ChangeRoom { room_id: RoomId, name: Edit<String>, metadata: Edit<String>, by_tenant: bool },
    Subscribe { topic: String },
    ListSubscriptions,
    Unsubscribe { id: u64, is_own: bool },
    Notify { announcement: Announcement, by_tenant: bool },
    Token,
    Nonsense { status: u16 },
    Health,
    Ready,
    Metrics,
    UnknownKey,
    Handshake { conn: ConnId, user: UserId, token: Option<usize>, sync: bool, as_other: bool },
}

impl Asked {
    /// Whether the tenant's backend asked for itself.
    pub(crate) const fn is_by_tenant(&self) -> bool {
        matches!(
            self,
            Self::CreateRoom { by_tenant: true, .. }
                | Self::DeleteMessage { by_tenant: true, .. }
                | Self::ChangeRoom { by_tenant: true, .. }
                | Self::Notify { by_tenant: true, .. }
        )
    }
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

impl Simulation {
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
            r#"{{"name":"<t{number}>","config":{{"rate_limit":{rate},"max_message_size":{},"durable_notifications":{}}}}}"#,
            self.setup.max_message_size,
            self.setup.keeps_notifications(number)
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
            Rest::Message(room, position, on_message) => self.ask_of_message(who, *room, *position, *on_message),
            Rest::Room(room, on_room) => self.ask_of_room(who, *room, *on_room),
            Rest::Topic(on_topic) => self.ask_of_topics(who, *on_topic),
            Rest::Notify(notify) => self.ask_notify(who, notify),
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
        self.ask_for(who, by_tenant, asked, ("POST", "/rooms"), body.as_bytes())
    }

    /// Asks as a user, or as the tenant's backend for itself.
    pub(super) fn ask_for(
        &mut self,
        who: Who,
        by_tenant: bool,
        asked: Asked,
        route: (&str, &str),
        body: &[u8],
    ) -> Checked {
        if !by_tenant {
            return self.ask_as(who, asked, route, None, body);
        }
        let Some(api_key) = self.api_key(who) else {
            return Ok(());
        };
        self.ask(Some(who), asked, route, &[("x-api-key", api_key.as_bytes())], body)
    }

    /// Asks as a user of a tenant that exists.
    pub(super) fn ask_as(
        &mut self,
        who: Who,
        asked: Asked,
        route: (&str, &str),
        key: Option<&str>,
        body: &[u8],
    ) -> Checked {
        let Some(api_key) = self.api_key(who) else {
            return Ok(());
        };
        let user = user_id(who);
        let mut headers = vec![("x-api-key", api_key.as_bytes()), ("x-user-id", user.as_str().as_bytes())];
        headers.extend(key.map(|key| ("idempotency-key", key.as_bytes())));
        self.ask(Some(who), asked, route, &headers, body)
    }

    pub(super) fn ask(
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
