//! What becomes of a connection whose client does not read (protocol, section 7).

use serde_json::{Value, json};

use crate::client::{Client, World, seqs};
use crate::support::eventually;

/// More than the kernel holds for a socket, in messages of the largest size.
const TOO_MANY: u64 = 80;

/// Bob, who shares a room with alice and carol and does not read, while so much was sent that he lags behind.
fn lagging() -> (World, String, Client) {
    let world = World::with(&[], r#"{"rate_limit":1000000,"max_message_size":262144}"#);
    let room = world.group(&["alice", "bob", "carol"]);
    let [bob] = world.clients(["bob"]);
    let content = "x".repeat(262_144);
    for _ in 0..TOO_MANY {
        world.send("alice", &room, &content);
    }
    (world, room, bob)
}

fn dropped(world: &World) -> u64 {
    world.server.request("GET", "/metrics", &[], "").body["dropped_broadcasts"].as_u64().unwrap()
}

#[test]
fn of_others_acks_the_latest_is_kept_for_a_slow_reader() {
    let (world, room, mut bob) = lagging();
    for seq in 1..=TOO_MANY {
        for user in ["alice", "carol"] {
            assert_eq!(world.rest(user, "POST", "/acks", &json!({"room_id": room, "seq": seq})).status, 200);
        }
    }
    let mut latest = [0, 0];
    let mut heard = Vec::new();
    while latest != [TOO_MANY; 2] || heard.len() < usize::try_from(TOO_MANY).unwrap() {
        let frame = bob.next();
        if frame["type"] == "ack.received" {
            let of = usize::from(frame["user_id"] == "carol");
            let seq = frame["seq"].as_u64().unwrap();
            assert!(seq > latest[of], "{frame} after {latest:?}");
            latest[of] = seq;
        } else {
            heard.push(frame);
        }
    }
    assert_eq!(seqs(&heard), (1..=TOO_MANY).collect::<Vec<_>>());
}

#[test]
fn typing_that_finds_no_room_is_dropped_and_counted_and_the_connection_goes_on() {
    let (world, room, mut bob) = lagging();
    let mut typists: Vec<Client> = (0..5).map(|_| world.unsynced_client("alice")).collect();
    eventually("a typing is dropped", || {
        for typist in &mut typists {
            for _ in 0..4 {
                typist.say("typing.start", json!({ "room_id": room }));
            }
            // What is more than 50 a second is refused meanwhile.
            typist.say("resume", json!({"rooms": {}}));
            typist.next_of("sync.complete");
        }
        dropped(&world) > 0
    });
    let mut heard = Vec::new();
    while heard.len() < usize::try_from(TOO_MANY).unwrap() {
        let frame = bob.next();
        if frame["type"] == "message" {
            heard.push(frame);
        }
    }
    assert_eq!(seqs(&heard), (1..=TOO_MANY).collect::<Vec<_>>());
}

#[test]
fn another_frame_that_does_not_fit_closes_with_1013_and_the_next_connect_catches_up() {
    let (world, room, mut bob) = lagging();
    let metadata = format!("\"{}\"", "x".repeat(16_000));
    eventually("the connection is closed", || {
        let changed = world.rest("alice", "PATCH", &format!("/rooms/{room}"), &json!({ "metadata": metadata }));
        assert_eq!(changed.status, 200);
        world.server.request("GET", "/metrics", &[], "").body["active_connections"] == 0
    });
    // The server does not wait for a reader like that: the close frame comes where the socket takes it.
    let mut last = 0;
    while let Some(frame) = bob.try_next() {
        if frame["type"] == "message" {
            last += 1;
            assert_eq!(frame["seq"], last);
        }
    }
    let frames = world.fresh_client("bob").until("sync.complete");
    assert_eq!(seqs(&frames), (1..=TOO_MANY).collect::<Vec<_>>());
}

#[test]
fn a_message_larger_than_the_rest_of_the_queue_still_comes() {
    let (world, room, mut bob) = lagging();
    world.send("carol", &room, "the last");
    let mut last = Value::Null;
    for seq in 1..=TOO_MANY + 1 {
        last = bob.next_of("message");
        assert_eq!(last["seq"], seq);
    }
    assert_eq!(last["content"], "the last");
}
