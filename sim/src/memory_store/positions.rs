//! Where members stand in rooms.

use chatapi_core::store::{AccessRefusal, AcknowledgeRefusal, Acknowledged, Actor, Backlog, BacklogRoom, RoomPosition};
use chatapi_core::{RoomId, Seq, TenantKey, UserId};

use super::MemoryStore;

impl MemoryStore {
    pub(super) fn acknowledge(
        &mut self,
        tenant: TenantKey,
        room_id: &RoomId,
        user_id: &UserId,
        seq: Seq,
    ) -> Result<Acknowledged, AcknowledgeRefusal> {
        let stored =
            self.enter_mut(tenant, room_id, &Actor::User(user_id.clone())).map_err(AcknowledgeRefusal::Access)?;
        if seq > stored.room.last_seq {
            return Err(AcknowledgeRefusal::PastHead);
        }
        let not_member = AcknowledgeRefusal::Access(AccessRefusal::NotMember);
        let member = stored.members.get_mut(user_id).ok_or(not_member)?;
        let moved = seq > member.last_ack;
        member.last_ack = member.last_ack.max(seq);
        Ok(Acknowledged { last_ack: member.last_ack, moved })
    }

    pub(super) fn backlog(&self, tenant: TenantKey, user_id: &UserId) -> Backlog {
        let rooms = self.rooms_of(tenant).filter_map(|stored| {
            let member = stored.members.get(user_id)?;
            Some(BacklogRoom {
                room_id: stored.room.room_id.clone(),
                last_ack: member.last_ack,
                last_seq: stored.room.last_seq,
                members: stored.count(),
            })
        });
        Backlog { rooms: rooms.collect(), has_notifications: self.has_pending(tenant, user_id) }
    }

    pub(super) fn positions(
        &self,
        tenant: TenantKey,
        user_id: &UserId,
        rooms: &[RoomId],
    ) -> Vec<Result<RoomPosition, AccessRefusal>> {
        rooms
            .iter()
            .map(|room_id| {
                let stored = self.room(tenant, room_id).ok_or(AccessRefusal::NoRoom)?;
                let member = stored.members.get(user_id).ok_or(AccessRefusal::NotMember)?;
                Ok(RoomPosition { last_ack: member.last_ack, last_seq: stored.room.last_seq })
            })
            .collect()
    }
}
