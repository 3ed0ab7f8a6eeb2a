//! The token buckets of a tenant (protocol, section 2).

use serde_json::json;

use crate::support::Response;
use crate::world::{World, assert_refused, room_id};

/// `RateLimit-Limit`, `-Remaining`, `-Reset`, which must be plain numbers.
fn told(response: &Response) -> [u64; 3] {
    ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]
        .map(|name| response.header(name).unwrap_or_else(|| panic!("no {name} in {response:?}")).parse().unwrap())
}

#[test]
fn a_burst_of_one_second_s_worth_passes_and_then_it_is_429_with_retry_after() {
    let world = World::with_config(r#"{"rate_limit":50}"#);
    let mut passed = 0;
    let limited = loop {
        let answer = world.user("alice", "GET", "/rooms", "");
        match answer.status {
            200 => passed += 1,
            _ => break answer,
        }
        assert!(passed < 20_000, "the rate is not limited");
    };
    assert!(passed >= 50, "{passed}");
    assert_refused(&limited, 429, "RATE_LIMIT_EXCEEDED", "past the burst");
    assert!(limited.header("Retry-After").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(told(&limited)[..2], [50, 0]);
    assert_eq!(told(&limited)[2], 1, "a burst is a second's worth, and that is how long the bucket takes to fill");
}

#[test]
fn every_response_to_a_valid_key_carries_the_rate_limit() {
    // A token takes longer to come back than the answer to tell of it.
    let world = World::with_config(r#"{"rate_limit":20}"#);
    let room = world.group();
    for (method, path, body, status) in [
        ("GET", "/rooms", "", 200),
        ("GET", "/rooms?limit=x", "", 400),
        ("POST", "/rooms", "{", 400),
        ("GET", "/rooms/room_0", "", 404),
        ("DELETE", "/subscriptions/1", "", 404),
    ] {
        let answer = world.user("alice", method, path, body);
        assert_eq!(answer.status, status);
        let [limit, remaining, _] = told(&answer);
        assert!(limit == 20 && remaining < limit, "{answer:?}");
    }
    told(&world.user("carol", "GET", &room, ""));
    told(&world.itself("POST", "/acks", "{}"));
    told(&world.user("", "GET", "/rooms", ""));
}

#[test]
fn a_response_to_no_valid_key_carries_no_rate_limit() {
    let world = World::new();
    for (path, headers) in [
        ("/livez", &[("X-API-Key", world.tenant.api_key.as_str())][..]),
        ("/rooms", &[("X-API-Key", "sk_unknown"), ("X-User-Id", "alice")]),
        ("/rooms", &[]),
    ] {
        assert_eq!(world.server.request("GET", path, headers, "").header("RateLimit-Limit"), None, "{path}");
    }
}

#[test]
fn a_rest_request_takes_one_token_once() {
    // A bucket this slow fills by no token while the test runs.
    let world = World::with_config(r#"{"rate_limit":2}"#);
    let first = told(&world.user("alice", "GET", "/rooms", ""))[1];
    let second = told(&world.user("alice", "GET", "/rooms/room_0", ""))[1];
    assert!(first == 1 && second <= 1, "{first} {second}");
    crate::support::eventually("both tokens are taken", || world.user("alice", "GET", "/rooms", "").status == 429);
}

#[test]
fn the_rate_of_a_tenant_is_100_unless_it_is_set() {
    let world = World::with_config("{}");
    assert_eq!(told(&world.user("alice", "GET", "/rooms", ""))[0], 100);
}

#[test]
fn one_tenant_s_rate_is_not_another_s() {
    let world = World::with_config(r#"{"rate_limit":1}"#);
    crate::support::eventually("it is over its rate", || world.user("alice", "GET", "/rooms", "").status == 429);
    let other = world.neighbour();
    assert_eq!(other.user("alice", "GET", "/rooms", "").status, 200);
}

#[test]
fn tokens_of_sockets_have_a_bucket_of_their_own_ten_times_as_large() {
    let world = World::with_config(r#"{"rate_limit":3}"#);
    let before = told(&world.user("alice", "GET", "/rooms", ""))[1];
    let mut issued = 0;
    let limited = loop {
        let answer = world.user("alice", "POST", "/ws/token", "");
        assert_eq!(told(&answer)[0], 30);
        match answer.status {
            200 => issued += 1,
            _ => break answer,
        }
        assert!(issued < 20_000, "the rate is not limited");
    };
    assert!(issued >= 30, "{issued}");
    assert_refused(&limited, 429, "RATE_LIMIT_EXCEEDED", "past ten times the burst");
    let after = told(&world.user("alice", "GET", "/rooms", ""))[1];
    assert!(after + 1 >= before, "the other bucket did not notice: {before} {after}");
}

#[test]
fn connects_share_the_bucket_of_tokens() {
    let world = World::with_config(r#"{"rate_limit":1}"#);
    crate::support::eventually("the bucket is empty", || world.user("alice", "POST", "/ws/token", "").status == 429);
    let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "alice")];
    crate::support::eventually("a connect finds it empty", || {
        // The bucket fills again by ten in a second: a slow machine may find a token.
        let mut refused = world.user("alice", "POST", "/ws/token", "").status == 429;
        match world.server.handshake("/ws", &headers) {
            Err(refusal) => assert_eq!(refusal, (429, "RATE_LIMIT_EXCEEDED".to_owned())),
            Ok(_) => refused = false,
        }
        refused
    });
}

#[test]
fn a_client_frame_takes_a_token_and_a_ping_none() {
    let world = World::with_config(r#"{"rate_limit":5}"#);
    let mut alice = world.server.connect(&world.tenant, "alice");
    alice.next_of("sync.complete");
    for _ in 0..40 {
        alice.send(&json!({"type": "ping"}));
        assert_eq!(alice.next()["type"], "pong");
    }
    let frame = json!({"type": "subscribe", "room_id": "room_0"});
    let refused = (0..20_000).find_map(|_| {
        alice.send(&frame);
        let error = alice.next();
        (error["code"] == "RATE_LIMIT_EXCEEDED").then_some(error)
    });
    let error = refused.unwrap();
    assert!(error["retry_after_ms"].as_u64().is_some_and(|ms| ms >= 1), "{error}");
}

#[test]
fn pings_acks_and_typing_are_50_a_second_together_for_each_connection() {
    let world = World::new();
    let room = world.group();
    let room = room_id(&room);
    let mut alice = world.server.connect(&world.tenant, "alice");
    alice.next_of("sync.complete");
    let kinds = ["ping", "ack"];
    // No more than may wait for a connection that does not read.
    for index in 0..600 {
        let frame = json!({"type": kinds[index % 2], "room_id": room, "seq": 0});
        alice.send(&frame);
    }
    let answers: Vec<_> = (0..600).map(|_| alice.next()).collect();
    let served = answers.iter().filter(|answer| answer["type"] != "error").count();
    let limited = answers.iter().filter(|answer| answer["code"] == "RATE_LIMIT_EXCEEDED").count();
    assert!(served >= 50 && limited > 0 && served + limited == 600, "{served} served, {limited} limited");
}

/// The head of the answer to a handshake, in lower case.
fn handshake(world: &World, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = world.server.open();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-API-Key: {}\r\nX-User-Id: alice\r\n\r\n",
        world.tenant.api_key
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[test]
fn a_handshake_with_a_valid_key_is_told_the_rate_limit_and_a_request_id_too() {
    let world = World::with_config(r#"{"rate_limit":5}"#);
    for (path, status) in [("/ws", "101"), ("/ws?sync=maybe", "400")] {
        let head = handshake(&world, path);
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{path}: {head}");
        assert!(head.contains("x-request-id: "), "{path}: {head}");
        let is_told = head.contains("ratelimit-limit: 50\r\n");
        assert!(is_told, "{path}: {head}");
    }
}

#[test]
fn a_refusal_for_want_of_a_user_carries_the_rate_limit_of_the_key() {
    let world = World::with_config(r#"{"rate_limit":5}"#);
    for (method, path) in [("POST", "/acks"), ("GET", "/subscriptions")] {
        let refused = world.itself(method, path, "");
        assert_eq!((refused.status, told(&refused)[0]), (401, 5), "{path}");
    }
}
