//! What should be, told by what became durable: deliberately simple, and written without a look at the core or a store.

mod changes;
mod messages;
mod notifications;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet};

use chatapi_core::model::{Message, Role, RoomType};
use chatapi_core::store::{AppendOutcome, CreatedRoom, NewMessage, NewRoom, StoreReply, StoreRequest};
use chatapi_core::{NotificationKey, RoomId, Seq, TenantKey, UserId};

use crate::invariant::{Checked, ensure};
pub use messages::{ModelMessage, Shown, Version};
pub use notifications::ModelNotification;
pub use subscriptions::ModelSubscription;

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
    subscriptions: BTreeMap<(u8, u64), ModelSubscription>,
    notifications: BTreeMap<NotificationKey, ModelNotification>,
    /// How often the server has begun a life.
    incarnation: u64,
}

/// A room.
#[derive(Debug, Clone)]
pub struct ModelRoom {
    /// The number of its tenant.
    pub tenant: u8,
    /// Its kind.
    pub kind: RoomType,
    /// Its name, key and metadata, as they ever were.
    pub labels: Vec<[Option<String>; 3]>,
    /// Its members.
    pub members: BTreeMap<UserId, ModelMember>,
    /// The message with number n stands at n - 1.
    pub messages: Vec<ModelMessage>,
    /// The numbers of those that were edited or deleted.
    pub changed: BTreeSet<u64>,
    keys: BTreeMap<(UserId, String), KeyUse>,
}

/// A member.
#[derive(Debug, Clone, Copy)]
pub struct ModelMember {
    /// What the user may do.
    pub role: Role,
    /// How far the user has acknowledged.
    pub last_ack: u64,
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
                let Some(ModelMember { last_ack, .. }) = room.members.get_mut(user_id) else {
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
            (StoreRequest::EditMessage(edit), StoreReply::MessageEdited(Ok(message))) => self.edit(edit, message),
            (
                StoreRequest::DeleteMessage { room_id, message_id, actor, now, .. },
                StoreReply::MessageDeleted(Ok(deleted)),
            ) => self.delete(room_id, message_id, actor, *now, deleted),
            (StoreRequest::ChangeRoom(change), StoreReply::RoomChanged(Ok(room))) => self.change_room(change, room),
            (StoreRequest::Subscribe { tenant, user_id, topic, .. }, StoreReply::Subscribed(Ok(subscribed))) => {
                self.subscribe(*tenant, user_id, topic, subscribed)
            }
            (StoreRequest::Unsubscribe { tenant, user_id, subscription_id }, StoreReply::Unsubscribed { existed }) => {
                self.unsubscribe(*tenant, user_id, *subscription_id, *existed)
            }
            (StoreRequest::Notify(new), StoreReply::Notified(Ok(key))) => self.notify(new, *key),
            (StoreRequest::ExpandNotification { notification, limit }, StoreReply::Expanded(Some(expansion))) => {
                self.expand(*notification, *limit, expansion)
            }
            (StoreRequest::ConfirmNotifications { tenant, user_id, notifications }, _) => {
                self.confirm(*tenant, user_id, notifications);
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
            let first = message.original();
            message.sender_id == *user && key_in(first) == key_in(content) && first != content
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
                let member = |role| ModelMember { role, last_ack: 0 };
                let members = new.members.iter().map(|(user, role)| (user.clone(), member(*role))).collect();
                let tenant = self.tenants.get(&new.tenant).copied().unwrap_or(u8::MAX);
                let stored = ModelRoom {
                    tenant,
                    kind: new.kind,
                    labels: vec![[new.name.clone(), new.unique_key.clone(), new.metadata.clone()]],
                    members,
                    messages: Vec::new(),
                    changed: BTreeSet::new(),
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
            let twin = room.messages.iter().any(|other| other.original() == new.content);
            ensure!(!twin, Idempotency, "{:?} of {sender_id} was stored twice in {room_id}", new.content);
        }
        room.messages.push(ModelMessage::new(new));
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
        let version = self.check_message(message)?;
        ensure!(
            self.is_present(&message.room_id, message.seq.0, version),
            StableBodies,
            "a repeat was answered with {message:?}, as it was before"
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

    /// Whether a user is an admin.
    #[must_use]
    pub fn is_admin(&self, user: &UserId) -> bool {
        self.members.get(user).is_some_and(|member| member.role == Role::Admin)
    }

    /// How far a member has acknowledged.
    #[must_use]
    pub fn last_ack(&self, user: &UserId) -> u64 {
        self.members.get(user).map_or(0, |member| member.last_ack)
    }

    /// Messages of others, not deleted, among the first past the user's ack.
    #[must_use]
    pub fn unread(&self, user: &UserId) -> u64 {
        let past = self.messages.iter().skip(usize::try_from(self.last_ack(user)).unwrap_or(usize::MAX));
        past.take(UNREAD_WINDOW).filter(|message| message.sender_id != *user && !message.is_deleted()).count() as u64
    }
}

/// The idempotency key that a text says it was sent with.
#[must_use]
pub fn key_in(content: &str) -> Option<&str> {
    let (_, rest) = content.split_once(" key=")?;
    rest.split(' ').next()
}
