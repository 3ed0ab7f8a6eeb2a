//! Who is online and who types, at the edges of their times.

use chatapi_core::{CloseReason, ClosedBy, Config, ConnId, Micros};
use chatapi_sim::world::{Fault, TenantHandle, World};
use serde_json::Value;

const GRACE: u64 = 5_000;
const TYPING: u64 = 10_000;

fn world() -> (World, TenantHandle, String) {
    let mut world = World::new(Config { large_room_members: 2, ..Config::default() });
    let tenant = world.create_tenant(r#"{"rate_limit":1000000}"#);
    let room = world.create_room(&tenant, "alice", &["bob"]);
    (world, tenant, room)
}

fn of_type(world: &mut World, conn: ConnId, kind: &str) -> Vec<Value> {
    world.frames(conn).into_iter().filter(|frame| frame["type"] == kind).collect()
}

fn statuses(world: &mut World, conn: ConnId) -> Vec<String> {
    let told = of_type(world, conn, "presence.update");
    told.iter().map(|frame| format!("{} {}", frame["user_id"], frame["status"]).replace('"', "")).collect()
}

fn typings(world: &mut World, conn: ConnId) -> Vec<String> {
    let told = of_type(world, conn, "typing");
    told.iter().map(|frame| format!("{} {}", frame["user_id"], frame["action"]).replace('"', "")).collect()
}

fn typing(world: &mut World, conn: ConnId, room: &str, action: &str) {
    world.frame(conn, &format!(r#"{{"type":"typing.{action}","room_id":"{room}"}}"#));
}

#[test]
fn offline_is_told_when_the_grace_ends_and_not_a_millisecond_earlier() {
    let (mut world, tenant, _room) = world();
    let alice = world.connect(&tenant, "alice");
    let bob = world.connect(&tenant, "bob");
    assert_eq!(statuses(&mut world, alice), ["bob online"]);
    world.disconnect(bob, ClosedBy::Client);
    world.advance(Micros::from_millis(GRACE - 1));
    assert!(statuses(&mut world, alice).is_empty());
    world.advance(Micros::from_millis(1));
    assert_eq!(statuses(&mut world, alice), ["bob offline"]);
}

#[test]
fn a_grace_that_is_cancelled_in_its_last_millisecond_tells_nothing() {
    let (mut world, tenant, _room) = world();
    let alice = world.connect(&tenant, "alice");
    let bob = world.connect(&tenant, "bob");
    world.disconnect(bob, ClosedBy::Error);
    world.advance(Micros::from_millis(GRACE - 1));
    let again = world.connect(&tenant, "bob");
    world.advance(Micros::from_millis(3 * GRACE));
    assert_eq!(statuses(&mut world, alice), ["bob online"]);
    // What was cancelled does not end the next grace early.
    world.disconnect(again, ClosedBy::Client);
    world.advance(Micros::from_millis(GRACE - 1));
    assert!(statuses(&mut world, alice).is_empty());
    world.advance(Micros::from_millis(1));
    assert_eq!(statuses(&mut world, alice), ["bob offline"]);
}

#[test]
fn of_a_presence_that_a_slow_reader_could_not_take_it_is_told_the_latest() {
    let (mut world, tenant, room) = world();
    let alice = world.connect(&tenant, "alice");
    world.frames(alice);
    world.stall(alice);
    for _ in 0..1_100 {
        world.send(&tenant, "alice", &room, "x");
    }
    for _ in 0..2 {
        let bob = world.connect(&tenant, "bob");
        world.disconnect(bob, ClosedBy::Client);
        world.advance(Micros::from_millis(GRACE));
    }
    world.read_on(alice);
    assert_eq!(statuses(&mut world, alice), ["bob offline"]);
}

#[test]
fn a_typing_ends_ten_seconds_after_its_last_start() {
    let (mut world, tenant, room) = world();
    let [alice, bob] = ["alice", "bob"].map(|user| world.connect(&tenant, user));
    typing(&mut world, bob, &room, "start");
    world.advance(Micros::from_millis(TYPING - 1));
    typing(&mut world, bob, &room, "start");
    world.advance(Micros::from_millis(TYPING - 1));
    assert_eq!(typings(&mut world, alice), ["bob start", "bob start"]);
    world.advance(Micros::from_millis(1));
    assert_eq!(typings(&mut world, alice), ["bob stop"]);
    world.advance(Micros::from_millis(2 * TYPING));
    assert!(typings(&mut world, alice).is_empty());
    assert!(typings(&mut world, bob).is_empty(), "who types need not be told");
}

#[test]
fn a_typing_ends_with_its_connection_unless_the_user_types_there_on_another() {
    let (mut world, tenant, room) = world();
    let [alice, first, second] = ["alice", "bob", "bob"].map(|user| world.connect(&tenant, user));
    typing(&mut world, first, &room, "start");
    typing(&mut world, second, &room, "start");
    world.disconnect(first, ClosedBy::Error);
    assert_eq!(typings(&mut world, alice), ["bob start", "bob start"]);
    world.disconnect(second, ClosedBy::Client);
    assert_eq!(typings(&mut world, alice), ["bob stop"]);
}

#[test]
fn nothing_is_told_of_who_types_or_is_online_on_account_of_a_large_room() {
    let (mut world, tenant, _room) = world();
    let large = world.create_room(&tenant, "alice", &["carol", "dave"]);
    let [alice, carol] = ["alice", "carol"].map(|user| world.connect(&tenant, user));
    typing(&mut world, carol, &large, "start");
    world.advance(Micros::from_millis(TYPING));
    assert!(typings(&mut world, alice).is_empty());
    world.disconnect(carol, ClosedBy::Client);
    world.advance(Micros::from_millis(GRACE));
    assert!(statuses(&mut world, alice).is_empty());
}

#[test]
fn where_it_is_unknown_whether_a_member_was_removed_that_user_s_connections_end() {
    for (fault, is_member) in [(Fault::CommitButUnknown, false), (Fault::LoseButUnknown, true)] {
        let (mut world, tenant, room) = world();
        let [alice, bob] = ["alice", "bob"].map(|user| world.connect(&tenant, user));
        world.inject(fault);
        let removed = world.as_user(&tenant, "alice", "DELETE", &format!("/rooms/{room}/members/bob"), "");
        assert_eq!(removed.status, 503, "{removed:?}");
        assert_eq!((world.closed(alice), world.closed(bob)), (None, Some(CloseReason::StoreUnavailable)));
        let again = world.connect(&tenant, "bob");
        world.frames(again);
        world.send(&tenant, "alice", &room, "hello");
        assert_eq!(world.seqs(again), if is_member { vec![1] } else { Vec::new() }, "{fault:?}");
    }
}
