//! The cases that every store must pass, and random requests for comparing two of them.
//!
//! ```
//! # use chatapi_sim::memory_store::MemoryStore;
//! # use chatapi_sim::store_contract;
//! store_contract::check(|| MemoryStore::new("epoch"));
//! ```

mod cases;
mod requests;
mod steps;

use chatapi_core::store::{StoreRequest, StoreResult};

pub use cases::CASES;
pub use requests::RandomRequests;

use crate::memory_store::MemoryStore;

/// A store, as the contract sees it: one step at a time.
pub trait StoreUnderTest {
    /// Carries a step out on the lane it belongs to, and waits for the answer.
    fn execute(&mut self, request: &StoreRequest) -> StoreResult;
}

impl StoreUnderTest for MemoryStore {
    fn execute(&mut self, request: &StoreRequest) -> StoreResult {
        Self::execute(self, request)
    }
}

/// One case: its name, and what it does to a fresh store.
pub struct Case {
    /// What must hold.
    pub name: &'static str,
    /// Panics if it does not.
    pub run: fn(&mut dyn StoreUnderTest),
}

/// Runs every case, each on a store of its own.
///
/// # Panics
///
/// In the first case that fails; its name was printed last.
pub fn check<S: StoreUnderTest>(mut make: impl FnMut() -> S) {
    for case in CASES.iter().flat_map(|topic| topic.iter()) {
        eprintln!("store contract: {}", case.name);
        (case.run)(&mut make());
    }
}
