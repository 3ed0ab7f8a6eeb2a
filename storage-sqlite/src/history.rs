//! Pages of messages.

use chatapi_core::store::{AccessRefusal, Actor, HistoryRange, MessagePage, PageBounds};
use chatapi_core::ws::{Frame, message_frame};
use chatapi_core::{RoomId, Seq, TenantKey};
use rusqlite::{Connection, params};

use crate::rooms::{self, Entered};
use crate::rows::{message, message_columns, to_sql};

pub(crate) fn page(
    connection: &Connection,
    tenant: TenantKey,
    room_id: &RoomId,
    actor: &Actor,
    range: HistoryRange,
    bounds: PageBounds,
) -> rusqlite::Result<Result<MessagePage, AccessRefusal>> {
    let room = match rooms::enter(connection, tenant, room_id, actor)? {
        Ok(Entered { room, .. }) => room,
        Err(refusal) => return Ok(Err(refusal)),
    };
    Ok(Ok(read_page(connection, room.key, room_id, range, bounds)?))
}

pub(crate) fn frames(
    connection: &Connection,
    tenant: TenantKey,
    rooms: &[(RoomId, Seq)],
    bounds: PageBounds,
) -> rusqlite::Result<Vec<Vec<(Seq, Frame)>>> {
    let mut pages = Vec::with_capacity(rooms.len());
    let mut left = Some(bounds);
    for (room_id, after) in rooms {
        let Some(bounds) = left else { break };
        let Some(room) = rooms::find(connection, tenant, room_id)? else {
            pages.push(Vec::new());
            continue;
        };
        let page = read_page(connection, room.key, room_id, HistoryRange::After(*after), bounds)?;
        pages.push(page.messages.iter().map(|message| (message.seq, message_frame(message))).collect());
        left = bounds.left_after(&page);
    }
    Ok(pages)
}

fn read_page(
    connection: &Connection,
    room_key: i64,
    room_id: &RoomId,
    range: HistoryRange,
    bounds: PageBounds,
) -> rusqlite::Result<MessagePage> {
    let (sql, from) = match range {
        HistoryRange::After(seq) => (
            concat!(
                "SELECT ",
                message_columns!(),
                " FROM messages WHERE chatroom_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
            ),
            seq,
        ),
        HistoryRange::Before(seq) => (
            concat!(
                "SELECT ",
                message_columns!(),
                " FROM messages WHERE chatroom_id = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
            ),
            seq,
        ),
    };
    let count = bounds.messages.max(1) as usize;
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![room_key, to_sql(from), i64::from(bounds.messages.max(1)) + 1])?;
    let mut messages = Vec::new();
    let mut size = 0;
    let mut has_more = false;
    while let Some(row) = rows.next()? {
        let message = message(room_id, row)?;
        size += message.size_on_wire_bytes();
        let full = messages.len() >= count || size > bounds.size_bytes as usize;
        if full && !messages.is_empty() {
            has_more = true;
            break;
        }
        messages.push(message);
    }
    if matches!(range, HistoryRange::Before(_)) {
        messages.reverse();
    }
    Ok(MessagePage { messages, has_more })
}
