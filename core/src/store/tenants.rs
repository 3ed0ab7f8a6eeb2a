//! Steps on tenants and their keys.

use serde::{Deserialize, Serialize};

use crate::id::TenantId;
use crate::model::{Edit, Tenant, TenantConfig};
use crate::secret::{Digest, Secret};
use crate::time::UnixMillis;

/// A tenant to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTenant {
    /// Its id.
    pub tenant_id: TenantId,
    /// Its name.
    pub name: String,
    /// The digest of its API key.
    pub api_key: Digest,
    /// Its settings.
    pub config: TenantConfig,
    /// The key its webhooks are signed with.
    pub webhook_secret: Option<Secret>,
    /// The stamp.
    pub created_at: UnixMillis,
}

/// Whom an API key names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOwner {
    /// The tenant, who is not deleted.
    pub tenant: Tenant,
    /// Until when the key works; `None` for the tenant's present one. A store hands out retired keys past it too.
    pub valid_until: Option<UnixMillis>,
}

/// A page of tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantPage {
    /// Ascending by id, which is oldest first.
    pub tenants: Vec<Tenant>,
    /// Whether more follow.
    pub has_more: bool,
}

/// A change of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantChange {
    /// Which.
    pub tenant_id: TenantId,
    /// Its new name; `None` keeps it.
    pub name: Option<String>,
    /// Its settings.
    pub config: ConfigChange,
    /// Becomes the webhook secret where there is a `webhook_url` after the change and no secret.
    pub fresh_secret: Secret,
}

/// A change of a tenant's settings, key by key; clearing one resets it to its default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConfigChange {
    /// Where webhooks go.
    pub webhook_url: Edit<String>,
    /// What they are signed with.
    pub webhook_secret: Edit<Secret>,
    /// Tokens a second.
    pub rate_limit: Edit<u32>,
    /// Longest `content` in bytes.
    pub max_message_size: Edit<u32>,
    /// Attempts of a webhook in all.
    pub retry_limit: Edit<u32>,
    /// Whether notifications wait for those who are offline.
    pub durable_notifications: Edit<bool>,
}

/// A tenant that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedTenant {
    /// As it is now.
    pub tenant: Tenant,
    /// What became of its webhook secret.
    pub secret: SecretOutcome,
}

/// What a change of a tenant did to its webhook secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretOutcome {
    /// It is as before, or there is none.
    Kept,
    /// It is the given one.
    Given,
    /// It is the fresh one.
    Fresh,
}

/// A new API key for a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotation {
    /// Whose.
    pub tenant_id: TenantId,
    /// The digest of the new key.
    pub api_key: Digest,
    /// Until when the old key works. Those that were retired earlier work no longer than this either.
    pub retired_until: UnixMillis,
    /// The stamp; keys that were retired until before it may be forgotten.
    pub now: UnixMillis,
}
