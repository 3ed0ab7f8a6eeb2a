//! What clients ask to be sent again: in its turn, whole, and never what is out of date.

use chatapi_core::{Config, ConnId};
use chatapi_sim::world::{TenantHandle, World};
use serde_json::Value;

fn world() -> (World, TenantHandle, String) {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(r#"{"rate_limit":1000000}"#);
    let room = world.create_room(&tenant, "alice", &["bob"]);
    (world, tenant, room)
}

fn subscribe_later(world: &mut World, conn: ConnId, room: &str, request_id: &str) {
    let frame = format!(r#"{{"type":"subscribe","room_id":"{room}","after_seq":0,"request_id":"{request_id}"}}"#);
    world.frame_later(conn, &frame);
}

/// Carries out all changes that wait, and tells the core.
fn write(world: &mut World) {
    let replies = world.commit_unreported();
    world.report(replies);
}

fn told(frames: &[Value]) -> Vec<String> {
    let told = frames.iter().map(|frame| match frame["seq"].as_u64() {
        Some(seq) => format!("{} {seq}", frame["type"]).replace('"', ""),
        None => frame["type"].to_string().replace('"', ""),
    });
    told.collect()
}

/// A world in which bob was sent three messages and asks for them again; the page is under way.
fn page_under_way() -> (World, TenantHandle, String, ConnId) {
    let (mut world, tenant, room) = world();
    let bob = world.connect(&tenant, "bob");
    for _ in 0..3 {
        world.send(&tenant, "alice", &room, "x");
    }
    world.frames(bob);
    world.hold_store();
    subscribe_later(&mut world, bob, &room, "s1");
    write(&mut world);
    (world, tenant, room, bob)
}

/// A page in which the second message changes is under way, for the second time.
fn changed_page(changes: usize) -> Vec<Value> {
    let (mut world, tenant, room, bob) = page_under_way();
    world.release_store();
    let frames = world.frames(bob);
    assert_eq!(told(&frames), ["message 1", "message 2", "message 3", "sync.complete"]);
    let message = frames[1]["message_id"].as_str().unwrap_or_default().to_owned();
    world.hold_store();
    subscribe_later(&mut world, bob, &room, "s2");
    write(&mut world);
    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
    for change in 1..=changes {
        let body = format!(r#"{{"content":"y{change}"}}"#);
        world.rest_later("PATCH", &format!("/rooms/{room}/messages/{message}"), &headers, &body);
        write(&mut world);
        assert!(world.frames(bob).is_empty(), "it may come before the message, as it was");
        if change < changes {
            world.carry_out_one_read();
        }
    }
    world.release_store();
    world.frames(bob)
}

#[test]
fn a_page_is_read_again_when_a_message_of_it_changes_meanwhile() {
    let frames = changed_page(1);
    assert_eq!(told(&frames), ["message 1", "message 2", "message 3", "sync.complete"]);
    assert_eq!(frames[1]["content"], "y1");
}

#[test]
fn a_room_whose_messages_always_change_is_read_all_the_same() {
    let frames = changed_page(4);
    assert_eq!(frames[1]["content"], "y4");
    assert_eq!(told(&frames)[..3], ["message 1", "message 2", "message 3"]);
    assert!(told(&frames).contains(&"sync.complete".to_owned()), "{frames:?}");
}

#[test]
fn a_page_under_way_is_dropped_when_its_reader_was_removed_and_joined_again() {
    let (mut world, tenant, room, bob) = page_under_way();
    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
    world.rest_later("DELETE", &format!("/rooms/{room}/members/bob"), &headers, "");
    world.rest_later("POST", &format!("/rooms/{room}/members"), &headers, r#"{"user_id":"bob"}"#);
    write(&mut world);
    world.release_store();
    let frames = world.frames(bob);
    assert!(world.seqs(bob).is_empty() && !told(&frames).iter().any(|told| told.starts_with("message ")), "{frames:?}");
    world.send(&tenant, "alice", &room, "live");
    assert_eq!(world.seqs(bob), [4]);
}

#[test]
fn a_subscribe_while_the_backlog_streams_waits_its_turn() {
    let (mut world, tenant, room) = world();
    for _ in 0..250 {
        world.send(&tenant, "alice", &room, "x");
    }
    world.hold_store();
    let bob = world.connect_to(&tenant, "bob", "/ws");
    write(&mut world);
    world.carry_out_one_read();
    subscribe_later(&mut world, bob, &room, "s1");
    world.release_store();
    let frames = world.frames(bob);
    let seqs: Vec<u64> = frames.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=250).chain(1..=250).collect::<Vec<_>>());
    let ends: Vec<&Value> = frames.iter().filter(|frame| frame["type"] == "sync.complete").collect();
    assert_eq!(ends.len(), 2);
    assert_eq!((&ends[0]["messages"], &ends[0]["request_id"]), (&250.into(), &Value::Null));
    assert_eq!((&ends[1]["messages"], &ends[1]["rooms"]), (&250.into(), &1.into()));
    assert_eq!((&ends[1]["request_id"], &ends[1]["last_seq"]), (&"s1".into(), &250.into()));
    assert_eq!(ends[1]["room_id"], room.as_str());
}

#[test]
fn a_hundred_syncs_wait_beside_the_one_that_is_served_and_the_next_is_refused() {
    let (mut world, tenant, room) = world();
    let bob = world.connect(&tenant, "bob");
    world.frames(bob);
    world.hold_store();
    for number in 0..101 {
        subscribe_later(&mut world, bob, &room, &format!("s{number}"));
    }
    assert!(world.frames(bob).is_empty());
    subscribe_later(&mut world, bob, &room, "s101");
    let refused = world.frames(bob);
    assert_eq!(refused.len(), 1);
    assert_eq!((&refused[0]["code"], &refused[0]["request_id"]), (&"RATE_LIMIT_EXCEEDED".into(), &"s101".into()));
    world.release_store();
    let ends = world.frames(bob);
    let served: Vec<String> = ends.iter().map(|end| end["request_id"].to_string().replace('"', "")).collect();
    assert_eq!(served, (0..101).map(|number| format!("s{number}")).collect::<Vec<_>>());
}
