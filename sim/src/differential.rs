//! SQLite beside the model: what became durable is carried out by the real store too, and both answers are compared.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};

use chatapi_core::OpId;
use chatapi_core::store::{CreatedRoom, StoreReply, StoreRequest, StoreResult};
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

macro_rules! kinds {
    ($($name:ident),+ $(,)?) => {
        /// Every kind of request.
        pub const KINDS: &[&str] = &[$(stringify!($name)),+];

        const fn kind(request: &StoreRequest) -> &'static str {
            match request {
                $(StoreRequest::$name { .. } => stringify!($name),)+
            }
        }
    };
}

kinds![
    Boot,
    CheckWritable,
    CreateTenant,
    FindTenant,
    ListTenants,
    ReadTenant,
    ChangeTenant,
    RotateKey,
    DeleteTenant,
    CreateRoom,
    ListRooms,
    ReadRoom,
    ChangeRoom,
    DeleteRoom,
    AddMember,
    RemoveMember,
    ListMembers,
    ListReceipts,
    AppendMessage,
    ReadMessages,
    ReadMessage,
    RereadMessage,
    EditMessage,
    DeleteMessage,
    Acknowledge,
    LoadBacklog,
    LoadPositions,
    ReadFrames,
    ReadHead,
    Notify,
    ListExpansions,
    ExpandNotification,
    ReadNotifications,
    ConfirmNotifications,
    Subscribe,
    ListSubscriptions,
    Unsubscribe,
    Sweep,
];

/// Kinds that no scenario comes to yet: nobody misses them in a batch.
pub const BEYOND_SCENARIOS: &[&str] = &[
    "ListTenants",
    "ReadTenant",
    "ChangeTenant",
    "RotateKey",
    "DeleteTenant",
    "DeleteRoom",
    "AddMember",
    "RemoveMember",
    "LoadPositions",
    "Notify",
    "ExpandNotification",
    "ReadNotifications",
    "ConfirmNotifications",
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

    /// Carries out what became durable, as one batch. What the model sweeps at once is swept to its end.
    pub(crate) fn commit(&mut self, committed: Vec<(StoreRequest, StoreReply)>) -> Checked {
        if committed.is_empty() {
            return Ok(());
        }
        let results = self.write(committed.iter().map(|(request, _)| request.clone()).collect())?;
        for ((request, expected), result) in committed.iter().zip(results) {
            self.compare(request, &Ok(expected.clone()), &result)?;
            let mut last = result;
            while matches!(last, Ok(StoreReply::Swept { has_more: true })) {
                last = self.write(vec![request.clone()])?.pop().unwrap_or(Ok(StoreReply::Written));
            }
        }
        Ok(())
    }

    fn write(&mut self, batch: Vec<StoreRequest>) -> Checked<Vec<StoreResult>> {
        let (first, count) = (self.next_op, batch.len());
        self.next_op += count as u64;
        let open = self.open()?;
        open.writer.submit((first..).map(OpId).zip(batch).collect());
        let mut results = Vec::with_capacity(count);
        while results.len() < count {
            match open.replies.recv() {
                Ok(replies) => results.extend(replies.into_iter().map(|(_, result)| result)),
                Err(error) => ensure!(false, RestartEqualsStore, "SQLite's writer is gone: {error}"),
            }
        }
        Ok(results)
    }

    /// Carries out a read.
    pub(crate) fn read(&mut self, request: &StoreRequest, expected: &StoreResult) -> Checked {
        let result = self.open()?.readers.read(request);
        self.compare(request, expected, &result)
    }

    fn compare(&mut self, request: &StoreRequest, expected: &StoreResult, result: &StoreResult) -> Checked {
        ensure!(
            comparable(expected) == comparable(result),
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

/// An answer without what two stores need not agree on: the epoch, and how far a sweep came.
fn comparable(result: &StoreResult) -> StoreResult {
    match result {
        Ok(StoreReply::Booted { newest_id, .. }) => {
            Ok(StoreReply::Booted { epoch: String::new(), newest_id: *newest_id })
        }
        Ok(StoreReply::Swept { .. }) => Ok(StoreReply::Swept { has_more: false }),
        other => other.clone(),
    }
}

/// Whether a reply is what was asked for, and no refusal.
const fn succeeded(reply: &StoreReply) -> bool {
    !matches!(
        reply,
        StoreReply::KeyOwner(None)
            | StoreReply::Tenant(None)
            | StoreReply::TenantChanged(None)
            | StoreReply::KeyRotated(None)
            | StoreReply::TenantDeleted(None)
            | StoreReply::RoomCreated(CreatedRoom::NoTenant)
            | StoreReply::Room(Err(_))
            | StoreReply::RoomChanged(Err(_))
            | StoreReply::RoomDeleted(Err(_))
            | StoreReply::MemberAdded(Err(_))
            | StoreReply::MemberRemoved(Err(_))
            | StoreReply::Members(Err(_))
            | StoreReply::Receipts(Err(_))
            | StoreReply::Messages(Err(_))
            | StoreReply::Message(Err(_))
            | StoreReply::MessageEdited(Err(_))
            | StoreReply::MessageDeleted(Err(_))
            | StoreReply::Appended(Err(_))
            | StoreReply::Acknowledged(Err(_))
            | StoreReply::Head(None)
            | StoreReply::Notified(Err(_))
            | StoreReply::Expanded(None)
            | StoreReply::Subscribed(Err(_))
            | StoreReply::Unsubscribed { existed: false }
    )
}
