//! `GET /health`: one real write at most each second, shared by all who ask.

use super::answer::{Health, Success};
use crate::core::Core;
use crate::id::RequestId;
use crate::operations::Step;
use crate::store::{StoreReply, StoreRequest, StoreResult};
use crate::time::{Micros, MonoMicros};

/// For how long the outcome of a write answers those who ask.
const HEALTH_LIFETIME: Micros = Micros::from_secs(1);
/// A write that takes longer has failed.
const HEALTH_TIMEOUT: Micros = Micros::from_secs(2);

/// What is known of the store's health.
#[derive(Debug, Default)]
pub(crate) struct HealthCheck {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Unknown,
    /// A write is under way, and somebody waits for it.
    Checking {
        since: MonoMicros,
        waiters: Vec<RequestId>,
    },
    /// A write was given up and is still under way: there is no use in another.
    Stuck,
    Checked {
        at: MonoMicros,
        db_writable: bool,
    },
}

impl HealthCheck {
    pub(crate) fn deadline(&self) -> Option<MonoMicros> {
        match &self.state {
            State::Checking { since, .. } => Some(*since + HEALTH_TIMEOUT),
            State::Unknown | State::Stuck | State::Checked { .. } => None,
        }
    }
}

impl Core {
    pub(crate) fn check_health(&mut self, request: RequestId) {
        let now = self.now.mono;
        match &mut self.health.state {
            State::Checking { waiters, .. } => return waiters.push(request),
            State::Stuck => return self.tell_health(request, false),
            State::Checked { at, db_writable } if now - *at < HEALTH_LIFETIME => {
                let db_writable = *db_writable;
                return self.tell_health(request, db_writable);
            }
            State::Checked { .. } | State::Unknown => {}
        }
        self.health.state = State::Checking { since: now, waiters: vec![request] };
        self.submit(None, Step::CheckWritable, StoreRequest::CheckWritable { now: self.now.wall });
    }

    pub(crate) fn on_health_checked(&mut self, result: StoreResult) {
        let db_writable = matches!(result, Ok(StoreReply::Written));
        self.conclude_health(State::Checked { at: self.now.mono, db_writable }, db_writable);
    }

    pub(crate) fn give_up_health_check(&mut self) {
        if self.health.deadline().is_some_and(|deadline| deadline <= self.now.mono) {
            self.conclude_health(State::Stuck, false);
        }
    }

    /// Tells whoever waits at the end of the run that the write was not seen to succeed.
    pub(crate) fn abandon_health_check(&mut self) {
        self.conclude_health(State::Stuck, false);
    }

    fn conclude_health(&mut self, state: State, db_writable: bool) {
        if let State::Checking { waiters, .. } = std::mem::replace(&mut self.health.state, state) {
            for request in waiters {
                self.tell_health(request, db_writable);
            }
        }
    }

    fn tell_health(&mut self, request: RequestId, db_writable: bool) {
        let uptime = self.now.mono - self.started;
        self.respond(request, None, Ok(Success::Health(Health { db_writable, uptime })));
    }
}
