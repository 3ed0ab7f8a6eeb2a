//! What clients were answered about messages, rooms and subscriptions, compared with the model.

use chatapi_core::RoomId;
use chatapi_core::api::{PresenceStatus, Success};
use chatapi_core::model::{Message, Subscription};
use chatapi_core::store::ReceiptPage;

use super::requests::Asked;
use super::{Simulation, user_id};
use crate::action::Who;
use crate::invariant::{Checked, ensure};

impl Simulation {
    pub(super) fn check_resource(&mut self, who: Option<Who>, asked: Asked, success: &Success) -> Checked {
        match (asked, success) {
            (Asked::ReadMessage { room_id, message_id, seq }, Success::Message(message)) => {
                self.check_membership(who, &room_id)?;
                ensure!(
                    message.room_id == room_id && message.message_id == message_id && message.seq.0 == seq,
                    OneAnswer,
                    "{message_id} of {room_id} was asked for, {message:?} came"
                );
                self.check_read(message)
            }
            (Asked::EditMessage { room_id, message_id, content, .. }, Success::Message(message)) => {
                self.model.check_message(message)?;
                ensure!(
                    message.room_id == room_id && message.message_id == message_id && message.content == content,
                    OneAnswer,
                    "{message_id} was to become {content:.80}, and is {message:?}"
                );
                Ok(())
            }
            (Asked::DeleteMessage { room_id, seq, .. }, Success::Done) => {
                let is_deleted = self.model.message(&room_id, seq).is_some_and(|message| message.is_deleted());
                ensure!(is_deleted, DurableFirst, "{room_id} {seq} is said to be deleted");
                Ok(())
            }
            (Asked::ListPresence(room_id), Success::Presence { members, .. }) => {
                self.check_membership(who, &room_id)?;
                let shown = members.iter().map(|(user, _)| user);
                let expected = self.model.room(&room_id).map(|room| room.members.keys());
                ensure!(
                    shown.eq(expected.into_iter().flatten()),
                    MembersOnly,
                    "the presence in {room_id} is shown as {members:?}"
                );
                let wrong =
                    members.iter().find(|(user, status)| self.is_online(user) != (*status == PresenceStatus::Online));
                ensure!(wrong.is_none(), Presence, "in {room_id} {wrong:?} is shown");
                Ok(())
            }
            (Asked::ListReceipts(room_id), Success::Receipts(page)) => {
                self.check_membership(who, &room_id)?;
                self.check_receipts(&room_id, page)
            }
            (Asked::ChangeRoom { room_id, by_tenant, .. }, Success::Room(room)) => {
                if !by_tenant {
                    self.check_membership(who, &room_id)?;
                }
                ensure!(room.room_id == room_id, OneAnswer, "{room_id} was changed, {} came", room.room_id);
                self.check_room(room)
            }
            (
                Asked::Subscribe { topic },
                Success::SubscriptionCreated(subscription) | Success::Subscription(subscription),
            ) => {
                ensure!(subscription.topic == topic, OneAnswer, "{topic} was subscribed to, {subscription:?} came");
                self.check_subscription(who, subscription)
            }
            (Asked::ListSubscriptions, Success::Subscriptions(listed)) => self.check_subscriptions(who, listed),
            (Asked::Unsubscribe { id, .. }, Success::Done) => {
                let is_gone =
                    who.and_then(|who| self.model.subscription(who.tenant, id)).is_some_and(|one| one.is_gone);
                ensure!(is_gone, DurableFirst, "{who:?} is told that {id} is given up");
                Ok(())
            }
            (Asked::Notify { .. }, Success::Notified { notification_id, created_at }) => {
                let known = self.model.notification(notification_id.as_str());
                ensure!(
                    known.is_some_and(|(_, known)| known.created_at_ms == created_at.0),
                    DurableFirst,
                    "{notification_id:?} of {created_at:?} is said to be stored, it is {known:?}"
                );
                Ok(())
            }
            (asked, success) => {
                ensure!(false, OneAnswer, "{asked:?} was answered with {success:?}");
                Ok(())
            }
        }
    }

    /// A message that was read is what it was, and in peace what it is.
    fn check_read(&self, message: &Message) -> Checked {
        let version = self.model.check_message(message)?;
        ensure!(
            !self.is_peace || self.model.is_present(&message.room_id, message.seq.0, version),
            StableBodies,
            "in peace {message:?} is shown, as it was before"
        );
        Ok(())
    }

    fn check_receipts(&self, room_id: &RoomId, page: &ReceiptPage) -> Checked {
        let Some(room) = self.model.room(room_id) else {
            return Ok(());
        };
        let shown = page.receipts.iter().map(|receipt| &receipt.user_id);
        ensure!(
            shown.eq(room.members.keys()),
            MembersOnly,
            "the receipts of {room_id} are shown as {page:?}, its members are {:?}",
            room.members
        );
        for receipt in &page.receipts {
            let last_ack = room.last_ack(&receipt.user_id);
            ensure!(
                receipt.last_ack.0 == last_ack || (!self.is_peace && receipt.last_ack.0 < last_ack),
                AcksAndUnread,
                "{receipt:?} is shown in {room_id}, durable is {last_ack}"
            );
        }
        Ok(())
    }

    fn check_subscription(&self, who: Option<Who>, shown: &Subscription) -> Checked {
        let known = who.and_then(|who| self.model.subscription(who.tenant, shown.id));
        ensure!(
            known.is_some_and(|known| known.user == shown.subscriber_id && known.topic == shown.topic)
                && who.is_some_and(|who| user_id(who) == shown.subscriber_id),
            DurableFirst,
            "{who:?} is shown {shown:?}, it is {known:?}"
        );
        Ok(())
    }

    fn check_subscriptions(&self, who: Option<Who>, listed: &[Subscription]) -> Checked {
        for shown in listed {
            self.check_subscription(who, shown)?;
        }
        ensure!(
            listed.is_sorted_by(|one, other| one.id < other.id),
            OneAnswer,
            "subscriptions are listed out of order: {listed:?}"
        );
        let Some(who) = who.filter(|_| self.is_peace) else {
            return Ok(());
        };
        let user = user_id(who);
        let own = self.model.subscriptions_of(who.tenant, &user).map(|(id, _)| id);
        ensure!(
            listed.iter().map(|shown| shown.id).eq(own),
            (self.restart_invariant()),
            "{user} is listed with the subscriptions {listed:?}"
        );
        Ok(())
    }
}
