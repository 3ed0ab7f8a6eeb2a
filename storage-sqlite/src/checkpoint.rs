//! Moving the write-ahead log into the database, beside the writer.
//!
//! A checkpoint within a commit would make every so-many-th message wait for it. So a thread with a connection of its
//! own copies what it can without keeping anyone waiting; the log starts anew when the writer finds all of it copied.
//! Under constant load that moment may not come: past a limit the writer makes it come.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::wal::CheckpointMode;

use crate::open::{OpenError, Store};
use crate::session::Session;

/// Pages of 4 KiB between two checkpoints beside the writer.
const INTERVAL_PAGES: u32 = 1_000;
pub(crate) const PAGE_BYTES: u64 = 4_096;
/// How long the writer waits for readers at a forced checkpoint, and how much the log grows before it tries again.
const FORCE_PATIENCE: Duration = Duration::from_millis(250);
const FORCE_AGAIN_PAGES: u32 = 2_048;

/// Decides after each commit whether it is time; belongs to the writer's thread.
pub(crate) struct Checkpoints {
    worker: Worker,
    last_page: u32,
    limit_pages: u32,
    force_at: u32,
}

impl Checkpoints {
    pub(crate) fn start(store: &Store) -> Result<Self, OpenError> {
        let limit = store.options().wal_limit_bytes / PAGE_BYTES;
        let limit_pages = u32::try_from(limit).unwrap_or(u32::MAX).max(INTERVAL_PAGES);
        Ok(Self { worker: Worker::start(store.clone())?, last_page: 0, limit_pages, force_at: limit_pages })
    }

    /// To be called after each commit, with the log's length.
    pub(crate) fn after_commit(&mut self, session: &Session, wal_pages: u32) {
        if wal_pages < self.last_page {
            self.last_page = 0;
            self.force_at = self.limit_pages;
        }
        if wal_pages >= self.force_at {
            // Two checkpoints at a time SQLite refuses. Past the limit the worker gets no new work, so it soon rests;
            // half as much again is where the writer waits for it.
            let Some(_at_rest) = self.worker.at_rest(wal_pages >= self.limit_pages + self.limit_pages / 2) else {
                return;
            };
            match session.checkpoint(CheckpointMode::RESTART, FORCE_PATIENCE) {
                Ok(()) => {
                    self.last_page = 0;
                    self.force_at = self.limit_pages;
                }
                Err(error) => {
                    tracing::warn!(%error, wal_pages, "the write-ahead log grows: a reader does not let go of it");
                    self.force_at = wal_pages.saturating_add(FORCE_AGAIN_PAGES);
                }
            }
        } else if wal_pages >= self.last_page.saturating_add(INTERVAL_PAGES) {
            self.last_page = wal_pages;
            self.worker.nudge();
        }
    }

    /// Empties the log, so that the space it takes is free for others.
    pub(crate) fn make_room(&self, session: &Session) -> rusqlite::Result<()> {
        let _at_rest = self.worker.at_rest(true);
        session.checkpoint(CheckpointMode::TRUNCATE, FORCE_PATIENCE)
    }

    /// Ends the thread, then empties the log.
    pub(crate) fn finish(self, session: &Session) {
        let patience = FORCE_PATIENCE;
        drop(self);
        if let Err(error) = session.checkpoint(CheckpointMode::TRUNCATE, patience) {
            tracing::warn!(%error, "the write-ahead log stays behind; the next start reads it");
        }
    }
}

/// The thread that copies.
struct Worker {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Signal {
    state: Mutex<State>,
    changed: Condvar,
    copying: Mutex<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Idle,
    Due,
    Ended,
}

impl Worker {
    fn start(store: Store) -> Result<Self, OpenError> {
        let signal = Arc::new(Signal::default());
        let its_signal = Arc::clone(&signal);
        let thread = Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || work(&store, &its_signal))
            .map_err(OpenError::Thread)?;
        Ok(Self { signal, thread: Some(thread) })
    }

    /// Keeps the thread from copying while the guard lives; `None` while it copies, unless that is to be waited for.
    fn at_rest(&self, wait: bool) -> Option<MutexGuard<'_, ()>> {
        let copying = &self.signal.copying;
        match copying.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if wait => Some(copying.lock().unwrap_or_else(PoisonError::into_inner)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn nudge(&self) {
        self.signal.set(State::Due);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.signal.set(State::Ended);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the checkpoints panicked");
        }
    }
}

impl Signal {
    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.changed.notify_one();
    }

    /// Waits for the next checkpoint; false when there will be none.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state =
            self.changed.wait_while(state, |state| *state == State::Idle).unwrap_or_else(PoisonError::into_inner);
        if *state == State::Ended {
            return false;
        }
        *state = State::Idle;
        true
    }
}

fn work(store: &Store, signal: &Signal) {
    let mut connection = None;
    while signal.wait() {
        let _copying = signal.copying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = copy(store, &mut connection) {
            tracing::warn!(%error, "a checkpoint failed; the next one tries again");
            connection = None;
        }
    }
}

fn copy(store: &Store, connection: &mut Option<Connection>) -> rusqlite::Result<()> {
    let open = match connection.take() {
        Some(open) => open,
        None => store.connect_checkpointer()?,
    };
    let outcome = open.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE);
    *connection = Some(open);
    match outcome {
        // The writer is at a checkpoint of its own.
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Ok(()),
        outcome => outcome.map(drop),
    }
}
