//! From the text of a client frame to a typed command.

use super::client::ClientFrame;

/// Parses the payload of a text frame: one JSON object whose fields stand beside `type` or inside `data`.
#[must_use]
pub fn parse_client_frame(text: &str) -> ClientFrame {
    todo!()
}
