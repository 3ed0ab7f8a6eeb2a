//! Deterministic simulation of ChatAPI.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`memory_store`] | the store's contract as a plain model in memory |
//! | [`replay`] | recordings of a server, once more |
//! | [`store_contract`] | the cases that every store must pass, and a generator of random requests |
//! | [`world`] | a scripted world: the core between simulated sockets, clock and store |

pub mod memory_store;
pub mod replay;
pub mod store_contract;
pub mod world;
