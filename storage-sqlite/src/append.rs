//! Storing messages: the path that everything else makes way for.
//!
//! The writer is the only one that changes the database, so it may know the rooms and members it last looked up from
//! one transaction to the next, and write a room's new head once for all messages of a transaction. What costs is the
//! statement; in a busy room a message costs one.

use std::collections::{HashMap, HashSet};

use chatapi_core::model::Message;
use chatapi_core::store::{AccessRefusal, AppendOutcome, AppendRefusal, Appended, Idempotency, NewMessage};
use chatapi_core::{RoomId, Seq, TenantKey, UnixMillis, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::members;
use crate::rows::{message, message_columns, seq, to_sql};

/// About 1 MB when full of rooms and members.
const ROOMS_MAX: usize = 4_096;
const MEMBERS_MAX: usize = 8_192;

/// What is known of rooms and members, and what a transaction still owes to the tables.
#[derive(Debug, Default)]
pub(crate) struct Appender {
    data_version: i64,
    rooms: HashMap<RoomId, KnownRoom>,
    /// In all rooms together.
    members_known: usize,
    /// The rooms whose head in the table is behind.
    behind: Vec<RoomId>,
    expired: Expired,
}

#[derive(Debug)]
struct KnownRoom {
    key: i64,
    tenant: TenantKey,
    last_seq: Seq,
    behind: bool,
    /// Some of them. Who is not here may be one as well.
    members: HashSet<UserId>,
}

/// Idempotency keys that may go: each new one pays for the removal of two.
#[derive(Debug, Default)]
struct Expired {
    before: Option<UnixMillis>,
    at_most: u32,
}

/// Keys are kept for a day past their end: a wall clock that was ahead for a moment forgets none that is good still.
const KEPT_FOR_A_CLOCK_SET_BACK_MS: i64 = 24 * 60 * 60 * 1_000;

impl Appender {
    /// Starts a transaction: what is known stays known, unless another process wrote meanwhile.
    pub(crate) fn begin(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let version = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if version != self.data_version || self.rooms.len() > ROOMS_MAX || self.members_known > MEMBERS_MAX {
            self.forget();
            self.data_version = version;
        }
        Ok(())
    }

    /// Checks and stores a message.
    pub(crate) fn append(
        &mut self,
        connection: &Connection,
        new: &NewMessage,
    ) -> rusqlite::Result<Result<Appended, AppendRefusal>> {
        if !self.rooms.contains_key(&new.room_id) && !self.look_up(connection, &new.room_id)? {
            return Ok(Err(AppendRefusal::Access(AccessRefusal::NoRoom)));
        }
        let Some(room) = self.rooms.get_mut(&new.room_id).filter(|room| room.tenant == new.tenant) else {
            return Ok(Err(AppendRefusal::Access(AccessRefusal::NoRoom)));
        };
        if !room.members.contains(&new.sender_id) {
            if !members::is_member(connection, room.key, &new.sender_id)? {
                return Ok(Err(AppendRefusal::Access(AccessRefusal::NotMember)));
            }
            room.members.insert(new.sender_id.clone());
            self.members_known += 1;
        }
        if let Some(idempotency) = &new.idempotency {
            match earlier(connection, room.key, new, idempotency)? {
                Some(Ok(message)) => {
                    let outcome = AppendOutcome::Replayed;
                    return Ok(Ok(Appended { message, outcome }));
                }
                Some(Err(())) => return Ok(Err(AppendRefusal::KeyReused)),
                None => {}
            }
        }
        let seq = room.last_seq.next();
        insert(connection, room.key, seq, new)?;
        if let Some(idempotency) = &new.idempotency {
            remember(connection, room.key, seq, new, idempotency)?;
            self.expired.add(idempotency.valid_since);
        }
        room.last_seq = seq;
        if !room.behind {
            room.behind = true;
            self.behind.push(new.room_id.clone());
        }
        let message = Message {
            message_id: new.message_id.clone(),
            room_id: new.room_id.clone(),
            sender_id: new.sender_id.clone(),
            seq,
            content: new.content.clone(),
            meta: new.meta.clone(),
            created_at: new.created_at,
            edited_at: None,
            deleted_at: None,
        };
        let outcome = AppendOutcome::Stored;
        Ok(Ok(Appended { message, outcome }))
    }

    /// Brings the rooms' heads in the table up to date; every step that reads or changes rooms needs it first.
    pub(crate) fn flush(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.behind.is_empty() {
            return Ok(());
        }
        let mut statement = connection.prepare_cached("UPDATE rooms SET last_seq = ?2 WHERE room_key = ?1")?;
        for room_id in self.behind.drain(..) {
            if let Some(room) = self.rooms.get_mut(&room_id) {
                statement.execute([room.key, to_sql(room.last_seq)])?;
                room.behind = false;
            }
        }
        Ok(())
    }

    /// Pays what the transaction owes, before its commit.
    pub(crate) fn finish(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.flush(connection)?;
        let Expired { before, at_most } = std::mem::take(&mut self.expired);
        let Some(before) = before else { return Ok(()) };
        let before = UnixMillis(before.0.saturating_sub(KEPT_FOR_A_CLOCK_SET_BACK_MS));
        connection
            .prepare_cached(
                "DELETE FROM idempotency_keys WHERE (chatroom_id, sender_id, key) IN
                   (SELECT chatroom_id, sender_id, key FROM idempotency_keys INDEXED BY idx_idempotency_created
                    WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)",
            )?
            .execute(params![before.0, at_most])
            .map(drop)
    }

    /// Nothing is known and nothing owed any more: after a rollback, and before a step that takes many rooms away.
    pub(crate) fn forget(&mut self) {
        self.rooms.clear();
        self.members_known = 0;
        self.behind.clear();
        self.expired = Expired::default();
    }

    /// A room is not known any more: before a step that takes it or a member away. Its head must be flushed.
    pub(crate) fn forget_room(&mut self, room_id: &RoomId) {
        if let Some(room) = self.rooms.remove(room_id) {
            self.members_known -= room.members.len();
        }
    }

    fn look_up(&mut self, connection: &Connection, room_id: &RoomId) -> rusqlite::Result<bool> {
        let known = connection
            .prepare_cached(
                "SELECT r.room_key, r.tenant_id, r.last_seq FROM rooms r CROSS JOIN tenants t ON t.tenant_key = r.tenant_id
                 WHERE r.room_id = ?1 AND r.deleted_at IS NULL AND t.deleted_at IS NULL",
            )?
            .query_row([room_id.as_str()], |row| {
                Ok(KnownRoom {
                    key: row.get(0)?,
                    tenant: TenantKey(row.get(1)?),
                    last_seq: seq(row, 2)?,
                    behind: false,
                    members: HashSet::new(),
                })
            })
            .optional()?;
        let found = known.is_some();
        if let Some(room) = known {
            self.rooms.insert(room_id.clone(), room);
        }
        Ok(found)
    }
}

impl Expired {
    fn add(&mut self, valid_since: UnixMillis) {
        self.before = Some(self.before.map_or(valid_since, |before| before.min(valid_since)));
        self.at_most += 2;
    }
}

/// The message that the same key stored, as it now is, or `Err` where the key was used for another request.
fn earlier(
    connection: &Connection,
    room_key: i64,
    new: &NewMessage,
    idempotency: &Idempotency,
) -> rusqlite::Result<Option<Result<Message, ()>>> {
    let known = connection
        .prepare_cached(
            "SELECT seq, body_hash = ?4 FROM idempotency_keys
             WHERE chatroom_id = ?1 AND sender_id = ?2 AND key = ?3 AND created_at >= ?5",
        )?
        .query_row(
            params![
                room_key,
                new.sender_id.as_str(),
                idempotency.key,
                idempotency.body.0.as_slice(),
                idempotency.valid_since.0,
            ],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?)),
        )
        .optional()?;
    let Some((seq, same_body)) = known else {
        return Ok(None);
    };
    if !same_body {
        return Ok(Some(Err(())));
    }
    connection
        .prepare_cached(concat!("SELECT ", message_columns!(), " FROM messages WHERE chatroom_id = ?1 AND seq = ?2"))?
        .query_row([room_key, seq], |row| message(&new.room_id, row))
        .map(|message| Some(Ok(message)))
}

fn insert(connection: &Connection, room_key: i64, seq: Seq, new: &NewMessage) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO messages (message_id, tenant_id, chatroom_id, sender_id, seq, created_at, content, meta)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            new.message_id.as_str(),
            new.tenant.0,
            room_key,
            new.sender_id.as_str(),
            to_sql(seq),
            new.created_at.0,
            new.content,
            new.meta,
        ])
        .map(drop)
}

fn remember(
    connection: &Connection,
    room_key: i64,
    seq: Seq,
    new: &NewMessage,
    idempotency: &Idempotency,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO idempotency_keys (chatroom_id, sender_id, key, body_hash, seq, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET
               body_hash = excluded.body_hash, seq = excluded.seq, created_at = excluded.created_at",
        )?
        .execute(params![
            room_key,
            new.sender_id.as_str(),
            idempotency.key,
            idempotency.body.0.as_slice(),
            to_sql(seq),
            new.created_at.0,
        ])
        .map(drop)
}
