//! A recorded run replays bit for bit, and its recording keeps every secret.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a test that failed")]

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chatapi_core::recording::{Divergence, ReplayError};
use chatapi_core::store::StoreFailure;
use chatapi_core::{ClosedBy, Config, Digest, Micros};
use chatapi_sim::entropy::MASTER_KEY;
use chatapi_sim::replay::{ReplayFailure, replay};
use chatapi_sim::world::{Fault, World};

const WEAK_KEY: &str = "letmein";
const WEBHOOK_SECRET: &str = "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0";
const WEBHOOK_URL: &str = "https://hooks.example/services/capability";
const CONTENT: &str = "what alice has to say";

/// A run in which a little of everything happens, and the secrets that were used in it.
fn session(key: &[u8; 32]) -> (Vec<u8>, Vec<String>) {
    let mut world = World::recorded(Config::default(), key);
    let config = format!(
        r#"{{"rate_limit":1000000,"webhook_url":"{WEBHOOK_URL}","webhook_secret":"{WEBHOOK_SECRET}","max_message_size":200000}}"#
    );
    let tenant = world.create_tenant(&config);
    let other = world.create_tenant(r#"{"webhook_url":"https://other.example/"}"#);
    for stranger in [WEAK_KEY, WEAK_KEY, "another"] {
        assert_eq!(world.rest("GET", "/rooms", &[("X-API-Key", stranger)], "").status, 401);
    }
    let room = world.create_room(&tenant, "alice", &["bob", "carol"]);
    let alice = world.connect(&tenant, "alice");
    let token = world.as_user(&tenant, "bob", "POST", "/ws/token", "").text("token");
    let bob = world.handshake(&format!("/ws?token={token}"), &[]).unwrap();
    world.run();
    assert!(world.handshake(&format!("/ws?token={token}"), &[]).is_err(), "a token works once");
    for number in 0..3 {
        let frame = serde_json::json!({"type": "send_message", "room_id": room, "content": CONTENT,
            "idempotency_key": format!("k{}", number / 2), "request_id": "r"});
        world.frame(alice, &frame.to_string());
    }
    world.stall(bob);
    for _ in 0..10 {
        world.send(&tenant, "alice", &room, &"x".repeat(200_000));
    }
    world.read_on(bob);
    world.frame(bob, &format!(r#"{{"type":"ack","room_id":"{room}","seq":2}}"#));
    world.frame(bob, "nonsense");
    for fault in [Fault::CommitButUnknown, Fault::LoseButUnknown, Fault::Refuse(StoreFailure::Busy)] {
        world.inject(fault);
        let target = format!("/rooms/{room}/messages");
        let sent = world.as_user(&tenant, "alice", "POST", &target, r#"{"content":"in doubt"}"#);
        assert_eq!(sent.status, 503);
    }
    world.hold_store();
    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
    world.rest_later("POST", &format!("/rooms/{room}/messages"), &headers, r#"{"content":"too late"}"#);
    world.step_wall_clock(-5_000);
    world.advance(Micros::from_secs(11));
    world.release_store();
    world.heard(bob);
    world.disconnect(alice, ClosedBy::Error);
    world.advance(Micros::from_secs(120));
    world.shut_down();
    assert!(world.is_stopped());
    let secrets = [MASTER_KEY, WEAK_KEY, WEBHOOK_SECRET, WEBHOOK_URL, &tenant.api_key, &other.api_key, &token];
    (world.recording().to_vec(), secrets.map(str::to_owned).to_vec())
}

/// A file that goes when the test ends.
struct Recording {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

fn file(recording: &[u8]) -> Recording {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    std::fs::write(&path, recording).unwrap();
    Recording { path, _dir: dir }
}

fn diverges(recording: &[u8]) -> Box<Divergence> {
    match replay(&file(recording).path) {
        Err(ReplayFailure::Recording(ReplayError::Diverged(divergence))) => divergence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recorded_session_replays_without_a_difference() {
    let (recording, _) = session(&[1; 32]);
    let steps = recording.iter().filter(|byte| **byte == b'\n').count() - 1;
    let summary = replay(&file(&recording).path).unwrap();
    assert!(summary.starts_with(&format!("OK: {steps} steps over 131.")), "{summary}");
    assert!(steps > 80, "{summary}");
}

#[test]
fn a_recording_holds_what_was_said_but_no_secret_and_no_digest_of_one() {
    let (recording, secrets) = session(&[1; 32]);
    let text = String::from_utf8(recording).unwrap();
    assert!(text.contains(CONTENT) && text.contains("alice"));
    for secret in secrets {
        let digest = Digest::of(secret.as_bytes()).0;
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        for spelling in [
            secret.clone(),
            hex[..16].to_owned(),
            hex[..16].to_uppercase(),
            STANDARD_NO_PAD.encode(&digest[..24]),
            URL_SAFE_NO_PAD.encode(&digest[..24]),
            serde_json::to_string(&digest[..8]).unwrap().trim_end_matches(']').to_owned(),
        ] {
            assert!(!text.contains(&spelling), "{secret} as {spelling}");
        }
    }
}

#[test]
fn two_recordings_of_the_same_run_have_no_stand_in_in_common() {
    let stand_ins = |key| {
        let (recording, _) = session(&[key; 32]);
        let text = String::from_utf8(recording).unwrap();
        let found = text.split(r#""api_key":""#).skip(1).map(|rest| rest[..64].to_owned());
        found.collect::<std::collections::BTreeSet<String>>()
    };
    let (one, other) = (stand_ins(1), stand_ins(2));
    assert!(one.len() >= 4 && one.is_disjoint(&other), "{one:?} {other:?}");
}

#[test]
fn a_changed_input_is_reported_at_its_line_with_what_came_out_instead() {
    let (recording, _) = session(&[1; 32]);
    let text = String::from_utf8(recording).unwrap();
    let line = text.lines().position(|line| line.contains(CONTENT)).unwrap() + 1;
    let divergence = diverges(text.replacen(CONTENT, "what mallory made of it", 1).as_bytes());
    assert_eq!(divergence.line, line as u64);
    let told = divergence.to_string();
    assert!(told.contains(r#"input:    {"Frame":"#) && told.contains(r#"1. {"Store":"#), "{told}");
    assert!(told.matches("what mallory made of it").count() == 2, "in the input and in the effect: {told}");
}

#[test]
fn a_last_line_that_was_not_written_to_its_end_is_left_out_and_said() {
    let (recording, _) = session(&[1; 32]);
    for cut in [1, 2, 100] {
        let summary = replay(&file(&recording[..recording.len() - cut]).path).unwrap();
        assert!(summary.contains("its last line is cut"), "{summary}");
    }
    let no_line = replay(&file(&recording[..100]).path).unwrap_err();
    assert!(matches!(no_line, ReplayFailure::Recording(ReplayError::Empty)), "{no_line}");
}

#[test]
fn a_step_that_breaks_the_core_is_told_and_is_no_difference_if_it_did_so_when_it_was_recorded() {
    let (recording, _) = session(&[1; 32]);
    let mut text = String::from_utf8(recording).unwrap();
    // The driver names a connection that is there already, which it must never do.
    let line = text.lines().find(|line| line.contains(r#""Handshake""#)).unwrap().to_owned();
    let (before, _) = line.rsplit_once(r#","effects":"#).unwrap();
    let at = text.find(&line).unwrap() + line.len() + 1;
    text.insert_str(at, &format!("{before},\"effects\":null}}}}\n"));
    text.truncate(text[at..].find('\n').unwrap() + at + 1);
    let summary = replay(&file(text.as_bytes()).path).unwrap();
    assert!(summary.contains("breaks the core, as it did when it was recorded: the driver named two"), "{summary}");
    let otherwise = text.replace(r#""effects":null"#, r#""effects":"e3b0c44298fc1c149afbf4c8996fb924""#);
    let failure = replay(&file(otherwise.as_bytes()).path).unwrap_err();
    assert!(matches!(failure, ReplayFailure::Broken { .. }), "{failure}");
}
