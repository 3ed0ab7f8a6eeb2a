//! Who is online (protocol, section 7).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, World};

/// The user and status of the next frame, which must be a `presence.update`.
#[track_caller]
fn next_presence(client: &mut Client) -> (String, String) {
    let frame = client.next();
    assert_eq!(frame["type"], "presence.update", "{frame}");
    let text = |field: &str| frame[field].as_str().unwrap().to_owned();
    (text("user_id"), text("status"))
}

fn is(user: &str, status: &str) -> (String, String) {
    (user.to_owned(), status.to_owned())
}

/// The statuses by REST.
fn statuses(world: &World, room: &str) -> Value {
    let mut body = world.as_tenant("GET", &format!("/rooms/{room}/presence"), &Value::Null).body;
    body["presence"].take()
}

#[test]
fn a_user_is_online_at_the_first_connection_alone() {
    let world = World::new();
    world.group(&["alice", "bob"]);
    let [mut alice] = world.clients(["alice"]);
    let _first = world.client("bob");
    assert_eq!(next_presence(&mut alice), is("bob", "online"));
    let _second = world.client("bob");
    alice.hears_nothing();
}

#[test]
fn a_user_who_shares_several_rooms_is_announced_once() {
    let world = World::new();
    for _ in 0..3 {
        world.group(&["alice", "bob"]);
    }
    let [mut alice] = world.clients(["alice"]);
    let _bob = world.client("bob");
    assert_eq!(next_presence(&mut alice), is("bob", "online"));
    alice.hears_nothing();
}

#[test]
fn a_user_is_told_nothing_of_its_own_presence() {
    let world = World::new();
    world.group(&["alice", "bob"]);
    let mut first = world.client("bob");
    first.hears_nothing();
    let mut second = world.client("bob");
    first.hears_nothing();
    second.hears_nothing();
}

#[test]
fn a_user_is_offline_5_s_after_the_last_connection_closed() {
    let world = World::new();
    world.group(&["alice", "bob"]);
    let [mut alice, first, last] = world.clients(["alice", "bob", "bob"]);
    first.close();
    let before = Instant::now();
    last.close();
    let after = Instant::now();
    assert_eq!(next_presence(&mut alice), is("bob", "offline"));
    assert!(before.elapsed() >= Duration::from_secs(5), "{:?}", before.elapsed());
    assert!(after.elapsed() < Duration::from_secs(8), "{:?}", after.elapsed());
    alice.hears_nothing();
}

#[test]
fn a_user_whose_connection_was_cut_is_offline_after_5_s_too() {
    let world = World::new();
    world.group(&["alice", "bob"]);
    let [mut alice, bob] = world.clients(["alice", "bob"]);
    let before = Instant::now();
    drop(bob.abandon());
    assert_eq!(next_presence(&mut alice), is("bob", "offline"));
    assert!(before.elapsed() >= Duration::from_secs(5), "{:?}", before.elapsed());
}

#[test]
fn a_user_who_comes_back_within_5_s_was_never_away() {
    let world = World::new();
    world.group(&["alice", "bob", "carol"]);
    let [mut alice, bob, carol] = world.clients(["alice", "bob", "carol"]);
    bob.close();
    let _bob = world.client("bob");
    carol.close();
    // Bob's five seconds began earlier: his turn would have come first.
    assert_eq!(next_presence(&mut alice), is("carol", "offline"));
    alice.hears_nothing();
}

#[test]
fn a_user_who_still_has_a_connection_is_not_offline() {
    let world = World::new();
    world.group(&["alice", "bob", "carol"]);
    let [mut alice, first, _second, carol] = world.clients(["alice", "bob", "bob", "carol"]);
    first.close();
    carol.close();
    assert_eq!(next_presence(&mut alice), is("carol", "offline"));
}

#[test]
fn a_user_who_comes_back_after_being_offline_is_announced_anew() {
    let world = World::new();
    world.group(&["alice", "bob"]);
    let [mut alice, bob] = world.clients(["alice", "bob"]);
    bob.close();
    assert_eq!(next_presence(&mut alice), is("bob", "offline"));
    let _bob = world.client("bob");
    assert_eq!(next_presence(&mut alice), is("bob", "online"));
}

#[test]
fn who_shares_no_room_and_who_is_of_another_tenant_is_told_nothing() {
    let world = World::new();
    world.group(&["alice", "bob"]);
    world.group(&["zoe"]);
    let other = world.server.create_tenant(crate::client::UNLIMITED);
    world.server.create_room(&other, "alice", &["bob"]);
    let [mut alice, mut zoe] = world.clients(["alice", "zoe"]);
    let mut foreign = world.server.connect(&other, "alice");
    foreign.next_of("sync.complete");
    let bob = world.client("bob");
    assert_eq!(next_presence(&mut alice), is("bob", "online"));
    bob.close();
    assert_eq!(next_presence(&mut alice), is("bob", "offline"));
    zoe.hears_nothing();
    foreign.send(&json!({"type": "ping"}));
    assert_eq!(foreign.next()["type"], "pong");
}

#[test]
fn rest_tells_who_is_online_and_still_does_in_the_5_seconds_of_grace() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let both =
        |alice: &str, bob: &str| json!([{"user_id": "alice", "status": alice}, {"user_id": "bob", "status": bob}]);
    assert_eq!(statuses(&world, &room), both("offline", "offline"));
    let [mut alice, bob] = world.clients(["alice", "bob"]);
    assert_eq!(statuses(&world, &room), both("online", "online"));
    bob.close();
    assert_eq!(statuses(&world, &room), both("online", "online"));
    assert_eq!(next_presence(&mut alice), is("bob", "offline"));
    assert_eq!(statuses(&world, &room), both("online", "offline"));
}

#[test]
fn a_connection_without_a_backlog_is_a_presence_too() {
    let world = World::new();
    world.group(&["alice", "bob"]);
    let [mut alice] = world.clients(["alice"]);
    let mut bob = world.unsynced_client("bob");
    bob.hears();
    assert_eq!(next_presence(&mut alice), is("bob", "online"));
}
