//! Messages: sending, by REST and by frames.

use super::answer::Success;
use super::call::SendMessage;
use super::error::{ApiError, ErrorCode};
use super::serve::wrong_reply;
use crate::config::DEFAULT_MAX_MESSAGE_SIZE_BYTES;
use crate::core::Core;
use crate::id::{RoomId, TenantKey, UserId};
use crate::operations::{Origin, Step};
use crate::secret::Digest;
use crate::store::{
    AppendOutcome, AppendRefusal, Idempotency, NewMessage, StoreFailure, StoreReply, StoreRequest, StoreResult,
};
use crate::time::UnixMillis;

/// For how long an idempotency key is remembered: 24 h (protocol, section 5).
const IDEMPOTENCY_LIFETIME_MS: i64 = 24 * 60 * 60 * 1_000;

impl Core {
    pub(crate) fn send_message(&mut self, origin: Origin, tenant: TenantKey, sender_id: UserId, message: SendMessage) {
        let SendMessage { room_id, content, meta, idempotency_key } = message;
        let limit = self.tenants.get(tenant).and_then(|tenant| tenant.config.max_message_size);
        let limit = limit.unwrap_or(DEFAULT_MAX_MESSAGE_SIZE_BYTES);
        if content.len() > limit as usize {
            let error = ApiError::too_large("content", format!("content is longer than {limit} bytes"));
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
