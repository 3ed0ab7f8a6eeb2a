//! Requests on tenants, their keys and what is left of them.

use chatapi_core::model::{Edit, TenantConfig};
use chatapi_core::store::{ConfigChange, KeyRotation, NewTenant, StoreRequest, TenantChange};
use chatapi_core::{Digest, Secret, UnixMillis};

use super::{RandomRequests, stamped};

impl<N: FnMut() -> u64> RandomRequests<N> {
    pub(super) fn on_tenants(&mut self) -> StoreRequest {
        match self.below(40) {
            0..=11 => self.create_tenant(),
            12..=21 => StoreRequest::FindTenant { api_key: self.api_key() },
            22..=24 => {
                StoreRequest::ListTenants { after: self.perhaps(2, Self::tenant_id), limit: self.below(4) as u32 + 1 }
            }
            25..=27 => StoreRequest::ReadTenant { tenant_id: self.tenant_id() },
            28..=32 => self.change_tenant(),
            33..=35 => {
                let now = self.now();
                StoreRequest::RotateKey(KeyRotation {
                    tenant_id: self.tenant_id(),
                    api_key: self.api_key(),
                    retired_until: UnixMillis(now.0 + self.below(2_000) as i64 - 500),
                    now,
                })
            }
            36 => StoreRequest::DeleteTenant { tenant_id: self.tenant_id(), now: self.now() },
            _ => StoreRequest::Sweep {
                notifications_before: UnixMillis(self.now - self.below(4_000) as i64),
                keys_before: UnixMillis(self.now - self.below(2_000) as i64),
                rows: self.below(30) as u32 + 1,
            },
        }
    }

    fn create_tenant(&mut self) -> StoreRequest {
        let number = self.generation() / 8 + self.below(4);
        StoreRequest::CreateTenant(Box::new(NewTenant {
            tenant_id: chatapi_core::TenantId::new(&stamped("tenant_", number)),
            name: format!("Tenant {number}"),
            api_key: self.api_key(),
            config: TenantConfig { rate_limit: (number == 1).then_some(50), ..TenantConfig::default() },
            webhook_secret: self.perhaps(3, |_| Secret::new("whsec_first".to_owned())),
            created_at: self.now(),
        }))
    }

    fn change_tenant(&mut self) -> StoreRequest {
        let config = ConfigChange {
            webhook_url: self.edit(|_| "https://example.com/ü".to_owned()),
            webhook_secret: self.edit(|_| Secret::new("whsec_given".to_owned())),
            rate_limit: self.edit(|requests| requests.below(1_000_000_000) as u32 + 1),
            max_message_size: self.edit(|requests| requests.below(262_144) as u32 + 1),
            retry_limit: self.edit(|requests| requests.below(100) as u32 + 1),
            durable_notifications: self.edit(|requests| requests.below(2) == 0),
        };
        StoreRequest::ChangeTenant(Box::new(TenantChange {
            tenant_id: self.tenant_id(),
            name: self.perhaps(2, |_| "Ünï\u{0}".to_owned()),
            config,
            fresh_secret: Secret::new("whsec_fresh".to_owned()),
        }))
    }

    fn api_key(&mut self) -> Digest {
        let number = self.generation() / 8 + self.below(8);
        Digest([number as u8; 32])
    }

    pub(super) fn edit<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Edit<T> {
        match self.below(3) {
            0 => Edit::Keep,
            1 => Edit::Clear,
            _ => Edit::Set(draw(self)),
        }
    }
}
