//! What connections were sent, compared with the model.

use std::borrow::Cow;

use chatapi_core::ws::Frame;
use chatapi_core::{ConnId, RoomId, UserId};
use serde::Deserialize;

use super::hearing::Typed;
use super::link::{Link, Owed, Told, WAITING_BYTES_MAX, WAITING_FRAMES_MAX};
use super::{Phase, Simulation};
use crate::action::Peer;
use crate::invariant::{Checked, Invariant, Violation, ensure};
use crate::model::Shown;
use crate::probe::Probe;

/// A server frame, as a client reads it.
#[derive(Debug, Deserialize)]
pub(super) struct Seen<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) room_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message_id: Option<Cow<'a, str>>,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(borrow, default)]
    user_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    sender_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    meta: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    created_at: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    edited_at: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    deleted_at: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    epoch: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(default)]
    retry_after_ms: Option<u64>,
    #[serde(default)]
    replayed: bool,
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    code: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) rooms: Option<u64>,
    #[serde(default)]
    pub(super) messages: Option<u64>,
    #[serde(borrow, default)]
    pub(super) truncated: Option<std::collections::BTreeMap<Cow<'a, str>, u64>>,
    #[serde(default)]
    pub(super) last_seq: Option<u64>,
    #[serde(borrow, default)]
    action: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) notification_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) topic: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) payload: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) timestamp: Option<i64>,
    #[serde(default)]
    reconnect_after_ms: Option<u64>,
}

/// What a queue may hold before a frame that counts as alone in it.
const COUNTS_AS_EMPTY: (u64, usize) = (64 * 1024, 64);

impl Simulation {
    pub(super) fn on_send(&mut self, conns: &[ConnId], frame: &Frame) -> Checked {
        let seen: Seen<'_> = match serde_json::from_slice(frame.as_bytes()) {
            Ok(seen) => seen,
            Err(error) => {
                ensure!(false, OneAnswer, "a frame is none: {error}");
                return Ok(());
            }
        };
        let mut checked_for = None;
        for conn in conns {
            let link = self.open_link_of(*conn)?;
            let before = link.queued();
            link.queue_frame(frame);
            let after = link.queued();
            let (tenant, is_large) =
                (link.who.tenant, after.1 * 10 >= WAITING_FRAMES_MAX * 9 || after.0 * 10 >= WAITING_BYTES_MAX * 9);
            let fits = after.0 <= WAITING_BYTES_MAX && after.1 <= WAITING_FRAMES_MAX;
            let counts_as_empty = before.0 <= COUNTS_AS_EMPTY.0 && before.1 <= COUNTS_AS_EMPTY.1;
            if is_large {
                self.probes.hit(Probe::QueueFull);
            }
            ensure!(
                fits || counts_as_empty || seen.r#type == "server.shutdown",
                BoundedQueues,
                "{} bytes in {} frames wait for {conn:?}, and {} bytes in {} before this {}",
                after.0,
                after.1,
                before.0,
                before.1,
                seen.r#type
            );
            if checked_for != Some(tenant) {
                Self::check_isolation(Some(tenant), frame.as_bytes())?;
                checked_for = Some(tenant);
            }
            self.check_frame(*conn, &seen)?;
        }
        Ok(())
    }

    fn check_frame(&mut self, conn: ConnId, seen: &Seen<'_>) -> Checked {
        let Some(link) = self.links.get(&conn) else {
            return Ok(());
        };
        let is_first = !link.sent.connected;
        ensure!(
            is_first == (seen.r#type == "connected"),
            OrderOnConnection,
            "{conn:?} is sent {} {}",
            seen.r#type,
            if is_first { "before connected" } else { "again" }
        );
        match seen.r#type.as_ref() {
            "connected" => {
                let link = self.open_link_of(conn)?;
                let user = seen.user_id.as_deref();
                link.sent.connected = true;
                ensure!(
                    seen.epoch.as_deref() == Some("epoch"),
                    RestartEqualsStore,
                    "{} is told of epoch {:?}",
                    link.user,
                    seen.epoch
                );
                ensure!(user == Some(link.user.as_str()), TenantIsolation, "{} is greeted as {user:?}", link.user);
            }
            "message" => self.check_message_frame(conn, seen)?,
            "ack.received" => self.check_ack_frame(conn, seen)?,
            "message.updated" | "message.deleted" => self.check_change_frame(conn, seen)?,
            "room.created" | "room.updated" => {
                let who = self.links.get(&conn).map(|link| link.who);
                self.check_membership(who, &RoomId::new(seen.room_id.as_deref().unwrap_or_default()))?;
            }
            "presence.update" => self.check_presence(conn, seen)?,
            "typing" => self.check_typing_frame(conn, seen)?,
            "notification" => self.check_notification_frame(conn, seen)?,
            "sync.complete" => match seen.request_id.as_deref() {
                Some(request_id) => self.check_sync_again(conn, request_id, seen)?,
                None => self.check_sync(conn, seen)?,
            },
            "error" => self.check_error_frame(conn, seen)?,
            "pong" => ensure!(seen.request_id.is_some(), OneAnswer, "{conn:?} is sent a pong that nobody asked for"),
            "server.shutdown" => {
                let drains =
                    self.process.as_ref().is_some_and(|process| matches!(process.phase, Phase::Draining { .. }));
                ensure!(drains, CleanShutdown, "{conn:?} hears of a shutdown that there is not");
                let after = seen.reconnect_after_ms.unwrap_or(0);
                ensure!((2_500..=7_500).contains(&after), CleanShutdown, "{conn:?} is to come back after {after} ms");
                self.open_link_of(conn)?.sent.shutdown = true;
            }
            other => ensure!(false, OneAnswer, "{conn:?} is sent a frame of type {other}"),
        }
        self.settle_owed(conn, seen)
    }

    /// A frame that bears a `request_id` is the one answer to what bore it.
    fn settle_owed(&mut self, conn: ConnId, seen: &Seen<'_>) -> Checked {
        let Some(request_id) = seen.request_id.as_deref() else {
            return Ok(());
        };
        let link = self.open_link_of(conn)?;
        let Some(owed) = link.owed.remove(request_id) else {
            ensure!(false, OneAnswer, "{conn:?} is answered {request_id} once more, or for another: {seen:?}");
            return Ok(());
        };
        let fits = match (&owed, seen.r#type.as_ref()) {
            (owed, "error") => {
                let code = seen.code.as_deref().unwrap_or_default();
                if *owed == Owed::Sync {
                    self.check_sync_refusal(conn, request_id, code)?;
                }
                return self.check_frame_refusal(conn, owed, code);
            }
            (Owed::Sync, "sync.complete") => true,
            (Owed::Message { room_id, content }, "message") => {
                let message = self.model.message(room_id, seen.seq.unwrap_or(0));
                seen.room_id.as_deref() == Some(room_id.as_str())
                    && message.is_some_and(|message| message.original() == content)
            }
            (Owed::Ack { room_id, seq, .. }, "ack.received") => {
                seen.room_id.as_deref() == Some(room_id.as_str()) && seen.seq.is_some_and(|told| told >= *seq)
            }
            (Owed::Pong, "pong") => true,
            (Owed::Message { .. } | Owed::Ack { .. } | Owed::Typing { .. } | Owed::Sync | Owed::Pong, _) => false,
        };
        ensure!(fits, OneAnswer, "{conn:?} is answered {request_id}, which wants {owed:?}, with {seen:?}");
        Ok(())
    }

    /// An error answers a frame: one that bears a name, or the garbage that is being handled.
    fn check_error_frame(&mut self, conn: ConnId, seen: &Seen<'_>) -> Checked {
        if seen.request_id.is_none() {
            let was_garbage = self.garbage_of.take() == Some(conn);
            ensure!(was_garbage, OneAnswer, "{conn:?} is sent an error that answers nothing: {seen:?}");
        }
        let code = seen.code.as_deref().unwrap_or_default();
        if code == "RATE_LIMIT_EXCEEDED" {
            self.frame_refused = true;
            if seen.request_id.as_deref().is_some_and(|request_id| self.has_many_syncs(conn, request_id)) {
                self.sync_refused = true;
                self.probes.hit(Probe::TooManySyncs);
            }
            ensure!(
                seen.retry_after_ms.is_some_and(|after| (1..=1_000).contains(&after)),
                RateLimit,
                "{conn:?} is to come back after {:?} ms",
                seen.retry_after_ms
            );
        }
        self.check_unavailable(code == "UNAVAILABLE" && !self.is_skipped(conn, seen), "a frame")
    }

    /// Whether an own message is answered that is stored, but that a sync leaves behind: its client said that it has it.
    fn is_skipped(&self, conn: ConnId, seen: &Seen<'_>) -> bool {
        let Some(link) = self.links.get(&conn).filter(|link| !link.sent.syncs.is_empty()) else {
            return false;
        };
        let owed = seen.request_id.as_deref().and_then(|request_id| link.owed.get(request_id));
        let Some(Owed::Message { room_id, content }) = owed else {
            return false;
        };
        let room = self.model.room(room_id);
        room.is_some_and(|room| room.messages.iter().any(|message| message.original() == content))
    }

    fn check_frame_refusal(&mut self, conn: ConnId, owed: &Owed, code: &str) -> Checked {
        let Some(link) = self.links.get(&conn) else {
            return Ok(());
        };
        let room_id = match owed {
            Owed::Message { room_id, .. } | Owed::Ack { room_id, .. } | Owed::Typing { room_id } => Some(room_id),
            Owed::Sync | Owed::Pong => None,
        };
        let allowed: &[&str] = match owed {
            Owed::Message { .. } => {
                &["NOT_FOUND", "AUTHORIZATION_ERROR", "IDEMPOTENCY_KEY_REUSED", "PAYLOAD_TOO_LARGE"]
            }
            Owed::Ack { .. } => &["NOT_FOUND", "AUTHORIZATION_ERROR", "VALIDATION_ERROR"],
            Owed::Typing { .. } => &["NOT_FOUND", "AUTHORIZATION_ERROR"],
            Owed::Sync => &["NOT_FOUND", "AUTHORIZATION_ERROR", "VALIDATION_ERROR"],
            Owed::Pong => &[],
        };
        ensure!(
            ["RATE_LIMIT_EXCEEDED", "UNAVAILABLE"].contains(&code) || allowed.contains(&code),
            OneAnswer,
            "{conn:?} is refused {owed:?} with {code}"
        );
        if let (Owed::Ack { room_id, seq, head_then }, "VALIDATION_ERROR") = (owed, code) {
            ensure!(seq > head_then, AcksAndUnread, "an ack of {seq} in {room_id} was refused");
        }
        if let (Owed::Message { room_id, content }, "IDEMPOTENCY_KEY_REUSED") = (owed, code) {
            let other = self.model.key_has_other_body(room_id, &link.user, content);
            ensure!(other, Idempotency, "the key of {content:.80} was never used with another body");
        }
        if let (Owed::Message { content, .. }, "PAYLOAD_TOO_LARGE") = (owed, code) {
            ensure!(
                content.len() > self.setup.max_message_size as usize,
                OneAnswer,
                "{} bytes were too large",
                content.len()
            );
        }
        if let (Some(room_id), "NOT_FOUND" | "AUTHORIZATION_ERROR") = (room_id, code) {
            let room = self.model.room(room_id);
            let is_own = room.is_some_and(|room| room.tenant == link.who.tenant);
            let is_member = room.is_some_and(|room| room.members.contains_key(&link.user));
            ensure!(!is_member, MembersOnly, "{} is kept out of {room_id} with {code}", link.user);
            ensure!(
                is_own == (code == "AUTHORIZATION_ERROR"),
                ForeignLooksMissing,
                "{} is told {code} of {room_id}",
                link.user
            );
        }
        Ok(())
    }

    fn check_message_frame(&mut self, conn: ConnId, seen: &Seen<'_>) -> Checked {
        let (Some(room_id), Some(seq)) = (seen.room_id.as_deref(), seen.seq) else {
            ensure!(false, OneAnswer, "{conn:?} is sent a message without a room or a number");
            return Ok(());
        };
        let room_id = RoomId::new(room_id);
        let who = self.links.get(&conn).map(|link| link.who);
        let version = self.model.check_shown(&Shown {
            room_id: &room_id,
            seq,
            message_id: seen.message_id.as_deref().unwrap_or_default(),
            sender_id: seen.sender_id.as_deref().unwrap_or_default(),
            content: seen.content.as_deref().unwrap_or_default(),
            meta: seen.meta.as_deref(),
            created_at: seen.created_at.as_deref().unwrap_or_default(),
            edited_at: seen.edited_at.as_deref(),
            deleted_at: seen.deleted_at.as_deref(),
        })?;
        self.check_membership(who, &room_id)?;
        if seen.replayed {
            ensure!(seen.request_id.is_some(), Idempotency, "{conn:?} is sent a repeat that it did not ask for");
            return Ok(());
        }
        let (acked, restart) = match (self.model.room(&room_id), who) {
            (Some(room), Some(who)) => (room.last_ack(&super::user_id(who)), self.restart_invariant()),
            _ => return Ok(()),
        };
        let head = self.head(&room_id);
        let link = self.open_link_of(conn)?;
        if link.begins_anew(&room_id, seq, acked) {
            let first = link.sent.first.get(&room_id).copied().unwrap_or(seq);
            let is_apart = link.sent.positions.get(&room_id).is_none_or(|last| seq > last + 1);
            link.sent.first.insert(room_id.clone(), if is_apart { seq } else { first.min(seq) });
            link.sent.positions.insert(room_id.clone(), seq - 1);
        }
        match link.sent.positions.get(&room_id).copied() {
            Some(last) => ensure!(
                seq == last + 1,
                OrderOnConnection,
                "{conn:?} of {} is sent {seq} after {last} of {room_id}",
                link.user
            ),
            None => {
                check_first(link, &room_id, seq, acked, head, restart)?;
                link.sent.first.insert(room_id.clone(), seq);
            }
        }
        if version > 0 {
            link.sent.versions.insert((room_id.clone(), seq), version);
        }
        if !link.sent.synced {
            link.sent.before_sync += 1;
        }
        link.sent.positions.insert(room_id, seq);
        Ok(())
    }

    /// A change of a message is durable, and none goes back behind what the connection was shown.
    fn check_change_frame(&mut self, conn: ConnId, seen: &Seen<'_>) -> Checked {
        let room_id = RoomId::new(seen.room_id.as_deref().unwrap_or_default());
        let seq = seen.seq.unwrap_or(0);
        let who = self.links.get(&conn).map(|link| link.who);
        self.check_membership(who, &room_id)?;
        let Some(message) = self.model.message(&room_id, seq) else {
            ensure!(false, DurableFirst, "{conn:?} hears of a change of {room_id} {seq}, which there is not");
            return Ok(());
        };
        let is_deletion = seen.r#type == "message.deleted";
        let version = message.versions.iter().rposition(|version| {
            if is_deletion {
                return version.deleted_at.is_some();
            }
            version.deleted_at.is_none()
                && version.edited_at.is_some()
                && version.edited_at.as_deref() == seen.edited_at.as_deref()
                && Some(version.content.as_str()) == seen.content.as_deref()
                && version.meta.as_deref() == seen.meta.as_deref()
        });
        let is_same = seen.message_id.as_deref() == Some(message.message_id.as_str())
            && seen.sender_id.as_deref() == Some(message.sender_id.as_str());
        let Some(version) = version.filter(|_| is_same) else {
            let present = message.present();
            ensure!(false, StableBodies, "{conn:?} hears that {room_id} {seq} is {seen:?}, it is {present:?}");
            return Ok(());
        };
        let link = self.open_link_of(conn)?;
        let earlier = link.sent.versions.insert((room_id.clone(), seq), version).unwrap_or(0);
        ensure!(
            version >= earlier,
            StableBodies,
            "{conn:?} hears of version {version} of {room_id} {seq}, after {earlier}"
        );
        if link.was_shown(&room_id, seq) {
            self.probes.hit(Probe::ChangeHeard);
        }
        Ok(())
    }

    fn check_ack_frame(&mut self, conn: ConnId, seen: &Seen<'_>) -> Checked {
        let (Some(room_id), Some(seq), Some(user)) = (seen.room_id.as_deref(), seen.seq, seen.user_id.as_deref())
        else {
            ensure!(false, OneAnswer, "{conn:?} is sent an ack without a room, a number or a user");
            return Ok(());
        };
        let (room_id, user) = (RoomId::new(room_id), UserId::new(user));
        let who = self.links.get(&conn).map(|link| link.who);
        self.check_membership(who, &room_id)?;
        let is_large = self.is_surely_large(&room_id);
        let durable = self.model.room(&room_id).map_or(0, |room| room.last_ack(&user));
        ensure!(seq <= durable, DurableFirst, "{conn:?} hears that {user} acknowledged {seq}, durable is {durable}");
        let link = self.open_link_of(conn)?;
        ensure!(
            user == link.user || !is_large,
            MembersOnly,
            "{conn:?} of {} hears of an ack of {user} in {room_id}, a large room",
            link.user
        );
        let earlier = link.sent.acks.insert((room_id.clone(), user.clone()), seq).unwrap_or(0);
        ensure!(
            seq > earlier || seen.request_id.is_some(),
            OneAnswer,
            "{conn:?} hears once more that {user} acknowledged {seq} in {room_id}"
        );
        ensure!(
            seq >= earlier,
            AcksAndUnread,
            "{conn:?} hears that {user} acknowledged {seq} in {room_id}, after {earlier}"
        );
        Ok(())
    }

    /// Of a typing hear the other members.
    fn check_typing_frame(&mut self, conn: ConnId, seen: &Seen<'_>) -> Checked {
        let room_id = RoomId::new(seen.room_id.as_deref().unwrap_or_default());
        let who = self.links.get(&conn).map(|link| link.who);
        self.check_membership(who, &room_id)?;
        let user = UserId::new(seen.user_id.as_deref().unwrap_or_default());
        let starts = seen.action.as_deref() == Some("start");
        ensure!(starts || seen.action.as_deref() == Some("stop"), Presence, "{conn:?} is told {seen:?}");
        self.hearing.of_input.typing.push(Typed { conn, room_id, user, starts });
        Ok(())
    }

    /// Of a user's presence hear those who share a room with the user, and not the user.
    fn check_presence(&mut self, conn: ConnId, seen: &Seen<'_>) -> Checked {
        let (Some(link), Some(user)) = (self.links.get(&conn), seen.user_id.as_deref().map(UserId::new)) else {
            ensure!(false, OneAnswer, "{conn:?} is sent a presence without a user");
            return Ok(());
        };
        let shares = self.model.rooms_of(&link.user).any(|(_, room)| room.members.contains_key(&user));
        ensure!(
            shares && link.user != user && matches!(seen.status.as_deref(), Some("online" | "offline")),
            MembersOnly,
            "{conn:?} of {} hears that {user} is {:?}",
            link.user,
            seen.status
        );
        self.hearing.of_input.presence.push((conn, user, seen.status.as_deref() == Some("online")));
        Ok(())
    }

    fn check_sync(&mut self, conn: ConnId, seen: &Seen<'_>) -> Checked {
        let acks_by_then = match self.links.get(&conn) {
            Some(link) => self.acks_around(&link.user),
            None => return Ok(()),
        };
        let failures = self.failures;
        let is_truncated = seen.truncated.as_ref().is_some_and(|truncated| !truncated.is_empty());
        if is_truncated {
            self.probes.hit(Probe::Truncated);
        }
        let link = self.open_link_of(conn)?;
        ensure!(link.wants_backlog && !link.sent.synced, OneAnswer, "{conn:?} is synced again, or wants no backlog");
        link.sent.synced = true;
        link.sent.acks_by_then = acks_by_then;
        link.sent.failures_by_then = failures;
        link.sent.told = Told {
            rooms: seen.rooms.unwrap_or(u64::MAX),
            messages: seen.messages.unwrap_or(u64::MAX),
            truncated: seen.truncated.iter().flatten().map(|(room_id, first)| (RoomId::new(room_id), *first)).collect(),
        };
        ensure!(
            seen.messages.is_some_and(|messages| messages <= link.sent.before_sync)
                && seen.rooms.is_some_and(|rooms| rooms <= link.sent.positions.len() as u64),
            OrderOnConnection,
            "{conn:?} of {} was sent {} messages of {} rooms and is told {:?} of {:?}",
            link.user,
            link.sent.before_sync,
            link.sent.positions.len(),
            seen.messages,
            seen.rooms
        );
        for (room_id, first) in seen.truncated.iter().flatten() {
            let position = link.sent.positions.get(&RoomId::new(room_id)).copied().unwrap_or(0);
            ensure!(
                *first <= position,
                EveryoneCatchesUp,
                "{conn:?} is told that {room_id} came from {first} on, it was sent up to {position}"
            );
        }
        Ok(())
    }
}

/// The first message of a room on a connection: the first that the user has not acknowledged, unless the backlog was
/// not wanted or is cut to its newest thousand.
fn check_first(link: &Link, room_id: &RoomId, seq: u64, acked: u64, head: u64, invariant: Invariant) -> Checked {
    let (before, head_before) = link.sent.stood_at.get(room_id).copied().unwrap_or((0, 0));
    ensure!(
        link.wants_backlog || seq > head_before,
        OrderOnConnection,
        "{:?} of {} wants no backlog, and begins with {seq} of {room_id}, which had {head_before}",
        link.conn,
        link.user
    );
    ensure!(
        seq > before || !link.wants_backlog,
        OrderOnConnection,
        "{:?} of {} begins with {seq} of {room_id}, acknowledged was {before}",
        link.conn,
        link.user
    );
    let is_cut = head.saturating_sub(acked) >= 1_000;
    if seq > acked + 1 && link.wants_backlog && !is_cut {
        return Err(Violation::new(
            invariant,
            format!("{:?} of {} begins with {seq} of {room_id}, acknowledged is {acked}", link.conn, link.user),
        ));
    }
    Ok(())
}

/// Whether a peer is one that must get everything.
pub(super) const fn must_hear(link: &Link) -> bool {
    matches!(link.peer, Peer::Reads) && link.closed.is_none()
}
