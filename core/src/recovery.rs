//! What is read again after the store failed: the start of a run, and rooms whose newest message is in doubt.
//!
//! A commit that failed, or an answer that came too late, may have stored what was asked for. Whoever asked was told
//! that the outcome is unknown; the members must get what turns out to be stored all the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::Core;
use crate::effect::{Effect, Event};
use crate::id::{MessageId, RoomId, Seq, TenantId, TenantKey, UserId};
use crate::operations::Step;
use crate::store::{StoreReply, StoreRequest, StoreResult};
use crate::time::{Micros, MonoMicros};

/// After how long a failed reading is repeated.
const RETRY_AFTER: Micros = Micros::from_secs(1);

/// What is to be read again.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    boot: bool,
    rooms: BTreeMap<(TenantKey, RoomId), InDoubt>,
    /// Messages whose change may be stored and was never reported.
    messages: BTreeSet<(TenantKey, RoomId, MessageId)>,
    /// Tenants of which something may be stored that was never reported.
    tenants: BTreeSet<TenantId>,
    retry_at: Option<MonoMicros>,
}

/// A room of which something may be stored that was never reported.
#[derive(Debug, Default)]
struct InDoubt {
    /// Who is to be in it, where its creation is in doubt.
    members: Vec<UserId>,
    /// Its newest number is being read; else it is read at the next retry.
    is_read: bool,
}

impl Recovery {
    pub(crate) const fn next_retry(&self) -> Option<MonoMicros> {
        self.retry_at
    }

    /// Forgets that a user is to be in a room whose creation is in doubt: the user has left it.
    pub(crate) fn forget_member(&mut self, tenant: TenantKey, room_id: &RoomId, user_id: &UserId) {
        if !self.rooms.is_empty()
            && let Some(in_doubt) = self.rooms.get_mut(&(tenant, room_id.clone()))
        {
            in_doubt.members.retain(|member| member != user_id);
        }
    }

    fn retry_after(&mut self, now: MonoMicros) {
        self.retry_at.get_or_insert(now + RETRY_AFTER);
    }
}

impl Core {
    /// Boots the store again after a moment.
    pub(crate) fn boot_later(&mut self) {
        self.recovery.boot = true;
        self.recovery.retry_after(self.now.mono);
    }

    /// Reads a room's newest number, because something may be stored there that was never reported. One reading serves
    /// all that is in doubt: it stands behind it in the order of the changes.
    pub(crate) fn recover_room(&mut self, tenant: TenantKey, room_id: RoomId, members: Vec<UserId>) {
        let in_doubt = self.recovery.rooms.entry((tenant, room_id.clone())).or_default();
        in_doubt.members.extend(members);
        if !std::mem::replace(&mut in_doubt.is_read, true) {
            let request = StoreRequest::ReadHead { tenant, room_id: room_id.clone() };
            self.submit(Some(tenant), Step::ReadHead { room_id }, request);
        }
    }

    /// Brings those into a room's audience whose membership is in doubt, because the room turns out to be there.
    pub(crate) fn admit_members_in_doubt(&mut self, tenant: TenantKey, room_id: &RoomId) {
        if self.recovery.rooms.is_empty() {
            return;
        }
        let in_doubt = self.recovery.rooms.get_mut(&(tenant, room_id.clone()));
        if let Some(members) = in_doubt.map(|in_doubt| std::mem::take(&mut in_doubt.members)) {
            let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
            self.join_online(tenant, room_id, &members, Seq(0), count);
        }
    }

    pub(crate) fn on_head(&mut self, room_id: RoomId, tenant: Option<TenantKey>, result: StoreResult) {
        let Some(tenant) = tenant else {
            return;
        };
        let Ok(StoreReply::Head(head)) = result else {
            if let Some(in_doubt) = self.recovery.rooms.get_mut(&(tenant, room_id)) {
                in_doubt.is_read = false;
                self.recovery.retry_after(self.now.mono);
            }
            return;
        };
        match head {
            Some(head) => {
                self.admit_members_in_doubt(tenant, &room_id);
                if self.room_advanced(&room_id, head) {
                    self.emit(Effect::Report(Event::RoomRecovered { room_id: room_id.clone() }));
                }
            }
            // Another tenant's room is none to this one, and its members are told nothing.
            None if self.hears_of(tenant, &room_id) => self.publish_room_deleted(&room_id),
            None => {}
        }
        self.recovery.rooms.remove(&(tenant, room_id));
    }

    /// Reads a message, because a change of it may be stored that was never reported. It is read in order with the changes,
    /// so that no older state is told after a newer one.
    pub(crate) fn recover_message(&mut self, tenant: TenantKey, room_id: RoomId, message_id: MessageId) {
        let request = StoreRequest::RereadMessage { tenant, room_id: room_id.clone(), message_id: message_id.clone() };
        self.submit(Some(tenant), Step::RefreshMessage { room_id, message_id }, request);
    }

    /// Tells of a change whose outcome was unknown, if it turns out to be stored.
    pub(crate) fn on_message_refreshed(
        &mut self,
        room_id: RoomId,
        message_id: MessageId,
        tenant: Option<TenantKey>,
        result: StoreResult,
    ) {
        match (result, tenant) {
            (Ok(StoreReply::Message(Ok(message))), _)
                if message.edited_at.is_some() || message.deleted_at.is_some() =>
            {
                self.publish_change(&message);
            }
            (Ok(StoreReply::Message(_)), _) | (_, None) => {}
            (Ok(_) | Err(_), Some(tenant)) => {
                self.recovery.messages.insert((tenant, room_id, message_id));
                self.retry_later();
            }
        }
    }

    /// Reads a tenant, because a change of it may be stored that was never reported.
    pub(crate) fn recover_tenant(&mut self, tenant_id: TenantId) {
        let request = StoreRequest::ReadTenant { tenant_id: tenant_id.clone() };
        self.submit(None, Step::RefreshTenant { tenant_id }, request);
    }

    pub(crate) fn on_tenant_refreshed(&mut self, tenant_id: TenantId, result: StoreResult) {
        match result {
            Ok(StoreReply::Tenant(Some(tenant))) => self.tenants.refresh(&tenant, &self.config, self.now.mono),
            Ok(StoreReply::Tenant(None)) => {
                if let Some(tenant) = self.tenants.find(&tenant_id) {
                    self.on_tenant_gone(tenant);
                }
            }
            Ok(_) | Err(_) => {
                self.recovery.tenants.insert(tenant_id);
                self.retry_later();
            }
        }
    }

    /// Repeats what failed after a moment.
    pub(crate) fn retry_later(&mut self) {
        self.recovery.retry_after(self.now.mono);
    }

    pub(crate) fn retry_readings(&mut self) {
        if self.recovery.retry_at.is_none_or(|at| at > self.now.mono) {
            return;
        }
        self.recovery.retry_at = None;
        if std::mem::take(&mut self.recovery.boot) {
            self.submit(None, Step::Boot, StoreRequest::Boot);
        }
        let unread = self.recovery.rooms.iter().filter(|(_, in_doubt)| !in_doubt.is_read);
        let unread: Vec<(TenantKey, RoomId)> = unread.map(|(room, _)| room.clone()).collect();
        for (tenant, room_id) in unread {
            self.recover_room(tenant, room_id, Vec::new());
        }
        for (tenant, room_id, message_id) in std::mem::take(&mut self.recovery.messages) {
            self.recover_message(tenant, room_id, message_id);
        }
        for tenant_id in std::mem::take(&mut self.recovery.tenants) {
            self.recover_tenant(tenant_id);
        }
        self.retry_expansions();
    }
}
