//! Why clients were refused, compared with the model.

use chatapi_core::api::{ApiError, ErrorCode};
use chatapi_core::model::RoomType;

use super::requests::Asked;
use super::{Phase, Simulation, user_id};
use crate::action::Who;
use crate::invariant::{Checked, Invariant, Violation, ensure};
use crate::probe::Probe;

impl Simulation {
    pub(super) fn check_refusal(&mut self, who: Option<Who>, asked: &Asked, error: &ApiError, body: &[u8]) -> Checked {
        let room = match asked {
            Asked::ReadRoom(room_id)
            | Asked::ListMembers(room_id)
            | Asked::Send { room_id, .. }
            | Asked::History { room_id, .. }
            | Asked::Acknowledge { room_id, .. }
            | Asked::ReadMessage { room_id, .. }
            | Asked::EditMessage { room_id, .. }
            | Asked::DeleteMessage { room_id, .. }
            | Asked::ListPresence(room_id)
            | Asked::ListReceipts(room_id)
            | Asked::ChangeRoom { room_id, .. } => Some(room_id),
            Asked::Notify { announcement, .. } => announcement.room(),
            Asked::CreateTenant(_)
            | Asked::CreateRoom { .. }
            | Asked::ListRooms { .. }
            | Asked::Subscribe { .. }
            | Asked::ListSubscriptions
            | Asked::Unsubscribe { .. }
            | Asked::Token
            | Asked::Nonsense { .. }
            | Asked::Health
            | Asked::Ready
            | Asked::Metrics
            | Asked::UnknownKey
            | Asked::Handshake { .. } => None,
        };
        match (error.code, asked) {
            (ErrorCode::Unavailable, _) => {
                self.check_unavailable(true, "a request")?;
                let probe = match self.process.as_ref().map(|process| (process.phase, process.has_booted)) {
                    Some((Phase::Draining { .. }, _)) => Probe::DrainingRefused,
                    Some((Phase::Running, false)) => Probe::StartingRefused,
                    _ => Probe::Unavailable,
                };
                self.probes.hit(probe);
                self.note_lost_answer(asked);
                Ok(())
            }
            (ErrorCode::RateLimitExceeded, _) if who.is_some() => Ok(()),
            (
                ErrorCode::NotFound,
                Asked::ReadMessage { room_id, message_id, seq }
                | Asked::EditMessage { room_id, message_id, seq, .. }
                | Asked::DeleteMessage { room_id, message_id, seq, .. },
            ) if body == NO_MESSAGE => {
                let is_there = self.model.message(room_id, *seq).is_some_and(|one| one.message_id == *message_id);
                ensure!(!is_there, AnsweredSurvives, "{who:?} is told that {message_id} of {room_id} is missing");
                let is_own = self.model.room(room_id).map(|room| room.tenant) == who.map(|who| who.tenant);
                ensure!(is_own, ForeignLooksMissing, "{who:?} is told of a message of {room_id}, and not of the room");
                Ok(())
            }
            (ErrorCode::NotFound, Asked::Unsubscribe { id, is_own }) => {
                let known = who.and_then(|who| self.model.subscription(who.tenant, *id));
                let is_there = known.is_some_and(|known| !known.is_gone);
                ensure!(!(*is_own && is_there), AnsweredSurvives, "{who:?} is told that {id} is missing");
                Ok(())
            }
            (ErrorCode::NotFound, _) if room.is_some() => {
                let own = room.and_then(|room_id| self.model.room(room_id)).map(|room| room.tenant);
                ensure!(
                    own.is_none() || own != who.map(|who| who.tenant),
                    ForeignLooksMissing,
                    "{who:?} is told that {room:?} of its own tenant is missing"
                );
                ensure!(
                    body == NO_ROOM,
                    ForeignLooksMissing,
                    "{who:?} is told of {room:?} of tenant {own:?}: {}",
                    String::from_utf8_lossy(body)
                );
                Ok(())
            }
            (ErrorCode::Authorization, _) if room.is_some() => {
                let own = room.and_then(|room_id| self.model.room(room_id));
                let is_foreign = own.is_none_or(|own| Some(own.tenant) != who.map(|who| who.tenant));
                ensure!(!is_foreign, ForeignLooksMissing, "{who:?} is told that {room:?} exists: {error:?}");
                let user = who.map(user_id);
                let is_member = own.is_some_and(|own| user.as_ref().is_some_and(|user| own.members.contains_key(user)));
                // What one member may, another may not.
                let may = match asked {
                    Asked::EditMessage { room_id, seq, .. } | Asked::DeleteMessage { room_id, seq, .. } => {
                        self.model.message(room_id, *seq).map(|message| &message.sender_id) == user.as_ref()
                    }
                    Asked::ChangeRoom { .. } => own.is_some_and(|own| {
                        own.kind == RoomType::Dm || user.as_ref().is_some_and(|user| own.is_admin(user))
                    }),
                    Asked::CreateTenant(_)
                    | Asked::CreateRoom { .. }
                    | Asked::ListRooms { .. }
                    | Asked::ReadRoom(_)
                    | Asked::ListMembers(_)
                    | Asked::Send { .. }
                    | Asked::History { .. }
                    | Asked::Acknowledge { .. }
                    | Asked::ReadMessage { .. }
                    | Asked::ListPresence(_)
                    | Asked::ListReceipts(_)
                    | Asked::Subscribe { .. }
                    | Asked::ListSubscriptions
                    | Asked::Unsubscribe { .. }
                    | Asked::Notify { .. }
                    | Asked::Token
                    | Asked::Nonsense { .. }
                    | Asked::Health
                    | Asked::Ready
                    | Asked::Metrics
                    | Asked::UnknownKey
                    | Asked::Handshake { .. } => true,
                };
                let by_tenant = matches!(
                    asked,
                    Asked::DeleteMessage { by_tenant: true, .. } | Asked::ChangeRoom { by_tenant: true, .. }
                );
                ensure!(!by_tenant, MembersOnly, "a tenant is kept out of its own {room:?}");
                ensure!(!(is_member && may), MembersOnly, "{who:?} is told to have no right in {room:?}: {asked:?}");
                Ok(())
            }
            (ErrorCode::Authorization, Asked::CreateRoom { dm_of: Some((one, other)), .. }) => {
                let user = who.map(user_id);
                ensure!(
                    user.as_ref() != Some(one) && user.as_ref() != Some(other),
                    MembersOnly,
                    "{user:?} is kept out of a dm of its own"
                );
                self.probes.hit(Probe::DmOfOthers);
                Ok(())
            }
            (ErrorCode::Validation, Asked::CreateRoom { .. }) => Ok(()),
            (ErrorCode::Validation, Asked::Acknowledge { seq, head_then, .. }) => {
                ensure!(seq > head_then, AcksAndUnread, "an ack of {seq} of {head_then} was refused: {error:?}");
                self.probes.hit(Probe::AckPastHead);
                Ok(())
            }
            (ErrorCode::IdempotencyKeyReused, Asked::Send { room_id, content, key }) => {
                let other = who.is_some_and(|who| self.model.key_has_other_body(room_id, &user_id(who), content));
                ensure!(other, Idempotency, "{key:?} in {room_id} was never used with another body");
                self.probes.hit(Probe::KeyReused);
                Ok(())
            }
            (ErrorCode::Authentication, Asked::UnknownKey) => Ok(()),
            (ErrorCode::Authentication, Asked::Handshake { token: Some(index), as_other, .. }) => {
                self.check_token_refusal(*index, *as_other)?;
                self.tokens[*index].is_used_up = true;
                Ok(())
            }
            (ErrorCode::Conflict, Asked::EditMessage { room_id, seq, .. }) => {
                let is_deleted = self.model.message(room_id, *seq).is_some_and(|message| message.is_deleted());
                ensure!(is_deleted, StableBodies, "{room_id} {seq} is said to be deleted");
                self.probes.hit(Probe::EditOfDeleted);
                Ok(())
            }
            (ErrorCode::PayloadTooLarge, Asked::Send { content, .. } | Asked::EditMessage { content, .. }) => {
                ensure!(
                    content.len() > self.setup.max_message_size as usize,
                    OneAnswer,
                    "{} bytes were too large",
                    content.len()
                );
                Ok(())
            }
            (ErrorCode::Authentication, _) => Err(Violation::new(
                if self.incarnation > 1 { Invariant::RestartEqualsStore } else { Invariant::OneAnswer },
                format!("{who:?} is unknown in life {}: {asked:?}", self.incarnation),
            )),
            (code, Asked::Nonsense { status }) => {
                ensure!(code.status() == *status, OneAnswer, "nonsense was refused with {error:?}, not {status}");
                Ok(())
            }
            (_, asked) => {
                ensure!(false, OneAnswer, "{asked:?} of {who:?} was refused: {error:?}");
                Ok(())
            }
        }
    }

    /// A token must admit, unless it was used, is too old, or names another user.
    fn check_token_refusal(&mut self, index: usize, as_other: bool) -> Checked {
        let now = self.now().mono;
        let token = &self.tokens[index];
        let is_old = token.incarnation == self.incarnation && now.0 >= token.issued.0 + 60_000_000;
        if is_old && token.uses == 1 {
            self.probes.hit(Probe::TokenExpired);
            if self.clock_was_set_back {
                self.probes.hit(Probe::TokenExpiredDespiteClock);
            }
        }
        ensure!(
            is_old || token.uses > 1 || as_other || token.incarnation != self.incarnation,
            TokensOnce,
            "a fresh token of {:?} was refused",
            token.who
        );
        Ok(())
    }
}

/// What is told of a room that there is not, byte for byte.
const NO_ROOM: &[u8] = br#"{"success":false,"error":{"code":"NOT_FOUND","message":"there is no such room"}}"#;
/// And of a message.
const NO_MESSAGE: &[u8] = br#"{"success":false,"error":{"code":"NOT_FOUND","message":"the room has no such message"}}"#;
