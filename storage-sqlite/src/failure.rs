//! What an error of SQLite means to the core.

use chatapi_core::store::StoreFailure;
use rusqlite::ErrorCode;
use rusqlite::ffi;

/// The failure of a step, or of a whole transaction, of which nothing was kept.
pub(crate) fn failure_of(error: &rusqlite::Error) -> StoreFailure {
    let Some(sqlite) = error.sqlite_error() else {
        return StoreFailure::Failed;
    };
    match sqlite.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            StoreFailure::Busy
        }
        ErrorCode::DiskFull => StoreFailure::Full,
        // A full disk (or a quota) shows as these where SQLite extends a file other than by a plain write.
        ErrorCode::SystemIoFailure
            if matches!(
                sqlite.extended_code,
                ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_TRUNCATE
            ) =>
        {
            StoreFailure::Full
        }
        _ => StoreFailure::Failed,
    }
}
