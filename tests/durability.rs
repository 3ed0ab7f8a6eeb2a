//! What was answered is there: kill -9, full disks, locked databases.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a test that failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;
use support::{PATIENCE, Server, Tenant, agent, request};

const UNLIMITED: &str = r#"{"rate_limit":1000000}"#;
const ROOMS: usize = 8;
const SENDERS: usize = 16;
const KILLS: usize = 20;
/// Messages that are answered before each kill.
const ANSWERED_BEFORE_KILL: u64 = 150;

/// Content and number of every message that was answered, by room.
type Answered = Mutex<BTreeMap<String, BTreeMap<u64, String>>>;

#[test]
fn kill_9_under_load_loses_nothing_that_was_answered() {
    let mut server = Server::start();
    let tenant = server.create_tenant(UNLIMITED);
    let rooms: Vec<String> = (0..ROOMS).map(|_| server.create_room(&tenant, "alice", &["bob"])).collect();
    let answered = Answered::default();
    for kill in 0..KILLS {
        load_until_killed(&server, &tenant, &rooms, &answered, kill);
        server = server.kill_and_restart();
        for room in &rooms {
            let history = server.history(&tenant, "alice", room);
            let seqs: Vec<u64> = history.iter().map(|message| message["seq"].as_u64().unwrap()).collect();
            assert_eq!(seqs, (1..=history.len() as u64).collect::<Vec<_>>(), "gapless after kill {kill}");
            let stored: BTreeMap<u64, &str> = history
                .iter()
                .map(|message| (message["seq"].as_u64().unwrap(), message["content"].as_str().unwrap()))
                .collect();
            for (seq, content) in answered.lock().unwrap().get(room).into_iter().flatten() {
                assert_eq!(stored.get(seq), Some(&content.as_str()), "message {seq} after kill {kill}");
            }
            let distinct: BTreeSet<&str> = stored.values().copied().collect();
            assert_eq!(distinct.len(), stored.len(), "nothing is stored twice");
        }
    }
}

/// Lets senders loose until enough was answered, then kills the server under them.
fn load_until_killed(server: &Server, tenant: &Tenant, rooms: &[String], answered: &Answered, kill: usize) {
    let count = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (count, is_over) = (&count, &is_over);
            scope.spawn(move || {
                let agent = agent();
                for number in 0.. {
                    let room = &rooms[(sender + number) % rooms.len()];
                    let content = format!("kill {kill} sender {sender} number {number}");
                    let path = format!("/rooms/{room}/messages");
                    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
                    let body = json!({"content": content}).to_string();
                    let Ok(sent) = request(&agent, server.address(), "POST", &path, &headers, &body) else {
                        return;
                    };
                    assert_eq!(sent.status, 200, "{sent:?}");
                    let seq = sent.body["seq"].as_u64().unwrap();
                    let before = answered.lock().unwrap().entry(room.clone()).or_default().insert(seq, content);
                    assert_eq!(before, None, "number {seq} was given twice");
                    count.fetch_add(1, Ordering::Relaxed);
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        support::eventually("enough is answered", || count.load(Ordering::Relaxed) >= ANSWERED_BEFORE_KILL);
        server.signal("KILL");
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_locked_database_is_503_and_served_again_once_it_is_free() {
    let server = Server::start();
    let tenant = server.create_tenant(UNLIMITED);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let other = rusqlite::Connection::open(server.data_dir().join("chatapi.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = server.send(&tenant, "alice", &room, "x");
    assert_eq!((refused.status, refused.code()), (503, "UNAVAILABLE"));
    assert!(refused.header("Retry-After").is_some());
    assert_eq!(server.as_user(&tenant, "bob", "GET", &format!("/rooms/{room}"), "").status, 200, "reads are served");
    other.execute_batch("ROLLBACK").unwrap();
    support::eventually("writes are served", || server.send(&tenant, "alice", &room, "y").status == 200);
    let history = server.history(&tenant, "alice", &room);
    assert_eq!((history.len(), &history[0]["content"]), (1, &"y".into()), "the refused message changed nothing");
}

#[test]
fn an_outage_does_not_flood_the_log() {
    let server = Server::start();
    let tenant = server.create_tenant(UNLIMITED);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let other = rusqlite::Connection::open(server.data_dir().join("chatapi.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert_eq!(server.send(&tenant, "alice", &room, "x").status, 503));
        }
    });
    let sum = server.await_log("the store could not serve others either");
    assert!(sum["operations"].as_u64().unwrap() > 0, "{sum}");
    let (_, log) = server.terminate();
    let lines = log.iter().filter(|line| line["message"].as_str().unwrap().starts_with("the store could not")).count();
    assert!(lines < 10, "{log:?}");
}

#[test]
fn a_disk_that_is_full_is_503_and_served_again_once_there_is_space() {
    let Some(disk) = SmallDisk::mount() else {
        // Mounting needs root: the store's own tests fill a database by a limit of SQLite's instead.
        eprintln!("no disk could be mounted here");
        return;
    };
    let data_dir = disk.path.join("data");
    let server = Server::start_with(&[("DATA_DIR", data_dir.to_str().unwrap())]);
    let tenant = server.create_tenant(r#"{"rate_limit":1000000,"max_message_size":262144}"#);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let mut bob = server.connect(&tenant, "bob");
    bob.next_of("sync.complete");
    let content = "x".repeat(200_000);
    let mut answered = 0;
    let refused = loop {
        let sent = server.send(&tenant, "alice", &room, &content);
        if sent.status != 200 {
            break sent;
        }
        answered += 1;
        assert_eq!(bob.next()["seq"], answered);
    };
    assert_eq!((refused.status, refused.code()), (503, "UNAVAILABLE"));
    assert_eq!(refused.body["error"]["message"], "storage is full: nothing was changed, try again later");
    assert_eq!(server.request("GET", "/health", &[], "").status, 503);
    assert!(answered > 5);
    assert_eq!(server.request("GET", "/livez", &[], "").status, 200, "the process lives on");
    assert_eq!(server.history(&tenant, "bob", &room).len() as u64, answered);
    disk.grow();
    support::eventually("writes are served", || server.send(&tenant, "alice", &room, "space").status == 200);
    let history = server.history(&tenant, "alice", &room);
    let seqs: Vec<u64> = history.iter().map(|message| message["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=history.len() as u64).collect::<Vec<_>>());
    assert!(history[..usize::try_from(answered).unwrap()].iter().all(|message| message["content"] == content.as_str()));
    assert_eq!(history.len() as u64, answered + 1, "what was refused is not there");
    assert_eq!(bob.next()["seq"], answered + 1);
    support::eventually("the health check succeeds", || server.request("GET", "/health", &[], "").status == 200);
    drop(bob);
}

/// A file system of a few megabytes.
struct SmallDisk {
    path: std::path::PathBuf,
    _parent: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("disk");
        std::fs::create_dir(&path).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
            .arg(&path)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self { path, _parent: parent })
    }

    fn grow(&self) {
        let grown = std::process::Command::new("mount").args(["-o", "remount,size=60m"]).arg(&self.path).status();
        assert!(grown.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < deadline {
            let unmounted =
                std::process::Command::new("umount").arg(&self.path).stderr(std::process::Stdio::null()).status();
            if unmounted.is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::yield_now();
        }
    }
}
