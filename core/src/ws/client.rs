//! Client frames, parsed.

use serde::{Deserialize, Serialize};

use crate::api::{ApiError, SendMessage};
use crate::id::{RoomId, Seq};

/// A text frame of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFrame {
    /// Echoed in the answer.
    pub request_id: Option<String>,
    /// What it asks for, or what is wrong with its form.
    pub command: Result<Command, ApiError>,
}

/// What a client frame asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// `send_message`
    SendMessage(Box<SendMessage>),
    /// `ack`
    Acknowledge {
        /// The room.
        room_id: RoomId,
        /// The newest message read.
        seq: Seq,
    },
    /// `ping`
    Ping,
}
