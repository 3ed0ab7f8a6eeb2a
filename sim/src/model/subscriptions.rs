//! Who subscribed to what.

use chatapi_core::store::{SubscribeOutcome, Subscribed};
use chatapi_core::{TenantKey, UserId};

use super::Model;
use crate::invariant::{Checked, ensure};

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSubscription {
    /// Whose.
    pub user: UserId,
    /// To what.
    pub topic: String,
    /// It was given up.
    pub is_gone: bool,
}

impl Model {
    /// A subscription of a tenant, be it given up.
    #[must_use]
    pub fn subscription(&self, tenant: u8, id: u64) -> Option<&ModelSubscription> {
        self.subscriptions.get(&(tenant, id))
    }

    /// The subscriptions of a user of a tenant, ascending by id.
    pub fn subscriptions_of(&self, tenant: u8, user: &UserId) -> impl Iterator<Item = (u64, &ModelSubscription)> {
        let own = self.subscriptions.iter().filter(move |((of, _), _)| *of == tenant);
        let user = user.clone();
        own.map(|((_, id), known)| (*id, known)).filter(move |(_, known)| known.user == user && !known.is_gone)
    }

    /// How many subscriptions of a tenant there ever were.
    #[must_use]
    pub fn subscriptions_ever(&self, tenant: u8) -> u64 {
        self.subscriptions.range((tenant, 0)..=(tenant, u64::MAX)).count() as u64
    }

    pub(super) fn subscribe(
        &mut self,
        tenant: TenantKey,
        user: &UserId,
        topic: &str,
        subscribed: &Subscribed,
    ) -> Checked {
        let Some(tenant) = self.tenant_number(tenant) else {
            ensure!(false, TenantIsolation, "{user} of a tenant that is none subscribed to {topic}");
            return Ok(());
        };
        let id = subscribed.subscription.id;
        let present = self.subscriptions_of(tenant, user).find(|(_, known)| known.topic == topic);
        let present = present.map(|(id, _)| id);
        match subscribed.outcome {
            SubscribeOutcome::New => {
                let newest = self.subscriptions.range((tenant, 0)..=(tenant, u64::MAX)).next_back();
                let expected = newest.map_or(1, |((_, id), _)| id + 1);
                ensure!(
                    present.is_none() && id == expected,
                    OperationsOnce,
                    "{user} has {present:?} to {topic}, and is given {id}, not {expected}"
                );
                let new = ModelSubscription { user: user.clone(), topic: topic.to_owned(), is_gone: false };
                self.subscriptions.insert((tenant, id), new);
            }
            SubscribeOutcome::Existing => {
                ensure!(present == Some(id), OperationsOnce, "{user} is told of {id} to {topic}, has {present:?}");
            }
        }
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, tenant: TenantKey, user: &UserId, id: u64, existed: bool) -> Checked {
        let number = self.tenant_number(tenant).unwrap_or(u8::MAX);
        let own = self.subscriptions.get_mut(&(number, id)).filter(|known| known.user == *user && !known.is_gone);
        ensure!(own.is_some() == existed, OperationsOnce, "{user} gave up {id}, existed: {existed}");
        if let Some(own) = own {
            own.is_gone = true;
        }
        Ok(())
    }
}
