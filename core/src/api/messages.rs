//! Messages: sending, by REST and by frames; editing and deleting.

use super::answer::Success;
use super::call::{EditMessage, SendMessage};
use super::error::{ApiError, ErrorCode};
use super::serve::wrong_reply;
use crate::config::DEFAULT_MAX_MESSAGE_SIZE_BYTES;
use crate::core::Core;
use crate::id::{MessageId, RoomId, TenantKey, UserId};
use crate::operations::{Origin, Step};
use crate::secret::Digest;
use crate::store::{
    Actor, AppendOutcome, AppendRefusal, DeleteMessageRefusal, DeleteOutcome, DeletedMessage, EditMessageRefusal,
    Idempotency, MessageEdit, NewMessage, ReadMessageRefusal, StoreFailure, StoreReply, StoreRequest, StoreResult,
};
use crate::time::UnixMillis;

/// For how long an idempotency key is remembered: 24 h (protocol, section 5).
const IDEMPOTENCY_LIFETIME_MS: i64 = 24 * 60 * 60 * 1_000;

impl Core {
    pub(crate) fn send_message(&mut self, origin: Origin, tenant: TenantKey, sender_id: UserId, message: SendMessage) {
        let SendMessage { room_id, content, meta, idempotency_key } = message;
        if let Err(error) = self.check_size(tenant, &content) {
            return self.answer(origin, Err(error));
        }
        let idempotency = idempotency_key.map(|key| Idempotency {
            key,
            body: body_digest(&content, meta.as_deref()),
            valid_since: UnixMillis(self.now.wall.0 - IDEMPOTENCY_LIFETIME_MS),
        });
        let new = NewMessage {
            tenant,
            room_id: room_id.clone(),
            sender_id,
            message_id: self.ids.message(self.now.wall),
            content,
            meta,
            created_at: self.now.wall,
            idempotency,
        };
        let request = StoreRequest::AppendMessage(Box::new(new));
        self.submit_for(tenant, origin, request, |origin| Step::Append { origin, room_id });
    }

    pub(crate) fn on_appended(
        &mut self,
        origin: Origin,
        room_id: RoomId,
        tenant: Option<TenantKey>,
        result: StoreResult,
    ) {
        let appended = match result {
            Ok(StoreReply::Appended(Ok(appended))) => appended,
            Ok(StoreReply::Appended(Err(refusal))) => return self.answer(origin, Err(refusal.into())),
            Ok(_) => return self.answer(origin, Err(wrong_reply())),
            Err(failure) => {
                if let Some(tenant) = tenant.filter(|_| failure == StoreFailure::OutcomeUnknown) {
                    self.recover_room(tenant, room_id, Vec::new());
                }
                return self.refuse(origin, failure);
            }
        };
        if let Some(tenant) = tenant {
            self.admit_members_in_doubt(tenant, &room_id);
        }
        match appended.outcome {
            AppendOutcome::Stored => {
                self.counters.messages_sent += 1;
                self.publish_message(&appended.message, &origin);
            }
            AppendOutcome::Replayed => {
                // What an unknown outcome stored may never have been pushed.
                self.room_advanced(&room_id, appended.message.seq);
                self.send_replay(&appended.message, &origin);
            }
        }
        self.answer(origin, Ok(Success::Message(Box::new(appended.message))));
    }
}

impl Core {
    pub(crate) fn edit_message(&mut self, origin: Origin, tenant: TenantKey, user_id: UserId, edit: EditMessage) {
        let EditMessage { room_id, message_id, content, meta } = edit;
        if let Err(error) = self.check_size(tenant, &content) {
            return self.answer(origin, Err(error));
        }
        let request = StoreRequest::EditMessage(Box::new(MessageEdit {
            tenant,
            room_id: room_id.clone(),
            message_id: message_id.clone(),
            user_id,
            content,
            meta,
            now: self.now.wall,
        }));
        self.submit_for(tenant, origin, request, |origin| Step::ChangeMessage { origin, room_id, message_id });
    }

    pub(crate) fn delete_message(
        &mut self,
        origin: Origin,
        tenant: TenantKey,
        actor: Actor,
        room_id: RoomId,
        message_id: MessageId,
    ) {
        let request = StoreRequest::DeleteMessage {
            tenant,
            room_id: room_id.clone(),
            message_id: message_id.clone(),
            actor,
            now: self.now.wall,
        };
        self.submit_for(tenant, origin, request, |origin| Step::ChangeMessage { origin, room_id, message_id });
    }

    pub(crate) fn on_message_changed(
        &mut self,
        origin: Origin,
        room_id: RoomId,
        message_id: MessageId,
        tenant: Option<TenantKey>,
        result: StoreResult,
    ) {
        let answer = match result {
            Ok(StoreReply::MessageEdited(Ok(message))) => {
                self.publish_change(&message);
                Ok(Success::Message(Box::new(message)))
            }
            Ok(StoreReply::MessageDeleted(Ok(DeletedMessage { message, outcome }))) => {
                if outcome == DeleteOutcome::Deleted {
                    self.publish_change(&message);
                }
                Ok(Success::Done)
            }
            Ok(StoreReply::MessageEdited(Err(refusal))) => Err(refusal.into()),
            Ok(StoreReply::MessageDeleted(Err(refusal))) => Err(refusal.into()),
            Ok(_) => Err(wrong_reply()),
            Err(failure) => {
                if let Some(tenant) = tenant.filter(|_| failure == StoreFailure::OutcomeUnknown) {
                    self.recover_message(tenant, room_id, message_id);
                }
                return self.refuse(origin, failure);
            }
        };
        self.answer(origin, answer);
    }

    fn check_size(&self, tenant: TenantKey, content: &str) -> Result<(), ApiError> {
        let limit = self.tenants.get(tenant).and_then(|tenant| tenant.config.max_message_size);
        let limit = limit.unwrap_or(DEFAULT_MAX_MESSAGE_SIZE_BYTES);
        if content.len() > limit as usize {
            return Err(ApiError::too_large("content", format!("content is longer than {limit} bytes")));
        }
        Ok(())
    }
}

/// Tells requests apart that came with the same key: `content` and `meta` as they were first sent.
fn body_digest(content: &str, meta: Option<&str>) -> Digest {
    let mut body = Vec::with_capacity(content.len() + meta.map_or(0, str::len) + 9);
    body.extend_from_slice(&(content.len() as u64).to_le_bytes());
    body.extend_from_slice(content.as_bytes());
    if let Some(meta) = meta {
        body.push(1);
        body.extend_from_slice(meta.as_bytes());
    }
    Digest::of(&body)
}

impl From<ReadMessageRefusal> for ApiError {
    fn from(refusal: ReadMessageRefusal) -> Self {
        match refusal {
            ReadMessageRefusal::Access(access) => access.into(),
            ReadMessageRefusal::NoMessage => no_message(),
        }
    }
}

impl From<EditMessageRefusal> for ApiError {
    fn from(refusal: EditMessageRefusal) -> Self {
        match refusal {
            EditMessageRefusal::Access(access) => access.into(),
            EditMessageRefusal::NoMessage => no_message(),
            EditMessageRefusal::NotSender => not_sender(),
            EditMessageRefusal::Deleted => Self::new(ErrorCode::Conflict, "this message is deleted: send a new one"),
        }
    }
}

impl From<DeleteMessageRefusal> for ApiError {
    fn from(refusal: DeleteMessageRefusal) -> Self {
        match refusal {
            DeleteMessageRefusal::Access(access) => access.into(),
            DeleteMessageRefusal::NoMessage => no_message(),
            DeleteMessageRefusal::NotSender => not_sender(),
        }
    }
}

fn no_message() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "the room has no such message")
}

fn not_sender() -> ApiError {
    ApiError::new(ErrorCode::Authorization, "another user sent this message")
}

impl From<AppendRefusal> for ApiError {
    fn from(refusal: AppendRefusal) -> Self {
        match refusal {
            AppendRefusal::Access(access) => access.into(),
            AppendRefusal::KeyReused => Self::new(
                ErrorCode::IdempotencyKeyReused,
                "this Idempotency-Key was used with another body: take a new one",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_differ_in_any_way_have_different_digests() {
        let bodies = [("a", None), ("a", Some("")), ("a", Some("1")), ("a1", None), ("", Some("a")), ("b", None)];
        for (index, (content, meta)) in bodies.iter().enumerate() {
            for (other, meta_of_other) in &bodies[..index] {
                assert_ne!(body_digest(content, *meta), body_digest(other, *meta_of_other), "{content} {other}");
            }
        }
    }
}
