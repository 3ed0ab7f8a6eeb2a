//! What clients do: handshakes and frames, through the core's own parser, and what they mean by numbers.

use chatapi_core::ws::{HandshakeCredentials, parse_client_frame};
use chatapi_core::{ClosedBy, ConnId, Digest, Input, RoomId};

use super::asked::meta_of;
use super::link::Owed;
use super::requests::{Asked, Wanted};
use super::{Outstanding, Simulation, Token, user_id};
use crate::action::{ClientFrame, Connect, Ending, Page, Peer, Pick, Position, RoomPick, Text, Who};
use crate::invariant::{Checked, ensure};
use crate::probe::Probe;

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
            ClientFrame::StartTyping(room) | ClientFrame::StopTyping(room) => {
                let room_id = self.pick_room(who, room);
                let kind = if matches!(frame, ClientFrame::StartTyping(_)) { "start" } else { "stop" };
                let frame = format!(r#"{{"type":"typing.{kind}","room_id":"{room_id}","request_id":"{request_id}"}}"#);
                (frame, Owed::Typing { room_id }, true)
            }
            ClientFrame::Subscribe(room, position) => {
                let (frame, owed) = self.subscribe_frame((conn, who), &request_id, room, position);
                (frame, owed, false)
            }
            ClientFrame::Resume(room, others, position) => {
                let (frame, owed) = self.resume_frame((conn, who), &request_id, (room, others), position);
                (frame, owed, false)
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
        let report = link.report_before_hearing(now);
        self.tell(|_| format!("  {conn:?} sends {text:.200}"));
        if let Some(report) = report {
            self.input(report)?;
        }
        self.frame_refused = false;
        self.sync_refused = false;
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
        if self.sync_refused || !refused && self.links.get(&conn).is_none_or(|link| link.closed.is_some()) {
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
    pub(super) fn existing(&self, who: Who) -> Who {
        Who { tenant: who.tenant % self.setup.tenants.max(1), user: who.user % self.setup.users.max(1) }
    }

    pub(super) fn api_key(&self, who: Who) -> Option<String> {
        self.tenants.get(usize::from(who.tenant))?.as_ref().map(|tenant| tenant.api_key.clone())
    }

    pub(super) fn pick_room(&mut self, who: Who, pick: RoomPick) -> RoomId {
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

    pub(super) fn position(&self, room_id: &RoomId, position: Position) -> u64 {
        let head = self.head(room_id);
        match position {
            Position::Back(back) => head.saturating_sub(u64::from(back)),
            Position::Past(past) => head + u64::from(past),
        }
    }

    pub(super) fn page(&self, room_id: &RoomId, page: Page) -> Wanted {
        let from = self.position(room_id, page.from);
        Wanted { from, backwards: page.backwards, limit: u64::from(page.limit.clamp(1, 100)) }
    }

    /// The text of a message: where it comes from, and what makes it one of its kind.
    pub(super) fn write(&mut self, who: Who, room_id: &RoomId, text: Text) -> (String, Option<String>) {
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
