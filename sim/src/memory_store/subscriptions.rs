//! Who wants to hear of which topic.

use chatapi_core::model::Subscription;
use chatapi_core::store::{SUBSCRIPTIONS_MAX, StoreFailure, SubscribeOutcome, SubscribeRefusal, Subscribed};
use chatapi_core::{TenantKey, UnixMillis, UserId};

use super::MemoryStore;

impl MemoryStore {
    pub(super) fn subscribe(
        &mut self,
        tenant: TenantKey,
        user_id: &UserId,
        topic: &str,
        now: UnixMillis,
    ) -> Result<Result<Subscribed, SubscribeRefusal>, StoreFailure> {
        let Some(stored) = self.known_tenant(tenant)? else {
            return Ok(Err(SubscribeRefusal::NoTenant));
        };
        let own: Vec<&Subscription> =
            stored.subscriptions.values().filter(|known| known.subscriber_id == *user_id).collect();
        if let Some(existing) = own.iter().find(|known| known.topic == topic) {
            let subscription = (*existing).clone();
            return Ok(Ok(Subscribed { subscription, outcome: SubscribeOutcome::Existing }));
        }
        if own.len() >= SUBSCRIPTIONS_MAX as usize {
            return Ok(Err(SubscribeRefusal::TooMany));
        }
        stored.last_subscription += 1;
        let subscription = Subscription {
            id: stored.last_subscription,
            subscriber_id: user_id.clone(),
            topic: topic.to_owned(),
            created_at: now,
        };
        stored.subscriptions.insert(subscription.id, subscription.clone());
        Ok(Ok(Subscribed { subscription, outcome: SubscribeOutcome::New }))
    }

    fn subscriptions(&self, tenant: TenantKey) -> impl Iterator<Item = &Subscription> {
        self.tenant(tenant).into_iter().flat_map(|stored| stored.subscriptions.values())
    }

    pub(super) fn subscribers(&self, tenant: TenantKey, topic: &str) -> impl Iterator<Item = &UserId> {
        self.subscriptions(tenant).filter(move |known| known.topic == topic).map(|known| &known.subscriber_id)
    }

    pub(super) fn list_subscriptions(&self, tenant: TenantKey, user_id: &UserId) -> Vec<Subscription> {
        self.subscriptions(tenant).filter(|known| known.subscriber_id == *user_id).cloned().collect()
    }

    pub(super) fn unsubscribe(&mut self, tenant: TenantKey, user_id: &UserId, subscription_id: u64) -> bool {
        let is_own =
            self.subscriptions(tenant).any(|known| known.id == subscription_id && known.subscriber_id == *user_id);
        if is_own && let Some(stored) = self.tenants.get_mut(&tenant) {
            stored.subscriptions.remove(&subscription_id);
        }
        is_own
    }
}
