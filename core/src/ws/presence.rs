//! Presence: a user is online from the first connection on, and offline some time after the last one.

use std::collections::BTreeSet;

use super::kept::Replaceable;
use crate::api::PresenceStatus;
use crate::core::Core;
use crate::id::{ConnId, RoomId, TenantKey, UserId};

impl Core {
    /// Tells that a user is online whose rooms are known now, unless that was told already.
    pub(crate) fn announce_online(&mut self, tenant: TenantKey, user: &UserId) {
        if self.sessions.announce(tenant, user) {
            let rooms: Vec<RoomId> = self.sessions.rooms_of(tenant, user).cloned().collect();
            self.publish_presence(tenant, user, rooms.iter(), PresenceStatus::Online);
        }
    }

    /// Tells that those are offline who did not come back in time.
    pub(crate) fn announce_offline(&mut self) {
        while let Some(((tenant, user), rooms)) = self.sessions.take_gone(self.now.mono) {
            self.publish_presence(tenant, &user, rooms.iter(), PresenceStatus::Offline);
        }
    }

    /// Tells whoever shares a room with a user, large ones aside, once each.
    fn publish_presence<'a>(
        &mut self,
        tenant: TenantKey,
        user: &UserId,
        rooms: impl Iterator<Item = &'a RoomId>,
        status: PresenceStatus,
    ) {
        let mut told: BTreeSet<ConnId> = BTreeSet::new();
        for room_id in rooms.filter(|room_id| !self.is_large(room_id)) {
            told.extend(self.audiences.iter(room_id));
        }
        for own in self.sessions.conns_of(tenant, user) {
            told.remove(&own);
        }
        let broadcast = Replaceable::Presence { user_id: user.clone(), status, at: self.now.wall };
        self.send_latest(told.into_iter().collect(), &broadcast);
    }
}
