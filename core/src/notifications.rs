//! Notifications: stored with their targets, then expanded chunk by chunk, told at once to those who are online, and kept
//! for the others until they were reached (protocol, section 6).

use std::collections::VecDeque;

use crate::api::{ApiError, ErrorCode, Notify, Success, wrong_reply};
use crate::auth::{overloaded, unknown_key};
use crate::core::{Core, Phase};
use crate::id::{ConnId, NotificationId, NotificationKey, TenantKey};
use crate::operations::{Origin, Step};
use crate::store::{
    EXPANSIONS_LISTED_MAX, Expansion, Lane, NewNotification, NotificationTargets, NotifyRefusal, StoreFailure,
    StoreReply, StoreRequest, StoreResult, SubscribeOutcome, SubscribeRefusal, Subscribed,
};
use crate::time::UnixMillis;

/// How many users a step expands a notification to.
const USERS_PER_STEP: u32 = 32;
/// How many notifications are expanded at once; they take turns.
const EXPANDING_MAX: usize = 8;
/// How many wait to be expanded before further ones are refused.
const WAITING_MAX: usize = 100_000;

/// Notifications that are not expanded to their end.
#[derive(Debug, Default)]
pub(crate) struct Expansions {
    waiting: VecDeque<NotificationKey>,
    under_way: usize,
    listing: Listing,
}

/// What is known of those that an earlier run left.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Listing {
    /// They are all listed.
    #[default]
    Done,
    /// There are more than were listed: the rest is listed once those are expanded.
    Partial,
    /// They are to be listed at the next retry.
    Failed,
}

impl Core {
    pub(crate) fn notify(&mut self, origin: Origin, tenant: TenantKey, notify: Notify) {
        // Asked before whoever is online is listed: that list may be long.
        let is_full = !self.operations.has_room(Lane::Write, Some(tenant));
        if is_full || self.expansions.waiting.len() >= WAITING_MAX {
            return self.answer(origin, Err(overloaded()));
        }
        let Notify { topic, payload, targets } = notify;
        let targets = targets.unwrap_or_else(|| NotificationTargets {
            user_ids: self.sessions.online_users(tenant),
            ..NotificationTargets::default()
        });
        let durable = self.tenants.get(tenant).and_then(|tenant| tenant.config.durable_notifications);
        let created_at = self.now.wall;
        let notification_id = self.ids.notification(created_at);
        let request = StoreRequest::Notify(Box::new(NewNotification {
            tenant,
            notification_id: notification_id.clone(),
            topic,
            payload,
            targets,
            durable: durable.unwrap_or(true),
            created_at,
        }));
        self.submit_for(tenant, origin, request, |origin| Step::Notify { origin, notification_id, created_at });
    }

    pub(crate) fn on_notified(
        &mut self,
        origin: Origin,
        notification_id: NotificationId,
        created_at: UnixMillis,
        result: StoreResult,
    ) {
        match result {
            Ok(StoreReply::Notified(Ok(notification))) => {
                self.expansions.waiting.push_back(notification);
                self.answer(origin, Ok(Success::Notified { notification_id, created_at }));
                self.expand();
            }
            Ok(StoreReply::Notified(Err(refusal))) => self.answer(origin, Err(refusal.into())),
            Ok(_) => self.answer(origin, Err(wrong_reply())),
            Err(failure) => {
                if failure == StoreFailure::OutcomeUnknown {
                    // It may be stored: then it is to be found among the others.
                    self.list_expansions_later();
                }
                self.refuse(origin, failure);
            }
        }
    }

    /// Finds the notifications that an earlier run did not expand to their end.
    pub(crate) fn list_expansions(&mut self) {
        self.expansions.listing = Listing::Done;
        self.submit(None, Step::ListExpansions, StoreRequest::ListExpansions);
    }

    /// Finds them after a moment.
    fn list_expansions_later(&mut self) {
        self.expansions.listing = Listing::Failed;
        self.retry_later();
    }

    pub(crate) fn retry_expansions(&mut self) {
        if self.expansions.listing == Listing::Failed {
            self.list_expansions();
        }
    }

    pub(crate) fn on_expansions_listed(&mut self, result: StoreResult) {
        match result {
            Ok(StoreReply::Expansions(notifications)) => {
                if notifications.len() >= EXPANSIONS_LISTED_MAX as usize {
                    self.expansions.listing = Listing::Partial;
                }
                self.expansions.waiting.extend(notifications);
                self.expand();
            }
            Ok(_) | Err(_) => self.list_expansions_later(),
        }
    }

    /// Goes on with the notifications whose turn it is.
    fn expand(&mut self) {
        // The next run goes on where a shutdown stops it.
        while self.expansions.under_way < EXPANDING_MAX && self.phase == Phase::Serving {
            let Some(notification) = self.expansions.waiting.pop_front() else {
                if self.expansions.under_way == 0 && self.expansions.listing == Listing::Partial {
                    self.list_expansions();
                }
                return;
            };
            self.expansions.under_way += 1;
            let request = StoreRequest::ExpandNotification { notification, limit: USERS_PER_STEP };
            self.submit(None, Step::Expand { notification }, request);
        }
    }

    pub(crate) fn on_expanded(&mut self, notification: NotificationKey, result: StoreResult) {
        self.expansions.under_way -= 1;
        match result {
            Ok(StoreReply::Expanded(Some(expansion))) => {
                self.publish_notification(notification, &expansion);
                if expansion.has_more {
                    self.expansions.waiting.push_back(notification);
                }
            }
            Ok(StoreReply::Expanded(None)) => {}
            // What was expanded and never reported waits for its users to connect anew, unless it is found here.
            Ok(_) | Err(_) => self.list_expansions_later(),
        }
        self.expand();
    }

    fn publish_notification(&mut self, notification: NotificationKey, expansion: &Expansion) {
        let mut receivers = Vec::new();
        for user in &expansion.users {
            let conns = if expansion.durable {
                // The others find it among the pending ones.
                self.sessions.joined_conns_of(expansion.tenant, user)
            } else {
                self.sessions.conns_of(expansion.tenant, user)
            };
            receivers.extend(conns.into_iter().filter(|conn| {
                let session = self.sessions.get_mut(*conn);
                session.is_some_and(|session| !(expansion.durable && session.defers_notification(notification)))
            }));
        }
        self.send_all(receivers.clone(), expansion.frame.clone());
        if expansion.durable {
            for conn in receivers {
                if let Some(session) = self.sessions.get_mut(conn) {
                    session.await_confirmation(notification);
                }
            }
        }
    }

    /// Forgets the notifications that reached a connection, a few at a time: each may have a large payload, and the
    /// writer is to be held for a moment only.
    pub(crate) fn confirm_notifications(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(conn).filter(|session| session.has_confirmed()) else {
            return;
        };
        let tenant = session.tenant;
        if !self.operations.has_room(Lane::Write, Some(tenant)) {
            return;
        }
        let (user_id, notifications) = (session.user.clone(), session.take_confirmed());
        let request = StoreRequest::ConfirmNotifications { tenant, user_id, notifications };
        self.submit(Some(tenant), Step::Confirm { conn }, request);
    }
}

impl From<NotifyRefusal> for ApiError {
    fn from(refusal: NotifyRefusal) -> Self {
        match refusal {
            NotifyRefusal::NoRoom => Self::no_room(),
            NotifyRefusal::NoTenant => unknown_key(),
        }
    }
}

impl From<SubscribeRefusal> for ApiError {
    fn from(refusal: SubscribeRefusal) -> Self {
        match refusal {
            SubscribeRefusal::TooMany => {
                Self::new(ErrorCode::Conflict, "a user has 1,000 subscriptions at most: delete one first")
            }
            SubscribeRefusal::NoTenant => unknown_key(),
        }
    }
}

impl From<Subscribed> for Success {
    fn from(subscribed: Subscribed) -> Self {
        match subscribed.outcome {
            SubscribeOutcome::New => Self::SubscriptionCreated(subscribed.subscription),
            SubscribeOutcome::Existing => Self::Subscription(subscribed.subscription),
        }
    }
}

/// 404 for a subscription that is another's or none.
pub(crate) fn no_subscription() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "the user has no such subscription")
}
