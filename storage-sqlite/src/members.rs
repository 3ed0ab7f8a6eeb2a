//! Who is in a room.

use chatapi_core::model::{Member, Role, RoomType};
use chatapi_core::store::{
    AccessRefusal, Actor, AddMemberRefusal, AddOutcome, AddedMember, MemberPage, NewMember, RemoveMemberRefusal,
    RemovedMember,
};
use chatapi_core::{RoomId, TenantKey, UnixMillis, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::positions;
use crate::rooms::{self, Entered, FoundRoom, Rights};
use crate::rows::{page, text, word};

pub(crate) fn list(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    actor: &Actor,
    after: Option<&UserId>,
    limit: u32,
) -> rusqlite::Result<Result<MemberPage, AccessRefusal>> {
    let room = match rooms::enter(connection, tenant, room_id, actor)? {
        Ok(Entered { room, .. }) => room,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut statement = connection.prepare_cached(
        "SELECT user_id, role, joined_at FROM room_members WHERE chatroom_id = ?1 AND user_id > ?2
         ORDER BY user_id LIMIT ?3",
    )?;
    // No user id is empty.
    let after = after.map_or("", UserId::as_str);
    let (members, has_more) =
        page(statement.query_and_then(params![room.key, after, i64::from(limit) + 1], member)?, limit)?;
    Ok(Ok(MemberPage { members, has_more }))
}

pub(crate) fn add(connection: &Connection, new: &NewMember) -> rusqlite::Result<Result<AddedMember, AddMemberRefusal>> {
    let Some(room) = rooms::find(connection, new.tenant, &new.room_id)? else {
        return Ok(Err(AddMemberRefusal::Access(AccessRefusal::NoRoom)));
    };
    let rights = rooms::rights(connection, room.key, &new.actor)?;
    let present = find(connection, room.key, &new.user_id)?;
    let allowed = match decide(&room, rights, new, present.as_ref()) {
        Ok(allowed) => allowed,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let added = |member, outcome, members, successor| {
        Ok(Ok(AddedMember { member, outcome, last_seq: room.last_seq, members, successor }))
    };
    match (present, allowed) {
        (Some(present), Allowed::Role(Some(role))) if role != present.role => {
            set_role(connection, room.key, &present.user_id, role)?;
            let member = Member { role, ..present };
            let successor = match role {
                Role::Admin => None,
                Role::Member => succeed(connection, room.key, &member.user_id)?,
            };
            added(member, AddOutcome::RoleChanged, room.members, successor)
        }
        (Some(present), Allowed::Role(_) | Allowed::Nothing) => {
            added(present, AddOutcome::Unchanged, room.members, None)
        }
        (None, allowed) => {
            let role = match allowed {
                Allowed::Role(role) => role.unwrap_or(Role::Member),
                Allowed::Nothing => Role::Member,
            };
            insert(connection, room.key, new.tenant, &new.user_id, role, new.now)?;
            positions::start(connection, new.tenant, room.key, &new.user_id, room.last_seq, new.now)?;
            let members = room.members.saturating_add(1);
            set_count(connection, room.key, members)?;
            let member = Member { user_id: new.user_id.clone(), role, joined_at: new.now };
            added(member, AddOutcome::Joined, members, None)
        }
    }
}

pub(crate) fn remove(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    actor: &Actor,
    user_id: &UserId,
    now: UnixMillis,
) -> rusqlite::Result<Result<RemovedMember, RemoveMemberRefusal>> {
    let Entered { room, rights } = match rooms::enter(connection, tenant, room_id, actor)? {
        Ok(entered) => entered,
        Err(refusal) => return Ok(Err(RemoveMemberRefusal::Access(refusal))),
    };
    if room.kind == RoomType::Dm {
        return Ok(Err(RemoveMemberRefusal::IsDm));
    }
    if !rights.govern() && *actor != Actor::User(user_id.clone()) {
        return Ok(Err(RemoveMemberRefusal::NotAdmin));
    }
    let Some(Member { role, .. }) = find(connection, room.key, user_id)? else {
        return Ok(Err(RemoveMemberRefusal::NoMember));
    };
    delete(connection, room.key, user_id)?;
    positions::end(connection, tenant, room.key, user_id)?;
    let members = room.members.saturating_sub(1);
    set_count(connection, room.key, members)?;
    if members == 0 {
        rooms::bury(connection, room.key, now)?;
    }
    let successor = match role {
        Role::Admin => succeed(connection, room.key, user_id)?,
        Role::Member => None,
    };
    Ok(Ok(RemovedMember { role, members, successor }))
}

pub(crate) fn find(connection: &Connection, room_key: i64, user_id: &UserId) -> rusqlite::Result<Option<Member>> {
    connection
        .prepare_cached("SELECT user_id, role, joined_at FROM room_members WHERE chatroom_id = ?1 AND user_id = ?2")?
        .query_row(params![room_key, user_id.as_str()], member)
        .optional()
}

pub(crate) fn is_member(connection: &Connection, room_key: i64, user_id: &UserId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM room_members WHERE chatroom_id = ?1 AND user_id = ?2")?
        .exists(params![room_key, user_id.as_str()])
}

pub(crate) fn ids(connection: &Connection, room_key: i64) -> rusqlite::Result<Vec<UserId>> {
    connection
        .prepare_cached("SELECT user_id FROM room_members WHERE chatroom_id = ?1 ORDER BY user_id")?
        .query_and_then([room_key], |row| text(row, 0).map(UserId::new))?
        .collect()
}

/// The row alone: the room's count is the caller's.
pub(crate) fn insert(
    connection: &Connection,
    room_key: i64,
    tenant: TenantKey,
    user_id: &UserId,
    role: Role,
    joined_at: UnixMillis,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO room_members (chatroom_id, user_id, tenant_id, role, joined_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![room_key, user_id.as_str(), tenant.0, role.as_str(), joined_at.0])
        .map(drop)
}

/// The row alone: the room's count is the caller's.
pub(crate) fn delete(connection: &Connection, room_key: i64, user_id: &UserId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM room_members WHERE chatroom_id = ?1 AND user_id = ?2")?
        .execute(params![room_key, user_id.as_str()])
        .map(drop)
}

/// How far a request to add a member may go.
enum Allowed {
    /// The user is in the room then, with this role if one is named.
    Role(Option<Role>),
    /// A user who is in the room says so once more; one who is not joins as a plain member.
    Nothing,
}

fn decide(
    room: &FoundRoom,
    rights: Option<Rights>,
    new: &NewMember,
    present: Option<&Member>,
) -> Result<Allowed, AddMemberRefusal> {
    let by_itself = new.actor == Actor::User(new.user_id.clone());
    let Some(rights) = rights else {
        return if !by_itself || room.kind != RoomType::Channel {
            Err(AddMemberRefusal::Access(AccessRefusal::NotMember))
        } else if new.role == Some(Role::Admin) {
            Err(AddMemberRefusal::NotAdmin)
        } else {
            Ok(Allowed::Role(new.role))
        };
    };
    if room.kind == RoomType::Dm {
        Err(AddMemberRefusal::IsDm)
    } else if rights.govern() {
        Ok(Allowed::Role(new.role))
    } else if by_itself && present.is_some() {
        Ok(Allowed::Nothing)
    } else {
        Err(AddMemberRefusal::NotAdmin)
    }
}

/// Makes the member who joined first an admin where none is left, now that `former` is none any more.
fn succeed(connection: &Connection, room_key: i64, former: &UserId) -> rusqlite::Result<Option<Member>> {
    let has_admin = connection
        .prepare_cached("SELECT 1 FROM room_members WHERE chatroom_id = ?1 AND role = 'admin'")?
        .exists([room_key])?;
    if has_admin {
        return Ok(None);
    }
    let first = connection
        .prepare_cached(
            "SELECT user_id, role, joined_at FROM room_members WHERE chatroom_id = ?1 AND user_id <> ?2
             ORDER BY joined_at, user_id LIMIT 1",
        )?
        .query_row(params![room_key, former.as_str()], member)
        .optional()?;
    let Some(first) = first else {
        return Ok(None);
    };
    set_role(connection, room_key, &first.user_id, Role::Admin)?;
    Ok(Some(Member { role: Role::Admin, ..first }))
}

fn set_role(connection: &Connection, room_key: i64, user_id: &UserId, role: Role) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE room_members SET role = ?3 WHERE chatroom_id = ?1 AND user_id = ?2")?
        .execute(params![room_key, user_id.as_str(), role.as_str()])
        .map(drop)
}

fn set_count(connection: &Connection, room_key: i64, members: u32) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE rooms SET member_count = ?2 WHERE room_key = ?1")?
        .execute([room_key, i64::from(members)])
        .map(drop)
}

fn member(row: &Row<'_>) -> rusqlite::Result<Member> {
    Ok(Member {
        user_id: UserId::new(text(row, 0)?),
        role: word(row, 1, Role::parse)?,
        joined_at: UnixMillis(row.get(2)?),
    })
}
