//! The contract over REST, a test for each promise (protocol, sections 1 to 6, 9 and 10). One target, since each costs
//! its time to link; the tests share a server as long as any of them runs, and have tenants of their own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a test that failed")]

mod admin;
mod admin_keys;
mod bodies;
mod callers;
mod configuration;
mod conventions;
mod health;
mod members;
mod messages;
mod nonsense;
mod notifications;
mod order;
mod rate_limit;
mod restart;
mod rooms;
#[path = "../support/mod.rs"]
mod support;
mod world;
