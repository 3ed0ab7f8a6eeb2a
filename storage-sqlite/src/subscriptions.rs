//! Who subscribed to which topic.

use chatapi_core::model::Subscription;
use chatapi_core::store::{SUBSCRIPTIONS_MAX, SubscribeOutcome, SubscribeRefusal, Subscribed};
use chatapi_core::{TenantKey, UnixMillis, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::rows::text;
use crate::tenants::{self, Standing};

pub(crate) fn subscribe(
    connection: &Connection,
    tenant: TenantKey,
    user_id: &UserId,
    topic: &str,
    now: UnixMillis,
) -> rusqlite::Result<Result<Subscribed, SubscribeRefusal>> {
    match tenants::standing(connection, tenant)? {
        Standing::Served => {}
        Standing::Deleted => return Ok(Err(SubscribeRefusal::NoTenant)),
    }
    let existing = connection
        .prepare_cached(
            "SELECT subscription_id, subscriber_id, topic, created_at FROM subscriptions
             WHERE tenant_id = ?1 AND topic = ?2 AND subscriber_id = ?3",
        )?
        .query_row(params![tenant.0, topic, user_id.as_str()], subscription)
        .optional()?;
    if let Some(subscription) = existing {
        let outcome = SubscribeOutcome::Existing;
        return Ok(Ok(Subscribed { subscription, outcome }));
    }
    let count: u32 = connection
        .prepare_cached("SELECT count(*) FROM subscriptions WHERE tenant_id = ?1 AND subscriber_id = ?2")?
        .query_row(params![tenant.0, user_id.as_str()], |row| row.get(0))?;
    if count >= SUBSCRIPTIONS_MAX {
        return Ok(Err(SubscribeRefusal::TooMany));
    }
    let id: i64 = connection
        .prepare_cached(
            "UPDATE tenants SET last_subscription = last_subscription + 1 WHERE tenant_key = ?1
             RETURNING last_subscription",
        )?
        .query_row([tenant.0], |row| row.get(0))?;
    let stored = connection
        .prepare_cached(
            "INSERT INTO subscriptions (tenant_id, subscription_id, subscriber_id, topic, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5)
             RETURNING subscription_id, subscriber_id, topic, created_at",
        )?
        .query_row(params![tenant.0, id, user_id.as_str(), topic, now.0], subscription)?;
    let outcome = SubscribeOutcome::New;
    Ok(Ok(Subscribed { subscription: stored, outcome }))
}

pub(crate) fn list(
    connection: &Connection,
    tenant: TenantKey,
    user_id: &UserId,
) -> rusqlite::Result<Vec<Subscription>> {
    if !tenants::is_served(connection, tenant)? {
        return Ok(Vec::new());
    }
    connection
        .prepare_cached(
            "SELECT subscription_id, subscriber_id, topic, created_at FROM subscriptions
             WHERE tenant_id = ?1 AND subscriber_id = ?2 ORDER BY subscription_id",
        )?
        .query_and_then(params![tenant.0, user_id.as_str()], subscription)?
        .collect()
}

/// Says whether the user had it.
pub(crate) fn unsubscribe(
    connection: &Connection,
    tenant: TenantKey,
    user_id: &UserId,
    subscription_id: u64,
) -> rusqlite::Result<bool> {
    // What does not fit was never given out.
    let Ok(id) = i64::try_from(subscription_id) else {
        return Ok(false);
    };
    if !tenants::is_served(connection, tenant)? {
        return Ok(false);
    }
    connection
        .prepare_cached(
            "DELETE FROM subscriptions WHERE tenant_id = ?1 AND subscription_id = ?2 AND subscriber_id = ?3",
        )?
        .execute(params![tenant.0, id, user_id.as_str()])
        .map(|rows| rows > 0)
}

fn subscription(row: &Row<'_>) -> rusqlite::Result<Subscription> {
    let id: i64 = row.get(0)?;
    Ok(Subscription {
        id: u64::try_from(id).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, id))?,
        subscriber_id: UserId::new(text(row, 1)?),
        topic: row.get(2)?,
        created_at: UnixMillis(row.get(3)?),
    })
}
