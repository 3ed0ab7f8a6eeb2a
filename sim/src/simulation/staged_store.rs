//! The simulated store: every change is submitted, executed, durable, reported, and a crash may fall between any two.

use std::collections::VecDeque;

use chatapi_core::store::{Lane, StoreFailure, StoreReply, StoreRequest, StoreResult};
use chatapi_core::{OpId, RoomId, Seq};

use crate::action::{CommitFault, Refusal};
use crate::memory_store::MemoryStore;

/// A step and its name.
pub(crate) type Op = (OpId, StoreRequest);

/// The stages.
#[derive(Debug)]
pub(crate) struct StagedStore {
    /// What survives a crash.
    durable: MemoryStore,
    /// What the open transaction sees.
    executed: MemoryStore,
    submitted: VecDeque<Op>,
    open: Vec<(Op, StoreResult)>,
    reports: VecDeque<(OpId, StoreResult)>,
    reads: Vec<Op>,
    read_results: Vec<(OpId, StoreResult)>,
}

impl StagedStore {
    pub(crate) fn new(epoch: &str) -> Self {
        let durable = MemoryStore::new(epoch);
        Self {
            executed: durable.clone(),
            durable,
            submitted: VecDeque::new(),
            open: Vec::new(),
            reports: VecDeque::new(),
            reads: Vec::new(),
            read_results: Vec::new(),
        }
    }

    pub(crate) fn submit(&mut self, op: OpId, request: StoreRequest) {
        match request.lane() {
            Lane::Write => self.submitted.push_back((op, request)),
            Lane::Read => self.reads.push((op, request)),
        }
    }

    /// Carries out up to `count` waiting changes in the open transaction.
    pub(crate) fn execute(&mut self, count: usize) {
        for _ in 0..count {
            let Some((op, request)) = self.submitted.pop_front() else {
                return;
            };
            let result = self.executed.execute(&request);
            self.open.push(((op, request), result));
        }
    }

    /// Refuses the next waiting change, in its place among the others.
    pub(crate) fn refuse_write(&mut self, refusal: Refusal) -> bool {
        let Some(op) = self.submitted.pop_front() else {
            return false;
        };
        self.open.push((op, Err(failure(refusal))));
        true
    }

    /// Makes the open transaction durable. Hands back what it changed.
    pub(crate) fn commit(&mut self) -> Vec<(StoreRequest, StoreReply)> {
        let open = std::mem::take(&mut self.open);
        let mut committed = Vec::with_capacity(open.len());
        for ((op, request), result) in open {
            if let Ok(reply) = &result {
                // Steps are plain data: carried out again, they decide the same.
                let again = self.durable.execute(&request);
                debug_assert_eq!(again.as_ref().ok(), Some(reply), "{request:?}");
                committed.push((request, reply.clone()));
            }
            self.reports.push_back((op, result));
        }
        committed
    }

    /// Ends the open transaction badly. Hands back what it changed all the same.
    pub(crate) fn fail_commit(&mut self, fault: CommitFault) -> Vec<(StoreRequest, StoreReply)> {
        let first = self.reports.len();
        match fault {
            CommitFault::Kept => {
                let committed = self.commit();
                for (_, result) in self.reports.range_mut(first..) {
                    *result = Err(StoreFailure::OutcomeUnknown);
                }
                committed
            }
            CommitFault::Lost => {
                self.roll_back(|_| Err(StoreFailure::OutcomeUnknown));
                Vec::new()
            }
            CommitFault::RolledBack(refusal) => {
                // What only reads is answered all along.
                let durable = self.durable.clone();
                self.roll_back(|request| {
                    if only_reads(request) { durable.clone().execute(request) } else { Err(failure(refusal)) }
                });
                Vec::new()
            }
        }
    }

    fn roll_back(&mut self, answer: impl Fn(&StoreRequest) -> StoreResult) {
        self.executed = self.durable.clone();
        for ((op, request), _) in std::mem::take(&mut self.open) {
            self.reports.push_back((op, answer(&request)));
        }
    }

    /// The next change that the core is to hear of.
    pub(crate) fn take_report(&mut self) -> Option<(OpId, StoreResult)> {
        self.reports.pop_front()
    }

    /// The next change of the open transaction, reported too early: what a broken store would do.
    pub(crate) fn take_undurable(&self) -> Option<(OpId, StoreResult)> {
        self.open.first().map(|((op, _), result)| (*op, result.clone()))
    }

    /// Carries out one of the waiting reads, on what is durable.
    pub(crate) fn read(&mut self, pick: usize) -> Option<(StoreRequest, StoreResult)> {
        if self.reads.is_empty() {
            return None;
        }
        let (op, request) = self.reads.remove(pick % self.reads.len());
        let result = self.durable.execute(&request);
        self.read_results.push((op, result.clone()));
        Some((request, result))
    }

    pub(crate) fn refuse_read(&mut self, pick: usize, refusal: Refusal) -> bool {
        if self.reads.is_empty() {
            return false;
        }
        let (op, _) = self.reads.remove(pick % self.reads.len());
        self.read_results.push((op, Err(failure(refusal))));
        true
    }

    /// One of the reads that were carried out.
    pub(crate) fn take_read_result(&mut self, pick: usize) -> Option<(OpId, StoreResult)> {
        if self.read_results.is_empty() {
            return None;
        }
        Some(self.read_results.remove(pick % self.read_results.len()))
    }

    /// The process dies: only what is durable stays.
    pub(crate) fn crash(&mut self) {
        self.executed = self.durable.clone();
        self.submitted.clear();
        self.open.clear();
        self.reports.clear();
        self.reads.clear();
        self.read_results.clear();
    }

    /// Takes the place of what is durable, as a store that forgets would.
    pub(crate) fn replace_durable(&mut self, durable: MemoryStore) {
        self.executed = durable.clone();
        self.durable = durable;
    }

    pub(crate) const fn durable(&self) -> &MemoryStore {
        &self.durable
    }

    /// Carries out a step as an earlier life did.
    pub(crate) fn prefill(&mut self, request: &StoreRequest) -> StoreResult {
        let result = self.durable.execute(request);
        if result.is_ok() {
            drop(self.executed.execute(request));
        }
        result
    }

    pub(crate) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// How many changes the open transaction holds.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Whether the core is yet to hear of something durable.
    pub(crate) fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// How many steps are anywhere between their submission and their report.
    pub(crate) fn under_way(&self) -> usize {
        self.submitted.len() + self.open.len() + self.reports.len() + self.reads.len() + self.read_results.len()
    }

    pub(crate) fn has_reads(&self) -> bool {
        !self.reads.is_empty()
    }

    /// The numbers of durable messages that the core is yet to hear of.
    pub(crate) fn unreported_appends(&self) -> impl Iterator<Item = (&RoomId, Seq)> {
        self.reports.iter().filter_map(|(_, result)| match result {
            Ok(StoreReply::Appended(Ok(appended))) => Some((&appended.message.room_id, appended.message.seq)),
            _ => None,
        })
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.submitted.is_empty()
            && self.open.is_empty()
            && self.reports.is_empty()
            && self.reads.is_empty()
            && self.read_results.is_empty()
    }

    /// The request of a waiting or executed step, for those who look closely.
    pub(crate) fn oldest_unreported_read(&self) -> Option<&StoreRequest> {
        self.reads.first().map(|(_, request)| request)
    }
}

/// Whether a step of the writer's changes nothing: a transaction that fails takes no answer from it.
const fn only_reads(request: &StoreRequest) -> bool {
    matches!(
        request,
        StoreRequest::ReadTenant { .. }
            | StoreRequest::LoadBacklog { .. }
            | StoreRequest::LoadPositions { .. }
            | StoreRequest::ReadHead { .. }
            | StoreRequest::ListExpansions
    )
}

pub(crate) const fn failure(refusal: Refusal) -> StoreFailure {
    match refusal {
        Refusal::Busy => StoreFailure::Busy,
        Refusal::Full => StoreFailure::Full,
        Refusal::Failed => StoreFailure::Failed,
    }
}
