//! Notifications: storing them, and those that wait for their users.

use chatapi_core::store::{
    EXPANSIONS_LISTED_MAX, NewNotification, NotificationPage, NotifyRefusal, PendingNotifications,
};
use chatapi_core::ws::notification_frame;
use chatapi_core::{NotificationId, NotificationKey, TenantKey, UnixMillis, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::expansions;
use crate::rows::text;
use crate::server_state::RemovedIds;
use crate::tenants::Standing;
use crate::{rooms, tenants};

pub(crate) fn notify(
    connection: &Connection,
    new: &NewNotification,
) -> rusqlite::Result<Result<NotificationKey, NotifyRefusal>> {
    match tenants::standing(connection, new.tenant)? {
        Standing::Served => {}
        Standing::Deleted => return Ok(Err(NotifyRefusal::NoTenant)),
    }
    if let Some(room_id) = &new.targets.room_id
        && rooms::find(connection, new.tenant, room_id)?.is_none()
    {
        return Ok(Err(NotifyRefusal::NoRoom));
    }
    let targets = serde_json::to_string(&new.targets)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let key = connection
        .prepare_cached(
            "INSERT INTO notifications (notification_id, tenant_id, created_at, durable, topic, payload, targets)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .insert(params![
            new.notification_id.as_str(),
            new.tenant.0,
            new.created_at.0,
            new.durable,
            new.topic,
            new.payload,
            targets,
        ])?;
    expansions::begin(connection, NotificationKey(key), new.tenant)?;
    Ok(Ok(NotificationKey(key)))
}

/// Those that are not expanded to their end.
pub(crate) fn list_expansions(connection: &Connection) -> rusqlite::Result<Vec<NotificationKey>> {
    connection
        .prepare_cached(
            "SELECT e.notification_key FROM notification_expansions e
             CROSS JOIN tenants t ON t.tenant_key = e.tenant_id
             WHERE t.deleted_at IS NULL
             ORDER BY e.notification_key LIMIT ?1",
        )?
        .query_map([EXPANSIONS_LISTED_MAX], |row| row.get(0).map(NotificationKey))?
        .collect()
}

pub(crate) fn read(connection: &Connection, pending: &PendingNotifications) -> rusqlite::Result<NotificationPage> {
    let PendingNotifications { tenant, user_id, after, since, limit, size_bytes } = pending;
    let mut page = NotificationPage { notifications: Vec::new(), has_more: false };
    if !tenants::is_served(connection, *tenant)? {
        return Ok(page);
    }
    let mut statement = connection.prepare_cached(
        "SELECT n.notification_key, n.notification_id, n.topic, n.payload, n.created_at
         FROM notification_targets p
         CROSS JOIN notifications n ON n.notification_key = p.notification_key
         WHERE p.tenant_id = ?1 AND p.user_id = ?2 AND p.notification_key > ?3 AND n.created_at >= ?4
         ORDER BY p.notification_key",
    )?;
    let mut rows = statement.query(params![tenant.0, user_id.as_str(), after.0, since.0])?;
    let mut size = 0;
    while let Some(row) = rows.next()? {
        let payload = text(row, 3)?;
        size += payload.len();
        let full = page.notifications.len() >= *limit as usize || size > *size_bytes as usize;
        if full && !page.notifications.is_empty() {
            page.has_more = true;
            break;
        }
        let id = NotificationId::new(text(row, 1)?);
        let frame = notification_frame(&id, text(row, 2)?, payload, UnixMillis(row.get(4)?));
        page.notifications.push((NotificationKey(row.get(0)?), frame));
    }
    Ok(page)
}

pub(crate) fn confirm(
    connection: &Connection,
    tenant: TenantKey,
    user_id: &UserId,
    notifications: &[NotificationKey],
) -> rusqlite::Result<()> {
    if !tenants::is_served(connection, tenant)? {
        return Ok(());
    }
    let mut removed = RemovedIds::default();
    for key in notifications {
        let rows = connection
            .prepare_cached(
                "DELETE FROM notification_targets WHERE notification_key = ?1 AND user_id = ?2 AND tenant_id = ?3",
            )?
            .execute(params![key.0, user_id.as_str(), tenant.0])?;
        if rows > 0 && !expansions::is_under_way(connection, *key)? {
            remove_unless_pending(connection, *key, &mut removed)?;
        }
    }
    removed.remember(connection)
}

/// Removes one that is expanded, unless it waits for somebody; says whether it does.
pub(crate) fn remove_unless_pending(
    connection: &Connection,
    key: NotificationKey,
    removed: &mut RemovedIds,
) -> rusqlite::Result<Pending> {
    let pending =
        connection.prepare_cached("SELECT 1 FROM notification_targets WHERE notification_key = ?1")?.exists([key.0])?;
    if pending {
        return Ok(Pending::ForSomebody);
    }
    remove(connection, key, removed)?;
    Ok(Pending::ForNobody)
}

/// Whether anyone has yet to get a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    ForSomebody,
    ForNobody,
}

/// Removes one that is expanded and waits for nobody.
pub(crate) fn remove(connection: &Connection, key: NotificationKey, removed: &mut RemovedIds) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM notifications WHERE notification_key = ?1 RETURNING notification_id")?
        .query_row([key.0], |row| text(row, 0).map(|id| removed.note("notif_", id)))
        .optional()
        .map(drop)
}
