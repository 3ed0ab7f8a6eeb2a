//! Who gets a connection, and by which handshake (protocol, section 7).

use serde_json::{Value, json};

use crate::client::{UNLIMITED, World, kinds, seqs, topics};
use crate::support::Response;

/// Without the headers that make a request a handshake.
fn ordinary(world: &World, path: &str) -> Response {
    world.server.request("GET", path, &[], "")
}

#[track_caller]
fn refused(world: &World, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    world.shake(path, headers).map(|_| ()).unwrap_err()
}

fn unauthenticated() -> (u16, String) {
    (401, "AUTHENTICATION_ERROR".to_owned())
}

#[test]
fn a_token_is_told_with_its_60_seconds() {
    let world = World::new();
    let told = world.rest("bob", "POST", "/ws/token", &Value::Null);
    assert_eq!((told.status, &told.body["expires_in"]), (200, &json!(60)));
    let token = told.text("token");
    // 128 random bits in base64 are 22 characters.
    assert!(token.starts_with("wst_") && token.len() >= 4 + 22, "{token}");
}

#[test]
fn a_token_needs_a_user() {
    let world = World::new();
    let refused = world.as_tenant("POST", "/ws/token", &Value::Null);
    assert_eq!((refused.status, refused.code()), (401, "AUTHENTICATION_ERROR"));
}

#[test]
fn a_token_works_once() {
    let world = World::new();
    let path = format!("/ws?token={}", world.token("bob"));
    let mut bob = world.shake(&path, &[]).unwrap();
    assert_eq!(bob.next()["user_id"], "bob");
    assert_eq!(refused(&world, &path, &[]), unauthenticated());
}

#[test]
fn a_token_with_its_own_user_beside_it_connects() {
    let world = World::new();
    let path = format!("/ws?user_id=bob%20smith&token={}", world.token("bob smith"));
    assert_eq!(world.shake(&path, &[]).unwrap().next()["user_id"], "bob smith");
}

#[test]
fn a_token_with_another_user_beside_it_is_401_and_dies() {
    let world = World::new();
    let token = world.token("bob");
    assert_eq!(refused(&world, &format!("/ws?token={token}&user_id=alice"), &[]), unauthenticated());
    assert_eq!(refused(&world, &format!("/ws?token={token}"), &[]), unauthenticated());
}

#[test]
fn a_token_survives_a_request_that_is_no_proper_handshake() {
    let world = World::new();
    let path = format!("/ws?token={}", world.token("bob"));
    assert_eq!(ordinary(&world, &path).status, 426);
    let malformed = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    assert!(world.server.raw(malformed.as_bytes()).starts_with("HTTP/1.1 426 "));
    assert!(world.shake(&path, &[]).is_ok());
}

#[test]
fn a_token_dies_with_a_proper_handshake_that_is_refused() {
    let world = World::new();
    let token = world.token("bob");
    assert_eq!(refused(&world, &format!("/ws?token={token}&sync=perhaps"), &[]).0, 400);
    assert_eq!(refused(&world, &format!("/ws?token={token}"), &[]), unauthenticated());
}

#[test]
fn a_token_is_no_longer_than_a_run() {
    let world = World::new();
    let path = format!("/ws?token={}", world.token("bob"));
    let world = world.kill_and_restart();
    assert_eq!(refused(&world, &path, &[]), unauthenticated());
}

#[test]
fn a_key_with_the_user_in_the_query_connects() {
    let world = World::new();
    let mut bob = world.shake("/ws?user_id=b%C3%B6b", &[("X-API-Key", &world.tenant.api_key)]).unwrap();
    assert_eq!(bob.next()["user_id"], "böb");
}

#[test]
fn the_socket_is_served_under_v1_too() {
    let world = World::new();
    let path = format!("/v1/ws?token={}", world.token("bob"));
    assert_eq!(world.shake(&path, &[]).unwrap().next()["type"], "connected");
    let told = world.rest("bob", "POST", "/v1/ws/token", &Value::Null);
    assert!(world.shake(&format!("/ws?token={}", told.text("token")), &[]).is_ok());
}

#[test]
fn a_key_without_a_user_is_401() {
    let world = World::new();
    assert_eq!(refused(&world, "/ws", &[("X-API-Key", &world.tenant.api_key)]), unauthenticated());
}

#[test]
fn an_unknown_key_is_401() {
    let world = World::new();
    assert_eq!(refused(&world, "/ws", &[("X-API-Key", "sk_none"), ("X-User-Id", "bob")]), unauthenticated());
}

#[test]
fn a_key_in_the_query_is_never_accepted() {
    let world = World::new();
    let path = format!("/ws?api_key={}&user_id=bob", world.tenant.api_key);
    assert_eq!(refused(&world, &path, &[("X-User-Id", "bob")]), unauthenticated());
}

#[test]
fn a_user_id_that_is_none_is_400() {
    let world = World::new();
    for user in ["%20bob", "bob%0A", "", &"x".repeat(129)] {
        let refusal = refused(&world, &format!("/ws?user_id={user}"), &[("X-API-Key", &world.tenant.api_key)]);
        assert_eq!(refusal, (400, "VALIDATION_ERROR".to_owned()), "{user:?}");
    }
}

#[test]
fn a_get_without_an_upgrade_is_426_with_credentials_and_without() {
    let world = World::new();
    let token = world.token("bob");
    let with_key = world.rest("bob", "GET", "/ws", &Value::Null);
    for answer in [ordinary(&world, "/ws"), ordinary(&world, &format!("/v1/ws?token={token}")), with_key] {
        assert_eq!((answer.status, answer.code()), (426, "UPGRADE_REQUIRED"));
        assert_eq!(answer.header("Upgrade"), Some("websocket"));
    }
}

#[test]
fn sync_false_streams_no_backlog_and_tells_no_sync_complete() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    world.send("alice", &room, "missed");
    let mut bob = world.unsynced_client("bob");
    assert_eq!(kinds(&bob.hears()), ["connected"]);
    world.send("alice", &room, "live");
    assert_eq!(seqs(&bob.hears()), [2]);
}

#[test]
fn sync_false_still_brings_pending_notifications() {
    let world = World::new();
    world.notify("pending", &json!({"user_ids": ["bob"]}));
    let mut bob = world.unsynced_client("bob");
    assert_eq!(bob.next()["type"], "connected");
    assert_eq!(bob.next()["topic"], "pending");
}

#[test]
fn sync_true_is_what_is_done_without_it() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    world.send("alice", &room, "missed");
    let mut bob = world.shake(&format!("/ws?sync=true&token={}", world.token("bob")), &[]).unwrap();
    let frames = bob.until("sync.complete");
    assert_eq!(seqs(&frames), [1]);
    assert_eq!(topics(&frames), Vec::<&str>::new());
}

#[test]
fn a_connection_past_the_limit_of_its_user_is_closed_with_1008_without_a_connected() {
    let world = World::with(&[("WS_MAX_CONNECTIONS_PER_USER", "2")], UNLIMITED);
    world.group(&["alice", "bob"]);
    let [mut alice, mut first, _second] = world.clients(["alice", "bob", "bob"]);
    let mut third = world.fresh_client("bob");
    // Nothing but the close frame: `hears` and `next` would fail on it.
    let closed = third.try_next();
    assert_eq!(closed, Some(Value::Null));
    assert!(third.try_next().is_none());
    alice.hears_nothing();
    first.hears_nothing();
}

#[test]
fn a_connection_past_the_limit_is_told_so_by_its_close() {
    let world = World::with(&[("WS_MAX_CONNECTIONS_PER_USER", "1")], UNLIMITED);
    let _first = world.client("bob");
    assert_eq!(world.fresh_client("bob").close_code().0, 1008);
}

#[test]
fn the_limit_counts_each_user_of_each_tenant_alone() {
    let world = World::with(&[("WS_MAX_CONNECTIONS_PER_USER", "1")], UNLIMITED);
    let _bob = world.client("bob");
    let mut alice = world.client("alice");
    alice.hears_nothing();
    let other = world.server.create_tenant(UNLIMITED);
    let mut foreign = world.server.connect(&other, "bob");
    assert_eq!(foreign.next()["type"], "connected");
}

#[test]
fn a_connection_that_has_closed_makes_room_for_another() {
    let world = World::with(&[("WS_MAX_CONNECTIONS_PER_USER", "1")], UNLIMITED);
    for _ in 0..3 {
        world.client("bob").close();
        crate::support::eventually("the last one is forgotten", || {
            world.server.request("GET", "/metrics", &[], "").body["active_connections"] == 0
        });
    }
}

#[test]
fn each_connection_has_an_id_of_its_own_and_all_one_epoch() {
    let world = World::new();
    let [first, second] = [(); 2].map(|()| world.fresh_client("bob").next());
    assert_ne!(first["connection_id"], second["connection_id"]);
    assert_eq!(first["epoch"], second["epoch"]);
    let world = world.kill_and_restart();
    assert_eq!(world.fresh_client("bob").next()["epoch"], first["epoch"], "positions outlive a crash");
}
