//! What opens, and what is refused untouched.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use crate::{OpenError, Options, Store};

#[test]
fn a_second_server_is_refused_and_told_which_file_the_first_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    let first = Store::open(Options::new(&path)).unwrap();
    let refused = Store::open(Options::new(&path)).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
    assert!(refused.to_string().contains("chat.db.lock"), "{refused}");
    drop(first);
    Store::open(Options::new(&path)).unwrap();
}

#[test]
fn a_second_server_is_refused_by_whatever_name_it_reaches_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    let link = directory.path().join("link.db");
    let detour = directory.path().join("there");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    std::os::unix::fs::symlink(directory.path(), &detour).unwrap();
    // The first comes by a link to what is not there yet.
    let first = Store::open(Options::new(&link)).unwrap();
    for name in [&path, &link, &detour.join("chat.db"), &directory.path().join("./chat.db")] {
        let refused = Store::open(Options::new(name)).unwrap_err();
        assert!(matches!(refused, OpenError::InUse { .. }), "{name:?}: {refused:?}");
    }
    drop(first);
    Store::open(Options::new(&path)).unwrap();
}

#[test]
fn a_database_opens_again_and_nobody_else_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    drop(Store::open(Options::new(&path)).unwrap());
    drop(Store::open(Options::new(&path)).unwrap());
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_newer_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    drop(Store::open(Options::new(&path)).unwrap());
    sql(&path, "PRAGMA user_version = 1000");
    let refused = Store::open(Options::new(&path)).unwrap_err();
    assert!(matches!(refused, OpenError::TooNew { found: 1000, .. }), "{refused:?}");
}

#[test]
fn a_database_of_the_original_is_refused_with_a_hint_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    sql(
        &path,
        "CREATE TABLE tenants (tenant_id TEXT PRIMARY KEY); CREATE TABLE rooms (room_id TEXT PRIMARY KEY);
         CREATE TABLE messages (message_id TEXT PRIMARY KEY)",
    );
    let before = fs::read(&path).unwrap();
    let refused = Store::open(Options::new(&path)).unwrap_err();
    assert!(matches!(refused, OpenError::Original { .. }), "{refused:?}");
    assert!(refused.to_string().contains("chatapi import"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (name, statements, id) in
        [("a.db", "PRAGMA application_id = 7", 7), ("b.db", "CREATE TABLE notes (text TEXT)", 0)]
    {
        let path = directory.path().join(name);
        sql(&path, statements);
        let refused = Store::open(Options::new(&path)).unwrap_err();
        assert!(matches!(refused, OpenError::Foreign { application_id, .. } if application_id == id), "{refused:?}");
    }
}

#[test]
fn what_is_refused_keeps_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    let live = Connection::open(&path).unwrap();
    live.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE notes (text TEXT)").unwrap();
    // As a crash leaves it: the table stands in the log alone.
    let crashed = directory.path().join("crashed.db");
    let log = directory.path().join("crashed.db-wal");
    fs::copy(&path, &crashed).unwrap();
    fs::copy(directory.path().join("chat.db-wal"), &log).unwrap();
    let before = (fs::read(&crashed).unwrap(), fs::read(&log).unwrap());
    let refused = Store::open(Options::new(&crashed)).unwrap_err();
    assert!(matches!(refused, OpenError::Foreign { application_id: 0, .. }), "{refused:?}");
    assert!((fs::read(&crashed).unwrap(), fs::read(&log).unwrap_or_default()) == before, "neither was touched");
}

#[test]
fn a_database_with_two_names_is_refused_under_each_and_served_again_under_one() {
    let directory = tempfile::tempdir().unwrap();
    let (path, link) = (directory.path().join("chat.db"), directory.path().join("link.db"));
    let first = Store::open(Options::new(&path)).unwrap();
    fs::hard_link(&path, &link).unwrap();
    for name in [&link, &path] {
        let refused = Store::open(Options::new(name)).unwrap_err();
        assert!(matches!(refused, OpenError::ManyNames { names: 2, .. }), "{refused:?}");
        assert!(refused.to_string().contains(name.to_str().unwrap()), "{refused}");
    }
    assert!(!directory.path().join("link.db.lock").exists());
    drop(first);
    fs::remove_file(&link).unwrap();
    drop(Store::open(Options::new(&path)).unwrap());
}

#[test]
fn what_is_no_regular_file_is_refused_as_what_it_is_and_gets_no_lock_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let (inner, link, socket) =
        (directory.path().join("data"), directory.path().join("link.db"), directory.path().join("socket"));
    fs::create_dir(&inner).unwrap();
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let before = fs::read_dir(directory.path()).unwrap().count();
    for (path, kind) in [
        (inner.as_path(), "a directory"),
        (inner.join(".").as_path(), "a directory"),
        (link.as_path(), "a device"),
        (socket.as_path(), "a pipe or a socket"),
        (std::path::Path::new("/"), "a directory"),
        (std::path::Path::new("/dev/null"), "a device"),
    ] {
        let refused = Store::open(Options::new(path)).unwrap_err();
        assert!(matches!(refused, OpenError::NoFile { .. }), "{refused:?}");
        assert!(refused.to_string().starts_with(&format!("{} is {kind}, ", path.display())), "{refused}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), before);
    assert!(!std::path::Path::new("/dev/null.lock").exists());
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    fs::write(&path, "Dear diary, ".repeat(1_000)).unwrap();
    let refused = Store::open(Options::new(&path)).unwrap_err();
    assert!(matches!(refused, OpenError::NotADatabase { .. }), "{refused:?}");
}

#[test]
fn a_migration_that_fails_tells_its_number_and_the_complaint_but_not_the_script() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    drop(Store::open(Options::new(&path)).unwrap());
    sql(&path, "PRAGMA user_version = 0");
    let refused = Store::open(Options::new(&path)).unwrap_err();
    assert!(matches!(refused, OpenError::Migration { number: 1, .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(text.ends_with("nothing of it was kept: table server_state already exists"), "{text}");
}

#[test]
fn what_stands_beside_a_file_that_is_no_database_is_left_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    fs::write(&path, "Dear diary").unwrap();
    // It has the name of a log; what is encrypted looks like this too.
    let beside = directory.path().join("notes.txt-wal");
    fs::write(&beside, "no log at all").unwrap();
    let refused = Store::open(Options::new(&path)).unwrap_err();
    assert!(matches!(refused, OpenError::NotADatabase { .. }), "{refused:?}");
    assert_eq!(fs::read_to_string(&beside).ok().as_deref(), Some("no log at all"));
}

#[test]
fn a_missing_directory_is_named() {
    let refused = Store::open(Options::new("/nowhere/at/all/chat.db")).unwrap_err();
    assert!(matches!(refused, OpenError::File { .. }), "{refused:?}");
    assert!(refused.to_string().contains("/nowhere/at/all/chat.db"), "{refused}");
}

#[test]
fn names_that_sqlite_reads_specially_are_plain_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file:chat.db?mode=memory");
    drop(Store::open(Options::new(&path)).unwrap());
    assert!(fs::metadata(&path).unwrap().len() > 0);
}

fn sql(path: &std::path::Path, statements: &str) {
    Connection::open(path).unwrap().execute_batch(statements).unwrap();
}
