//! What the core asks of the store, compared with what clients asked of the core: the model learns from the store, and
//! must not take the core's word for who said what.

use chatapi_core::model::{Edit, Role, RoomType};
use chatapi_core::store::{Actor, Idempotency, MessageEdit, NewMessage, NewRoom, StoreRequest};
use chatapi_core::{RoomId, Seq, TenantKey, UserId};

use super::effects::{Failing, Handling};
use super::link::Owed;
use super::requests::Asked;
use super::{Phase, Simulation};
use crate::invariant::{Checked, ensure};
use crate::model::{KEY_LIFETIME_MS, key_in};

/// With fewer steps than this under way nothing is overloaded.
const LIGHT_LOAD: usize = 200;

/// A room as it is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) kind: RoomType,
    /// Sorted.
    pub(crate) members: Vec<(UserId, Role)>,
    pub(crate) metadata: String,
}

impl Simulation {
    pub(super) fn check_asked(&self, request: &StoreRequest) -> Checked {
        if let StoreRequest::AppendMessage(new) = request {
            self.check_append(new)?;
        }
        if let StoreRequest::CreateRoom(new) = request {
            self.check_create(new)?;
        }
        if let StoreRequest::EditMessage(edit) = request {
            self.check_edit(edit)?;
        }
        if let StoreRequest::DeleteMessage { room_id, message_id, actor, .. } = request {
            self.check_wish(actor, request, |asked| {
                matches!(asked, Asked::DeleteMessage { room_id: room, message_id: message, .. }
                    if room == room_id && message == message_id)
            })?;
        }
        if let StoreRequest::ChangeRoom(change) = request {
            self.check_wish(&change.actor, request, |asked| {
                matches!(asked, Asked::ChangeRoom { room_id, name, metadata, .. }
                    if *room_id == change.room_id && *name == change.name && *metadata == change.metadata)
            })?;
        }
        if let StoreRequest::Subscribe { user_id, topic, .. } = request {
            let actor = Actor::User(user_id.clone());
            self.check_wish(
                &actor,
                request,
                |asked| matches!(asked, Asked::Subscribe { topic: wanted } if wanted == topic),
            )?;
        }
        if let StoreRequest::Notify(new) = request {
            self.check_notify(new)?;
        }
        if let StoreRequest::ConfirmNotifications { user_id, notifications, .. } = request {
            self.check_confirm(user_id, notifications)?;
        }
        if let StoreRequest::Unsubscribe { user_id, subscription_id, .. } = request {
            let actor = Actor::User(user_id.clone());
            self.check_wish(
                &actor,
                request,
                |asked| matches!(asked, Asked::Unsubscribe { id, .. } if id == subscription_id),
            )?;
        }
        if let StoreRequest::Acknowledge { room_id, user_id, seq, .. } = request {
            self.check_acknowledge(room_id, user_id, *seq)?;
        }
        let process = self.process.as_ref().map(|process| (process.phase, process.has_booted));
        ensure!(
            tenant_served(request).is_none() || process == Some((Phase::Running, true)),
            CleanShutdown,
            "a client is served by a process that is {process:?}: {request:?}"
        );
        Ok(())
    }

    fn check_acknowledge(&self, room_id: &RoomId, user_id: &UserId, seq: Seq) -> Checked {
        let by_rest = self.requests.values().any(|other| {
            matches!(&other.asked, Asked::Acknowledge { room_id: room, seq: asked, .. } if room == room_id && *asked == seq.0)
                && other.who.is_some_and(|who| super::user_id(who) == *user_id)
        });
        let by_frame = self.links.values().filter(|link| link.user == *user_id).any(|link| {
            link.owed.values().any(|owed| {
                matches!(owed, Owed::Ack { room_id: room, seq: asked, .. } if room == room_id && *asked == seq.0)
            })
        });
        ensure!(by_rest || by_frame, AcksAndUnread, "nobody asked for the ack {seq} of {user_id} in {room_id}");
        Ok(())
    }

    /// Whether somebody asked for a step, in the name of who it is to be done for.
    fn check_wish(&self, actor: &Actor, request: &StoreRequest, is_it: impl Fn(&Asked) -> bool) -> Checked {
        let is_asked = self.requests.values().any(|other| {
            let by_tenant = other.asked.is_by_tenant();
            let is_theirs = match actor {
                Actor::Tenant => by_tenant,
                Actor::User(user) => !by_tenant && other.who.is_some_and(|who| super::user_id(who) == *user),
            };
            is_theirs && is_it(&other.asked)
        });
        ensure!(is_asked, MembersOnly, "nobody asked for {request:?}");
        Ok(())
    }

    /// The text of an edit says who wrote it, and where.
    fn check_edit(&self, edit: &MessageEdit) -> Checked {
        let MessageEdit { room_id, message_id, user_id, content, meta, now, .. } = edit;
        let actor = Actor::User(user_id.clone());
        self.check_wish(&actor, &StoreRequest::EditMessage(Box::new(edit.clone())), |asked| {
            matches!(asked, Asked::EditMessage { room_id: room, message_id: message, content: text, .. }
                if room == room_id && message == message_id && text == content)
        })?;
        let expected = meta_of(content).map_or(Edit::Clear, Edit::Set);
        ensure!(*meta == expected, StableBodies, "{content:.80} is to be stored with {meta:?}");
        let wall = self.now().wall;
        ensure!(*now == wall, StableBodies, "at {wall:?} an edit is stamped {now:?}");
        Ok(())
    }

    /// The text of a message says who sent it, where, and with what key.
    fn check_append(&self, new: &NewMessage) -> Checked {
        let NewMessage { room_id, sender_id, content, meta, created_at, idempotency, .. } = new;
        let mut words = content.split(' ').skip(1);
        let (room, sender) = (words.next(), words.next());
        ensure!(
            room == Some(room_id.as_str()) && sender == Some(sender_id.as_str()),
            MembersOnly,
            "{content:.80} is to be stored in {room_id} as of {sender_id}"
        );
        let key = idempotency.as_ref().map(|idempotency| idempotency.key.as_str());
        ensure!(key == key_in(content), Idempotency, "{content:.80} is to be stored under the key {key:?}");
        ensure!(
            meta.as_deref() == meta_of(content).as_deref(),
            StableBodies,
            "{content:.80} is to be stored with {meta:?}"
        );
        let now = self.now().wall;
        let valid_since = idempotency.as_ref().map(|Idempotency { valid_since, .. }| valid_since.0);
        ensure!(
            *created_at == now && valid_since.is_none_or(|since| since == now.0 - KEY_LIFETIME_MS),
            Idempotency,
            "at {now:?} a message is stamped {created_at:?}, its key counts since {valid_since:?}"
        );
        Ok(())
    }

    fn check_create(&self, new: &NewRoom) -> Checked {
        let mut members = new.members.clone();
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        let wish = Wish { kind: new.kind, members, metadata: new.metadata.clone().unwrap_or_default() };
        let is_asked = self
            .requests
            .values()
            .any(|other| matches!(&other.asked, Asked::CreateRoom { wish: Some(asked), .. } if *asked == wish));
        ensure!(is_asked, MembersOnly, "nobody asked for {wish:?}");
        Ok(())
    }

    /// 503 has a reason: the process begins or ends, the store fails, or much waits for it.
    pub(super) fn check_unavailable(&self, is_unavailable: bool, what: &str) -> Checked {
        if !is_unavailable {
            return Ok(());
        }
        let is_serving =
            self.process.as_ref().is_some_and(|process| process.phase == Phase::Running && process.has_booted);
        let has_reason = !is_serving || self.failing != Failing::Nothing || self.store.under_way() >= LIGHT_LOAD;
        ensure!(has_reason, OneAnswer, "{what} is refused for no reason, while {:?}", self.handling);
        ensure!(self.handling == Handling::Other || !self.is_peace, EveryoneCatchesUp, "in peace {what} is refused");
        Ok(())
    }
}

/// The tenant for whose client a step is; `None` for those of the core's own, and of the operator's.
pub(super) const fn tenant_served(request: &StoreRequest) -> Option<TenantKey> {
    match request {
        StoreRequest::CreateRoom(new) => Some(new.tenant),
        StoreRequest::ChangeRoom(change) => Some(change.tenant),
        StoreRequest::AddMember(new) => Some(new.tenant),
        StoreRequest::AppendMessage(new) => Some(new.tenant),
        StoreRequest::EditMessage(edit) => Some(edit.tenant),
        StoreRequest::Notify(new) => Some(new.tenant),
        StoreRequest::ListRooms { tenant, .. }
        | StoreRequest::ReadRoom { tenant, .. }
        | StoreRequest::DeleteRoom { tenant, .. }
        | StoreRequest::RemoveMember { tenant, .. }
        | StoreRequest::ListMembers { tenant, .. }
        | StoreRequest::ListReceipts { tenant, .. }
        | StoreRequest::ReadMessages { tenant, .. }
        | StoreRequest::ReadMessage { tenant, .. }
        | StoreRequest::DeleteMessage { tenant, .. }
        | StoreRequest::Acknowledge { tenant, .. }
        | StoreRequest::Subscribe { tenant, .. }
        | StoreRequest::ListSubscriptions { tenant, .. }
        | StoreRequest::Unsubscribe { tenant, .. } => Some(*tenant),
        StoreRequest::Boot
        | StoreRequest::CheckWritable { .. }
        | StoreRequest::CreateTenant(_)
        | StoreRequest::FindTenant { .. }
        | StoreRequest::ListTenants { .. }
        | StoreRequest::ReadTenant { .. }
        | StoreRequest::ChangeTenant(_)
        | StoreRequest::RotateKey(_)
        | StoreRequest::DeleteTenant { .. }
        | StoreRequest::LoadBacklog { .. }
        | StoreRequest::LoadPositions { .. }
        | StoreRequest::RereadMessage { .. }
        | StoreRequest::ReadFrames { .. }
        | StoreRequest::ReadHead { .. }
        | StoreRequest::ListExpansions
        | StoreRequest::ExpandNotification { .. }
        | StoreRequest::ReadNotifications(_)
        | StoreRequest::ConfirmNotifications { .. }
        | StoreRequest::Sweep { .. } => None,
    }
}

/// What comes with a message: it follows from its text, so that a body is known by that.
pub(crate) fn meta_of(content: &str) -> Option<String> {
    let tenant = content.split('>').next()?.strip_prefix("<t")?;
    let padding = content.rsplit(' ').next()?;
    (padding.chars().count() == 10).then(|| format!(r#"{{"of":"<t{tenant}>"}}"#))
}
