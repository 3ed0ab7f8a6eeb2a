//! Steps on notifications and subscriptions, of the first tenant.

use chatapi_core::model::Subscription;
use chatapi_core::store::{
    Expansion, NewNotification, NotificationTargets, NotifyRefusal, PendingNotifications, StoreReply, StoreRequest,
    SubscribeRefusal, Subscribed,
};
use chatapi_core::{NotificationId, NotificationKey, TenantKey, UnixMillis, UserId};

use super::{FIRST, NOW, Store, ask};

/// A durable notification of the topic `news`.
pub(in crate::store_contract) fn notification(number: u32, targets: NotificationTargets) -> NewNotification {
    NewNotification {
        tenant: FIRST,
        notification_id: NotificationId::new(&format!("notif_{number}")),
        topic: "news".to_owned(),
        payload: format!("{{\"number\": {number}}}"),
        targets,
        durable: true,
        created_at: NOW,
    }
}

/// Users as targets.
pub(in crate::store_contract) fn users(ids: &[&str]) -> NotificationTargets {
    NotificationTargets { user_ids: ids.iter().map(|id| UserId::new(id)).collect(), ..NotificationTargets::default() }
}

pub(in crate::store_contract) fn notify(
    store: Store<'_>,
    new: NewNotification,
) -> Result<NotificationKey, NotifyRefusal> {
    answer!(store, StoreRequest::Notify(Box::new(new)), Notified)
}

/// Stores a notification that is not refused.
pub(in crate::store_contract) fn notified(store: Store<'_>, new: NewNotification) -> NotificationKey {
    match notify(store, new) {
        Ok(key) => key,
        Err(refusal) => panic!("{refusal:?}"),
    }
}

/// Stores a durable notification and expands it to its end.
pub(in crate::store_contract) fn notify_all(store: Store<'_>, number: u32, ids: &[&str]) -> NotificationKey {
    let key = notified(store, notification(number, users(ids)));
    while expand(store, key, 100).is_some_and(|chunk| chunk.has_more) {}
    key
}

pub(in crate::store_contract) fn expand(store: Store<'_>, key: NotificationKey, limit: u32) -> Option<Expansion> {
    answer!(store, StoreRequest::ExpandNotification { notification: key, limit }, Expanded)
}

/// The users of the next chunk, and whether more follow; `None` where the notification is expanded or gone.
pub(in crate::store_contract) fn chunk(
    store: Store<'_>,
    key: NotificationKey,
    limit: u32,
) -> Option<(Vec<String>, bool)> {
    let chunk = expand(store, key, limit)?;
    Some((chunk.users.iter().map(ToString::to_string).collect(), chunk.has_more))
}

pub(in crate::store_contract) fn expansions(store: Store<'_>) -> Vec<NotificationKey> {
    answer!(store, StoreRequest::ListExpansions, Expansions)
}

/// All that is pending for a user of the first tenant.
pub(in crate::store_contract) fn all_pending(user_id: &str) -> PendingNotifications {
    PendingNotifications {
        tenant: FIRST,
        user_id: UserId::new(user_id),
        after: NotificationKey(0),
        since: UnixMillis(0),
        limit: 10_000,
        size_bytes: 1 << 30,
    }
}

pub(in crate::store_contract) fn read_pending(
    store: Store<'_>,
    wanted: PendingNotifications,
) -> (Vec<NotificationKey>, bool) {
    let page = answer!(store, StoreRequest::ReadNotifications(wanted), Notifications);
    (page.notifications.iter().map(|(key, _)| *key).collect(), page.has_more)
}

/// Whether a user of the first tenant is told at the connect that something is pending.
pub(in crate::store_contract) fn has_pending(store: Store<'_>, user_id: &str) -> bool {
    let request = StoreRequest::LoadBacklog { tenant: FIRST, user_id: UserId::new(user_id) };
    answer!(store, request, Backlog).has_notifications
}

/// The keys of what is pending for a user of the first tenant.
pub(in crate::store_contract) fn pending(store: Store<'_>, user_id: &str) -> Vec<NotificationKey> {
    read_pending(store, all_pending(user_id)).0
}

pub(in crate::store_contract) fn confirm(
    store: Store<'_>,
    tenant: TenantKey,
    user_id: &str,
    notifications: &[NotificationKey],
) {
    let user_id = UserId::new(user_id);
    let request = StoreRequest::ConfirmNotifications { tenant, user_id, notifications: notifications.to_vec() };
    assert_eq!(ask(store, &request), StoreReply::Confirmed);
}

pub(in crate::store_contract) fn subscribe(
    store: Store<'_>,
    tenant: TenantKey,
    user_id: &str,
    topic: &str,
) -> Result<Subscribed, SubscribeRefusal> {
    let (user_id, topic) = (UserId::new(user_id), topic.to_owned());
    answer!(store, StoreRequest::Subscribe { tenant, user_id, topic, now: NOW }, Subscribed)
}

/// The id of a subscription that is not refused.
pub(in crate::store_contract) fn subscribed(store: Store<'_>, tenant: TenantKey, user_id: &str, topic: &str) -> u64 {
    match subscribe(store, tenant, user_id, topic) {
        Ok(subscribed) => subscribed.subscription.id,
        Err(refusal) => panic!("{refusal:?}"),
    }
}

pub(in crate::store_contract) fn subscriptions(
    store: Store<'_>,
    tenant: TenantKey,
    user_id: &str,
) -> Vec<Subscription> {
    answer!(store, StoreRequest::ListSubscriptions { tenant, user_id: UserId::new(user_id) }, Subscriptions)
}

pub(in crate::store_contract) fn unsubscribe(
    store: Store<'_>,
    tenant: TenantKey,
    user_id: &str,
    subscription_id: u64,
) -> bool {
    let request = StoreRequest::Unsubscribe { tenant, user_id: UserId::new(user_id), subscription_id };
    let StoreReply::Unsubscribed { existed } = ask(store, &request) else { panic!("not answered as asked") };
    existed
}
