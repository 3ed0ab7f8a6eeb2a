//! Deterministic simulation of ChatAPI.
//!
//! One list of actions decides everything that happens to the real core: what clients do, when the store works, what
//! goes wrong. A seed draws such a list; what fails is shrunk to a short one.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`runner`] | runs a seed or a list of actions; [`report`] runs many and says what they came to |
//! | [`action`], [`scenario`], [`choices`] | what can happen, how often, and who decides |
//! | [`simulation`] | the world in which it happens, and the checks of everything that comes out |
//! | [`model`], [`invariant`] | what should be, and what must hold |
//! | [`sabotage`], [`probe`], [`shrink`] | that it can fail, what it reaches, what is left of a failure |
//! | [`memory_store`], [`store_contract`], [`differential`] | the store's contract as a plain model, and SQLite beside it |
//! | [`replay`] | recordings of a real server, once more |
//! | [`world`] | a scripted world, for tests that say what happens step by step |

pub mod action;
pub mod choices;
pub mod differential;
pub mod entropy;
pub mod invariant;
pub mod memory_store;
pub mod model;
pub mod probe;
pub mod replay;
pub mod report;
pub mod runner;
pub mod sabotage;
pub mod scenario;
pub mod shrink;
pub mod simulation;
pub mod store_contract;
mod story;
mod trace;
pub mod world;
