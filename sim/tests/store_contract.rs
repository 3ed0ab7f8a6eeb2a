//! The store's contract, against the model and against SQLite; and both against each other.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its store has failed")]

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};

use chatapi_core::OpId;
use chatapi_core::store::{Lane, StoreReply, StoreRequest, StoreResult};
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
fn random_requests_reach_every_kind_of_answer() {
    let mut reached = BTreeSet::new();
    for seed in 0..8 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut requests = RandomRequests::new(move || random.next_u64());
        let mut model = MemoryStore::new("epoch");
        for _ in 0..4_000 {
            let request = requests.next_request();
            reached.insert(kind_of(&model.execute(&request)));
        }
    }
    let missed: Vec<&&str> = ANSWERS.iter().filter(|kind| !reached.contains(**kind)).collect();
    assert!(missed.is_empty(), "not all was reached: {missed:#?} of {reached:#?}");
}

#[test]
fn sqlite_answers_every_request_as_the_model_does() {
    for seed in 0..8 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut requests = RandomRequests::new(move || random.next_u64());
        let (mut sqlite, mut model) = (Sqlite::new(), MemoryStore::new("epoch"));
        for step in 0..2_500 {
            let request = requests.next_request();
            let (ours, expected) = (sqlite.execute_to_its_end(&request), model.execute(&request));
            assert_eq!(comparable(ours), comparable(expected), "seed {seed}, step {step}: {request:?}");
        }
    }
}

#[test]
fn sqlite_answers_whole_batches_as_the_model_does() {
    for seed in 100..104 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut sizes = ChaCha8Rng::seed_from_u64(seed + 1_000);
        let mut requests = RandomRequests::new(move || random.next_u64());
        let (mut sqlite, mut model) = (Sqlite::new(), MemoryStore::new("epoch"));
        for _ in 0..60 {
            let size = sizes.next_u32() % 60 + 1;
            let drawn = (0..size).map(|_| requests.next_request());
            // Sweeps come last: before the end of one nobody knows which ids are free again.
            let (sweeps, batch): (Vec<_>, Vec<_>) =
                drawn.partition(|request| matches!(request, StoreRequest::Sweep { .. }));
            let expected: Vec<_> = batch.iter().map(|request| comparable(model.execute(request))).collect();
            let ours: Vec<_> = sqlite.write(batch).into_iter().map(comparable).collect();
            assert_eq!(ours, expected, "seed {seed}");
            for sweep in sweeps {
                assert_eq!(comparable(sqlite.execute_to_its_end(&sweep)), comparable(model.execute(&sweep)));
            }
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

    /// Goes on sweeping until nothing is left, as the model does at once.
    fn execute_to_its_end(&mut self, request: &StoreRequest) -> StoreResult {
        loop {
            let result = self.execute(request);
            if result != Ok(StoreReply::Swept { has_more: true }) {
                return result;
            }
        }
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
fn comparable(result: StoreResult) -> StoreResult {
    let Ok(StoreReply::Booted { newest_id, .. }) = result else {
        return result;
    };
    Ok(StoreReply::Booted { epoch: String::new(), newest_id })
}

/// The kind of an answer: its names as far as the first field, and what came of the step.
fn kind_of(result: &StoreResult) -> String {
    let told = format!("{result:?}");
    let names = told.split([' ', '[', '"']).next().unwrap_or_default();
    let names = names.trim_start_matches("Ok(").trim_end_matches(|end| "0123456789()".contains(end)).to_owned();
    match told.split_once("outcome: ") {
        Some((_, outcome)) => {
            let outcome: String = outcome.chars().take_while(char::is_ascii_alphabetic).collect();
            format!("{names} {outcome}")
        }
        None if told.contains("has_more: true") => format!("{names} and more"),
        None => names,
    }
}

/// Every kind of answer that a correct store gives to the random requests.
const ANSWERS: &[&str] = &[
    "Err(Failed",
    "Booted",
    "Written",
    "TenantCreated(Tenant",
    "KeyOwner(None",
    "KeyOwner(Some(KeyOwner",
    "Tenants(TenantPage",
    "Tenants(TenantPage and more",
    "Tenant(None",
    "Tenant(Some(Tenant",
    "TenantChanged(None",
    "TenantChanged(Some(ChangedTenant",
    "KeyRotated(None",
    "KeyRotated(Some(TenantKey",
    "TenantDeleted(None",
    "TenantDeleted(Some(TenantKey",
    "RoomCreated(New(Room",
    "RoomCreated(Existing",
    "RoomCreated(NoTenant",
    "Rooms",
    "Rooms and more",
    "Room(Ok(Room",
    "Room(Err(NoRoom",
    "Room(Err(NotMember",
    "RoomChanged(Ok(Room",
    "RoomChanged(Err(Access(NoRoom",
    "RoomChanged(Err(Access(NotMember",
    "RoomChanged(Err(NotAdmin",
    "RoomDeleted(Ok",
    "RoomDeleted(Err(Access(NoRoom",
    "RoomDeleted(Err(Access(NotMember",
    "RoomDeleted(Err(NotAdmin",
    "RoomDeleted(Err(IsDm",
    "MemberAdded(Ok(AddedMember Joined",
    "MemberAdded(Ok(AddedMember RoleChanged",
    "MemberAdded(Ok(AddedMember Unchanged",
    "MemberAdded(Err(Access(NoRoom",
    "MemberAdded(Err(Access(NotMember",
    "MemberAdded(Err(NotAdmin",
    "MemberAdded(Err(IsDm",
    "MemberRemoved(Ok(RemovedMember",
    "MemberRemoved(Err(Access(NoRoom",
    "MemberRemoved(Err(Access(NotMember",
    "MemberRemoved(Err(NotAdmin",
    "MemberRemoved(Err(IsDm",
    "MemberRemoved(Err(NoMember",
    "Members(Ok(MemberPage",
    "Members(Ok(MemberPage and more",
    "Members(Err(NotMember",
    "Receipts(Ok(ReceiptPage",
    "Receipts(Ok(ReceiptPage and more",
    "Receipts(Err(NotMember",
    "Appended(Ok(Appended Stored",
    "Appended(Ok(Appended Replayed",
    "Appended(Err(Access(NoRoom",
    "Appended(Err(Access(NotMember",
    "Appended(Err(KeyReused",
    "Messages(Ok(MessagePage",
    "Messages(Ok(MessagePage and more",
    "Messages(Err(NotMember",
    "Message(Ok(Message",
    "Message(Err(Access(NotMember",
    "Message(Err(NoMessage",
    "MessageEdited(Ok(Message",
    "MessageEdited(Err(Access(NotMember",
    "MessageEdited(Err(NoMessage",
    "MessageEdited(Err(NotSender",
    "MessageEdited(Err(Deleted",
    "MessageDeleted(Ok(DeletedMessage Deleted",
    "MessageDeleted(Ok(DeletedMessage Before",
    "MessageDeleted(Err(Access(NotMember",
    "MessageDeleted(Err(NoMessage",
    "MessageDeleted(Err(NotSender",
    "Acknowledged(Ok(Acknowledged",
    "Acknowledged(Err(Access(NotMember",
    "Acknowledged(Err(PastHead",
    "Backlog(Backlog",
    "Positions",
    "Frames",
    "Head(None",
    "Head(Some(Seq",
    "Notified(Ok(NotificationKey",
    "Notified(Err(NoRoom",
    "Notified(Err(NoTenant",
    "Expansions",
    "Expanded(None",
    "Expanded(Some(Expansion",
    "Expanded(Some(Expansion and more",
    "Notifications(NotificationPage",
    "Notifications(NotificationPage and more",
    "Confirmed",
    "Subscribed(Ok(Subscribed New",
    "Subscribed(Ok(Subscribed Existing",
    "Subscribed(Err(NoTenant",
    "Subscriptions",
    "Unsubscribed",
    "Swept",
];
