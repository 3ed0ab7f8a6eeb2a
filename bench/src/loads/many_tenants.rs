//! `many-tenants`: what the server holds in memory for tenants that were used once.

use serde::Serialize;
use serde_json::json;

use super::{Failures, Outcome};
use crate::error::{Result, excerpt, fail};
use crate::http::{self, Client};
use crate::json;
use crate::poller::Poller;
use crate::server::Server;
use crate::usage::{Meter, round, rss_kb};

/// A tenant may take so many bytes.
const BYTES_LIMIT: f64 = 2048.0;
/// Tenants before the memory is read the first time, so that what any server needs once is not counted.
const WARM_UP: u32 = 1_000;

/// Tenants that are created and used once
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tenants
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    tenants: u32,
    /// After the use of all: for how long nothing happens before the memory is read once more
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    rest: u64,
}

#[derive(Debug, Serialize)]
struct Line {
    load: &'static str,
    tenants: u32,
    seconds: f64,
    server_cpu_us_per_tenant: Option<f64>,
    rss_before_kb: Option<u64>,
    rss_created_kb: Option<u64>,
    rss_used_kb: Option<u64>,
    rss_rested_kb: Option<u64>,
    bytes_per_tenant: Option<f64>,
    bytes_limit: f64,
    errors: u64,
}

/// Runs the load.
pub(crate) fn run(server: &Server, poller: &Poller, args: &Args) -> Result<Outcome> {
    let mut client = Client::connect(server.address)?;
    let warm = create(&mut client, server, WARM_UP)?;
    use_all(&mut client, &warm)?;
    let rss_before = rss_kb(server)?;
    let meter = Meter::start(server)?;
    let keys = create(&mut client, server, args.tenants)?;
    let rss_created = rss_kb(server)?;
    use_all(&mut client, &keys)?;
    let usage = meter.read()?;
    let rss_used = rss_kb(server)?;
    poller.rest(std::time::Duration::from_secs(args.rest))?;
    let rss_rested = rss_kb(server)?;

    let count = f64::from(args.tenants);
    let growth = rss_used.zip(rss_before).map(|(used, before)| (used as f64 - before as f64) * 1024.0 / count);
    let mut failures = Failures::default();
    if growth.is_some_and(|growth| growth > BYTES_LIMIT) {
        failures.add(format!("a tenant takes {growth:?} bytes, the limit is {BYTES_LIMIT}"));
    }
    let line = Line {
        load: "many-tenants",
        tenants: args.tenants,
        seconds: round(usage.seconds),
        server_cpu_us_per_tenant: usage.server_cpu.map(|cpu| round(cpu * 1e6 / count)),
        rss_before_kb: rss_before,
        rss_created_kb: rss_created,
        rss_used_kb: rss_used,
        rss_rested_kb: rss_rested,
        bytes_per_tenant: growth.map(round),
        bytes_limit: BYTES_LIMIT,
        errors: failures.count,
    };
    Outcome::new(&line, failures)
}

/// The keys of new tenants.
fn create(client: &mut Client, server: &Server, count: u32) -> Result<Vec<String>> {
    let headers = [("X-Master-Key", server.master_key.as_str())];
    let body = json!({"name": "one of many"}).to_string();
    let request = http::request("POST", "/admin/tenants", &headers, &body);
    let create = |_| {
        let answer = client.ask(&request)?;
        let key = json::field(&answer.body, "api_key").and_then(json::string);
        match key.filter(|_| answer.status == 201) {
            Some(key) => Ok(String::from_utf8_lossy(key).into_owned()),
            None => fail(format!("POST /admin/tenants: {} {}", answer.status, excerpt(&answer.body))),
        }
    };
    (0..count).map(create).collect()
}

/// One request of each.
fn use_all(client: &mut Client, keys: &[String]) -> Result<()> {
    for key in keys {
        let headers = [("X-API-Key", key.as_str()), ("X-User-Id", "somebody")];
        let answer = client.ask(&http::request("GET", "/rooms", &headers, ""))?;
        if answer.status != 200 {
            return fail(format!("GET /rooms: {} {}", answer.status, excerpt(&answer.body)));
        }
    }
    Ok(())
}
