//! One timer, armed for the core's next time-out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use chatapi_core::MonoMicros;
use futures_lite::FutureExt as _;
use smol::Timer;

use crate::hub::Hub;

const NEVER: u64 = u64::MAX;

/// When the timer is to go off at the latest. It goes off early where that moment moved on meanwhile: looking once too
/// often is cheaper than arming anew for every request.
#[derive(Default)]
pub(crate) struct Alarm {
    armed: AtomicU64,
    earlier: event_listener::Event,
}

impl Alarm {
    /// Wants the timer to go off at `at`.
    pub(crate) fn set(&self, at: Option<MonoMicros>) {
        let at = at.map_or(NEVER, |at| at.0);
        if at < self.armed.load(Ordering::Acquire) && at < self.armed.fetch_min(at, Ordering::AcqRel) {
            self.earlier.notify(1);
        }
    }
}

/// Ticks the core for as long as the process lives.
pub(crate) async fn run(hub: Arc<Hub>) {
    loop {
        let alarm = hub.alarm();
        alarm.armed.store(NEVER, Ordering::Release);
        alarm.set(hub.tick());
        // Whatever sets it earlier from here on is heard; what did so before is read here.
        let earlier = alarm.earlier.listen();
        let armed = alarm.armed.load(Ordering::Acquire);
        let at = (armed != NEVER).then(|| hub.clock().instant(MonoMicros(armed)));
        if at.is_some_and(|at| at <= Instant::now()) {
            continue;
        }
        let go_off = async {
            match at {
                Some(at) => {
                    Timer::at(at).await;
                }
                None => futures_lite::future::pending().await,
            }
        };
        go_off.or(earlier).await;
    }
}
