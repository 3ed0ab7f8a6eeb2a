//! Readiness of many sockets, by epoll.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use crate::error::{Result, fail};

/// So many events are taken in one system call.
const BATCH: usize = 256;

/// Level-triggered readiness. Each socket goes under a token, which its events carry.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    stop: Arc<AtomicBool>,
}

impl Poller {
    /// `stop` makes the next wait fail: a signal wants the run to end, and the guards to clean up.
    pub(crate) fn new(stop: &Arc<AtomicBool>) -> Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, stop: Arc::clone(stop) })
    }

    /// One more, with the same stop.
    pub(crate) fn another(&self) -> Result<Self> {
        Self::new(&self.stop)
    }

    /// Does nothing for a while; fails when the run is to end.
    pub(crate) fn rest(&self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            std::thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
            self.check()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { fail("stopped by a signal") } else { Ok(()) }
    }

    /// Watches a socket for input, and for room to write where `writable`.
    pub(crate) fn add(&self, socket: impl AsFd, token: usize, writable: bool) -> Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token as u64), interest(writable))?)
    }

    /// Changes whether room to write is watched too.
    pub(crate) fn change(&self, socket: impl AsFd, token: usize, writable: bool) -> Result<()> {
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(token as u64), interest(writable))?)
    }

    /// Waits until something is ready or `until` has come; `tokens` is replaced by the tokens that are ready.
    pub(crate) fn wait(&self, tokens: &mut Vec<usize>, until: Instant) -> Result<()> {
        let timeout = until.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
        let timeout = Timespec::try_from(timeout).map_err(std::io::Error::other)?;
        let mut events: Vec<Event> = Vec::with_capacity(BATCH);
        tokens.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.check()?;
        tokens.extend(events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}

fn interest(writable: bool) -> EventFlags {
    if writable { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
}
