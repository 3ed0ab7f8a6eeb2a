//! The write connection: batches of steps, each batch one transaction.
//!
//! A batch first runs without savepoints. Only when a step fails, which is rare, is it rolled back and run again with a
//! savepoint around each step, so that the failed one alone leaves no trace: steps are plain data, the second run
//! decides the same. This keeps copies of every touched page out of the usual path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chatapi_core::OpId;
use chatapi_core::store::{StoreFailure, StoreRequest, StoreResult};
use rusqlite::Connection;
use rusqlite::wal::CheckpointMode;

use crate::append::Appender;
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
}

/// Whether the last transaction that wrote was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    /// A step or a transaction failed for want of something that may come back.
    Failing(StoreFailure),
    /// A commit failed: before anything else is promised, a trial write must succeed.
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
        let mut session =
            Self { store, connection: None, appender: Appender::default(), wal_pages, health: Health::Good };
        session.connection = Some(session.connect()?);
        Ok(session)
    }

    /// Carries the batch out in one transaction; the answers stand in its order, and hold once this returns.
    pub(crate) fn serve(&mut self, batch: &[Op]) -> Vec<StoreResult> {
        let connection = match self.take_connection() {
            Ok(connection) => connection,
            Err(failure) => return batch.iter().map(|_| Err(failure)).collect(),
        };
        if !batch.iter().any(|(_, request)| execute::changes(request)) {
            let results = read_all(&connection, batch);
            self.connection = Some(connection);
            return results;
        }
        if self.health == Health::Suspect
            && let Err(error) = try_to_write(&connection)
        {
            tracing::warn!(%error, "the database still takes no writes");
            return refuse(&connection, batch, failure_of(&error));
        }
        match self.transact(&connection, batch) {
            Ok(results) => {
                if self.health != Health::Good {
                    tracing::info!("the database takes writes again");
                    self.health = Health::Good;
                }
                self.connection = Some(connection);
                results
            }
            Err(Aborted::Commit(error)) => {
                tracing::error!(%error, steps = batch.len(), "a commit failed: the outcome of its steps is unknown");
                self.health = Health::Suspect;
                batch.iter().map(|_| Err(StoreFailure::OutcomeUnknown)).collect()
            }
            Err(Aborted::Lost(error)) => {
                let failure = failure_of(&error);
                if self.health != Health::Failing(failure) {
                    tracing::warn!(%error, ?failure, "the database takes no writes");
                    self.health = Health::Failing(failure);
                }
                let results = refuse(&connection, batch, failure);
                if failure != StoreFailure::Failed && connection.is_autocommit() {
                    self.connection = Some(connection);
                }
                results
            }
            Err(Aborted::Step) => batch.iter().map(|_| Err(StoreFailure::Failed)).collect(),
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
            Err(aborted) => {
                self.abandon(connection);
                Err(aborted)
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

/// Answers a batch whose changes cannot be served: reads still can.
fn refuse(connection: &Connection, batch: &[Op], failure: StoreFailure) -> Vec<StoreResult> {
    batch
        .iter()
        .map(
            |(_, request)| {
                if execute::changes(request) { Err(failure) } else { read_in_transaction(connection, request) }
            },
        )
        .collect()
}

/// A transaction that only reads takes no lock and costs no flush of the disk.
fn read_all(connection: &Connection, batch: &[Op]) -> Vec<StoreResult> {
    batch.iter().map(|(_, request)| read_in_transaction(connection, request)).collect()
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

/// A write that changes nothing, and goes all the way to the disk.
fn try_to_write(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE server_state SET value = value WHERE name = 'epoch'")?.execute([]).map(drop)
}

fn run(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}
