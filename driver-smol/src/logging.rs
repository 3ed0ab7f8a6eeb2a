//! Logs: one JSON object a line on stdout, or text for a terminal. Queries, keys, tokens and contents are never logged.

use std::io::IsTerminal as _;

use chatapi_core::Event;
use tracing_subscriber::fmt;

use crate::settings::LogFormat;

/// Starts logging for the process.
pub(crate) fn start(level: tracing::Level, format: Option<LogFormat>) {
    let by_default = if std::io::stdout().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    let builder = fmt().with_max_level(level).with_target(false);
    match format.unwrap_or(by_default) {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.init(),
    }
}

/// Logs what the core reports.
pub(crate) fn report(event: &Event) {
    match event {
        Event::Ready => tracing::info!("the store has booted"),
        Event::TenantCreated { tenant_id } => tracing::info!(%tenant_id, "tenant created"),
        Event::StoreFailed { op, failure } => tracing::warn!(operation = op.0, ?failure, "the store could not serve"),
        Event::StoreTimedOut { op } => tracing::warn!(operation = op.0, "the store did not answer in time"),
        Event::RoomRecovered { room_id } => {
            tracing::info!(%room_id, "messages of an unknown outcome turned out to be stored");
        }
    }
}
