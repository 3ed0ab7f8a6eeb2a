//! Opening: the lock, what kind of file it is, the migrations, and the connections' settings.

use std::fs::{FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::Access;

use crate::lock::{Lock, LockFailure, lock_path};
use crate::migrations;
use crate::options::Options;

/// More than there are statements: none is ever prepared twice.
const STATEMENTS_MAX: usize = 160;

/// A database that is open, known to be ours, and migrated. Clones share the lock, which is held until the last of
/// them is gone, and every [`Writer`](crate::Writer) and [`Readers`](crate::Readers) made from them.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    _lock: Lock,
}

/// Why a database was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process serves it.
    #[error(
        "{} is in use by another chatapi server (it holds {}): stop that one first, or set DATABASE_DSN to another file",
        database.display(), lock.display()
    )]
    InUse {
        /// The database.
        database: PathBuf,
        /// The file that the other one holds.
        lock: PathBuf,
    },
    /// A file could not be made or opened.
    #[error("cannot open {}: {source}; check that its directory exists and is writable", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is there and is no regular file.
    #[error("{} is {kind}, and no regular file: set DATABASE_DSN to the path of a file", path.display())]
    NoFile {
        /// What stands there.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It has other names, under which its log would not be found.
    #[error(
        "{} has {names} names (hard links): an SQLite database may have one alone, as its log is found by that name; remove \
         the others, or copy the file to a new one and set DATABASE_DSN to that",
        path.display()
    )]
    ManyNames {
        /// The file.
        path: PathBuf,
        /// How many.
        names: u64,
    },
    /// It is no database at all.
    #[error("{} is not an SQLite database: set DATABASE_DSN to another file", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// It was written by the original ChatAPI.
    #[error(
        "{} is a database of the original ChatAPI: bring its data over with `chatapi import`, or set DATABASE_DSN to \
         another file",
        path.display()
    )]
    Original {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to another program.
    #[error(
        "{} is a database of another program (application_id {application_id}): set DATABASE_DSN to another file",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it says it is.
        application_id: i32,
    },
    /// A newer chatapi wrote it.
    #[error(
        "{} was written by a newer chatapi (schema {found}, this one knows up to {known}): run that version, or restore \
         a backup from before the upgrade",
        path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema of this binary.
        known: i64,
    },
    /// The write-ahead log is not available, as on network file systems.
    #[error(
        "{} cannot use a write-ahead log (its journal mode stays {mode}): put it on a local file system",
        path.display()
    )]
    NoWriteAheadLog {
        /// The file.
        path: PathBuf,
        /// The mode it stays in.
        mode: String,
    },
    /// A migration failed; the schema is as it was before it.
    #[error("migration {number} of {} failed, nothing of it was kept: {source}", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// Which one.
        number: i64,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// SQLite refused for another reason.
    #[error("cannot open {}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread for the database: {0}")]
    Thread(#[source] io::Error),
}

impl Store {
    /// Locks, checks, makes or migrates the database. A file that is not ours is left as it is.
    ///
    /// # Errors
    ///
    /// Each [`OpenError`] says what to do about it.
    pub fn open(mut options: Options) -> Result<Self, OpenError> {
        let path = options.path.clone();
        let as_file = |source| OpenError::File { path: path.clone(), source };
        // One file has one lock, by whatever name or link it is reached. And SQLite gives `:memory:` and `file:` a meaning
        // of their own; an absolute path is never one of them.
        options.path = real_path(&path).map_err(as_file)?;
        let metadata = std::fs::metadata(&options.path).map_err(as_file)?;
        if let Some(kind) = other_kind(metadata.file_type()) {
            return Err(OpenError::NoFile { path, kind });
        }
        // What is under another name has another lock, and another log: two servers would overwrite each other, and after a
        // crash a part of the database would be missing.
        let names = metadata.nlink();
        if names > 1 {
            return Err(OpenError::ManyNames { path, names });
        }
        rustix::fs::access(&options.path, Access::READ_OK | Access::WRITE_OK).map_err(|errno| as_file(errno.into()))?;
        let lock_file = lock_path(&options.path);
        let lock = Lock::take(&lock_file).map_err(|failure| match failure {
            LockFailure::Held => OpenError::InUse { database: path.clone(), lock: lock_file.clone() },
            LockFailure::Io(source) => OpenError::File { path: lock_file.clone(), source },
        })?;
        prepare(&options)?;
        Ok(Self { shared: Arc::new(Shared { options, _lock: lock }) })
    }

    /// How it was opened; the path is absolute and free of links.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    pub(crate) fn connect_writer(&self) -> rusqlite::Result<Connection> {
        let options = self.options();
        let connection = connect(options, OpenFlags::SQLITE_OPEN_READ_WRITE, options.writer_cache_kib)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(connection)
    }

    pub(crate) fn connect_checkpointer(&self) -> rusqlite::Result<Connection> {
        connect(self.options(), OpenFlags::SQLITE_OPEN_READ_WRITE, 64)
    }

    pub(crate) fn connect_reader(&self) -> rusqlite::Result<Connection> {
        let options = self.options();
        connect(options, OpenFlags::SQLITE_OPEN_READ_ONLY, options.reader_cache_kib)
    }
}

/// The absolute path of the file, free of links. A file that is not there is made: messages and webhook secrets are nobody
/// else's business, and SQLite would make it readable to all, and gives its log the mode of the database.
///
/// One that is there is not opened: to close it again would drop every lock that SQLite has on it in this process.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    match std::fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
            std::fs::canonicalize(path)
        }
        found => found,
    }
}

/// What it is that is no regular file.
fn other_kind(found: FileType) -> Option<&'static str> {
    if found.is_file() {
        None
    } else if found.is_dir() {
        Some("a directory")
    } else if found.is_char_device() || found.is_block_device() {
        Some("a device")
    } else {
        Some("a pipe or a socket")
    }
}

fn prepare(options: &Options) -> Result<(), OpenError> {
    let path = &options.path;
    let as_sqlite = |source| sqlite_error(path, source);
    let mut connection = open_file(options, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(as_sqlite)?;
    // Closing the last connection would move a log that is there into the file, and remove it: not where the file is not
    // ours. Already the settings may find out that it is no database.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(as_sqlite)?;
    configure(&connection, options, options.writer_cache_kib).map_err(as_sqlite)?;
    let version = identify(&connection, path)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(as_sqlite)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(as_sqlite)?;
    if mode != "wal" {
        return Err(OpenError::NoWriteAheadLog { path: path.clone(), mode });
    }
    migrations::run(&mut connection, version).map_err(|(number, source)| OpenError::Migration {
        path: path.clone(),
        number,
        source,
    })
}

/// The schema's version, 0 of an empty file; refuses what is not ours before anything is written to it.
fn identify(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    let as_sqlite = |source| sqlite_error(path, source);
    let path = path.to_path_buf();
    let application_id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(as_sqlite)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(as_sqlite)?;
    let (tables, of_original): (i64, i64) = connection
        .query_row(
            "SELECT count(*), count(*) FILTER (WHERE name IN ('tenants', 'rooms', 'messages')) FROM sqlite_schema
             WHERE type = 'table'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(as_sqlite)?;
    match application_id {
        migrations::APPLICATION_ID if version > migrations::NEWEST => {
            Err(OpenError::TooNew { path, found: version, known: migrations::NEWEST })
        }
        migrations::APPLICATION_ID => Ok(version),
        0 if tables == 0 && version == 0 => Ok(0),
        0 if of_original == 3 => Err(OpenError::Original { path }),
        application_id => Err(OpenError::Foreign { path, application_id }),
    }
}

fn connect(options: &Options, access: OpenFlags, cache_kib: u32) -> rusqlite::Result<Connection> {
    let connection = open_file(options, access)?;
    configure(&connection, options, cache_kib)?;
    Ok(connection)
}

fn open_file(options: &Options, access: OpenFlags) -> rusqlite::Result<Connection> {
    // No mutex: a connection is used by one thread at a time, which the borrow checker sees to.
    Connection::open_with_flags(&options.path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

fn configure(connection: &Connection, options: &Options, cache_kib: u32) -> rusqlite::Result<()> {
    connection.busy_timeout(options.busy_timeout)?;
    connection.pragma_update(None, "synchronous", options.synchronous.as_pragma())?;
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // The writer alone decides when to checkpoint.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

fn sqlite_error(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_path_buf();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
        _ => OpenError::Sqlite { path, source },
    }
}
