//! Notifications: whom each is for, who was named by its expansion, for whom it waits.

use std::collections::BTreeSet;

use chatapi_core::store::{Expansion, NewNotification, NotificationTargets};
use chatapi_core::{NotificationKey, TenantKey, UserId};

use super::Model;
use crate::invariant::{Checked, ensure};

/// A notification.
#[derive(Debug, Clone)]
pub struct ModelNotification {
    /// The number of its tenant.
    pub tenant: u8,
    /// Its id.
    pub id: String,
    /// What it is about.
    pub topic: String,
    /// What it says, as JSON text.
    pub payload: String,
    /// Its stamp.
    pub created_at_ms: i64,
    /// In which life of the server it was stored.
    pub incarnation: u64,
    /// Who was named by its expansion so far.
    pub named: BTreeSet<UserId>,
    targets: NotificationTargets,
    is_durable: bool,
    /// Who is to be named, and has been a target ever since it was stored.
    steady: BTreeSet<UserId>,
    pending: BTreeSet<UserId>,
    is_expanded: bool,
}

impl Model {
    /// A notification, by the id that clients see.
    #[must_use]
    pub fn notification(&self, id: &str) -> Option<(NotificationKey, &ModelNotification)> {
        self.notifications.iter().find(|(_, known)| known.id == id).map(|(key, known)| (*key, known))
    }

    /// What waits for a user.
    pub fn pending_of(&self, user: &UserId) -> impl Iterator<Item = NotificationKey> {
        let user = user.clone();
        self.notifications.iter().filter(move |(_, known)| known.pending.contains(&user)).map(|(key, _)| *key)
    }

    /// Whether a durable one has reached a user: it waits no more.
    #[must_use]
    pub fn has_reached(&self, key: NotificationKey, user: &UserId) -> bool {
        let known = self.notifications.get(&key);
        known.is_some_and(|known| known.is_durable && known.named.contains(user) && !known.pending.contains(user))
    }

    /// One that is not expanded to its end.
    #[must_use]
    pub fn unexpanded(&self) -> Option<&ModelNotification> {
        self.notifications.values().find(|known| !known.is_expanded)
    }

    pub(super) fn notify(&mut self, new: &NewNotification, key: NotificationKey) -> Checked {
        let tenant = self.tenant_number(new.tenant).unwrap_or(u8::MAX);
        let room = new.targets.room_id.as_ref().map(|room_id| self.room(room_id).map(|room| room.tenant));
        ensure!(
            room.is_none_or(|room| room == Some(tenant)),
            TenantIsolation,
            "tenant {tenant} notifies the room {:?} of {room:?}",
            new.targets.room_id
        );
        let notification = ModelNotification {
            tenant,
            id: new.notification_id.as_str().to_owned(),
            topic: new.topic.clone(),
            payload: new.payload.clone(),
            created_at_ms: new.created_at.0,
            incarnation: self.incarnation,
            named: BTreeSet::new(),
            targets: new.targets.clone(),
            is_durable: new.durable,
            steady: self.targets(tenant, &new.topic, &new.targets),
            pending: BTreeSet::new(),
            is_expanded: false,
        };
        self.check_ascends("notif", new.notification_id.as_str())?;
        let earlier = self.notifications.insert(key, notification);
        ensure!(earlier.is_none(), OperationsOnce, "two notifications have the key {key:?}");
        Ok(())
    }

    /// Whom a notification is for as things now stand.
    fn targets(&self, tenant: u8, topic: &str, targets: &NotificationTargets) -> BTreeSet<UserId> {
        let mut users: BTreeSet<UserId> = targets.user_ids.iter().cloned().collect();
        let room = targets.room_id.as_ref().and_then(|room_id| self.room(room_id));
        users.extend(room.into_iter().flat_map(|room| room.members.keys().cloned()));
        if targets.topic_subscribers {
            let subscriptions = self.subscriptions.range((tenant, 0)..=(tenant, u64::MAX)).map(|(_, known)| known);
            let present = subscriptions.filter(|known| known.topic == topic && !known.is_gone);
            users.extend(present.map(|known| known.user.clone()));
        }
        users
    }

    pub(super) fn expand(&mut self, key: NotificationKey, limit: u32, expansion: &Expansion) -> Checked {
        let Some(known) = self.notifications.get(&key) else {
            ensure!(false, Notifications, "{key:?} is expanded, which there is not");
            return Ok(());
        };
        let now = self.targets(known.tenant, &known.topic, &known.targets);
        let Some(known) = self.notifications.get_mut(&key) else {
            return Ok(());
        };
        ensure!(
            !known.is_expanded && expansion.users.len() <= limit as usize && expansion.durable == known.is_durable,
            Notifications,
            "{known:?} is expanded as {expansion:?}"
        );
        for user in &expansion.users {
            let is_new = known.named.insert(user.clone());
            ensure!(is_new && now.contains(user), Notifications, "{user} is named by the expansion of {known:?}");
        }
        known.steady.retain(|user| now.contains(user));
        if known.is_durable {
            known.pending.extend(expansion.users.iter().cloned());
        }
        if !expansion.has_more {
            known.is_expanded = true;
            ensure!(
                known.steady.is_subset(&known.named),
                Notifications,
                "the expansion of {known:?} named not all of its targets"
            );
        }
        Ok(())
    }

    pub(super) fn confirm(&mut self, tenant: TenantKey, user: &UserId, keys: &[NotificationKey]) {
        let tenant = self.tenant_number(tenant);
        for key in keys {
            if let Some(known) = self.notifications.get_mut(key).filter(|known| Some(known.tenant) == tenant) {
                known.pending.remove(user);
            }
        }
    }

    /// The server began another life.
    pub fn begin_life(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
    }
}
