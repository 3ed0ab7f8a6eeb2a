//! The schema, as numbered steps that only go forward.

use rusqlite::{Connection, TransactionBehavior};

/// `ChAP`: marks a file as ChatAPI's.
pub(crate) const APPLICATION_ID: i32 = 0x4368_4150;

/// Step n brings `user_version` from n - 1 to n. A step that was released never changes.
const STEPS: &[&str] = &[include_str!("migrations/0001_initial.sql"), include_str!("migrations/0002_lifecycle.sql")];

/// The schema that this binary works on.
pub(crate) const NEWEST: i64 = STEPS.len() as i64;

/// Runs the steps past `version`, each in a transaction of its own; on an error tells which step failed.
pub(crate) fn run(connection: &mut Connection, version: i64) -> Result<(), (i64, rusqlite::Error)> {
    for (number, step) in (1..).zip(STEPS).filter(|&(number, _)| number > version) {
        run_step(connection, number, step).map_err(|error| (number, without_script(error)))?;
        tracing::info!(number, "database migrated");
    }
    Ok(())
}

fn run_step(connection: &mut Connection, number: i64, step: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(step)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", number)?;
    transaction.commit()
}

/// The complaint alone: rusqlite's text of such an error holds the whole step.
fn without_script(error: rusqlite::Error) -> rusqlite::Error {
    if let rusqlite::Error::SqlInputError { error, msg, .. } = error {
        rusqlite::Error::SqliteFailure(error, Some(msg))
    } else {
        error
    }
}
