//! Client frames, parsed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::{ApiError, SendMessage};
use crate::id::{RoomId, Seq};

/// A text frame of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFrame {
    /// Echoed in the answer.
    pub request_id: Option<String>,
    /// What it is paid from, well-formed or not.
    pub paid_by: FrameBucket,
    /// What it asks for, or what is wrong with its form.
    pub command: Result<Command, ApiError>,
}

/// Which rate limit a client frame counts against (protocol, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrameBucket {
    /// The tenant's.
    Tenant,
    /// The connection's own for `ping`, `ack` and `typing` frames.
    Connection,
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
    /// `typing.start` and `typing.stop`
    Typing {
        /// The room.
        room_id: RoomId,
        /// Which of the two.
        action: TypingAction,
    },
    /// `subscribe`
    Subscribe {
        /// The room.
        room_id: RoomId,
        /// From where on; `None` is the user's `last_ack`.
        after: Option<Seq>,
    },
    /// `resume`
    Resume {
        /// From where on in each room; at most 1,000.
        rooms: BTreeMap<RoomId, Seq>,
    },
    /// `ping`
    Ping,
}

/// Whether a user types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TypingAction {
    /// From now on.
    Start,
    /// No longer.
    Stop,
}
