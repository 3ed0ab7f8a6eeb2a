//! What happens to the core.

use serde::{Deserialize, Serialize};

use crate::api::ApiRequest;
use crate::id::{ConnId, OpId, RequestId};
use crate::store::StoreResult;
use crate::ws::{ClientFrame, HandshakeRequest};

/// Something that happened outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A REST request came in. It is answered by exactly one [`crate::Effect::Respond`].
    Request {
        /// Its name.
        request: RequestId,
        /// The request.
        body: Box<ApiRequest>,
    },
    /// A WebSocket handshake came in. It is answered by exactly one [`crate::Effect::Respond`] (refused) or
    /// [`crate::Effect::Accept`]; from an accept on `conn` names the connection.
    Handshake {
        /// The name of the HTTP exchange.
        request: RequestId,
        /// The name of the connection that it may become.
        conn: ConnId,
        /// The handshake.
        body: Box<HandshakeRequest>,
    },
    /// A text frame came in.
    Frame {
        /// From where.
        conn: ConnId,
        /// The frame.
        frame: Box<ClientFrame>,
    },
    /// A ping or a pong came in: the peer is alive.
    Heard {
        /// From where.
        conn: ConnId,
    },
    /// Frames left for the wire. Reported once [`crate::FLUSH_REPORT_BYTES`] or [`crate::FLUSH_REPORT_FRAMES`] have
    /// gathered, with the first write that is 5 s later than the last report, and before what a peer says: the
    /// first time, and 20 ms after the last such report or later.
    Flushed {
        /// Where to.
        conn: ConnId,
        /// How many frames since the last report.
        frames: u32,
        /// How many bytes of frames since the last report.
        size_bytes: u64,
        /// Whether the socket had been full meanwhile and took bytes again, so that the peer must have read some.
        peer_reads: bool,
    },
    /// The connection has ended, or could not be established after the accept.
    Closed {
        /// Which.
        conn: ConnId,
        /// By whom.
        by: ClosedBy,
    },
    /// The store answered.
    Stored {
        /// The step.
        op: OpId,
        /// Its reply.
        result: StoreResult,
    },
    /// The moment of [`crate::Core::next_timeout`] has come.
    Tick,
    /// The process shall end.
    Shutdown,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClosedBy {
    /// The client, with a close frame.
    Client,
    /// The server: the close that the core asked for is done, or the peer broke the WebSocket protocol.
    Server,
    /// The network: a reset, an end without a close frame.
    Error,
}
