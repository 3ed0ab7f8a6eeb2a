//! Tenants and their keys.

use chatapi_core::model::{Edit, Tenant, TenantConfig};
use chatapi_core::store::{
    ChangedTenant, ConfigChange, KeyOwner, KeyRotation, NewTenant, SecretOutcome, TenantChange, TenantPage,
};
use chatapi_core::{Digest, TenantId, TenantKey, UnixMillis};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, ffi, params};

use crate::rows::{page, text};

/// What [`tenant`] reads, in its order.
macro_rules! tenant_columns {
    () => {
        "t.tenant_key, t.tenant_id, t.name, t.config, t.created_at"
    };
}

pub(crate) fn create(connection: &Connection, new: &NewTenant) -> rusqlite::Result<Tenant> {
    forbid_taken_key(connection, &new.api_key)?;
    let key = connection
        .prepare_cached(
            "INSERT INTO tenants (tenant_id, api_key_hash, name, config, webhook_secret, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .insert(params![
            new.tenant_id.as_str(),
            new.api_key.0.as_slice(),
            new.name,
            config_text(&new.config)?,
            new.webhook_secret.as_ref().map(|secret| secret.reveal()),
            new.created_at.0,
        ])?;
    Ok(Tenant {
        key: TenantKey(key),
        tenant_id: new.tenant_id.clone(),
        name: new.name.clone(),
        config: new.config.clone(),
        created_at: new.created_at,
    })
}

pub(crate) fn key_owner(connection: &Connection, api_key: &Digest) -> rusqlite::Result<Option<KeyOwner>> {
    let present = connection
        .prepare_cached(concat!(
            "SELECT ",
            tenant_columns!(),
            " FROM tenants t WHERE t.api_key_hash = ?1 AND t.deleted_at IS NULL"
        ))?
        .query_row([api_key.0.as_slice()], |row| Ok(KeyOwner { tenant: tenant(row)?, valid_until: None }))
        .optional()?;
    if present.is_some() {
        return Ok(present);
    }
    connection
        .prepare_cached(concat!(
            "SELECT ",
            tenant_columns!(),
            ", k.retired_until FROM retired_keys k CROSS JOIN tenants t ON t.tenant_key = k.tenant_id
             WHERE k.api_key_hash = ?1 AND t.deleted_at IS NULL"
        ))?
        .query_row([api_key.0.as_slice()], |row| {
            Ok(KeyOwner { tenant: tenant(row)?, valid_until: Some(UnixMillis(row.get(5)?)) })
        })
        .optional()
}

pub(crate) fn list(connection: &Connection, after: Option<&TenantId>, limit: u32) -> rusqlite::Result<TenantPage> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        tenant_columns!(),
        " FROM tenants t WHERE t.tenant_id > ?1 AND t.deleted_at IS NULL ORDER BY t.tenant_id LIMIT ?2"
    ))?;
    // No tenant's id is empty.
    let after = after.map_or("", TenantId::as_str);
    let (tenants, has_more) = page(statement.query_and_then(params![after, i64::from(limit) + 1], tenant)?, limit)?;
    Ok(TenantPage { tenants, has_more })
}

pub(crate) fn read(connection: &Connection, tenant_id: &TenantId) -> rusqlite::Result<Option<Tenant>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            tenant_columns!(),
            " FROM tenants t WHERE t.tenant_id = ?1 AND t.deleted_at IS NULL"
        ))?
        .query_row([tenant_id.as_str()], tenant)
        .optional()
}

pub(crate) fn change(connection: &Connection, change: &TenantChange) -> rusqlite::Result<Option<ChangedTenant>> {
    let Some(mut tenant) = read(connection, &change.tenant_id)? else {
        return Ok(None);
    };
    if let Some(name) = &change.name {
        tenant.name.clone_from(name);
    }
    let before = std::mem::take(&mut tenant.config);
    tenant.config = apply(&change.config, before);
    let present: Option<String> = connection
        .prepare_cached("SELECT webhook_secret FROM tenants WHERE tenant_key = ?1")?
        .query_row([tenant.key.0], |row| row.get(0))?;
    let (secret, outcome) = match &change.config.webhook_secret {
        Edit::Set(given) => (Some(given.reveal().to_owned()), SecretOutcome::Given),
        Edit::Clear => (None, SecretOutcome::Kept),
        Edit::Keep => (present, SecretOutcome::Kept),
    };
    let (secret, outcome) = if secret.is_none() && tenant.config.webhook_url.is_some() {
        (Some(change.fresh_secret.reveal().to_owned()), SecretOutcome::Fresh)
    } else {
        (secret, outcome)
    };
    connection
        .prepare_cached("UPDATE tenants SET name = ?2, config = ?3, webhook_secret = ?4 WHERE tenant_key = ?1")?
        .execute(params![tenant.key.0, tenant.name, config_text(&tenant.config)?, secret])?;
    Ok(Some(ChangedTenant { tenant, secret: outcome }))
}

pub(crate) fn rotate_key(connection: &Connection, rotation: &KeyRotation) -> rusqlite::Result<Option<TenantKey>> {
    let KeyRotation { tenant_id, api_key, retired_until, now } = rotation;
    let Some(Tenant { key, .. }) = read(connection, tenant_id)? else {
        return Ok(None);
    };
    forbid_taken_key(connection, api_key)?;
    connection
        .prepare_cached(
            "INSERT INTO retired_keys (api_key_hash, tenant_id, retired_until)
             SELECT api_key_hash, tenant_key, ?2 FROM tenants WHERE tenant_key = ?1",
        )?
        .execute([key.0, retired_until.0])?;
    connection
        .prepare_cached("UPDATE retired_keys SET retired_until = min(retired_until, ?2) WHERE tenant_id = ?1")?
        .execute([key.0, retired_until.0])?;
    connection
        .prepare_cached("DELETE FROM retired_keys WHERE tenant_id = ?1 AND retired_until <= ?2")?
        .execute([key.0, now.0])?;
    connection
        .prepare_cached("UPDATE tenants SET api_key_hash = ?2 WHERE tenant_key = ?1")?
        .execute(params![key.0, api_key.0.as_slice()])?;
    Ok(Some(key))
}

pub(crate) fn delete(
    connection: &Connection,
    tenant_id: &TenantId,
    now: UnixMillis,
) -> rusqlite::Result<Option<TenantKey>> {
    let Some(Tenant { key, .. }) = read(connection, tenant_id)? else {
        return Ok(None);
    };
    connection
        .prepare_cached("UPDATE tenants SET deleted_at = ?2, webhook_secret = NULL WHERE tenant_key = ?1")?
        .execute([key.0, now.0])?;
    Ok(Some(key))
}

/// Whether a tenant that the core knew is there still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Served,
    Deleted,
}

/// How a tenant stands; an error for a key that was never given out. A deleted one whose row is swept counts as deleted:
/// a step may have waited all the while.
pub(crate) fn standing(connection: &Connection, tenant: TenantKey) -> rusqlite::Result<Standing> {
    if is_served(connection, tenant)? {
        return Ok(Standing::Served);
    }
    let given_out: i64 = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'tenants'")?
        .query_row([], |row| row.get(0))?;
    if (1..=given_out).contains(&tenant.0) { Ok(Standing::Deleted) } else { Err(rusqlite::Error::QueryReturnedNoRows) }
}

/// Whether there is such a tenant, and it is not deleted.
pub(crate) fn is_served(connection: &Connection, tenant: TenantKey) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM tenants WHERE tenant_key = ?1 AND deleted_at IS NULL")?.exists([tenant.0])
}

fn apply(change: &ConfigChange, before: TenantConfig) -> TenantConfig {
    let ConfigChange {
        webhook_url,
        webhook_secret: _,
        rate_limit,
        max_message_size,
        retry_limit,
        durable_notifications,
    } = change.clone();
    TenantConfig {
        webhook_url: webhook_url.apply(before.webhook_url),
        rate_limit: rate_limit.apply(before.rate_limit),
        max_message_size: max_message_size.apply(before.max_message_size),
        retry_limit: retry_limit.apply(before.retry_limit),
        durable_notifications: durable_notifications.apply(before.durable_notifications),
    }
}

/// A key names one tenant alone, whether it is the present one or retired. Each table sees to its own.
fn forbid_taken_key(connection: &Connection, api_key: &Digest) -> rusqlite::Result<()> {
    let taken = connection
        .prepare_cached(
            "SELECT 1 FROM tenants WHERE api_key_hash = ?1
             UNION ALL SELECT 1 FROM retired_keys WHERE api_key_hash = ?1",
        )?
        .exists([api_key.0.as_slice()])?;
    if taken {
        let error = ffi::Error::new(ffi::SQLITE_CONSTRAINT_UNIQUE);
        return Err(rusqlite::Error::SqliteFailure(error, Some("the API key exists".to_owned())));
    }
    Ok(())
}

fn config_text(config: &TenantConfig) -> rusqlite::Result<String> {
    serde_json::to_string(config).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn tenant(row: &Row<'_>) -> rusqlite::Result<Tenant> {
    let config: TenantConfig = serde_json::from_str(text(row, 3)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(3, Type::Text, Box::new(error)))?;
    Ok(Tenant {
        key: TenantKey(row.get(0)?),
        tenant_id: TenantId::new(text(row, 1)?),
        name: row.get(2)?,
        config,
        created_at: UnixMillis(row.get(4)?),
    })
}
