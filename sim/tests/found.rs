//! Bugs that the simulation or a reader found, each as a script that says what went wrong.

use chatapi_core::store::{StoreFailure, StoreRequest};
use chatapi_core::{ClosedBy, Config, Micros};
use chatapi_sim::entropy::MASTER_KEY;
use chatapi_sim::world::{Fault, TenantHandle, World};
use serde_json::Value;

const UNLIMITED: &str = r#"{"rate_limit":1000000}"#;
/// What takes six times as much room in JSON as in a sender's head.
const ESCAPED: &str = "\u{1}";

fn world() -> (World, TenantHandle, String) {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(UNLIMITED);
    let room = world.create_room(&tenant, "alice", &["bob"]);
    (world, tenant, room)
}

fn acks(frames: &[Value]) -> Vec<u64> {
    let acks = frames.iter().filter(|frame| frame["type"] == "ack.received");
    acks.filter_map(|frame| frame["seq"].as_u64()).collect()
}

fn ack(world: &mut World, tenant: &TenantHandle, user: &str, room: &str, seq: u64) {
    let acked = world.as_user(tenant, user, "POST", "/acks", &format!(r#"{{"room_id":"{room}","seq":{seq}}}"#));
    assert_eq!(acked.status, 200, "{acked:?}");
}

#[test]
fn a_health_check_under_way_is_answered_when_a_shutdown_runs_into_its_deadline() {
    let config = Config { shutdown_drain_timeout: Micros::from_millis(200), ..Config::default() };
    let mut world = World::new(config);
    world.hold_store();
    let asked = world.rest_later("GET", "/health", &[], "");
    world.shut_down();
    world.advance(Micros::from_millis(200));
    assert!(world.is_stopped());
    assert_eq!(world.answer(asked).map(|answer| answer.status), Some(503));
}

#[test]
fn a_backlog_of_texts_that_json_makes_long_comes_whole_and_within_the_bounds_of_a_queue() {
    let (mut world, tenant, room) = world();
    for _ in 0..64 {
        world.send(&tenant, "alice", &room, &ESCAPED.repeat(4_096));
    }
    let bob = world.connect_to(&tenant, "bob", "/ws");
    world.stall(bob);
    world.run();
    let (size_bytes, _) = world.untaken(bob);
    assert!(size_bytes <= 1024 * 1024, "{size_bytes} bytes wait");
    assert_eq!(world.closed(bob), None);
    world.read_on(bob);
    let frames = world.frames(bob);
    let seqs: Vec<u64> = frames.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=64).collect::<Vec<_>>());
    assert_eq!(frames.last().map(|frame| &frame["type"]), Some(&"sync.complete".into()));
}

#[test]
fn the_end_of_a_backlog_waits_for_room_in_the_queue() {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(r#"{"rate_limit":1000000,"max_message_size":262144}"#);
    let room = world.create_room(&tenant, "alice", &["bob"]);
    // One frame of more than a queue holds: it fits alone, and nothing beside it.
    world.send(&tenant, "alice", &room, &ESCAPED.repeat(200_000));
    let bob = world.connect_to(&tenant, "bob", "/ws");
    world.stall(bob);
    world.run();
    assert_eq!(world.closed(bob), None);
    assert!(world.frames(bob).iter().all(|frame| frame["type"] != "sync.complete"));
    world.read_on(bob);
    assert_eq!(world.frames(bob).last().map(|frame| &frame["type"]), Some(&"sync.complete".into()));
}

#[test]
fn a_page_never_takes_a_queue_past_its_bound_however_full_it_became_meanwhile() {
    let (mut world, tenant, busy) = world();
    let room = world.create_room(&tenant, "alice", &["bob"]);
    for _ in 0..150 {
        world.send(&tenant, "alice", &room, "missed");
    }
    let bob = world.connect_to(&tenant, "bob", "/ws");
    world.stall(bob);
    // The page of the backlog is asked for, and answered only after the queue has filled with what is pushed.
    world.hold_store();
    let replies = world.commit_unreported();
    world.report(replies);
    for _ in 0..1_020 {
        let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
        world.rest_later("POST", &format!("/rooms/{busy}/messages"), &headers, r#"{"content":"live"}"#);
        let replies = world.commit_unreported();
        world.report(replies);
    }
    world.release_store();
    assert!(world.untaken(bob).1 <= 1_024, "{:?}", world.untaken(bob));
    world.read_on(bob);
    let frames = world.frames(bob);
    for (room, count) in [(&room, 150), (&busy, 1_020)] {
        let of_room = frames.iter().filter(|frame| frame["room_id"] == room.as_str());
        let seqs: Vec<u64> = of_room.filter_map(|frame| frame["seq"].as_u64()).collect();
        assert_eq!(seqs, (1..=count).collect::<Vec<_>>());
    }
}

#[test]
fn an_ack_never_overtakes_an_earlier_one_of_the_same_user_that_waits_for_room() {
    let (mut world, tenant, room) = world();
    let alice = world.connect(&tenant, "alice");
    world.frames(alice);
    world.stall(alice);
    for _ in 0..1_024 {
        world.send(&tenant, "alice", &room, "x");
    }
    ack(&mut world, &tenant, "bob", &room, 5);
    // There is room for a frame again, and not so much that what was kept goes out.
    world.take(alice, 100);
    ack(&mut world, &tenant, "bob", &room, 9);
    world.read_on(alice);
    assert_eq!(acks(&world.frames(alice)), [9]);
}

#[test]
fn an_ack_of_one_s_own_is_not_followed_by_an_earlier_one_from_another_device() {
    let (mut world, tenant, room) = world();
    let alice = world.connect(&tenant, "alice");
    world.frames(alice);
    world.stall(alice);
    for _ in 0..1_024 {
        world.send(&tenant, "bob", &room, "x");
    }
    ack(&mut world, &tenant, "alice", &room, 5);
    world.take(alice, 100);
    world.frame(alice, &format!(r#"{{"type":"ack","room_id":"{room}","seq":9}}"#));
    world.read_on(alice);
    assert_eq!(acks(&world.frames(alice)), [9]);
}

#[test]
fn a_dm_whose_creation_was_in_doubt_reaches_its_members_once_it_turns_out_to_be_there() {
    for learns_by_asking_again in [true, false] {
        let (mut world, tenant, _room) = world();
        let [alice, bob] = ["alice", "bob"].map(|user| world.connect(&tenant, user));
        world.frames(alice);
        world.inject(Fault::CommitButUnknown);
        world.inject(Fault::Refuse(StoreFailure::Busy));
        let dm = r#"{"type":"dm","members":["alice","bob"]}"#;
        assert_eq!(world.as_user(&tenant, "alice", "POST", "/rooms", dm).status, 503);
        let room = if learns_by_asking_again {
            let again = world.as_user(&tenant, "alice", "POST", "/rooms", dm);
            assert_eq!(again.status, 200);
            again.text("room_id")
        } else {
            let listed = world.as_user(&tenant, "alice", "GET", "/rooms", "");
            listed.body["rooms"][0]["room_id"].as_str().unwrap_or_default().to_owned()
        };
        for number in 0..2 {
            let frame =
                format!(r#"{{"type":"send_message","room_id":"{room}","content":"x","request_id":"r{number}"}}"#);
            world.frame(alice, &frame);
        }
        assert_eq!(world.seqs(bob), [1, 2], "asked again: {learns_by_asking_again}");
        world.advance(Micros::from_secs(5));
        let frames = world.frames(alice);
        let sent: Vec<(u64, &str)> = frames
            .iter()
            .filter(|frame| frame["type"] == "message")
            .map(|frame| (frame["seq"].as_u64().unwrap_or(0), frame["request_id"].as_str().unwrap_or("")))
            .collect();
        assert_eq!(sent, [(1, "r0"), (2, "r1")], "asked again: {learns_by_asking_again}");
        assert!(world.seqs(bob).is_empty());
    }
}

#[test]
fn one_reading_serves_everything_of_a_room_that_is_in_doubt() {
    let (mut world, tenant, room) = world();
    world.hold_store();
    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
    for _ in 0..20 {
        world.rest_later("POST", &format!("/rooms/{room}/messages"), &headers, r#"{"content":"x"}"#);
        world.inject(Fault::CommitButUnknown);
    }
    let replies = world.commit_unreported();
    world.report(replies.into_iter().map(|(op, _)| (op, Err(StoreFailure::OutcomeUnknown))).collect());
    let readings = world.waiting().into_iter().filter(|request| matches!(request, StoreRequest::ReadHead { .. }));
    assert_eq!(readings.count(), 1);
}

#[test]
fn a_process_that_slept_through_its_pings_closes_nobody_who_is_there() {
    let (mut world, tenant, _room) = world();
    let bob = world.connect(&tenant, "bob");
    world.oversleep(Micros::from_secs(90));
    assert_eq!((world.closed(bob), world.pings(bob)), (None, 1));
    // Whoever does not answer then is gone.
    world.oversleep(Micros::from_secs(10));
    assert!(world.closed(bob).is_some());
}

#[test]
fn a_connection_that_takes_nothing_keeps_no_more_request_ids_than_may_wait() {
    let (mut world, tenant, room) = world();
    let alice = world.connect(&tenant, "alice");
    world.stall(alice);
    for number in 0..3_000 {
        if world.closed(alice).is_some() {
            break;
        }
        let frame = format!(r#"{{"type":"send_message","room_id":"{room}","content":"x","request_id":"r{number}"}}"#);
        world.frame(alice, &frame);
    }
    assert!(world.closed(alice).is_some(), "1,024 wait in the queue, as many are kept, the next closes");
}

#[test]
fn a_valid_key_is_charged_also_without_a_user() {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(r#"{"rate_limit":3}"#);
    let key = tenant.api_key.clone();
    for _ in 0..5 {
        assert_eq!(world.rest("POST", "/acks", &[("X-API-Key", &key)], "{}").status, 401);
    }
    assert_eq!(world.as_user(&tenant, "alice", "GET", "/rooms", "").status, 429);
}

#[test]
fn a_token_request_is_paid_for_from_the_bucket_of_connects_whatever_its_body_holds() {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(r#"{"rate_limit":3}"#);
    let large = "x".repeat(3 * 1024 * 1024);
    for body in ["", "[", &large] {
        let asked = world.as_user(&tenant, "alice", "POST", "/ws/token", body);
        assert_eq!(asked.headers.get("RateLimit-Limit").map(String::as_str), Some("30"), "{}", asked.status);
    }
}

#[test]
fn an_ack_or_ping_that_is_not_well_formed_takes_nothing_from_its_tenant() {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(r#"{"rate_limit":1}"#);
    let alice = world.connect(&tenant, "alice");
    world.frames(alice);
    for frame in [r#"{"type":"ack","room_id":"r","seq":-1}"#, r#"{"type":"ping","request_id":5}"#] {
        world.frame(alice, frame);
    }
    let codes = world.frames(alice);
    assert!(codes.iter().all(|frame| frame["code"] == "VALIDATION_ERROR"), "{codes:?}");
    assert_eq!(world.as_user(&tenant, "alice", "GET", "/rooms", "").status, 200);
}

#[test]
fn an_unhealthy_answer_says_when_to_ask_again() {
    let mut world = World::new(Config::default());
    world.inject(Fault::Refuse(StoreFailure::Full));
    let asked = world.rest("GET", "/health", &[("X-Master-Key", MASTER_KEY)], "");
    assert_eq!((asked.status, asked.headers.contains_key("Retry-After")), (503, true));
}

#[test]
fn a_connection_that_waited_for_a_reader_and_went_is_passed_over() {
    let (mut world, tenant, room) = world();
    for _ in 0..150 {
        world.send(&tenant, "alice", &room, "x");
    }
    world.hold_store();
    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
    for _ in 0..500 {
        world.rest_later("GET", &format!("/rooms/{room}"), &headers, "");
    }
    let bob = world.connect_to(&tenant, "bob", "/ws");
    let replies = world.commit_unreported();
    world.report(replies);
    world.disconnect(bob, ClosedBy::Error);
    let again = world.connect_to(&tenant, "bob", "/ws");
    world.release_store();
    assert_eq!(world.seqs(again).len(), 150);
}

#[test]
fn a_failed_write_into_another_tenant_s_room_tells_its_members_nothing() {
    for target in ["messages", "deletion", "join"] {
        let (mut world, tenant, room) = world();
        let alice = world.connect(&tenant, "alice");
        world.run();
        world.frames(alice);
        let stranger = world.create_tenant(UNLIMITED);
        world.inject(Fault::LoseButUnknown);
        let (method, path, body) = match target {
            "messages" => ("POST", format!("/rooms/{room}/messages"), r#"{"content":"x"}"#),
            "deletion" => ("DELETE", format!("/rooms/{room}"), ""),
            _ => ("POST", format!("/rooms/{room}/members"), r#"{"user_id":"mallory"}"#),
        };
        let refused = world.as_user(&stranger, "mallory", method, &path, body);
        assert_eq!(refused.status, 503, "{target}: {refused:?}");
        world.run();
        assert_eq!(world.frames(alice), [] as [Value; 0], "{target}");
        world.send(&tenant, "bob", &room, "hello");
        assert_eq!(world.seqs(alice), [1], "{target}");
    }
}

#[test]
fn a_subscribe_that_came_before_the_backlog_was_read_is_served_after_it_and_not_lost() {
    let (mut world, tenant, room) = world();
    world.send(&tenant, "alice", &room, "missed");
    world.hold_store();
    let bob = world.connect_to(&tenant, "bob", "/ws");
    let frame = format!(r#"{{"type":"subscribe","room_id":"{room}","after_seq":0,"request_id":"s1"}}"#);
    world.frame_later(bob, &frame);
    world.release_store();
    let frames = world.frames(bob);
    let types: Vec<&str> = frames.iter().filter_map(|frame| frame["type"].as_str()).collect();
    assert_eq!(types, ["connected", "message", "sync.complete", "message", "sync.complete"]);
    assert_eq!((&frames[2]["request_id"], &frames[4]["request_id"]), (&Value::Null, &"s1".into()));
}

#[test]
fn a_notification_that_is_expanded_while_a_later_one_was_read_comes_too() {
    let (mut world, tenant, _room) = world();
    let notify = |world: &mut World, users: Vec<String>, payload: u64| {
        let body = serde_json::json!({"topic": "t", "payload": payload, "targets": {"user_ids": users}}).to_string();
        world.rest_later("POST", "/notify", &[("X-API-Key", &tenant.api_key)], &body);
    };
    let write = |world: &mut World| {
        let replies = world.commit_unreported();
        world.report(replies);
    };
    let just_bob = || vec!["bob".to_owned()];
    notify(&mut world, just_bob(), 1);
    world.run();
    world.hold_store();
    let bob = world.connect_to(&tenant, "bob", "/ws");
    write(&mut world);
    // Two steps lie before bob in the expansion of the one, none in that of the other.
    let crowd = (0..200).map(|number| format!("a{number:03}")).chain(just_bob()).collect();
    notify(&mut world, crowd, 2);
    notify(&mut world, just_bob(), 3);
    write(&mut world);
    write(&mut world);
    // The page of pending ones shows the third, and the second is not expanded to bob.
    world.carry_out_one_read();
    world.release_store();
    let frames = world.frames(bob);
    let told = frames.iter().filter(|frame| frame["type"] == "notification");
    let mut payloads: Vec<&str> = told.filter_map(|frame| frame["payload"].as_str()).collect();
    payloads.sort_unstable();
    assert_eq!(payloads, ["1", "2", "3"]);
}

#[test]
fn a_rotated_key_filled_the_bucket_of_a_tenant_that_nobody_was_connected_to() {
    let mut world = World::new(Config::default());
    let mut tenant = world.create_tenant(r#"{"rate_limit":2}"#);
    for expected in [200, 200, 429] {
        assert_eq!(world.as_user(&tenant, "alice", "GET", "/rooms", "").status, expected);
    }
    let target = format!("/admin/tenants/{}/rotate-key", tenant.tenant_id);
    tenant.api_key = world.rest("POST", &target, &[("X-Master-Key", MASTER_KEY)], "{}").text("api_key");
    assert_eq!(world.as_user(&tenant, "alice", "GET", "/rooms", "").status, 429);
    world.advance(Micros::from_millis(500));
    assert_eq!(world.as_user(&tenant, "alice", "GET", "/rooms", "").status, 200);
}

#[test]
fn the_last_socket_that_closed_filled_the_bucket_of_a_tenant_whose_key_was_rotated() {
    let mut world = World::new(Config::default());
    let mut tenant = world.create_tenant(r#"{"rate_limit":1}"#);
    let alice = world.connect(&tenant, "alice");
    assert_eq!(world.as_user(&tenant, "alice", "GET", "/rooms", "").status, 200);
    let target = format!("/admin/tenants/{}/rotate-key", tenant.tenant_id);
    tenant.api_key = world.rest("POST", &target, &[("X-Master-Key", MASTER_KEY)], "{}").text("api_key");
    world.disconnect(alice, ClosedBy::Client);
    assert_eq!(world.as_user(&tenant, "alice", "GET", "/rooms", "").status, 429);
}

#[test]
fn a_sender_who_was_put_out_of_a_room_before_the_own_message_was_shown_was_never_answered() {
    for ending in ["member.left", "room.deleted"] {
        let (mut world, tenant, room) = world();
        world.hold_store();
        let alice = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
        // One message is stored before the rooms of the connect are read: the next one waits for its page.
        world.rest_later("POST", &format!("/rooms/{room}/messages"), &alice, r#"{"content":"x"}"#);
        let bob = world.connect_to(&tenant, "bob", "/ws");
        let frame = format!(r#"{{"type":"send_message","room_id":"{room}","content":"y","request_id":"r"}}"#);
        world.frame_later(bob, &frame);
        let target = match ending {
            "member.left" => format!("/rooms/{room}/members/bob"),
            _ => format!("/rooms/{room}"),
        };
        world.rest_later("DELETE", &target, &alice, "");
        let replies = world.commit_unreported();
        world.report(replies);
        world.release_store();
        let frames = world.frames(bob);
        let answers = frames.iter().filter(|frame| frame["request_id"] == "r");
        let answers: Vec<&Value> = answers.collect();
        assert_eq!(answers.len(), 1, "{frames:?}");
        assert_eq!(answers[0]["code"], "UNAVAILABLE", "{frames:?}");
        let at = |kind: &str| frames.iter().position(|frame| frame["type"] == kind);
        assert!(at("error") < at(ending) && at(ending).is_some(), "{frames:?}");
    }
}

#[test]
fn a_sender_whose_page_shows_that_the_room_is_gone_was_never_answered() {
    let (mut world, tenant, room) = world();
    world.hold_store();
    let alice = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
    world.rest_later("POST", &format!("/rooms/{room}/messages"), &alice, r#"{"content":"x"}"#);
    let bob = world.connect_to(&tenant, "bob", "/ws");
    let frame = format!(r#"{{"type":"send_message","room_id":"{room}","content":"y","request_id":"r"}}"#);
    world.frame_later(bob, &frame);
    let replies = world.commit_unreported();
    world.report(replies);
    world.rest_later("DELETE", &format!("/rooms/{room}"), &alice, "");
    let replies = world.commit_unreported();
    // A reader is quicker than the report.
    world.carry_out_one_read();
    world.report(replies);
    world.release_store();
    let frames = world.frames(bob);
    assert_eq!(frames.iter().filter(|frame| frame["request_id"] == "r").count(), 1, "{frames:?}");
}
