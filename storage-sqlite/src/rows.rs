//! Between rows and the core's types.

use chatapi_core::model::{Message, Room, RoomType};
use chatapi_core::{MessageId, RoomId, Seq, UnixMillis, UserId};
use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type};

/// What [`room`] reads, in its order.
macro_rules! room_columns {
    () => {
        "r.room_key, r.room_id, r.type, r.unique_key, r.name, r.metadata, r.last_seq, r.created_at"
    };
}
/// What [`message`] reads, in its order.
macro_rules! message_columns {
    () => {
        "message_id, sender_id, seq, content, meta, created_at, edited_at, deleted_at"
    };
}
pub(crate) use {message_columns, room_columns};

/// A number of the wire as SQLite holds it; what does not fit lies past every message either way.
pub(crate) fn to_sql(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

pub(crate) fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map(Seq).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

pub(crate) fn text<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r str> {
    Ok(row.get_ref(column)?.as_str()?)
}

/// Reads a word that must be one of a few.
pub(crate) fn word<T>(row: &Row<'_>, column: usize, parse: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    parse(text(row, column)?).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(FromSqlError::InvalidType))
    })
}

/// At most `limit` of `rows`, which hold one more if there is one, and whether there is.
pub(crate) fn page<T>(rows: impl Iterator<Item = rusqlite::Result<T>>, limit: u32) -> rusqlite::Result<(Vec<T>, bool)> {
    let mut items = rows.collect::<rusqlite::Result<Vec<T>>>()?;
    let has_more = items.len() > limit as usize;
    items.truncate(limit as usize);
    Ok((items, has_more))
}

/// A room and its key, from `room_columns!`.
pub(crate) fn room(row: &Row<'_>) -> rusqlite::Result<(i64, Room)> {
    Ok((
        row.get(0)?,
        Room {
            room_id: RoomId::new(text(row, 1)?),
            kind: word(row, 2, RoomType::parse)?,
            unique_key: row.get(3)?,
            name: row.get(4)?,
            metadata: row.get(5)?,
            last_seq: seq(row, 6)?,
            created_at: UnixMillis(row.get(7)?),
        },
    ))
}

/// A message of `room_id`, from `message_columns!`.
pub(crate) fn message(room_id: &RoomId, row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        message_id: MessageId::new(text(row, 0)?),
        room_id: room_id.clone(),
        sender_id: UserId::new(text(row, 1)?),
        seq: seq(row, 2)?,
        content: row.get(3)?,
        meta: row.get(4)?,
        created_at: UnixMillis(row.get(5)?),
        edited_at: row.get::<_, Option<i64>>(6)?.map(UnixMillis),
        deleted_at: row.get::<_, Option<i64>>(7)?.map(UnixMillis),
    })
}
