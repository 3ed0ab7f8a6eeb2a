//! A REST request under way: where its answer is handed to the task that owns the socket.

use std::future::poll_fn;
use std::sync::Mutex;
use std::task::Poll;

use atomic_waker::AtomicWaker;
use chatapi_core::RateLimitStatus;
use chatapi_core::api::Answer;

use crate::hub::lock;

/// What the core said to a request or a handshake.
pub(crate) enum Reply {
    Answer(Box<Answer>),
    /// The handshake is accepted.
    Accepted(RateLimitStatus),
    /// The core has stopped, and says nothing any more.
    Stopped,
}

/// The place for one reply at a time; a connection uses the same for all its requests.
#[derive(Default)]
pub(crate) struct Exchange {
    reply: Mutex<Option<Reply>>,
    waker: AtomicWaker,
}

impl Exchange {
    pub(crate) fn set(&self, reply: Reply) {
        *lock(&self.reply) = Some(reply);
        self.waker.wake();
    }

    pub(crate) async fn take(&self) -> Reply {
        poll_fn(|context| {
            self.waker.register(context.waker());
            lock(&self.reply).take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
