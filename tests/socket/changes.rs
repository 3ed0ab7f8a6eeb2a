//! What becomes of messages: edited, deleted, sent twice under one key (protocol, sections 5 and 7).

use serde_json::{Value, json};

use crate::client::{Client, World, kinds, messages};

/// A room with a message of alice's, the path of that, and alice and bob, who were sent it.
fn world() -> (World, String, String, [Client; 2]) {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let body = json!({"content": "first", "meta": "{\"k\":1}"});
    let sent = world.rest("alice", "POST", &format!("/rooms/{room}/messages"), &body);
    let path = format!("/rooms/{room}/messages/{}", sent.text("message_id"));
    let clients = world.clients(["alice", "bob"]);
    (world, room, path, clients)
}

#[test]
fn an_edit_is_told_to_every_member_with_the_new_content_and_the_kept_meta() {
    let (world, room, path, clients) = world();
    let edited = world.rest("alice", "PATCH", &path, &json!({"content": "second"}));
    assert_eq!(edited.status, 200);
    let told = json!({
        "type": "message.updated", "room_id": room, "message_id": edited.body["message_id"], "seq": 1,
        "sender_id": "alice", "content": "second", "meta": "{\"k\":1}", "edited_at": edited.body["edited_at"],
    });
    for mut client in clients {
        assert_eq!(client.hears(), std::slice::from_ref(&told));
    }
}

#[test]
fn an_edit_that_clears_meta_is_told_without_one() {
    let (world, _room, path, [_alice, mut bob]) = world();
    assert_eq!(world.rest("alice", "PATCH", &path, &json!({"content": "x", "meta": null})).status, 200);
    let told = bob.next();
    assert_eq!((&told["type"], told.get("meta")), (&json!("message.updated"), None));
}

#[test]
fn a_deletion_is_told_to_every_member_once() {
    let (world, room, path, clients) = world();
    for _ in 0..2 {
        assert_eq!(world.rest("alice", "DELETE", &path, &Value::Null).status, 204);
    }
    let message_id = path.rsplit('/').next().unwrap();
    let told = json!({
        "type": "message.deleted", "room_id": room, "message_id": message_id, "seq": 1, "sender_id": "alice",
    });
    for mut client in clients {
        assert_eq!(client.hears(), std::slice::from_ref(&told));
    }
}

#[test]
fn a_deletion_by_the_tenant_itself_is_told_too() {
    let (world, _room, path, clients) = world();
    assert_eq!(world.as_tenant("DELETE", &path, &Value::Null).status, 204);
    for mut client in clients {
        assert_eq!(kinds(&client.hears()), ["message.deleted"]);
    }
}

#[test]
fn a_refused_change_is_told_to_nobody() {
    let (world, _room, path, clients) = world();
    assert_eq!(world.rest("bob", "PATCH", &path, &json!({"content": "x"})).status, 403);
    assert_eq!(world.rest("bob", "DELETE", &path, &Value::Null).status, 403);
    for mut client in clients {
        client.hears_nothing();
    }
}

#[test]
fn an_edited_message_is_streamed_as_it_now_is() {
    let (world, room, path, [_alice, mut bob]) = world();
    let edited = world.rest("alice", "PATCH", &path, &json!({"content": "second"})).body;
    let expected = json!({
        "type": "message", "room_id": room, "message_id": edited["message_id"], "seq": 1, "sender_id": "alice",
        "content": "second", "meta": "{\"k\":1}", "created_at": edited["created_at"], "edited_at": edited["edited_at"],
    });
    let connected = world.fresh_client("bob").until("sync.complete");
    assert_eq!(messages(&connected).collect::<Vec<_>>(), [&expected]);
    bob.hears();
    bob.say("subscribe", json!({"room_id": room, "after_seq": 0}));
    assert_eq!(bob.next(), expected);
}

#[test]
fn a_deleted_message_is_streamed_as_it_now_is() {
    let (world, room, path, [_alice, mut bob]) = world();
    world.rest("alice", "DELETE", &path, &Value::Null);
    let stored = world.rest("alice", "GET", &path, &Value::Null).body;
    let expected = json!({
        "type": "message", "room_id": room, "message_id": stored["message_id"], "seq": 1, "sender_id": "alice",
        "content": "", "created_at": stored["created_at"], "deleted_at": stored["deleted_at"],
    });
    assert!(stored["deleted_at"].is_string());
    let connected = world.fresh_client("bob").until("sync.complete");
    assert_eq!(messages(&connected).collect::<Vec<_>>(), [&expected]);
    bob.hears();
    bob.say("resume", json!({"rooms": {&room: 0}}));
    assert_eq!(bob.next(), expected);
}

#[test]
fn a_repeat_brings_the_first_message_as_it_now_is() {
    let world = World::new();
    let room = world.group(&["alice"]);
    let [mut alice] = world.clients(["alice"]);
    let frame = json!({"room_id": room, "content": "first", "idempotency_key": "k"});
    let sent = alice.ask("send_message", frame.clone());
    let path = format!("/rooms/{room}/messages/{}", sent["message_id"].as_str().unwrap());
    world.rest("alice", "PATCH", &path, &json!({"content": "second"}));
    assert_eq!(alice.next()["type"], "message.updated");
    let replayed = alice.ask("send_message", frame);
    assert_eq!((&replayed["content"], &replayed["replayed"]), (&json!("second"), &json!(true)));
    assert!(replayed["edited_at"].is_string());
}

#[test]
fn a_key_that_was_used_by_rest_is_used_for_sockets_and_the_other_way_round() {
    let world = World::new();
    let room = world.group(&["alice"]);
    let [mut alice] = world.clients(["alice"]);
    let send = |key: &str| {
        let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "alice"), ("Idempotency-Key", key)];
        world.server.request("POST", &format!("/rooms/{room}/messages"), &headers, r#"{"content":"x"}"#)
    };
    let by_rest = send("k1");
    assert_eq!(alice.next()["message_id"], by_rest.body["message_id"]);
    let replayed = alice.ask("send_message", json!({"room_id": room, "content": "x", "idempotency_key": "k1"}));
    assert_eq!((&replayed["message_id"], &replayed["replayed"]), (&by_rest.body["message_id"], &json!(true)));
    let by_socket = alice.ask("send_message", json!({"room_id": room, "content": "x", "idempotency_key": "k2"}));
    assert_eq!(send("k2").body["message_id"], by_socket["message_id"]);
    alice.hears_nothing();
}

#[test]
fn a_key_with_another_message_is_an_error() {
    let world = World::new();
    let room = world.group(&["alice"]);
    let [mut alice] = world.clients(["alice"]);
    alice.ask("send_message", json!({"room_id": room, "content": "x", "idempotency_key": "k"}));
    for other in [json!({"content": "y"}), json!({"content": "x", "meta": "{}"})] {
        let mut frame = other;
        frame["room_id"] = room.clone().into();
        frame["idempotency_key"] = "k".into();
        frame["request_id"] = "r1".into();
        let answer = alice.ask("send_message", frame);
        assert_eq!((&answer["code"], &answer["request_id"]), (&json!("IDEMPOTENCY_KEY_REUSED"), &json!("r1")));
    }
}

#[test]
fn a_refused_frame_uses_up_no_key() {
    let world = World::new();
    let room = world.group(&["alice"]);
    let [mut bob] = world.clients(["bob"]);
    let frame = json!({"room_id": room, "content": "x", "idempotency_key": "k"});
    assert_eq!(bob.ask("send_message", frame.clone())["code"], "AUTHORIZATION_ERROR");
    world.rest("alice", "POST", &format!("/rooms/{room}/members"), &json!({"user_id": "bob"}));
    assert_eq!(bob.next()["type"], "member.joined");
    let sent = bob.ask("send_message", frame);
    assert_eq!((&sent["seq"], sent.get("replayed")), (&json!(1), None));
}

#[test]
fn twins_in_flight_store_one_message_and_are_both_answered() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    for request_id in ["r1", "r2"] {
        let frame = json!({"room_id": room, "content": "x", "idempotency_key": "k", "request_id": request_id});
        alice.say("send_message", frame);
    }
    let answers = [alice.next(), alice.next()];
    assert_eq!(answers[0]["message_id"], answers[1]["message_id"]);
    assert_eq!((answers[0].get("replayed"), &answers[1]["replayed"]), (None, &json!(true)));
    assert_eq!(kinds(&bob.hears()), ["message"]);
}
