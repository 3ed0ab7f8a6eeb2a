//! How long a sweep keeps the writer: `sweep [MESSAGES] [ROWS] [SHARE] [SYNCHRONOUS]`.
//!
//! A room of so many messages is deleted; others stay and lie between them, `SHARE` - 1 for each. Then one sweep follows
//! another, each in a transaction of its own, as it is when nothing else waits. `SYNCHRONOUS` is 1 for `full`; with 0
//! nothing waits for the disk.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use chatapi_core::model::{Role, RoomType, TenantConfig};
use chatapi_core::store::{Actor, NewMessage, NewRoom, NewTenant, StoreReply, StoreRequest, StoreResult};
use chatapi_core::{Digest, MessageId, OpId, RoomId, TenantId, TenantKey, UnixMillis, UserId};
use chatapi_storage_sqlite::{Options, Store, Synchronous, Writer};

type Failure = Box<dyn std::error::Error>;
type Replies = Receiver<Vec<(OpId, StoreResult)>>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (messages, rows, share) = (number(1_000_000), number(128), number(1));
    let synchronous = if number(1) == 1 { Synchronous::Full } else { Synchronous::Normal };
    let directory = tempfile::tempdir_in(std::env::current_dir()?)?;
    let path = directory.path().join("bench.db");
    fill(&path, messages, share)?;

    let (writer, replies) = open(&path, synchronous)?;
    let gone = StoreRequest::DeleteRoom {
        tenant: TenantKey(1),
        room_id: room_id(0),
        actor: Actor::Tenant,
        now: UnixMillis(2),
    };
    run(&writer, &replies, vec![gone])?;
    let mut steps = Vec::new();
    loop {
        let sweep = StoreRequest::Sweep {
            notifications_before: UnixMillis(0),
            keys_before: UnixMillis(0),
            rows: u32::try_from(rows)?,
        };
        let start = Instant::now();
        let swept = run(&writer, &replies, vec![sweep])?;
        steps.push(start.elapsed());
        if swept == [Ok(StoreReply::Swept { has_more: false })] {
            break;
        }
    }
    writer.close();
    steps.sort_unstable();
    let at = |share: f64| steps[((steps.len() - 1) as f64 * share) as usize];
    let late = steps.iter().filter(|step| **step > Duration::from_millis(5)).count();
    println!(
        "{} sweeps of {rows} rows, {synchronous:?}: mean {:?} p50 {:?} p99 {:?} p99.9 {:?} max {:?}, {late} above 5 ms",
        steps.len(),
        steps.iter().sum::<Duration>() / u32::try_from(steps.len())?,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
    );
    Ok(())
}

fn fill(path: &std::path::Path, messages: u64, share: u64) -> Result<(), Failure> {
    let (writer, replies) = open(path, Synchronous::Normal)?;
    let tenant = StoreRequest::CreateTenant(Box::new(NewTenant {
        tenant_id: TenantId::new("tenant_1"),
        name: "bench".to_owned(),
        api_key: Digest([1; 32]),
        config: TenantConfig::default(),
        webhook_secret: None,
        created_at: UnixMillis(1),
    }));
    let rooms = (0..share).map(|room| {
        StoreRequest::CreateRoom(Box::new(NewRoom {
            tenant: TenantKey(1),
            room_id: room_id(room),
            kind: RoomType::Group,
            unique_key: None,
            name: None,
            metadata: None,
            members: vec![(UserId::new("alice"), Role::Admin)],
            created_at: UnixMillis(1),
        }))
    });
    run(&writer, &replies, std::iter::once(tenant).chain(rooms).collect())?;
    let all: Vec<u64> = (0..messages * share).collect();
    for part in all.chunks(512) {
        run(&writer, &replies, part.iter().map(|number| message(room_id(number % share), *number)).collect())?;
    }
    writer.close();
    Ok(())
}

fn open(path: &std::path::Path, synchronous: Synchronous) -> Result<(Writer, Replies), Failure> {
    let store = Store::open(Options { synchronous, ..Options::new(path.to_owned()) })?;
    let (sender, replies) = channel();
    let writer = Writer::start(&store, Box::new(move |batch| sender.send(batch).unwrap_or_default()))?;
    Ok((writer, replies))
}

fn run(writer: &Writer, replies: &Replies, requests: Vec<StoreRequest>) -> Result<Vec<StoreResult>, Failure> {
    let count = requests.len();
    writer.submit((0..).map(OpId).zip(requests).collect());
    let mut results = Vec::with_capacity(count);
    while results.len() < count {
        results.extend(replies.recv()?.into_iter().map(|(_, result)| result));
    }
    if let Some(failed) = results.iter().find(|result| result.is_err()) {
        return Err(format!("{failed:?}").into());
    }
    Ok(results)
}

fn room_id(room: u64) -> RoomId {
    RoomId::new(&format!("room_{room:016}"))
}

fn message(room_id: RoomId, number: u64) -> StoreRequest {
    StoreRequest::AppendMessage(Box::new(NewMessage {
        tenant: TenantKey(1),
        room_id,
        sender_id: UserId::new("alice"),
        message_id: MessageId::new(&format!("msg_{number:016}")),
        content: "The quick brown fox jumps over the lazy dog, and then it does so again and again for a while."
            .to_owned(),
        meta: None,
        created_at: UnixMillis(1_765_627_800_123),
        idempotency: None,
    }))
}
