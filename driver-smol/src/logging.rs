//! Logs: one JSON object a line on stdout, or text for a terminal. Queries, keys, tokens and contents are never logged.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chatapi_core::Event;
use smol::Timer;
use tracing_subscriber::fmt;

use crate::hub::lock;
use crate::settings::LogFormat;

/// Starts logging for the process. Lines that cannot be written, be the disk full or the reader gone, are lost and nothing
/// else is: the subscriber's own complaint about them on stderr would panic where that fails too.
pub(crate) fn start(level: tracing::Level, format: Option<LogFormat>) {
    let by_default = if std::io::stdout().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    let builder = fmt().with_max_level(level).with_target(false).log_internal_errors(false);
    match format.unwrap_or(by_default) {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.init(),
    }
}

/// Logs what the core reports. In an outage of the store that would be a line for each request: the first of a second is
/// logged, of the others how many they were.
#[derive(Default)]
pub(crate) struct Reports {
    failures: Mutex<Throttle>,
}

impl Reports {
    pub(crate) fn report(&self, event: &Event) {
        match event {
            Event::Ready => tracing::info!("the store has booted"),
            Event::TenantCreated { tenant_id } => tracing::info!(%tenant_id, "tenant created"),
            Event::TenantDeleted { tenant_id } => tracing::info!(%tenant_id, "tenant deleted"),
            Event::StoreFailed { op, failure } => {
                if self.admits_a_failure() {
                    tracing::warn!(operation = op.0, ?failure, "the store could not serve");
                }
            }
            Event::StoreTimedOut { op } => {
                if self.admits_a_failure() {
                    tracing::warn!(operation = op.0, "the store did not answer in time");
                }
            }
            Event::RoomRecovered { room_id } => {
                tracing::info!(%room_id, "messages of an unknown outcome turned out to be stored");
            }
        }
    }

    /// Tells what was left out, for as long as the process lives.
    pub(crate) async fn sum_up(&self) {
        loop {
            Timer::after(Throttle::INTERVAL).await;
            let left_out = lock(&self.failures).take_left_out();
            if left_out > 0 {
                tracing::warn!(operations = left_out, "the store could not serve others either");
            }
        }
    }

    fn admits_a_failure(&self) -> bool {
        lock(&self.failures).admit(Instant::now())
    }
}

/// Lets one of many equal events through in each interval, and counts the others.
#[derive(Debug, Default)]
struct Throttle {
    last: Option<Instant>,
    left_out: u64,
}

impl Throttle {
    const INTERVAL: Duration = Duration::from_secs(1);

    fn admit(&mut self, now: Instant) -> bool {
        let is_due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= Self::INTERVAL);
        if is_due {
            self.last = Some(now);
        } else {
            self.left_out += 1;
        }
        is_due
    }

    fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_failures_one_a_second_is_told_and_the_others_are_counted() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        let told = (0..10_000).filter(|ms| throttle.admit(start + Duration::from_millis(*ms))).count();
        assert_eq!((told, throttle.take_left_out(), throttle.take_left_out()), (10, 9_990, 0));
    }
}
