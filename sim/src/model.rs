//! What should be, told by what became durable: deliberately simple, and written without a look at the core or a store.

use std::collections::BTreeMap;

use chatapi_core::model::{Message, RoomType};
use chatapi_core::store::{AppendOutcome, CreatedRoom, NewMessage, NewRoom, StoreReply, StoreRequest};
use chatapi_core::{MessageId, RoomId, Seq, TenantKey, UserId};

use crate::invariant::{Checked, ensure};

/// For how long an idempotency key is remembered, in milliseconds of the wall clock: 24 h (protocol, section 5).
pub(crate) const KEY_LIFETIME_MS: i64 = 24 * 60 * 60 * 1_000;
/// Unread messages are counted among so many past the ack (protocol, section 4).
const UNREAD_WINDOW: usize = 1_000;

/// Everything that is durable.
#[derive(Debug, Clone, Default)]
pub struct Model {
    tenants: BTreeMap<TenantKey, u8>,
    rooms: BTreeMap<RoomId, ModelRoom>,
    by_age: Vec<RoomId>,
    newest_ids: BTreeMap<&'static str, String>,
}

/// A room.
#[derive(Debug, Clone)]
pub struct ModelRoom {
    /// The number of its tenant.
    pub tenant: u8,
    /// Its kind.
    pub kind: RoomType,
    /// Its name, key and metadata.
    pub labels: [Option<String>; 3],
    /// Its members, and how far each has acknowledged.
    pub members: BTreeMap<UserId, u64>,
    /// The message with number n stands at n - 1.
    pub messages: Vec<ModelMessage>,
    keys: BTreeMap<(UserId, String), KeyUse>,
}

/// A message as somebody is shown it.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the fields of the protocol")]
pub struct Shown<'a> {
    pub room_id: &'a RoomId,
    pub seq: u64,
    pub message_id: &'a str,
    pub sender_id: &'a str,
    pub content: &'a str,
    pub meta: Option<&'a str>,
    pub created_at: &'a str,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelMessage {
    /// Its id.
    pub message_id: MessageId,
    /// Who sent it.
    pub sender_id: UserId,
    /// Its text.
    pub content: String,
    /// What came with it.
    pub meta: Option<String>,
    /// Its stamp, as the wire has it.
    pub created_at: String,
}

#[derive(Debug, Clone)]
struct KeyUse {
    seq: Seq,
    created_at_ms: i64,
}

impl Model {
    /// A room, if there is one.
    #[must_use]
    pub fn room(&self, room_id: &RoomId) -> Option<&ModelRoom> {
        self.rooms.get(room_id)
    }

    /// Every room, oldest first.
    #[must_use]
    pub fn rooms(&self) -> &[RoomId] {
        &self.by_age
    }

    /// The rooms of a user, oldest first.
    pub fn rooms_of(&self, user: &UserId) -> impl Iterator<Item = (&RoomId, &ModelRoom)> {
        let rooms = self.by_age.iter().filter_map(|room_id| Some((room_id, self.rooms.get(room_id)?)));
        let user = user.clone();
        rooms.filter(move |(_, room)| room.members.contains_key(&user))
    }

    /// The key of the tenant of that number.
    #[must_use]
    pub fn tenant_key(&self, number: u8) -> Option<TenantKey> {
        self.tenants.iter().find(|(_, known)| **known == number).map(|(key, _)| *key)
    }

    /// The number of a tenant.
    #[must_use]
    pub fn tenant_number(&self, key: TenantKey) -> Option<u8> {
        self.tenants.get(&key).copied()
    }

    /// Takes in a change that became durable, with what the store says of it.
    pub fn commit(&mut self, request: &StoreRequest, reply: &StoreReply) -> Checked {
        match (request, reply) {
            (StoreRequest::CreateTenant(new), StoreReply::TenantCreated(tenant)) => {
                let number = new.name.trim_start_matches("<t").trim_end_matches('>').parse();
                self.tenants.insert(tenant.key, number.unwrap_or(u8::MAX));
                Ok(())
            }
            (StoreRequest::CreateRoom(new), StoreReply::RoomCreated(created)) => self.create_room(new, created),
            (StoreRequest::AppendMessage(new), StoreReply::Appended(Ok(appended))) => match appended.outcome {
                AppendOutcome::Stored => self.append(new, &appended.message),
                AppendOutcome::Replayed => self.replay(new, &appended.message),
            },
            (StoreRequest::Acknowledge { room_id, user_id, seq, .. }, StoreReply::Acknowledged(Ok(acknowledged))) => {
                let Some(room) = self.rooms.get_mut(room_id) else {
                    ensure!(false, AcksAndUnread, "an ack was stored in {room_id}, which there is not");
                    return Ok(());
                };
                let head = room.messages.len() as u64;
                ensure!(seq.0 <= head, AcksAndUnread, "{user_id} acknowledged {seq} of {head} in {room_id}");
                let Some(last_ack) = room.members.get_mut(user_id) else {
                    ensure!(false, MembersOnly, "{user_id}, no member of {room_id}, acknowledged there");
                    return Ok(());
                };
                let moved = seq.0 > *last_ack;
                *last_ack = seq.0.max(*last_ack);
                ensure!(
                    acknowledged.last_ack.0 == *last_ack && acknowledged.moved == moved,
                    AcksAndUnread,
                    "the ack {seq} of {user_id} in {room_id} came out as {acknowledged:?}, not {last_ack}"
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether a user used the idempotency key of a text with another body.
    #[must_use]
    pub fn key_has_other_body(&self, room_id: &RoomId, user: &UserId, content: &str) -> bool {
        let messages = self.rooms.get(room_id).map(|room| &room.messages);
        messages.into_iter().flatten().any(|message| {
            message.sender_id == *user && key_in(&message.content) == key_in(content) && message.content != content
        })
    }

    /// Whether a message is stored under a key that was used before, and is too old to count.
    #[must_use]
    pub fn forgets_a_key(&self, request: &StoreRequest, reply: &StoreReply) -> bool {
        let (StoreRequest::AppendMessage(new), StoreReply::Appended(Ok(appended))) = (request, reply) else {
            return false;
        };
        let key = new.idempotency.as_ref().map(|idempotency| (new.sender_id.clone(), idempotency.key.clone()));
        let room = self.rooms.get(&new.room_id);
        appended.outcome == AppendOutcome::Stored
            && key.is_some_and(|key| room.is_some_and(|room| room.keys.contains_key(&key)))
    }

    fn create_room(&mut self, new: &NewRoom, created: &CreatedRoom) -> Checked {
        let twin = self.rooms.values().find(|room| {
            new.kind == RoomType::Dm
                && room.kind == RoomType::Dm
                && self.tenants.get(&new.tenant) == Some(&room.tenant)
                && new.members.iter().all(|(user, _)| room.members.contains_key(user))
        });
        match created {
            CreatedRoom::New(room) => {
                ensure!(twin.is_none(), OperationsOnce, "a second dm of the same two: {room:?}");
                let members = new.members.iter().map(|(user, _)| (user.clone(), 0)).collect();
                let tenant = self.tenants.get(&new.tenant).copied().unwrap_or(u8::MAX);
                let stored = ModelRoom {
                    tenant,
                    kind: new.kind,
                    labels: [new.name.clone(), new.unique_key.clone(), new.metadata.clone()],
                    members,
                    messages: Vec::new(),
                    keys: BTreeMap::new(),
                };
                self.check_ascends("room", new.room_id.as_str())?;
                let earlier = self.rooms.insert(new.room_id.clone(), stored);
                ensure!(earlier.is_none(), OperationsOnce, "two rooms have the id {}", new.room_id);
                self.by_age.push(new.room_id.clone());
            }
            CreatedRoom::NoTenant => {}
            CreatedRoom::Existing { room, .. } => {
                ensure!(twin.is_some(), OperationsOnce, "there is no dm {room:?} yet");
            }
        }
        Ok(())
    }

    fn append(&mut self, new: &NewMessage, message: &Message) -> Checked {
        let NewMessage { room_id, sender_id, .. } = new;
        let Some(room) = self.rooms.get_mut(room_id) else {
            ensure!(false, MembersOnly, "a message was stored in {room_id}, which there is not");
            return Ok(());
        };
        ensure!(room.members.contains_key(sender_id), MembersOnly, "{sender_id}, no member, wrote into {room_id}");
        let expected = room.messages.len() as u64 + 1;
        ensure!(
            message.seq.0 == expected,
            GaplessSequence,
            "the message after {} in {room_id} became {}",
            expected - 1,
            message.seq
        );
        ensure!(
            message.content == new.content && message.sender_id == *sender_id && message.message_id == new.message_id,
            StableBodies,
            "{message:?} was stored for {new:?}"
        );
        if let Some(idempotency) = &new.idempotency {
            let key = (sender_id.clone(), idempotency.key.clone());
            let use_now = KeyUse { seq: message.seq, created_at_ms: new.created_at.0 };
            if let Some(earlier) = room.keys.insert(key, use_now) {
                ensure!(
                    new.created_at.0 - earlier.created_at_ms > KEY_LIFETIME_MS,
                    Idempotency,
                    "key {} of {sender_id} in {room_id} stored {} and {}",
                    idempotency.key,
                    earlier.seq,
                    message.seq
                );
            }
        }
        // A key in the text betrays a message that was stored without the key it was sent with.
        if new.idempotency.is_none() && key_in(&new.content).is_some() {
            let twin = room.messages.iter().any(|other| other.content == new.content);
            ensure!(!twin, Idempotency, "{:?} of {sender_id} was stored twice in {room_id}", new.content);
        }
        room.messages.push(ModelMessage {
            message_id: new.message_id.clone(),
            sender_id: sender_id.clone(),
            content: new.content.clone(),
            meta: new.meta.clone(),
            created_at: new.created_at.to_string(),
        });
        self.check_ascends("msg", new.message_id.as_str())
    }

    /// Ids sort by the time they were drawn, across restarts and clocks that step back; those of an earlier life of the
    /// world's own making aside.
    fn check_ascends(&mut self, kind: &'static str, id: &str) -> Checked {
        if id.starts_with("msg_0000") {
            return Ok(());
        }
        let newest = self.newest_ids.entry(kind).or_default();
        ensure!(newest.as_str() < id, RestartEqualsStore, "{id} was drawn after {newest}");
        id.clone_into(newest);
        Ok(())
    }

    fn replay(&self, new: &NewMessage, message: &Message) -> Checked {
        let key = new.idempotency.as_ref().map(|idempotency| (new.sender_id.clone(), idempotency.key.clone()));
        let room = self.rooms.get(&new.room_id);
        let earlier = key.and_then(|key| room?.keys.get(&key));
        let valid_since = new.idempotency.as_ref().map_or(i64::MIN, |idempotency| idempotency.valid_since.0);
        ensure!(
            earlier.is_none_or(|earlier| earlier.created_at_ms >= valid_since),
            Idempotency,
            "a key of {earlier:?} still counts for {new:?}"
        );
        ensure!(
            earlier.is_some_and(|earlier| earlier.seq == message.seq),
            Idempotency,
            "a repeat of {new:?} was answered with {message:?}, first was {earlier:?}"
        );
        self.check_message(message)
    }

    /// Whether a message that somebody is shown is durable, and is what it was.
    pub fn check_message(&self, message: &Message) -> Checked {
        self.check_shown(&Shown {
            room_id: &message.room_id,
            seq: message.seq.0,
            message_id: message.message_id.as_str(),
            sender_id: message.sender_id.as_str(),
            content: &message.content,
            meta: message.meta.as_deref(),
            created_at: &message.created_at.to_string(),
        })
    }

    /// The same, of the parts of a frame.
    pub fn check_shown(&self, shown: &Shown<'_>) -> Checked {
        let Shown { room_id, seq, message_id, sender_id, content, meta, created_at } = *shown;
        let stored = seq
            .checked_sub(1)
            .and_then(|index| self.rooms.get(room_id)?.messages.get(usize::try_from(index).unwrap_or(usize::MAX)));
        let Some(stored) = stored else {
            ensure!(false, DurableFirst, "{room_id} {seq} is shown and is not durable: {content:.60}");
            return Ok(());
        };
        ensure!(
            stored.message_id.as_str() == message_id
                && stored.content == content
                && stored.sender_id.as_str() == sender_id
                && stored.meta.as_deref() == meta
                && stored.created_at == created_at,
            StableBodies,
            "{room_id} {seq} is shown as {message_id} {content:.60}, and was stored as {} {:.60}",
            stored.message_id,
            stored.content
        );
        Ok(())
    }
}

impl ModelRoom {
    /// The number of the newest message.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.messages.len() as u64
    }

    /// How far a member has acknowledged.
    #[must_use]
    pub fn last_ack(&self, user: &UserId) -> u64 {
        self.members.get(user).copied().unwrap_or(0)
    }

    /// Messages of others among the first past the user's ack.
    #[must_use]
    pub fn unread(&self, user: &UserId) -> u64 {
        let past = self.messages.iter().skip(usize::try_from(self.last_ack(user)).unwrap_or(usize::MAX));
        past.take(UNREAD_WINDOW).filter(|message| message.sender_id != *user).count() as u64
    }
}

/// The idempotency key that a text says it was sent with.
#[must_use]
pub fn key_in(content: &str) -> Option<&str> {
    let (_, rest) = content.split_once(" key=")?;
    rest.split(' ').next()
}
