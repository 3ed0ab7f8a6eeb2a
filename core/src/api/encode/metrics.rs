//! `GET /metrics`, in each of its formats (protocol, section 9). All of them are made from one table, so that they count
//! the same under the same names.

use std::fmt;

use bytes::Bytes;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::metrics::{Histogram, MetricsSnapshot, ProcessGauges};
use crate::time::Micros;

/// The formats of `GET /metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsFormat {
    /// An object with a field for each.
    #[default]
    Json,
    /// Prometheus' text format.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl MetricsFormat {
    /// The version of Prometheus' text format.
    pub(in crate::api) const TEXT_VERSION: &str = "0.0.4";
    /// The version of OpenMetrics.
    pub(in crate::api) const OPEN_METRICS_VERSION: &str = "1.0.0";

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => super::JSON,
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A snapshot's body.
pub(super) fn body(snapshot: &MetricsSnapshot, format: MetricsFormat) -> Bytes {
    let metrics = Metrics(table(snapshot));
    match format {
        MetricsFormat::Json => super::body::json(&metrics),
        MetricsFormat::Text => Bytes::from(Exposition { metrics, dialect: Dialect::Prometheus }.to_string()),
        MetricsFormat::OpenMetrics => Bytes::from(Exposition { metrics, dialect: Dialect::OpenMetrics }.to_string()),
    }
}

/// Everything that is told, under the name it has in JSON. The other formats put `chatapi_` before it, and `_total` behind
/// that of a counter.
struct Metrics<'a>(Vec<Metric<'a>>);

struct Metric<'a> {
    name: &'static str,
    help: &'static str,
    value: Value<'a>,
}

enum Value<'a> {
    Counter(u64),
    Gauge(u64),
    Histogram(&'a Histogram),
}

fn table(snapshot: &MetricsSnapshot) -> Vec<Metric<'_>> {
    use Value::{Counter, Gauge};
    let MetricsSnapshot {
        active_connections,
        messages_sent,
        dropped_broadcasts,
        delivery_attempts,
        delivery_failures,
        requests_answered,
        pending_store_writes,
        pending_store_reads,
        late_store_replies,
        uptime,
        rest_latency,
        store_latency,
        delivery_latency,
        process,
    } = snapshot;
    let ProcessGauges { wal_bytes, queued_writes, queued_reads, queued_effects, incoming_bytes } = process;
    let row = |name, help, value| Metric { name, help, value };
    vec![
        row("active_connections", "WebSocket connections that are open.", Gauge(*active_connections)),
        row("messages_sent", "Messages stored.", Counter(*messages_sent)),
        row("dropped_broadcasts", "Frames dropped for slow readers; messages never are.", Counter(*dropped_broadcasts)),
        row("delivery_attempts", "Webhooks called.", Counter(*delivery_attempts)),
        row("delivery_failures", "Calls of webhooks that did not succeed.", Counter(*delivery_failures)),
        row("uptime_seconds", "Whole seconds since the start.", Gauge(super::body::whole_secs(*uptime))),
        row("requests_answered", "REST requests and handshakes answered.", Counter(*requests_answered)),
        row(
            "pending_store_operations",
            "Operations that wait for the store.",
            Gauge(pending_store_writes + pending_store_reads),
        ),
        row("pending_store_writes", "Those of them in the write lane.", Gauge(*pending_store_writes)),
        row("pending_store_reads", "Those of them in the read lane.", Gauge(*pending_store_reads)),
        row("late_store_replies", "Replies of the store that came too late.", Counter(*late_store_replies)),
        row("wal_bytes", "Size of the write-ahead log.", Gauge(*wal_bytes)),
        row("queued_writes", "Operations that the writer has not taken up.", Gauge(*queued_writes)),
        row("queued_reads", "Operations that no reader has taken up.", Gauge(*queued_reads)),
        row("queued_effects", "Answers and pushes that wait to be carried out.", Gauge(*queued_effects)),
        row(
            "incoming_bytes",
            "Large request bodies and WebSocket messages that are not answered or not complete.",
            Gauge(*incoming_bytes),
        ),
        row("rest_latency_seconds", "From a REST request's arrival to its answer.", Value::Histogram(rest_latency)),
        row(
            "store_latency_seconds",
            "From an operation's submission to the store's reply.",
            Value::Histogram(store_latency),
        ),
        row(
            "delivery_latency_seconds",
            "From the call of a webhook to its outcome.",
            Value::Histogram(delivery_latency),
        ),
    ]
}

impl Serialize for Metrics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for Metric { name, help: _, value } in &self.0 {
            match value {
                Value::Counter(value) | Value::Gauge(value) => map.serialize_entry(name, value)?,
                Value::Histogram(histogram) => map.serialize_entry(name, &HistogramBody::of(histogram))?,
            }
        }
        map.end()
    }
}

#[derive(Serialize)]
struct HistogramBody<'a> {
    count: u64,
    sum_seconds: f64,
    buckets: Buckets<'a>,
}

impl<'a> HistogramBody<'a> {
    fn of(histogram: &'a Histogram) -> Self {
        // Exact up to 285 years.
        let sum_seconds = histogram.sum().0 as f64 / 1e6;
        Self { count: histogram.count(), sum_seconds, buckets: Buckets(histogram) }
    }
}

struct Buckets<'a>(&'a Histogram);

impl Serialize for Buckets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.cumulative())
    }
}

/// The lines of the text formats, which differ in what a counter is called in its comments, and in how they end.
struct Exposition<'a> {
    metrics: Metrics<'a>,
    dialect: Dialect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Prometheus,
    OpenMetrics,
}

impl fmt::Display for Exposition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Metric { name, help, value } in &self.metrics.0 {
            let (kind, suffix) = match value {
                Value::Counter(_) => ("counter", "_total"),
                Value::Gauge(_) => ("gauge", ""),
                Value::Histogram(_) => ("histogram", ""),
            };
            let family = match self.dialect {
                Dialect::Prometheus => suffix,
                Dialect::OpenMetrics => "",
            };
            writeln!(f, "# HELP chatapi_{name}{family} {help}")?;
            writeln!(f, "# TYPE chatapi_{name}{family} {kind}")?;
            match value {
                Value::Counter(value) | Value::Gauge(value) => writeln!(f, "chatapi_{name}{suffix} {value}")?,
                Value::Histogram(histogram) => {
                    for (bound, count) in histogram.cumulative() {
                        writeln!(f, "chatapi_{name}_bucket{{le=\"{bound}\"}} {count}")?;
                    }
                    let Micros(sum) = histogram.sum();
                    writeln!(f, "chatapi_{name}_sum {}.{:06}", sum / 1_000_000, sum % 1_000_000)?;
                    writeln!(f, "chatapi_{name}_count {}", histogram.count())?;
                }
            }
        }
        match self.dialect {
            Dialect::Prometheus => Ok(()),
            Dialect::OpenMetrics => f.write_str("# EOF\n"),
        }
    }
}
