//! What is read again after the store failed: the start of a run, and rooms whose newest message is in doubt.
//!
//! A commit that failed, or an answer that came too late, may have stored what was asked for. Whoever asked was told
//! that the outcome is unknown; the members must get what turns out to be stored all the same.

use std::collections::BTreeMap;

use crate::core::Core;
use crate::effect::{Effect, Event};
use crate::id::{RoomId, Seq, TenantKey, UserId};
use crate::operations::Step;
use crate::store::{StoreReply, StoreRequest, StoreResult};
use crate::time::{Micros, MonoMicros};

/// After how long a failed reading is repeated.
const RETRY_AFTER: Micros = Micros::from_secs(1);

/// What is to be read again.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    boot: bool,
    /// With the members that the room is to have, where its creation is in doubt.
    heads: BTreeMap<(TenantKey, RoomId), Vec<UserId>>,
    retry_at: Option<MonoMicros>,
}

impl Recovery {
    pub(crate) const fn next_retry(&self) -> Option<MonoMicros> {
        self.retry_at
    }
}

impl Core {
    /// Boots the store again after a moment.
    pub(crate) fn boot_later(&mut self) {
        self.recovery.boot = true;
        self.recovery.retry_at = Some(self.now.mono + RETRY_AFTER);
    }

    /// Reads a room's newest number, because something may be stored there that was never reported.
    pub(crate) fn recover_room(&mut self, tenant: TenantKey, room_id: RoomId, members: Vec<UserId>) {
        let request = StoreRequest::ReadHead { tenant, room_id: room_id.clone() };
        self.submit(Some(tenant), Step::ReadHead { room_id, members }, request);
    }

    pub(crate) fn on_head(
        &mut self,
        room_id: RoomId,
        members: Vec<UserId>,
        tenant: Option<TenantKey>,
        result: StoreResult,
    ) {
        let Some(tenant) = tenant else {
            return;
        };
        let Ok(StoreReply::Head(head)) = result else {
            self.recovery.heads.entry((tenant, room_id)).or_default().extend(members);
            self.recovery.retry_at.get_or_insert(self.now.mono + RETRY_AFTER);
            return;
        };
        if let Some(head) = head {
            self.join_online(tenant, &room_id, &members, Seq(0));
            if self.room_advanced(&room_id, head) {
                self.emit(Effect::Report(Event::RoomRecovered { room_id }));
            }
        }
    }

    pub(crate) fn retry_readings(&mut self) {
        if self.recovery.retry_at.is_none_or(|at| at > self.now.mono) {
            return;
        }
        self.recovery.retry_at = None;
        if std::mem::take(&mut self.recovery.boot) {
            self.submit(None, Step::Boot, StoreRequest::Boot);
        }
        for ((tenant, room_id), members) in std::mem::take(&mut self.recovery.heads) {
            self.recover_room(tenant, room_id, members);
        }
    }
}
