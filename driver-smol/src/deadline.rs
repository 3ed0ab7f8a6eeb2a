//! Time limits of sockets: how long a head, a body or an idle connection may take.
//!
//! A timer for each wait of each request would cost more than the request. So a connection only notes when its time is
//! over, and one task looks at all of them twice a second.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;
use smol::Timer;

use crate::hub::lock;

/// How often the limits are looked at, which is how late one may be.
const ROUND: Duration = Duration::from_millis(500);
const NEVER: u64 = u64::MAX;

/// The limits of all connections.
pub(crate) struct Deadlines {
    origin: Instant,
    all: Mutex<BTreeMap<u64, Arc<Limit>>>,
    last_id: AtomicU64,
    is_closed: AtomicBool,
}

struct Limit {
    at_ms: AtomicU64,
    waker: AtomicWaker,
}

/// A connection's time limit.
pub(crate) struct Deadline {
    id: u64,
    limit: Arc<Limit>,
    owner: Arc<Deadlines>,
}

/// The time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expired;

/// Why nothing is waited for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Expired,
    /// The server has stopped.
    Closed,
}

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            all: Mutex::default(),
            last_id: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn register(self: &Arc<Self>) -> Deadline {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        let limit = Arc::new(Limit { at_ms: AtomicU64::new(NEVER), waker: AtomicWaker::new() });
        lock(&self.all).insert(id, Arc::clone(&limit));
        Deadline { id, limit, owner: Arc::clone(self) }
    }

    /// Wakes those whose time is over, for as long as the process lives.
    pub(crate) async fn watch(&self) {
        loop {
            Timer::after(ROUND).await;
            let now_ms = self.now_ms();
            for limit in lock(&self.all).values() {
                if limit.at_ms.load(Ordering::Acquire) <= now_ms {
                    limit.waker.wake();
                }
            }
        }
    }

    /// Ends every [`Deadline::run_until_closed`].
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for limit in lock(&self.all).values() {
            limit.waker.wake();
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(NEVER)
    }
}

impl Deadline {
    /// The time is over `limit` from here on.
    pub(crate) fn set(&self, limit: Duration) {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(NEVER);
        self.limit.at_ms.store(self.owner.now_ms().saturating_add(limit_ms), Ordering::Release);
    }

    /// Whether the time is over; if not, the task is woken when it is.
    pub(crate) fn is_over(&self, context: &Context<'_>) -> bool {
        self.limit.waker.register(context.waker());
        self.limit.at_ms.load(Ordering::Acquire) <= self.owner.now_ms()
    }

    /// Waits for `work`, but no longer than the limit.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Expired> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            if self.is_over(context) { Poll::Ready(Err(Expired)) } else { Poll::Pending }
        })
        .await
    }

    /// Waits for `work`, but neither longer than the limit nor past the server's stop.
    pub(crate) async fn run_until_closed<T>(&self, work: impl Future<Output = T>) -> Result<T, Ended> {
        let mut work = pin!(self.run(work));
        poll_fn(|context| {
            if self.owner.is_closed.load(Ordering::Acquire) {
                return Poll::Ready(Err(Ended::Closed));
            }
            match work.as_mut().poll(context) {
                Poll::Ready(done) => Poll::Ready(done.map_err(|Expired| Ended::Expired)),
                // Whoever closes between the first look and the waker's registration is seen here.
                Poll::Pending if self.owner.is_closed.load(Ordering::Acquire) => Poll::Ready(Err(Ended::Closed)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        lock(&self.owner.all).remove(&self.id);
    }
}
