//! ChatAPI's core: a state machine that decides everything and performs nothing.
//!
//! It has no I/O, no clock, no threads and no randomness of its own: drivers feed it [`Input`]s with the time, and
//! carry out the [`Effect`]s it gives. So the whole server can be simulated, recorded and replayed bit for bit.
//! The driving contract stands on [`Core`].
//!
//! | module | what it decides |
//! | --- | --- |
//! | [`api`] | REST: routes, bodies, answers |
//! | [`ws`] | WebSocket: handshakes, frames, sessions, catching up |
//! | [`store`] | what a store is asked, and what it may answer |
//! | [`model`] | tenants, rooms, members, messages |
//! | [`recording`] | what a run is recorded as, without its secrets, and its replay |

pub mod api;
mod auth;
mod config;
mod core;
mod effect;
mod hex;
mod id;
mod input;
mod json;
mod limits;
mod metrics;
pub mod model;
mod notifications;
mod operations;
pub mod recording;
mod recovery;
mod secret;
pub mod store;
mod sweeping;
mod time;
pub mod ws;

pub use self::core::{Core, TimerKind};
pub use config::{AllowedOrigins, Config};
pub use effect::{CloseReason, Effect, Event};
pub use id::{
    ConnId, IdStamp, MessageId, NotificationId, NotificationKey, OpId, RequestId, RoomId, Seq, TenantId, TenantKey,
    UserId,
};
pub use input::{ClosedBy, Input};
pub use limits::RateLimitStatus;
pub use metrics::{Histogram, MetricsSnapshot, ProcessGauges};
pub use operations::{MAX_READS_WAITING, MAX_WRITES_WAITING};
pub use secret::{Digest, Entropy, Secret};
pub use time::{Micros, MonoMicros, Now, UnixMillis};

/// How many bytes that left for the wire gather before [`Input::Flushed`] tells of them. As much may still count as
/// waiting though nothing is.
pub const FLUSH_REPORT_BYTES: u64 = 64 * 1024;
/// How many frames that left for the wire gather before [`Input::Flushed`] tells of them.
pub const FLUSH_REPORT_FRAMES: u32 = 64;
