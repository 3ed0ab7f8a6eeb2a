//! Where members stand in rooms: acks, receipts, backlogs, heads.

use chatapi_core::store::{
    AccessRefusal, AcknowledgeRefusal, Acknowledged, Actor, Backlog, BacklogRoom, Receipt, ReceiptPage, RoomPosition,
};
use chatapi_core::{RoomId, Seq, TenantKey, UnixMillis, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::rooms::{self, Entered};
use crate::rows::{page, seq, text, to_sql};
use crate::tenants;

pub(crate) fn acknowledge(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    user_id: &UserId,
    acked: Seq,
    now: UnixMillis,
) -> rusqlite::Result<Result<Acknowledged, AcknowledgeRefusal>> {
    let room = match rooms::enter(connection, tenant, room_id, &Actor::User(user_id.clone()))? {
        Ok(Entered { room, .. }) => room,
        Err(refusal) => return Ok(Err(AcknowledgeRefusal::Access(refusal))),
    };
    if acked > room.last_seq {
        return Ok(Err(AcknowledgeRefusal::PastHead));
    }
    let present = last_ack(connection, tenant, room.key, user_id)?;
    if acked <= present {
        return Ok(Ok(Acknowledged { last_ack: present, moved: false }));
    }
    start(connection, tenant, room.key, user_id, acked, now)?;
    Ok(Ok(Acknowledged { last_ack: acked, moved: true }))
}

pub(crate) fn receipts(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    actor: &Actor,
    after: Option<&UserId>,
    limit: u32,
) -> rusqlite::Result<Result<ReceiptPage, AccessRefusal>> {
    let room = match rooms::enter(connection, tenant, room_id, actor)? {
        Ok(Entered { room, .. }) => room,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut statement = connection.prepare_cached(
        "SELECT m.user_id, coalesce(d.last_ack, 0)
         FROM room_members m
         LEFT JOIN delivery_state d
           ON d.tenant_id = m.tenant_id AND d.user_id = m.user_id AND d.chatroom_id = m.chatroom_id
         WHERE m.chatroom_id = ?1 AND m.user_id > ?2
         ORDER BY m.user_id LIMIT ?3",
    )?;
    // No user id is empty.
    let after = after.map_or("", UserId::as_str);
    let rows = statement.query_and_then(params![room.key, after, i64::from(limit) + 1], |row| {
        Ok(Receipt { user_id: UserId::new(text(row, 0)?), last_ack: seq(row, 1)? })
    })?;
    let (receipts, has_more) = page(rows, limit)?;
    Ok(Ok(ReceiptPage { receipts, has_more }))
}

pub(crate) fn backlog(connection: &Connection, tenant: TenantKey, user_id: &UserId) -> rusqlite::Result<Backlog> {
    if !tenants::is_served(connection, tenant)? {
        return Ok(Backlog::default());
    }
    let rooms = connection
        .prepare_cached(
            "SELECT r.room_id, coalesce(d.last_ack, 0), r.last_seq, r.member_count
             FROM room_members m
             CROSS JOIN rooms r ON r.room_key = m.chatroom_id
             LEFT JOIN delivery_state d
               ON d.tenant_id = m.tenant_id AND d.user_id = m.user_id AND d.chatroom_id = m.chatroom_id
             WHERE m.tenant_id = ?1 AND m.user_id = ?2 AND r.deleted_at IS NULL
             ORDER BY r.room_id",
        )?
        .query_and_then(params![tenant.0, user_id.as_str()], |row| {
            Ok(BacklogRoom {
                room_id: RoomId::new(text(row, 0)?),
                last_ack: seq(row, 1)?,
                last_seq: seq(row, 2)?,
                members: row.get(3)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let has_notifications = connection
        .prepare_cached("SELECT 1 FROM notification_targets WHERE tenant_id = ?1 AND user_id = ?2")?
        .exists(params![tenant.0, user_id.as_str()])?;
    Ok(Backlog { rooms, has_notifications })
}

pub(crate) fn positions(
    connection: &Connection,
    tenant: TenantKey,
    user_id: &UserId,
    room_ids: &[RoomId],
) -> rusqlite::Result<Vec<Result<RoomPosition, AccessRefusal>>> {
    let actor = Actor::User(user_id.clone());
    room_ids
        .iter()
        .map(|room_id| match rooms::enter(connection, tenant, room_id, &actor)? {
            Ok(Entered { room, .. }) => {
                let last_ack = last_ack(connection, tenant, room.key, user_id)?;
                Ok(Ok(RoomPosition { last_ack, last_seq: room.last_seq }))
            }
            Err(refusal) => Ok(Err(refusal)),
        })
        .collect()
}

pub(crate) fn head(connection: &Connection, tenant: TenantKey, room_id: &RoomId) -> rusqlite::Result<Option<Seq>> {
    Ok(rooms::find(connection, tenant, room_id)?.map(|room| room.last_seq))
}

/// From here on the user stands at `last_ack`, wherever that was before.
pub(crate) fn start(
    connection: &Connection,
    tenant: TenantKey,
    room_key: i64,
    user_id: &UserId,
    last_ack: Seq,
    now: UnixMillis,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO delivery_state (tenant_id, user_id, chatroom_id, last_ack, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET last_ack = excluded.last_ack, updated_at = excluded.updated_at",
        )?
        .execute(params![tenant.0, user_id.as_str(), room_key, to_sql(last_ack), now.0])
        .map(drop)
}

/// The user stands nowhere; says whether there was anything to remove.
pub(crate) fn end(
    connection: &Connection,
    tenant: TenantKey,
    room_key: i64,
    user_id: &UserId,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("DELETE FROM delivery_state WHERE tenant_id = ?1 AND user_id = ?2 AND chatroom_id = ?3")?
        .execute(params![tenant.0, user_id.as_str(), room_key])
        .map(|rows| rows > 0)
}

fn last_ack(connection: &Connection, tenant: TenantKey, room_key: i64, user_id: &UserId) -> rusqlite::Result<Seq> {
    connection
        .prepare_cached(
            "SELECT last_ack FROM delivery_state WHERE tenant_id = ?1 AND user_id = ?2 AND chatroom_id = ?3",
        )?
        .query_row(params![tenant.0, user_id.as_str(), room_key], |row| seq(row, 0))
        .optional()
        .map(Option::unwrap_or_default)
}
