//! Writes down what goes into the core, so that the run can be replayed (`chatapi-sim replay`).
//!
//! Only the core's lock knows the order of inputs, so that each is queued under it, with copies of its effects. What
//! costs more lies on either side: an input becomes text before the lock is taken, effects are redacted, digested and
//! written by one thread. No line is left out: where the disk does not keep up, inputs wait before the lock.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use chatapi_core::recording::{self, End, RecordedInput, Redactor};
use chatapi_core::{Config, Effect, Input, Now};

use crate::hub::lock;
use crate::keys::fill_random;

/// How much memory may wait to be written, by a rough count.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What an entry of the queue takes at least.
const ENTRY_BYTES: usize = 512;
/// How much is given to the file at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// For how long lines gather once one has come: a wake-up for each would cost more than the line.
const GATHERING_TIME: Duration = Duration::from_millis(2);

/// A recording under way.
pub(crate) struct Recorder {
    redactor: Redactor,
    origin: Mutex<Option<Origin>>,
    shared: Arc<Shared>,
    /// Nothing is ever sent: it ends with the writing thread.
    done: Mutex<Receiver<()>>,
}

/// What the core was made of.
struct Origin {
    config: Config,
    seed: [u8; 32],
    now: Now,
}

/// What the writing thread and the others have in common.
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write, or to end.
    filled: Condvar,
    /// There is room again, or nothing to wait for any more.
    emptied: Condvar,
    waiting_bytes: AtomicUsize,
    /// Nothing more is recorded.
    is_over: AtomicBool,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// The last line, if there is to be one, once nothing more comes.
    closed: Option<Option<End>>,
    /// The writing thread sleeps.
    is_idle: bool,
}

struct Entry {
    what: What,
    size_bytes: usize,
}

enum What {
    Start { origin: Box<Origin>, effects: Vec<Effect> },
    Step { now: Now, input: RecordedInput, effects: Option<Vec<Effect>> },
}

impl Recorder {
    /// Creates the file, which must not be there yet, for its owner alone.
    pub(crate) fn create(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Self::write_to(file, path, max_bytes)
    }

    fn write_to(file: File, path: &Path, max_bytes: u64) -> io::Result<Self> {
        let mut key = [0; 32];
        fill_random(&mut key);
        let redactor = Redactor::new(&key);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            waiting_bytes: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let (sender, done) = channel::<()>();
        let alive = Alive { shared: Arc::clone(&shared), _done: sender };
        let mut writer = LineWriter {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            path: path.to_owned(),
            written_bytes: 0,
            max_bytes,
            redactor: redactor.clone(),
            shared: Arc::clone(&shared),
        };
        thread::Builder::new().name("recorder".to_owned()).spawn(move || {
            writer.run();
            drop(alive);
        })?;
        Ok(Self { redactor, origin: Mutex::default(), shared, done: Mutex::new(done) })
    }

    /// Notes what the core is made of, for the first line.
    pub(crate) fn introduce(&self, config: Config, seed: [u8; 32], now: Now) {
        *lock(&self.origin) = Some(Origin { config, seed, now });
    }

    /// Queues the first line. The core is locked.
    pub(crate) fn start(&self, effects: Vec<Effect>) {
        if let Some(origin) = lock(&self.origin).take() {
            self.push(ENTRY_BYTES, What::Start { origin: Box::new(origin), effects });
        }
    }

    /// Makes the text of an input, before the core is locked; `None` once nothing is recorded any more. Blocks while
    /// too much waits to be written.
    pub(crate) fn note(&self, input: &Input) -> Option<RecordedInput> {
        let shared = &self.shared;
        if shared.waiting_bytes.load(Ordering::Relaxed) >= WAITING_BYTES_MAX {
            shared.wait_for_room();
        }
        (!shared.is_over.load(Ordering::Relaxed)).then(|| self.redactor.input(input))
    }

    /// Begins the line of an input that the core, which is locked, is about to handle.
    pub(crate) const fn begin(&self, now: Now, input: RecordedInput) -> OpenStep<'_> {
        OpenStep { recorder: self, now, input: Some(input) }
    }

    /// Writes what waits and the last line. Gives up after `limit`.
    pub(crate) fn close(&self, end: Option<End>, limit: Duration) {
        lock(&self.shared.queue).closed.get_or_insert(end);
        self.shared.filled.notify_one();
        self.shared.emptied.notify_all();
        if lock(&self.done).recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the recording could not be written to its end in time");
        }
    }

    fn push(&self, size_bytes: usize, what: What) {
        let shared = &self.shared;
        let mut queue = lock(&shared.queue);
        if queue.closed.is_some() || shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        shared.waiting_bytes.fetch_add(size_bytes, Ordering::Relaxed);
        queue.entries.push_back(Entry { what, size_bytes });
        if std::mem::take(&mut queue.is_idle) {
            drop(queue);
            shared.filled.notify_one();
        }
    }
}

/// The line of an input that is being handled. Dropped by a panic, it says that this input broke the core.
pub(crate) struct OpenStep<'a> {
    recorder: &'a Recorder,
    now: Now,
    input: Option<RecordedInput>,
}

impl OpenStep<'_> {
    /// Queues the line. The core is still locked.
    pub(crate) fn end(mut self, effects: Vec<Effect>) {
        self.push(Some(effects));
    }

    fn push(&mut self, effects: Option<Vec<Effect>>) {
        let Some(input) = self.input.take() else {
            return;
        };
        // What is large in effects is so in the input too, but for lists of receivers.
        let receivers: usize = effects.iter().flatten().map(receivers).sum();
        let size_bytes = ENTRY_BYTES + 2 * input.size_bytes() + 8 * receivers;
        self.recorder.push(size_bytes, What::Step { now: self.now, input, effects });
    }
}

impl Drop for OpenStep<'_> {
    fn drop(&mut self) {
        self.push(None);
    }
}

fn receivers(effect: &Effect) -> usize {
    match effect {
        Effect::Send { conns, .. } | Effect::Ping { conns } => conns.len(),
        Effect::Store { .. }
        | Effect::Respond { .. }
        | Effect::Accept { .. }
        | Effect::Close { .. }
        | Effect::Report(_)
        | Effect::Stop => 0,
    }
}

impl Shared {
    fn wait_for_room(&self) {
        let mut queue = lock(&self.queue);
        while self.waiting_bytes.load(Ordering::Relaxed) >= WAITING_BYTES_MAX
            && queue.closed.is_none()
            && !self.is_over.load(Ordering::Relaxed)
        {
            queue = self.emptied.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Held by the writing thread: however that ends, nobody waits for it.
struct Alive {
    shared: Arc<Shared>,
    _done: Sender<()>,
}

impl Drop for Alive {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.shared.waiting_bytes.store(0, Ordering::Relaxed);
        queue.entries = VecDeque::new();
        drop(queue);
        self.shared.emptied.notify_all();
    }
}

/// The thread that writes.
struct LineWriter {
    file: BufWriter<File>,
    path: PathBuf,
    written_bytes: u64,
    max_bytes: u64,
    redactor: Redactor,
    shared: Arc<Shared>,
}

/// Why nothing more is written.
enum Over {
    Closed,
    Full,
}

impl LineWriter {
    fn run(&mut self) {
        let over = self.write_all();
        let path = self.path.display();
        match over {
            Ok(Over::Closed) => {}
            Ok(Over::Full) => {
                tracing::warn!(%path, "the recording has its full size and ends here; the server goes on");
            }
            Err(error) => {
                tracing::error!(%path, %error, "the recording cannot be written and ends here; the server goes on");
            }
        }
    }

    fn write_all(&mut self) -> io::Result<Over> {
        loop {
            let (entries, closed) = self.take_entries()?;
            let is_last = entries.is_empty();
            for Entry { what, size_bytes } in entries {
                let line = self.line(what);
                if self.is_full(&line) {
                    self.file.write_all(&recording::end(End::SizeLimit))?;
                    self.file.flush()?;
                    return Ok(Over::Full);
                }
                self.file.write_all(&line)?;
                self.written_bytes += line.len() as u64;
                let waited = self.shared.waiting_bytes.fetch_sub(size_bytes, Ordering::Relaxed);
                if waited >= WAITING_BYTES_MAX && waited - size_bytes < WAITING_BYTES_MAX {
                    // Under the queue's lock, so that nobody has looked and not yet begun to wait.
                    drop(lock(&self.shared.queue));
                    self.shared.emptied.notify_all();
                }
            }
            if let Some(end) = closed.filter(|_| is_last) {
                if let Some(end) = end {
                    self.file.write_all(&recording::end(end))?;
                }
                self.file.flush()?;
                return Ok(Over::Closed);
            }
        }
    }

    /// Everything that waits to be written; waits for it. Nothing comes only when the recording is closed.
    fn take_entries(&mut self) -> io::Result<(VecDeque<Entry>, Option<Option<End>>)> {
        let mut queue = lock(&self.shared.queue);
        if queue.entries.is_empty() && queue.closed.is_none() {
            drop(queue);
            self.file.flush()?;
            queue = lock(&self.shared.queue);
            while queue.entries.is_empty() && queue.closed.is_none() {
                queue.is_idle = true;
                queue = self.shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.closed.is_none() {
                drop(queue);
                thread::sleep(GATHERING_TIME);
                queue = lock(&self.shared.queue);
            }
        }
        Ok((std::mem::take(&mut queue.entries), queue.closed))
    }

    fn line(&self, what: What) -> Vec<u8> {
        match what {
            What::Start { origin, mut effects } => {
                recording::header(&origin.config, origin.seed, origin.now, &self.redactor.effects(&mut effects))
            }
            What::Step { now, input, effects } => {
                let effects = effects.map(|mut effects| self.redactor.effects(&mut effects));
                recording::step(now, &input, effects.as_ref())
            }
        }
    }

    /// Whether a line finds no room before the one that says so.
    fn is_full(&self, line: &[u8]) -> bool {
        let last = recording::end(End::SizeLimit);
        self.written_bytes + (line.len() + last.len()) as u64 > self.max_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use chatapi_core::ConnId;
    use chatapi_core::recording::{Line, read_line};
    use chatapi_core::ws::parse_client_frame;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A recording into memory.
    fn piped(max_bytes: u64) -> (Recorder, io::PipeReader) {
        let (reader, writer) = io::pipe().unwrap();
        let recorder = Recorder::write_to(File::from(OwnedFd::from(writer)), Path::new("a pipe"), max_bytes).unwrap();
        recorder.introduce(Config::default(), [7; 32], Now::default());
        recorder.start(Vec::new());
        (recorder, reader)
    }

    fn frame(size_bytes: usize) -> Input {
        let text = format!(r#"{{"type":"send_message","room_id":"r","content":"{}"}}"#, "x".repeat(size_bytes));
        Input::Frame { conn: ConnId(1), frame: Box::new(parse_client_frame(&text)) }
    }

    fn record(recorder: &Recorder, input: &Input) -> bool {
        let noted = recorder.note(input);
        let is_recorded = noted.is_some();
        if let Some(noted) = noted {
            recorder.begin(Now::default(), noted).end(vec![Effect::Stop]);
        }
        is_recorded
    }

    fn lines(mut reader: io::PipeReader) -> Vec<Line> {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text.lines().map(|line| read_line(line.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn inputs_wait_while_the_disk_does_not_keep_up_and_no_line_is_lost() {
        const INPUTS: usize = 1_000;
        let (recorder, reader) = piped(u64::MAX);
        let lines = thread::scope(|scope| {
            let sender = scope.spawn(|| (0..INPUTS).all(|_| record(&recorder, &frame(20_000))));
            // Nobody reads the pipe: soon its writer stands still, and so do the inputs.
            let deadline = std::time::Instant::now() + PATIENCE;
            while recorder.shared.waiting_bytes.load(Ordering::Relaxed) < WAITING_BYTES_MAX {
                assert!(std::time::Instant::now() < deadline, "nothing fills the queue");
                thread::yield_now();
            }
            let reading = scope.spawn(|| lines(reader));
            assert!(sender.join().unwrap());
            recorder.close(Some(End::Shutdown), PATIENCE);
            reading.join().unwrap()
        });
        assert_eq!(lines.len(), 1 + INPUTS + 1);
        assert!(matches!(lines[0], Line::Header(_)));
        assert!(lines[1..=INPUTS].iter().all(|line| matches!(line, Line::Step(_))));
        assert_eq!(lines.last(), Some(&Line::End(End::Shutdown)));
    }

    #[test]
    fn a_disk_that_is_full_ends_the_recording_and_nobody_waits_for_it() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let recorder = Recorder::write_to(full, Path::new("/dev/full"), u64::MAX).unwrap();
        recorder.introduce(Config::default(), [7; 32], Now::default());
        recorder.start(Vec::new());
        let deadline = std::time::Instant::now() + PATIENCE;
        while record(&recorder, &frame(1_000_000)) {
            assert!(std::time::Instant::now() < deadline, "it goes on");
        }
        recorder.close(Some(End::Shutdown), PATIENCE);
    }

    #[test]
    fn a_recording_is_never_larger_than_it_may_be_and_its_last_line_says_why_it_ends() {
        let (recorder, reader) = piped(5_000);
        let reading = thread::spawn(|| lines(reader));
        while record(&recorder, &frame(100)) {}
        let lines = reading.join().unwrap();
        assert_eq!(lines.last(), Some(&Line::End(End::SizeLimit)));
        assert!((10..20).contains(&lines.len()), "{}", lines.len());
        recorder.close(Some(End::Shutdown), PATIENCE);
    }

    #[test]
    fn the_input_that_broke_the_core_is_the_last_line() {
        let (recorder, reader) = piped(u64::MAX);
        record(&recorder, &Input::Tick);
        let noted = recorder.note(&Input::Shutdown).unwrap();
        let broken = catch_unwind(AssertUnwindSafe(|| {
            let _step = recorder.begin(Now::default(), noted);
            panic!("the core doubts itself, as it may in a test");
        }));
        assert!(broken.is_err());
        recorder.close(None, PATIENCE);
        let lines = lines(reader);
        assert!(matches!(&lines[1], Line::Step(step) if step.effects.is_some()));
        assert!(matches!(&lines[2], Line::Step(step) if step.effects.is_none() && step.input == Input::Shutdown));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_file_that_is_there_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.jsonl");
        std::fs::write(&path, "precious").unwrap();
        let error = Recorder::create(&path, u64::MAX).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
