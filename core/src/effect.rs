//! What the core wants done.

use serde::{Deserialize, Serialize};

use crate::api::Answer;
use crate::id::{ConnId, OpId, RequestId, RoomId, TenantId};
use crate::limits::RateLimitStatus;
use crate::store::{StoreFailure, StoreRequest};
use crate::ws::Frame;

/// Something to carry out, in the order given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Hand the step to the store; its reply comes back as [`crate::Input::Stored`].
    Store {
        /// The step's name.
        op: OpId,
        /// The step.
        request: StoreRequest,
    },
    /// Answer the request.
    Respond {
        /// Which.
        request: RequestId,
        /// The answer.
        answer: Box<Answer>,
    },
    /// Answer the handshake with 101. Frames for `conn` may follow at once.
    Accept {
        /// The HTTP exchange.
        request: RequestId,
        /// The connection it becomes.
        conn: ConnId,
        /// Told in the answer.
        rate_limit: RateLimitStatus,
    },
    /// Queue the frame on each connection.
    Send {
        /// Where to.
        conns: Vec<ConnId>,
        /// The frame, shared by all.
        frame: Frame,
    },
    /// Queue a WebSocket ping on each connection.
    Ping {
        /// Where to.
        conns: Vec<ConnId>,
    },
    /// Queue a close frame, then end the connection. Nothing for it follows.
    Close {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// Something an operator may want to know.
    Report(Event),
    /// Everything is done: close the store and end.
    Stop,
}

/// Why the core closes a connection (protocol, section 7). What breaks the WebSocket protocol itself is closed by the
/// driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseReason {
    /// A shutdown.
    Shutdown,
    /// The user has as many connections as one may have.
    TooManyConnections,
    /// 20 frames in a row were no valid frame.
    TooManyInvalidFrames,
    /// The peer takes nothing, or frames that must not be dropped do not fit its queue.
    SlowReader,
    /// The store cannot serve; the next connect catches up.
    StoreUnavailable,
    /// The peer was silent for too long.
    Unresponsive,
    /// The tenant's key was rotated, and its sockets were to be closed.
    KeyRotated,
    /// The tenant was deleted.
    TenantDeleted,
}

impl CloseReason {
    /// The code of the close frame.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Shutdown => 1001,
            Self::TooManyConnections | Self::TooManyInvalidFrames | Self::KeyRotated | Self::TenantDeleted => 1008,
            Self::SlowReader | Self::StoreUnavailable | Self::Unresponsive => 1013,
        }
    }

    /// The text of the close frame.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Shutdown => "the server is shutting down",
            Self::TooManyConnections => "too many connections of this user",
            Self::TooManyInvalidFrames => "too many invalid frames",
            Self::SlowReader => "reading too slowly",
            Self::StoreUnavailable => "storage is unavailable",
            Self::Unresponsive => "silent for too long",
            Self::KeyRotated => "the API key was rotated",
            Self::TenantDeleted => "the tenant was deleted",
        }
    }
}

/// What happened, as data: the driver logs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The store is open and requests are served.
    Ready,
    /// A tenant was created.
    TenantCreated {
        /// Which.
        tenant_id: TenantId,
    },
    /// A tenant was deleted.
    TenantDeleted {
        /// Which.
        tenant_id: TenantId,
    },
    /// The store could not serve a step.
    StoreFailed {
        /// The step's name.
        op: OpId,
        /// Why.
        failure: StoreFailure,
    },
    /// The store did not answer a step in time.
    StoreTimedOut {
        /// The step's name.
        op: OpId,
    },
    /// The newest message of a room turned out to lie past what was pushed, after an outcome was unknown.
    RoomRecovered {
        /// Which.
        room_id: RoomId,
    },
}
