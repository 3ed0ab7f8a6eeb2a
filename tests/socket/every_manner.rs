//! What a client does, in both forms of frames and both ways to authenticate: they must not differ.

use serde_json::{Value, json};

use crate::client::{Form, Manner, Way, World, kinds, messages, seqs, topics};

/// Makes each behaviour a test in every manner.
macro_rules! in_every_manner {
    ($($behaviour:ident,)*) => {
        in_every_manner!(@ fields_beside_type_by_headers, BesideType, Headers, $($behaviour,)*);
        in_every_manner!(@ fields_beside_type_by_token, BesideType, Token, $($behaviour,)*);
        in_every_manner!(@ fields_inside_data_by_headers, InsideData, Headers, $($behaviour,)*);
        in_every_manner!(@ fields_inside_data_by_token, InsideData, Token, $($behaviour,)*);
    };
    (@ $manner:ident, $form:ident, $way:ident, $($behaviour:ident,)*) => {
        mod $manner {
            use super::{Form, Manner, Way};

            $(
                #[test]
                fn $behaviour() {
                    super::$behaviour(Manner { form: Form::$form, way: Way::$way });
                }
            )*
        }
    };
}

in_every_manner! {
    connected_is_the_first_frame,
    a_sent_message_comes_to_all_members_and_with_its_request_id_to_this_connection_alone,
    meta_is_carried_as_it_was_given,
    a_repeat_by_idempotency_key_is_answered_with_the_first_message_to_this_connection_alone,
    an_ack_that_moves_is_told_to_every_connection_of_every_member,
    an_ack_that_does_not_move_is_answered_to_this_connection_alone,
    typing_is_told_to_the_other_members_alone,
    subscribe_streams_from_last_ack_then_tells_its_room_and_head,
    subscribe_streams_from_a_given_position,
    resume_streams_several_rooms_then_one_sync_complete,
    a_ping_is_answered,
    every_error_echoes_its_request_id_and_leaves_the_connection_open,
    missed_messages_and_notifications_come_on_connect_before_sync_complete,
    what_was_acked_does_not_come_on_the_next_connect,
    who_comes_is_announced_to_those_who_share_a_room,
}

fn connected_is_the_first_frame(manner: Manner) {
    let world = World::new();
    let mut bob = world.fresh_client_in(manner, "bob");
    let connected = bob.next();
    assert_eq!((&connected["type"], &connected["user_id"]), (&json!("connected"), &json!("bob")));
    for field in ["connection_id", "server_time", "epoch"] {
        assert!(connected[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {connected}");
    }
    let complete = json!({"type": "sync.complete", "rooms": 0, "messages": 0, "truncated": {}});
    assert_eq!(bob.next(), complete, "with no backlog it comes at once");
}

fn a_sent_message_comes_to_all_members_and_with_its_request_id_to_this_connection_alone(manner: Manner) {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut second, mut bob] = world.clients_in(manner, ["alice", "alice", "bob"]);
    let mut echo = alice.ask("send_message", json!({"room_id": room, "content": "Hé\0", "request_id": "r1"}));
    let heard = bob.next();
    assert_eq!(second.next(), heard);
    assert_eq!(echo.as_object_mut().unwrap().remove("request_id"), Some("r1".into()));
    assert_eq!(echo, heard);
    let stored = &world.server.history(&world.tenant, "alice", &room)[0];
    let expected = json!({
        "type": "message", "room_id": room, "message_id": stored["message_id"], "seq": 1, "sender_id": "alice",
        "content": "Hé\0", "created_at": stored["created_at"],
    });
    assert_eq!(heard, expected);
}

fn meta_is_carried_as_it_was_given(manner: Manner) {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob] = world.clients_in(manner, ["alice", "bob"]);
    let meta = "{ \"a\": [1,  2.50] }";
    alice.say("send_message", json!({"room_id": room, "content": "x", "meta": meta}));
    assert_eq!(bob.next()["meta"], meta);
}

fn a_repeat_by_idempotency_key_is_answered_with_the_first_message_to_this_connection_alone(manner: Manner) {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut second, mut bob] = world.clients_in(manner, ["alice", "alice", "bob"]);
    let frame = |request_id: &str| json!({"room_id": room, "content": "once", "idempotency_key": "key-1", "request_id": request_id});
    let mut expected = alice.ask("send_message", frame("r1"));
    for client in [&mut second, &mut bob] {
        client.next();
    }
    let replayed = alice.ask("send_message", frame("r2"));
    expected["request_id"] = "r2".into();
    expected["replayed"] = true.into();
    assert_eq!(replayed, expected);
    second.hears_nothing();
    bob.hears_nothing();
    assert_eq!(world.server.history(&world.tenant, "alice", &room).len(), 1);
}

fn an_ack_that_moves_is_told_to_every_connection_of_every_member(manner: Manner) {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    world.send("alice", &room, "x");
    let [mut alice, mut second, mut bob] = world.clients_in(manner, ["alice", "alice", "bob"]);
    let told = json!({"type": "ack.received", "room_id": room, "seq": 1, "user_id": "alice"});
    let mut answer = alice.ask("ack", json!({"room_id": room, "seq": 1, "request_id": "r1"}));
    assert_eq!(second.next(), told);
    assert_eq!(bob.next(), told);
    assert_eq!(answer.as_object_mut().unwrap().remove("request_id"), Some("r1".into()));
    assert_eq!(answer, told);
    alice.hears_nothing();
}

fn an_ack_that_does_not_move_is_answered_to_this_connection_alone(manner: Manner) {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    world.send("alice", &room, "x");
    world.send("alice", &room, "y");
    assert_eq!(world.rest("alice", "POST", "/acks", &json!({"room_id": room, "seq": 2})).status, 200);
    let [mut alice, mut second, mut bob] = world.clients_in(manner, ["alice", "alice", "bob"]);
    for seq in [2, 1, 0] {
        let answer = alice.ask("ack", json!({"room_id": room, "seq": seq}));
        assert_eq!(answer, json!({"type": "ack.received", "room_id": room, "seq": 2, "user_id": "alice"}));
    }
    second.hears_nothing();
    bob.hears_nothing();
}

fn typing_is_told_to_the_other_members_alone(manner: Manner) {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, second, mut bob, zoe] = world.clients_in(manner, ["alice", "alice", "bob", "zoe"]);
    for action in ["start", "stop"] {
        alice.say(&format!("typing.{action}"), json!({ "room_id": room }));
        assert_eq!(bob.next(), json!({"type": "typing", "room_id": room, "user_id": "alice", "action": action}));
    }
    for mut client in [alice, second, zoe] {
        client.hears_nothing();
    }
}

fn subscribe_streams_from_last_ack_then_tells_its_room_and_head(manner: Manner) {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    for content in ["1", "2", "3"] {
        world.send("alice", &room, content);
    }
    world.rest("bob", "POST", "/acks", &json!({"room_id": room, "seq": 1}));
    let [mut bob] = world.clients_in(manner, ["bob"]);
    bob.say("subscribe", json!({"room_id": room, "request_id": "r1"}));
    let frames = bob.until("sync.complete");
    assert_eq!(seqs(&frames), [2, 3]);
    let complete = json!({
        "type": "sync.complete", "rooms": 1, "messages": 2, "truncated": {}, "room_id": room, "last_seq": 3,
        "request_id": "r1",
    });
    assert_eq!(frames[2..], [complete]);
}

fn subscribe_streams_from_a_given_position(manner: Manner) {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    for content in ["1", "2", "3"] {
        world.send("alice", &room, content);
    }
    world.rest("bob", "POST", "/acks", &json!({"room_id": room, "seq": 3}));
    let [mut bob] = world.clients_in(manner, ["bob"]);
    for (after, expected) in [(0, vec![1, 2, 3]), (2, vec![3]), (3, vec![])] {
        bob.say("subscribe", json!({"room_id": room, "after_seq": after}));
        let frames = bob.until("sync.complete");
        assert_eq!(seqs(&frames), expected);
        assert_eq!(frames.len(), expected.len() + 1);
    }
}

fn resume_streams_several_rooms_then_one_sync_complete(manner: Manner) {
    let world = World::new();
    let rooms = [(); 3].map(|()| world.group(&["alice", "bob"]));
    for room in &rooms {
        for content in ["1", "2"] {
            world.send("alice", room, content);
        }
        world.rest("bob", "POST", "/acks", &json!({"room_id": room, "seq": 2}));
    }
    let [mut bob] = world.clients_in(manner, ["bob"]);
    let positions = json!({ &rooms[0]: 0, &rooms[1]: 1, &rooms[2]: 2 });
    bob.say("resume", json!({"rooms": positions, "request_id": "r1"}));
    let frames = bob.until("sync.complete");
    for (room, expected) in rooms.iter().zip([&[1, 2][..], &[2], &[]]) {
        let of_room: Vec<Value> = frames.iter().filter(|frame| frame["room_id"] == **room).cloned().collect();
        assert_eq!(seqs(&of_room), expected);
    }
    let complete = json!({"type": "sync.complete", "rooms": 2, "messages": 3, "truncated": {}, "request_id": "r1"});
    assert_eq!(frames[3..], [complete]);
    bob.hears_nothing();
}

fn a_ping_is_answered(manner: Manner) {
    let world = World::new();
    let mut bob = world.client_in(manner, "bob");
    assert_eq!(bob.ask("ping", json!({})), json!({"type": "pong"}));
    assert_eq!(bob.ask("ping", json!({"request_id": "r1"})), json!({"type": "pong", "request_id": "r1"}));
}

fn every_error_echoes_its_request_id_and_leaves_the_connection_open(manner: Manner) {
    let world = World::new();
    let others = world.group(&["alice"]);
    let room = world.group(&["bob"]);
    let mut bob = world.client_in(manner, "bob");
    for (kind, fields, code, field) in [
        ("fly", json!({}), "VALIDATION_ERROR", json!("type")),
        ("send_message", json!({"room_id": room}), "VALIDATION_ERROR", json!("content")),
        ("send_message", json!({"room_id": room, "content": 7}), "VALIDATION_ERROR", json!("content")),
        ("send_message", json!({"room_id": room, "content": "x".repeat(4_097)}), "PAYLOAD_TOO_LARGE", json!("content")),
        ("send_message", json!({"room_id": others, "content": "x"}), "AUTHORIZATION_ERROR", Value::Null),
        ("send_message", json!({"room_id": "room_none", "content": "x"}), "NOT_FOUND", Value::Null),
        ("ack", json!({"room_id": room}), "VALIDATION_ERROR", json!("seq")),
        ("ack", json!({"room_id": room, "seq": -1}), "VALIDATION_ERROR", json!("seq")),
        ("ack", json!({"room_id": room, "seq": 1}), "VALIDATION_ERROR", json!("seq")),
        ("ack", json!({"room_id": others, "seq": 0}), "AUTHORIZATION_ERROR", Value::Null),
        ("ack", json!({"room_id": "room_none", "seq": 0}), "NOT_FOUND", Value::Null),
        ("typing.start", json!({}), "VALIDATION_ERROR", json!("room_id")),
        ("typing.start", json!({"room_id": others}), "AUTHORIZATION_ERROR", Value::Null),
        ("typing.stop", json!({"room_id": "room_none"}), "NOT_FOUND", Value::Null),
        ("subscribe", json!({"room_id": others}), "AUTHORIZATION_ERROR", Value::Null),
        ("subscribe", json!({"room_id": "room_none", "after_seq": 0}), "NOT_FOUND", Value::Null),
        ("subscribe", json!({"room_id": room, "after_seq": 1}), "VALIDATION_ERROR", json!("after_seq")),
        ("resume", json!({}), "VALIDATION_ERROR", json!("rooms")),
        ("resume", json!({"rooms": {&room: 0, &others: 0}}), "AUTHORIZATION_ERROR", Value::Null),
        ("resume", json!({"rooms": {&room: 0, "room_none": 0}}), "NOT_FOUND", Value::Null),
        ("resume", json!({"rooms": {&room: 1}}), "VALIDATION_ERROR", json!("rooms")),
    ] {
        let mut asked = fields.clone();
        asked["request_id"] = "r1".into();
        let answer = bob.ask(kind, asked);
        assert_eq!(
            (&answer["type"], &answer["code"], &answer["request_id"], &answer["field"]),
            (&json!("error"), &json!(code), &json!("r1"), &field),
            "{kind} {fields}: {answer}"
        );
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    bob.hears_nothing();
}

fn missed_messages_and_notifications_come_on_connect_before_sync_complete(manner: Manner) {
    let world = World::new();
    let rooms = [(); 2].map(|()| world.group(&["alice", "bob"]));
    for room in &rooms {
        for content in ["1", "2", "3"] {
            world.send("alice", room, content);
        }
    }
    world.notify("n", &json!({"user_ids": ["bob"]}));
    let mut bob = world.fresh_client_in(manner, "bob");
    let frames = bob.until("sync.complete");
    let message = "message";
    assert_eq!(
        kinds(&frames),
        ["connected", message, message, message, message, message, message, "notification", "sync.complete"]
    );
    for room in &rooms {
        let of_room: Vec<&Value> = messages(&frames).filter(|frame| frame["room_id"] == **room).collect();
        let contents: Vec<&Value> = of_room.iter().map(|frame| &frame["content"]).collect();
        assert_eq!(contents, ["1", "2", "3"]);
    }
    let complete = json!({"type": "sync.complete", "rooms": 2, "messages": 6, "truncated": {}});
    assert_eq!(frames[8..], [complete]);
}

fn what_was_acked_does_not_come_on_the_next_connect(manner: Manner) {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    for content in ["1", "2", "3"] {
        world.send("alice", &room, content);
    }
    let mut bob = world.client_in(manner, "bob");
    bob.ask("ack", json!({"room_id": room, "seq": 2}));
    bob.close();
    let frames = world.fresh_client_in(manner, "bob").until("sync.complete");
    assert_eq!(seqs(&frames), [3]);
    assert_eq!(topics(&frames), Vec::<&str>::new());
}

fn who_comes_is_announced_to_those_who_share_a_room(manner: Manner) {
    let world = World::new();
    world.group(&["alice", "bob"]);
    let [mut alice, mut zoe] = world.clients_in(manner, ["alice", "zoe"]);
    let _bob = world.client_in(manner, "bob");
    let told = alice.next();
    let timestamp = told["timestamp"].as_u64().unwrap();
    assert_eq!(told, json!({"type": "presence.update", "user_id": "bob", "status": "online", "timestamp": timestamp}));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(timestamp) < 30, "{timestamp} is no Unix time in seconds");
    zoe.hears_nothing();
}
