//! Notifications: stored with their targets, then expanded user by user.

use std::collections::BTreeSet;

use chatapi_core::store::{
    EXPANSIONS_LISTED_MAX, Expansion, NewNotification, NotificationPage, NotifyRefusal, PENDING_NOTIFICATIONS_MAX,
    PendingNotifications, StoreFailure,
};
use chatapi_core::ws::{Frame, notification_frame};
use chatapi_core::{NotificationKey, TenantKey, UserId};

use super::{MemoryStore, fitting, page};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredNotification {
    pub(super) new: NewNotification,
    progress: Progress,
    /// For whom it waits.
    pending: BTreeSet<UserId>,
}

/// How far a notification is expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// To the users up to this one, ascending.
    Up(Option<UserId>),
    /// To its end.
    Done,
}

impl StoredNotification {
    fn frame(&self) -> Frame {
        let NewNotification { notification_id, topic, payload, created_at, .. } = &self.new;
        notification_frame(notification_id, topic, payload, *created_at)
    }
}

impl MemoryStore {
    pub(super) fn notify(
        &mut self,
        new: &NewNotification,
    ) -> Result<Result<NotificationKey, NotifyRefusal>, StoreFailure> {
        if self.known_tenant(new.tenant)?.is_none() {
            return Ok(Err(NotifyRefusal::NoTenant));
        }
        if new.targets.room_id.as_ref().is_some_and(|room_id| self.room(new.tenant, room_id).is_none()) {
            return Ok(Err(NotifyRefusal::NoRoom));
        }
        if self.notifications.values().any(|stored| stored.new.notification_id == new.notification_id) {
            return Err(StoreFailure::Failed);
        }
        self.last_notification += 1;
        let key = NotificationKey(self.last_notification);
        let stored = StoredNotification { new: new.clone(), progress: Progress::Up(None), pending: BTreeSet::new() };
        self.notifications.insert(key, stored);
        self.note_id("notif_", new.notification_id.as_str());
        Ok(Ok(key))
    }

    /// Whom a notification is for as things now stand, each once.
    fn audience(&self, new: &NewNotification) -> BTreeSet<UserId> {
        let mut audience: BTreeSet<UserId> = new.targets.user_ids.iter().cloned().collect();
        let room = new.targets.room_id.as_ref().and_then(|room_id| self.room(new.tenant, room_id));
        audience.extend(room.into_iter().flat_map(|stored| stored.members.keys().cloned()));
        if new.targets.topic_subscribers {
            audience.extend(self.subscribers(new.tenant, &new.topic).cloned());
        }
        audience
    }

    pub(super) fn expansions(&self) -> Vec<NotificationKey> {
        let open = self
            .notifications
            .iter()
            .filter(|(_, stored)| stored.progress != Progress::Done && self.tenant(stored.new.tenant).is_some());
        open.map(|(key, _)| *key).take(EXPANSIONS_LISTED_MAX as usize).collect()
    }

    pub(super) fn expand(&mut self, key: NotificationKey, limit: u32) -> Option<Expansion> {
        let stored = self.notifications.get(&key)?;
        self.tenant(stored.new.tenant)?;
        let Progress::Up(last) = stored.progress.clone() else {
            return None;
        };
        let NewNotification { tenant, durable, .. } = stored.new;
        let frame = stored.frame();
        // By the order of their ids, so that whoever comes, leaves or changes from one kind of target to another
        // meanwhile is neither overlooked nor told twice.
        let audience = self.audience(&stored.new).into_iter();
        let ahead = audience.filter(|user_id| last.as_ref().is_none_or(|last| user_id > last)).collect();
        let (users, has_more) = page(ahead, limit);
        let stored = self.notifications.get_mut(&key)?;
        stored.progress = if has_more { Progress::Up(users.last().cloned().or(last)) } else { Progress::Done };
        if durable {
            stored.pending.extend(users.iter().cloned());
            for user_id in &users {
                self.drop_oldest_pending(tenant, user_id);
            }
        }
        self.drop_finished();
        Some(Expansion { tenant, frame, durable, users, has_more })
    }

    /// Of a user's pending notifications only the newest stay.
    fn drop_oldest_pending(&mut self, tenant: TenantKey, user_id: &UserId) {
        let newest_first = self.notifications.values_mut().rev();
        newest_first
            .filter(|stored| stored.new.tenant == tenant && stored.pending.contains(user_id))
            .skip(PENDING_NOTIFICATIONS_MAX as usize)
            .for_each(|stored| {
                stored.pending.remove(user_id);
            });
    }

    /// What is expanded and waits for nobody has no purpose any more.
    fn drop_finished(&mut self) {
        self.notifications.retain(|_, stored| stored.progress != Progress::Done || !stored.pending.is_empty());
    }

    pub(super) fn read_notifications(&self, wanted: &PendingNotifications) -> NotificationPage {
        let is_there = self.tenant(wanted.tenant).is_some();
        let pending: Vec<_> = self
            .notifications
            .iter()
            .filter(|(key, stored)| {
                is_there
                    && stored.new.tenant == wanted.tenant
                    && **key > wanted.after
                    && stored.new.created_at >= wanted.since
                    && stored.pending.contains(&wanted.user_id)
            })
            .collect();
        let count = pending.len();
        let shown =
            fitting(pending.into_iter(), wanted.limit, wanted.size_bytes, |(_, stored)| stored.new.payload.len());
        NotificationPage {
            has_more: shown.len() < count,
            notifications: shown.into_iter().map(|(key, stored)| (*key, stored.frame())).collect(),
        }
    }

    pub(super) fn has_pending(&self, tenant: TenantKey, user_id: &UserId) -> bool {
        let mut stored = self.notifications.values();
        self.tenant(tenant).is_some()
            && stored.any(|stored| stored.new.tenant == tenant && stored.pending.contains(user_id))
    }

    pub(super) fn confirm_notifications(&mut self, tenant: TenantKey, user_id: &UserId, keys: &[NotificationKey]) {
        if self.tenant(tenant).is_none() {
            return;
        }
        for key in keys {
            if let Some(stored) = self.notifications.get_mut(key).filter(|stored| stored.new.tenant == tenant) {
                stored.pending.remove(user_id);
            }
        }
        self.drop_finished();
    }
}
