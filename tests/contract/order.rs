//! Where several refusals apply, which of them counts (protocol, section 1).

use serde_json::json;

use crate::support::eventually;
use crate::world::{Caller, ROUTES, World, assert_refused, shared};

#[test]
fn the_path_is_judged_before_the_key() {
    let server = shared();
    let wrong = [("X-API-Key", "sk_wrong"), ("X-User-Id", "alice")];
    assert_refused(&server.request("GET", "/nowhere", &wrong, ""), 404, "NOT_FOUND", "path");
    assert_refused(&server.request("PUT", "/rooms", &wrong, ""), 405, "METHOD_NOT_ALLOWED", "method");
}

#[test]
fn the_key_is_judged_before_the_body() {
    let server = shared();
    for route in ROUTES.iter().filter(|route| route.caller != Caller::Public && !route.body.is_empty()) {
        let path = route.path;
        assert_refused(&server.request(route.method, path, &[], "{"), 401, "AUTHENTICATION_ERROR", path);
    }
}

#[test]
fn the_rate_is_judged_before_the_body_and_the_thing() {
    let world = World::with_config(r#"{"rate_limit":1}"#);
    // The bucket fills again while a slow machine asks.
    eventually("the tenant is over its rate", || world.user("alice", "GET", "/rooms", "").status == 429);
    for (method, path, body) in [("POST", "/rooms", "{"), ("GET", "/rooms/room_0", ""), ("GET", "/rooms?limit=x", "")] {
        eventually("the rate is judged first", || world.user("alice", method, path, body).status == 429);
    }
}

#[test]
fn the_body_is_judged_before_the_thing() {
    let world = World::new();
    let group = world.group();
    for room in ["/rooms/room_0000000000000000", &group] {
        // Carol is no member of the one, and the other is not there.
        for (method, tail, body) in [
            ("PATCH", "", "{"),
            ("POST", "/members", r#"{"user_id":""}"#),
            ("POST", "/messages", r#"{"content":""}"#),
            ("PATCH", "/messages/msg_0", r#"{"content":7}"#),
            ("GET", "/messages?limit=0", ""),
        ] {
            let refused = world.user("carol", method, &format!("{room}{tail}"), body);
            assert_refused(&refused, 400, "VALIDATION_ERROR", tail);
        }
        let long = json!({"content": "x".repeat(4_097)}).to_string();
        let refused = world.user("carol", "POST", &format!("{room}/messages"), &long);
        assert_refused(&refused, 413, "PAYLOAD_TOO_LARGE", room);
    }
}

#[test]
fn the_thing_is_judged_before_a_conflict() {
    let world = World::new();
    let dm = world.dm();
    let members = format!("{dm}/members");
    assert_refused(&world.user("carol", "POST", &members, r#"{"user_id":"dave"}"#), 403, "AUTHORIZATION_ERROR", "add");
    let refused = world.user("carol", "DELETE", &format!("{dm}/members/bob"), "");
    assert_refused(&refused, 403, "AUTHORIZATION_ERROR", "remove");
    let group = world.group();
    let path = format!("{group}/messages");
    let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "bob"), ("Idempotency-Key", "k")];
    assert_eq!(world.server.request("POST", &path, &headers, r#"{"content":"x"}"#).status, 200);
    assert_eq!(world.user("bob", "DELETE", &format!("{group}/members/bob"), "").status, 204);
    let reused = world.server.request("POST", &path, &headers, r#"{"content":"y"}"#);
    assert_refused(&reused, 403, "AUTHORIZATION_ERROR", "a key reused by somebody who left");
}

#[test]
fn what_http_rejects_is_judged_before_the_path() {
    let server = shared();
    for request in ["GET /nowhere HTTP/1.1\r\n\r\n", "PUT /rooms HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n"] {
        assert!(server.raw(request.as_bytes()).starts_with("HTTP/1.1 400 "), "{request}");
    }
    assert!(server.raw(b"BREW /nowhere HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 501 "));
}

#[test]
fn the_origin_of_a_handshake_is_judged_before_the_key_and_the_rate() {
    let world = World::with_config(r#"{"rate_limit":1}"#);
    eventually("the bucket of connects is empty", || world.user("alice", "POST", "/ws/token", "").status == 429);
    let key = world.tenant.api_key.as_str();
    for headers in [
        &[("Origin", "https://evil.example")][..],
        &[("Origin", "https://evil.example"), ("X-API-Key", "sk_unknown"), ("X-User-Id", "alice")],
        &[("Origin", "https://evil.example"), ("X-API-Key", key), ("X-User-Id", "alice")],
    ] {
        let refused = world.server.handshake("/ws", headers).err();
        assert_eq!(refused, Some((403, "AUTHORIZATION_ERROR".to_owned())), "{headers:?}");
    }
}

#[test]
fn a_missing_user_is_judged_before_the_rate() {
    let world = World::with_config(r#"{"rate_limit":1}"#);
    eventually("the tenant is over its rate", || world.user("alice", "GET", "/rooms", "").status == 429);
    for _ in 0..20 {
        assert_refused(&world.itself("POST", "/acks", "{}"), 401, "AUTHENTICATION_ERROR", "no user");
    }
}

#[test]
fn the_rate_is_judged_before_the_size_of_the_body_and_a_user_id_that_is_none() {
    let world = World::with_config(r#"{"rate_limit":1}"#);
    let head = format!(
        "POST /rooms HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nX-User-Id: alice\r\nContent-Length: 2097153\r\n\r\n",
        world.tenant.api_key
    );
    eventually("429 comes before 413", || {
        world.user("alice", "GET", "/rooms", "");
        world.server.raw(head.as_bytes()).starts_with("HTTP/1.1 429 ")
    });
    eventually("429 comes before 400", || world.user("", "GET", "/rooms", "").status == 429);
}
