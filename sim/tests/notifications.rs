//! Notifications: each reaches its targets, and waits until it was heard of.

use chatapi_core::store::StoreRequest;
use chatapi_core::{ClosedBy, Config, ConnId};
use chatapi_sim::world::{TenantHandle, World};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn world() -> (World, TenantHandle) {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(r#"{"rate_limit":1000000}"#);
    (world, tenant)
}

/// Notifies bob.
fn notify_later(world: &mut World, tenant: &TenantHandle, payload: u64) {
    let body = format!(r#"{{"topic":"t","payload":{payload},"targets":{{"user_ids":["bob"]}}}}"#);
    world.rest_later("POST", "/notify", &[("X-API-Key", &tenant.api_key)], &body);
}

fn notify(world: &mut World, tenant: &TenantHandle, payload: u64) {
    notify_later(world, tenant, payload);
    world.run();
}

fn write(world: &mut World) {
    let replies = world.commit_unreported();
    world.report(replies);
}

fn payloads(world: &mut World, conn: ConnId) -> Vec<u64> {
    let frames = world.frames(conn);
    let told = frames.iter().filter(|frame| frame["type"] == "notification");
    told.filter_map(|frame| frame["payload"].as_str()?.parse().ok()).collect()
}

#[test]
fn one_that_is_stored_while_pending_ones_are_read_comes_exactly_once() {
    let (mut world, tenant) = world();
    notify(&mut world, &tenant, 1);
    world.hold_store();
    let bob = world.connect_to(&tenant, "bob", "/ws");
    write(&mut world);
    assert!(world.waiting().iter().any(|request| matches!(request, StoreRequest::ReadNotifications(_))));
    notify_later(&mut world, &tenant, 2);
    // It is stored, then expanded.
    write(&mut world);
    write(&mut world);
    world.release_store();
    assert_eq!(payloads(&mut world, bob), [1, 2]);
    notify(&mut world, &tenant, 3);
    assert_eq!(payloads(&mut world, bob), [3]);
}

#[test]
fn a_connection_that_is_heard_of_before_it_left_for_the_wire_does_not_confirm() {
    let (mut world, tenant) = world();
    let bob = world.connect(&tenant, "bob");
    world.frames(bob);
    world.stall(bob);
    notify(&mut world, &tenant, 1);
    assert_eq!(payloads(&mut world, bob), [1]);
    world.heard(bob);
    world.frame(bob, r#"{"type":"ping"}"#);
    world.disconnect(bob, ClosedBy::Error);
    let again = world.connect(&tenant, "bob");
    assert_eq!(payloads(&mut world, again), [1]);
    world.disconnect(again, ClosedBy::Error);
    // It was written, and nobody was heard of after it.
    let third = world.connect(&tenant, "bob");
    assert_eq!(payloads(&mut world, third), [1]);
    world.heard(third);
    world.run();
    let last = world.connect(&tenant, "bob");
    assert!(payloads(&mut world, last).is_empty());
}

#[test]
fn of_more_than_a_thousand_the_newest_wait() {
    let (mut world, tenant) = world();
    for number in 1..=1_005 {
        notify(&mut world, &tenant, number);
    }
    let bob = world.connect(&tenant, "bob");
    assert_eq!(payloads(&mut world, bob), (6..=1_005).collect::<Vec<_>>());
}

#[test]
fn one_waits_for_thirty_days() {
    for (late_ms, is_told) in [(30 * DAY_MS, true), (30 * DAY_MS + 1, false)] {
        let (mut world, tenant) = world();
        notify(&mut world, &tenant, 1);
        world.step_wall_clock(late_ms);
        let bob = world.connect(&tenant, "bob");
        assert_eq!(payloads(&mut world, bob).len(), usize::from(is_told));
    }
}
