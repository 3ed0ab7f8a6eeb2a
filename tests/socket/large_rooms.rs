//! Rooms of more than `LARGE_ROOM_MEMBERS` members, which are spared what everyone would tell everyone (protocol, section
//! 7).

use serde_json::{Value, json};

use crate::client::{UNLIMITED, World, kinds};

/// A world in which a room of three is a large one, and such a room.
fn world() -> (World, String) {
    let world = World::with(&[("LARGE_ROOM_MEMBERS", "2")], UNLIMITED);
    let room = world.group(&["alice", "bob", "carol"]);
    (world, room)
}

#[test]
fn no_typing_is_told_in_a_large_room() {
    let (world, room) = world();
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    for action in ["start", "stop"] {
        alice.say(&format!("typing.{action}"), json!({ "room_id": room }));
    }
    alice.hears_nothing();
    bob.hears_nothing();
}

#[test]
fn no_presence_is_told_on_account_of_a_large_room() {
    let (world, _room) = world();
    let [mut alice] = world.clients(["alice"]);
    let _bob = world.client("bob");
    alice.hears_nothing();
}

#[test]
fn a_small_room_shared_beside_a_large_one_tells_presence() {
    let (world, _room) = world();
    world.group(&["alice", "bob"]);
    let [mut alice, mut carol] = world.clients(["alice", "carol"]);
    let _bob = world.client("bob");
    assert_eq!(kinds(&alice.hears()), ["presence.update"]);
    carol.hears_nothing();
}

#[test]
fn an_ack_in_a_large_room_is_told_to_the_acking_user_alone() {
    let (world, room) = world();
    world.send("alice", &room, "x");
    let [mut alice, mut bob, mut second] = world.clients(["alice", "bob", "bob"]);
    let told = json!({"type": "ack.received", "room_id": room, "seq": 1, "user_id": "bob"});
    assert_eq!(bob.ask("ack", json!({"room_id": room, "seq": 1})), told);
    assert_eq!(second.next(), told);
    alice.hears_nothing();
}

#[test]
fn messages_of_a_large_room_come_to_everyone() {
    let (world, room) = world();
    let [mut alice, mut bob, mut carol] = world.clients(["alice", "bob", "carol"]);
    alice.say("send_message", json!({"room_id": room, "content": "x"}));
    for client in [&mut alice, &mut bob, &mut carol] {
        assert_eq!(client.next()["content"], "x");
    }
}

#[test]
fn the_rest_reads_of_a_large_room_still_tell_presence_and_receipts() {
    let (world, room) = world();
    world.send("alice", &room, "x");
    let [mut bob] = world.clients(["bob"]);
    bob.ask("ack", json!({"room_id": room, "seq": 1}));
    let read = |what: &str| world.rest("alice", "GET", &format!("/rooms/{room}/{what}"), &Value::Null).body;
    assert_eq!(read("presence")["presence"][1], json!({"user_id": "bob", "status": "online"}));
    assert_eq!(read("receipts")["receipts"][1], json!({"user_id": "bob", "last_ack": 1}));
}

#[test]
fn a_room_that_shrinks_is_a_small_one_again() {
    let (world, room) = world();
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    assert_eq!(world.rest("alice", "DELETE", &format!("/rooms/{room}/members/carol"), &Value::Null).status, 204);
    assert_eq!(bob.next()["type"], "member.left");
    alice.say("typing.start", json!({ "room_id": room }));
    assert_eq!(bob.next()["type"], "typing");
}

#[test]
fn a_room_that_grows_past_the_bound_is_a_large_one() {
    let world = World::with(&[("LARGE_ROOM_MEMBERS", "2")], UNLIMITED);
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    alice.say("typing.start", json!({ "room_id": room }));
    assert_eq!(bob.next()["type"], "typing");
    alice.say("typing.stop", json!({ "room_id": room }));
    assert_eq!(bob.next()["type"], "typing");
    let added = world.rest("alice", "POST", &format!("/rooms/{room}/members"), &json!({"user_id": "carol"}));
    assert_eq!(added.status, 201);
    assert_eq!(bob.next()["type"], "member.joined");
    alice.say("typing.start", json!({ "room_id": room }));
    alice.hears();
    bob.hears_nothing();
}
