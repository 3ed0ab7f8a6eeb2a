//! Giving a notification to its users, chunk by chunk, each user once: those who are named, the members of the room and the
//! subscribers in one ascending order. The last user alone then tells how far it got, and whoever becomes or ceases to be
//! one of them meanwhile is neither overlooked on account of it nor told twice.

use chatapi_core::store::{Expansion, NotificationTargets, PENDING_NOTIFICATIONS_MAX};
use chatapi_core::ws::{Frame, notification_frame};
use chatapi_core::{NotificationId, NotificationKey, TenantKey, UnixMillis, UserId};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::notifications::{self, Pending};
use crate::rooms;
use crate::rows::text;
use crate::server_state::RemovedIds;

/// The next users; `None` where the notification is expanded, or it or its tenant is gone.
pub(crate) fn expand(connection: &Connection, key: NotificationKey, limit: u32) -> rusqlite::Result<Option<Expansion>> {
    let Some(underway) = find(connection, key)? else {
        return Ok(None);
    };
    let Underway { tenant, durable, .. } = underway;
    let limit = limit as usize;
    // One past the limit tells whether there is more.
    let mut next = Audience::of(connection, &underway)?.past(&underway.after, limit.saturating_add(1))?;
    let has_more = next.len() > limit;
    next.truncate(limit);
    let mut removed = RemovedIds::default();
    if durable {
        for user_id in &next {
            add_pending(connection, key, tenant, user_id, &mut removed)?;
        }
    }
    if !has_more {
        end(connection, key)?;
        match notifications::remove_unless_pending(connection, key, &mut removed)? {
            Pending::ForSomebody => forget_targets(connection, key)?,
            Pending::ForNobody => {}
        }
    } else if let Some(last) = next.last() {
        keep_place(connection, key, last)?;
    }
    removed.remember(connection)?;
    Ok(Some(Expansion { tenant, frame: underway.frame, durable, users: next, has_more }))
}

/// From here on the notification is under way.
pub(crate) fn begin(connection: &Connection, key: NotificationKey, tenant: TenantKey) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO notification_expansions (notification_key, tenant_id, after_user) VALUES (?1, ?2, '')",
        )?
        .execute([key.0, tenant.0])
        .map(drop)
}

pub(crate) fn is_under_way(connection: &Connection, key: NotificationKey) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM notification_expansions WHERE notification_key = ?1")?.exists([key.0])
}

/// Nobody gets the notification any more; says whether it was under way.
pub(crate) fn end(connection: &Connection, key: NotificationKey) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("DELETE FROM notification_expansions WHERE notification_key = ?1")?
        .execute([key.0])
        .map(|rows| rows > 0)
}

/// A notification that is not expanded to its end.
struct Underway {
    tenant: TenantKey,
    /// The last user who got it. No user's id is empty: the empty one stands before the first.
    after: UserId,
    durable: bool,
    topic: String,
    frame: Frame,
    targets: NotificationTargets,
}

fn find(connection: &Connection, key: NotificationKey) -> rusqlite::Result<Option<Underway>> {
    connection
        .prepare_cached(
            "SELECT e.tenant_id, e.after_user, n.durable, n.notification_id, n.topic, n.payload, n.created_at, n.targets
             FROM notification_expansions e
             CROSS JOIN notifications n ON n.notification_key = e.notification_key
             CROSS JOIN tenants t ON t.tenant_key = e.tenant_id
             WHERE e.notification_key = ?1 AND t.deleted_at IS NULL",
        )?
        .query_row([key.0], underway)
        .optional()
}

fn underway(row: &Row<'_>) -> rusqlite::Result<Underway> {
    let topic: String = row.get(4)?;
    let id = NotificationId::new(text(row, 3)?);
    let frame = notification_frame(&id, &topic, text(row, 5)?, UnixMillis(row.get(6)?));
    let mut targets: NotificationTargets = serde_json::from_str(text(row, 7)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(7, Type::Text, Box::new(error)))?;
    // They should be sorted, and then this costs nothing.
    targets.user_ids.sort_unstable();
    Ok(Underway {
        tenant: TenantKey(row.get(0)?),
        after: UserId::new(text(row, 1)?),
        durable: row.get(2)?,
        topic,
        frame,
        targets,
    })
}

/// Whom a notification is for, as the tables now say.
struct Audience<'a> {
    connection: &'a Connection,
    tenant: TenantKey,
    /// Ascending.
    user_ids: &'a [UserId],
    /// A room that is deleted has no members.
    room_key: Option<i64>,
    topic: Option<&'a str>,
}

impl<'a> Audience<'a> {
    fn of(connection: &'a Connection, underway: &'a Underway) -> rusqlite::Result<Self> {
        let Underway { tenant, topic, targets, .. } = underway;
        let NotificationTargets { user_ids, room_id, topic_subscribers } = targets;
        let room = match room_id {
            Some(room_id) => rooms::find(connection, *tenant, room_id)?,
            None => None,
        };
        Ok(Self {
            connection,
            tenant: *tenant,
            user_ids,
            room_key: room.map(|room| room.key),
            topic: topic_subscribers.then_some(topic),
        })
    }

    /// The first `count` users past one.
    fn past(&self, after: &UserId, count: usize) -> rusqlite::Result<Vec<UserId>> {
        let mut users = self.named(after, count);
        users.extend(self.members(after, count)?);
        users.extend(self.subscribers(after, count)?);
        users.sort_unstable();
        users.dedup();
        users.truncate(count);
        Ok(users)
    }

    fn named(&self, after: &UserId, count: usize) -> Vec<UserId> {
        let past = self.user_ids.partition_point(|user_id| user_id <= after);
        self.user_ids[past..].iter().take(count).cloned().collect()
    }

    fn members(&self, after: &UserId, count: usize) -> rusqlite::Result<Vec<UserId>> {
        let Some(room_key) = self.room_key else {
            return Ok(Vec::new());
        };
        self.connection
            .prepare_cached(
                "SELECT user_id FROM room_members WHERE chatroom_id = ?1 AND user_id > ?2 ORDER BY user_id",
            )?
            .query_and_then(params![room_key, after.as_str()], user_id)?
            .take(count)
            .collect()
    }

    fn subscribers(&self, after: &UserId, count: usize) -> rusqlite::Result<Vec<UserId>> {
        let Some(topic) = self.topic else {
            return Ok(Vec::new());
        };
        self.connection
            .prepare_cached(
                "SELECT subscriber_id FROM subscriptions WHERE tenant_id = ?1 AND topic = ?2 AND subscriber_id > ?3
                 ORDER BY subscriber_id",
            )?
            .query_and_then(params![self.tenant.0, topic, after.as_str()], user_id)?
            .take(count)
            .collect()
    }
}

fn user_id(row: &Row<'_>) -> rusqlite::Result<UserId> {
    text(row, 0).map(UserId::new)
}

/// Puts a notification among those that wait for a user. Beyond the most that may wait, the oldest go.
fn add_pending(
    connection: &Connection,
    key: NotificationKey,
    tenant: TenantKey,
    user_id: &UserId,
    removed: &mut RemovedIds,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO notification_targets (notification_key, user_id, tenant_id) VALUES (?1, ?2, ?3)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![key.0, user_id.as_str(), tenant.0])?;
    let dropped = connection
        .prepare_cached(
            "DELETE FROM notification_targets
             WHERE tenant_id = ?1 AND user_id = ?2 AND notification_key <=
               (SELECT notification_key FROM notification_targets WHERE tenant_id = ?1 AND user_id = ?2
                ORDER BY notification_key DESC LIMIT 1 OFFSET ?3)
             RETURNING notification_key",
        )?
        .query_map(params![tenant.0, user_id.as_str(), PENDING_NOTIFICATIONS_MAX], |row| {
            row.get(0).map(NotificationKey)
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for dropped in dropped {
        if !is_under_way(connection, dropped)? {
            notifications::remove_unless_pending(connection, dropped, removed)?;
        }
    }
    Ok(())
}

fn keep_place(connection: &Connection, key: NotificationKey, last: &UserId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE notification_expansions SET after_user = ?2 WHERE notification_key = ?1")?
        .execute(params![key.0, last.as_str()])
        .map(drop)
}

/// Whom it was for takes up to a megabyte, and nobody asks any more.
fn forget_targets(connection: &Connection, key: NotificationKey) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE notifications SET targets = NULL WHERE notification_key = ?1")?
        .execute([key.0])
        .map(drop)
}
