//! Reading beside the writer.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use chatapi_core::store::{StoreFailure, StoreRequest, StoreResult};
use rusqlite::Connection;

use crate::execute;
use crate::open::{OpenError, Store};
use crate::session::read_in_transaction;

/// A pool of read-only connections. An answer shows one committed state of the database, at least as new as everything
/// that was answered before the question.
pub struct Readers {
    store: Store,
    /// The connections at rest; `None` is one that must be opened again.
    idle: Mutex<Vec<Option<Connection>>>,
    returned: Condvar,
}

impl Readers {
    /// What serves two to four cores.
    pub const DEFAULT_COUNT: usize = 3;

    /// Opens `count` connections, at least one.
    ///
    /// # Errors
    ///
    /// When the database does not open.
    pub fn open(store: &Store, count: usize) -> Result<Self, OpenError> {
        let idle = (0..count.max(1))
            .map(|_| store.connect_reader().map(Some))
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(|source| OpenError::Sqlite { path: store.options().path.clone(), source })?;
        Ok(Self { store: store.clone(), idle: Mutex::new(idle), returned: Condvar::new() })
    }

    /// Answers a step that changes nothing; blocks for a free connection and for the disk. Steps that change something
    /// belong to the [`Writer`](crate::Writer) and are refused as [`StoreFailure::Failed`].
    pub fn read(&self, request: &StoreRequest) -> StoreResult {
        if execute::changes(request) {
            return Err(StoreFailure::Failed);
        }
        let mut lease = self.lease();
        let connection = match lease.connection.take() {
            Some(connection) => connection,
            None => self.store.connect_reader().map_err(|error| {
                tracing::warn!(%error, "cannot open the database for reading");
                crate::failure::failure_of(&error)
            })?,
        };
        let result = read_in_transaction(&connection, request);
        if result != Err(StoreFailure::Failed) {
            lease.connection = Some(connection);
        }
        result
    }

    fn lease(&self) -> Lease<'_> {
        let mut idle = self.lock();
        loop {
            if let Some(connection) = idle.pop() {
                return Lease { pool: self, connection };
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the pool, given back whatever happens.
struct Lease<'p> {
    pool: &'p Readers,
    connection: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.pool.lock().push(self.connection.take());
        self.pool.returned.notify_one();
    }
}
