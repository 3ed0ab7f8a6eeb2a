//! Tenants and their keys.

use std::collections::BTreeMap;

use chatapi_core::model::Subscription;
use chatapi_core::model::{Edit, Tenant, TenantConfig};
use chatapi_core::store::{
    ChangedTenant, KeyOwner, KeyRotation, NewTenant, SecretOutcome, StoreFailure, TenantChange, TenantPage,
};
use chatapi_core::{Digest, Secret, TenantId, TenantKey, UnixMillis};

use super::{MemoryStore, page};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredTenant {
    pub(super) tenant: Tenant,
    pub(super) is_deleted: bool,
    pub(super) api_key: Digest,
    /// Earlier keys, and until when each works.
    pub(super) retired: BTreeMap<Digest, UnixMillis>,
    pub(super) webhook_secret: Option<Secret>,
    pub(super) subscriptions: BTreeMap<u64, Subscription>,
    pub(super) last_subscription: u64,
}

impl MemoryStore {
    pub(super) fn create_tenant(&mut self, new: &NewTenant) -> Result<Tenant, StoreFailure> {
        let is_taken = self.tenants.values().any(|stored| stored.tenant.tenant_id == new.tenant_id);
        if is_taken || self.is_key_taken(new.api_key) {
            return Err(StoreFailure::Failed);
        }
        self.last_tenant += 1;
        let tenant = Tenant {
            key: TenantKey(self.last_tenant),
            tenant_id: new.tenant_id.clone(),
            name: new.name.clone(),
            config: new.config.clone(),
            created_at: new.created_at,
        };
        let stored = StoredTenant {
            tenant: tenant.clone(),
            is_deleted: false,
            api_key: new.api_key,
            retired: BTreeMap::new(),
            webhook_secret: new.webhook_secret.clone(),
            subscriptions: BTreeMap::new(),
            last_subscription: 0,
        };
        self.tenants.insert(tenant.key, stored);
        self.note_id("tenant_", new.tenant_id.as_str());
        Ok(tenant)
    }

    /// Whether a key names, or named, any tenant.
    fn is_key_taken(&self, api_key: Digest) -> bool {
        self.tenants.values().any(|stored| stored.api_key == api_key || stored.retired.contains_key(&api_key))
    }

    pub(super) fn find_tenant(&self, api_key: &Digest) -> Option<KeyOwner> {
        self.tenants.values().filter(|stored| !stored.is_deleted).find_map(|stored| {
            let valid_until = if stored.api_key == *api_key { None } else { Some(*stored.retired.get(api_key)?) };
            Some(KeyOwner { tenant: stored.tenant.clone(), valid_until })
        })
    }

    pub(super) fn list_tenants(&self, after: Option<&TenantId>, limit: u32) -> TenantPage {
        let mut all: Vec<Tenant> = self
            .tenants
            .values()
            .filter(|stored| !stored.is_deleted && after.is_none_or(|after| stored.tenant.tenant_id > *after))
            .map(|stored| stored.tenant.clone())
            .collect();
        all.sort_by(|one, other| one.tenant_id.cmp(&other.tenant_id));
        let (tenants, has_more) = page(all, limit);
        TenantPage { tenants, has_more }
    }

    fn tenant_named(&mut self, tenant_id: &TenantId) -> Option<&mut StoredTenant> {
        self.tenants.values_mut().find(|stored| stored.tenant.tenant_id == *tenant_id && !stored.is_deleted)
    }

    pub(super) fn read_tenant(&mut self, tenant_id: &TenantId) -> Option<Tenant> {
        self.tenant_named(tenant_id).map(|stored| stored.tenant.clone())
    }

    pub(super) fn change_tenant(&mut self, change: &TenantChange) -> Option<ChangedTenant> {
        let stored = self.tenant_named(&change.tenant_id)?;
        if let Some(name) = &change.name {
            stored.tenant.name.clone_from(name);
        }
        let (asked, present) = (change.config.clone(), stored.tenant.config.clone());
        stored.tenant.config = TenantConfig {
            webhook_url: asked.webhook_url.apply(present.webhook_url),
            rate_limit: asked.rate_limit.apply(present.rate_limit),
            max_message_size: asked.max_message_size.apply(present.max_message_size),
            retry_limit: asked.retry_limit.apply(present.retry_limit),
            durable_notifications: asked.durable_notifications.apply(present.durable_notifications),
        };
        let mut secret = match &asked.webhook_secret {
            Edit::Set(_) => SecretOutcome::Given,
            Edit::Keep | Edit::Clear => SecretOutcome::Kept,
        };
        stored.webhook_secret = asked.webhook_secret.apply(stored.webhook_secret.take());
        if stored.tenant.config.webhook_url.is_some() && stored.webhook_secret.is_none() {
            stored.webhook_secret = Some(change.fresh_secret.clone());
            secret = SecretOutcome::Fresh;
        }
        Some(ChangedTenant { tenant: stored.tenant.clone(), secret })
    }

    pub(super) fn rotate_key(&mut self, rotation: &KeyRotation) -> Result<Option<TenantKey>, StoreFailure> {
        let KeyRotation { tenant_id, api_key, retired_until, now } = rotation;
        let is_taken = self.is_key_taken(*api_key);
        let Some(stored) = self.tenant_named(tenant_id) else {
            return Ok(None);
        };
        if is_taken {
            return Err(StoreFailure::Failed);
        }
        let old = std::mem::replace(&mut stored.api_key, *api_key);
        stored.retired.insert(old, *retired_until);
        for until in stored.retired.values_mut() {
            *until = (*until).min(*retired_until);
        }
        stored.retired.retain(|_, until| *until > *now);
        Ok(Some(stored.tenant.key))
    }

    pub(super) fn delete_tenant(&mut self, tenant_id: &TenantId) -> Option<TenantKey> {
        let stored = self.tenant_named(tenant_id)?;
        stored.is_deleted = true;
        Some(stored.tenant.key)
    }
}
