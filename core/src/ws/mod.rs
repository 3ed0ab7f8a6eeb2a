//! The WebSocket side (protocol, section 7): handshakes, frames of both directions, sessions and their catching up.

mod client;
mod handshake;
mod parse;
mod server;

pub use client::{ClientFrame, Command};
pub use handshake::{BacklogChoice, HandshakeCredentials, HandshakeRequest};
pub use parse::parse_client_frame;
pub(crate) use server::Stamp;
pub use server::{Frame, message_frame};
pub(crate) use server::{
    SyncSummary, ack_received, connected, error, message_for_sender, pong, server_shutdown, sync_complete,
};
