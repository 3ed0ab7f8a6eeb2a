//! What members hear of rooms and of messages that change (protocol, sections 4, 5 and 7).

use serde_json::{Value, json};

use crate::client::{World, kinds, seqs};

fn path(room: &str, rest: &str) -> String {
    format!("/rooms/{room}{rest}")
}

#[test]
fn a_room_that_is_created_is_told_to_every_member_as_rest_has_it() {
    let world = World::new();
    let [mut alice, mut bob, mut zoe] = world.clients(["alice", "bob", "zoe"]);
    let body = json!({"type": "group", "members": ["bob"], "name": "n", "metadata": "{\"a\": 1}"});
    let created = world.rest("alice", "POST", "/rooms", &body);
    assert_eq!(created.status, 201);
    let told = json!({"type": "room.created", "room_id": created.text("room_id"), "room": created.body});
    // No `member.joined` for those it is created with.
    assert_eq!(alice.hears(), std::slice::from_ref(&told));
    assert_eq!(bob.hears(), [told]);
    zoe.hears_nothing();
}

#[test]
fn a_dm_that_exists_already_is_told_to_nobody_again() {
    let world = World::new();
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    let body = json!({"type": "dm", "members": ["alice", "bob"]});
    for (caller, status, told) in [("alice", 201, &["room.created"][..]), ("bob", 200, &[])] {
        assert_eq!(world.rest(caller, "POST", "/rooms", &body).status, status);
        assert_eq!(kinds(&alice.hears()), told);
        assert_eq!(kinds(&bob.hears()), told);
    }
}

#[test]
fn messages_of_a_room_created_meanwhile_come_to_open_connections() {
    let world = World::new();
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    let room = world.group(&["alice", "bob"]);
    alice.say("send_message", json!({"room_id": room, "content": "first"}));
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.next()["type"], "room.created");
        assert_eq!(client.next()["content"], "first");
    }
}

#[test]
fn a_room_that_changes_is_told_to_every_member_as_rest_has_it() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob, mut zoe] = world.clients(["alice", "bob", "zoe"]);
    let changed = world.rest("alice", "PATCH", &path(&room, ""), &json!({"name": "new", "metadata": "[]"}));
    assert_eq!((changed.status, &changed.body["name"]), (200, &json!("new")));
    let told = json!({"type": "room.updated", "room_id": room, "room": changed.body});
    assert_eq!(alice.hears(), std::slice::from_ref(&told));
    assert_eq!(bob.hears(), [told]);
    zoe.hears_nothing();
}

#[test]
fn a_room_that_is_deleted_is_told_to_every_member_and_nothing_of_it_follows() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    world.send("alice", &room, "x");
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    assert_eq!(world.rest("alice", "DELETE", &path(&room, ""), &Value::Null).status, 204);
    let told = json!({"type": "room.deleted", "room_id": room});
    assert_eq!(alice.hears(), std::slice::from_ref(&told));
    assert_eq!(bob.hears(), [told]);
    for (kind, fields) in [
        ("send_message", json!({"room_id": room, "content": "x"})),
        ("ack", json!({"room_id": room, "seq": 1})),
        ("typing.start", json!({"room_id": room})),
        ("subscribe", json!({"room_id": room, "after_seq": 0})),
        ("resume", json!({"rooms": {&room: 0}})),
    ] {
        assert_eq!(bob.ask(kind, fields)["code"], "NOT_FOUND", "{kind}");
    }
    alice.hears_nothing();
}

#[test]
fn a_member_who_joins_is_told_to_every_member_and_to_the_user() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob, mut carol, mut zoe] = world.clients(["alice", "bob", "carol", "zoe"]);
    let joined = world.rest("alice", "POST", &path(&room, "/members"), &json!({"user_id": "carol", "role": "admin"}));
    assert_eq!(joined.status, 201);
    let told = json!({"type": "member.joined", "room_id": room, "user_id": "carol", "role": "admin"});
    for client in [&mut alice, &mut bob, &mut carol] {
        assert_eq!(client.hears(), std::slice::from_ref(&told));
    }
    zoe.hears_nothing();
}

#[test]
fn who_joins_a_channel_by_oneself_is_told_as_a_member() {
    let world = World::new();
    let room = world.rest("alice", "POST", "/rooms", &json!({"type": "channel", "members": []})).text("room_id");
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    assert_eq!(world.rest("bob", "POST", &path(&room, "/members"), &json!({"user_id": "bob"})).status, 201);
    let told = json!({"type": "member.joined", "room_id": room, "user_id": "bob", "role": "member"});
    assert_eq!(alice.hears(), std::slice::from_ref(&told));
    assert_eq!(bob.hears(), [told]);
}

#[test]
fn a_new_member_hears_what_is_sent_from_then_on_and_misses_nothing_before() {
    let world = World::new();
    let room = world.group(&["alice"]);
    world.send("alice", &room, "before");
    let [mut carol] = world.clients(["carol"]);
    world.rest("alice", "POST", &path(&room, "/members"), &json!({"user_id": "carol"}));
    world.send("alice", &room, "after");
    assert_eq!(seqs(&carol.hears()), [2]);
    let connected = world.fresh_client("carol").until("sync.complete");
    assert_eq!(seqs(&connected), [2], "what was sent before is no backlog");
    carol.say("subscribe", json!({"room_id": room, "after_seq": 0}));
    assert_eq!(seqs(&carol.until("sync.complete")), [1, 2], "but it is readable");
}

#[test]
fn a_role_that_changes_is_told_to_every_member() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    let members = path(&room, "/members");
    assert_eq!(world.rest("alice", "POST", &members, &json!({"user_id": "bob", "role": "admin"})).status, 200);
    let told = json!({"type": "member.updated", "room_id": room, "user_id": "bob", "role": "admin"});
    assert_eq!(alice.hears(), std::slice::from_ref(&told));
    assert_eq!(bob.hears(), [told]);
    assert_eq!(world.rest("alice", "POST", &members, &json!({"user_id": "bob"})).status, 200);
    alice.hears_nothing();
    bob.hears_nothing();
}

#[test]
fn a_member_who_is_removed_is_told_to_every_member_and_to_the_user() {
    let world = World::new();
    let room = world.group(&["alice", "bob", "carol"]);
    let [mut alice, mut bob, mut second, mut carol] = world.clients(["alice", "bob", "bob", "carol"]);
    assert_eq!(world.rest("alice", "DELETE", &path(&room, "/members/bob"), &Value::Null).status, 204);
    let told = json!({"type": "member.left", "room_id": room, "user_id": "bob", "role": "member"});
    for client in [&mut alice, &mut bob, &mut second, &mut carol] {
        assert_eq!(client.hears(), std::slice::from_ref(&told));
    }
}

#[test]
fn after_a_user_was_removed_nothing_of_the_room_follows_on_the_user_s_connections() {
    let world = World::new();
    let room = world.group(&["alice", "bob", "carol"]);
    let message = world.send("alice", &room, "x");
    let message = path(&room, &format!("/messages/{}", message["message_id"].as_str().unwrap()));
    let [mut alice, mut bob, mut second] = world.clients(["alice", "bob", "bob"]);
    world.rest("alice", "DELETE", &path(&room, "/members/bob"), &Value::Null);
    alice.hears();
    assert_eq!(bob.next()["type"], "member.left");
    assert_eq!(second.next()["type"], "member.left");
    world.send("alice", &room, "y");
    world.rest("alice", "PATCH", &message, &json!({"content": "edited"}));
    world.rest("alice", "DELETE", &message, &Value::Null);
    alice.say("typing.start", json!({ "room_id": room }));
    alice.say("ack", json!({"room_id": room, "seq": 2}));
    world.rest("alice", "PATCH", &path(&room, ""), &json!({"name": "n"}));
    world.rest("alice", "POST", &path(&room, "/members"), &json!({"user_id": "dave"}));
    let heard = ["message", "message.updated", "message.deleted", "ack.received", "room.updated", "member.joined"];
    let mut told = kinds(&alice.hears()).join(" ");
    // The ack came over a socket: where it falls among the requests is open.
    for kind in heard {
        assert!(told.contains(kind), "{kind} in {told}");
        told = told.replacen(kind, "", 1);
    }
    world.rest("alice", "DELETE", &path(&room, ""), &Value::Null);
    bob.hears_nothing();
    second.hears_nothing();
}

#[test]
fn a_user_who_was_removed_can_do_nothing_in_the_room() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    world.send("alice", &room, "x");
    let [mut bob] = world.clients(["bob"]);
    world.rest("alice", "DELETE", &path(&room, "/members/bob"), &Value::Null);
    assert_eq!(bob.next()["type"], "member.left");
    for (kind, fields) in [
        ("send_message", json!({"room_id": room, "content": "x"})),
        ("ack", json!({"room_id": room, "seq": 1})),
        ("typing.start", json!({"room_id": room})),
        ("subscribe", json!({"room_id": room, "after_seq": 0})),
        ("resume", json!({"rooms": {&room: 0}})),
    ] {
        assert_eq!(bob.ask(kind, fields)["code"], "AUTHORIZATION_ERROR", "{kind}");
    }
    let connected = world.fresh_client("bob").until("sync.complete");
    assert_eq!(kinds(&connected), ["connected", "sync.complete"]);
}

#[test]
fn a_user_who_comes_back_to_a_room_hears_it_from_then_on() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    world.send("alice", &room, "1");
    let [mut bob] = world.clients(["bob"]);
    world.rest("alice", "DELETE", &path(&room, "/members/bob"), &Value::Null);
    world.send("alice", &room, "2");
    world.rest("alice", "POST", &path(&room, "/members"), &json!({"user_id": "bob"}));
    world.send("alice", &room, "3");
    let frames = bob.hears();
    assert_eq!(kinds(&frames), ["member.left", "member.joined", "message"]);
    assert_eq!(frames[2]["seq"], 3);
}

#[test]
fn when_the_last_admin_leaves_the_one_who_takes_over_is_told_as_updated() {
    let world = World::new();
    let room = world.group(&["alice", "bob", "carol"]);
    let [mut alice, mut bob, mut carol] = world.clients(["alice", "bob", "carol"]);
    assert_eq!(world.rest("alice", "DELETE", &path(&room, "/members/alice"), &Value::Null).status, 204);
    let left = json!({"type": "member.left", "room_id": room, "user_id": "alice", "role": "admin"});
    assert_eq!(alice.hears(), std::slice::from_ref(&left));
    for client in [&mut bob, &mut carol] {
        let frames = client.hears();
        assert_eq!(frames[0], left);
        assert_eq!(
            (frames.len(), &frames[1]["type"], &frames[1]["role"]),
            (2, &json!("member.updated"), &json!("admin"))
        );
    }
}

#[test]
fn when_the_last_admin_steps_down_the_one_who_takes_over_is_told_too() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut bob] = world.clients(["bob"]);
    let demoted = world.rest("alice", "POST", &path(&room, "/members"), &json!({"user_id": "alice", "role": "member"}));
    assert_eq!(demoted.status, 200);
    let updated =
        |user: &str, role: &str| json!({"type": "member.updated", "room_id": room, "user_id": user, "role": role});
    assert_eq!(bob.hears(), [updated("alice", "member"), updated("bob", "admin")]);
}

#[test]
fn the_last_member_who_leaves_is_told() {
    let world = World::new();
    let room = world.group(&["alice"]);
    let [mut alice] = world.clients(["alice"]);
    assert_eq!(world.rest("alice", "DELETE", &path(&room, "/members/alice"), &Value::Null).status, 204);
    assert_eq!(alice.next(), json!({"type": "member.left", "room_id": room, "user_id": "alice", "role": "admin"}));
    assert_eq!(alice.ask("send_message", json!({"room_id": room, "content": "x"}))["code"], "NOT_FOUND");
}

#[test]
fn an_ack_by_rest_is_told_to_every_member_s_connections_once() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    world.send("alice", &room, "x");
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    for _ in 0..2 {
        assert_eq!(world.rest("bob", "POST", "/acks", &json!({"room_id": room, "seq": 1})).status, 200);
    }
    let told = json!({"type": "ack.received", "room_id": room, "seq": 1, "user_id": "bob"});
    assert_eq!(alice.hears(), std::slice::from_ref(&told));
    assert_eq!(bob.hears(), [told]);
}
