//! Steps on tenants and their keys, and the sweep.

use chatapi_core::model::Tenant;
use chatapi_core::store::{
    ChangedTenant, ConfigChange, KeyRotation, StoreFailure, StoreReply, StoreRequest, TenantChange,
};
use chatapi_core::{Digest, Secret, TenantId, TenantKey, UnixMillis};

use super::{NOW, Store, ask};

pub(in crate::store_contract) fn tenant_id(number: u8) -> TenantId {
    TenantId::new(&format!("tenant_{number}"))
}

pub(in crate::store_contract) fn list_tenants(store: Store<'_>, after: Option<u8>, limit: u32) -> (Vec<String>, bool) {
    let page = answer!(store, StoreRequest::ListTenants { after: after.map(tenant_id), limit }, Tenants);
    (page.tenants.iter().map(|tenant| tenant.tenant_id.to_string()).collect(), page.has_more)
}

pub(in crate::store_contract) fn read_tenant(store: Store<'_>, number: u8) -> Option<Tenant> {
    answer!(store, StoreRequest::ReadTenant { tenant_id: tenant_id(number) }, Tenant)
}

/// A change of the first tenant.
pub(in crate::store_contract) fn change(config: ConfigChange) -> TenantChange {
    let fresh_secret = Secret::new("whsec_fresh".to_owned());
    TenantChange { tenant_id: tenant_id(1), name: None, config, fresh_secret }
}

pub(in crate::store_contract) fn change_tenant(store: Store<'_>, change: TenantChange) -> Option<ChangedTenant> {
    answer!(store, StoreRequest::ChangeTenant(Box::new(change)), TenantChanged)
}

/// Rotates a tenant's key at [`NOW`]; the old one works for `grace_ms` more.
pub(in crate::store_contract) fn rotate(
    store: Store<'_>,
    number: u8,
    api_key: u8,
    grace_ms: i64,
) -> Result<Option<TenantKey>, StoreFailure> {
    rotate_at(store, number, api_key, NOW, UnixMillis(NOW.0 + grace_ms))
}

pub(in crate::store_contract) fn rotate_at(
    store: Store<'_>,
    number: u8,
    api_key: u8,
    now: UnixMillis,
    retired_until: UnixMillis,
) -> Result<Option<TenantKey>, StoreFailure> {
    let rotation = KeyRotation { tenant_id: tenant_id(number), api_key: Digest([api_key; 32]), retired_until, now };
    let StoreReply::KeyRotated(key) = store.execute(&StoreRequest::RotateKey(rotation))? else {
        panic!("not answered as asked")
    };
    Ok(key)
}

pub(in crate::store_contract) fn delete_tenant(store: Store<'_>, number: u8) -> Option<TenantKey> {
    answer!(store, StoreRequest::DeleteTenant { tenant_id: tenant_id(number), now: NOW }, TenantDeleted)
}

/// Sweeps what is deleted.
pub(in crate::store_contract) fn sweep(store: Store<'_>) {
    sweep_before(store, UnixMillis(0), UnixMillis(0));
}

/// Sweeps to the end, in the steps that a core takes.
pub(in crate::store_contract) fn sweep_before(
    store: Store<'_>,
    notifications_before: UnixMillis,
    keys_before: UnixMillis,
) {
    for _ in 0..1_000 {
        let request = StoreRequest::Sweep { notifications_before, keys_before, rows: 8 };
        let StoreReply::Swept { has_more } = ask(store, &request) else { panic!("not answered as asked") };
        if !has_more {
            return;
        }
    }
    panic!("there is always more to sweep");
}
