//! SQLite beside the model: what became durable is carried out by the real store too, and both answers are compared.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};

use chatapi_core::OpId;
use chatapi_core::store::{StoreReply, StoreRequest, StoreResult};
use chatapi_storage_sqlite::{Options, Readers, Store, Synchronous, Writer};

use crate::invariant::{Checked, Invariant, Violation, ensure};

/// A real store on a file.
pub struct Differential {
    path: PathBuf,
    open: Option<Open>,
    next_op: u64,
    answered: BTreeSet<&'static str>,
}

struct Open {
    writer: Writer,
    readers: Readers,
    replies: Receiver<Vec<(OpId, StoreResult)>>,
}

impl std::fmt::Debug for Differential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Differential").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Every kind of request.
pub const KINDS: [&str; 14] = [
    "Boot",
    "CheckWritable",
    "CreateTenant",
    "FindTenant",
    "CreateRoom",
    "ListRooms",
    "ReadRoom",
    "ListMembers",
    "AppendMessage",
    "ReadMessages",
    "Acknowledge",
    "LoadBacklog",
    "ReadFrames",
    "ReadHead",
];

impl Differential {
    /// A store on a new file.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, open: None, next_op: 0, answered: BTreeSet::new() }
    }

    /// The kinds of request that SQLite answered as the model did.
    #[must_use]
    pub const fn answered(&self) -> &BTreeSet<&'static str> {
        &self.answered
    }

    /// The process died: what SQLite holds must be there when it is opened again.
    pub(crate) fn reopen(&mut self) {
        self.open = None;
    }

    /// Carries out what became durable, as one batch.
    pub(crate) fn commit(&mut self, committed: Vec<(StoreRequest, StoreReply)>) -> Checked {
        if committed.is_empty() {
            return Ok(());
        }
        let first = self.next_op;
        self.next_op += committed.len() as u64;
        let open = self.open()?;
        let batch = committed.iter().map(|(request, _)| request.clone());
        open.writer.submit((first..).map(OpId).zip(batch).collect());
        let mut results = Vec::with_capacity(committed.len());
        while results.len() < committed.len() {
            match open.replies.recv() {
                Ok(replies) => results.extend(replies),
                Err(error) => ensure!(false, RestartEqualsStore, "SQLite's writer is gone: {error}"),
            }
        }
        for ((request, expected), (_, result)) in committed.iter().zip(results) {
            self.compare(request, &Ok(expected.clone()), &result)?;
        }
        Ok(())
    }

    /// Carries out a read.
    pub(crate) fn read(&mut self, request: &StoreRequest, expected: &StoreResult) -> Checked {
        let result = self.open()?.readers.read(request);
        self.compare(request, expected, &result)
    }

    fn compare(&mut self, request: &StoreRequest, expected: &StoreResult, result: &StoreResult) -> Checked {
        ensure!(
            without_epoch(expected) == without_epoch(result),
            RestartEqualsStore,
            "SQLite answers {request:?} with {result:?}, the model with {expected:?}"
        );
        if expected.as_ref().is_ok_and(succeeded) {
            self.answered.insert(kind(request));
        }
        Ok(())
    }

    fn open(&mut self) -> Checked<&mut Open> {
        if self.open.is_none() {
            let opened = open(&self.path).map_err(|error| {
                Violation::new(Invariant::RestartEqualsStore, format!("SQLite does not open: {error}"))
            })?;
            self.open = Some(opened);
        }
        match &mut self.open {
            Some(open) => Ok(open),
            None => unreachable!("it was just opened"),
        }
    }
}

fn open(path: &std::path::Path) -> Result<Open, chatapi_storage_sqlite::OpenError> {
    let store = Store::open(Options { synchronous: Synchronous::Normal, ..Options::new(path) })?;
    let (sender, replies) = channel();
    let writer = Writer::start(&store, Box::new(move |batch| sender.send(batch).unwrap_or(())))?;
    Ok(Open { writer, readers: Readers::open(&store, 1)?, replies })
}

/// Two stores never share an epoch.
fn without_epoch(result: &StoreResult) -> StoreResult {
    match result {
        Ok(StoreReply::Booted { newest_id, .. }) => {
            Ok(StoreReply::Booted { epoch: String::new(), newest_id: *newest_id })
        }
        other => other.clone(),
    }
}

/// Whether a reply is what was asked for, and no refusal.
const fn succeeded(reply: &StoreReply) -> bool {
    !matches!(
        reply,
        StoreReply::Tenant(None)
            | StoreReply::Room(Err(_))
            | StoreReply::Members(Err(_))
            | StoreReply::Messages(Err(_))
            | StoreReply::Appended(Err(_))
            | StoreReply::Acknowledged(Err(_))
            | StoreReply::Head(None)
    )
}

fn kind(request: &StoreRequest) -> &'static str {
    match request {
        StoreRequest::Boot => "Boot",
        StoreRequest::CheckWritable { .. } => "CheckWritable",
        StoreRequest::CreateTenant(_) => "CreateTenant",
        StoreRequest::FindTenant { .. } => "FindTenant",
        StoreRequest::CreateRoom(_) => "CreateRoom",
        StoreRequest::ListRooms { .. } => "ListRooms",
        StoreRequest::ReadRoom { .. } => "ReadRoom",
        StoreRequest::ListMembers { .. } => "ListMembers",
        StoreRequest::AppendMessage(_) => "AppendMessage",
        StoreRequest::ReadMessages { .. } => "ReadMessages",
        StoreRequest::Acknowledge { .. } => "Acknowledge",
        StoreRequest::LoadBacklog { .. } => "LoadBacklog",
        StoreRequest::ReadFrames { .. } => "ReadFrames",
        StoreRequest::ReadHead { .. } => "ReadHead",
    }
}
