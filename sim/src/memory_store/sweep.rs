//! Removing what nobody can see any more.

use std::collections::BTreeSet;

use chatapi_core::{TenantKey, UnixMillis};

use super::MemoryStore;

impl MemoryStore {
    pub(super) fn sweep(&mut self, notifications_before: UnixMillis, keys_before: UnixMillis) {
        self.tenants.retain(|_, stored| !stored.is_deleted);
        for stored in self.tenants.values_mut() {
            stored.retired.retain(|_, until| *until >= keys_before);
        }
        let tenants: BTreeSet<TenantKey> = self.tenants.keys().copied().collect();
        self.rooms.retain(|_, stored| !stored.is_deleted && tenants.contains(&stored.tenant));
        let messages = self.rooms.values().flat_map(|stored| &stored.messages);
        self.message_ids = messages.map(|message| message.message_id.clone()).collect();
        self.notifications
            .retain(|_, stored| tenants.contains(&stored.new.tenant) && stored.new.created_at >= notifications_before);
    }
}
