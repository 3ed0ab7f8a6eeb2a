//! ChatAPI's store on SQLite.
//!
//! Three handles, all synchronous; a driver adapts them to its runtime:
//!
//! - [`Store`] is the database file, opened, checked and migrated, with the lock that keeps a second server out;
//! - [`Writer`] is one thread that carries out what changes the database, in group commits, and answers in order;
//! - [`Readers`] is a small pool of connections for everything else, which see only what is committed.
//!
//! What may be asked and answered is `chatapi_core::store`; what each step means is written there.

mod append;
mod checkpoint;
mod execute;
mod expansions;
mod failure;
mod history;
mod lock;
mod members;
mod messages;
mod migrations;
mod notifications;
mod open;
mod options;
mod positions;
mod readers;
mod rooms;
mod rows;
mod server_state;
mod session;
mod subscriptions;
mod sweep;
mod tenants;
mod writer;

pub use open::{OpenError, Store};
pub use options::{Options, Synchronous};
pub use readers::Readers;
pub use writer::{OnReplies, Writer, WriterStats};

#[cfg(test)]
mod tests;
