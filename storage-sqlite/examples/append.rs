//! How many messages a second the writer stores, and what one costs in CPU: `append [SECONDS] [IN_FLIGHT] [ROOMS]`.
//!
//! A closed loop: each answer makes way for the next message. The CPU time is the whole process's, checkpoints and this
//! loop included.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use chatapi_core::model::{Role, RoomType, TenantConfig};
use chatapi_core::store::{NewMessage, NewRoom, NewTenant, StoreReply, StoreRequest};
use chatapi_core::{Digest, MessageId, OpId, RoomId, TenantId, TenantKey, UnixMillis, UserId};
use chatapi_storage_sqlite::{Options, Store, Synchronous, Writer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seconds, in_flight, rooms) = (number(5), number(64), number(50));
    let synchronous = if number(1) == 1 { Synchronous::Full } else { Synchronous::Normal };
    let directory = tempfile::tempdir_in(std::env::current_dir()?)?;
    let store = Store::open(Options { synchronous, ..Options::new(directory.path().join("bench.db")) })?;
    let (sender, replies) = mpsc::channel();
    let writer = Writer::start(&store, Box::new(move |batch| sender.send(batch).unwrap_or_default()))?;
    writer.submit(setup(rooms));
    let mut prepared = 0;
    while prepared <= rooms {
        for (_, result) in replies.recv()? {
            result.map_err(|failure| format!("{failure:?}"))?;
            prepared += 1;
        }
    }

    let names: Vec<(RoomId, UserId)> =
        (0..rooms).map(|room| (room_id(room), UserId::new(&format!("user_{room}")))).collect();
    let before = writer.stats();
    let cpu = cpu_time();
    let start = Instant::now();
    let mut sent: u64 = 0;
    let mut next = |count: u64| -> Vec<(OpId, StoreRequest)> {
        (0..count)
            .map(|_| {
                sent += 1;
                // A multiplicative step visits the rooms in an order that no cache foresees.
                let (room_id, sender_id) =
                    &names[(sent.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as usize % names.len()];
                (OpId(sent), message(room_id, sender_id, sent))
            })
            .collect()
    };
    let mut latencies = Vec::new();
    let mut answered = 0;
    let mut sent_at = std::collections::VecDeque::new();
    writer.submit(next(in_flight));
    sent_at.extend(std::iter::repeat_n(Instant::now(), in_flight as usize));
    while start.elapsed() < Duration::from_secs(seconds) {
        let mut batch = replies.recv()?;
        while let Ok(more) = replies.try_recv() {
            batch.extend(more);
        }
        let now = Instant::now();
        for (_, result) in &batch {
            let Ok(StoreReply::Appended(Ok(_))) = result else {
                return Err(format!("{result:?}").into());
            };
            latencies.extend(sent_at.pop_front().map(|at| now - at));
        }
        answered += batch.len() as u64;
        writer.submit(next(batch.len() as u64));
        sent_at.extend(std::iter::repeat_n(now, batch.len()));
    }
    let elapsed = start.elapsed();
    let cpu = cpu_time() - cpu;
    let after = writer.stats();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{:.0} messages/s, {:.1} µs of CPU each, {:.1} a batch, p50 {:?} p99 {:?} max {:?}, log {} pages, {synchronous:?}",
        answered as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / answered as f64,
        (after.steps - before.steps) as f64 / (after.batches - before.batches) as f64,
        at(0.5),
        at(0.99),
        at(1.0),
        after.wal_pages,
    );
    writer.close();
    Ok(())
}

fn setup(rooms: u64) -> Vec<(OpId, StoreRequest)> {
    let tenant = StoreRequest::CreateTenant(Box::new(NewTenant {
        tenant_id: TenantId::new("tenant_1"),
        name: "bench".to_owned(),
        api_key: Digest([1; 32]),
        config: TenantConfig::default(),
        webhook_secret: None,
        created_at: UnixMillis(1),
    }));
    let rooms = (0..rooms).map(|room| {
        StoreRequest::CreateRoom(Box::new(NewRoom {
            tenant: TenantKey(1),
            room_id: room_id(room),
            kind: RoomType::Group,
            unique_key: None,
            name: Some("A room".to_owned()),
            metadata: None,
            members: vec![(UserId::new(&format!("user_{room}")), Role::Admin)],
            created_at: UnixMillis(1),
        }))
    });
    std::iter::once(tenant).chain(rooms).map(|request| (OpId(0), request)).collect()
}

fn room_id(room: u64) -> RoomId {
    RoomId::new(&format!("room_{room:016}"))
}

fn message(room_id: &RoomId, sender_id: &UserId, number: u64) -> StoreRequest {
    StoreRequest::AppendMessage(Box::new(NewMessage {
        tenant: TenantKey(1),
        room_id: room_id.clone(),
        sender_id: sender_id.clone(),
        message_id: MessageId::new(&format!("msg_{number:016}")),
        content: "The quick brown fox jumps over the lazy dog, and then it does so again and again for a while."
            .to_owned(),
        meta: None,
        created_at: UnixMillis(1_765_627_800_123),
        idempotency: None,
    }))
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
