//! What the store does, and what the core hears of it.

use chatapi_core::store::{AppendOutcome, StoreReply, StoreRequest, StoreResult};
use chatapi_core::{Input, OpId};

use super::Simulation;
use crate::action::CommitFault;
use crate::invariant::{Checked, ensure};
use crate::probe::Probe;
use crate::sabotage::Sabotage;

impl Simulation {
    pub(super) fn execute(&mut self, count: usize) {
        self.store.execute(count);
    }

    pub(super) fn commit(&mut self) -> Checked {
        if self.saboteur.as_ref().is_some_and(|saboteur| saboteur.kind == Sabotage::ForgottenCommit)
            && self.store.has_open()
        {
            self.before_last_commit = Some(self.store.durable().clone());
        }
        let committed = self.store.commit();
        self.learn(committed)
    }

    pub(super) fn fail_commit(&mut self, fault: CommitFault) -> Checked {
        if self.store.has_open() {
            match fault {
                CommitFault::Kept => self.probes.hit(Probe::UnknownButKept),
                CommitFault::Lost => self.probes.hit(Probe::UnknownAndLost),
                CommitFault::RolledBack(_) => {}
            }
        }
        let committed = self.store.fail_commit(fault);
        self.learn(committed)
    }

    /// The model takes in what became durable.
    pub(super) fn learn(&mut self, mut committed: Vec<(StoreRequest, StoreReply)>) -> Checked {
        for (request, reply) in &mut committed {
            if let Some(saboteur) = &mut self.saboteur {
                saboteur.on_commit(reply);
            }
            if self.model.forgets_a_key(request, reply) {
                self.probes.hit(Probe::KeyForgotten);
            }
            self.model.commit(request, reply)?;
        }
        match &mut self.differential {
            Some(differential) => differential.commit(committed),
            None => Ok(()),
        }
    }

    pub(super) fn report(&mut self, count: usize) -> Checked {
        let is_early = self.saboteur.as_ref().is_some_and(|saboteur| saboteur.kind == Sabotage::EarlyReport);
        for _ in 0..count {
            let report = self.store.take_report().or_else(|| if is_early { self.store.take_undurable() } else { None });
            let Some((op, result)) = report else {
                return Ok(());
            };
            self.tell_stored(op, result)?;
            if is_early {
                return Ok(());
            }
        }
        Ok(())
    }

    pub(super) fn read(&mut self, pick: usize) -> Checked {
        let Some((request, result)) = self.store.read(pick) else {
            return Ok(());
        };
        if let (StoreRequest::ReadFrames { rooms, .. }, Ok(StoreReply::Frames(pages))) = (&request, &result) {
            for ((room_id, _), page) in rooms.iter().zip(pages) {
                let newest = page.last().map_or(0, |(seq, _)| seq.0);
                if self.store.unreported_appends().any(|(room, seq)| room == room_id && seq.0 <= newest) {
                    self.probes.hit(Probe::PageAheadOfPushes);
                }
            }
        }
        match &mut self.differential {
            Some(differential) => differential.read(&request, &result),
            None => Ok(()),
        }
    }

    pub(super) fn report_read(&mut self, pick: usize) -> Checked {
        let Some((op, result)) = self.store.take_read_result(pick) else {
            return Ok(());
        };
        let is_page = matches!(&result, Ok(StoreReply::Frames(pages)) if pages.iter().any(|page| !page.is_empty()));
        self.tell_stored(op, result)?;
        if is_page && self.effects_of_last_input == 0 {
            self.probes.hit(Probe::StaleRead);
        }
        Ok(())
    }

    pub(super) fn tell_stored(&mut self, op: OpId, mut result: StoreResult) -> Checked {
        if let Some(saboteur) = &mut self.saboteur {
            saboteur.on_report(&mut result, self.incarnation);
        }
        let was_starting = self.process.as_ref().is_some_and(|process| !process.has_booted);
        if matches!(result, Ok(StoreReply::Booted { .. })) {
            if let Some(process) = &mut self.process {
                process.has_booted = true;
            }
        } else if was_starting && result.is_err() {
            self.probes.hit(Probe::BootFailed);
        }
        if result.is_err() {
            self.note_failure();
        }
        match &result {
            Ok(StoreReply::Written) => self.last_written = Some(self.now().mono),
            Ok(StoreReply::Appended(Ok(appended))) if appended.outcome == AppendOutcome::Stored => {
                self.reported_appends += 1;
            }
            _ => {}
        }
        let late = self.late_replies();
        self.input(Input::Stored { op, result })?;
        if self.late_replies() > late {
            self.probes.hit(Probe::LateReply);
        }
        Ok(())
    }

    pub(super) fn late_replies(&self) -> u64 {
        self.process.as_ref().map_or(0, |process| process.core.metrics().late_store_replies)
    }

    /// Everything under way comes to its end, without time passing.
    pub(super) fn settle(&mut self) -> Checked {
        for _ in 0..10_000 {
            self.flush_all()?;
            if self.store.is_idle() {
                self.check_live()?;
                return self.end_stopped_process();
            }
            self.execute(usize::MAX);
            self.commit()?;
            self.report(usize::MAX)?;
            while self.store.has_reads() {
                self.read(0)?;
                self.report_read(0)?;
            }
            self.report_read(0)?;
        }
        ensure!(false, NoSpinning, "the store is asked without end: {:?}", self.store.oldest_unreported_read());
        Ok(())
    }
}
