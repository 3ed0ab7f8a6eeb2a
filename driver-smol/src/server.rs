//! A server's life: open the store, serve, drain, close.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use async_signal::{Signal, Signals};
use chatapi_core::recording::End;
use chatapi_core::{AllowedOrigins, Input, Micros, ProcessGauges};
use chatapi_storage_sqlite::{OpenError, Options, Readers, Store, Writer};
use futures_lite::{FutureExt as _, StreamExt as _};
use smol::{Executor, Timer};

use crate::budget::Budget;
use crate::deadline::Deadlines;
use crate::hub::Hub;
use crate::keys::{Host, Keys, fill_random};
use crate::panics::AbortOnPanic;
use crate::recorder::Recorder;
use crate::settings::{Record, Settings};
use crate::store_link::StoreLink;
use crate::{listener, timer, welcome};

/// What every connection needs.
pub(crate) struct Server {
    pub(crate) hub: Arc<Hub>,
    pub(crate) keys: Keys,
    pub(crate) allowed_origins: AllowedOrigins,
    pub(crate) deadlines: Arc<Deadlines>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) executor: Arc<Executor<'static>>,
    pub(crate) connection_limit: usize,
}

impl Server {
    /// What the parser of one request borrows.
    pub(crate) const fn host(&self) -> Host<'_> {
        Host { keys: &self.keys, allowed_origins: &self.allowed_origins }
    }

    /// What only the process knows of how it stands.
    pub(crate) fn gauges(&self) -> ProcessGauges {
        let store = self.hub.store().map(StoreLink::load).unwrap_or_default();
        ProcessGauges {
            wal_bytes: store.wal_bytes,
            queued_writes: store.queued_writes,
            queued_reads: store.queued_reads,
            queued_effects: self.hub.queued_effects(),
            incoming_bytes: self.budget.held_bytes(),
        }
    }
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
pub(crate) fn run(mut settings: Settings) -> Result<(), StartError> {
    std::fs::create_dir_all(&settings.data_dir)
        .map_err(|error| StartError::DataDir { path: settings.data_dir.display().to_string(), error })?;
    let store = Store::open(Options { synchronous: settings.synchronous, ..Options::new(&settings.database) })?;
    let listener = listener::bind(&settings.listen_addrs).map_err(|error| StartError::Listen {
        address: settings.listen_addrs.first().map(ToString::to_string).unwrap_or_default(),
        error,
    })?;
    let address = listener.get_ref().local_addr()?;
    let recorder = settings.record.as_ref().map(start_recording).transpose()?;
    let mut seed = [0; 32];
    fill_random(&mut seed);
    let drain = DrainTimes::within(Duration::from_micros(settings.core.shutdown_drain_timeout.0));
    settings.core.shutdown_drain_timeout = Micros(u64::try_from(drain.answered.as_micros()).unwrap_or(u64::MAX));
    let allowed_origins = settings.core.allowed_origins.clone();
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
    // From here on a signal is one to shut down by; before, it ends the process, and nothing is lost.
    let signals = Signals::new([Signal::Term, Signal::Int])?;
    hub.start(StoreLink::new(writer, readers, Readers::DEFAULT_COUNT, Arc::downgrade(&hub)));
    // The port is known by now, and so is that the server starts: a key is told that will be taken.
    let master_key = settings.master_key.unwrap_or_else(|| welcome::draw_master_key(address));
    let server = Arc::new(Server {
        hub: Arc::clone(&hub),
        keys: Keys::new(master_key, settings.metrics_token),
        allowed_origins,
        deadlines: Arc::new(Deadlines::new()),
        budget: Arc::new(Budget::new()),
        executor: Arc::new(Executor::new()),
        connection_limit: listener::connection_limit(),
    });
    start_workers(&server)?;
    let executor = Arc::clone(&server.executor);
    executor.spawn(timer::run(Arc::clone(&hub))).detach();
    let carrier = Arc::clone(&hub);
    executor.spawn(async move { carrier.carry_the_rest().await }).detach();
    let reporter = Arc::clone(&hub);
    executor.spawn(async move { reporter.reports().sum_up().await }).detach();
    let deadlines = Arc::clone(&server.deadlines);
    executor.spawn(async move { deadlines.watch().await }).detach();
    executor.spawn(listener::accept(Arc::clone(&server), listener)).detach();
    let database = settings.database.display().to_string();
    executor
        .spawn(async move {
            hub.ready().await;
            tracing::info!(%address, %database, version = env!("CARGO_PKG_VERSION"), "listening");
        })
        .detach();
    let _abort = AbortOnPanic;
    smol::block_on(executor.run(shut_down(&server, signals, drain)));
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
            let _abort = AbortOnPanic;
            smol::block_on(executor.run(std::future::pending::<()>()));
        })?;
    }
    Ok(())
}

/// How the time of a shutdown is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DrainTimes {
    /// Until then requests may finish; the core refuses the rest.
    answered: Duration,
    /// Until then answers, refusals and goodbyes may be written.
    written: Duration,
    /// Until then the store may be closed, and the process has ended.
    ended: Duration,
}

impl DrainTimes {
    fn within(whole: Duration) -> Self {
        let written = whole - (whole / 5).min(Duration::from_secs(2));
        let answered = written - (whole / 10).min(Duration::from_secs(1));
        Self { answered, written, ended: whole }
    }
}

/// Waits for a signal, be the store booted or not. Then everything under way is answered and written, and the store
/// commits, checkpoints and closes; what takes longer than its time is left to the next start. A second signal ends the
/// process at once.
///
/// Once the core has stopped nobody could answer any more: from then on the process is gone for those outside. Its
/// listener closes, and so do connections between two requests.
async fn shut_down(server: &Server, mut signals: Signals, times: DrainTimes) {
    if signals.next().await.is_none() {
        tracing::warn!("signals cannot be watched any more");
    }
    let begun = Instant::now();
    tracing::info!("shutting down: a second signal ends the process at once");
    server.hub.handle(Input::Shutdown);
    let drained_and_closed = async {
        drained(server).or(until(begun + times.written)).await;
        tracing::info!("drained: the database is being closed");
        let hub = Arc::clone(&server.hub);
        let rest = (begun + times.ended).saturating_duration_since(Instant::now());
        blocking::unblock(move || {
            if let Some(store) = hub.store() {
                store.close();
            }
            if let Some(recorder) = hub.recorder() {
                recorder.close(Some(End::Shutdown), rest);
            }
        })
        .await;
    };
    let time_out = async {
        until(begun + times.ended).await;
        tracing::warn!("the database is still being closed: the rest is left to the next start");
    };
    let second_signal = async {
        drop(signals.next().await);
        tracing::warn!("a second signal: the process ends at once");
        std::process::exit(1);
    };
    drained_and_closed.or(time_out).or(second_signal).await;
}

/// Waits until everything under way is answered and written.
async fn drained(server: &Server) {
    server.hub.stopped().await;
    server.deadlines.close();
    while server.hub.is_writing() {
        Timer::after(Duration::from_millis(10)).await;
    }
}

async fn until(at: Instant) {
    Timer::at(at).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_leaves_time_to_write_refusals_and_to_close_the_store() {
        for (whole_ms, answered_ms, written_ms) in
            [(0, 0, 0), (500, 350, 400), (10_000, 7_000, 8_000), (60_000, 57_000, 58_000)]
        {
            let times = DrainTimes::within(Duration::from_millis(whole_ms));
            let expected = [answered_ms, written_ms, whole_ms].map(Duration::from_millis);
            assert_eq!([times.answered, times.written, times.ended], expected);
        }
    }
}
