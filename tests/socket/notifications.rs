//! How notifications come over sockets, and until when they are kept (protocol, section 6).

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use crate::client::{Client, World, topics};
use crate::support::eventually;

const NOT_DURABLE: &str = r#"{"rate_limit":1000000,"durable_notifications":false}"#;

fn to(user: &str) -> Value {
    json!({ "user_ids": [user] })
}

/// Waits until a client that is heard of has taken everything of the user's from what is pending. That what was written
/// has left is noted ten times a second at the most, so the first sign may come too early to count.
fn confirm(world: &World, user: &str, mut sign: impl FnMut()) {
    eventually("what came is confirmed", || {
        sign();
        pending(world, user).is_empty()
    });
}

/// A frame that is not among those that are 50 a second.
fn gives_a_sign(client: &mut Client) {
    assert_eq!(client.ask("resume", json!({"rooms": {}}))["type"], "sync.complete");
}

/// The topics that come on a new connection of the user's, which is not heard of again.
fn pending(world: &World, user: &str) -> Vec<String> {
    let mut client = world.fresh_client(user);
    let frames = client.until("sync.complete");
    drop(client.abandon());
    topics(&frames).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_notification_comes_at_once_to_every_connection_of_a_target_who_is_online() {
    let world = World::new();
    let [mut bob, mut second] = world.clients(["bob", "bob"]);
    let body = json!({"topic": "order.shipped", "payload": {"a": [1, "é"]}, "targets": to("bob")});
    let sent = world.as_tenant("POST", "/notify", &body);
    assert_eq!(sent.status, 202);
    let told = bob.next();
    let timestamp = told["timestamp"].as_u64().unwrap();
    let expected = json!({
        "type": "notification", "notification_id": sent.body["notification_id"], "topic": "order.shipped",
        "payload": r#"{"a":[1,"é"]}"#, "timestamp": timestamp,
    });
    assert_eq!(told, expected);
    assert_eq!(second.next(), expected);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(timestamp) < 30, "{timestamp} is no Unix time in seconds");
}

#[test]
fn a_payload_is_told_as_the_text_it_was_given_as() {
    let world = World::new();
    let [mut bob] = world.clients(["bob"]);
    for payload in ["null", "1.50", "[ 1 ,2]", r#"{ "b": "\u00e9", "a": "x\"}" }"#] {
        let body = format!(r#"{{"topic":"t","payload":{payload},"targets":{{"user_ids":["bob"]}}}}"#);
        let sent = world.server.request("POST", "/notify", &[("X-API-Key", &world.tenant.api_key)], &body);
        assert_eq!(sent.status, 202, "{payload}");
        assert_eq!(bob.next()["payload"], payload);
    }
}

#[test]
fn notifications_come_in_the_order_they_were_sent() {
    let world = World::new();
    let [mut bob] = world.clients(["bob"]);
    let sent: Vec<String> = (0..50).map(|number| world.notify(&number.to_string(), &to("bob"))).collect();
    let told: Vec<Value> = sent.iter().map(|_| bob.next()["notification_id"].take()).collect();
    assert_eq!(told, sent);
}

#[test]
fn a_notification_for_a_user_who_is_away_comes_on_connect() {
    let world = World::new();
    let id = world.notify("missed", &to("bob"));
    let frames = world.fresh_client("bob").until("sync.complete");
    assert_eq!(topics(&frames), ["missed"]);
    assert_eq!(frames[1]["notification_id"], *id);
}

#[test]
fn a_notification_comes_again_until_a_connection_it_was_written_to_was_heard_of() {
    let world = World::new();
    world.notify("n", &to("bob"));
    for _ in 0..3 {
        assert_eq!(pending(&world, "bob"), ["n"]);
    }
    let mut bob = world.client("bob");
    confirm(&world, "bob", || gives_a_sign(&mut bob));
}

#[test]
fn a_repeat_has_the_same_notification_id() {
    let world = World::new();
    let id = world.notify("n", &to("bob"));
    for _ in 0..2 {
        let mut client = world.fresh_client("bob");
        assert_eq!(client.next_of("notification")["notification_id"], *id);
        drop(client.abandon());
    }
}

#[test]
fn a_notification_that_came_live_to_a_connection_that_was_cut_comes_again() {
    let world = World::new();
    let [mut bob] = world.clients(["bob"]);
    world.notify("n", &to("bob"));
    assert_eq!(bob.next()["topic"], "n");
    drop(bob.abandon());
    assert_eq!(pending(&world, "bob"), ["n"]);
}

#[test]
fn a_notification_that_came_live_and_whose_connection_was_heard_of_does_not_come_again() {
    let world = World::new();
    let [mut bob] = world.clients(["bob"]);
    world.notify("n", &to("bob"));
    assert_eq!(bob.next()["topic"], "n");
    confirm(&world, "bob", || gives_a_sign(&mut bob));
}

#[test]
fn a_protocol_ping_is_hearing_of_a_connection_too() {
    let world = World::new();
    let [mut bob] = world.clients(["bob"]);
    world.notify("n", &to("bob"));
    assert_eq!(bob.next()["topic"], "n");
    let mut stream = bob.abandon();
    confirm(&world, "bob", || {
        stream.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
        let mut pong = [0; 2];
        stream.read_exact(&mut pong).unwrap();
        assert_eq!(pong, [0x8a, 0]);
    });
}

#[test]
fn a_confirmation_counts_for_its_own_user_alone() {
    let world = World::new();
    world.notify("n", &json!({"user_ids": ["alice", "bob"]}));
    let mut alice = world.client("alice");
    confirm(&world, "alice", || gives_a_sign(&mut alice));
    assert_eq!(pending(&world, "bob"), ["n"]);
}

#[test]
fn a_notification_outlives_a_crash() {
    let world = World::new();
    world.notify("n", &to("bob"));
    let world = world.kill_and_restart();
    assert_eq!(pending(&world, "bob"), ["n"]);
}

#[test]
fn of_many_pending_notifications_the_newest_1000_come() {
    let world = World::new();
    for number in 1..=1_003 {
        world.notify(&number.to_string(), &to("bob"));
    }
    let expected: Vec<String> = (4..=1_003).map(|number| number.to_string()).collect();
    assert_eq!(pending(&world, "bob"), expected);
}

#[test]
fn without_durable_notifications_who_is_online_is_told_and_who_is_away_never() {
    let world = World::with(&[], NOT_DURABLE);
    let [mut alice] = world.clients(["alice"]);
    world.notify("n", &json!({"user_ids": ["alice", "bob"]}));
    assert_eq!(alice.next()["topic"], "n");
    assert_eq!(pending(&world, "bob"), Vec::<String>::new());
}

#[test]
fn without_durable_notifications_nothing_comes_again() {
    let world = World::with(&[], NOT_DURABLE);
    let [mut bob] = world.clients(["bob"]);
    world.notify("n", &to("bob"));
    assert_eq!(bob.next()["topic"], "n");
    drop(bob.abandon());
    assert_eq!(pending(&world, "bob"), Vec::<String>::new());
}

#[test]
fn durable_notifications_are_switched_at_once() {
    let world = World::new();
    for (durable, topic) in [(false, "lost"), (true, "kept"), (false, "lost too")] {
        let change = json!({"config": {"durable_notifications": durable}});
        assert_eq!(world.as_operator("PATCH", "", &change).status, 200);
        world.notify(topic, &to("bob"));
    }
    // Once this one is there, those before it would be.
    let [mut alice] = world.clients(["alice"]);
    world.notify("last", &to("alice"));
    assert_eq!(alice.next()["topic"], "last");
    assert_eq!(pending(&world, "bob"), ["kept"]);
}
