//! Which step does what.

use chatapi_core::store::{Actor, StoreReply, StoreRequest};
use rusqlite::Connection;

use crate::append::Appender;
use crate::{
    expansions, history, members, messages, notifications, positions, rooms, server_state, subscriptions, sweep,
    tenants,
};

/// Whether a step may change the database.
pub(crate) const fn changes(request: &StoreRequest) -> bool {
    match request {
        StoreRequest::CheckWritable { .. }
        | StoreRequest::CreateTenant(_)
        | StoreRequest::ChangeTenant(_)
        | StoreRequest::RotateKey(_)
        | StoreRequest::DeleteTenant { .. }
        | StoreRequest::CreateRoom(_)
        | StoreRequest::ChangeRoom(_)
        | StoreRequest::DeleteRoom { .. }
        | StoreRequest::AddMember(_)
        | StoreRequest::RemoveMember { .. }
        | StoreRequest::AppendMessage(_)
        | StoreRequest::EditMessage(_)
        | StoreRequest::DeleteMessage { .. }
        | StoreRequest::Acknowledge { .. }
        | StoreRequest::Notify(_)
        | StoreRequest::ExpandNotification { .. }
        | StoreRequest::ConfirmNotifications { .. }
        | StoreRequest::Subscribe { .. }
        | StoreRequest::Unsubscribe { .. }
        | StoreRequest::Sweep { .. } => true,
        StoreRequest::Boot
        | StoreRequest::FindTenant { .. }
        | StoreRequest::ListTenants { .. }
        | StoreRequest::ReadTenant { .. }
        | StoreRequest::ListRooms { .. }
        | StoreRequest::ReadRoom { .. }
        | StoreRequest::ListMembers { .. }
        | StoreRequest::ListReceipts { .. }
        | StoreRequest::ReadMessages { .. }
        | StoreRequest::ReadMessage { .. }
        | StoreRequest::RereadMessage { .. }
        | StoreRequest::LoadBacklog { .. }
        | StoreRequest::LoadPositions { .. }
        | StoreRequest::ReadFrames { .. }
        | StoreRequest::ReadHead { .. }
        | StoreRequest::ListExpansions
        | StoreRequest::ReadNotifications(_)
        | StoreRequest::ListSubscriptions { .. } => false,
    }
}

/// Carries a step out, inside the transaction that is open. An error may leave part of the step behind: the caller
/// rolls back. A refusal changes nothing.
pub(crate) fn carry_out(
    connection: &Connection,
    appender: &mut Appender,
    request: &StoreRequest,
) -> rusqlite::Result<StoreReply> {
    prepare(connection, appender, request)?;
    match request {
        StoreRequest::AppendMessage(new) => appender.append(connection, new).map(StoreReply::Appended),
        StoreRequest::CheckWritable { now } => {
            server_state::check_writable(connection, *now).map(|()| StoreReply::Written)
        }
        StoreRequest::CreateTenant(new) => tenants::create(connection, new).map(StoreReply::TenantCreated),
        StoreRequest::ChangeTenant(change) => tenants::change(connection, change).map(StoreReply::TenantChanged),
        StoreRequest::RotateKey(rotation) => tenants::rotate_key(connection, rotation).map(StoreReply::KeyRotated),
        StoreRequest::DeleteTenant { tenant_id, now } => {
            tenants::delete(connection, tenant_id, *now).map(StoreReply::TenantDeleted)
        }
        StoreRequest::CreateRoom(new) => rooms::create(connection, new).map(StoreReply::RoomCreated),
        StoreRequest::ChangeRoom(change) => rooms::change(connection, change).map(StoreReply::RoomChanged),
        StoreRequest::DeleteRoom { tenant, room_id, actor, now } => {
            rooms::delete(connection, *tenant, room_id, actor, *now).map(StoreReply::RoomDeleted)
        }
        StoreRequest::AddMember(new) => members::add(connection, new).map(StoreReply::MemberAdded),
        StoreRequest::RemoveMember { tenant, room_id, actor, user_id, now } => {
            members::remove(connection, *tenant, room_id, actor, user_id, *now).map(StoreReply::MemberRemoved)
        }
        StoreRequest::EditMessage(edit) => messages::edit(connection, edit).map(StoreReply::MessageEdited),
        StoreRequest::DeleteMessage { tenant, room_id, message_id, actor, now } => {
            messages::delete(connection, *tenant, room_id, message_id, actor, *now).map(StoreReply::MessageDeleted)
        }
        StoreRequest::Acknowledge { tenant, room_id, user_id, seq, now } => {
            positions::acknowledge(connection, *tenant, room_id, user_id, *seq, *now).map(StoreReply::Acknowledged)
        }
        StoreRequest::Notify(new) => notifications::notify(connection, new).map(StoreReply::Notified),
        StoreRequest::ExpandNotification { notification, limit } => {
            expansions::expand(connection, *notification, *limit).map(StoreReply::Expanded)
        }
        StoreRequest::ConfirmNotifications { tenant, user_id, notifications } => {
            notifications::confirm(connection, *tenant, user_id, notifications).map(|()| StoreReply::Confirmed)
        }
        StoreRequest::Subscribe { tenant, user_id, topic, now } => {
            subscriptions::subscribe(connection, *tenant, user_id, topic, *now).map(StoreReply::Subscribed)
        }
        StoreRequest::Unsubscribe { tenant, user_id, subscription_id } => {
            subscriptions::unsubscribe(connection, *tenant, user_id, *subscription_id)
                .map(|existed| StoreReply::Unsubscribed { existed })
        }
        StoreRequest::Sweep { notifications_before, keys_before, rows } => {
            sweep::sweep(connection, *notifications_before, *keys_before, *rows)
                .map(|has_more| StoreReply::Swept { has_more })
        }
        StoreRequest::Boot
        | StoreRequest::FindTenant { .. }
        | StoreRequest::ListTenants { .. }
        | StoreRequest::ReadTenant { .. }
        | StoreRequest::ListRooms { .. }
        | StoreRequest::ReadRoom { .. }
        | StoreRequest::ListMembers { .. }
        | StoreRequest::ListReceipts { .. }
        | StoreRequest::ReadMessages { .. }
        | StoreRequest::ReadMessage { .. }
        | StoreRequest::RereadMessage { .. }
        | StoreRequest::LoadBacklog { .. }
        | StoreRequest::LoadPositions { .. }
        | StoreRequest::ReadFrames { .. }
        | StoreRequest::ReadHead { .. }
        | StoreRequest::ListExpansions
        | StoreRequest::ReadNotifications(_)
        | StoreRequest::ListSubscriptions { .. } => {
            read(connection, request).map(|reply| reply.unwrap_or(StoreReply::Written))
        }
    }
}

/// Makes the tables and what the appender knows fit for a step: a step that looks at rooms must find their heads, and one
/// that takes a tenant, a room or a member away has the appender forget just that. It holds of members only who is one:
/// one more makes nothing wrong.
fn prepare(connection: &Connection, appender: &mut Appender, request: &StoreRequest) -> rusqlite::Result<()> {
    match request {
        StoreRequest::AppendMessage(_)
        | StoreRequest::CheckWritable { .. }
        | StoreRequest::CreateTenant(_)
        | StoreRequest::ChangeTenant(_)
        | StoreRequest::RotateKey(_)
        | StoreRequest::Subscribe { .. }
        | StoreRequest::Unsubscribe { .. } => return Ok(()),
        StoreRequest::DeleteTenant { .. } => {
            appender.flush(connection)?;
            appender.forget();
            return Ok(());
        }
        StoreRequest::DeleteRoom { room_id, .. } | StoreRequest::RemoveMember { room_id, .. } => {
            appender.flush(connection)?;
            appender.forget_room(room_id);
            return Ok(());
        }
        StoreRequest::CreateRoom(_)
        | StoreRequest::ChangeRoom(_)
        | StoreRequest::AddMember(_)
        | StoreRequest::EditMessage(_)
        | StoreRequest::DeleteMessage { .. }
        | StoreRequest::Acknowledge { .. }
        | StoreRequest::Notify(_)
        | StoreRequest::ExpandNotification { .. }
        | StoreRequest::ConfirmNotifications { .. }
        | StoreRequest::Sweep { .. }
        | StoreRequest::Boot
        | StoreRequest::FindTenant { .. }
        | StoreRequest::ListTenants { .. }
        | StoreRequest::ReadTenant { .. }
        | StoreRequest::ListRooms { .. }
        | StoreRequest::ReadRoom { .. }
        | StoreRequest::ListMembers { .. }
        | StoreRequest::ListReceipts { .. }
        | StoreRequest::ReadMessages { .. }
        | StoreRequest::ReadMessage { .. }
        | StoreRequest::RereadMessage { .. }
        | StoreRequest::LoadBacklog { .. }
        | StoreRequest::LoadPositions { .. }
        | StoreRequest::ReadFrames { .. }
        | StoreRequest::ReadHead { .. }
        | StoreRequest::ListExpansions
        | StoreRequest::ReadNotifications(_)
        | StoreRequest::ListSubscriptions { .. } => {}
    }
    appender.flush(connection)
}

/// Answers a step that changes nothing, inside the transaction that is open; `None` for one that does.
pub(crate) fn read(connection: &Connection, request: &StoreRequest) -> rusqlite::Result<Option<StoreReply>> {
    let reply = match request {
        StoreRequest::Boot => server_state::boot(connection)?,
        StoreRequest::FindTenant { api_key } => StoreReply::KeyOwner(tenants::key_owner(connection, api_key)?),
        StoreRequest::ListTenants { after, limit } => {
            StoreReply::Tenants(tenants::list(connection, after.as_ref(), *limit)?)
        }
        StoreRequest::ReadTenant { tenant_id } => StoreReply::Tenant(tenants::read(connection, tenant_id)?),
        StoreRequest::ListRooms { tenant, actor, after, limit } => {
            let (rooms, has_more) = rooms::list(connection, *tenant, actor, after.as_ref(), *limit)?;
            StoreReply::Rooms { rooms, has_more }
        }
        StoreRequest::ReadRoom { tenant, room_id, actor } => {
            StoreReply::Room(rooms::read(connection, *tenant, room_id, actor)?)
        }
        StoreRequest::ListMembers { tenant, room_id, actor, after, limit } => {
            StoreReply::Members(members::list(connection, *tenant, room_id, actor, after.as_ref(), *limit)?)
        }
        StoreRequest::ListReceipts { tenant, room_id, actor, after, limit } => {
            StoreReply::Receipts(positions::receipts(connection, *tenant, room_id, actor, after.as_ref(), *limit)?)
        }
        StoreRequest::ReadMessages { tenant, room_id, actor, range, bounds } => {
            StoreReply::Messages(history::page(connection, *tenant, room_id, actor, *range, *bounds)?)
        }
        StoreRequest::ReadMessage { tenant, room_id, message_id, actor } => {
            StoreReply::Message(messages::read(connection, *tenant, room_id, message_id, actor)?)
        }
        StoreRequest::RereadMessage { tenant, room_id, message_id } => {
            StoreReply::Message(messages::read(connection, *tenant, room_id, message_id, &Actor::Tenant)?)
        }
        StoreRequest::LoadBacklog { tenant, user_id } => {
            StoreReply::Backlog(positions::backlog(connection, *tenant, user_id)?)
        }
        StoreRequest::LoadPositions { tenant, user_id, rooms } => {
            StoreReply::Positions(positions::positions(connection, *tenant, user_id, rooms)?)
        }
        StoreRequest::ReadFrames { tenant, rooms, bounds } => {
            StoreReply::Frames(history::frames(connection, *tenant, rooms, *bounds)?)
        }
        StoreRequest::ReadHead { tenant, room_id } => StoreReply::Head(positions::head(connection, *tenant, room_id)?),
        StoreRequest::ListExpansions => StoreReply::Expansions(notifications::list_expansions(connection)?),
        StoreRequest::ReadNotifications(pending) => {
            StoreReply::Notifications(notifications::read(connection, pending)?)
        }
        StoreRequest::ListSubscriptions { tenant, user_id } => {
            StoreReply::Subscriptions(subscriptions::list(connection, *tenant, user_id)?)
        }
        StoreRequest::CheckWritable { .. }
        | StoreRequest::CreateTenant(_)
        | StoreRequest::ChangeTenant(_)
        | StoreRequest::RotateKey(_)
        | StoreRequest::DeleteTenant { .. }
        | StoreRequest::CreateRoom(_)
        | StoreRequest::ChangeRoom(_)
        | StoreRequest::DeleteRoom { .. }
        | StoreRequest::AddMember(_)
        | StoreRequest::RemoveMember { .. }
        | StoreRequest::AppendMessage(_)
        | StoreRequest::EditMessage(_)
        | StoreRequest::DeleteMessage { .. }
        | StoreRequest::Acknowledge { .. }
        | StoreRequest::Notify(_)
        | StoreRequest::ExpandNotification { .. }
        | StoreRequest::ConfirmNotifications { .. }
        | StoreRequest::Subscribe { .. }
        | StoreRequest::Unsubscribe { .. }
        | StoreRequest::Sweep { .. } => return Ok(None),
    };
    Ok(Some(reply))
}
