//! What concerns the database as a whole.

use chatapi_core::store::StoreReply;
use chatapi_core::{IdStamp, UnixMillis};
use rusqlite::{Connection, OptionalExtension};

use crate::rows::text;

pub(crate) fn boot(connection: &Connection) -> rusqlite::Result<StoreReply> {
    let epoch = connection
        .prepare_cached("SELECT value FROM server_state WHERE name = 'epoch'")?
        .query_row([], |row| row.get(0))?;
    let mut newest_id = newest_removed(connection)?;
    for newest_first in [
        "SELECT tenant_id FROM tenants WHERE tenant_id >= 'tenant_' AND tenant_id < 'tenant`' ORDER BY tenant_id DESC",
        "SELECT room_id FROM rooms WHERE room_id >= 'room_' AND room_id < 'room`' ORDER BY room_id DESC",
        "SELECT message_id FROM messages WHERE message_id >= 'msg_' AND message_id < 'msg`' ORDER BY message_id DESC",
        "SELECT notification_id FROM notifications WHERE notification_id >= 'notif_' AND notification_id < 'notif`'
         ORDER BY notification_id DESC",
    ] {
        newest_id = newest_id.max(newest_stamp(connection, newest_first)?);
    }
    Ok(StoreReply::Booted { epoch, newest_id })
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

/// Ids whose rows a step removes. The newest one is remembered: what is drawn later sorts after every id there ever was,
/// whenever its row went.
#[derive(Debug, Default)]
pub(crate) struct RemovedIds {
    newest: Option<(IdStamp, String)>,
}

impl RemovedIds {
    /// Notes an id; one that is not ours has no stamp.
    pub(crate) fn note(&mut self, prefix: &str, id: &str) {
        let Some(stamp) = IdStamp::read(id).filter(|_| id.starts_with(prefix)) else {
            return;
        };
        if self.newest.as_ref().is_none_or(|(newest, _)| stamp > *newest) {
            self.newest = Some((stamp, id.to_owned()));
        }
    }

    /// Remembers the newest of them, once the step has removed them all.
    pub(crate) fn remember(self, connection: &Connection) -> rusqlite::Result<()> {
        let Some((stamp, id)) = self.newest else {
            return Ok(());
        };
        if newest_removed(connection)?.is_some_and(|newest| newest >= stamp) {
            return Ok(());
        }
        connection
            .prepare_cached(
                "INSERT INTO server_state (name, value) VALUES ('newest_removed_id', ?1)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )?
            .execute([id])
            .map(drop)
    }
}

fn newest_removed(connection: &Connection) -> rusqlite::Result<Option<IdStamp>> {
    let stamp = connection
        .prepare_cached("SELECT value FROM server_state WHERE name = 'newest_removed_id'")?
        .query_row([], |row| Ok(IdStamp::read(text(row, 0)?)))
        .optional()?;
    Ok(stamp.flatten())
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
