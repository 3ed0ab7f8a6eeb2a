//! Simulated time: nothing happens by itself but what the core wants to be woken for.

use chatapi_core::{Input, Micros, MonoMicros, Now, TimerKind, UnixMillis};

use super::{SOCKETS_KEEP_UP, Simulation};
use crate::invariant::{Checked, ensure};
use crate::probe::Probe;
use crate::sabotage::Sabotage;

impl Simulation {
    pub(super) fn now(&self) -> Now {
        self.now_since(self.process.as_ref().map_or(0, |process| process.origin))
    }

    pub(super) fn now_since(&self, origin: u64) -> Now {
        Now { mono: MonoMicros(self.clock.mono - origin), wall: UnixMillis(self.clock.wall_ms) }
    }

    pub(super) fn next_timeout(&self) -> Option<(MonoMicros, TimerKind)> {
        if self.saboteur.as_ref().is_some_and(|saboteur| saboteur.kind == Sabotage::Restless) {
            return Some((self.now().mono, TimerKind::Retry));
        }
        self.process.as_ref().and_then(|process| process.core.next_timeout())
    }

    pub(super) fn advance(&mut self, span: Micros) -> Checked {
        let end = self.clock.mono + span.0;
        self.keep_up(span)?;
        while let Some((at, kind)) = self.next_timeout() {
            let origin = self.process.as_ref().map_or(0, |process| process.origin);
            if at.0 + origin > end {
                break;
            }
            self.move_clock(at.0 + origin);
            self.tick(kind)?;
            self.flush_all()?;
        }
        self.move_clock(end);
        self.end_stopped_process()
    }

    pub(super) fn oversleep(&mut self, span: Micros) -> Checked {
        self.keep_up(span)?;
        let due = self.next_timeout();
        self.move_clock(self.clock.mono + span.0);
        let now = self.now().mono;
        match due.filter(|(at, _)| *at <= now) {
            Some((at, kind)) => {
                if (now - at).0 >= 10_000_000 {
                    self.probes.hit(Probe::LateTick);
                }
                self.tick(kind)
            }
            None => Ok(()),
        }
    }

    /// Time passes, and the core hears of nothing.
    pub(super) fn doze(&mut self, span: Micros) -> Checked {
        self.keep_up(span)?;
        self.move_clock(self.clock.mono + span.0);
        Ok(())
    }

    /// Nothing waits for a reading peer for long, whatever else a process is late with.
    fn keep_up(&mut self, span: Micros) -> Checked {
        if self.clock.mono + span.0 < self.kept_up_at + SOCKETS_KEEP_UP.0 {
            return Ok(());
        }
        self.kept_up_at = self.clock.mono;
        self.flush_all()
    }

    /// An early tick does nothing.
    pub(super) fn wake(&mut self) -> Checked {
        let now = self.now().mono;
        match self.next_timeout() {
            Some((at, kind)) if at <= now => self.tick(kind),
            Some(_) | None => {
                self.effects_of_last_input = 0;
                self.input(Input::Tick)?;
                let effects = self.effects_of_last_input;
                ensure!(effects == 0, NoSpinning, "an early tick had {effects} effects");
                Ok(())
            }
        }
    }

    pub(super) fn tick(&mut self, kind: TimerKind) -> Checked {
        self.input(Input::Tick)?;
        let now = self.now().mono;
        let next = self.next_timeout();
        ensure!(
            next.is_none_or(|(at, _)| at > now),
            NoSpinning,
            "after a tick for {kind:?} at {now:?} the next time-out is {next:?}"
        );
        Ok(())
    }

    pub(super) fn move_clock(&mut self, to: u64) {
        let micros = to.saturating_sub(self.clock.mono) + self.clock.rest;
        self.clock.mono = self.clock.mono.max(to);
        self.clock.wall_ms += i64::try_from(micros / 1_000).unwrap_or(i64::MAX);
        self.clock.rest = micros % 1_000;
    }

    pub(super) fn step_wall_clock(&mut self, by_ms: i64) {
        self.clock.wall_ms = (self.clock.wall_ms + by_ms).max(0);
        if by_ms < 0 {
            self.clock_was_set_back = true;
            self.probes.hit(Probe::ClockSetBack);
        }
    }
}
