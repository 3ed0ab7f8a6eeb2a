//! The way to the store: changes to its writer by the batch, reads to a few threads beside it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use chatapi_core::Input;
use chatapi_core::OpId;
use chatapi_core::store::StoreRequest;
use chatapi_storage_sqlite::{Readers, Writer};

use crate::hub::{Hub, lock};
use crate::panics::AbortOnPanic;

/// The open store.
pub(crate) struct StoreLink {
    writer: Mutex<Option<Writer>>,
    reads: Arc<ReadQueue>,
}

/// How much the store has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StoreLoad {
    /// Steps in the writer's queue.
    pub(crate) queued_writes: u64,
    /// Steps that no reader has taken up.
    pub(crate) queued_reads: u64,
    /// Length of the write-ahead log.
    pub(crate) wal_bytes: u64,
}

/// Answers a read.
type Serve = Box<dyn Fn(OpId, &StoreRequest) + Send + Sync>;

struct ReadQueue {
    serve: Serve,
    readers_max: usize,
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
        let serve = move |op, request: &StoreRequest| {
            let result = readers.read(request);
            if let Some(hub) = hub.upgrade() {
                hub.handle(Input::Stored { op, result });
            }
        };
        let reads = Arc::new(ReadQueue::new(readers_max, Box::new(serve)));
        Self { writer: Mutex::new(Some(writer)), reads }
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
        self.reads.push(batch);
    }

    /// How much there is to do; nothing for the writer once the store is closed.
    pub(crate) fn load(&self) -> StoreLoad {
        let writer = lock(&self.writer).as_ref().map(Writer::stats).unwrap_or_default();
        StoreLoad {
            queued_writes: writer.queued,
            queued_reads: lock(&self.reads.state).waiting.len() as u64,
            wal_bytes: writer.wal_bytes(),
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
    fn new(readers_max: usize, serve: Serve) -> Self {
        Self { serve, readers_max, state: Mutex::default() }
    }

    fn push(self: &Arc<Self>, batch: Vec<(OpId, StoreRequest)>) {
        let mut state = lock(&self.state);
        state.waiting.extend(batch);
        // The threads that are at it may all be held up by long reads: what waits needs others.
        let wanted = (state.busy + state.waiting.len()).min(self.readers_max);
        while state.busy < wanted {
            state.busy += 1;
            let reads = Arc::clone(self);
            blocking::unblock(move || reads.run()).detach();
        }
    }

    fn run(&self) {
        let _abort = AbortOnPanic;
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
            (self.serve)(op, &request);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use chatapi_core::Digest;

    use super::*;

    /// Set for the process that is to panic.
    const PANICS: &str = "CHATAPI_TEST_PANICS";

    #[test]
    fn a_read_that_panics_ends_the_process() {
        use std::os::unix::process::ExitStatusExt as _;
        let read = vec![(OpId(1), StoreRequest::FindTenant { api_key: Digest([0; 32]) })];
        if std::env::var_os(PANICS).is_some() {
            Arc::new(ReadQueue::new(1, Box::new(|_, _| panic!("as the test wants it")))).push(read);
            // The process ends meanwhile.
            std::thread::park_timeout(PATIENCE);
            return;
        }
        let this_test = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store_link::tests::a_read_that_panics_ends_the_process"])
            .env(PANICS, "1")
            .output()
            .unwrap();
        const SIGABRT: i32 = 6;
        assert_eq!(this_test.status.signal(), Some(SIGABRT), "{this_test:?}");
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn a_long_read_holds_nobody_up_while_a_reader_is_free() {
        let (begun, begins) = mpsc::channel();
        let (finish, finished) = mpsc::channel::<()>();
        let finished = Mutex::new(finished);
        let serve = move |op, _: &StoreRequest| {
            begun.send(op).unwrap();
            if op == OpId(1) {
                // Until the test has seen the others.
                lock(&finished).recv().unwrap();
            }
        };
        let reads = Arc::new(ReadQueue::new(2, Box::new(serve)));
        let read = |op| reads.push(vec![(OpId(op), StoreRequest::FindTenant { api_key: Digest([0; 32]) })]);
        read(1);
        assert_eq!(begins.recv_timeout(PATIENCE), Ok(OpId(1)));
        for op in 2..=4 {
            read(op);
            assert_eq!(begins.recv_timeout(PATIENCE), Ok(OpId(op)));
        }
        finish.send(()).unwrap();
    }
}
