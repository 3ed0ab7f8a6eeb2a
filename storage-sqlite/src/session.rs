//! The write connection: batches of steps, each batch one transaction.
//!
//! A batch first runs without savepoints. Only when a step fails, which is rare, is it rolled back and run again with a
//! savepoint around each step, so that the failed one alone leaves no trace: steps are plain data, the second run
//! decides the same. This keeps copies of every touched page out of the usual path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chatapi_core::OpId;
use chatapi_core::store::{StoreFailure, StoreRequest, StoreResult};
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode};

use crate::append::Appender;
use crate::checkpoint::Checkpoints;
use crate::execute;
use crate::failure::failure_of;
use crate::open::Store;

pub(crate) type Op = (OpId, StoreRequest);

/// Owns the write connection, and opens it again when a commit has failed.
pub(crate) struct Session {
    store: Store,
    connection: Option<Connection>,
    appender: Appender,
    wal_pages: Arc<AtomicU32>,
    health: Health,
    failed_commits: FailedCommits,
}

/// Whether the last transaction that wrote was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    /// A step or a transaction failed for want of something that may come back.
    Failing(StoreFailure),
    /// A commit failed, and what became of it is unknown: before anything else is promised, a trial write must succeed.
    Suspect,
}

/// Why an attempt at a batch ended early. Its transaction may still be open.
enum Aborted {
    /// A step failed in a run without savepoints.
    Step,
    /// Nothing of the batch is kept.
    Lost(rusqlite::Error),
    /// The commit itself failed: all or nothing may be kept.
    Commit(rusqlite::Error),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Savepoints {
    None,
    EachStep,
}

impl Session {
    pub(crate) fn open(store: Store, wal_pages: Arc<AtomicU32>) -> rusqlite::Result<Self> {
        let mut session = Self {
            store,
            connection: None,
            appender: Appender::default(),
            wal_pages,
            health: Health::Good,
            failed_commits: FailedCommits::default(),
        };
        session.connection = Some(session.connect()?);
        Ok(session)
    }

    /// Carries the batch out in one transaction; the answers stand in its order, and hold once this returns.
    pub(crate) fn serve(&mut self, batch: &[Op], checkpoints: &Checkpoints) -> Vec<StoreResult> {
        if !batch.iter().any(|(_, request)| execute::changes(request)) {
            return self.answer_reads(batch, StoreFailure::Failed);
        }
        let outcome = match self.write(batch) {
            Err(StoreFailure::Full) => {
                // Nothing of it is kept, and the log may hold the very space that is missing.
                self.make_room(checkpoints);
                self.write(batch)
            }
            outcome => outcome,
        };
        match outcome {
            Ok(results) => results,
            Err(StoreFailure::OutcomeUnknown) => fail_all(batch, StoreFailure::OutcomeUnknown),
            Err(failure) => self.answer_reads(batch, failure),
        }
    }

    /// One attempt to carry the batch out. All of it is kept, or nothing; unless the outcome is unknown.
    fn write(&mut self, batch: &[Op]) -> Result<Vec<StoreResult>, StoreFailure> {
        let connection = self.take_connection()?;
        if self.health == Health::Suspect
            && let Err(error) = try_to_write(&connection)
        {
            tracing::debug!(%error, "the database still takes no writes");
            self.commit_failed(&error);
            return Err(failure_of(&error));
        }
        if self.health == Health::Failing(StoreFailure::Full)
            && is_health_check(batch)
            && let Err(error) = try_to_write_much(&connection)
        {
            self.connection = Some(connection);
            return Err(failure_of(&error));
        }
        match self.transact(&connection, batch) {
            Ok(results) => {
                self.connection = Some(connection);
                self.failed_commits = FailedCommits::default();
                let is_full = results.contains(&Err(StoreFailure::Full));
                self.turn(if is_full { Health::Failing(StoreFailure::Full) } else { Health::Good });
                Ok(results)
            }
            Err(Aborted::Commit(error)) => {
                tracing::error!(%error, steps = batch.len(), "a commit failed: the outcome of its steps is unknown");
                self.health = Health::Suspect;
                self.commit_failed(&error);
                Err(StoreFailure::OutcomeUnknown)
            }
            Err(Aborted::Lost(error)) => {
                let failure = failure_of(&error);
                if self.turn(Health::Failing(failure)) {
                    tracing::warn!(%error, ?failure, "the database takes no writes");
                }
                if failure != StoreFailure::Failed && connection.is_autocommit() {
                    self.connection = Some(connection);
                }
                Err(failure)
            }
            Err(Aborted::Step) => Err(StoreFailure::Failed),
        }
    }

    /// Answers the steps of a batch that only read; those that change something get `failure`.
    fn answer_reads(&mut self, batch: &[Op], failure: StoreFailure) -> Vec<StoreResult> {
        let connection = match self.take_connection() {
            Ok(connection) => connection,
            Err(failure) => return fail_all(batch, failure),
        };
        let answer = |request| {
            if execute::changes(request) { Err(failure) } else { read_in_transaction(&connection, request) }
        };
        let results = batch.iter().map(|(_, request)| answer(request)).collect();
        self.connection = Some(connection);
        results
    }

    /// Notes how it stands; says whether that is new.
    fn turn(&mut self, health: Health) -> bool {
        let before = std::mem::replace(&mut self.health, health);
        if before != health && health == Health::Good {
            tracing::info!("the database takes writes again");
        }
        before != health
    }

    fn make_room(&mut self, checkpoints: &Checkpoints) {
        if self.connection.is_none() {
            self.connection = self.take_connection().ok();
        }
        if let Err(error) = checkpoints.make_room(self) {
            tracing::debug!(%error, "no space could be made by a checkpoint");
        }
    }

    /// Notes a commit, or a trial of one, that failed for another reason than want of space or of a lock. When that
    /// repeats, there is no telling what this process believes wrongly: it ends, and the next one starts from what is
    /// stored.
    fn commit_failed(&mut self, error: &rusqlite::Error) {
        if failure_of(error) == StoreFailure::Failed && self.failed_commits.add(Instant::now()) {
            tracing::error!(%error, "commits keep failing: the process ends, the database is the truth");
            std::process::exit(1);
        }
    }

    /// Moves the whole log into the database and starts it anew; gives up if readers stay in the way for `patience`.
    pub(crate) fn checkpoint(&self, mode: CheckpointMode, patience: Duration) -> rusqlite::Result<()> {
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        connection.busy_timeout(patience)?;
        let outcome = connection.wal_checkpoint_v2(None::<&str>, mode);
        connection.busy_timeout(self.store.options().busy_timeout)?;
        if outcome.is_ok() {
            self.wal_pages.store(0, Ordering::Relaxed);
        }
        outcome.map(drop)
    }

    fn take_connection(&mut self) -> Result<Connection, StoreFailure> {
        #[cfg_attr(not(test), expect(unused_mut, reason = "tests put faults into it"))]
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().map_err(|error| {
                tracing::warn!(%error, "cannot open the database again");
                failure_of(&error)
            })?,
        };
        #[cfg(test)]
        self.store.options().faults.apply(&mut connection);
        Ok(connection)
    }

    fn connect(&mut self) -> rusqlite::Result<Connection> {
        self.appender.forget();
        let mut connection = self.store.connect_writer()?;
        let pages = Arc::clone(&self.wal_pages);
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            pages.store(u32::try_from(count).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        #[cfg(test)]
        self.store.options().faults.install(&mut connection);
        Ok(connection)
    }

    fn transact(&mut self, connection: &Connection, batch: &[Op]) -> Result<Vec<StoreResult>, Aborted> {
        match self.attempt(connection, batch, Savepoints::None) {
            Err(Aborted::Step) => {
                self.roll_back(connection).map_err(Aborted::Lost)?;
                let results = self.attempt(connection, batch, Savepoints::EachStep);
                if results.is_err() {
                    self.abandon(connection);
                }
                results
            }
            Err(Aborted::Commit(error)) => {
                // Either the transaction is still open, and then all of it goes with a rollback; or SQLite ended it by
                // itself. Then it is gone for certain when there was no space: what makes a transaction valid in the
                // log is its last page, which is written after all others.
                let is_open = !connection.is_autocommit();
                let is_gone = is_open || error.sqlite_error_code() == Some(ErrorCode::DiskFull);
                match self.roll_back(connection) {
                    Ok(()) if is_gone => Err(Aborted::Lost(error)),
                    Ok(()) => Err(Aborted::Commit(error)),
                    Err(rollback_error) => {
                        tracing::warn!(error = %rollback_error, "a transaction could not be rolled back");
                        Err(Aborted::Commit(error))
                    }
                }
            }
            Err(Aborted::Lost(error)) => {
                self.abandon(connection);
                Err(Aborted::Lost(error))
            }
            Ok(results) => Ok(results),
        }
    }

    fn roll_back(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.appender.forget();
        if connection.is_autocommit() {
            return Ok(());
        }
        run(connection, "ROLLBACK")
    }

    /// Rolls back after a failure, which counts, whatever becomes of this: a connection whose transaction stays open is
    /// not used any more.
    fn abandon(&mut self, connection: &Connection) {
        if let Err(error) = self.roll_back(connection) {
            tracing::warn!(%error, "a transaction could not be rolled back: its connection is closed");
        }
    }

    fn attempt(
        &mut self,
        connection: &Connection,
        batch: &[Op],
        savepoints: Savepoints,
    ) -> Result<Vec<StoreResult>, Aborted> {
        run(connection, "BEGIN IMMEDIATE").map_err(Aborted::Lost)?;
        self.appender.begin(connection).map_err(Aborted::Lost)?;
        let mut results = Vec::with_capacity(batch.len());
        for (_, request) in batch {
            results.push(match savepoints {
                Savepoints::None => {
                    let reply = execute::carry_out(connection, &mut self.appender, request);
                    Ok(reply.map_err(|_| Aborted::Step)?)
                }
                Savepoints::EachStep => self.attempt_alone(connection, request).map_err(Aborted::Lost)?,
            });
        }
        let finished = self.appender.finish(connection);
        finished.map_err(|error| match savepoints {
            Savepoints::None => Aborted::Step,
            Savepoints::EachStep => Aborted::Lost(error),
        })?;
        run(connection, "COMMIT").map_err(Aborted::Commit)?;
        Ok(results)
    }

    /// One step that leaves nothing behind if it fails; an error where that took the transaction with it.
    fn attempt_alone(&mut self, connection: &Connection, request: &StoreRequest) -> rusqlite::Result<StoreResult> {
        run(connection, "SAVEPOINT step")?;
        let reply = execute::carry_out(connection, &mut self.appender, request)
            .and_then(|reply| self.appender.flush(connection).map(|()| reply));
        match reply {
            Ok(reply) => {
                run(connection, "RELEASE step")?;
                Ok(Ok(reply))
            }
            Err(error) if connection.is_autocommit() => Err(error),
            Err(error) => {
                tracing::warn!(%error, "a step failed");
                self.appender.forget();
                run(connection, "ROLLBACK TO step")?;
                run(connection, "RELEASE step")?;
                Ok(Err(failure_of(&error)))
            }
        }
    }
}

/// Commits that failed in a row.
#[derive(Debug, Default)]
struct FailedCommits {
    count: u32,
    since: Option<Instant>,
}

impl FailedCommits {
    /// They repeat when there are so many, over so long a time.
    const MAX: u32 = 5;
    const TIME_MAX: Duration = Duration::from_secs(10);

    /// Says whether they repeat.
    fn add(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        self.count = self.count.saturating_add(1);
        self.count >= Self::MAX && now.saturating_duration_since(since) >= Self::TIME_MAX
    }
}

fn fail_all(batch: &[Op], failure: StoreFailure) -> Vec<StoreResult> {
    batch.iter().map(|_| Err(failure)).collect()
}

/// Whether nothing in a batch writes but checks whether that is possible.
fn is_health_check(batch: &[Op]) -> bool {
    let mut changes = batch.iter().map(|(_, request)| request).filter(|request| execute::changes(request));
    changes.all(|request| matches!(request, StoreRequest::CheckWritable { .. }))
}

/// Answers a step that changes nothing, from one state of the database.
pub(crate) fn read_in_transaction(connection: &Connection, request: &StoreRequest) -> StoreResult {
    let reply = run(connection, "BEGIN")
        .and_then(|()| execute::read(connection, request))
        .and_then(|reply| run(connection, "COMMIT").map(|()| reply));
    match reply {
        Ok(reply) => reply.ok_or(StoreFailure::Failed),
        Err(error) => {
            tracing::warn!(%error, "a read failed");
            if !connection.is_autocommit()
                && let Err(error) = run(connection, "ROLLBACK")
            {
                tracing::warn!(%error, "a read could not be ended");
            }
            Err(failure_of(&error))
        }
    }
}

/// A write that goes all the way to the disk: one of what is there already would not.
fn try_to_write(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO server_state (name, value) VALUES ('trial', randomblob(16))
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute([])
        .map(drop)
}

/// As much as the longest message. Where real writes find no space a few bytes may still find some, and would claim that
/// all is well.
const MUCH_BYTES: u32 = 256 * 1024;

/// A write of [`MUCH_BYTES`] that leaves nothing behind.
fn try_to_write_much(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO server_state (name, value) VALUES ('trial', zeroblob(?1))
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute([MUCH_BYTES])?;
    connection.prepare_cached("DELETE FROM server_state WHERE name = 'trial'")?.execute([]).map(drop)
}

fn run(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[test]
    fn a_trial_write_reaches_the_log_every_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chat.db");
        let connection = Store::open(Options::new(&path)).unwrap().connect_writer().unwrap();
        let log_bytes = || std::fs::metadata(path.with_extension("db-wal")).unwrap().len();
        let mut before = log_bytes();
        for _ in 0..3 {
            try_to_write(&connection).unwrap();
            assert!(log_bytes() > before);
            before = log_bytes();
        }
    }

    #[test]
    fn failed_commits_repeat_when_they_are_many_over_a_while() {
        let start = Instant::now();
        let mut at_once = FailedCommits::default();
        assert!((0..1_000).all(|_| !at_once.add(start)), "a moment's fault is none of the process's");
        assert!(at_once.add(start + FailedCommits::TIME_MAX));
        let mut slowly = FailedCommits::default();
        let repeats: Vec<bool> = (0..5).map(|round| slowly.add(start + round * FailedCommits::TIME_MAX)).collect();
        assert_eq!(repeats, [false, false, false, false, true]);
    }
}
