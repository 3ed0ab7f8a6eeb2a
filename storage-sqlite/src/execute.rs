//! Which step does what.

use chatapi_core::store::{StoreReply, StoreRequest};
use rusqlite::Connection;

use crate::append::Appender;
use crate::{history, positions, rooms, tenants};

/// Whether a step may change the database.
pub(crate) const fn changes(request: &StoreRequest) -> bool {
    match request {
        StoreRequest::CheckWritable { .. }
        | StoreRequest::CreateTenant(_)
        | StoreRequest::CreateRoom(_)
        | StoreRequest::AppendMessage(_)
        | StoreRequest::Acknowledge { .. } => true,
        StoreRequest::Boot
        | StoreRequest::FindTenant { .. }
        | StoreRequest::ListRooms { .. }
        | StoreRequest::ReadRoom { .. }
        | StoreRequest::ListMembers { .. }
        | StoreRequest::ReadMessages { .. }
        | StoreRequest::LoadBacklog { .. }
        | StoreRequest::ReadFrames { .. }
        | StoreRequest::ReadHead { .. } => false,
    }
}

/// Carries a step out, inside the transaction that is open. An error may leave part of the step behind: the caller
/// rolls back. A refusal changes nothing.
pub(crate) fn carry_out(
    connection: &Connection,
    appender: &mut Appender,
    request: &StoreRequest,
) -> rusqlite::Result<StoreReply> {
    match request {
        StoreRequest::AppendMessage(new) => appender.append(connection, new).map(StoreReply::Appended),
        StoreRequest::CheckWritable { now } => tenants::check_writable(connection, *now).map(|()| StoreReply::Written),
        // A step that changes rooms or members must have the appender forget what it knows of them.
        StoreRequest::CreateTenant(new) => tenants::create(connection, new).map(StoreReply::TenantCreated),
        StoreRequest::CreateRoom(new) => {
            appender.flush(connection)?;
            appender.forget();
            rooms::create(connection, new).map(StoreReply::RoomCreated)
        }
        StoreRequest::Acknowledge { tenant, room_id, user_id, seq, now } => {
            appender.flush(connection)?;
            positions::acknowledge(connection, *tenant, room_id, user_id, *seq, *now).map(StoreReply::Acknowledged)
        }
        StoreRequest::Boot
        | StoreRequest::FindTenant { .. }
        | StoreRequest::ListRooms { .. }
        | StoreRequest::ReadRoom { .. }
        | StoreRequest::ListMembers { .. }
        | StoreRequest::ReadMessages { .. }
        | StoreRequest::LoadBacklog { .. }
        | StoreRequest::ReadFrames { .. }
        | StoreRequest::ReadHead { .. } => {
            appender.flush(connection)?;
            read(connection, request).map(|reply| reply.unwrap_or(StoreReply::Written))
        }
    }
}

/// Answers a step that changes nothing, inside the transaction that is open; `None` for one that does.
pub(crate) fn read(connection: &Connection, request: &StoreRequest) -> rusqlite::Result<Option<StoreReply>> {
    let reply = match request {
        StoreRequest::Boot => tenants::boot(connection)?,
        StoreRequest::FindTenant { api_key } => StoreReply::Tenant(tenants::find(connection, api_key)?),
        StoreRequest::ListRooms { tenant, actor, after, limit } => {
            let (rooms, has_more) = rooms::list(connection, *tenant, actor, after.as_ref(), *limit)?;
            StoreReply::Rooms { rooms, has_more }
        }
        StoreRequest::ReadRoom { tenant, room_id, actor } => {
            StoreReply::Room(rooms::read(connection, *tenant, room_id, actor)?)
        }
        StoreRequest::ListMembers { tenant, room_id, actor, after, limit } => {
            StoreReply::Members(rooms::members(connection, *tenant, room_id, actor, after.as_ref(), *limit)?)
        }
        StoreRequest::ReadMessages { tenant, room_id, actor, range, bounds } => {
            StoreReply::Messages(history::page(connection, *tenant, room_id, actor, *range, *bounds)?)
        }
        StoreRequest::LoadBacklog { tenant, user_id } => {
            StoreReply::Backlog(positions::backlog(connection, *tenant, user_id)?)
        }
        StoreRequest::ReadFrames { tenant, room_id, after, bounds } => {
            StoreReply::Frames(history::frames(connection, *tenant, room_id, *after, *bounds)?)
        }
        StoreRequest::ReadHead { tenant, room_id } => StoreReply::Head(positions::head(connection, *tenant, room_id)?),
        StoreRequest::CheckWritable { .. }
        | StoreRequest::CreateTenant(_)
        | StoreRequest::CreateRoom(_)
        | StoreRequest::AppendMessage(_)
        | StoreRequest::Acknowledge { .. } => return Ok(None),
    };
    Ok(Some(reply))
}
