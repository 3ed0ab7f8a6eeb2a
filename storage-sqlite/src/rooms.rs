//! Rooms.

use chatapi_core::model::{ListedRoom, ReadPosition, Role, Room, RoomType, UNREAD_WINDOW};
use chatapi_core::store::{
    AccessRefusal, Actor, ChangeRoomRefusal, CreatedRoom, DeleteRoomRefusal, NewRoom, RoomChange,
};
use chatapi_core::{RoomId, Seq, TenantKey, UnixMillis, UserId};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use crate::rows::{page, room, room_columns, seq, to_sql, word};
use crate::tenants::Standing;
use crate::{members, tenants};

pub(crate) fn create(connection: &Connection, new: &NewRoom) -> rusqlite::Result<CreatedRoom> {
    match tenants::standing(connection, new.tenant)? {
        Standing::Served => {}
        Standing::Deleted => return Ok(CreatedRoom::NoTenant),
    }
    if let Some(unique_key) = &new.unique_key {
        // What is deleted has given its unique key away.
        let existing = connection
            .prepare_cached(concat!(
                "SELECT ",
                room_columns!(),
                " FROM rooms r WHERE r.tenant_id = ?1 AND r.unique_key = ?2"
            ))?
            .query_row(params![new.tenant.0, unique_key], room)
            .optional()?;
        if let Some((key, room)) = existing {
            let members = members::ids(connection, key)?;
            return Ok(CreatedRoom::Existing { room, members });
        }
    }
    let key = connection
        .prepare_cached(
            "INSERT INTO rooms (room_id, tenant_id, type, created_at, unique_key, name, metadata, member_count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .insert(params![
            new.room_id.as_str(),
            new.tenant.0,
            new.kind.as_str(),
            new.created_at.0,
            new.unique_key,
            new.name,
            new.metadata,
            i64::try_from(new.members.len()).unwrap_or(i64::MAX),
        ])?;
    for (user_id, role) in &new.members {
        members::insert(connection, key, new.tenant, user_id, *role, new.created_at)?;
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
    match enter(connection, tenant, room_id, actor)? {
        Ok(Entered { room, .. }) => read_entered(connection, room.key).map(Ok),
        Err(refusal) => Ok(Err(refusal)),
    }
}

pub(crate) fn change(
    connection: &Connection,
    change: &RoomChange,
) -> rusqlite::Result<Result<Room, ChangeRoomRefusal>> {
    let RoomChange { tenant, room_id, actor, name, metadata } = change;
    let Entered { room, rights } = match enter(connection, *tenant, room_id, actor)? {
        Ok(entered) => entered,
        Err(refusal) => return Ok(Err(ChangeRoomRefusal::Access(refusal))),
    };
    if !rights.govern() && room.kind != RoomType::Dm {
        return Ok(Err(ChangeRoomRefusal::NotAdmin));
    }
    let mut changed = read_entered(connection, room.key)?;
    changed.name = name.clone().apply(changed.name);
    changed.metadata = metadata.clone().apply(changed.metadata);
    connection.prepare_cached("UPDATE rooms SET name = ?2, metadata = ?3 WHERE room_key = ?1")?.execute(params![
        room.key,
        changed.name,
        changed.metadata
    ])?;
    Ok(Ok(changed))
}

pub(crate) fn delete(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    actor: &Actor,
    now: UnixMillis,
) -> rusqlite::Result<Result<(), DeleteRoomRefusal>> {
    let Entered { room, rights } = match enter(connection, tenant, room_id, actor)? {
        Ok(entered) => entered,
        Err(refusal) => return Ok(Err(DeleteRoomRefusal::Access(refusal))),
    };
    if room.kind == RoomType::Dm && rights != Rights::Tenant {
        return Ok(Err(DeleteRoomRefusal::IsDm));
    }
    if !rights.govern() {
        return Ok(Err(DeleteRoomRefusal::NotAdmin));
    }
    bury(connection, room.key, now).map(Ok)
}

/// Hides a room from every step that follows.
pub(crate) fn bury(connection: &Connection, room_key: i64, now: UnixMillis) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE rooms SET deleted_at = ?2, unique_key = NULL WHERE room_key = ?1")?
        .execute([room_key, now.0])
        .map(drop)
}

/// A room that is there, and so is its tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FoundRoom {
    pub(crate) key: i64,
    pub(crate) kind: RoomType,
    pub(crate) last_seq: Seq,
    pub(crate) members: u32,
}

/// What someone may do in a room that opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    Tenant,
    Admin,
    Member,
}

impl Rights {
    pub(crate) const fn of(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Member => Self::Member,
        }
    }

    /// Whether they go as far as an admin's.
    pub(crate) const fn govern(self) -> bool {
        match self {
            Self::Tenant | Self::Admin => true,
            Self::Member => false,
        }
    }
}

/// A room that opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entered {
    pub(crate) room: FoundRoom,
    pub(crate) rights: Rights,
}

/// Opens a room for `actor`.
pub(crate) fn enter(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    actor: &Actor,
) -> rusqlite::Result<Result<Entered, AccessRefusal>> {
    let Some(room) = find(connection, tenant, room_id)? else {
        return Ok(Err(AccessRefusal::NoRoom));
    };
    Ok(rights(connection, room.key, actor)?.map(|rights| Entered { room, rights }).ok_or(AccessRefusal::NotMember))
}

/// Finds a room of the tenant.
pub(crate) fn find(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
) -> rusqlite::Result<Option<FoundRoom>> {
    connection
        .prepare_cached(
            "SELECT r.room_key, r.type, r.last_seq, r.member_count
             FROM rooms r CROSS JOIN tenants t ON t.tenant_key = r.tenant_id
             WHERE r.room_id = ?1 AND r.tenant_id = ?2 AND r.deleted_at IS NULL AND t.deleted_at IS NULL",
        )?
        .query_row(params![room_id.as_str(), tenant.0], |row| {
            Ok(FoundRoom {
                key: row.get(0)?,
                kind: word(row, 1, RoomType::parse)?,
                last_seq: seq(row, 2)?,
                members: row.get(3)?,
            })
        })
        .optional()
}

/// What `actor` may do in a room; `None` for a user who is no member.
pub(crate) fn rights(connection: &Connection, room_key: i64, actor: &Actor) -> rusqlite::Result<Option<Rights>> {
    match actor {
        Actor::Tenant => Ok(Some(Rights::Tenant)),
        Actor::User(user_id) => {
            let member = members::find(connection, room_key, user_id)?;
            Ok(member.map(|member| Rights::of(member.role)))
        }
    }
}

pub(crate) fn list(
    connection: &Connection,
    tenant: TenantKey,
    actor: &Actor,
    after: Option<&RoomId>,
    limit: u32,
) -> rusqlite::Result<(Vec<ListedRoom>, bool)> {
    if !tenants::is_served(connection, tenant)? {
        return Ok((Vec::new(), false));
    }
    let after = after.map(RoomId::as_str);
    let rows = i64::from(limit) + 1;
    match actor {
        Actor::Tenant => {
            let mut statement = connection.prepare_cached(concat!(
                "SELECT ",
                room_columns!(),
                " FROM rooms r WHERE r.tenant_id = ?1 AND r.deleted_at IS NULL AND (?2 IS NULL OR r.room_id < ?2)
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
                 WHERE m.tenant_id = ?1 AND m.user_id = ?4 AND r.deleted_at IS NULL
                   AND (?2 IS NULL OR r.room_id < ?2)
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

fn read_entered(connection: &Connection, room_key: i64) -> rusqlite::Result<Room> {
    connection
        .prepare_cached(concat!("SELECT ", room_columns!(), " FROM rooms r WHERE r.room_key = ?1"))?
        .query_row([room_key], |row| Ok(room(row)?.1))
}
