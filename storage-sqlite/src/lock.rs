//! The file that keeps a second server out.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Held as long as the value lives; the kernel lets go when the process dies, however it dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why the lock was not taken.
#[derive(Debug)]
pub(crate) enum LockFailure {
    Held,
    Io(io::Error),
}

impl Lock {
    /// Takes the lock at `path` at once or not at all. The file stays behind: removing it would let two processes each
    /// lock a file of that name.
    pub(crate) fn take(path: &Path) -> Result<Self, LockFailure> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(LockFailure::Io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockFailure::Held),
            Err(errno) => Err(LockFailure::Io(errno.into())),
        }
    }
}

/// `<database>.lock`
pub(crate) fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}
