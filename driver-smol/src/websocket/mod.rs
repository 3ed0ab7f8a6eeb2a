//! WebSocket connections: bytes to inputs, queued frames to bytes.
//!
//! | file | topic |
//! | --- | --- |
//! | `boundaries` | where messages end, for their limits |
//! | `inbound` | what the peer sends, through tungstenite without a socket |
//! | `outbox` | what waits for the peer |
//! | `outgoing` | frames as bytes |
//! | `task` | the connection's task: reads, writes, closes |

mod boundaries;
mod inbound;
mod outbox;
mod outgoing;
mod task;

pub(crate) use outbox::Outbox;
pub(crate) use outgoing::Outgoing;
pub(crate) use task::serve;
