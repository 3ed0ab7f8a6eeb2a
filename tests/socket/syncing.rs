//! How a connection gets what its user missed: on connect, by `subscribe`, by `resume` (protocol, section 7).

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::client::{Client, UNLIMITED, World, kinds, messages, seqs, topics};

/// How many missed messages of a room come on connect.
const BACKLOG_MAX: u64 = 1_000;

/// Sends messages 1 to `count` over a socket.
fn fill(world: &World, user: &str, room: &str, count: u64) {
    let mut client = world.unsynced_client(user);
    client.hears();
    for number in 1..=count {
        client.say("send_message", json!({"room_id": room, "content": number.to_string()}));
        if number % 100 == 0 {
            while client.next()["seq"] != number {}
        }
    }
    client.hears();
}

#[track_caller]
fn is_without_gap(frames: &[Value], first: u64, last: u64) {
    assert_eq!(seqs(frames), (first..=last).collect::<Vec<_>>());
}

#[test]
fn one_s_own_messages_past_one_s_last_ack_are_missed_too() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    world.send("alice", &room, "x");
    assert_eq!(seqs(&world.fresh_client("alice").until("sync.complete")), [1]);
}

#[test]
fn rooms_of_which_nothing_was_missed_are_not_counted() {
    let world = World::new();
    let [read, missed, _empty] = [(); 3].map(|()| world.group(&["alice", "bob"]));
    world.send("alice", &read, "x");
    world.send("alice", &missed, "x");
    world.rest("bob", "POST", "/acks", &json!({"room_id": read, "seq": 1}));
    let frames = world.fresh_client("bob").until("sync.complete");
    assert_eq!(frames[2], json!({"type": "sync.complete", "rooms": 1, "messages": 1, "truncated": {}}));
}

#[test]
fn of_more_than_1000_missed_messages_the_newest_1000_come_and_the_first_of_them_is_told() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    fill(&world, "alice", &room, BACKLOG_MAX + 5);
    let frames = world.fresh_client("bob").until("sync.complete");
    is_without_gap(&frames, 6, BACKLOG_MAX + 5);
    let complete = json!({"type": "sync.complete", "rooms": 1, "messages": 1_000, "truncated": {&room: 6}});
    assert_eq!(frames.last(), Some(&complete));
}

#[test]
fn a_room_with_1000_missed_messages_is_not_truncated() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    fill(&world, "alice", &room, BACKLOG_MAX + 5);
    world.rest("bob", "POST", "/acks", &json!({"room_id": room, "seq": 5}));
    let frames = world.fresh_client("bob").until("sync.complete");
    is_without_gap(&frames, 6, BACKLOG_MAX + 5);
    assert_eq!(frames.last().unwrap()["truncated"], json!({}));
}

#[test]
fn a_subscribe_or_resume_has_no_such_limit() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    fill(&world, "alice", &room, BACKLOG_MAX + 5);
    let mut bob = world.unsynced_client("bob");
    bob.hears();
    bob.say("subscribe", json!({"room_id": room, "after_seq": 0}));
    is_without_gap(&bob.until("sync.complete"), 1, BACKLOG_MAX + 5);
    bob.say("resume", json!({"rooms": {&room: 0}}));
    let frames = bob.until("sync.complete");
    is_without_gap(&frames, 1, BACKLOG_MAX + 5);
    let complete = json!({"type": "sync.complete", "rooms": 1, "messages": BACKLOG_MAX + 5, "truncated": {}});
    assert_eq!(frames.last(), Some(&complete));
}

#[test]
fn subscribe_and_resume_are_served_one_after_another_in_the_order_they_came() {
    let world = World::new();
    let [first, second] = [(); 2].map(|()| world.group(&["alice", "bob"]));
    for room in [&first, &second] {
        fill(&world, "alice", room, 300);
    }
    let mut bob = world.unsynced_client("bob");
    bob.hears();
    bob.say("subscribe", json!({"room_id": first, "after_seq": 0, "request_id": "r1"}));
    bob.say("resume", json!({"rooms": {&first: 200, &second: 100}, "request_id": "r2"}));
    bob.say("subscribe", json!({"room_id": second, "after_seq": 299, "request_id": "r3"}));
    for (request_id, count) in [("r1", 300), ("r2", 300), ("r3", 1)] {
        let frames = bob.until("sync.complete");
        assert_eq!(frames.last().unwrap()["request_id"], request_id);
        assert_eq!(messages(&frames).count(), count, "{request_id}");
    }
    bob.hears_nothing();
}

#[test]
fn a_subscribe_before_the_backlog_is_through_is_served_behind_it() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    fill(&world, "alice", &room, 300);
    let mut bob = world.fresh_client("bob");
    bob.say("subscribe", json!({"room_id": room, "after_seq": 298, "request_id": "r1"}));
    let backlog = bob.until("sync.complete");
    is_without_gap(&backlog, 1, 300);
    assert_eq!(backlog.last().unwrap().get("request_id"), None);
    let again = bob.until("sync.complete");
    is_without_gap(&again, 299, 300);
    assert_eq!(again.last().unwrap()["request_id"], "r1");
}

/// A connection whose first `subscribe` cannot end, since nobody reads what it streams.
fn stuck_subscriber() -> (World, String, Client) {
    let world = World::with(&[], r#"{"rate_limit":1000000,"max_message_size":262144}"#);
    let [large, small] = [(); 2].map(|()| world.group(&["alice", "bob"]));
    // More than the kernel holds for a socket.
    for _ in 0..80 {
        world.send("alice", &large, &"x".repeat(262_144));
    }
    let mut bob = world.unsynced_client("bob");
    bob.hears();
    bob.say("subscribe", json!({"room_id": large, "after_seq": 0, "request_id": "large"}));
    (world, small, bob)
}

#[test]
fn a_hundred_syncs_may_wait_and_the_next_is_an_error_that_says_when_to_come_again() {
    let (_world, small, mut bob) = stuck_subscriber();
    for number in 1..=101 {
        bob.say("subscribe", json!({"room_id": small, "request_id": number.to_string()}));
    }
    let mut refused = Vec::new();
    let mut served = Vec::new();
    while served.len() < 101 {
        let frame = bob.next();
        match frame["type"].as_str() {
            Some("error") => {
                assert_eq!(frame["code"], "RATE_LIMIT_EXCEEDED");
                assert!(frame["retry_after_ms"].as_u64() >= Some(1), "{frame}");
                refused.push(frame["request_id"].as_str().unwrap().to_owned());
            }
            Some("sync.complete") => served.push(frame["request_id"].as_str().unwrap().to_owned()),
            _ => assert_eq!(frame["type"], "message"),
        }
    }
    assert_eq!(refused, ["101"]);
    let expected: Vec<String> =
        std::iter::once("large".to_owned()).chain((1..=100).map(|number| number.to_string())).collect();
    assert_eq!(served, expected);
}

#[test]
fn a_position_at_the_head_streams_nothing_and_is_complete_at_once() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    world.send("alice", &room, "x");
    let mut bob = world.client("bob");
    let complete = json!({
        "type": "sync.complete", "rooms": 0, "messages": 0, "truncated": {}, "room_id": room, "last_seq": 1,
    });
    assert_eq!(bob.ask("subscribe", json!({"room_id": room, "after_seq": 1})), complete);
}

#[test]
fn a_position_past_last_seq_is_an_error_and_streams_nothing() {
    let world = World::new();
    let [room, other] = [(); 2].map(|()| world.group(&["alice", "bob"]));
    world.send("alice", &room, "x");
    world.send("alice", &other, "x");
    let mut bob = world.client("bob");
    for (kind, fields, field) in [
        ("subscribe", json!({"room_id": room, "after_seq": 2}), "after_seq"),
        ("resume", json!({"rooms": {&room: 2, &other: 0}}), "rooms"),
    ] {
        let answer = bob.ask(kind, fields);
        assert_eq!((&answer["code"], &answer["field"]), (&json!("VALIDATION_ERROR"), &json!(field)), "{kind}");
        bob.hears_nothing();
    }
}

#[test]
fn a_resume_of_a_room_of_others_streams_nothing_of_the_rest() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let others = world.group(&["alice"]);
    world.send("alice", &room, "x");
    let mut bob = world.client("bob");
    let answer = bob.ask("resume", json!({"rooms": {&room: 0, &others: 0}}));
    assert_eq!(answer["code"], "AUTHORIZATION_ERROR");
    bob.hears_nothing();
}

#[test]
fn a_resume_of_no_room_is_complete_at_once() {
    let world = World::new();
    let mut bob = world.client("bob");
    let complete = json!({"type": "sync.complete", "rooms": 0, "messages": 0, "truncated": {}});
    assert_eq!(bob.ask("resume", json!({"rooms": {}})), complete);
}

#[test]
fn a_resume_of_more_than_1000_rooms_is_an_error() {
    let world = World::new();
    let mut bob = world.client("bob");
    let rooms = |count: usize| -> Value { (0..count).map(|number| (format!("room_{number}"), json!(0))).collect() };
    let answer = bob.ask("resume", json!({"rooms": rooms(1_001)}));
    assert_eq!((&answer["code"], &answer["field"]), (&json!("VALIDATION_ERROR"), &json!("rooms")));
    let answer = bob.ask("resume", json!({"rooms": rooms(1_000)}));
    assert_eq!(answer["code"], "NOT_FOUND", "so many may be named");
}

#[test]
fn a_resume_does_not_move_an_ack() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    world.send("alice", &room, "x");
    let mut bob = world.client("bob");
    bob.say("resume", json!({"rooms": {&room: 0}}));
    bob.until("sync.complete");
    bob.close();
    assert_eq!(seqs(&world.fresh_client("bob").until("sync.complete")), [1]);
}

/// Lets alice send until `work` is done.
fn while_alice_sends(world: &World, room: &str, work: impl FnOnce()) {
    struct Done<'a>(&'a AtomicBool);

    /// However the work ends, so does the sending.
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ends = Done(&done);
        scope.spawn(|| {
            let mut alice = world.unsynced_client("alice");
            alice.hears();
            while !done.load(Ordering::Relaxed) {
                for _ in 0..10 {
                    alice.say("send_message", json!({"room_id": room, "content": "x"}));
                }
                for _ in 0..10 {
                    alice.next_of("message");
                }
            }
        });
        work();
        drop(ends);
    });
}

#[test]
fn a_connection_in_the_middle_of_a_load_gets_every_message_in_order_without_a_gap() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    fill(&world, "alice", &room, 50);
    while_alice_sends(&world, &room, || {
        let mut acked = 0;
        for _ in 0..10 {
            let mut bob = world.fresh_client("bob");
            let mut heard = seqs(&bob.until("sync.complete"));
            for _ in 0..20 {
                heard.push(bob.next_of("message")["seq"].as_u64().unwrap());
            }
            assert_eq!(heard, (acked + 1..=acked + heard.len() as u64).collect::<Vec<_>>());
            acked = heard[heard.len() - 10];
            assert_eq!(world.rest("bob", "POST", "/acks", &json!({"room_id": room, "seq": acked})).status, 200);
        }
    });
}

#[test]
fn a_subscribe_in_the_middle_of_a_load_starts_the_order_anew_at_its_point_and_leaves_no_gap() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    fill(&world, "alice", &room, 50);
    while_alice_sends(&world, &room, || {
        let mut bob = world.unsynced_client("bob");
        bob.hears();
        for after in [0, 25, 10, 49, 0] {
            bob.say("subscribe", json!({"room_id": room, "after_seq": after, "request_id": "r1"}));
            let frames = bob.until("sync.complete");
            let heard = seqs(&frames);
            let anew = heard.iter().rposition(|seq| *seq == after + 1).unwrap();
            let last = *heard.last().unwrap();
            assert_eq!(heard[anew..], (after + 1..=last).collect::<Vec<_>>());
            let complete = frames.last().unwrap();
            assert!(last >= complete["last_seq"].as_u64().unwrap(), "{complete} after {last}");
            assert_eq!(bob.next_of("message")["seq"], last + 1);
        }
    });
}

#[test]
fn two_connections_of_a_user_are_told_the_same() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut first, mut second] = world.clients(["bob", "bob"]);
    for number in 0..50 {
        world.send("alice", &room, &number.to_string());
    }
    let heard = first.hears();
    assert_eq!(heard.len(), 50);
    assert_eq!(second.hears(), heard);
}

#[test]
fn pending_notifications_come_behind_all_missed_messages() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    fill(&world, "alice", &room, 250);
    for topic in ["a", "b"] {
        world.notify(topic, &json!({"user_ids": ["bob"]}));
    }
    let frames = world.fresh_client("bob").until("sync.complete");
    assert_eq!(kinds(&frames[250..]), ["message", "notification", "notification", "sync.complete"]);
    assert_eq!(topics(&frames), ["a", "b"], "the oldest first");
}

#[test]
fn what_is_missed_outlives_a_crash() {
    let world = World::with(&[], UNLIMITED);
    let room = world.group(&["alice", "bob"]);
    for content in ["1", "2", "3"] {
        world.send("alice", &room, content);
    }
    world.rest("bob", "POST", "/acks", &json!({"room_id": room, "seq": 1}));
    let world = world.kill_and_restart();
    assert_eq!(seqs(&world.fresh_client("bob").until("sync.complete")), [2, 3]);
}
