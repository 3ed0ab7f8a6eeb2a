//! Requests on notifications and subscriptions.

use chatapi_core::store::{NewNotification, NotificationTargets, PendingNotifications, StoreRequest};
use chatapi_core::{NotificationId, NotificationKey, UnixMillis, UserId};

use super::{RandomRequests, stamped};

impl<N: FnMut() -> u64> RandomRequests<N> {
    pub(super) fn on_notifications(&mut self) -> StoreRequest {
        let ((tenant, _), user_id) = (self.place(), self.user_id());
        match self.below(24) {
            0..=4 => self.notify(),
            5 => StoreRequest::ListExpansions,
            6..=10 => {
                StoreRequest::ExpandNotification { notification: self.notification(), limit: self.below(3) as u32 + 1 }
            }
            11..=13 => StoreRequest::ReadNotifications(PendingNotifications {
                tenant,
                user_id,
                after: match self.below(2) {
                    0 => NotificationKey(0),
                    _ => self.notification(),
                },
                since: UnixMillis(self.now - self.below(3_000) as i64),
                limit: self.below(4) as u32,
                size_bytes: self.below(60) as u32,
            }),
            14 | 15 => StoreRequest::ConfirmNotifications {
                tenant,
                user_id,
                notifications: (0..self.below(4)).map(|_| self.notification()).collect(),
            },
            16..=19 => StoreRequest::Subscribe { tenant, user_id, topic: self.topic(), now: self.now() },
            20 | 21 => StoreRequest::ListSubscriptions { tenant, user_id },
            _ => StoreRequest::Unsubscribe { tenant, user_id, subscription_id: self.below(12) },
        }
    }

    fn notify(&mut self) -> StoreRequest {
        self.notifications += 1;
        // Now and then an id that was drawn before.
        let number = if self.below(20) == 0 { self.below(self.notifications) } else { self.notifications };
        let mut user_ids: Vec<UserId> = (0..self.below(4)).map(|_| self.user_id()).collect();
        user_ids.sort();
        user_ids.dedup();
        let (tenant, room_id) = self.place();
        let targets = NotificationTargets {
            user_ids,
            room_id: self.perhaps(3, |_| room_id),
            topic_subscribers: self.below(3) == 0,
        };
        StoreRequest::Notify(Box::new(NewNotification {
            tenant,
            notification_id: NotificationId::new(&stamped("notif_", number)),
            topic: self.topic(),
            payload: format!(" \"{}\"", "é".repeat(self.below(15) as usize)),
            targets,
            durable: self.below(4) > 0,
            created_at: self.now(),
        }))
    }

    fn topic(&mut self) -> String {
        ["news", "News", "n\u{0}", "ünï"][self.below(4) as usize].to_owned()
    }
}
