//! The WebSocket side (protocol, section 7): handshakes, frames of both directions, sessions and their catching up.

mod audience;
mod catch_up;
mod client;
mod connection;
mod handshake;
mod kept;
mod membership;
mod parse;
mod presence;
mod publish;
mod server;
mod session;
mod sessions;
mod sync;
mod typing;

pub(crate) use audience::Audiences;
pub use client::{ClientFrame, Command, FrameBucket, TypingAction};
pub use handshake::{BacklogChoice, HandshakeCredentials, HandshakeRequest};
pub use parse::parse_client_frame;
pub use server::{Frame, message_frame, notification_frame};
pub(crate) use server::{Stamp, server_shutdown};
pub(crate) use sessions::Sessions;
pub(crate) use typing::Typings;
