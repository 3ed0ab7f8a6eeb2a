//! The store's contract as a plain model: nothing is fast here, so that everything can be seen to be right.
//!
//! What is deleted stays as a tombstone that no step sees; a sweep removes all of it at once.

mod members;
mod messages;
mod notifications;
mod positions;
mod rooms;
mod subscriptions;
mod sweep;
mod tenants;

use std::collections::{BTreeMap, BTreeSet};

use chatapi_core::store::{AccessRefusal, Actor, StoreFailure, StoreReply, StoreRequest, StoreResult};
use chatapi_core::{IdStamp, MessageId, NotificationKey, RoomId, Seq, TenantKey};

use notifications::StoredNotification;
use rooms::StoredRoom;
use tenants::StoredTenant;

/// A whole store in memory. Steps are carried out one at a time; what is not allowed changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryStore {
    epoch: String,
    /// Of all that ever was: what is removed stays counted.
    newest_id: Option<IdStamp>,
    tenants: BTreeMap<TenantKey, StoredTenant>,
    last_tenant: i64,
    rooms: BTreeMap<RoomId, StoredRoom>,
    message_ids: BTreeSet<MessageId>,
    notifications: BTreeMap<NotificationKey, StoredNotification>,
    last_notification: i64,
}

impl MemoryStore {
    /// An empty store of that epoch.
    #[must_use]
    pub fn new(epoch: &str) -> Self {
        Self {
            epoch: epoch.to_owned(),
            newest_id: None,
            tenants: BTreeMap::new(),
            last_tenant: 0,
            rooms: BTreeMap::new(),
            message_ids: BTreeSet::new(),
            notifications: BTreeMap::new(),
            last_notification: 0,
        }
    }

    /// Carries a step out.
    ///
    /// # Errors
    ///
    /// [`StoreFailure::Failed`] for what no correct core asks: an id or key that exists, a tenant that never was, a
    /// member named twice.
    pub fn execute(&mut self, request: &StoreRequest) -> StoreResult {
        Ok(match request {
            StoreRequest::Boot => StoreReply::Booted { epoch: self.epoch.clone(), newest_id: self.newest_id },
            StoreRequest::CheckWritable { .. } => StoreReply::Written,
            StoreRequest::CreateTenant(new) => StoreReply::TenantCreated(self.create_tenant(new)?),
            StoreRequest::FindTenant { api_key } => StoreReply::KeyOwner(self.find_tenant(api_key)),
            StoreRequest::ListTenants { after, limit } => {
                StoreReply::Tenants(self.list_tenants(after.as_ref(), *limit))
            }
            StoreRequest::ReadTenant { tenant_id } => StoreReply::Tenant(self.read_tenant(tenant_id)),
            StoreRequest::ChangeTenant(change) => StoreReply::TenantChanged(self.change_tenant(change)),
            StoreRequest::RotateKey(rotation) => StoreReply::KeyRotated(self.rotate_key(rotation)?),
            StoreRequest::DeleteTenant { tenant_id, now: _ } => {
                StoreReply::TenantDeleted(self.delete_tenant(tenant_id))
            }
            StoreRequest::CreateRoom(new) => StoreReply::RoomCreated(self.create_room(new)?),
            StoreRequest::ListRooms { tenant, actor, after, limit } => {
                let (rooms, has_more) = page(self.listed(*tenant, actor, after.as_ref()), *limit);
                StoreReply::Rooms { rooms, has_more }
            }
            StoreRequest::ReadRoom { tenant, room_id, actor } => {
                StoreReply::Room(self.enter(*tenant, room_id, actor).map(|stored| stored.room.clone()))
            }
            StoreRequest::ChangeRoom(change) => StoreReply::RoomChanged(self.change_room(change)),
            StoreRequest::DeleteRoom { tenant, room_id, actor, now: _ } => {
                StoreReply::RoomDeleted(self.delete_room(*tenant, room_id, actor))
            }
            StoreRequest::AddMember(new) => StoreReply::MemberAdded(self.add_member(new)),
            StoreRequest::RemoveMember { tenant, room_id, actor, user_id, now: _ } => {
                StoreReply::MemberRemoved(self.remove_member(*tenant, room_id, actor, user_id))
            }
            StoreRequest::ListMembers { tenant, room_id, actor, after, limit } => {
                StoreReply::Members(self.list_members(*tenant, room_id, actor, after.as_ref(), *limit))
            }
            StoreRequest::ListReceipts { tenant, room_id, actor, after, limit } => {
                StoreReply::Receipts(self.list_receipts(*tenant, room_id, actor, after.as_ref(), *limit))
            }
            StoreRequest::AppendMessage(new) => StoreReply::Appended(self.append(new)?),
            StoreRequest::ReadMessages { tenant, room_id, actor, range, bounds } => {
                StoreReply::Messages(self.enter(*tenant, room_id, actor).map(|stored| stored.history(*range, *bounds)))
            }
            StoreRequest::ReadMessage { tenant, room_id, message_id, actor } => {
                StoreReply::Message(self.read_message(*tenant, room_id, message_id, actor))
            }
            StoreRequest::RereadMessage { tenant, room_id, message_id } => {
                StoreReply::Message(self.read_message(*tenant, room_id, message_id, &Actor::Tenant))
            }
            StoreRequest::EditMessage(edit) => StoreReply::MessageEdited(self.edit_message(edit)),
            StoreRequest::DeleteMessage { tenant, room_id, message_id, actor, now } => {
                StoreReply::MessageDeleted(self.delete_message(*tenant, room_id, message_id, actor, *now))
            }
            StoreRequest::Acknowledge { tenant, room_id, user_id, seq, now: _ } => {
                StoreReply::Acknowledged(self.acknowledge(*tenant, room_id, user_id, *seq))
            }
            StoreRequest::LoadBacklog { tenant, user_id } => StoreReply::Backlog(self.backlog(*tenant, user_id)),
            StoreRequest::LoadPositions { tenant, user_id, rooms } => {
                StoreReply::Positions(self.positions(*tenant, user_id, rooms))
            }
            StoreRequest::ReadFrames { tenant, rooms, bounds } => {
                StoreReply::Frames(self.frames(*tenant, rooms, *bounds))
            }
            StoreRequest::ReadHead { tenant, room_id } => {
                StoreReply::Head(self.room(*tenant, room_id).map(|stored| stored.room.last_seq))
            }
            StoreRequest::Notify(new) => StoreReply::Notified(self.notify(new)?),
            StoreRequest::ListExpansions => StoreReply::Expansions(self.expansions()),
            StoreRequest::ExpandNotification { notification, limit } => {
                StoreReply::Expanded(self.expand(*notification, *limit))
            }
            StoreRequest::ReadNotifications(wanted) => StoreReply::Notifications(self.read_notifications(wanted)),
            StoreRequest::ConfirmNotifications { tenant, user_id, notifications } => {
                self.confirm_notifications(*tenant, user_id, notifications);
                StoreReply::Confirmed
            }
            StoreRequest::Subscribe { tenant, user_id, topic, now } => {
                StoreReply::Subscribed(self.subscribe(*tenant, user_id, topic, *now)?)
            }
            StoreRequest::ListSubscriptions { tenant, user_id } => {
                StoreReply::Subscriptions(self.list_subscriptions(*tenant, user_id))
            }
            StoreRequest::Unsubscribe { tenant, user_id, subscription_id } => {
                StoreReply::Unsubscribed { existed: self.unsubscribe(*tenant, user_id, *subscription_id) }
            }
            StoreRequest::Sweep { notifications_before, keys_before, rows: _ } => {
                self.sweep(*notifications_before, *keys_before);
                StoreReply::Swept { has_more: false }
            }
        })
    }

    /// Whether the message with that number in a room is this one.
    #[must_use]
    pub fn holds(&self, room_id: &RoomId, seq: Seq, message_id: &MessageId) -> bool {
        let message = self.rooms.get(room_id).and_then(|stored| stored.message(seq));
        message.is_some_and(|message| message.message_id == *message_id)
    }

    /// Notes an id that is stored; one that no id source drew has no stamp.
    fn note_id(&mut self, prefix: &str, id: &str) {
        let stamp = IdStamp::read(id).filter(|_| id.starts_with(prefix));
        self.newest_id = self.newest_id.max(stamp);
    }

    /// A tenant that is not deleted.
    fn tenant(&self, tenant: TenantKey) -> Option<&StoredTenant> {
        self.tenants.get(&tenant).filter(|stored| !stored.is_deleted)
    }

    /// The same, where a tenant that never was is a fault of the core's: keys are given in order, none twice.
    fn known_tenant(&mut self, tenant: TenantKey) -> Result<Option<&mut StoredTenant>, StoreFailure> {
        if !(1..=self.last_tenant).contains(&tenant.0) {
            return Err(StoreFailure::Failed);
        }
        Ok(self.tenants.get_mut(&tenant).filter(|stored| !stored.is_deleted))
    }

    /// A tenant's rooms in ascending order of their ids.
    fn rooms_of(&self, tenant: TenantKey) -> impl DoubleEndedIterator<Item = &StoredRoom> {
        let is_there = self.tenant(tenant).is_some();
        self.rooms.values().filter(move |stored| is_there && stored.tenant == tenant && !stored.is_deleted)
    }

    fn room(&self, tenant: TenantKey, room_id: &RoomId) -> Option<&StoredRoom> {
        self.rooms_of(tenant).find(|stored| stored.room.room_id == *room_id)
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

fn page<T>(mut items: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let has_more = items.len() > limit as usize;
    items.truncate(limit as usize);
    (items, has_more)
}

/// The first of what may be shown that fit the bounds, at least one if there is any.
fn fitting<T>(items: impl Iterator<Item = T>, limit: u32, size_bytes: u32, size_of: impl Fn(&T) -> usize) -> Vec<T> {
    let mut fitting = Vec::new();
    let mut size = 0;
    for item in items {
        size += size_of(&item);
        let is_full = fitting.len() >= limit as usize || size > size_bytes as usize;
        if is_full && !fitting.is_empty() {
            break;
        }
        fitting.push(item);
    }
    fitting
}
