//! How much a client may ask (protocol, sections 2 and 7).

use serde_json::{Value, json};

use crate::client::{Client, UNLIMITED, World};
use crate::support::eventually;

/// So slow that no token comes back while a test runs.
const FOUR: &str = r#"{"rate_limit":4}"#;

/// Empties the tenant's bucket by frames that cost a token each; hands back the refusal.
fn exhaust(client: &mut Client, room: &str) -> Value {
    loop {
        let answer = client.ask("send_message", json!({"room_id": room, "content": "x", "request_id": "r1"}));
        if answer["type"] == "error" {
            return answer;
        }
    }
}

#[test]
fn a_frame_past_the_rate_limit_is_answered_with_when_to_come_again() {
    let world = World::with(&[], FOUR);
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    let refusal = exhaust(&mut bob, &room);
    assert_eq!((&refusal["code"], &refusal["request_id"]), (&json!("RATE_LIMIT_EXCEEDED"), &json!("r1")));
    let retry_after_ms = refusal["retry_after_ms"].as_u64().unwrap();
    assert!((1..=250).contains(&retry_after_ms), "{refusal}");
}

#[test]
fn a_message_that_was_refused_by_the_limit_uses_up_no_number() {
    let world = World::with(&[], FOUR);
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    let (mut sent, mut refused) = (0, 0);
    while refused < 3 || sent < 6 {
        let answer = bob.ask("send_message", json!({"room_id": room, "content": "x"}));
        if answer["type"] == "message" {
            sent += 1;
            assert_eq!(answer["seq"], sent);
        } else {
            refused += 1;
        }
    }
}

#[test]
fn frames_and_requests_share_their_tenant_s_bucket() {
    let world = World::with(&[], FOUR);
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    // On a busy machine a token may come back in between.
    eventually("a request is refused for what frames took", || {
        exhaust(&mut bob, &room);
        world.rest("alice", "GET", "/rooms", &Value::Null).status == 429
    });
}

#[test]
fn one_tenant_s_limit_is_not_another_s() {
    let world = World::with(&[], FOUR);
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    exhaust(&mut bob, &room);
    let other = world.server.create_tenant(FOUR);
    assert_eq!(world.server.as_user(&other, "bob", "GET", "/rooms", "").status, 200);
}

#[test]
fn ping_ack_and_typing_take_none_of_the_tenant_s_tokens() {
    let world = World::with(&[], r#"{"rate_limit":8}"#);
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    exhaust(&mut bob, &room);
    for _ in 0..10 {
        assert_eq!(bob.ask("ping", json!({}))["type"], "pong");
        assert_eq!(bob.ask("ack", json!({"room_id": room, "seq": 0}))["type"], "ack.received");
        bob.say("typing.start", json!({ "room_id": room }));
    }
    bob.hears_nothing();
}

#[test]
fn ping_ack_and_typing_are_50_a_second_for_each_connection_together() {
    let world = World::new();
    let room = world.group(&["bob"]);
    let [mut bob, mut other] = world.clients(["bob", "bob"]);
    for number in 0..200 {
        match number % 3 {
            0 => bob.say("ping", json!({})),
            1 => bob.say("ack", json!({"room_id": room, "seq": 0})),
            _ => bob.say("typing.stop", json!({"room_id": room, "request_id": "t"})),
        }
    }
    bob.say("send_message", json!({"room_id": room, "content": "still open"}));
    let frames = bob.until("message");
    let refusals: Vec<&Value> = frames.iter().filter(|frame| frame["type"] == "error").collect();
    assert!(refusals.iter().all(|refusal| refusal["code"] == "RATE_LIMIT_EXCEEDED"), "{refusals:?}");
    assert!(refusals.iter().all(|refusal| refusal["retry_after_ms"].as_u64() >= Some(1)), "{refusals:?}");
    assert!(refusals.iter().any(|refusal| refusal["request_id"] == "t"), "typing counts too");
    // Fewer where the bucket gained meanwhile; one token went before.
    assert!((1..=151).contains(&refusals.len()), "{} were refused", refusals.len());
    assert_eq!(other.next()["type"], "message");
    other.hears_nothing();
}

#[test]
fn connects_have_a_bucket_ten_times_as_large_of_their_own() {
    let world = World::with(&[("WS_MAX_CONNECTIONS_PER_USER", "100")], r#"{"rate_limit":1}"#);
    let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "bob")];
    let mut clients = Vec::new();
    let refusal = loop {
        match world.shake("/ws", &headers) {
            Ok(client) => clients.push(client),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal, (429, "RATE_LIMIT_EXCEEDED".to_owned()));
    assert!(clients.len() >= 10, "{} connected", clients.len());
    assert_eq!(world.rest("bob", "GET", "/rooms", &Value::Null).status, 200, "requests have theirs");
}

#[test]
fn tokens_and_connects_share_a_bucket() {
    let world = World::with(&[], r#"{"rate_limit":1}"#);
    // On a busy machine a token may come back in between.
    eventually("a connect is refused for what tokens took", || {
        let mut token = String::new();
        let refused = loop {
            let answer = world.rest("bob", "POST", "/ws/token", &Value::Null);
            assert_eq!(answer.header("RateLimit-Limit"), Some("10"));
            if answer.status != 200 {
                break answer;
            }
            token = answer.text("token");
        };
        assert_eq!((refused.status, refused.code()), (429, "RATE_LIMIT_EXCEEDED"));
        assert!(refused.header("Retry-After").unwrap().parse::<u64>().unwrap() >= 1);
        match world.shake(&format!("/ws?token={token}"), &[]) {
            Ok(_) => false,
            Err(refusal) => refusal == (429, "RATE_LIMIT_EXCEEDED".to_owned()),
        }
    });
}

#[test]
fn a_limit_that_is_lowered_holds_at_once_on_open_connections() {
    let world = World::with(&[], UNLIMITED);
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    assert_eq!(world.as_operator("PATCH", "", &json!({"config": {"rate_limit": 1}})).status, 200);
    let refusal = exhaust(&mut bob, &room);
    assert_eq!(refusal["code"], "RATE_LIMIT_EXCEEDED");
}

#[test]
fn a_limit_that_is_raised_holds_at_once_on_open_connections() {
    let world = World::with(&[], r#"{"rate_limit":1}"#);
    let room = world.server.request(
        "POST",
        "/rooms",
        &[("X-API-Key", &world.tenant.api_key), ("X-User-Id", "bob")],
        r#"{"type":"group","members":["bob"]}"#,
    );
    let room = room.text("room_id");
    let mut bob = world.client("bob");
    exhaust(&mut bob, &room);
    assert_eq!(world.as_operator("PATCH", "", &json!({"config": {"rate_limit": 1_000_000}})).status, 200);
    // What was missing from the bucket is missing still: a moment fills it at the new rate.
    eventually("a message passes", || {
        bob.ask("send_message", json!({"room_id": room, "content": "x"}))["type"] == "message"
    });
    for _ in 0..50 {
        assert_eq!(bob.ask("send_message", json!({"room_id": room, "content": "x"}))["type"], "message");
    }
}
