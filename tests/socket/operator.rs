//! What the operator's calls do to open connections (protocol, section 3).

use serde_json::{Value, json};

use crate::client::{UNLIMITED, World};

fn unauthenticated() -> (u16, String) {
    (401, "AUTHENTICATION_ERROR".to_owned())
}

fn by_key(world: &World, key: &str) -> Result<(), (u16, String)> {
    world.shake("/ws", &[("X-API-Key", key), ("X-User-Id", "bob")]).map(|_| ())
}

fn rotate(world: &World, body: &Value) -> String {
    let rotated = world.as_operator("POST", "/rotate-key", body);
    assert_eq!(rotated.status, 200, "{rotated:?}");
    rotated.text("api_key")
}

#[test]
fn deleting_a_tenant_closes_its_sockets_with_1008() {
    let world = World::new();
    world.group(&["alice", "bob"]);
    let clients = world.clients(["alice", "bob", "bob"]);
    assert_eq!(world.as_operator("DELETE", "", &Value::Null).status, 204);
    for mut client in clients {
        assert_eq!(client.close_code().0, 1008);
    }
}

#[test]
fn after_a_tenant_was_deleted_its_key_and_tokens_connect_nobody() {
    let world = World::new();
    let token = world.token("bob");
    assert_eq!(world.as_operator("DELETE", "", &Value::Null).status, 204);
    assert_eq!(by_key(&world, &world.tenant.api_key), Err(unauthenticated()));
    assert_eq!(world.shake(&format!("/ws?token={token}"), &[]).map(|_| ()), Err(unauthenticated()));
}

#[test]
fn deleting_a_tenant_disturbs_no_other() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    let other = world.server.create_tenant(UNLIMITED);
    let headers = [("X-Master-Key", crate::support::MASTER_KEY)];
    let path = format!("/admin/tenants/{}", other.tenant_id);
    assert_eq!(world.server.request("DELETE", &path, &headers, "").status, 204);
    alice.say("send_message", json!({"room_id": room, "content": "x"}));
    assert_eq!(bob.next()["content"], "x");
}

#[test]
fn open_sockets_stay_when_a_key_is_rotated() {
    let world = World::new();
    let room = world.group(&["alice", "bob"]);
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    rotate(&world, &json!({}));
    alice.say("send_message", json!({"room_id": room, "content": "x"}));
    assert_eq!(bob.next()["content"], "x");
}

#[test]
fn open_sockets_are_closed_with_1008_where_a_rotation_says_so() {
    let world = World::new();
    let [mut alice, mut bob] = world.clients(["alice", "bob"]);
    rotate(&world, &json!({"close_sockets": true, "grace_seconds": 60}));
    assert_eq!(alice.close_code().0, 1008);
    assert_eq!(bob.close_code().0, 1008);
}

#[test]
fn after_a_rotation_the_new_key_connects_and_the_old_one_does_not() {
    let world = World::new();
    let key = rotate(&world, &Value::Null);
    assert_eq!(by_key(&world, &world.tenant.api_key), Err(unauthenticated()));
    assert_eq!(by_key(&world, &key), Ok(()));
}

#[test]
fn an_old_key_connects_for_its_seconds_of_grace_and_no_longer() {
    let world = World::new();
    let key = rotate(&world, &json!({"grace_seconds": 2}));
    assert_eq!(by_key(&world, &world.tenant.api_key), Ok(()));
    crate::support::eventually("the grace is over", || by_key(&world, &world.tenant.api_key) == Err(unauthenticated()));
    assert_eq!(by_key(&world, &key), Ok(()));
}

#[test]
fn unused_tokens_die_with_a_rotation() {
    let world = World::new();
    let token = world.token("bob");
    rotate(&world, &json!({"grace_seconds": 60}));
    assert_eq!(world.shake(&format!("/ws?token={token}"), &[]).map(|_| ()), Err(unauthenticated()));
}

#[test]
fn a_new_message_size_holds_at_once_on_open_connections() {
    let world = World::new();
    let room = world.group(&["bob"]);
    let [mut bob] = world.clients(["bob"]);
    for (size, code) in [(json!(3), json!("PAYLOAD_TOO_LARGE")), (json!(4), Value::Null), (Value::Null, Value::Null)] {
        let changed = world.as_operator("PATCH", "", &json!({"config": {"max_message_size": size}}));
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!(bob.ask("send_message", json!({"room_id": room, "content": "four"}))["code"], code, "{size}");
    }
}
