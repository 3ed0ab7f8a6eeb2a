//! How a database is opened.

use std::path::PathBuf;
use std::time::Duration;

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// The disk: an answered write survives a power cut.
    #[default]
    Full,
    /// The operating system: an answered write survives a crash of the process, and a power cut may take the last
    /// moments. The database stays sound either way.
    Normal,
}

impl Synchronous {
    pub(crate) const fn as_pragma(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        }
    }
}

/// How a database is opened. [`Options::new`] gives what a server needs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database file, made if missing; its directory must exist. `:memory:` and `file:` have no special meaning.
    pub path: PathBuf,
    /// What a commit waits for.
    pub synchronous: Synchronous,
    /// How long the writer waits for another process that holds the write lock, before it answers
    /// [`Busy`](chatapi_core::store::StoreFailure::Busy); also bounds how long a checkpoint waits for readers.
    pub busy_timeout: Duration,
    /// Page cache of the writer, in KiB; taken as it fills.
    pub writer_cache_kib: u32,
    /// Page cache of each reader, in KiB; taken as it fills.
    pub reader_cache_kib: u32,
    /// How far the write-ahead log may grow, in bytes, before the writer stops for a full checkpoint. Below that, the
    /// checkpoints run beside it.
    pub wal_limit_bytes: u64,
    #[cfg(test)]
    pub(crate) faults: std::sync::Arc<crate::tests::Faults>,
}

impl Options {
    /// The database at `path`, durable through a power cut, with modest caches.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            synchronous: Synchronous::Full,
            busy_timeout: Duration::from_secs(2),
            writer_cache_kib: 2_048,
            reader_cache_kib: 512,
            wal_limit_bytes: 64 * 1024 * 1024,
            #[cfg(test)]
            faults: std::sync::Arc::default(),
        }
    }
}
