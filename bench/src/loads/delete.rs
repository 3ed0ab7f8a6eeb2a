//! `delete`: a room and a tenant that hold a million messages each go, while others talk.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use super::Outcome;
use crate::error::{Error, Result, excerpt, fail};
use crate::exchange::{Exchange, pairs};
use crate::fill::{DATABASE, Full, SENDER, fill};
use crate::http::{self, Client};
use crate::poller::Poller;
use crate::server::Server;
use crate::setup::Tenant;
use crate::usage::{round, thread_seconds};

/// Others' p99 may be so many times what it is before.
const SLOWDOWN_LIMIT: f64 = 2.0;
/// How long all of it may take for each million messages.
const SECONDS_PER_MILLION: f64 = 600.0;
const OTHERS: u16 = 50;
const MEASURED_BEFORE: Duration = Duration::from_secs(10);

const BEFORE: usize = 1;
const DURING: usize = 2;

/// A room and a tenant full of messages, deleted while others talk
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Messages in the room, and as many in the tenant
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    messages: u64,
    /// Messages a second of the others
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    others: u32,
}

#[derive(Debug, Serialize)]
struct Line {
    load: &'static str,
    messages: u64,
    room_answer_ms: f64,
    tenant_answer_ms: f64,
    room_gone_seconds: f64,
    tenant_gone_seconds: f64,
    rows_per_second: f64,
    writer_share_before: Option<f64>,
    writer_share_during: Option<f64>,
    others_p50_before_ms: f64,
    others_p50_during_ms: f64,
    others_p99_before_ms: f64,
    others_p99_during_ms: f64,
    others_max_before_ms: f64,
    others_max_during_ms: f64,
    ratio: f64,
    ratio_limit: f64,
    errors: u64,
}

/// Fills the database.
pub(crate) fn prepare(directory: &Path, args: &Args) -> Result<()> {
    fill(directory, 2, args.messages)
}

/// Runs the load.
pub(crate) fn run(server: &Server, poller: &Poller, args: &Args) -> Result<Outcome> {
    let Some(directory) = server.directory() else {
        return fail("this load fills a database first: it needs a server of its own");
    };
    let watch = Watch::open(&directory.join(DATABASE))?;
    let (full, doomed) = (Full::new(1), Full::new(2));
    let mut tenant = Tenant::existing(server, &full.api_key())?;
    let mut others = Tenant::create(server)?;
    let circles = pairs(&mut others, OTHERS, args.others.into())?;
    let exchange = Exchange::start(poller, server, &others.api_key, circles)?;
    poller.rest(Duration::from_secs(2))?;
    exchange.enter(BEFORE);
    let share = WriterShare::start(server)?;
    poller.rest(MEASURED_BEFORE)?;
    let writer_share_before = share.read(server)?;
    tenant.reconnect(server)?;

    exchange.enter(DURING);
    let share = WriterShare::start(server)?;
    let start = Instant::now();
    tenant.ask("DELETE", &format!("/rooms/{}", full.room_id()), SENDER, "")?;
    let room_answer_ms = start.elapsed().as_secs_f64() * 1000.0;
    let answered = Instant::now();
    delete_tenant(server, &doomed)?;
    let tenant_answer_ms = answered.elapsed().as_secs_f64() * 1000.0;
    let deadline = Duration::from_secs_f64(SECONDS_PER_MILLION * (2 * args.messages) as f64 / 1e6 + 10.0);
    let room_gone = watch.wait(poller, "SELECT 1 FROM rooms WHERE deleted_at IS NOT NULL", start, deadline)?;
    let tenant_gone = watch.wait(poller, "SELECT 1 FROM tenants WHERE deleted_at IS NOT NULL", start, deadline)?;
    let writer_share_during = share.read(server)?;
    exchange.enter(0);

    let mut told = exchange.finish()?;
    let (before, during) = (told.cell(0, BEFORE).latencies, told.cell(0, DURING).latencies);
    let ratio = during.quantile_ms(0.99) / before.quantile_ms(0.99).max(f64::MIN_POSITIVE);
    if ratio > SLOWDOWN_LIMIT {
        told.failures.add(format!("others: p99 is {ratio:.2} times what it was, the limit is {SLOWDOWN_LIMIT}"));
    }
    let (Some(room_gone), Some(tenant_gone)) = (room_gone, tenant_gone) else {
        return fail(format!("not all was gone after {deadline:?}"));
    };
    let line = Line {
        load: "delete",
        messages: args.messages,
        room_answer_ms: round(room_answer_ms),
        tenant_answer_ms: round(tenant_answer_ms),
        room_gone_seconds: round(room_gone),
        tenant_gone_seconds: round(tenant_gone),
        rows_per_second: round((2 * args.messages) as f64 / room_gone.max(tenant_gone)),
        writer_share_before,
        writer_share_during,
        others_p50_before_ms: round(before.quantile_ms(0.5)),
        others_p50_during_ms: round(during.quantile_ms(0.5)),
        others_p99_before_ms: round(before.quantile_ms(0.99)),
        others_p99_during_ms: round(during.quantile_ms(0.99)),
        others_max_before_ms: round(before.max_ms()),
        others_max_during_ms: round(during.max_ms()),
        ratio: round(ratio),
        ratio_limit: SLOWDOWN_LIMIT,
        errors: told.failures.count,
    };
    Outcome::new(&line, told.failures)
}

fn delete_tenant(server: &Server, tenant: &Full) -> Result<()> {
    let headers = [("X-Master-Key", server.master_key.as_str())];
    let path = format!("/admin/tenants/{}", tenant.tenant_id());
    let answer = Client::connect(server.address)?.ask(&http::request("DELETE", &path, &headers, ""))?;
    if answer.status != 204 {
        return fail(format!("DELETE {path}: {} {}", answer.status, excerpt(&answer.body)));
    }
    Ok(())
}

/// The share of the time for which the writer's thread is on a CPU.
struct WriterShare {
    start: Instant,
    seconds: Option<f64>,
}

impl WriterShare {
    fn start(server: &Server) -> Result<Self> {
        Ok(Self { start: Instant::now(), seconds: thread_seconds(server, "writer")? })
    }

    fn read(&self, server: &Server) -> Result<Option<f64>> {
        let seconds = thread_seconds(server, "writer")?.zip(self.seconds).map(|(end, start)| end - start);
        Ok(seconds.map(|seconds| round(seconds / self.start.elapsed().as_secs_f64())))
    }
}

/// Looks into the database, since the API tells nothing of what is deleted.
struct Watch {
    connection: Connection,
}

impl Watch {
    fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Ok(Self { connection: Connection::open_with_flags(path, flags).map_err(sqlite)? })
    }

    /// Seconds from the start until a query finds nothing any more; `None` where that takes too long.
    fn wait(&self, poller: &Poller, query: &str, start: Instant, at_most: Duration) -> Result<Option<f64>> {
        let mut statement = self.connection.prepare(query).map_err(sqlite)?;
        while start.elapsed() < at_most {
            if !statement.exists([]).map_err(sqlite)? {
                return Ok(Some(start.elapsed().as_secs_f64()));
            }
            poller.rest(Duration::from_millis(100))?;
        }
        Ok(None)
    }
}

fn sqlite(error: rusqlite::Error) -> Error {
    Error::Failed(format!("the database: {error}"))
}
