//! Removing what nobody can see any more, a little at a time.
//!
//! A step must be over before anyone notices, so each statement takes a few rows by an index. What counts is pages: a row
//! whose text spills over counts for more than one.

use chatapi_core::{NotificationKey, TenantKey, UnixMillis, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::rows::text;
use crate::server_state::RemovedIds;
use crate::{expansions, members, notifications, positions};

/// Removes at most `rows` rows; says whether there may be more.
pub(crate) fn sweep(
    connection: &Connection,
    notifications_before: UnixMillis,
    keys_before: UnixMillis,
    rows: u32,
) -> rusqlite::Result<bool> {
    let mut sweep = Sweep { connection, left: rows.max(1), removed: RemovedIds::default() };
    sweep.retired_keys(keys_before)?;
    sweep.old_notifications(notifications_before)?;
    sweep.deleted_rooms()?;
    sweep.deleted_tenants()?;
    let Sweep { left, removed, .. } = sweep;
    removed.remember(connection)?;
    Ok(left == 0)
}

/// So many bytes of text cost about as much to remove as a row.
const BYTES_PER_ROW: u32 = 16 * 1024;

struct Sweep<'c> {
    connection: &'c Connection,
    /// How many rows may go still. Whatever is found to be empty, with rows left, is empty.
    left: u32,
    removed: RemovedIds,
}

impl Sweep<'_> {
    fn retired_keys(&mut self, before: UnixMillis) -> rusqlite::Result<()> {
        self.delete(
            "DELETE FROM retired_keys WHERE api_key_hash IN
               (SELECT api_key_hash FROM retired_keys WHERE retired_until < ?1 LIMIT ?2)",
            before.0,
        )
    }

    fn old_notifications(&mut self, before: UnixMillis) -> rusqlite::Result<()> {
        self.notifications("SELECT notification_key FROM notifications WHERE created_at < ?1 LIMIT 1", before.0)
    }

    fn deleted_rooms(&mut self) -> rusqlite::Result<()> {
        while self.left > 0 {
            let room = self
                .connection
                .prepare_cached(
                    "SELECT room_key, tenant_id FROM rooms WHERE deleted_at IS NOT NULL ORDER BY room_key LIMIT 1",
                )?
                .query_row([], |row| Ok((row.get(0)?, row.get(1).map(TenantKey)?)))
                .optional()?;
            let Some((room_key, tenant)) = room else { break };
            self.room(room_key, tenant)?;
        }
        Ok(())
    }

    fn deleted_tenants(&mut self) -> rusqlite::Result<()> {
        while self.left > 0 {
            let tenant = self
                .connection
                .prepare_cached(
                    "SELECT tenant_key FROM tenants WHERE deleted_at IS NOT NULL ORDER BY tenant_key LIMIT 1",
                )?
                .query_row([], |row| row.get(0).map(TenantKey))
                .optional()?;
            let Some(tenant) = tenant else { break };
            self.tenant(tenant)?;
        }
        Ok(())
    }

    fn tenant(&mut self, tenant: TenantKey) -> rusqlite::Result<()> {
        while self.left > 0 {
            let room = self
                .connection
                .prepare_cached("SELECT room_key FROM rooms WHERE tenant_id = ?1 LIMIT 1")?
                .query_row([tenant.0], |row| row.get(0))
                .optional()?;
            let Some(room_key) = room else { break };
            self.room(room_key, tenant)?;
        }
        self.notifications("SELECT notification_key FROM notifications WHERE tenant_id = ?1 LIMIT 1", tenant.0)?;
        self.delete(
            "DELETE FROM subscriptions WHERE (tenant_id, subscription_id) IN
               (SELECT tenant_id, subscription_id FROM subscriptions WHERE tenant_id = ?1 LIMIT ?2)",
            tenant.0,
        )?;
        self.delete(
            "DELETE FROM retired_keys WHERE api_key_hash IN
               (SELECT api_key_hash FROM retired_keys WHERE tenant_id = ?1 LIMIT ?2)",
            tenant.0,
        )?;
        if self.left > 0 {
            let delete = "DELETE FROM tenants WHERE tenant_key = ?1 RETURNING tenant_id";
            self.delete_named(delete, "tenant_", tenant.0)?;
        }
        Ok(())
    }

    fn room(&mut self, room_key: i64, tenant: TenantKey) -> rusqlite::Result<()> {
        self.messages(room_key)?;
        self.delete(
            "DELETE FROM idempotency_keys WHERE (chatroom_id, sender_id, key) IN
               (SELECT chatroom_id, sender_id, key FROM idempotency_keys WHERE chatroom_id = ?1 LIMIT ?2)",
            room_key,
        )?;
        self.members(room_key, tenant)?;
        if self.left > 0 {
            self.delete_named("DELETE FROM rooms WHERE room_key = ?1 RETURNING room_id", "room_", room_key)?;
        }
        Ok(())
    }

    fn messages(&mut self, room_key: i64) -> rusqlite::Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        let mut select = self.connection.prepare_cached(
            "SELECT message_key, message_id, octet_length(content) + coalesce(octet_length(meta), 0)
             FROM messages WHERE chatroom_id = ?1 ORDER BY seq LIMIT ?2",
        )?;
        let found = select
            .query_map(params![room_key, self.left], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, u32>(2)?))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let mut delete = self.connection.prepare_cached("DELETE FROM messages WHERE message_key = ?1")?;
        for (key, message_id, size) in found {
            if self.left == 0 {
                break;
            }
            delete.execute([key])?;
            self.removed.note("msg_", &message_id);
            self.count(1 + size / BYTES_PER_ROW);
        }
        Ok(())
    }

    /// With the members goes where they stand.
    fn members(&mut self, room_key: i64, tenant: TenantKey) -> rusqlite::Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        let users = self
            .connection
            .prepare_cached("SELECT user_id FROM room_members WHERE chatroom_id = ?1 LIMIT ?2")?
            .query_and_then(params![room_key, self.left], |row| text(row, 0).map(UserId::new))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        for user_id in users {
            if self.left == 0 {
                break;
            }
            if positions::end(self.connection, tenant, room_key, &user_id)? {
                self.count(1);
            }
            if self.left == 0 {
                break;
            }
            members::delete(self.connection, room_key, &user_id)?;
            self.count(1);
        }
        Ok(())
    }

    /// Removes notifications, each the one that `next` finds.
    fn notifications(&mut self, next: &str, parameter: i64) -> rusqlite::Result<()> {
        while self.left > 0 {
            let key = self
                .connection
                .prepare_cached(next)?
                .query_row([parameter], |row| row.get(0).map(NotificationKey))
                .optional()?;
            let Some(key) = key else { break };
            self.notification(key)?;
        }
        Ok(())
    }

    fn notification(&mut self, key: NotificationKey) -> rusqlite::Result<()> {
        if expansions::end(self.connection, key)? {
            self.count(1);
        }
        self.delete(
            "DELETE FROM notification_targets WHERE (notification_key, user_id) IN
               (SELECT notification_key, user_id FROM notification_targets WHERE notification_key = ?1 LIMIT ?2)",
            key.0,
        )?;
        if self.left > 0 {
            let size: u32 = self
                .connection
                .prepare_cached(
                    "SELECT octet_length(payload) + coalesce(octet_length(targets), 0) FROM notifications
                     WHERE notification_key = ?1",
                )?
                .query_row([key.0], |row| row.get(0))?;
            notifications::remove(self.connection, key, &mut self.removed)?;
            self.count(1 + size / BYTES_PER_ROW);
        }
        Ok(())
    }

    /// Deletes as many rows as may go, by a statement that takes a parameter and their number.
    fn delete(&mut self, statement: &str, parameter: i64) -> rusqlite::Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        let rows = self.connection.prepare_cached(statement)?.execute(params![parameter, self.left])?;
        self.count(u32::try_from(rows).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Deletes the row of a key, which has an id.
    fn delete_named(&mut self, statement: &str, prefix: &str, key: i64) -> rusqlite::Result<()> {
        let id: String = self.connection.prepare_cached(statement)?.query_row([key], |row| row.get(0))?;
        self.removed.note(prefix, &id);
        self.count(1);
        Ok(())
    }

    fn count(&mut self, rows: u32) {
        self.left = self.left.saturating_sub(rows);
    }
}
