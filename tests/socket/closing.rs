//! How connections end (protocol, sections 7 and 10).

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};

use serde_json::json;

use crate::client::World;

#[test]
fn a_close_of_the_client_s_is_answered_with_its_code() {
    let world = World::new();
    let mut stream = world.client("bob").abandon();
    stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [0x88, 2, 0x03, 0xe8]);
}

#[test]
fn at_a_shutdown_every_socket_is_told_when_to_come_back_and_closed_with_1001() {
    let world = World::new();
    let clients = world.clients(["alice", "bob", "bob", "carol", "dave"]);
    world.server.signal("TERM");
    let mut drawn = BTreeSet::new();
    for mut client in clients {
        let goodbye = client.next();
        assert_eq!(goodbye["type"], "server.shutdown");
        let after = goodbye["reconnect_after_ms"].as_u64().unwrap();
        assert!((2_500..=7_500).contains(&after), "{goodbye}");
        drawn.insert(after);
        assert_eq!(client.close_code().0, 1001);
    }
    assert!(drawn.len() > 1, "each is drawn for itself: {drawn:?}");
}

#[test]
fn what_was_sent_before_a_close_is_served() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    for number in 1..=20 {
        alice.say("send_message", json!({"room_id": room, "content": number.to_string()}));
    }
    alice.close();
    for number in 1..=20 {
        assert_eq!(bob.next()["content"], number.to_string());
    }
}

#[test]
fn a_connection_that_ends_disturbs_no_other_of_its_user() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [first, mut second] = world.clients(["bob", "bob"]);
    first.close();
    world.send("alice", &room, "x");
    assert_eq!(second.next()["content"], "x");
}
