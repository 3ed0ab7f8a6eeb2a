//! The store's contract, against the model and against SQLite; and both against each other.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its store has failed")]

use std::sync::mpsc::{Receiver, channel};

use chatapi_core::OpId;
use chatapi_core::store::{Lane, StoreFailure, StoreReply, StoreRequest, StoreResult};
use chatapi_sim::memory_store::MemoryStore;
use chatapi_sim::store_contract::{RandomRequests, StoreUnderTest, check};
use chatapi_storage_sqlite::{Options, Readers, Store, Writer};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

#[test]
fn the_model_keeps_the_contract() {
    check(|| MemoryStore::new("epoch"));
}

#[test]
fn sqlite_keeps_the_contract() {
    check(Sqlite::new);
}

#[test]
fn sqlite_answers_every_request_as_the_model_does() {
    let mut kinds = [0_u32; 24];
    for seed in 0..8 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut requests = RandomRequests::new(move || random.next_u64());
        let (mut sqlite, mut model) = (Sqlite::new(), MemoryStore::new("epoch"));
        for step in 0..1_000 {
            let request = requests.next_request();
            let (ours, expected) = (sqlite.execute(&request), model.execute(&request));
            let (ours, expected) = (without_epoch(ours), without_epoch(expected));
            assert_eq!(ours, expected, "seed {seed}, step {step}: {request:?}");
            kinds[kind_of(&expected)] += 1;
        }
    }
    assert!(kinds[..22].iter().all(|&count| count > 0), "not all was reached: {kinds:?}");
}

#[test]
fn sqlite_answers_whole_batches_as_the_model_does() {
    for seed in 100..104 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut sizes = ChaCha8Rng::seed_from_u64(seed + 1_000);
        let mut requests = RandomRequests::new(move || random.next_u64());
        let (mut sqlite, mut model) = (Sqlite::new(), MemoryStore::new("epoch"));
        for _ in 0..40 {
            let size = sizes.next_u32() % 60 + 1;
            let batch: Vec<_> = (0..size).map(|_| requests.next_request()).collect();
            let expected: Vec<_> = batch.iter().map(|request| without_epoch(model.execute(request))).collect();
            let ours: Vec<_> = sqlite.write(batch).into_iter().map(without_epoch).collect();
            assert_eq!(ours, expected, "seed {seed}");
        }
    }
}

/// The real writer and readers, in a directory of their own.
struct Sqlite {
    writer: Writer,
    readers: Readers,
    replies: Receiver<Vec<(OpId, StoreResult)>>,
    next_op: u64,
    _directory: tempfile::TempDir,
}

impl Sqlite {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(directory.path().join("test.db"))).unwrap();
        let (sender, replies) = channel();
        let writer = Writer::start(&store, Box::new(move |batch| sender.send(batch).unwrap_or(()))).unwrap();
        let readers = Readers::open(&store, 1).unwrap();
        Self { writer, readers, replies, next_op: 0, _directory: directory }
    }

    fn write(&mut self, batch: Vec<StoreRequest>) -> Vec<StoreResult> {
        let first = self.next_op;
        self.next_op += batch.len() as u64;
        self.writer.submit((first..).map(OpId).zip(batch).collect());
        let mut results = Vec::new();
        for expected in first..self.next_op {
            if results.len() as u64 <= expected - first {
                results.extend(self.replies.recv().unwrap());
            }
            assert_eq!(results[(expected - first) as usize].0, OpId(expected));
        }
        results.into_iter().map(|(_, result)| result).collect()
    }
}

impl StoreUnderTest for Sqlite {
    fn execute(&mut self, request: &StoreRequest) -> StoreResult {
        match request.lane() {
            Lane::Write => self.write(vec![request.clone()]).remove(0),
            Lane::Read => self.readers.read(request),
        }
    }
}

/// Two stores never share an epoch.
fn without_epoch(result: StoreResult) -> StoreResult {
    let Ok(StoreReply::Booted { newest_id, .. }) = result else {
        return result;
    };
    Ok(StoreReply::Booted { epoch: String::new(), newest_id })
}

/// Which kinds of answer a run has seen, so that a generator that misses some is noticed.
fn kind_of(result: &StoreResult) -> usize {
    use chatapi_core::store::{AcknowledgeRefusal, AppendOutcome, AppendRefusal, CreatedRoom};
    match result {
        Err(StoreFailure::Failed) => 0,
        Err(failure) => panic!("{failure:?}"),
        Ok(StoreReply::Booted { .. }) => 1,
        Ok(StoreReply::Written) => 2,
        Ok(StoreReply::TenantCreated(_)) => 3,
        Ok(StoreReply::Tenant(found)) => 4 + usize::from(found.is_some()),
        Ok(StoreReply::RoomCreated(CreatedRoom::New(_))) => 6,
        Ok(StoreReply::RoomCreated(CreatedRoom::Existing { .. })) => 7,
        Ok(StoreReply::Rooms { has_more, .. }) => 8 + usize::from(*has_more),
        Ok(StoreReply::Room(_)) => 10,
        Ok(StoreReply::Members(_)) => 11,
        Ok(StoreReply::Appended(Ok(stored))) if stored.outcome == AppendOutcome::Stored => 12,
        Ok(StoreReply::Appended(Ok(_))) => 13,
        Ok(StoreReply::Appended(Err(AppendRefusal::KeyReused))) => 14,
        Ok(StoreReply::Appended(Err(AppendRefusal::Access(_)))) => 15,
        Ok(StoreReply::Messages(_)) => 16,
        Ok(StoreReply::Acknowledged(Ok(_))) => 17,
        Ok(StoreReply::Acknowledged(Err(AcknowledgeRefusal::PastHead))) => 18,
        Ok(StoreReply::Acknowledged(Err(AcknowledgeRefusal::Access(_)))) => 22,
        Ok(StoreReply::Backlog(_)) => 19,
        Ok(StoreReply::Frames(_)) => 20,
        Ok(StoreReply::Head(_)) => 21,
    }
}
