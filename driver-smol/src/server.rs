//! A server's life: open the store, serve, drain, close.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use async_signal::{Signal, Signals};
use chatapi_core::Input;
use chatapi_core::recording::End;
use chatapi_storage_sqlite::{OpenError, Options, Readers, Store, Writer};
use futures_lite::{FutureExt as _, StreamExt as _};
use smol::{Executor, Timer};

use crate::deadline::Deadlines;
use crate::hub::Hub;
use crate::keys::{Keys, fill_random};
use crate::recorder::Recorder;
use crate::settings::{Record, Settings};
use crate::store_link::StoreLink;
use crate::{listener, timer};

/// What every connection needs.
pub(crate) struct Server {
    pub(crate) hub: Arc<Hub>,
    pub(crate) keys: Keys,
    pub(crate) deadlines: Arc<Deadlines>,
    pub(crate) executor: Arc<Executor<'static>>,
    pub(crate) connection_limit: usize,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made.
    #[error("DATA_DIR {path} cannot be made: {error}")]
    DataDir {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The database does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The address is taken, or not this machine's.
    #[error("cannot listen on LISTEN_ADDR {address}: {error}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// The recording cannot be begun.
    #[error("--record {path} cannot be created: {error}{}", if error.kind() == io::ErrorKind::AlreadyExists {
        "; a recording is never overwritten: name another file, or remove this one"
    } else {
        ""
    })]
    Record {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// Signals cannot be watched, or a thread does not start.
    #[error("the operating system refused: {0}")]
    System(#[from] io::Error),
}

/// Serves until a signal ends it.
///
/// # Errors
///
/// When it does not start; each says what to do.
pub(crate) fn run(settings: Settings, master_key: String) -> Result<(), StartError> {
    std::fs::create_dir_all(&settings.data_dir)
        .map_err(|error| StartError::DataDir { path: settings.data_dir.display().to_string(), error })?;
    let store = Store::open(Options { synchronous: settings.synchronous, ..Options::new(&settings.database) })?;
    let listener = listener::bind(&settings.listen_addrs).map_err(|error| StartError::Listen {
        address: settings.listen_addrs.first().map(ToString::to_string).unwrap_or_default(),
        error,
    })?;
    let recorder = settings.record.as_ref().map(start_recording).transpose()?;
    let mut seed = [0; 32];
    fill_random(&mut seed);
    let drain_timeout = Duration::from_micros(settings.core.shutdown_drain_timeout.0);
    let hub = Arc::new(Hub::new(settings.core, seed, recorder));
    let replies_to = Arc::downgrade(&hub);
    let writer = Writer::start(
        &store,
        Box::new(move |replies| {
            if let Some(hub) = replies_to.upgrade() {
                hub.handle_replies(replies);
            }
        }),
    )?;
    let readers = Readers::open(&store, Readers::DEFAULT_COUNT)?;
    hub.start(StoreLink::new(writer, readers, Readers::DEFAULT_COUNT, Arc::downgrade(&hub)));
    let server = Arc::new(Server {
        hub: Arc::clone(&hub),
        keys: Keys::new(master_key, settings.metrics_token),
        deadlines: Arc::new(Deadlines::new()),
        executor: Arc::new(Executor::new()),
        connection_limit: listener::connection_limit(),
    });
    let signals = Signals::new([Signal::Term, Signal::Int])?;
    let address = listener.get_ref().local_addr()?;
    start_workers(&server)?;
    let executor = Arc::clone(&server.executor);
    executor.spawn(timer::run(Arc::clone(&hub))).detach();
    let deadlines = Arc::clone(&server.deadlines);
    executor.spawn(async move { deadlines.watch().await }).detach();
    executor.spawn(listener::accept(Arc::clone(&server), listener)).detach();
    smol::block_on(executor.run(hub.ready()));
    tracing::info!(%address, database = %settings.database.display(), version = env!("CARGO_PKG_VERSION"), "listening");
    let drained_by = smol::block_on(executor.run(drain(&server, signals, drain_timeout)));
    let rest = drained_by.saturating_duration_since(Instant::now());
    close_store(&hub, rest.max(Duration::from_secs(1)));
    if let Some(recorder) = hub.recorder() {
        let rest = drained_by.saturating_duration_since(Instant::now());
        recorder.close(Some(End::Shutdown), rest.max(Duration::from_secs(1)));
    }
    tracing::info!("stopped");
    Ok(())
}

fn start_recording(record: &Record) -> Result<Recorder, StartError> {
    let path = record.path.display();
    let recorder = Recorder::create(&record.path, record.max_bytes)
        .map_err(|error| StartError::Record { path: path.to_string(), error })?;
    tracing::info!(%path, max_bytes = record.max_bytes, "recording: contents and user ids are in the file, secrets are not");
    Ok(recorder)
}

/// Runs the executor on the other cores: this thread takes part too.
fn start_workers(server: &Arc<Server>) -> io::Result<()> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for index in 1..cores {
        let executor = Arc::clone(&server.executor);
        thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            smol::block_on(executor.run(std::future::pending::<()>()));
        })?;
    }
    Ok(())
}

/// Waits for a signal, then until everything under way is answered and written, within the drain time-out. Hands back
/// when that is over.
async fn drain(server: &Server, mut signals: Signals, drain_timeout: Duration) -> Instant {
    if signals.next().await.is_none() {
        tracing::warn!("signals cannot be watched any more");
    }
    let drained_by = Instant::now() + drain_timeout;
    tracing::info!("shutting down: a second signal ends the process at once");
    server.hub.handle(Input::Shutdown);
    let written = async {
        server.hub.stopped().await;
        while server.hub.is_writing() {
            Timer::after(Duration::from_millis(10)).await;
        }
    };
    let time_out = async {
        Timer::at(drained_by).await;
    };
    let second_signal = async {
        drop(signals.next().await);
        tracing::warn!("a second signal: the process ends at once");
        std::process::exit(1);
    };
    written.or(time_out).or(second_signal).await;
    drained_by
}

/// Commits what is queued and checkpoints; what takes longer than `limit` is left to the next start.
fn close_store(hub: &Arc<Hub>, limit: Duration) {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let hub = Arc::clone(hub);
    let closer = thread::Builder::new().name("closer".to_owned()).spawn(move || {
        if let Some(store) = hub.store() {
            store.close();
        }
        drop(done);
    });
    if closer.is_ok() && wait.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        tracing::warn!("the database is still being checkpointed: the rest is left to the next start");
    }
}
