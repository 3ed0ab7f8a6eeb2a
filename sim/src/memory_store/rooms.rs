//! Rooms.

use std::collections::BTreeMap;

use chatapi_core::model::{ListedRoom, Message, ReadPosition, Role, Room, RoomType, UNREAD_WINDOW};
use chatapi_core::store::{
    AccessRefusal, Actor, ChangeRoomRefusal, CreatedRoom, DeleteRoomRefusal, NewRoom, RoomChange, StoreFailure,
};
use chatapi_core::{Digest, RoomId, Seq, TenantKey, UnixMillis, UserId};

use super::MemoryStore;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredRoom {
    pub(super) tenant: TenantKey,
    pub(super) is_deleted: bool,
    pub(super) room: Room,
    pub(super) members: BTreeMap<UserId, StoredMember>,
    /// The message with `seq` n stands at n - 1.
    pub(super) messages: Vec<Message>,
    pub(super) idempotency: BTreeMap<(UserId, String), StoredKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredMember {
    pub(super) role: Role,
    pub(super) joined_at: UnixMillis,
    pub(super) last_ack: Seq,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredKey {
    pub(super) body: Digest,
    pub(super) seq: Seq,
    pub(super) created_at: UnixMillis,
}

impl MemoryStore {
    pub(super) fn create_room(&mut self, new: &NewRoom) -> Result<CreatedRoom, StoreFailure> {
        if self.known_tenant(new.tenant)?.is_none() {
            return Ok(CreatedRoom::NoTenant);
        }
        let existing = self
            .rooms_of(new.tenant)
            .find(|stored| new.unique_key.is_some() && stored.room.unique_key == new.unique_key);
        if let Some(stored) = existing {
            return Ok(CreatedRoom::Existing {
                room: stored.room.clone(),
                members: stored.members.keys().cloned().collect(),
            });
        }
        let mut members = BTreeMap::new();
        for (user_id, role) in &new.members {
            let member = StoredMember { role: *role, joined_at: new.created_at, last_ack: Seq(0) };
            if members.insert(user_id.clone(), member).is_some() {
                return Err(StoreFailure::Failed);
            }
        }
        if self.rooms.contains_key(&new.room_id) {
            return Err(StoreFailure::Failed);
        }
        let room = Room {
            room_id: new.room_id.clone(),
            kind: new.kind,
            unique_key: new.unique_key.clone(),
            name: new.name.clone(),
            metadata: new.metadata.clone(),
            last_seq: Seq(0),
            created_at: new.created_at,
        };
        let stored = StoredRoom {
            tenant: new.tenant,
            is_deleted: false,
            room: room.clone(),
            members,
            messages: Vec::new(),
            idempotency: BTreeMap::new(),
        };
        self.rooms.insert(new.room_id.clone(), stored);
        self.note_id("room_", new.room_id.as_str());
        Ok(CreatedRoom::New(room))
    }

    pub(super) fn listed(&self, tenant: TenantKey, actor: &Actor, after: Option<&RoomId>) -> Vec<ListedRoom> {
        let newest_first = self.rooms_of(tenant).rev();
        newest_first
            .filter(|stored| stored.admits(actor).is_ok())
            .filter(|stored| after.is_none_or(|after| stored.room.room_id < *after))
            .map(|stored| ListedRoom {
                room: stored.room.clone(),
                position: match actor {
                    Actor::User(user_id) => stored.read_position(user_id),
                    Actor::Tenant => None,
                },
            })
            .collect()
    }

    pub(super) fn change_room(&mut self, change: &RoomChange) -> Result<Room, ChangeRoomRefusal> {
        let stored =
            self.enter_mut(change.tenant, &change.room_id, &change.actor).map_err(ChangeRoomRefusal::Access)?;
        if stored.room.kind != RoomType::Dm && !stored.is_led_by(&change.actor) {
            return Err(ChangeRoomRefusal::NotAdmin);
        }
        stored.room.name = change.name.clone().apply(stored.room.name.take());
        stored.room.metadata = change.metadata.clone().apply(stored.room.metadata.take());
        Ok(stored.room.clone())
    }

    pub(super) fn delete_room(
        &mut self,
        tenant: TenantKey,
        room_id: &RoomId,
        actor: &Actor,
    ) -> Result<(), DeleteRoomRefusal> {
        let stored = self.enter_mut(tenant, room_id, actor).map_err(DeleteRoomRefusal::Access)?;
        match actor {
            Actor::User(_) if stored.room.kind == RoomType::Dm => return Err(DeleteRoomRefusal::IsDm),
            Actor::User(_) if !stored.is_led_by(actor) => return Err(DeleteRoomRefusal::NotAdmin),
            Actor::User(_) | Actor::Tenant => {}
        }
        stored.is_deleted = true;
        Ok(())
    }
}

impl StoredRoom {
    pub(super) fn admits(&self, actor: &Actor) -> Result<(), AccessRefusal> {
        match actor {
            Actor::Tenant => Ok(()),
            Actor::User(user_id) if self.members.contains_key(user_id) => Ok(()),
            Actor::User(_) => Err(AccessRefusal::NotMember),
        }
    }

    /// Whether someone has an admin's rights here.
    pub(super) fn is_led_by(&self, actor: &Actor) -> bool {
        match actor {
            Actor::Tenant => true,
            Actor::User(user_id) => self.members.get(user_id).is_some_and(|member| member.role == Role::Admin),
        }
    }

    fn read_position(&self, user_id: &UserId) -> Option<ReadPosition> {
        let last_ack = self.members.get(user_id)?.last_ack;
        let past = self.messages.iter().filter(|message| message.seq > last_ack);
        let unread = past
            .take(UNREAD_WINDOW as usize)
            .filter(|message| message.sender_id != *user_id && message.deleted_at.is_none());
        Some(ReadPosition { last_ack, unread_count: u32::try_from(unread.count()).unwrap_or(UNREAD_WINDOW) })
    }
}
