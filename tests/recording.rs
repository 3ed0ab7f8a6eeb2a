//! What `--record` writes of a real server under load replays without a difference, and keeps every secret.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a test that failed")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chatapi_core::Digest;
use chatapi_sim::replay::replay;
use serde_json::json;
use support::{MASTER_KEY, Server, Socket, Tenant, agent, command, request};
use tempfile::TempDir;

const WEBHOOK_SECRET: &str = "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0";
const WEBHOOK_URL: &str = "https://hooks.example/services/capability";
const WEAK_KEY: &str = "letmein";
const CONTENT: &str = "what alice has to say";
const REST_SENDERS: usize = 12;
const SOCKETS: usize = 8;

/// A place for a recording that outlives its server.
struct Recording {
    path: PathBuf,
    _dir: TempDir,
}

impl Recording {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { path: dir.path().join("run.jsonl"), _dir: dir }
    }

    fn start(&self, flags: &[&str]) -> Server {
        Server::start_with_flags(&[&["--record", self.path.to_str().unwrap()], flags].concat())
    }

    fn replay(&self) -> String {
        replay(&self.path).unwrap_or_else(|failure| panic!("{failure}"))
    }
}

fn tenant(server: &Server) -> Tenant {
    server.create_tenant(&format!(
        r#"{{"rate_limit":1000000,"webhook_url":"{WEBHOOK_URL}","webhook_secret":"{WEBHOOK_SECRET}"}}"#
    ))
}

/// Many threads send by REST and over sockets, read, ack, come and go, until `is_over`. Hands back the tokens used.
fn load(server: &Server, tenant: &Tenant, room: &str, answered: &AtomicU64, is_over: &AtomicBool) -> Vec<String> {
    std::thread::scope(|scope| {
        for number in 0..REST_SENDERS {
            scope.spawn(move || {
                let agent = agent();
                let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
                let messages = format!("/rooms/{room}/messages");
                let page = format!("/rooms/{room}/messages?before_seq=50&limit=5");
                for turn in 0.. {
                    let (method, path, body) = match turn % 8 {
                        6 => ("GET", page.as_str(), String::new()),
                        7 => ("POST", "/acks", json!({"room_id": room, "seq": turn / 8}).to_string()),
                        _ => (
                            "POST",
                            messages.as_str(),
                            json!({"content": CONTENT, "meta": number.to_string()}).to_string(),
                        ),
                    };
                    let Ok(_) = request(&agent, server.address(), method, path, &headers, &body) else {
                        return;
                    };
                    answered.fetch_add(1, Ordering::Relaxed);
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        let sockets: Vec<_> =
            (0..SOCKETS).map(|_| scope.spawn(|| come_and_go(server, tenant, room, is_over))).collect();
        sockets.into_iter().flat_map(|socket| socket.join().unwrap()).collect()
    })
}

/// Connects by tokens, again and again, more often than one user may at a time. Ends early where the server does.
fn come_and_go(server: &Server, tenant: &Tenant, room: &str, is_over: &AtomicBool) -> Vec<String> {
    let mut tokens = Vec::new();
    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "bob")];
    while !is_over.load(Ordering::Relaxed) {
        let Ok(issued) = server.try_request("POST", "/ws/token", &headers, "") else {
            break;
        };
        tokens.push(issued.text("token"));
        let target = format!("/ws?sync=false&token={}", issued.text("token"));
        if let Some(mut socket) = server.try_handshake(&target) {
            let stayed = talk(&mut socket, room);
            if stayed.is_some() && tokens.len() % 2 == 0 {
                socket.try_close();
            }
        }
    }
    tokens
}

/// Says a few things. Nothing where the connection ends meanwhile.
fn talk(socket: &mut Socket, room: &str) -> Option<()> {
    for turn in 0..10 {
        let frame = json!({"type": "send_message", "room_id": room, "content": CONTENT, "request_id": "r"});
        socket.try_send(&frame)?;
        while socket.try_next()?["request_id"] != "r" {}
        socket.try_send(&json!({"type": "ack", "room_id": room, "seq": turn}))?;
        socket.try_send(&json!({"type": "nonsense"}))?;
    }
    Some(())
}

#[test]
fn a_load_is_recorded_and_replays_without_a_difference_and_no_secret_is_in_the_file() {
    let recording = Recording::new();
    let server = recording.start(&[]);
    let mode = std::fs::metadata(&recording.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let tenant = tenant(&server);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    server.request("GET", "/rooms", &[("X-API-Key", WEAK_KEY), ("X-User-Id", "eve")], "");
    let (answered, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let tokens = std::thread::scope(|scope| {
        let load = scope.spawn(|| load(&server, &tenant, &room, &answered, &is_over));
        support::eventually("enough is answered", || answered.load(Ordering::Relaxed) >= 2_000);
        is_over.store(true, Ordering::Relaxed);
        load.join().unwrap()
    });
    assert!(tokens.len() >= SOCKETS);
    let (code, _) = server.terminate();
    assert_eq!(code, Some(0));
    let summary = recording.replay();
    assert!(summary.starts_with("OK: ") && summary.ends_with("shutdown of the process"), "{summary}");
    let steps: u64 = summary.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(steps > 4_000, "{summary}");

    let text = String::from_utf8(std::fs::read(&recording.path).unwrap()).unwrap();
    assert!(text.contains(CONTENT) && text.contains("alice"));
    // Each is looked for in tens of megabytes: some of the tokens will do.
    let mut secrets: Vec<String> = tokens.iter().step_by(tokens.len() / SOCKETS).cloned().collect();
    secrets.extend([MASTER_KEY, WEAK_KEY, WEBHOOK_SECRET, WEBHOOK_URL, &tenant.api_key].map(str::to_owned));
    for secret in secrets {
        let digest = Digest::of(secret.as_bytes()).0;
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        for spelling in [
            secret.clone(),
            hex.clone(),
            hex.to_uppercase(),
            STANDARD_NO_PAD.encode(digest),
            URL_SAFE_NO_PAD.encode(digest),
            serde_json::to_string(&digest).unwrap(),
        ] {
            assert!(!text.contains(&spelling), "{secret} as {spelling}");
        }
    }
}

#[test]
fn what_was_recorded_before_kill_9_replays() {
    let recording = Recording::new();
    let server = recording.start(&[]);
    let tenant = tenant(&server);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let (answered, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| load(&server, &tenant, &room, &answered, &is_over));
        support::eventually("enough is answered", || answered.load(Ordering::Relaxed) >= 1_000);
        server.signal("KILL");
        is_over.store(true, Ordering::Relaxed);
    });
    let summary = recording.replay();
    let is_said = summary.contains("its last line is cut") || summary.contains("without a last word");
    assert!(summary.starts_with("OK: ") && is_said, "{summary}");
}

#[test]
fn a_recording_ends_at_its_size_and_the_server_goes_on() {
    const MAX_BYTES: u64 = 256 * 1024;
    let recording = Recording::new();
    let server = recording.start(&["--record-max-size", "256KiB"]);
    let tenant = tenant(&server);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    for _ in 0..300 {
        assert_eq!(server.send(&tenant, "alice", &room, &"x".repeat(2_000)).status, 200);
    }
    let warning = "the recording has its full size and ends here; the server goes on";
    server.await_log(warning);
    assert_eq!(server.send(&tenant, "alice", &room, "and on").status, 200);
    let size_bytes = std::fs::metadata(&recording.path).unwrap().len();
    assert!((MAX_BYTES - 10_000..=MAX_BYTES).contains(&size_bytes), "{size_bytes}");
    let summary = recording.replay();
    assert!(summary.contains("it ends where the file had its full size"), "{summary}");
    let (code, log) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(!log.iter().any(|line| line["message"] == warning), "it was said once");
    assert_eq!(std::fs::metadata(&recording.path).unwrap().len(), size_bytes);
}

#[test]
fn a_recording_is_never_overwritten() {
    let data_dir = tempfile::tempdir().unwrap();
    let path = data_dir.path().join("run.jsonl");
    std::fs::write(&path, "precious").unwrap();
    let output = command(data_dir.path(), &[]).args(["--record", "run.jsonl"]).stdout(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--record run.jsonl cannot be created") && said.contains("never overwritten"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_recording_is_wanted_by_its_flag_alone() {
    let server = Server::start_with(&[("RECORD", "run.jsonl"), ("CHATAPI_RECORD", "run.jsonl")]);
    assert_eq!(server.request("GET", "/health", &[], "").status, 200);
    assert!(!server.data_dir().join("run.jsonl").exists());
}
