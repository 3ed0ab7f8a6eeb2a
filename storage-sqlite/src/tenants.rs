//! Tenants, and what concerns the database as a whole.

use chatapi_core::model::{Tenant, TenantConfig};
use chatapi_core::store::{NewTenant, StoreReply};
use chatapi_core::{Digest, IdStamp, TenantId, TenantKey, UnixMillis};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::rows::text;

pub(crate) fn boot(connection: &Connection) -> rusqlite::Result<StoreReply> {
    let epoch = connection.query_row("SELECT value FROM server_state WHERE name = 'epoch'", [], |row| row.get(0))?;
    let mut newest_id = None;
    for newest_first in [
        "SELECT tenant_id FROM tenants WHERE tenant_id >= 'tenant_' AND tenant_id < 'tenant`' ORDER BY tenant_id DESC",
        "SELECT room_id FROM rooms WHERE room_id >= 'room_' AND room_id < 'room`' ORDER BY room_id DESC",
        "SELECT message_id FROM messages WHERE message_id >= 'msg_' AND message_id < 'msg`' ORDER BY message_id DESC",
    ] {
        newest_id = newest_id.max(newest_stamp(connection, newest_first)?);
    }
    Ok(StoreReply::Booted { epoch, newest_id })
}

/// Imported ids may sort among ours: the first that is ours counts.
fn newest_stamp(connection: &Connection, newest_first: &str) -> rusqlite::Result<Option<IdStamp>> {
    let mut statement = connection.prepare(newest_first)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(stamp) = IdStamp::read(text(row, 0)?) {
            return Ok(Some(stamp));
        }
    }
    Ok(None)
}

pub(crate) fn check_writable(connection: &Connection, now: UnixMillis) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO server_state (name, value) VALUES ('checked_at', ?1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute([now.0])
        .map(drop)
}

pub(crate) fn create(connection: &Connection, new: &NewTenant) -> rusqlite::Result<Tenant> {
    let config =
        serde_json::to_string(&new.config).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let key = connection
        .prepare_cached(
            "INSERT INTO tenants (tenant_id, api_key_hash, name, config, webhook_secret, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .insert(params![
            new.tenant_id.as_str(),
            new.api_key.0.as_slice(),
            new.name,
            config,
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

pub(crate) fn find(connection: &Connection, api_key: &Digest) -> rusqlite::Result<Option<Tenant>> {
    connection
        .prepare_cached("SELECT tenant_key, tenant_id, name, config, created_at FROM tenants WHERE api_key_hash = ?1")?
        .query_row([api_key.0.as_slice()], tenant)
        .optional()
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
