//! The store's contract as a plain model: nothing is fast here, so that everything can be seen to be right.

use std::collections::{BTreeMap, BTreeSet};

use chatapi_core::model::{ListedRoom, Member, Message, ReadPosition, Role, Room, Tenant, UNREAD_WINDOW};
use chatapi_core::store::{
    AccessRefusal, AcknowledgeRefusal, Acknowledged, Actor, AppendOutcome, AppendRefusal, Appended, BacklogRoom,
    CreatedRoom, HistoryRange, MemberPage, MessagePage, NewMessage, NewRoom, NewTenant, PageBounds, StoreFailure,
    StoreReply, StoreRequest, StoreResult,
};
use chatapi_core::ws::message_frame;
use chatapi_core::{Digest, IdStamp, MessageId, RoomId, Seq, TenantKey, UnixMillis, UserId};

/// A whole store in memory. Steps are carried out one at a time; what is not allowed changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryStore {
    epoch: String,
    tenants: BTreeMap<TenantKey, StoredTenant>,
    rooms: BTreeMap<RoomId, StoredRoom>,
    message_ids: BTreeSet<MessageId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct StoredTenant {
    tenant: Tenant,
    api_key: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct StoredRoom {
    tenant: TenantKey,
    room: Room,
    members: BTreeMap<UserId, StoredMember>,
    /// The message with `seq` n stands at n - 1.
    messages: Vec<Message>,
    idempotency: BTreeMap<(UserId, String), StoredKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct StoredMember {
    role: Role,
    joined_at: UnixMillis,
    last_ack: Seq,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct StoredKey {
    body: Digest,
    seq: Seq,
    created_at: UnixMillis,
}

impl MemoryStore {
    /// An empty store of that epoch.
    #[must_use]
    pub fn new(epoch: &str) -> Self {
        Self { epoch: epoch.to_owned(), tenants: BTreeMap::new(), rooms: BTreeMap::new(), message_ids: BTreeSet::new() }
    }

    /// Carries a step out.
    ///
    /// # Errors
    ///
    /// [`StoreFailure::Failed`] for what no correct core asks: an id or key that exists, a tenant that does not, a
    /// member named twice.
    pub fn execute(&mut self, request: &StoreRequest) -> StoreResult {
        Ok(match request {
            StoreRequest::Boot => StoreReply::Booted { epoch: self.epoch.clone(), newest_id: self.newest_id() },
            StoreRequest::CheckWritable { .. } => StoreReply::Written,
            StoreRequest::CreateTenant(new) => StoreReply::TenantCreated(self.create_tenant(new)?),
            StoreRequest::FindTenant { api_key } => StoreReply::Tenant(self.find_tenant(api_key)),
            StoreRequest::CreateRoom(new) => StoreReply::RoomCreated(self.create_room(new)?),
            StoreRequest::ListRooms { tenant, actor, after, limit } => {
                let (rooms, has_more) = page(self.listed(*tenant, actor, after.as_ref()), *limit);
                StoreReply::Rooms { rooms, has_more }
            }
            StoreRequest::ReadRoom { tenant, room_id, actor } => {
                StoreReply::Room(self.enter(*tenant, room_id, actor).map(|stored| stored.room.clone()))
            }
            StoreRequest::ListMembers { tenant, room_id, actor, after, limit } => {
                StoreReply::Members(self.enter(*tenant, room_id, actor).map(|stored| {
                    let (members, has_more) = page(stored.members_after(after.as_ref()), *limit);
                    MemberPage { members, has_more }
                }))
            }
            StoreRequest::AppendMessage(new) => StoreReply::Appended(self.append(new)?),
            StoreRequest::ReadMessages { tenant, room_id, actor, range, bounds } => {
                StoreReply::Messages(self.enter(*tenant, room_id, actor).map(|stored| stored.history(*range, *bounds)))
            }
            StoreRequest::Acknowledge { tenant, room_id, user_id, seq, now: _ } => {
                StoreReply::Acknowledged(self.acknowledge(*tenant, room_id, user_id, *seq))
            }
            StoreRequest::LoadBacklog { tenant, user_id } => StoreReply::Backlog(self.backlog(*tenant, user_id)),
            StoreRequest::ReadFrames { tenant, room_id, after, bounds } => {
                StoreReply::Frames(self.room(*tenant, room_id).map_or_else(Vec::new, |stored| {
                    let page = stored.history(HistoryRange::After(*after), *bounds);
                    let frames = page.messages.iter();
                    frames.map(|message| (message.seq, message_frame(message))).collect()
                }))
            }
            StoreRequest::ReadHead { tenant, room_id } => {
                StoreReply::Head(self.room(*tenant, room_id).map(|stored| stored.room.last_seq))
            }
        })
    }

    /// Whether the message with that number in a room is this one.
    #[must_use]
    pub fn holds(&self, room_id: &RoomId, seq: Seq, message_id: &MessageId) -> bool {
        let message = self.rooms.get(room_id).and_then(|stored| stored.message(seq));
        message.is_some_and(|message| message.message_id == *message_id)
    }

    fn newest_id(&self) -> Option<IdStamp> {
        let tenants = self.tenants.values().map(|stored| stored.tenant.tenant_id.as_str());
        let rooms = self.rooms.keys().map(RoomId::as_str);
        let messages = self.messages().map(|message| message.message_id.as_str());
        let of = |prefix: &str, id: &str| id.starts_with(prefix).then(|| IdStamp::read(id)).flatten();
        tenants
            .filter_map(|id| of("tenant_", id))
            .chain(rooms.filter_map(|id| of("room_", id)))
            .chain(messages.filter_map(|id| of("msg_", id)))
            .max()
    }

    fn messages(&self) -> impl Iterator<Item = &Message> {
        self.rooms.values().flat_map(|stored| &stored.messages)
    }

    fn create_tenant(&mut self, new: &NewTenant) -> Result<Tenant, StoreFailure> {
        let taken = self
            .tenants
            .values()
            .any(|stored| stored.tenant.tenant_id == new.tenant_id || stored.api_key == new.api_key);
        if taken {
            return Err(StoreFailure::Failed);
        }
        let key = TenantKey(self.tenants.last_key_value().map_or(0, |(key, _)| key.0) + 1);
        let tenant = Tenant {
            key,
            tenant_id: new.tenant_id.clone(),
            name: new.name.clone(),
            config: new.config.clone(),
            created_at: new.created_at,
        };
        let stored = StoredTenant { tenant: tenant.clone(), api_key: new.api_key };
        self.tenants.insert(key, stored);
        Ok(tenant)
    }

    fn find_tenant(&self, api_key: &Digest) -> Option<Tenant> {
        let mut tenants = self.tenants.values();
        tenants.find(|stored| stored.api_key == *api_key).map(|stored| stored.tenant.clone())
    }

    fn create_room(&mut self, new: &NewRoom) -> Result<CreatedRoom, StoreFailure> {
        let existing = self.rooms.values().find(|stored| {
            stored.tenant == new.tenant && new.unique_key.is_some() && stored.room.unique_key == new.unique_key
        });
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
        if self.rooms.contains_key(&new.room_id) || !self.tenants.contains_key(&new.tenant) {
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
            room: room.clone(),
            members,
            messages: Vec::new(),
            idempotency: BTreeMap::new(),
        };
        self.rooms.insert(new.room_id.clone(), stored);
        Ok(CreatedRoom::New(room))
    }

    fn listed(&self, tenant: TenantKey, actor: &Actor, after: Option<&RoomId>) -> Vec<ListedRoom> {
        let newest_first = self.rooms.values().rev();
        newest_first
            .filter(|stored| stored.tenant == tenant && stored.admits(actor).is_ok())
            .filter(|stored| after.is_none_or(|after| stored.room.room_id < *after))
            .map(|stored| ListedRoom {
                room: stored.room.clone(),
                position: match actor {
                    Actor::User(user_id) => stored.position(user_id),
                    Actor::Tenant => None,
                },
            })
            .collect()
    }

    fn append(&mut self, new: &NewMessage) -> Result<Result<Appended, AppendRefusal>, StoreFailure> {
        let id_taken = self.message_ids.contains(&new.message_id);
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
                let outcome = AppendOutcome::Replayed;
                return Ok(Ok(Appended { message, outcome }));
            }
        }
        if id_taken {
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
            let key = (new.sender_id.clone(), idempotency.key.clone());
            stored.idempotency.insert(key, known);
        }
        self.message_ids.insert(new.message_id.clone());
        let outcome = AppendOutcome::Stored;
        Ok(Ok(Appended { message, outcome }))
    }

    fn acknowledge(
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
        let Some(member) = stored.members.get_mut(user_id) else {
            return Err(AcknowledgeRefusal::Access(AccessRefusal::NotMember));
        };
        let moved = seq > member.last_ack;
        member.last_ack = member.last_ack.max(seq);
        Ok(Acknowledged { last_ack: member.last_ack, moved })
    }

    fn backlog(&self, tenant: TenantKey, user_id: &UserId) -> Vec<BacklogRoom> {
        let rooms = self.rooms.values().filter(|stored| stored.tenant == tenant);
        rooms
            .filter_map(|stored| {
                stored.members.get(user_id).map(|member| BacklogRoom {
                    room_id: stored.room.room_id.clone(),
                    last_ack: member.last_ack,
                    last_seq: stored.room.last_seq,
                })
            })
            .collect()
    }

    fn room(&self, tenant: TenantKey, room_id: &RoomId) -> Option<&StoredRoom> {
        self.rooms.get(room_id).filter(|stored| stored.tenant == tenant)
    }

    fn enter(&self, tenant: TenantKey, room_id: &RoomId, actor: &Actor) -> Result<&StoredRoom, AccessRefusal> {
        let stored = self.room(tenant, room_id).ok_or(AccessRefusal::NoRoom)?;
        stored.admits(actor).map(|()| stored)
    }

    fn enter_mut(
        &mut self,
        tenant: TenantKey,
        room_id: &RoomId,
        actor: &Actor,
    ) -> Result<&mut StoredRoom, AccessRefusal> {
        self.enter(tenant, room_id, actor)?;
        self.rooms.get_mut(room_id).ok_or(AccessRefusal::NoRoom)
    }
}

impl StoredRoom {
    fn admits(&self, actor: &Actor) -> Result<(), AccessRefusal> {
        match actor {
            Actor::Tenant => Ok(()),
            Actor::User(user_id) if self.members.contains_key(user_id) => Ok(()),
            Actor::User(_) => Err(AccessRefusal::NotMember),
        }
    }

    fn message(&self, seq: Seq) -> Option<&Message> {
        self.messages.get(usize::try_from(seq.0.checked_sub(1)?).ok()?)
    }

    fn position(&self, user_id: &UserId) -> Option<ReadPosition> {
        let last_ack = self.members.get(user_id)?.last_ack;
        let past = self.messages.iter().filter(|message| message.seq > last_ack);
        let unread = past
            .take(UNREAD_WINDOW as usize)
            .filter(|message| message.sender_id != *user_id && message.deleted_at.is_none());
        Some(ReadPosition { last_ack, unread_count: u32::try_from(unread.count()).unwrap_or(UNREAD_WINDOW) })
    }

    fn members_after(&self, after: Option<&UserId>) -> Vec<Member> {
        let members = self.members.iter();
        members
            .filter(|(user_id, _)| after.is_none_or(|after| *user_id > after))
            .map(|(user_id, stored)| Member {
                user_id: user_id.clone(),
                role: stored.role,
                joined_at: stored.joined_at,
            })
            .collect()
    }

    fn history(&self, range: HistoryRange, bounds: PageBounds) -> MessagePage {
        let place = |seq: Seq| usize::try_from(seq.0).unwrap_or(usize::MAX).min(self.messages.len());
        // In the order in which the page fills.
        let candidates: Box<dyn ExactSizeIterator<Item = &Message>> = match range {
            HistoryRange::After(seq) => Box::new(self.messages[place(seq)..].iter()),
            HistoryRange::Before(seq) => Box::new(self.messages[..place(Seq(seq.0.saturating_sub(1)))].iter().rev()),
        };
        let count = candidates.len();
        let mut messages: Vec<Message> = Vec::new();
        let mut size = 0;
        for candidate in candidates {
            size += candidate.size_on_wire_bytes();
            let full = messages.len() >= bounds.messages as usize || size > bounds.size_bytes as usize;
            if full && !messages.is_empty() {
                break;
            }
            messages.push(candidate.clone());
        }
        let has_more = messages.len() < count;
        messages.sort_by_key(|message| message.seq);
        MessagePage { messages, has_more }
    }
}

fn page<T>(mut items: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let has_more = items.len() > limit as usize;
    items.truncate(limit as usize);
    (items, has_more)
}
