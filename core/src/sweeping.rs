//! Cleaning up: what nobody can see any more is removed in small steps that make way for everything else.

use crate::core::{Core, Phase};
use crate::operations::Step;
use crate::store::{StoreReply, StoreRequest, StoreResult};
use crate::time::{Micros, MonoMicros, UnixMillis};

/// How many rows a step removes at the most: it holds the writer for some milliseconds.
const ROWS: u32 = 32;
/// After how long the next step comes where others wait for the writer.
const PAUSE: Micros = Micros::from_millis(20);
/// For how long a pending notification is kept: 30 days (protocol, section 6), and a day more, for a wall clock that was
/// ahead for a moment.
const NOTIFICATIONS_KEPT_MS: i64 = 31 * 24 * 60 * 60 * 1_000;
/// Retired keys are kept for a day past their end, for the same reason.
const KEYS_KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// When the next step of cleaning up is due.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    state: State,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// The store has not booted.
    #[default]
    Off,
    Due(MonoMicros),
    /// A step is under way; `again` where something was deleted since it was asked for.
    Sweeping {
        again: bool,
    },
}

impl Sweeper {
    pub(crate) const fn next(&self) -> Option<MonoMicros> {
        match self.state {
            State::Due(at) => Some(at),
            State::Off | State::Sweeping { .. } => None,
        }
    }
}

impl Core {
    /// Cleans up from here on: something was deleted, or the run begins.
    pub(crate) fn sweep_now(&mut self) {
        match self.sweeper.state {
            State::Sweeping { .. } => self.sweeper.state = State::Sweeping { again: true },
            State::Off | State::Due(_) => self.sweep(),
        }
    }

    pub(crate) fn sweep_if_due(&mut self) {
        if self.sweeper.next().is_some_and(|at| at <= self.now.mono) {
            self.sweep();
        }
    }

    pub(crate) fn on_swept(&mut self, result: StoreResult) {
        let again = matches!(self.sweeper.state, State::Sweeping { again: true });
        let has_more = matches!(result, Ok(StoreReply::Swept { has_more: true }));
        if !(again || has_more) || self.phase != Phase::Serving {
            self.sweeper.state = State::Due(self.now.mono + self.config.worker_interval);
        } else if self.operations.writer_is_idle() {
            self.sweep();
        } else {
            self.sweeper.state = State::Due(self.now.mono + PAUSE);
        }
    }

    fn sweep(&mut self) {
        if self.phase != Phase::Serving {
            self.sweeper.state = State::Off;
            return;
        }
        self.sweeper.state = State::Sweeping { again: false };
        let before = |kept_ms: i64| UnixMillis(self.now.wall.0.saturating_sub(kept_ms));
        let request = StoreRequest::Sweep {
            notifications_before: before(NOTIFICATIONS_KEPT_MS),
            keys_before: before(KEYS_KEPT_MS),
            rows: ROWS,
        };
        self.submit(None, Step::Sweep, request);
    }
}
