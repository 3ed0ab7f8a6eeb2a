//! Faults that a test switches on in the write connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// What goes wrong; nothing does at first.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Every commit that would change something fails.
    pub(crate) fail_commits: Arc<AtomicBool>,
    /// No transaction ends, neither way.
    pub(crate) forbid_ends: Arc<AtomicBool>,
    /// The disk is full at so many pages; 0 is never.
    pub(crate) pages_max: AtomicU32,
}

impl Faults {
    /// Called for each connection.
    pub(crate) fn install(&self, connection: &mut Connection) {
        let fail = Arc::clone(&self.fail_commits);
        connection.commit_hook(Some(move || fail.load(Ordering::SeqCst))).unwrap();
    }

    /// Called before each batch.
    pub(crate) fn apply(&self, connection: &mut Connection) {
        let forbidden = Arc::clone(&self.forbid_ends);
        // Asked when a statement is compiled: those that were before are compiled anew.
        connection
            .authorizer(Some(move |context: AuthContext<'_>| {
                let is_end = matches!(context.action, AuthAction::Transaction { operation } if operation != rusqlite::hooks::TransactionOperation::Begin);
                if is_end && forbidden.load(Ordering::SeqCst) { Authorization::Deny } else { Authorization::Allow }
            }))
            .unwrap();
        let pages = match self.pages_max.load(Ordering::SeqCst) {
            0 => u32::MAX - 1,
            pages => pages,
        };
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    }
}
