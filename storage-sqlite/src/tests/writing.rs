//! Group commits, and what happens when they go wrong.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use chatapi_core::model::{Role, RoomType, TenantConfig};
use chatapi_core::store::{
    Actor, HistoryRange, NewMessage, NewRoom, NewTenant, PageBounds, StoreFailure, StoreReply, StoreRequest,
    StoreResult,
};
use chatapi_core::{Digest, MessageId, OpId, RoomId, Seq, TenantId, TenantKey, UnixMillis, UserId};
use rusqlite::Connection;

use crate::{Options, Readers, Store, Writer};

#[test]
fn what_waits_during_a_transaction_shares_the_next_one_in_order() {
    let mut bench = Bench::new();
    let go = bench.hold();
    for number in 0..100 {
        bench.submit(vec![append(number)]);
    }
    drop(go);
    assert_eq!(bench.next_batch().len(), 1, "the one that held the writer");
    let batch = bench.next_batch();
    let seqs: Vec<_> = batch.iter().map(|(_, result)| stored_seq(result)).collect();
    assert_eq!(seqs, (1..=100).map(Some).collect::<Vec<_>>());
    assert!(batch.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn a_long_queue_is_cut_into_bounded_transactions() {
    let mut bench = Bench::new();
    bench.submit((0..1_200).map(append).collect());
    let sizes: Vec<_> = (0..3).map(|_| bench.next_batch().len()).collect();
    assert_eq!(sizes, [512, 512, 176]);
    assert_eq!(bench.head(), Some(1_200));
}

#[test]
fn a_failed_step_rolls_back_alone() {
    let mut bench = Bench::new();
    let replies = bench.run(vec![append(1), append(2), append(1), read_head(), append(3), room("room_1"), append(4)]);
    let expected = [Ok(1), Ok(2), Err(StoreFailure::Failed), Ok(2), Ok(3), Err(StoreFailure::Failed), Ok(4)];
    assert_eq!(numbers(&replies), expected);
    assert_eq!(bench.stored(), 4);
    assert_eq!(numbers(&bench.run(vec![append(5)])), [Ok(5)]);
}

#[test]
fn reads_in_a_batch_see_the_changes_before_them() {
    let mut bench = Bench::new();
    let replies = bench.run(vec![read_head(), append(1), read_head(), append(2), read_head()]);
    assert_eq!(numbers(&replies), [Ok(0), Ok(1), Ok(1), Ok(2), Ok(2)]);
}

#[test]
fn what_was_answered_is_there_after_reopening() {
    let mut bench = Bench::new();
    bench.run((1..=10).map(append).collect());
    let epoch = bench.run(vec![StoreRequest::Boot]).remove(0);
    let mut bench = bench.reopen();
    assert_eq!(bench.stored(), 10);
    assert_eq!(numbers(&bench.run(vec![append(11)])), [Ok(11)]);
    let Ok(StoreReply::Booted { newest_id, .. }) = &epoch else { panic!("{epoch:?}") };
    assert!(newest_id.is_some());
    let again = bench.run(vec![StoreRequest::Boot]).remove(0);
    let epoch_of = |result: StoreResult| match result {
        Ok(StoreReply::Booted { epoch, .. }) => epoch,
        result => panic!("{result:?}"),
    };
    assert_eq!(epoch_of(again), epoch_of(epoch));
}

#[test]
fn what_is_queued_at_the_close_is_still_stored() {
    let mut bench = Bench::new();
    bench.submit((1..=600).map(append).collect());
    let mut bench = bench.reopen();
    assert_eq!(bench.stored(), 600);
}

#[test]
fn closing_leaves_no_log_behind() {
    let mut bench = Bench::new();
    bench.run((1..=600).map(append).collect());
    let Bench { writer, path, .. } = bench;
    writer.close();
    let log = std::fs::metadata(path.with_extension("db-wal")).map_or(0, |metadata| metadata.len());
    assert_eq!(log, 0);
}

#[test]
fn a_full_disk_is_answered_as_such_and_service_returns_with_the_space() {
    let mut bench = Bench::new();
    bench.store.options().faults.pages_max.store(1, Ordering::SeqCst);
    let mut number = 0;
    let mut stored = 0;
    let full = loop {
        number += 1;
        let replies = bench.run(vec![append(number), read_head()]);
        match numbers(&replies)[..] {
            [Ok(seq), Ok(head)] => {
                assert_eq!(seq, head);
                stored = seq;
            }
            [Err(failure), Ok(head)] => break (failure, head),
            ref other => panic!("{other:?}"),
        }
    };
    assert_eq!(full, (StoreFailure::Full, stored));
    assert!(bench.run(vec![append(9_001)])[0].is_err());
    bench.store.options().faults.pages_max.store(0, Ordering::SeqCst);
    assert_eq!(numbers(&bench.run(vec![append(9_002)])), [Ok(stored + 1)]);
    let mut bench = bench.reopen();
    assert_eq!(bench.stored(), stored + 1);
}

#[test]
fn a_locked_database_is_busy_and_recovers() {
    let mut bench = Bench::with(|options| options.busy_timeout = Duration::from_millis(20));
    let mut other = Connection::open(&bench.path).unwrap();
    let held = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let replies = bench.run(vec![append(1), read_head()]);
    assert_eq!(numbers(&replies), [Err(StoreFailure::Busy), Ok(0)]);
    drop(held);
    assert_eq!(numbers(&bench.run(vec![append(1)])), [Ok(1)]);
}

#[test]
fn what_another_process_wrote_is_noticed() {
    let mut bench = Bench::new();
    assert_eq!(numbers(&bench.run(vec![append(1)])), [Ok(1)]);
    let other = Connection::open(&bench.path).unwrap();
    other.execute("UPDATE rooms SET last_seq = 7", []).unwrap();
    other.execute("DELETE FROM room_members WHERE user_id = 'bob'", []).unwrap();
    assert_eq!(numbers(&bench.run(vec![append(2)])), [Ok(8)]);
    let from_bob = bench.run(vec![append_from("bob", 3)]);
    assert!(matches!(from_bob[..], [Ok(StoreReply::Appended(Err(_)))]), "{from_bob:?}");
}

#[test]
fn a_failed_commit_leaves_the_outcome_unknown_and_the_next_ones_refused_until_a_write_succeeds() {
    let mut bench = Bench::new();
    bench.run(vec![append(1)]);
    let fail_commits = std::sync::Arc::clone(&bench.store.options().faults.fail_commits);
    fail_commits.store(true, Ordering::SeqCst);
    let unknown = Err(StoreFailure::OutcomeUnknown);
    let replies = bench.run(vec![append(2), read_head(), append(3)]);
    assert_eq!(numbers(&replies), [unknown, unknown, unknown]);
    // From here on nothing is left in doubt: no trial write succeeds, so nothing is begun.
    let replies = bench.run(vec![append(4), read_head()]);
    assert_eq!(numbers(&replies), [Err(StoreFailure::Failed), Ok(1)]);
    fail_commits.store(false, Ordering::SeqCst);
    assert_eq!(numbers(&bench.run(vec![append(5), read_head()])), [Ok(2), Ok(2)]);
    let mut bench = bench.reopen();
    assert_eq!(bench.stored(), 2);
}

#[test]
fn a_failed_commit_stays_of_unknown_outcome_when_the_rollback_fails_too() {
    let mut bench = Bench::new();
    bench.run(vec![append(1)]);
    let forbid_ends = std::sync::Arc::clone(&bench.store.options().faults.forbid_ends);
    forbid_ends.store(true, Ordering::SeqCst);
    assert_eq!(numbers(&bench.run(vec![append(2)])), [Err(StoreFailure::OutcomeUnknown)]);
    forbid_ends.store(false, Ordering::SeqCst);
    assert_eq!(numbers(&bench.run(vec![append(3)])), [Ok(2)]);
    assert_eq!(bench.reopen().stored(), 2);
}

#[test]
fn the_log_stays_bounded_under_load() {
    let mut bench = Bench::with(|options| options.wal_limit_bytes = 4_096 * 1_000);
    for batch in 0..60 {
        bench.run((0..200).map(|number| append(batch * 200 + number)).collect());
        assert!(bench.writer.stats().wal_pages < 2_500, "{:?}", bench.writer.stats());
    }
}

#[test]
fn expired_idempotency_keys_are_cleared_away() {
    const HOUR_MS: i64 = 60 * 60 * 1_000;
    let mut bench = Bench::new();
    let keyed = |number: u64| {
        let StoreRequest::AppendMessage(mut message) = append(number) else { panic!("no message") };
        let now = HOUR_MS * number as i64;
        message.created_at = UnixMillis(now);
        message.idempotency = Some(chatapi_core::store::Idempotency {
            key: number.to_string(),
            body: Digest([0; 32]),
            valid_since: UnixMillis(now - 10 * HOUR_MS),
        });
        StoreRequest::AppendMessage(message)
    };
    for number in 1..=100 {
        bench.run(vec![keyed(number)]);
    }
    let other = Connection::open(&bench.path).unwrap();
    let left: i64 = other.query_row("SELECT count(*) FROM idempotency_keys", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 24 + 11, "each is kept for a day past its end");
}

#[test]
fn readers_serve_several_threads_and_refuse_changes() {
    let mut bench = Bench::new();
    bench.run((1..=50).map(append).collect());
    let readers = Readers::open(&bench.store, 2).unwrap();
    assert_eq!(readers.read(&append(51)), Err(StoreFailure::Failed));
    let page = readers.read(&read_all());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(readers.read(&read_all()), page);
                }
            });
        }
    });
}

#[test]
fn a_user_in_many_rooms_loads_its_backlog() {
    let mut bench = Bench::new();
    bench.run((0..5_000).map(|number| room(&format!("room_x{number}"))).collect());
    let backlog = StoreRequest::LoadBacklog { tenant: TenantKey(1), user_id: UserId::new("alice") };
    let replies = bench.run(vec![backlog]);
    assert!(matches!(&replies[..], [Ok(StoreReply::Backlog(backlog))] if backlog.rooms.len() == 5_001));
}

/// A writer with one tenant and one room, in a directory of its own.
pub(super) struct Bench {
    writer: Writer,
    replies: Receiver<Vec<(OpId, StoreResult)>>,
    gate: Sender<Gate>,
    left_over: VecDeque<(OpId, StoreResult)>,
    next_op: u64,
    pub(super) store: Store,
    pub(super) path: PathBuf,
    directory: tempfile::TempDir,
}

/// Stops the writer's callback: it says that it arrived, then waits for the other end of `go` to be dropped.
struct Gate {
    arrived: Sender<()>,
    go: Receiver<()>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(super) fn with(adjust: impl FnOnce(&mut Options)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path().join("chat.db"));
        adjust(&mut options);
        let mut bench = Self::open(directory, options);
        let tenant = NewTenant {
            tenant_id: TenantId::new("tenant_1"),
            name: "One".to_owned(),
            api_key: Digest([1; 32]),
            config: TenantConfig::default(),
            webhook_secret: None,
            created_at: UnixMillis(1),
        };
        let setup = vec![StoreRequest::CreateTenant(Box::new(tenant)), room("room_1")];
        assert!(bench.run(setup).iter().all(Result::is_ok));
        bench
    }

    fn open(directory: tempfile::TempDir, options: Options) -> Self {
        let path = options.path.clone();
        let store = Store::open(options).unwrap();
        let (sender, replies) = channel();
        let (gate, gates) = channel::<Gate>();
        let on_replies = Box::new(move |batch| {
            if let Ok(Gate { arrived, go }) = gates.try_recv() {
                arrived.send(()).unwrap();
                assert!(go.recv().is_err());
            }
            sender.send(batch).unwrap_or(());
        });
        Self {
            writer: Writer::start(&store, on_replies).unwrap(),
            replies,
            gate,
            left_over: VecDeque::new(),
            next_op: 0,
            store,
            path,
            directory,
        }
    }

    pub(super) fn reopen(self) -> Self {
        let Self { writer, store, directory, path, .. } = self;
        writer.close();
        drop(store);
        Self::open(directory, Options::new(path))
    }

    fn submit(&mut self, requests: Vec<StoreRequest>) {
        let first = self.next_op;
        self.next_op += requests.len() as u64;
        self.writer.submit((first..).map(OpId).zip(requests).collect());
    }

    /// Holds the writer in its callback until the returned sender is dropped.
    fn hold(&mut self) -> Sender<()> {
        let (arrived, arrives) = channel();
        let (release, go) = channel();
        self.gate.send(Gate { arrived, go }).unwrap();
        self.submit(vec![read_head()]);
        arrives.recv().unwrap();
        release
    }

    fn next_batch(&mut self) -> Vec<(OpId, StoreResult)> {
        self.replies.recv().unwrap()
    }

    pub(super) fn run(&mut self, requests: Vec<StoreRequest>) -> Vec<StoreResult> {
        let count = requests.len();
        self.submit(requests);
        while self.left_over.len() < count {
            self.left_over.extend(self.replies.recv().unwrap());
        }
        self.left_over.drain(..count).map(|(_, result)| result).collect()
    }

    fn head(&mut self) -> Option<u64> {
        numbers(&self.run(vec![read_head()]))[0].ok()
    }

    /// How many messages the room holds, numbered without a gap.
    pub(super) fn stored(&mut self) -> u64 {
        let other = Connection::open(&self.path).unwrap();
        let (count, last): (u64, u64) = other
            .query_row("SELECT count(*), coalesce(max(seq), 0) FROM messages", [], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
            })
            .unwrap();
        assert_eq!(count, last);
        assert_eq!(self.head(), Some(count));
        count
    }
}

pub(super) fn append(number: u64) -> StoreRequest {
    append_from("alice", number)
}

pub(super) fn append_from(sender: &str, number: u64) -> StoreRequest {
    StoreRequest::AppendMessage(Box::new(NewMessage {
        tenant: TenantKey(1),
        room_id: RoomId::new("room_1"),
        sender_id: UserId::new(sender),
        message_id: MessageId::new(&format!("msg_{number:016}")),
        content: "Hello ".repeat(40),
        meta: None,
        created_at: UnixMillis(1_000),
        idempotency: None,
    }))
}

pub(super) fn room(room_id: &str) -> StoreRequest {
    StoreRequest::CreateRoom(Box::new(NewRoom {
        tenant: TenantKey(1),
        room_id: RoomId::new(room_id),
        kind: RoomType::Group,
        unique_key: None,
        name: None,
        metadata: None,
        members: vec![(UserId::new("alice"), Role::Admin), (UserId::new("bob"), Role::Member)],
        created_at: UnixMillis(1),
    }))
}

pub(super) fn read_head() -> StoreRequest {
    StoreRequest::ReadHead { tenant: TenantKey(1), room_id: RoomId::new("room_1") }
}

fn read_all() -> StoreRequest {
    StoreRequest::ReadMessages {
        tenant: TenantKey(1),
        room_id: RoomId::new("room_1"),
        actor: Actor::Tenant,
        range: HistoryRange::After(Seq(0)),
        bounds: PageBounds { messages: 100, size_bytes: 1 << 20 },
    }
}

/// The number that each answer carries: of the message, or of the head.
pub(super) fn numbers(results: &[StoreResult]) -> Vec<Result<u64, StoreFailure>> {
    results
        .iter()
        .map(|result| match result {
            Ok(StoreReply::Appended(Ok(stored))) => Ok(stored.message.seq.0),
            Ok(StoreReply::Head(Some(seq))) => Ok(seq.0),
            Err(failure) => Err(*failure),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn stored_seq(result: &StoreResult) -> Option<u64> {
    numbers(std::slice::from_ref(result))[0].ok()
}
