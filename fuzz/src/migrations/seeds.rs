//! The databases that are damaged, made by the store itself.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use chatapi_core::OpId;
use chatapi_storage_sqlite::{Store, Writer};
use rusqlite::Connection;

use super::{beside, open, requests, scratch};

/// What lies on the disk.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) database: Vec<u8>,
    pub(super) wal: Option<Vec<u8>>,
    pub(super) journal: Option<Vec<u8>>,
}

/// The database of that name; `filled` for a name that nobody knows.
pub(super) fn named(name: &[u8]) -> Files {
    static EMPTY: OnceLock<Files> = OnceLock::new();
    static FILLED: OnceLock<[Files; 2]> = OnceLock::new();
    static NEWER: OnceLock<Files> = OnceLock::new();
    static FOREIGN: OnceLock<Files> = OnceLock::new();
    let filled = || FILLED.get_or_init(fill);
    match name {
        b"empty" => EMPTY.get_or_init(empty).clone(),
        b"newer wal" => NEWER.get_or_init(|| marked("PRAGMA user_version = 1000")).clone(),
        b"foreign wal" => FOREIGN.get_or_init(|| marked("PRAGMA application_id = 7")).clone(),
        b"filled wal" => filled()[0].clone(),
        _ => filled()[1].clone(),
    }
}

/// As it is before anything is written to it.
fn empty() -> Files {
    let directory = scratch();
    let path = directory.path().join("chat.db");
    drop(fresh(&path));
    read(&path)
}

/// Tenants, rooms and messages, in the log and moved into the database.
fn fill() -> [Files; 2] {
    let directory = scratch();
    let path = directory.path().join("chat.db");
    let store = fresh(&path);
    let writer = Writer::start(&store, Box::new(drop)).expect("the writer starts");
    let steps = requests::filling();
    let expected = steps.len() as u64;
    writer.submit((0..).map(OpId).zip(steps).collect());
    while writer.stats().steps < expected {
        std::thread::yield_now();
    }
    let in_log = read(&path);
    assert!(in_log.wal.as_ref().is_some_and(|log| !log.is_empty()), "the log is not yet moved into the database");
    writer.close();
    [in_log, read(&path)]
}

/// One that is not ours, which only its log tells.
fn marked(pragma: &str) -> Files {
    let directory = scratch();
    let path = directory.path().join("chat.db");
    drop(fresh(&path));
    let connection = Connection::open(&path).expect("the database opens");
    connection.execute_batch(pragma).expect("the mark is written");
    read(&path)
}

fn fresh(path: &Path) -> Store {
    open(path).expect("a fresh database opens")
}

fn read(path: &Path) -> Files {
    let database = fs::read(path).expect("the database is there");
    Files { database, wal: fs::read(beside(path, "-wal")).ok(), journal: None }
}
