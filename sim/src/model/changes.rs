//! Edits and deletions: who may, and what becomes of it.

use chatapi_core::model::{Message, Room, RoomType};
use chatapi_core::store::{Actor, DeleteOutcome, DeletedMessage, MessageEdit, RoomChange};
use chatapi_core::{MessageId, RoomId, UnixMillis};

use super::{Model, ModelMessage, ModelRoom, Version};
use crate::invariant::{Checked, Invariant, Violation, ensure};

impl Model {
    /// A room in which somebody did something that only a member may, or the tenant itself.
    fn entered(&mut self, room_id: &RoomId, actor: &Actor) -> Checked<&mut ModelRoom> {
        let room = self.rooms.get_mut(room_id).filter(|room| match actor {
            Actor::Tenant => true,
            Actor::User(user) => room.members.contains_key(user),
        });
        let what = || format!("{actor:?}, no member, changed something in {room_id}");
        room.ok_or_else(|| Violation::new(Invariant::MembersOnly, what()))
    }

    pub(super) fn edit(&mut self, edit: &MessageEdit, answered: &Message) -> Checked {
        let MessageEdit { room_id, message_id, user_id, content, meta, now, .. } = edit;
        let room = self.entered(room_id, &Actor::User(user_id.clone()))?;
        let (seq, message) = find(room, message_id)?;
        ensure!(
            message.sender_id == *user_id && !message.is_deleted(),
            StableBodies,
            "{user_id} edited {message_id}, which {} wrote: {:?}",
            message.sender_id,
            message.present()
        );
        let version = Version {
            content: content.clone(),
            meta: meta.clone().apply(message.present().meta),
            edited_at: Some(now.to_string()),
            deleted_at: None,
        };
        message.versions.push(version);
        room.changed.insert(seq);
        self.check_outcome(answered, seq)
    }

    pub(super) fn delete(
        &mut self,
        room_id: &RoomId,
        message_id: &MessageId,
        actor: &Actor,
        now: UnixMillis,
        deleted: &DeletedMessage,
    ) -> Checked {
        let room = self.entered(room_id, actor)?;
        let (seq, message) = find(room, message_id)?;
        ensure!(
            *actor == Actor::Tenant || *actor == Actor::User(message.sender_id.clone()),
            StableBodies,
            "{actor:?} deleted {message_id}, which {} wrote",
            message.sender_id
        );
        ensure!(
            message.is_deleted() == (deleted.outcome == DeleteOutcome::Before),
            StableBodies,
            "{message_id} was deleted {:?}, and was {:?}",
            deleted.outcome,
            message.present()
        );
        if deleted.outcome == DeleteOutcome::Deleted {
            let edited_at = message.present().edited_at;
            let deleted_at = Some(now.to_string());
            message.versions.push(Version { content: String::new(), meta: None, edited_at, deleted_at });
            room.changed.insert(seq);
        }
        self.check_outcome(&deleted.message, seq)
    }

    /// What a change is answered with is what it made.
    fn check_outcome(&self, answered: &Message, seq: u64) -> Checked {
        let version = self.check_message(answered)?;
        ensure!(
            answered.seq.0 == seq && self.is_present(&answered.room_id, seq, version),
            StableBodies,
            "a change came out as {answered:?}"
        );
        Ok(())
    }

    pub(super) fn change_room(&mut self, change: &RoomChange, answered: &Room) -> Checked {
        let RoomChange { room_id, actor, name, metadata, .. } = change;
        let room = self.entered(room_id, actor)?;
        let may = match actor {
            Actor::Tenant => true,
            Actor::User(user) => room.kind == RoomType::Dm || room.is_admin(user),
        };
        ensure!(may, MembersOnly, "{actor:?}, no admin, changed {room_id}");
        let [name_before, unique_key, metadata_before] = room.labels.last().cloned().unwrap_or_default();
        let labels = [name.clone().apply(name_before), unique_key, metadata.clone().apply(metadata_before)];
        ensure!(
            labels == [answered.name.clone(), answered.unique_key.clone(), answered.metadata.clone()],
            StableBodies,
            "{change:?} came out as {answered:?}, not {labels:?}"
        );
        room.labels.push(labels);
        Ok(())
    }
}

fn find<'m>(room: &'m mut ModelRoom, message_id: &MessageId) -> Checked<(u64, &'m mut ModelMessage)> {
    let found = (1..).zip(&mut room.messages).find(|(_, message)| message.message_id == *message_id);
    found.ok_or_else(|| Violation::new(Invariant::StableBodies, format!("{message_id}, which is none, was changed")))
}
