//! Rooms and their members.

use chatapi_core::model::{ListedRoom, Member, ReadPosition, Role, Room, UNREAD_WINDOW};
use chatapi_core::store::{AccessRefusal, Actor, CreatedRoom, MemberPage, NewRoom};
use chatapi_core::{RoomId, Seq, TenantKey, UnixMillis, UserId};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use crate::rows::{room, room_columns, seq, text, to_sql, word};

pub(crate) fn create(connection: &Connection, new: &NewRoom) -> rusqlite::Result<CreatedRoom> {
    if let Some(unique_key) = &new.unique_key {
        let existing = connection
            .prepare_cached(concat!(
                "SELECT ",
                room_columns!(),
                " FROM rooms r WHERE r.tenant_id = ?1 AND r.unique_key = ?2"
            ))?
            .query_row(params![new.tenant.0, unique_key], room)
            .optional()?;
        if let Some((key, room)) = existing {
            let members = member_ids(connection, key)?;
            return Ok(CreatedRoom::Existing { room, members });
        }
    }
    let key = connection
        .prepare_cached(
            "INSERT INTO rooms (room_id, tenant_id, type, created_at, unique_key, name, metadata)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .insert(params![
            new.room_id.as_str(),
            new.tenant.0,
            new.kind.as_str(),
            new.created_at.0,
            new.unique_key,
            new.name,
            new.metadata,
        ])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO room_members (chatroom_id, user_id, tenant_id, role, joined_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (user_id, role) in &new.members {
        insert.execute(params![key, user_id.as_str(), new.tenant.0, role.as_str(), new.created_at.0])?;
    }
    Ok(CreatedRoom::New(Room {
        room_id: new.room_id.clone(),
        kind: new.kind,
        unique_key: new.unique_key.clone(),
        name: new.name.clone(),
        metadata: new.metadata.clone(),
        last_seq: Seq(0),
        created_at: new.created_at,
    }))
}

pub(crate) fn read(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    actor: &Actor,
) -> rusqlite::Result<Result<Room, AccessRefusal>> {
    let found = connection
        .prepare_cached(concat!("SELECT ", room_columns!(), " FROM rooms r WHERE r.room_id = ?1 AND r.tenant_id = ?2"))?
        .query_row(params![room_id.as_str(), tenant.0], room)
        .optional()?;
    let Some((key, room)) = found else {
        return Ok(Err(AccessRefusal::NoRoom));
    };
    Ok(admit(connection, key, actor)?.map(|()| room))
}

/// The key of a room of the tenant that opens for `actor`.
pub(crate) fn enter(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    actor: &Actor,
) -> rusqlite::Result<Result<i64, AccessRefusal>> {
    let Some((key, _)) = find(connection, tenant, room_id)? else {
        return Ok(Err(AccessRefusal::NoRoom));
    };
    Ok(admit(connection, key, actor)?.map(|()| key))
}

/// A room's key and the number of its newest message.
pub(crate) fn find(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
) -> rusqlite::Result<Option<(i64, Seq)>> {
    connection
        .prepare_cached("SELECT room_key, last_seq FROM rooms WHERE room_id = ?1 AND tenant_id = ?2")?
        .query_row(params![room_id.as_str(), tenant.0], |row| Ok((row.get(0)?, seq(row, 1)?)))
        .optional()
}

pub(crate) fn is_member(connection: &Connection, room_key: i64, user_id: &UserId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM room_members WHERE chatroom_id = ?1 AND user_id = ?2")?
        .exists(params![room_key, user_id.as_str()])
}

pub(crate) fn members(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    actor: &Actor,
    after: Option<&UserId>,
    limit: u32,
) -> rusqlite::Result<Result<MemberPage, AccessRefusal>> {
    let key = match enter(connection, tenant, room_id, actor)? {
        Ok(key) => key,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut statement = connection.prepare_cached(
        "SELECT user_id, role, joined_at FROM room_members WHERE chatroom_id = ?1 AND user_id > ?2
         ORDER BY user_id LIMIT ?3",
    )?;
    // No user id is empty.
    let after = after.map_or("", UserId::as_str);
    let (members, has_more) =
        page(statement.query_and_then(params![key, after, i64::from(limit) + 1], member)?, limit)?;
    Ok(Ok(MemberPage { members, has_more }))
}

pub(crate) fn list(
    connection: &Connection,
    tenant: TenantKey,
    actor: &Actor,
    after: Option<&RoomId>,
    limit: u32,
) -> rusqlite::Result<(Vec<ListedRoom>, bool)> {
    let after = after.map(RoomId::as_str);
    let rows = i64::from(limit) + 1;
    match actor {
        Actor::Tenant => {
            let mut statement = connection.prepare_cached(concat!(
                "SELECT ",
                room_columns!(),
                " FROM rooms r WHERE r.tenant_id = ?1 AND (?2 IS NULL OR r.room_id < ?2)
                 ORDER BY r.room_id DESC LIMIT ?3"
            ))?;
            let listed = |row: &Row<'_>| {
                let (_, room) = room(row)?;
                Ok(ListedRoom { room, position: None })
            };
            page(statement.query_and_then(params![tenant.0, after, rows], listed)?, limit)
        }
        Actor::User(user_id) => {
            let mut statement = connection.prepare_cached(concat!(
                "SELECT ",
                room_columns!(),
                ", coalesce(d.last_ack, 0)
                 FROM room_members m
                 CROSS JOIN rooms r ON r.room_key = m.chatroom_id
                 LEFT JOIN delivery_state d
                   ON d.tenant_id = m.tenant_id AND d.user_id = m.user_id AND d.chatroom_id = m.chatroom_id
                 WHERE m.tenant_id = ?1 AND m.user_id = ?4 AND (?2 IS NULL OR r.room_id < ?2)
                 ORDER BY r.room_id DESC LIMIT ?3"
            ))?;
            let mut unread = UnreadCounter::new(connection, user_id)?;
            let listed = |row: &Row<'_>| {
                let (key, room) = room(row)?;
                let last_ack = seq(row, 8)?;
                let unread_count = unread.count(key, last_ack, room.last_seq)?;
                let position = Some(ReadPosition { last_ack, unread_count });
                Ok(ListedRoom { room, position })
            };
            page(statement.query_and_then(params![tenant.0, after, rows, user_id.as_str()], listed)?, limit)
        }
    }
}

/// Counts what a user has not read.
struct UnreadCounter<'c> {
    statement: CachedStatement<'c>,
    user_id: &'c UserId,
}

impl<'c> UnreadCounter<'c> {
    fn new(connection: &'c Connection, user_id: &'c UserId) -> rusqlite::Result<Self> {
        let statement = connection.prepare_cached(
            "SELECT count(*) FROM messages
             WHERE chatroom_id = ?1 AND seq > ?2 AND seq <= ?3 AND sender_id <> ?4 AND deleted_at IS NULL",
        )?;
        Ok(Self { statement, user_id })
    }

    /// A room's numbers have no gap, so the first messages past `last_ack` are a range.
    fn count(&mut self, room_key: i64, last_ack: Seq, last_seq: Seq) -> rusqlite::Result<u32> {
        if last_ack >= last_seq {
            return Ok(0);
        }
        let until = to_sql(last_ack).saturating_add(i64::from(UNREAD_WINDOW));
        self.statement.query_row(params![room_key, to_sql(last_ack), until, self.user_id.as_str()], |row| row.get(0))
    }
}

fn admit(connection: &Connection, room_key: i64, actor: &Actor) -> rusqlite::Result<Result<(), AccessRefusal>> {
    match actor {
        Actor::Tenant => Ok(Ok(())),
        Actor::User(user_id) if is_member(connection, room_key, user_id)? => Ok(Ok(())),
        Actor::User(_) => Ok(Err(AccessRefusal::NotMember)),
    }
}

fn member_ids(connection: &Connection, room_key: i64) -> rusqlite::Result<Vec<UserId>> {
    connection
        .prepare_cached("SELECT user_id FROM room_members WHERE chatroom_id = ?1 ORDER BY user_id")?
        .query_and_then([room_key], |row| text(row, 0).map(UserId::new))?
        .collect()
}

fn member(row: &Row<'_>) -> rusqlite::Result<Member> {
    Ok(Member {
        user_id: UserId::new(text(row, 0)?),
        role: word(row, 1, Role::parse)?,
        joined_at: UnixMillis(row.get(2)?),
    })
}

/// At most `limit` of `rows`, which hold one more if there is one, and whether there is.
fn page<T>(rows: impl Iterator<Item = rusqlite::Result<T>>, limit: u32) -> rusqlite::Result<(Vec<T>, bool)> {
    let mut items = rows.collect::<rusqlite::Result<Vec<T>>>()?;
    let has_more = items.len() > limit as usize;
    items.truncate(limit as usize);
    Ok((items, has_more))
}
