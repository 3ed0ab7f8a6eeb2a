//! A database that holds much before the server starts: filled by the store's own code, since the API would take
//! minutes.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use chatapi_core::model::{Role, RoomType, TenantConfig};
use chatapi_core::store::{NewMessage, NewRoom, NewTenant, StoreReply, StoreRequest, StoreResult};
use chatapi_core::{Digest, MessageId, OpId, RoomId, TenantId, TenantKey, UnixMillis, UserId};
use chatapi_storage_sqlite::{Options, Store, Synchronous, Writer};

use crate::error::{Error, Result, fail};
use crate::setup::content;

/// Messages that share a transaction.
const BATCH: u64 = 512;
/// When all of it was made.
const CREATED_AT: UnixMillis = UnixMillis(1_765_627_800_123);
/// The server's database, where it is not told otherwise.
pub(crate) const DATABASE: &str = "chatapi.db";
/// Who sends every message.
pub(crate) const SENDER: &str = "alice";
/// The other member of every room.
pub(crate) const READER: &str = "bob";

/// A tenant with one room, as it stands in the database.
#[derive(Debug)]
pub(crate) struct Full {
    number: u64,
}

impl Full {
    /// The tenant of this number, from 1 on.
    pub(crate) const fn new(number: u64) -> Self {
        Self { number }
    }

    /// Its API key.
    pub(crate) fn api_key(&self) -> String {
        format!("sk_{:0>43}", self.number)
    }

    /// Its id.
    pub(crate) fn tenant_id(&self) -> String {
        format!("tenant_{:0>16}", self.number)
    }

    /// Its room.
    pub(crate) fn room_id(&self) -> String {
        format!("room_{:0>16}", self.number)
    }
}

/// Makes `tenants` tenants with a room of `messages` messages each, which lie between one another.
pub(crate) fn fill(directory: &Path, tenants: u64, messages: u64) -> Result<()> {
    let options = Options { synchronous: Synchronous::Normal, ..Options::new(directory.join(DATABASE)) };
    let store = Store::open(options).map_err(|error| Error::Failed(error.to_string()))?;
    let (sender, replies) = channel();
    let writer = Writer::start(&store, Box::new(move |batch| sender.send(batch).unwrap_or_default()))
        .map_err(|error| Error::Failed(error.to_string()))?;
    for number in 1..=tenants {
        let full = Full::new(number);
        let made = run(&writer, &replies, vec![tenant(&full)])?;
        if !matches!(made.as_slice(), [Ok(StoreReply::TenantCreated(tenant))] if tenant.key == key_of(number)) {
            return fail(format!("a tenant was not made: {made:?}"));
        }
        run(&writer, &replies, vec![room(&full)])?;
    }
    let text = content(100);
    let mut done = 0;
    while done < messages * tenants {
        let end = (done + BATCH).min(messages * tenants);
        run(&writer, &replies, (done..end).map(|number| message(1 + number % tenants, number, &text)).collect())?;
        done = end;
    }
    writer.close();
    Ok(())
}

const fn key_of(number: u64) -> TenantKey {
    TenantKey(number as i64)
}

fn tenant(full: &Full) -> StoreRequest {
    StoreRequest::CreateTenant(Box::new(NewTenant {
        tenant_id: TenantId::new(&full.tenant_id()),
        name: "full".to_owned(),
        api_key: Digest::of(full.api_key().as_bytes()),
        config: TenantConfig { rate_limit: Some(1_000_000_000), ..TenantConfig::default() },
        webhook_secret: None,
        created_at: CREATED_AT,
    }))
}

fn room(full: &Full) -> StoreRequest {
    StoreRequest::CreateRoom(Box::new(NewRoom {
        tenant: key_of(full.number),
        room_id: RoomId::new(&full.room_id()),
        kind: RoomType::Group,
        unique_key: None,
        name: None,
        metadata: None,
        members: vec![(UserId::new(SENDER), Role::Admin), (UserId::new(READER), Role::Member)],
        created_at: CREATED_AT,
    }))
}

fn message(tenant: u64, number: u64, content: &str) -> StoreRequest {
    StoreRequest::AppendMessage(Box::new(NewMessage {
        tenant: key_of(tenant),
        room_id: RoomId::new(&Full::new(tenant).room_id()),
        sender_id: UserId::new(SENDER),
        message_id: MessageId::new(&format!("msg_{number:0>16}")),
        content: content.to_owned(),
        meta: None,
        created_at: CREATED_AT,
        idempotency: None,
    }))
}

type Replies = Receiver<Vec<(OpId, StoreResult)>>;

fn run(writer: &Writer, replies: &Replies, requests: Vec<StoreRequest>) -> Result<Vec<StoreResult>> {
    let count = requests.len();
    writer.submit((0..).map(OpId).zip(requests).collect());
    let mut results = Vec::with_capacity(count);
    while results.len() < count {
        let Ok(batch) = replies.recv() else {
            return fail("the writer is gone");
        };
        results.extend(batch.into_iter().map(|(_, result)| result));
    }
    match results.iter().find(|result| result.is_err()) {
        Some(failed) => fail(format!("the database could not be filled: {failed:?}")),
        None => Ok(results),
    }
}
