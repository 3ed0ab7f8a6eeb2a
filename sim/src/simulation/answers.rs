//! What clients were answered, compared with the model.

use chatapi_core::api::{Answer, ErrorCode, HttpResponse, Success, encode};
use chatapi_core::model::{ListedRoom, Message, Room};
use chatapi_core::store::{MemberPage, MessagePage};
use chatapi_core::{RequestId, RoomId};

use super::effects::Handling;
use super::requests::{Asked, Wanted};
use super::{BucketName, Outstanding, Phase, Simulation, user_id};
use crate::action::Who;
use crate::invariant::{Checked, ensure};
use crate::probe::Probe;

impl Simulation {
    pub(super) fn on_answer(&mut self, request: RequestId, answer: &Answer) -> Checked {
        let Some(outstanding) = self.requests.remove(&request) else {
            ensure!(false, OneAnswer, "{request:?} was answered and is not waiting: {:?}", answer.result);
            return Ok(());
        };
        let response = encode(&outstanding.meta, answer);
        check_response(&outstanding, answer, &response)?;
        Self::check_isolation(outstanding.who.map(|who| who.tenant), &response.body)?;
        self.settle_limits(&outstanding, answer)?;
        if outstanding.is_abandoned && !matches!(outstanding.asked, Asked::CreateTenant(_)) {
            return Ok(());
        }
        let Outstanding { who, asked, .. } = outstanding;
        match &answer.result {
            Ok(success) => self.check_success(who, asked, success),
            Err(error) => self.check_refusal(who, &asked, error, &response.body),
        }
    }

    /// No byte of a tenant reaches another: every text of a tenant's bears its mark.
    pub(super) fn check_isolation(tenant: Option<u8>, bytes: &[u8]) -> Checked {
        for at in memchr::memmem::find_iter(bytes, b"<t") {
            let marked = bytes.get(at + 2).map(|digit| digit.wrapping_sub(b'0'));
            ensure!(
                tenant.is_none() || marked == tenant,
                TenantIsolation,
                "tenant {tenant:?} is shown {}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(300)])
            );
        }
        Ok(())
    }

    fn settle_limits(&mut self, outstanding: &Outstanding, answer: &Answer) -> Checked {
        let (Some(who), Some(told)) = (outstanding.who, answer.rate_limit) else {
            return Ok(());
        };
        let connects = matches!(outstanding.asked, Asked::Token | Asked::Handshake { .. });
        let bucket = if connects { BucketName::Connects } else { BucketName::Requests };
        if self.handling == Handling::Deciding {
            match answer.result.as_ref().err().map(|error| error.code) {
                Some(ErrorCode::RateLimitExceeded) => {
                    self.probes.hit(Probe::RateLimited);
                    let after = answer.result.as_ref().err().and_then(|error| error.retry_after_ms);
                    ensure!(
                        after.is_some_and(|after| (1..=1_000).contains(&after)),
                        RateLimit,
                        "a request is to come back after {after:?} ms"
                    );
                    self.charge(who.tenant, bucket, false, "a request")?;
                }
                Some(ErrorCode::Unavailable) => self.charge_perhaps(who.tenant, bucket),
                _ => self.charge(who.tenant, bucket, true, "a request")?,
            }
        }
        self.check_remaining(who.tenant, bucket, told)
    }

    fn check_success(&mut self, who: Option<Who>, asked: Asked, success: &Success) -> Checked {
        match (asked, success) {
            (Asked::CreateTenant(number), Success::TenantCreated(created)) => {
                self.take_tenant(number, created.api_key.reveal().to_owned());
                Ok(())
            }
            (Asked::CreateRoom { by_tenant: false, .. }, Success::Room(room)) => {
                self.check_membership(who, &room.room_id)
            }
            (Asked::CreateRoom { .. }, Success::RoomCreated(room) | Success::Room(room)) => {
                let known = self.model.room(&room.room_id);
                ensure!(known.is_some(), DurableFirst, "{:?} was answered and is not durable", room.room_id);
                Ok(())
            }
            (Asked::ReadRoom(room_id), Success::Room(room)) => {
                self.check_membership(who, &room_id)?;
                ensure!(room.room_id == room_id, OneAnswer, "{room_id} was asked for, {} came", room.room_id);
                self.check_room(room)
            }
            (Asked::ListRooms { limit }, Success::Rooms { rooms, has_more }) => {
                ensure!(rooms.len() <= limit, OneAnswer, "{} rooms are listed, asked for were {limit}", rooms.len());
                self.check_rooms(who, rooms, *has_more)
            }
            (Asked::ListMembers(room_id), Success::Members(page)) => {
                self.check_membership(who, &room_id)?;
                self.check_members(&room_id, page)
            }
            (Asked::Send { room_id, content, key }, Success::Message(message)) => {
                self.check_sent(&room_id, &content, key.as_deref(), message)
            }
            (Asked::History { room_id, page }, Success::Messages(found)) => {
                self.check_membership(who, &room_id)?;
                self.check_history(&room_id, page, found)
            }
            (Asked::Acknowledge { room_id, seq, .. }, Success::Acknowledged { room_id: told, last_ack }) => {
                let now = who.and_then(|who| Some(self.model.room(&room_id)?.last_ack(&user_id(who))));
                if last_ack.0 > seq {
                    self.probes.hit(Probe::AckBehind);
                }
                ensure!(
                    *told == room_id && last_ack.0 >= seq && now.is_some_and(|now| last_ack.0 <= now),
                    AcksAndUnread,
                    "{who:?} acknowledged {seq} in {room_id} and is told {last_ack}, durable is {now:?}"
                );
                Ok(())
            }
            (
                asked @ (Asked::ReadMessage { .. }
                | Asked::EditMessage { .. }
                | Asked::DeleteMessage { .. }
                | Asked::ListPresence(_)
                | Asked::ListReceipts(_)
                | Asked::ChangeRoom { .. }
                | Asked::Subscribe { .. }
                | Asked::ListSubscriptions
                | Asked::Unsubscribe { .. }
                | Asked::Notify { .. }),
                success,
            ) => self.check_resource(who, asked, success),
            (Asked::Token, Success::Token(token)) => {
                if let Some(who) = who {
                    self.take_token(who, token.reveal().to_owned());
                }
                Ok(())
            }
            (Asked::Health, Success::Health(health)) => {
                if !health.db_writable {
                    self.probes.hit(Probe::Unhealthy);
                }
                let now = self.now().mono;
                let is_known = self.last_written.is_some_and(|at| (now - at).0 < 1_000_000 || now == at);
                ensure!(!health.db_writable || is_known, OneAnswer, "the store is said to take writes, unseen");
                Ok(())
            }
            (Asked::Ready, Success::Ready) => {
                let serves =
                    self.process.as_ref().is_some_and(|process| process.has_booted && process.phase == Phase::Running);
                ensure!(serves, CleanShutdown, "readyz says yes and the process does not serve");
                Ok(())
            }
            (Asked::Metrics, Success::Metrics(metrics)) => {
                let open = self.links.values().filter(|link| link.closed.is_none()).count() as u64;
                ensure!(
                    metrics.messages_sent == self.reported_appends,
                    OneAnswer,
                    "{} messages are counted, {} were reported",
                    metrics.messages_sent,
                    self.reported_appends
                );
                ensure!(
                    metrics.active_connections == open,
                    OneAnswer,
                    "{} connections are counted, {open} are open",
                    metrics.active_connections
                );
                let (measured, answered) = (metrics.rest_latency.count(), metrics.requests_answered);
                ensure!(measured <= answered, OneAnswer, "{measured} requests are measured, {answered} are answered");
                Ok(())
            }
            (asked, success) => {
                ensure!(false, OneAnswer, "{asked:?} was answered with {success:?}");
                Ok(())
            }
        }
    }

    pub(super) fn check_membership(&self, who: Option<Who>, room_id: &RoomId) -> Checked {
        let (Some(who), Some(room)) = (who, self.model.room(room_id)) else {
            ensure!(false, DurableFirst, "{room_id} is shown and is not durable");
            return Ok(());
        };
        ensure!(room.tenant == who.tenant, TenantIsolation, "{who:?} is shown {room_id} of tenant {}", room.tenant);
        let user = user_id(who);
        ensure!(room.members.contains_key(&user), MembersOnly, "{user}, no member, is shown {room_id}");
        Ok(())
    }

    /// Whether a room that somebody is shown is durable, and is what it was.
    pub(super) fn check_room(&self, room: &Room) -> Checked {
        let Some(known) = self.model.room(&room.room_id) else {
            ensure!(false, DurableFirst, "{:?} was answered and is not durable", room.room_id);
            return Ok(());
        };
        let labels = [room.name.clone(), room.unique_key.clone(), room.metadata.clone()];
        let version = known.labels.iter().rposition(|known| *known == labels);
        ensure!(
            room.kind == known.kind
                && version.is_some_and(|version| !self.is_peace || version + 1 == known.labels.len()),
            StableBodies,
            "{room:?} is shown, it is {:?} {:?}",
            known.kind,
            known.labels.last()
        );
        self.check_head(&room.room_id, room.last_seq.0)
    }

    fn check_head(&self, room_id: &RoomId, last_seq: u64) -> Checked {
        let head = self.head(room_id);
        ensure!(last_seq <= head, DurableFirst, "{room_id} is shown with {last_seq} messages, durable are {head}");
        ensure!(
            !self.is_peace || last_seq == head,
            AnsweredSurvives,
            "{room_id} is shown with {last_seq} messages, there are {head}"
        );
        Ok(())
    }

    fn check_rooms(&self, who: Option<Who>, rooms: &[ListedRoom], has_more: bool) -> Checked {
        let Some(who) = who else {
            return Ok(());
        };
        let user = user_id(who);
        for ListedRoom { room, position } in rooms {
            self.check_membership(Some(who), &room.room_id)?;
            self.check_room(room)?;
            let Some(known) = self.model.room(&room.room_id) else {
                continue;
            };
            let last_ack = known.last_ack(&user);
            ensure!(
                position.is_some_and(|position| position.last_ack.0 <= last_ack),
                AcksAndUnread,
                "{user} is listed with {position:?} in {}, durable is {last_ack}",
                room.room_id
            );
            let unread = known.unread(&user);
            ensure!(
                !self.is_peace
                    || position.is_some_and(|position| {
                        position.last_ack.0 == last_ack && u64::from(position.unread_count) == unread
                    }),
                AcksAndUnread,
                "{user} is listed with {position:?} in {}, it is {last_ack} and {unread} unread",
                room.room_id
            );
        }
        let expected = self.model.rooms_of(&user).count();
        ensure!(
            !self.is_peace || has_more || rooms.len() == expected,
            (self.restart_invariant()),
            "{user} is in {expected} rooms, {} are listed",
            rooms.len()
        );
        Ok(())
    }

    fn check_members(&self, room_id: &RoomId, page: &MemberPage) -> Checked {
        let expected: Vec<_> = self.model.room(room_id).map_or_else(Vec::new, |room| room.members.keys().collect());
        let shown: Vec<_> = page.members.iter().map(|member| &member.user_id).collect();
        ensure!(shown == expected, MembersOnly, "the members of {room_id} are shown as {shown:?}, not {expected:?}");
        Ok(())
    }

    pub(super) fn check_sent(
        &mut self,
        room_id: &RoomId,
        content: &str,
        key: Option<&str>,
        message: &Message,
    ) -> Checked {
        ensure!(message.room_id == *room_id, OneAnswer, "a message into {room_id} came out in {}", message.room_id);
        self.model.check_message(message)?;
        let first = self.model.message(room_id, message.seq.0).map_or("", |known| known.original());
        ensure!(first == content, Idempotency, "{content:.80} was answered with {first:.80}, key {key:?}");
        if key.is_some() && self.lost_answers.iter().any(|lost| lost == content) {
            self.probes.hit(Probe::IdempotentHitAfterLostAnswer);
        }
        self.answered.push((room_id.clone(), message.seq.0, message.message_id.clone()));
        Ok(())
    }

    fn check_history(&self, room_id: &RoomId, wanted: Wanted, found: &MessagePage) -> Checked {
        let head = self.head(room_id);
        let seqs: Vec<u64> = found.messages.iter().map(|message| message.seq.0).collect();
        for message in &found.messages {
            ensure!(message.room_id == *room_id, OneAnswer, "{:?} in the history of {room_id}", message.room_id);
            let version = self.model.check_message(message)?;
            ensure!(
                !self.is_peace || self.model.is_present(room_id, message.seq.0, version),
                StableBodies,
                "in peace {message:?} is shown, as it was before"
            );
        }
        let is_gapless = seqs.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let fits = if wanted.backwards {
            let last = wanted.from.saturating_sub(1);
            seqs.last().is_none_or(|seq| *seq <= last)
                && (!self.is_peace || seqs.last().copied().unwrap_or(0) == last.min(head))
        } else {
            seqs.first().is_none_or(|first| *first == wanted.from + 1)
                && (!self.is_peace || !seqs.is_empty() || wanted.from >= head)
        };
        ensure!(
            is_gapless && fits && seqs.len() as u64 <= wanted.limit,
            AnsweredSurvives,
            "history {wanted:?} of {room_id}, which has {head}, is {seqs:?}"
        );
        let has_more = match (seqs.first(), seqs.last()) {
            (Some(first), _) if wanted.backwards => *first > 1,
            (_, Some(last)) if !wanted.backwards => *last < head,
            _ => false,
        };
        ensure!(
            !self.is_peace || found.has_more == has_more,
            AnsweredSurvives,
            "history {wanted:?} of {room_id} says has_more {}, of {head} came {seqs:?}",
            found.has_more
        );
        Ok(())
    }
}

/// The status and the headers say what the body says.
fn check_response(outstanding: &Outstanding, answer: &Answer, response: &HttpResponse) -> Checked {
    let header =
        |name: &str| response.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    let expected = match &answer.result {
        Err(error) => error.code.status(),
        Ok(Success::Health(health)) if !health.db_writable => 503,
        Ok(
            Success::TenantCreated(_)
            | Success::RoomCreated(_)
            | Success::MemberAdded(_)
            | Success::SubscriptionCreated(_),
        ) => 201,
        Ok(Success::Notified { .. }) => 202,
        Ok(Success::Done) => 204,
        Ok(_) => 200,
    };
    ensure!(
        response.status == expected
            && header("X-Request-Id") == Some(outstanding.meta.request_id.as_str())
            && header("RateLimit-Limit").is_some() == answer.rate_limit.is_some()
            && header("Retry-After").is_some() == matches!(expected, 429 | 503)
            && (response.body.len() > 2) == (expected != 204),
        OneAnswer,
        "{:?} is answered with {} {:?}",
        outstanding.asked,
        response.status,
        response.headers
    );
    let is_stranger = outstanding.who.is_none() && answer.result.is_err();
    let tells = |mark: &[u8]| memchr::memmem::find(&response.body, mark).is_some();
    ensure!(
        !is_stranger || !(tells(b"<t") || tells(b"tenant_") || tells(b"room_c")),
        TenantIsolation,
        "a stranger is told {:?}",
        answer.result
    );
    Ok(())
}
