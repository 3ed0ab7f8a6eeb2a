//! The loads, one file each. A load is its flags (`Args`) and a `run` that gives an [`Outcome`]; to add one, write
//! its file and name it in `main.rs`.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Result;
use crate::server::Server;
use crate::usage::{Meter, Usage};

pub(crate) mod delete;
pub(crate) mod idle;
pub(crate) mod large_room;
pub(crate) mod many_rooms;
pub(crate) mod many_tenants;
pub(crate) mod rest_send;
pub(crate) mod slow_reader;
pub(crate) mod storm;
pub(crate) mod unread;
pub(crate) mod ws_send;

/// Before a window is measured: caches fill, connections and allocators find their size.
const WARM_UP: Duration = Duration::from_secs(1);
/// After it: what is still in flight gets so long.
const DRAIN: Duration = Duration::from_secs(15);

/// What a load found.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The line for stdout.
    pub(crate) line: String,
    /// What was wrong, in words, the first few; a run with any of these failed.
    pub(crate) failures: Failures,
}

impl Outcome {
    fn new(line: &impl Serialize, failures: Failures) -> Result<Self> {
        Ok(Self { line: serde_json::to_string(line)?, failures })
    }
}

/// Counts what went wrong and keeps the first few in words.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// How many.
    pub(crate) count: u64,
    /// The first ones.
    pub(crate) first: Vec<String>,
}

impl Failures {
    /// Adds one.
    pub(crate) fn add(&mut self, what: impl Into<String>) {
        self.count += 1;
        if self.first.len() < 5 {
            self.first.push(what.into());
        }
    }

    /// Adds those of another.
    pub(crate) fn append(&mut self, other: &mut Self) {
        self.count += std::mem::take(&mut other.count);
        self.first.append(&mut other.first);
    }
}

/// The phases of a load in a closed loop: warm-up, the measured window, drain.
#[derive(Debug)]
struct Window<'a> {
    server: &'a Server,
    opens: Instant,
    closes: Instant,
    meter: Option<Meter>,
    usage: Option<Usage>,
}

impl<'a> Window<'a> {
    fn new(server: &'a Server, seconds: u64) -> Self {
        let opens = Instant::now() + WARM_UP;
        Self { server, opens, closes: opens + Duration::from_secs(seconds), meter: None, usage: None }
    }

    /// To be called with the time after every wait; starts and stops the meter.
    fn tick(&mut self, now: Instant) -> Result<()> {
        if self.usage.is_none() && now >= self.closes {
            self.usage = self.meter.as_ref().map(Meter::read).transpose()?;
        } else if self.meter.is_none() && now >= self.opens {
            self.meter = Some(Meter::start(self.server)?);
        }
        Ok(())
    }

    /// What comes now counts.
    fn measures(&self) -> bool {
        self.meter.is_some() && self.usage.is_none()
    }

    /// Nothing new is to be sent.
    fn drains(&self, now: Instant) -> bool {
        self.usage.is_some() || now >= self.closes
    }

    /// When to wake up at the latest.
    fn next(&self, now: Instant) -> Instant {
        *[self.opens, self.closes].iter().find(|at| **at > now).unwrap_or(&self.end())
    }

    /// Nothing is waited for past this.
    fn end(&self) -> Instant {
        self.closes + DRAIN
    }

    fn usage(&self) -> Result<Usage> {
        self.usage.map_or_else(|| crate::error::fail("the measured window was never reached"), Ok)
    }
}
