//! Messages.

use chatapi_core::model::Message;
use chatapi_core::store::{
    Actor, AppendOutcome, AppendRefusal, Appended, DeleteMessageRefusal, DeleteOutcome, DeletedMessage,
    EditMessageRefusal, HistoryRange, MessageEdit, MessagePage, NewMessage, PageBounds, ReadMessageRefusal,
    StoreFailure,
};
use chatapi_core::ws::{Frame, message_frame};
use chatapi_core::{MessageId, RoomId, Seq, TenantKey, UnixMillis};

use super::rooms::{StoredKey, StoredRoom};
use super::{MemoryStore, fitting};

impl MemoryStore {
    pub(super) fn append(&mut self, new: &NewMessage) -> Result<Result<Appended, AppendRefusal>, StoreFailure> {
        let is_id_taken = self.message_ids.contains(&new.message_id);
        let sender = Actor::User(new.sender_id.clone());
        let stored = match self.enter_mut(new.tenant, &new.room_id, &sender) {
            Ok(stored) => stored,
            Err(refusal) => return Ok(Err(AppendRefusal::Access(refusal))),
        };
        if let Some(idempotency) = &new.idempotency {
            let key = (new.sender_id.clone(), idempotency.key.clone());
            if let Some(known) = stored.idempotency.get(&key)
                && known.created_at >= idempotency.valid_since
            {
                if known.body != idempotency.body {
                    return Ok(Err(AppendRefusal::KeyReused));
                }
                let message = stored.message(known.seq).cloned().ok_or(StoreFailure::Failed)?;
                return Ok(Ok(Appended { message, outcome: AppendOutcome::Replayed }));
            }
        }
        if is_id_taken {
            return Err(StoreFailure::Failed);
        }
        let seq = stored.room.last_seq.next();
        let message = Message {
            message_id: new.message_id.clone(),
            room_id: new.room_id.clone(),
            sender_id: new.sender_id.clone(),
            seq,
            content: new.content.clone(),
            meta: new.meta.clone(),
            created_at: new.created_at,
            edited_at: None,
            deleted_at: None,
        };
        stored.messages.push(message.clone());
        stored.room.last_seq = seq;
        if let Some(idempotency) = &new.idempotency {
            let known = StoredKey { body: idempotency.body, seq, created_at: new.created_at };
            stored.idempotency.insert((new.sender_id.clone(), idempotency.key.clone()), known);
        }
        self.message_ids.insert(new.message_id.clone());
        self.note_id("msg_", new.message_id.as_str());
        Ok(Ok(Appended { message, outcome: AppendOutcome::Stored }))
    }

    pub(super) fn read_message(
        &self,
        tenant: TenantKey,
        room_id: &RoomId,
        message_id: &MessageId,
        actor: &Actor,
    ) -> Result<Message, ReadMessageRefusal> {
        let stored = self.enter(tenant, room_id, actor).map_err(ReadMessageRefusal::Access)?;
        let mut messages = stored.messages.iter();
        messages.find(|message| message.message_id == *message_id).cloned().ok_or(ReadMessageRefusal::NoMessage)
    }

    pub(super) fn edit_message(&mut self, edit: &MessageEdit) -> Result<Message, EditMessageRefusal> {
        let sender = Actor::User(edit.user_id.clone());
        let stored = self.enter_mut(edit.tenant, &edit.room_id, &sender).map_err(EditMessageRefusal::Access)?;
        let message = stored.message_mut(&edit.message_id).ok_or(EditMessageRefusal::NoMessage)?;
        if message.sender_id != edit.user_id {
            return Err(EditMessageRefusal::NotSender);
        }
        if message.deleted_at.is_some() {
            return Err(EditMessageRefusal::Deleted);
        }
        message.content.clone_from(&edit.content);
        message.meta = edit.meta.clone().apply(message.meta.take());
        message.edited_at = Some(edit.now);
        Ok(message.clone())
    }

    pub(super) fn delete_message(
        &mut self,
        tenant: TenantKey,
        room_id: &RoomId,
        message_id: &MessageId,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<DeletedMessage, DeleteMessageRefusal> {
        let stored = self.enter_mut(tenant, room_id, actor).map_err(DeleteMessageRefusal::Access)?;
        let message = stored.message_mut(message_id).ok_or(DeleteMessageRefusal::NoMessage)?;
        match actor {
            Actor::User(user_id) if message.sender_id != *user_id => return Err(DeleteMessageRefusal::NotSender),
            Actor::User(_) | Actor::Tenant => {}
        }
        if message.deleted_at.is_some() {
            return Ok(DeletedMessage { message: message.clone(), outcome: DeleteOutcome::Before });
        }
        message.content = String::new();
        message.meta = None;
        message.deleted_at = Some(now);
        Ok(DeletedMessage { message: message.clone(), outcome: DeleteOutcome::Deleted })
    }

    pub(super) fn frames(
        &self,
        tenant: TenantKey,
        rooms: &[(RoomId, Seq)],
        bounds: PageBounds,
    ) -> Vec<Vec<(Seq, Frame)>> {
        let mut pages = Vec::new();
        let mut left = Some(bounds);
        for (room_id, after) in rooms {
            let Some(bounds) = left else { break };
            let page = self.room(tenant, room_id).map(|stored| stored.history(HistoryRange::After(*after), bounds));
            left = page.as_ref().map_or(left, |page| bounds.left_after(page));
            let messages = page.iter().flat_map(|page| &page.messages);
            pages.push(messages.map(|message| (message.seq, message_frame(message))).collect());
        }
        pages
    }
}

impl StoredRoom {
    pub(super) fn message(&self, seq: Seq) -> Option<&Message> {
        self.messages.get(usize::try_from(seq.0.checked_sub(1)?).ok()?)
    }

    fn message_mut(&mut self, message_id: &MessageId) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.message_id == *message_id)
    }

    pub(super) fn history(&self, range: HistoryRange, bounds: PageBounds) -> MessagePage {
        let place = |seq: Seq| usize::try_from(seq.0).unwrap_or(usize::MAX).min(self.messages.len());
        // In the order in which the page fills.
        let candidates: Box<dyn ExactSizeIterator<Item = &Message>> = match range {
            HistoryRange::After(seq) => Box::new(self.messages[place(seq)..].iter()),
            HistoryRange::Before(seq) => Box::new(self.messages[..place(Seq(seq.0.saturating_sub(1)))].iter().rev()),
        };
        let count = candidates.len();
        let shown = fitting(candidates, bounds.messages, bounds.size_bytes, |message| message.size_on_wire_bytes());
        let has_more = shown.len() < count;
        let mut messages: Vec<Message> = shown.into_iter().cloned().collect();
        messages.sort_by_key(|message| message.seq);
        MessagePage { messages, has_more }
    }
}
