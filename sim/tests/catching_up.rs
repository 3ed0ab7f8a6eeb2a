//! How a connection gets what was not pushed to it, in order, without a gap and without a repeat.

use chatapi_core::store::StoreRequest;
use chatapi_core::{CloseReason, ClosedBy, Config, ConnId};
use chatapi_sim::world::{TenantHandle, World};
use serde_json::Value;

const UNLIMITED: &str = r#"{"rate_limit":1000000}"#;

fn world() -> (World, TenantHandle, String) {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(UNLIMITED);
    let room = world.create_room(&tenant, "alice", &["bob"]);
    (world, tenant, room)
}

fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame["type"].as_str()).collect()
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

fn ack(world: &mut World, tenant: &TenantHandle, user: &str, room: &str, seq: u64) {
    let body = format!(r#"{{"room_id":"{room}","seq":{seq}}}"#);
    let acked = world.as_user(tenant, user, "POST", "/acks", &body);
    assert_eq!(acked.status, 200, "{acked:?}");
}

#[test]
fn missed_messages_come_on_connect_between_connected_and_sync_complete() {
    let (mut world, tenant, room) = world();
    for number in 1..=3 {
        world.send(&tenant, "alice", &room, &format!("message {number}"));
    }
    ack(&mut world, &tenant, "bob", &room, 1);
    let bob = world.connect(&tenant, "bob");
    let frames = world.frames(bob);
    assert_eq!(types(&frames), ["connected", "message", "message", "sync.complete"]);
    assert_eq!((&frames[1]["seq"], &frames[2]["seq"]), (&2.into(), &3.into()));
    assert_eq!(frames[2]["content"], "message 3");
    assert_eq!(frames[3]["rooms"], 1);
    assert_eq!(frames[3]["messages"], 2);
    assert_eq!(frames[3]["truncated"], serde_json::json!({}));
}

#[test]
fn a_backlog_of_any_length_around_that_of_a_page_comes_whole() {
    for missed in [1, 99, 100, 101, 200, 201] {
        let (mut world, tenant, room) = world();
        for _ in 0..missed {
            world.send(&tenant, "alice", &room, "x");
        }
        let bob = world.connect(&tenant, "bob");
        assert_eq!(world.seqs(bob), numbers(1..=missed));
        world.send(&tenant, "alice", &room, "live");
        assert_eq!(world.seqs(bob), [missed + 1]);
    }
}

#[test]
fn a_user_who_missed_nothing_is_told_so_at_once() {
    let (mut world, tenant, _room) = world();
    let bob = world.connect(&tenant, "bob");
    let frames = world.frames(bob);
    assert_eq!(types(&frames), ["connected", "sync.complete"]);
    assert_eq!((&frames[1]["rooms"], &frames[1]["messages"]), (&0.into(), &0.into()));
}

#[test]
fn of_a_long_backlog_only_the_newest_thousand_come_and_the_first_of_them_is_told() {
    let (mut world, tenant, room) = world();
    for _ in 0..1_234 {
        world.send(&tenant, "alice", &room, "x");
    }
    let bob = world.connect(&tenant, "bob");
    let frames = world.frames(bob);
    let seqs: Vec<u64> = frames.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
    assert_eq!(seqs, numbers(235..=1_234));
    let last = frames.last().unwrap();
    assert_eq!(last["messages"], 1_000);
    assert_eq!(last["truncated"], serde_json::json!({ room: 235 }));
}

#[test]
fn without_sync_there_is_no_backlog_and_live_messages_come_all_the_same() {
    let (mut world, tenant, room) = world();
    world.send(&tenant, "alice", &room, "missed");
    let bob = world.connect_to(&tenant, "bob", "/ws?sync=false");
    world.run();
    assert_eq!(types(&world.frames(bob)), ["connected"]);
    world.send(&tenant, "alice", &room, "live");
    assert_eq!(world.seqs(bob), [2]);
}

#[test]
fn messages_stored_while_the_backlog_is_read_come_after_it_and_once() {
    let (mut world, tenant, room) = world();
    for _ in 0..250 {
        world.send(&tenant, "alice", &room, "missed");
    }
    world.hold_store();
    let bob = world.connect_to(&tenant, "bob", "/ws");
    let waiting: Vec<_> = (0..5).map(|_| send_later(&mut world, &tenant, &room)).collect();
    world.release_store();
    assert!(waiting.into_iter().all(|request| world.answer(request).is_some_and(|answer| answer.status == 200)));
    assert_eq!(world.seqs(bob), numbers(1..=255));
}

fn send_later(world: &mut World, tenant: &TenantHandle, room: &str) -> chatapi_core::RequestId {
    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
    world.rest_later("POST", &format!("/rooms/{room}/messages"), &headers, r#"{"content":"later"}"#)
}

#[test]
fn a_page_that_runs_ahead_of_the_pushes_shows_nothing_twice() {
    let (mut world, tenant, room) = world();
    world.send(&tenant, "alice", &room, "missed");
    world.hold_store();
    let bob = world.connect_to(&tenant, "bob", "/ws");
    // Bob's rooms are known, and the first page is asked for.
    let replies = world.commit_unreported();
    world.report(replies);
    // A message is stored, but the core does not know yet when the page shows it.
    send_later(&mut world, &tenant, &room);
    let replies = world.commit_unreported();
    world.carry_out_one_read();
    assert_eq!(world.seqs(bob), [1]);
    world.report(replies);
    world.release_store();
    assert_eq!(world.seqs(bob), [2]);
}

#[test]
fn a_slow_reader_gets_every_message_in_order_when_it_reads_on() {
    let (mut world, tenant, room) = world();
    let bob = world.connect(&tenant, "bob");
    world.frames(bob);
    world.stall(bob);
    for _ in 0..3_000 {
        world.send(&tenant, "alice", &room, "x");
    }
    let (size_bytes, frames) = world.untaken(bob);
    assert!(size_bytes <= 1024 * 1024 && frames <= 1_024, "{size_bytes} bytes in {frames} frames wait");
    world.read_on(bob);
    assert_eq!(world.seqs(bob), numbers(1..=3_000));
    world.send(&tenant, "alice", &room, "live again");
    assert_eq!(world.seqs(bob), [3_001]);
}

#[test]
fn what_waits_for_a_slow_reader_is_bounded_in_bytes_too() {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(r#"{"rate_limit":1000000,"max_message_size":262144}"#);
    let room = world.create_room(&tenant, "alice", &["bob"]);
    let bob = world.connect(&tenant, "bob");
    world.stall(bob);
    let content = "x".repeat(100_000);
    for _ in 0..40 {
        world.send(&tenant, "alice", &room, &content);
    }
    assert!(world.untaken(bob).0 <= 1024 * 1024, "{:?}", world.untaken(bob));
    world.read_on(bob);
    assert_eq!(world.seqs(bob), numbers(1..=40));
}

#[test]
fn a_slow_reader_delays_nobody() {
    let (mut world, tenant, room) = world();
    let slow = world.connect(&tenant, "bob");
    let quick = world.connect(&tenant, "bob");
    world.frames(quick);
    world.stall(slow);
    for _ in 0..1_500 {
        world.send(&tenant, "alice", &room, "x");
    }
    assert_eq!(world.seqs(quick), numbers(1..=1_500));
}

#[test]
fn the_sender_s_request_id_comes_with_its_message_also_when_it_catches_up() {
    let (mut world, tenant, room) = world();
    let alice = world.connect(&tenant, "alice");
    world.frames(alice);
    world.stall(alice);
    for _ in 0..1_100 {
        world.send(&tenant, "bob", &room, "x");
    }
    let frame = format!(r#"{{"type":"send_message","room_id":"{room}","content":"mine","request_id":"r1"}}"#);
    world.frame(alice, &frame);
    world.read_on(alice);
    let frames = world.frames(alice);
    let mine: Vec<&Value> = frames.iter().filter(|frame| frame["request_id"] == "r1").collect();
    assert_eq!(mine.len(), 1);
    assert_eq!((&mine[0]["seq"], &mine[0]["content"]), (&1_101.into(), &"mine".into()));
    let seqs: Vec<u64> = frames.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
    assert_eq!(seqs, numbers(1..=1_101));
}

#[test]
fn acks_of_others_that_do_not_fit_are_kept_to_the_latest() {
    let (mut world, tenant, room) = world();
    let alice = world.connect(&tenant, "alice");
    world.frames(alice);
    world.stall(alice);
    for _ in 0..1_100 {
        world.send(&tenant, "alice", &room, "x");
    }
    for seq in [3, 7, 11] {
        ack(&mut world, &tenant, "bob", &room, seq);
    }
    world.read_on(alice);
    let frames = world.frames(alice);
    let acks: Vec<&Value> = frames.iter().filter(|frame| frame["type"] == "ack.received").collect();
    assert_eq!(acks.len(), 1);
    assert_eq!((&acks[0]["seq"], &acks[0]["user_id"]), (&11.into(), &"bob".into()));
}

#[test]
fn an_answer_that_does_not_fit_closes_the_connection_and_the_next_catches_up() {
    let (mut world, tenant, room) = world();
    let alice = world.connect(&tenant, "alice");
    world.stall(alice);
    for _ in 0..1_100 {
        world.send(&tenant, "bob", &room, "x");
    }
    world.frame(alice, r#"{"type":"ping"}"#);
    assert_eq!(world.closed(alice), Some(CloseReason::SlowReader));
    let next = world.connect(&tenant, "alice");
    assert_eq!(world.seqs(next).last(), Some(&1_100));
}

#[test]
fn a_room_that_is_created_while_its_members_are_online_is_live_for_them() {
    let (mut world, tenant, _room) = world();
    let bob = world.connect(&tenant, "bob");
    world.frames(bob);
    let room = world.create_room(&tenant, "alice", &["bob"]);
    world.send(&tenant, "alice", &room, "hello");
    assert_eq!(world.seqs(bob), [1]);
}

#[test]
fn a_room_created_around_a_connect_reaches_the_connection_once() {
    for create_first in [true, false] {
        let (mut world, tenant, _room) = world();
        world.hold_store();
        let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
        let create =
            |world: &mut World| world.rest_later("POST", "/rooms", &headers, r#"{"type":"group","members":["bob"]}"#);
        let (bob, created): (ConnId, _) = if create_first {
            let created = create(&mut world);
            (world.connect_to(&tenant, "bob", "/ws"), created)
        } else {
            let bob = world.connect_to(&tenant, "bob", "/ws");
            (bob, create(&mut world))
        };
        world.release_store();
        let room = world.answer(created).unwrap().text("room_id");
        world.send(&tenant, "alice", &room, "hello");
        assert_eq!(world.seqs(bob), [1], "created first: {create_first}");
    }
}

#[test]
fn answers_of_the_store_for_a_connection_that_is_gone_change_nothing() {
    let (mut world, tenant, room) = world();
    for _ in 0..150 {
        world.send(&tenant, "alice", &room, "x");
    }
    world.hold_store();
    let bob = world.connect_to(&tenant, "bob", "/ws");
    let replies = world.commit_unreported();
    world.report(replies);
    assert!(world.waiting().iter().any(|request| matches!(request, StoreRequest::ReadFrames { .. })));
    world.frames(bob);
    world.disconnect(bob, ClosedBy::Error);
    world.release_store();
    assert!(world.frames(bob).is_empty());
    assert!(world.waiting().is_empty());
    let again = world.connect(&tenant, "bob");
    assert_eq!(world.seqs(again), numbers(1..=150));
}

#[test]
fn every_connection_of_a_member_hears_a_message_and_nobody_else_does() {
    let (mut world, tenant, room) = world();
    let other = world.create_tenant(UNLIMITED);
    let conns = [("alice", 0), ("bob", 0), ("bob", 1)].map(|(user, _)| world.connect(&tenant, user));
    let strangers = [world.connect(&tenant, "carol"), world.connect(&other, "bob")];
    world.send(&tenant, "alice", &room, "hello");
    for conn in conns {
        assert_eq!(world.seqs(conn), [1]);
    }
    for stranger in strangers {
        assert_eq!(types(&world.frames(stranger)), ["connected", "sync.complete"]);
    }
}

#[test]
fn a_user_in_many_rooms_gets_the_backlog_of_each() {
    let (mut world, tenant, _room) = world();
    let rooms: Vec<String> = (0..30).map(|_| world.create_room(&tenant, "alice", &["bob"])).collect();
    for room in &rooms {
        for _ in 0..5 {
            world.send(&tenant, "alice", room, "x");
        }
    }
    let bob = world.connect(&tenant, "bob");
    let frames = world.frames(bob);
    for room in &rooms {
        let of_room = frames.iter().filter(|frame| frame["type"] == "message" && frame["room_id"] == room.as_str());
        let seqs: Vec<u64> = of_room.filter_map(|frame| frame["seq"].as_u64()).collect();
        assert_eq!(seqs, numbers(1..=5));
    }
    let last = frames.last().unwrap();
    assert_eq!((&last["type"], &last["rooms"], &last["messages"]), (&"sync.complete".into(), &30.into(), &150.into()));
}
