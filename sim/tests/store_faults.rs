//! What clients see when the store fails, is slow, or does not know.

use chatapi_core::store::StoreFailure;
use chatapi_core::{Config, Event, Micros};
use chatapi_sim::world::{Fault, TenantHandle, World};

fn world() -> (World, TenantHandle, String) {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(r#"{"rate_limit":1000000}"#);
    let room = world.create_room(&tenant, "alice", &["bob"]);
    (world, tenant, room)
}

fn send(world: &mut World, tenant: &TenantHandle, room: &str, key: Option<&str>) -> chatapi_sim::world::Response {
    let mut headers = vec![("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
    headers.extend(key.map(|key| ("Idempotency-Key", key)));
    world.rest("POST", &format!("/rooms/{room}/messages"), &headers, r#"{"content":"hello"}"#)
}

#[test]
fn a_store_that_refuses_is_503_and_nothing_changes() {
    for failure in [StoreFailure::Busy, StoreFailure::Full, StoreFailure::Failed] {
        let (mut world, tenant, room) = world();
        let bob = world.connect(&tenant, "bob");
        world.inject(Fault::Refuse(failure));
        let refused = send(&mut world, &tenant, &room, None);
        assert_eq!((refused.status, refused.code()), (503, "UNAVAILABLE"), "{failure:?}");
        assert!(refused.headers.contains_key("Retry-After"));
        assert!(world.seqs(bob).is_empty());
        assert_eq!(world.send(&tenant, "alice", &room, "works again"), 1);
    }
}

#[test]
fn a_message_of_an_unknown_outcome_that_was_stored_reaches_the_members() {
    let (mut world, tenant, room) = world();
    let bob = world.connect(&tenant, "bob");
    world.inject(Fault::CommitButUnknown);
    assert_eq!(send(&mut world, &tenant, &room, None).status, 503);
    assert_eq!(world.seqs(bob), [1]);
    assert!(world.reports().iter().any(|event| matches!(event, Event::RoomRecovered { .. })));
    assert_eq!(world.send(&tenant, "alice", &room, "next"), 2);
    assert_eq!(world.seqs(bob), [2]);
}

#[test]
fn a_message_of_an_unknown_outcome_that_was_lost_reaches_nobody() {
    let (mut world, tenant, room) = world();
    let bob = world.connect(&tenant, "bob");
    world.inject(Fault::LoseButUnknown);
    assert_eq!(send(&mut world, &tenant, &room, None).status, 503);
    assert!(world.seqs(bob).is_empty());
    assert_eq!(world.send(&tenant, "alice", &room, "next"), 1);
    assert_eq!(world.seqs(bob), [1]);
}

#[test]
fn a_repeat_after_an_unknown_outcome_is_the_first_message_and_comes_once() {
    let (mut world, tenant, room) = world();
    let bob = world.connect(&tenant, "bob");
    // The newest number cannot be read at first, so that the repeat comes before it is known.
    world.inject(Fault::CommitButUnknown);
    world.inject(Fault::Refuse(StoreFailure::Busy));
    assert_eq!(send(&mut world, &tenant, &room, Some("k1")).status, 503);
    let repeat = send(&mut world, &tenant, &room, Some("k1"));
    assert_eq!((repeat.status, &repeat.body["seq"]), (200, &1.into()));
    assert_eq!(world.seqs(bob), [1], "the repeat tells that it is stored");
    world.advance(Micros::from_secs(5));
    assert!(world.seqs(bob).is_empty(), "what is read again later is nothing new");
}

#[test]
fn the_newest_number_is_asked_for_until_the_store_tells_it() {
    let (mut world, tenant, room) = world();
    let bob = world.connect(&tenant, "bob");
    world.inject(Fault::CommitButUnknown);
    for _ in 0..3 {
        world.inject(Fault::Refuse(StoreFailure::Busy));
    }
    assert_eq!(send(&mut world, &tenant, &room, None).status, 503);
    assert!(world.seqs(bob).is_empty());
    world.advance(Micros::from_secs(5));
    assert_eq!(world.seqs(bob), [1]);
}

#[test]
fn a_room_whose_creation_was_in_doubt_is_live_for_its_members_who_are_online() {
    let (mut world, tenant, _room) = world();
    let bob = world.connect(&tenant, "bob");
    world.inject(Fault::CommitButUnknown);
    let refused = world.as_user(&tenant, "alice", "POST", "/rooms", r#"{"type":"dm","members":["bob"]}"#);
    assert_eq!(refused.status, 503);
    let again = world.as_user(&tenant, "alice", "POST", "/rooms", r#"{"type":"dm","members":["bob"]}"#);
    assert_eq!(again.status, 200, "the dm exists: {again:?}");
    world.send(&tenant, "alice", &again.text("room_id"), "hello");
    assert_eq!(world.seqs(bob), [1]);
}

#[test]
fn a_store_that_does_not_answer_is_503_after_10_s_and_a_late_message_still_reaches_the_members() {
    let (mut world, tenant, room) = world();
    let bob = world.connect(&tenant, "bob");
    world.hold_store();
    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
    let request = world.rest_later("POST", &format!("/rooms/{room}/messages"), &headers, r#"{"content":"hello"}"#);
    world.advance(Micros::from_millis(9_999));
    assert!(world.answer(request).is_none());
    world.advance(Micros::from_millis(1));
    let refused = world.answer(request).unwrap();
    assert_eq!((refused.status, refused.code()), (503, "UNAVAILABLE"));
    world.release_store();
    assert_eq!(world.seqs(bob), [1]);
}

#[test]
fn a_connection_whose_rooms_cannot_be_read_is_closed_to_come_again() {
    let (mut world, tenant, _room) = world();
    world.inject(Fault::Refuse(StoreFailure::Busy));
    let bob = world.connect(&tenant, "bob");
    assert_eq!(world.closed(bob).map(|reason| reason.code()), Some(1013));
    let again = world.connect(&tenant, "bob");
    assert_eq!(world.closed(again), None);
}

#[test]
fn until_the_store_has_booted_nothing_is_served_and_the_boot_is_repeated() {
    let mut world = World::starting(Config::default());
    world.inject(Fault::Refuse(StoreFailure::Busy));
    world.run();
    assert_eq!(world.rest("GET", "/livez", &[], "").status, 200);
    assert_eq!(world.rest("GET", "/readyz", &[], "").status, 503);
    let refused = world.rest("GET", "/rooms", &[("X-API-Key", "sk_x"), ("X-User-Id", "a")], "");
    assert_eq!((refused.status, refused.code()), (503, "UNAVAILABLE"));
    world.advance(Micros::from_secs(1));
    assert_eq!(world.rest("GET", "/readyz", &[], "").status, 200);
}

#[test]
fn health_is_a_real_write_shared_by_all_who_ask_within_a_second() {
    let (mut world, _tenant, _room) = world();
    world.hold_store();
    let both = [world.rest_later("GET", "/health", &[], ""), world.rest_later("GET", "/health", &[], "")];
    assert_eq!(world.waiting().len(), 1);
    world.release_store();
    for request in both {
        let healthy = world.answer(request).unwrap();
        assert_eq!((healthy.status, &healthy.body["db_writable"]), (200, &true.into()));
    }
    world.inject(Fault::Refuse(StoreFailure::Full));
    assert_eq!(world.rest("GET", "/health", &[], "").status, 200, "the last write is younger than a second");
    world.advance(Micros::from_secs(1));
    let sick = world.rest("GET", "/health", &[], "");
    assert_eq!((sick.status, &sick.body["status"], &sick.body["db_writable"]), (503, &"error".into(), &false.into()));
}

#[test]
fn health_does_not_wait_longer_than_2_s() {
    let (mut world, _tenant, _room) = world();
    world.hold_store();
    let request = world.rest_later("GET", "/health", &[], "");
    world.advance(Micros::from_secs(2));
    assert_eq!(world.answer(request).unwrap().status, 503);
    let another = world.rest_later("GET", "/health", &[], "");
    assert_eq!(world.answer(another).unwrap().status, 503);
    assert_eq!(world.waiting().len(), 1, "a write that hangs is not followed by another");
    world.release_store();
    assert_eq!(world.rest("GET", "/health", &[], "").status, 200);
}
