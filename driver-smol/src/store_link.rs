//! The way to the store: changes to its writer by the batch, reads to a few threads beside it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use chatapi_core::Input;
use chatapi_core::OpId;
use chatapi_core::store::StoreRequest;
use chatapi_storage_sqlite::{Readers, Writer};

use crate::hub::{Hub, lock};

/// The open store.
pub(crate) struct StoreLink {
    writer: Mutex<Option<Writer>>,
    reads: Arc<ReadQueue>,
}

struct ReadQueue {
    readers: Readers,
    readers_max: usize,
    hub: Weak<Hub>,
    state: Mutex<ReadState>,
}

#[derive(Default)]
struct ReadState {
    waiting: VecDeque<(OpId, StoreRequest)>,
    /// Threads that are taking from `waiting`.
    busy: usize,
}

impl StoreLink {
    pub(crate) fn new(writer: Writer, readers: Readers, readers_max: usize, hub: Weak<Hub>) -> Self {
        let reads = ReadQueue { readers, readers_max, hub, state: Mutex::default() };
        Self { writer: Mutex::new(Some(writer)), reads: Arc::new(reads) }
    }

    /// Queues changes, in order. The core bounds how many wait.
    pub(crate) fn write(&self, batch: Vec<(OpId, StoreRequest)>) {
        if batch.is_empty() {
            return;
        }
        if let Some(writer) = lock(&self.writer).as_ref() {
            writer.submit(batch);
        }
    }

    /// Queues reads. The core bounds how many wait.
    pub(crate) fn read(&self, batch: Vec<(OpId, StoreRequest)>) {
        if batch.is_empty() {
            return;
        }
        let mut state = lock(&self.reads.state);
        state.waiting.extend(batch);
        let wanted = state.waiting.len().min(self.reads.readers_max);
        while state.busy < wanted {
            state.busy += 1;
            let reads = Arc::clone(&self.reads);
            blocking::unblock(move || reads.run()).detach();
        }
    }

    /// Finishes what is queued, checkpoints and closes. Blocks until that is done.
    pub(crate) fn close(&self) {
        // Its thread may be about to queue steps: it must find the lock free.
        let writer = lock(&self.writer).take();
        if let Some(writer) = writer {
            writer.close();
        }
    }
}

impl ReadQueue {
    fn run(&self) {
        loop {
            let next = {
                let mut state = lock(&self.state);
                let next = state.waiting.pop_front();
                if next.is_none() {
                    state.busy -= 1;
                }
                next
            };
            let Some((op, request)) = next else {
                return;
            };
            let result = self.readers.read(&request);
            if let Some(hub) = self.hub.upgrade() {
                hub.handle(Input::Stored { op, result });
            }
        }
    }
}
