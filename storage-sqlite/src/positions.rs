//! Where members stand in rooms: acks, backlogs, heads.

use chatapi_core::store::{AccessRefusal, AcknowledgeRefusal, Acknowledged, BacklogRoom};
use chatapi_core::{RoomId, Seq, TenantKey, UnixMillis, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::rooms;
use crate::rows::{seq, text, to_sql};

pub(crate) fn acknowledge(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    user_id: &UserId,
    acked: Seq,
    now: UnixMillis,
) -> rusqlite::Result<Result<Acknowledged, AcknowledgeRefusal>> {
    let Some((key, last_seq)) = rooms::find(connection, tenant, room_id)? else {
        return Ok(Err(AcknowledgeRefusal::Access(AccessRefusal::NoRoom)));
    };
    if !rooms::is_member(connection, key, user_id)? {
        return Ok(Err(AcknowledgeRefusal::Access(AccessRefusal::NotMember)));
    }
    if acked > last_seq {
        return Ok(Err(AcknowledgeRefusal::PastHead));
    }
    let present = connection
        .prepare_cached(
            "SELECT last_ack FROM delivery_state WHERE tenant_id = ?1 AND user_id = ?2 AND chatroom_id = ?3",
        )?
        .query_row(params![tenant.0, user_id.as_str(), key], |row| seq(row, 0))
        .optional()?
        .unwrap_or_default();
    if acked <= present {
        return Ok(Ok(Acknowledged { last_ack: present, moved: false }));
    }
    connection
        .prepare_cached(
            "INSERT INTO delivery_state (tenant_id, user_id, chatroom_id, last_ack, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET last_ack = excluded.last_ack, updated_at = excluded.updated_at",
        )?
        .execute(params![tenant.0, user_id.as_str(), key, to_sql(acked), now.0])?;
    Ok(Ok(Acknowledged { last_ack: acked, moved: true }))
}

pub(crate) fn backlog(
    connection: &Connection,
    tenant: TenantKey,
    user_id: &UserId,
) -> rusqlite::Result<Vec<BacklogRoom>> {
    connection
        .prepare_cached(
            "SELECT r.room_id, coalesce(d.last_ack, 0), r.last_seq
             FROM room_members m
             CROSS JOIN rooms r ON r.room_key = m.chatroom_id
             LEFT JOIN delivery_state d
               ON d.tenant_id = m.tenant_id AND d.user_id = m.user_id AND d.chatroom_id = m.chatroom_id
             WHERE m.tenant_id = ?1 AND m.user_id = ?2
             ORDER BY r.room_id",
        )?
        .query_and_then(params![tenant.0, user_id.as_str()], |row| {
            Ok(BacklogRoom { room_id: RoomId::new(text(row, 0)?), last_ack: seq(row, 1)?, last_seq: seq(row, 2)? })
        })?
        .collect()
}

pub(crate) fn head(connection: &Connection, tenant: TenantKey, room_id: &RoomId) -> rusqlite::Result<Option<Seq>> {
    Ok(rooms::find(connection, tenant, room_id)?.map(|(_, last_seq)| last_seq))
}
