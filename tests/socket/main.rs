//! What clients of WebSockets are promised, over real sockets: one test for one promise (protocol, sections 2 to 7).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a test that failed")]

#[path = "../support/mod.rs"]
mod support;

mod client;

mod changes;
mod closing;
mod every_manner;
mod frames;
mod handshake;
mod keep_alive;
mod large_rooms;
mod limits;
mod notifications;
mod operator;
mod presence;
mod rooms;
mod slow_readers;
mod syncing;
mod targets;
mod typing;
