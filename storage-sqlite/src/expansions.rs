//! Giving a notification to its users, chunk by chunk, each user once: those who are named, then the members of the room
//! who are not, then the subscribers who are neither. Each in ascending order, so that the last user tells how far it got.

use chatapi_core::store::{Expansion, NotificationTargets, PENDING_NOTIFICATIONS_MAX};
use chatapi_core::ws::Frame;
use chatapi_core::{NotificationId, NotificationKey, TenantKey, UnixMillis, UserId};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::frames::notification_frame;
use crate::notifications::{self, Pending};
use crate::rooms;
use crate::rows::{text, word};
use crate::server_state::RemovedIds;

/// The next users; `None` where the notification is expanded, or it or its tenant is gone.
pub(crate) fn expand(connection: &Connection, key: NotificationKey, limit: u32) -> rusqlite::Result<Option<Expansion>> {
    let Some(underway) = find(connection, key)? else {
        return Ok(None);
    };
    let Underway { tenant, durable, .. } = underway;
    let limit = limit as usize;
    // One past the limit tells whether there is more.
    let mut next = Audience::of(connection, &underway)?.past(&underway.place, limit.saturating_add(1))?;
    let has_more = next.len() > limit;
    next.truncate(limit);
    let mut removed = RemovedIds::default();
    if durable {
        for Place { user_id, .. } in &next {
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
    let users = next.into_iter().map(|place| place.user_id).collect();
    Ok(Some(Expansion { tenant, frame: underway.frame, durable, users, has_more }))
}

/// From here on the notification is under way.
pub(crate) fn begin(connection: &Connection, key: NotificationKey, tenant: TenantKey) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO notification_expansions (notification_key, tenant_id, phase, after_user)
             VALUES (?1, ?2, ?3, '')",
        )?
        .execute(params![key.0, tenant.0, Phase::Users.as_str()])
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

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Users,
    Members,
    Subscribers,
}

impl Phase {
    const ALL: [Self; 3] = [Self::Users, Self::Members, Self::Subscribers];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Members => "members",
            Self::Subscribers => "subscribers",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }
}

/// A user among those who get a notification. No user's id is empty: the empty one stands before the first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    phase: Phase,
    user_id: UserId,
}

/// A notification that is not expanded to its end.
struct Underway {
    tenant: TenantKey,
    place: Place,
    durable: bool,
    topic: String,
    frame: Frame,
    targets: NotificationTargets,
}

fn find(connection: &Connection, key: NotificationKey) -> rusqlite::Result<Option<Underway>> {
    connection
        .prepare_cached(
            "SELECT e.tenant_id, e.phase, e.after_user, n.durable, n.notification_id, n.topic, n.payload, n.created_at,
                    n.targets
             FROM notification_expansions e
             CROSS JOIN notifications n ON n.notification_key = e.notification_key
             CROSS JOIN tenants t ON t.tenant_key = e.tenant_id
             WHERE e.notification_key = ?1 AND t.deleted_at IS NULL",
        )?
        .query_row([key.0], underway)
        .optional()
}

fn underway(row: &Row<'_>) -> rusqlite::Result<Underway> {
    let topic: String = row.get(5)?;
    let id = NotificationId::new(text(row, 4)?);
    let frame = notification_frame(&id, &topic, text(row, 6)?, UnixMillis(row.get(7)?));
    let targets = serde_json::from_str(text(row, 8)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(8, Type::Text, Box::new(error)))?;
    Ok(Underway {
        tenant: TenantKey(row.get(0)?),
        place: Place { phase: word(row, 1, Phase::parse)?, user_id: UserId::new(text(row, 2)?) },
        durable: row.get(3)?,
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

    /// The first `count` users past a place.
    fn past(&self, place: &Place, count: usize) -> rusqlite::Result<Vec<Place>> {
        let mut found = Vec::new();
        let nobody = UserId::new("");
        for phase in Phase::ALL.into_iter().filter(|phase| *phase >= place.phase) {
            let after = if phase == place.phase { &place.user_id } else { &nobody };
            let left = count - found.len();
            let users = match phase {
                Phase::Users => self.named(after, left),
                Phase::Members => self.members(after, left)?,
                Phase::Subscribers => self.subscribers(after, left)?,
            };
            found.extend(users.into_iter().map(|user_id| Place { phase, user_id }));
        }
        Ok(found)
    }

    fn named(&self, after: &UserId, count: usize) -> Vec<UserId> {
        let past = self.user_ids.partition_point(|user_id| user_id <= after);
        self.user_ids[past..].iter().take(count).cloned().collect()
    }

    fn members(&self, after: &UserId, count: usize) -> rusqlite::Result<Vec<UserId>> {
        let Some(room_key) = self.room_key else {
            return Ok(Vec::new());
        };
        let mut statement = self.connection.prepare_cached(
            "SELECT user_id FROM room_members WHERE chatroom_id = ?1 AND user_id > ?2 ORDER BY user_id",
        )?;
        let members = statement.query_and_then(params![room_key, after.as_str()], user_id)?;
        self.not_named(members).take(count).collect()
    }

    fn subscribers(&self, after: &UserId, count: usize) -> rusqlite::Result<Vec<UserId>> {
        let Some(topic) = self.topic else {
            return Ok(Vec::new());
        };
        let mut statement = self.connection.prepare_cached(
            "SELECT s.subscriber_id FROM subscriptions s
             WHERE s.tenant_id = ?1 AND s.topic = ?2 AND s.subscriber_id > ?3 AND NOT EXISTS
               (SELECT 1 FROM room_members m WHERE m.chatroom_id = ?4 AND m.user_id = s.subscriber_id)
             ORDER BY s.subscriber_id",
        )?;
        let parameters = params![self.tenant.0, topic, after.as_str(), self.room_key];
        let subscribers = statement.query_and_then(parameters, user_id)?;
        self.not_named(subscribers).take(count).collect()
    }

    fn not_named(
        &self,
        users: impl Iterator<Item = rusqlite::Result<UserId>>,
    ) -> impl Iterator<Item = rusqlite::Result<UserId>> {
        users.filter(|user| user.as_ref().map_or(true, |user_id| self.user_ids.binary_search(user_id).is_err()))
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

fn keep_place(connection: &Connection, key: NotificationKey, place: &Place) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE notification_expansions SET phase = ?2, after_user = ?3 WHERE notification_key = ?1")?
        .execute(params![key.0, place.phase.as_str(), place.user_id.as_str()])
        .map(drop)
}

/// Whom it was for takes up to a megabyte, and nobody asks any more.
fn forget_targets(connection: &Connection, key: NotificationKey) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE notifications SET targets = NULL WHERE notification_key = ?1")?
        .execute([key.0])
        .map(drop)
}
