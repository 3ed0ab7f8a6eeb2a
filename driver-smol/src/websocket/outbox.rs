//! What waits for a connection. The core bounds it; the connection's task empties it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::task::Waker;

use atomic_waker::AtomicWaker;
use chatapi_core::CloseReason;

use super::outgoing::Outgoing;
use crate::hub::lock;

/// A connection's queue.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

/// What the task takes in one go.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) frames: VecDeque<Outgoing>,
    /// The connection is to be closed after the frames.
    pub(crate) close: Option<CloseReason>,
}

impl Outbox {
    pub(crate) fn push(&self, frame: Outgoing) {
        let mut waiting = lock(&self.waiting);
        let was_empty = waiting.frames.is_empty();
        waiting.frames.push_back(frame);
        drop(waiting);
        if was_empty {
            self.waker.wake();
        }
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        lock(&self.waiting).close = Some(reason);
        self.waker.wake();
    }

    /// Takes everything. `waker` is woken when more comes.
    pub(crate) fn take(&self, waker: &Waker) -> Waiting {
        self.waker.register(waker);
        std::mem::take(&mut *lock(&self.waiting))
    }
}
