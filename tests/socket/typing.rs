//! Who types (protocol, section 7).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::World;

fn typing(room: &str, action: &str) -> Value {
    json!({"type": "typing", "room_id": room, "user_id": "alice", "action": action})
}

#[test]
fn a_typing_that_was_started_is_stopped_by_the_server_after_10_s() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    let before = Instant::now();
    alice.say("typing.start", json!({ "room_id": room }));
    assert_eq!(bob.next(), typing(&room, "start"));
    let after = Instant::now();
    assert_eq!(bob.next(), typing(&room, "stop"));
    assert!(before.elapsed() >= Duration::from_secs(10), "{:?}", before.elapsed());
    assert!(after.elapsed() < Duration::from_secs(13), "{:?}", after.elapsed());
}

#[test]
fn a_typing_that_was_started_is_stopped_when_its_connection_ends() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    let before = Instant::now();
    alice.say("typing.start", json!({ "room_id": room }));
    assert_eq!(bob.next(), typing(&room, "start"));
    drop(alice.abandon());
    assert_eq!(bob.next(), typing(&room, "stop"));
    assert!(before.elapsed() < Duration::from_secs(10), "it was stopped by its age");
}

#[test]
fn a_typing_that_was_stopped_is_not_stopped_again_when_its_connection_ends() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    for action in ["start", "stop"] {
        alice.say(&format!("typing.{action}"), json!({ "room_id": room }));
        assert_eq!(bob.next(), typing(&room, action));
    }
    alice.close();
    let offline = bob.next();
    assert_eq!((&offline["type"], &offline["status"]), (&json!("presence.update"), &json!("offline")));
}

#[test]
fn a_typing_that_is_started_again_lasts_10_s_from_then() {
    let world = World::new();
    let [room, other] = [(); 2].map(|()| world.group(&["alice", "bob"]));
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    alice.say("typing.start", json!({ "room_id": room }));
    alice.say("typing.start", json!({ "room_id": other }));
    alice.say("typing.start", json!({ "room_id": room }));
    let started: Vec<Value> = (0..3).map(|_| bob.next()).collect();
    assert_eq!(started, [typing(&room, "start"), typing(&other, "start"), typing(&room, "start")]);
    assert_eq!(bob.next(), typing(&other, "stop"), "the other was not started again");
    assert_eq!(bob.next(), typing(&room, "stop"));
    bob.hears_nothing();
}

#[test]
fn typing_is_told_to_every_connection_of_another_member() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob, mut second] = world.clients(["alice", "bob", "bob"]);
    alice.say("typing.start", json!({ "room_id": room }));
    assert_eq!(bob.next(), typing(&room, "start"));
    assert_eq!(second.next(), typing(&room, "start"));
}

#[test]
fn typing_is_stored_for_nobody() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice] = world.clients(["alice"]);
    alice.say("typing.start", json!({ "room_id": room }));
    alice.hears_nothing();
    let mut bob = world.client("bob");
    bob.hears_nothing();
}

#[test]
fn a_typing_ends_for_the_others_when_its_user_leaves_the_room() {
    let world = World::new();
    let room = world.group(&["bob", "alice"]);
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    alice.say("typing.start", json!({ "room_id": room }));
    assert_eq!(bob.next(), typing(&room, "start"));
    assert_eq!(world.rest("alice", "DELETE", &format!("/rooms/{room}/members/alice"), &Value::Null).status, 204);
    assert_eq!(bob.next(), typing(&room, "stop"));
    assert_eq!(bob.next()["type"], "member.left");
}
