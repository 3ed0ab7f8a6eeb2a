//! The one thread that changes the database.

use std::mem;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use chatapi_core::OpId;
use chatapi_core::store::{StoreRequest, StoreResult};

use crate::checkpoint::{Checkpoints, PAGE_BYTES};
use crate::open::{OpenError, Store};
use crate::session::{Op, Session};

/// Takes the answers of one transaction, in the order of submission. It runs on the writer's thread, which does nothing
/// else meanwhile; a panic in it ends the process.
pub type OnReplies = Box<dyn FnMut(Vec<(OpId, StoreResult)>) + Send>;

/// At most so many steps share a transaction: what the last of them waits for stays bounded, and far more gain nothing.
const BATCH_MAX: usize = 512;
/// A queue that grew past this in a burst gives its memory back.
const SPARE_MAX: usize = 4_096;

/// Carries steps out in the order of their submission, in group commits: everything that waits when the last
/// transaction ends shares the next one; nothing waits for company. Its answers hold: they are given after the commit.
///
/// It takes every [`StoreRequest`], those of the read lane too. The queue has no bound of its own: the core bounds
/// what it has under way.
///
/// A transaction that fails does not end it. Without space, even if that shows at the commit, the log is emptied, which
/// may free some, and the transaction repeated once; then its steps are answered
/// [`Full`](chatapi_core::store::StoreFailure::Full), and nothing of them is kept. From then on a lone
/// [`CheckWritable`](StoreRequest::CheckWritable) is answered likewise, until there is space for as much as the longest
/// message. With the database locked by another process, steps are answered
/// [`Busy`](chatapi_core::store::StoreFailure::Busy) after [`Options::busy_timeout`](crate::Options::busy_timeout).
///
/// When a commit fails otherwise, they are answered
/// [`OutcomeUnknown`](chatapi_core::store::StoreFailure::OutcomeUnknown), and then nothing is written before a trial
/// write has succeeded on a fresh connection. When commits and trials go on to fail, five times in a row and for 10 s,
/// and not for want of space or of a lock, **the process ends** with exit code 1: the database is the truth, and the next
/// start reads it anew.
///
/// Reads are answered all along.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What a writer has done since its start, and how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriterStats {
    /// Steps that wait, those in the present transaction not counted.
    pub queued: u64,
    /// Batches that were answered, each of one transaction.
    pub batches: u64,
    /// Steps that were answered.
    pub steps: u64,
    /// Length of the write-ahead log, in pages of 4 KiB.
    pub wal_pages: u32,
}

impl WriterStats {
    /// Length of the write-ahead log in bytes, but for the few that head each page.
    #[must_use]
    pub fn wal_bytes(&self) -> u64 {
        u64::from(self.wal_pages) * PAGE_BYTES
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    batches: AtomicU64,
    steps: AtomicU64,
    wal_pages: Arc<AtomicU32>,
}

#[derive(Default)]
struct Queue {
    ops: Vec<Op>,
    thread_waits: bool,
    closed: bool,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the database does not open, or a thread does not start.
    pub fn start(store: &Store, on_replies: OnReplies) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::default());
        let session = Session::open(store.clone(), Arc::clone(&shared.wal_pages))
            .map_err(|source| OpenError::Sqlite { path: store.options().path.clone(), source })?;
        let checkpoints = Checkpoints::start(store)?;
        let its_shared = Arc::clone(&shared);
        let thread = Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                let _abort = AbortOnPanic;
                its_shared.work(session, checkpoints, on_replies);
            })
            .map_err(OpenError::Thread)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues steps, and wakes the thread if it is idle.
    pub fn submit(&self, mut batch: Vec<(OpId, StoreRequest)>) {
        let mut queue = self.shared.lock();
        if queue.ops.is_empty() {
            mem::swap(&mut queue.ops, &mut batch);
        } else {
            queue.ops.append(&mut batch);
        }
        let wake = mem::take(&mut queue.thread_waits);
        drop(queue);
        if wake {
            self.shared.filled.notify_one();
        }
    }

    /// What it has done, and how it stands.
    #[must_use]
    pub fn stats(&self) -> WriterStats {
        let queued = self.shared.lock().ops.len() as u64;
        WriterStats {
            queued,
            batches: self.shared.batches.load(Ordering::Relaxed),
            steps: self.shared.steps.load(Ordering::Relaxed),
            wal_pages: self.shared.wal_pages.load(Ordering::Relaxed),
        }
    }

    /// Answers everything that was submitted, moves the write-ahead log into the database, and ends the thread.
    /// Dropping does the same.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer's thread panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mut session: Session, mut checkpoints: Checkpoints, mut on_replies: OnReplies) {
        let mut ops = Vec::new();
        while self.take_queue(&mut ops) {
            for batch in ops.chunks(BATCH_MAX) {
                let results = session.serve(batch, &checkpoints);
                self.batches.fetch_add(1, Ordering::Relaxed);
                self.steps.fetch_add(batch.len() as u64, Ordering::Relaxed);
                on_replies(batch.iter().map(|(op, _)| *op).zip(results).collect());
                checkpoints.after_commit(&session, self.wal_pages.load(Ordering::Relaxed));
            }
        }
        checkpoints.finish(&session);
    }

    /// Waits until there is something; false when there is nothing more to come.
    fn take_queue(&self, ops: &mut Vec<Op>) -> bool {
        ops.clear();
        ops.shrink_to(SPARE_MAX);
        let mut queue = self.lock();
        while queue.ops.is_empty() {
            if queue.closed {
                return false;
            }
            queue.thread_waits = true;
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.thread_waits = false;
        mem::swap(ops, &mut queue.ops);
        true
    }
}

/// A writer that is gone would leave every request waiting: the process ends instead, the database being the truth.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the writer's thread panicked: the process ends");
            std::process::abort();
        }
    }
}
