//! A tenant's key is replaced (protocol, section 3).

use serde_json::{Value, json};

use crate::support::{Response, Server, Tenant, eventually};
use crate::world::{World, assert_blames, operator};

fn rotate(world: &World, body: &str) -> Response {
    world.operator("POST", &world.tenant_path("/rotate-key"), body)
}

fn status(world: &World, api_key: &str) -> u16 {
    world.server.request("GET", "/rooms", &[("X-API-Key", api_key), ("X-User-Id", "alice")], "").status
}

#[test]
fn a_rotation_answers_200_with_the_tenant_and_the_new_key_alone() {
    let world = World::new();
    let rotated = rotate(&world, "{}");
    assert_eq!(rotated.status, 200);
    let api_key = rotated.text("api_key");
    assert!(api_key.starts_with("sk_") && api_key != world.tenant.api_key);
    assert_eq!(rotated.body, json!({"tenant_id": world.tenant.tenant_id, "api_key": api_key}));
    assert_eq!(status(&world, &api_key), 200);
}

#[test]
fn the_old_key_works_no_more_where_no_grace_was_asked_for() {
    for body in ["", "{}", r#"{"grace_seconds":0}"#, r#"{"grace_seconds":null,"close_sockets":null}"#] {
        let world = World::new();
        assert_eq!(status(&world, &world.tenant.api_key), 200);
        assert_eq!(rotate(&world, body).status, 200);
        assert_eq!(status(&world, &world.tenant.api_key), 401, "{body}");
    }
}

#[test]
fn the_old_key_works_beside_the_new_one_for_the_grace() {
    let world = World::new();
    let api_key = rotate(&world, r#"{"grace_seconds":86400}"#).text("api_key");
    assert_eq!([status(&world, &world.tenant.api_key), status(&world, &api_key)], [200, 200]);
}

#[test]
fn the_old_key_is_401_when_its_grace_is_over() {
    let world = World::new();
    let api_key = rotate(&world, r#"{"grace_seconds":1}"#).text("api_key");
    eventually("the grace is over", || status(&world, &world.tenant.api_key) == 401);
    assert_eq!(status(&world, &api_key), 200);
}

#[test]
fn a_grace_is_0_to_86400_seconds() {
    let world = World::new();
    for grace in [json!(-1), json!(86_401), json!(1.5), json!("60"), json!(true)] {
        let body = json!({"grace_seconds": grace}).to_string();
        assert_blames(&rotate(&world, &body), "grace_seconds", &body);
    }
    assert_eq!(status(&world, &world.tenant.api_key), 200, "what was refused changed no key");
}

#[test]
fn a_grace_and_a_new_key_outlive_a_restart() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let path = format!("/admin/tenants/{}/rotate-key", tenant.tenant_id);
    let graced = operator(&server, "POST", &path, r#"{"grace_seconds":3600}"#).text("api_key");
    let server = server.kill_and_restart();
    let asked = |api_key: &str| {
        let tenant = Tenant { api_key: api_key.to_owned(), ..tenant.clone() };
        server.as_user(&tenant, "alice", "GET", "/rooms", "").status
    };
    assert_eq!([asked(&tenant.api_key), asked(&graced)], [200, 200]);
}

#[test]
fn unused_tokens_die_with_a_rotation() {
    let world = World::new();
    for body in ["{}", r#"{"grace_seconds":3600}"#] {
        let mut world =
            World { server: std::sync::Arc::clone(&world.server), tenant: world.server.create_tenant("{}") };
        let token = world.user("alice", "POST", "/ws/token", "").text("token");
        world.tenant.api_key = rotate(&world, body).text("api_key");
        let refused = world.server.handshake(&format!("/ws?token={token}"), &[]);
        assert_eq!(refused.err(), Some((401, "AUTHENTICATION_ERROR".to_owned())), "{body}");
        world.server.connect_by_token(&world.tenant, "alice").next_of("sync.complete");
    }
}

#[test]
fn open_sockets_stay_unless_they_are_to_be_closed() {
    let world = World::new();
    let mut socket = world.server.connect(&world.tenant, "alice");
    socket.next_of("sync.complete");
    assert_eq!(rotate(&world, r#"{"close_sockets":false}"#).status, 200);
    socket.send(&json!({"type": "ping"}));
    assert_eq!(socket.next()["type"], Value::from("pong"));
}

#[test]
fn close_sockets_closes_them_with_1008() {
    let world = World::new();
    let mut sockets = ["alice", "alice", "bob"].map(|user| world.server.connect(&world.tenant, user));
    for socket in &mut sockets {
        socket.next_of("sync.complete");
    }
    assert_eq!(rotate(&world, r#"{"close_sockets":true,"grace_seconds":60}"#).status, 200);
    for mut socket in sockets {
        assert_eq!(socket.close_code().0, 1008);
    }
}
