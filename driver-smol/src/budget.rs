//! One budget of memory for what strangers may send: bodies that are not complete or not answered, and WebSocket messages
//! that are not complete. Without it everyone who connects could have 2 MiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// For all connections together.
const BUDGET_BYTES: usize = 64 * 1024 * 1024;
/// Up to here nothing is counted, as a head may take as much: whoever uses up the budget with large bodies must not stop
/// the small ones, and those pay nothing for it.
const UNCOUNTED_BYTES: usize = 16 * 1024;

/// The memory that is left.
pub(crate) struct Budget {
    left_bytes: AtomicUsize,
}

/// What a connection has of it; given back when it is dropped.
pub(crate) struct Share {
    budget: Arc<Budget>,
    held_bytes: usize,
}

/// Nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Budget {
    pub(crate) fn new() -> Self {
        Self { left_bytes: AtomicUsize::new(BUDGET_BYTES) }
    }

    /// A share that holds nothing yet.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), held_bytes: 0 }
    }

    /// What all shares hold together.
    pub(crate) fn held_bytes(&self) -> u64 {
        BUDGET_BYTES.saturating_sub(self.left_bytes.load(Ordering::Relaxed)) as u64
    }
}

impl Share {
    /// Makes it so many bytes in all; where they are not left, it stays as it is.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let wanted = if bytes > UNCOUNTED_BYTES { bytes } else { 0 };
        let left = &self.budget.left_bytes;
        if wanted > self.held_bytes {
            let more = wanted - self.held_bytes;
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(more))
                .map_err(|_| Exhausted)?;
        } else if wanted < self.held_bytes {
            left.fetch_add(self.held_bytes - wanted, Ordering::Relaxed);
        }
        self.held_bytes = wanted;
        Ok(())
    }

    /// Gives everything back.
    pub(crate) fn release(&mut self) {
        self.budget.left_bytes.fetch_add(std::mem::take(&mut self.held_bytes), Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back_and_never_more_than_there_is() {
        let budget = Arc::new(Budget::new());
        let (mut first, mut second) = (budget.share(), budget.share());
        assert_eq!(first.hold(BUDGET_BYTES - UNCOUNTED_BYTES), Ok(()));
        assert_eq!(second.hold(UNCOUNTED_BYTES), Ok(()), "the small ones always pass");
        assert_eq!(second.hold(UNCOUNTED_BYTES + 1), Err(Exhausted));
        assert_eq!(first.hold(BUDGET_BYTES / 2), Ok(()));
        assert_eq!(second.hold(BUDGET_BYTES / 2), Ok(()));
        assert_eq!(second.hold(BUDGET_BYTES / 2 + 1), Err(Exhausted));
        assert_eq!(budget.held_bytes(), BUDGET_BYTES as u64);
        drop(first);
        assert_eq!(second.hold(BUDGET_BYTES), Ok(()));
        second.release();
        assert_eq!(budget.share().hold(BUDGET_BYTES), Ok(()));
        assert_eq!(budget.held_bytes(), 0);
    }
}
