//! Requests on rooms, their members and messages.

use chatapi_core::model::{Role, RoomType};
use chatapi_core::store::{Actor, Idempotency, MessageEdit, NewMember, NewMessage, NewRoom, RoomChange, StoreRequest};
use chatapi_core::{Digest, MessageId, RoomId, UnixMillis};

use super::{LATELY, PLACES, RandomRequests, stamped};

/// How long an idempotency key of these requests is good, in ms.
const KEY_LIFE: i64 = 2_000;

impl<N: FnMut() -> u64> RandomRequests<N> {
    pub(super) fn on_rooms(&mut self) -> StoreRequest {
        let ((tenant, room_id), actor) = (self.place(), self.actor());
        match self.below(32) {
            0 | 1 => self.create_room(),
            2..=4 => StoreRequest::ListRooms {
                tenant,
                actor,
                after: self.perhaps(2, Self::room_id),
                limit: self.below(5) as u32 + 1,
            },
            5..=7 => StoreRequest::ReadRoom { tenant, room_id, actor },
            8..=13 => StoreRequest::ChangeRoom(Box::new(RoomChange {
                tenant,
                room_id,
                actor,
                name: self.edit(|_| "Né\u{0}w".to_owned()),
                metadata: self.edit(|_| " {\"b\":2 }".to_owned()),
            })),
            14 => StoreRequest::DeleteRoom { tenant, room_id, actor, now: self.now() },
            15..=21 => StoreRequest::AddMember(Box::new(NewMember {
                tenant,
                room_id,
                actor,
                user_id: self.user_id(),
                role: self.role(),
                now: self.now(),
            })),
            22..=25 => StoreRequest::RemoveMember { tenant, room_id, actor, user_id: self.user_id(), now: self.now() },
            26..=28 => StoreRequest::ListMembers {
                tenant,
                room_id,
                actor,
                after: self.perhaps(2, Self::user_id),
                limit: self.below(4) as u32 + 1,
            },
            _ => StoreRequest::ListReceipts {
                tenant,
                room_id,
                actor,
                after: self.perhaps(2, Self::user_id),
                limit: self.below(4) as u32 + 1,
            },
        }
    }

    fn create_room(&mut self) -> StoreRequest {
        let (one, other) = (self.user_id(), self.user_id());
        let kind = RoomType::ALL[self.below(3) as usize];
        let first = if self.below(4) == 0 { Role::Member } else { Role::Admin };
        let mut members = vec![(one, first), (other, Role::Member)];
        if self.below(10) > 0 {
            members.dedup_by(|one, other| one.0 == other.0);
        }
        self.rooms += 1;
        let new = RoomId::new(&stamped("room_", self.rooms));
        // Now and then an id that was drawn before.
        let room_id = if self.below(10) == 0 { self.room_id() } else { new };
        let tenant = self.tenant();
        self.places.push_front((tenant, room_id.clone()));
        self.places.truncate(PLACES);
        StoreRequest::CreateRoom(Box::new(NewRoom {
            tenant,
            room_id,
            kind,
            unique_key: (kind == RoomType::Dm).then(|| format!("dm:{}:{}", members[0].0, self.below(2))),
            name: self.perhaps(2, |_| "Ünï".to_owned()),
            metadata: self.perhaps(2, |_| "{ \"a\": 1}".to_owned()),
            members,
            created_at: self.now(),
        }))
    }

    pub(super) fn on_messages(&mut self) -> StoreRequest {
        let ((tenant, room_id), actor) = (self.place(), self.actor());
        match self.below(30) {
            0..=13 => self.append(),
            14..=17 => {
                StoreRequest::ReadMessages { tenant, room_id, actor, range: self.range(), bounds: self.bounds() }
            }
            18..=20 => StoreRequest::ReadFrames { tenant, rooms: self.cursors(room_id), bounds: self.bounds() },
            21..=23 => {
                let (tenant, room_id, user_id, message_id) = self.message();
                match self.below(4) {
                    0 => StoreRequest::RereadMessage { tenant, room_id, message_id },
                    1 => StoreRequest::ReadMessage { tenant, room_id, message_id, actor: Actor::Tenant },
                    _ => StoreRequest::ReadMessage { tenant, room_id, message_id, actor: Actor::User(user_id) },
                }
            }
            24..=27 => {
                let (tenant, room_id, user_id, message_id) = self.message();
                StoreRequest::EditMessage(Box::new(MessageEdit {
                    tenant,
                    room_id,
                    message_id,
                    user_id,
                    content: "edited\u{0}".to_owned(),
                    meta: self.edit(|_| " []".to_owned()),
                    now: self.now(),
                }))
            }
            _ => {
                let (tenant, room_id, user_id, message_id) = self.message();
                let actor = if self.below(4) == 0 { Actor::Tenant } else { Actor::User(user_id) };
                StoreRequest::DeleteMessage { tenant, room_id, message_id, actor, now: self.now() }
            }
        }
    }

    fn append(&mut self) -> StoreRequest {
        self.messages += 1;
        // Now and then an id that was drawn before.
        let number = if self.below(20) == 0 { self.below(self.messages) } else { self.messages };
        let content = self.below(3);
        let message_id = MessageId::new(&stamped("msg_", number));
        let ((tenant, room_id), sender_id) = (self.place(), self.user_id());
        self.lately.push_front((tenant, room_id.clone(), sender_id.clone(), message_id.clone()));
        self.lately.truncate(LATELY - 1);
        StoreRequest::AppendMessage(Box::new(NewMessage {
            tenant,
            room_id,
            sender_id,
            message_id,
            content: format!("{}\u{0}", "x".repeat(content as usize * 20)),
            meta: self.perhaps(3, |_| "[]".to_owned()),
            created_at: self.now(),
            idempotency: self.perhaps(2, |requests| Idempotency {
                key: format!("key {}", requests.below(3)),
                body: Digest([content as u8 / 2; 32]),
                valid_since: UnixMillis(requests.now - KEY_LIFE),
            }),
        }))
    }
}
