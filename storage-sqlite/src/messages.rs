//! Single messages: reading, editing, deleting.

use chatapi_core::model::Message;
use chatapi_core::store::{
    Actor, DeleteMessageRefusal, DeleteOutcome, DeletedMessage, EditMessageRefusal, MessageEdit, ReadMessageRefusal,
};
use chatapi_core::{MessageId, RoomId, TenantKey, UnixMillis};
use rusqlite::{Connection, OptionalExtension, params};

use crate::rooms::{self, Entered};
use crate::rows::{message, message_columns};

pub(crate) fn read(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    message_id: &MessageId,
    actor: &Actor,
) -> rusqlite::Result<Result<Message, ReadMessageRefusal>> {
    let room = match rooms::enter(connection, tenant, room_id, actor)? {
        Ok(Entered { room, .. }) => room,
        Err(refusal) => return Ok(Err(ReadMessageRefusal::Access(refusal))),
    };
    let found = find(connection, room.key, room_id, message_id)?;
    Ok(found.map(|(_, message)| message).ok_or(ReadMessageRefusal::NoMessage))
}

pub(crate) fn edit(
    connection: &Connection,
    edit: &MessageEdit,
) -> rusqlite::Result<Result<Message, EditMessageRefusal>> {
    let MessageEdit { tenant, room_id, message_id, user_id, content, meta, now } = edit;
    let room = match rooms::enter(connection, *tenant, room_id, &Actor::User(user_id.clone()))? {
        Ok(Entered { room, .. }) => room,
        Err(refusal) => return Ok(Err(EditMessageRefusal::Access(refusal))),
    };
    let Some((key, mut message)) = find(connection, room.key, room_id, message_id)? else {
        return Ok(Err(EditMessageRefusal::NoMessage));
    };
    if message.sender_id != *user_id {
        return Ok(Err(EditMessageRefusal::NotSender));
    }
    if message.deleted_at.is_some() {
        return Ok(Err(EditMessageRefusal::Deleted));
    }
    message.content.clone_from(content);
    message.meta = meta.clone().apply(message.meta);
    message.edited_at = Some(*now);
    connection
        .prepare_cached("UPDATE messages SET content = ?2, meta = ?3, edited_at = ?4 WHERE message_key = ?1")?
        .execute(params![key, message.content, message.meta, now.0])?;
    Ok(Ok(message))
}

pub(crate) fn delete(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    message_id: &MessageId,
    actor: &Actor,
    now: UnixMillis,
) -> rusqlite::Result<Result<DeletedMessage, DeleteMessageRefusal>> {
    let room = match rooms::enter(connection, tenant, room_id, actor)? {
        Ok(Entered { room, .. }) => room,
        Err(refusal) => return Ok(Err(DeleteMessageRefusal::Access(refusal))),
    };
    let Some((key, mut message)) = find(connection, room.key, room_id, message_id)? else {
        return Ok(Err(DeleteMessageRefusal::NoMessage));
    };
    match actor {
        Actor::User(user_id) if message.sender_id != *user_id => return Ok(Err(DeleteMessageRefusal::NotSender)),
        Actor::User(_) | Actor::Tenant => {}
    }
    if message.deleted_at.is_some() {
        let outcome = DeleteOutcome::Before;
        return Ok(Ok(DeletedMessage { message, outcome }));
    }
    message.content = String::new();
    message.meta = None;
    message.deleted_at = Some(now);
    connection
        .prepare_cached("UPDATE messages SET content = '', meta = NULL, deleted_at = ?2 WHERE message_key = ?1")?
        .execute([key, now.0])?;
    let outcome = DeleteOutcome::Deleted;
    Ok(Ok(DeletedMessage { message, outcome }))
}

/// A message of the room, and its key.
fn find(
    connection: &Connection,
    room_key: i64,
    room_id: &RoomId,
    message_id: &MessageId,
) -> rusqlite::Result<Option<(i64, Message)>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            ", message_key FROM messages WHERE message_id = ?1 AND chatroom_id = ?2"
        ))?
        .query_row(params![message_id.as_str(), room_key], |row| Ok((row.get(8)?, message(room_id, row)?)))
        .optional()
}
