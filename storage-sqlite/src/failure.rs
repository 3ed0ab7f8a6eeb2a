//! What an error of SQLite means to the core.

use chatapi_core::store::StoreFailure;
use rusqlite::ErrorCode;
use rusqlite::ffi;

/// The failure of a step, or of a whole transaction, of which nothing was kept.
pub(crate) fn failure_of(error: &rusqlite::Error) -> StoreFailure {
    let Some(sqlite) = error.sqlite_error() else {
        return StoreFailure::Failed;
    };
    // A full disk (or a quota) shows as one of these where SQLite extends a file other than by a plain write.
    let no_room = [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_TRUNCATE];
    let busy = [ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked, ErrorCode::FileLockingProtocolFailed];
    if busy.contains(&sqlite.code) {
        StoreFailure::Busy
    } else if sqlite.code == ErrorCode::DiskFull || no_room.contains(&sqlite.extended_code) {
        StoreFailure::Full
    } else {
        StoreFailure::Failed
    }
}
