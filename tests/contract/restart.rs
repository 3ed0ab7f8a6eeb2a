//! What was answered is stored: it is there after `kill -9` (protocol, sections 3 to 6).

use serde_json::{Value, json};

use crate::support::{Server, Tenant};
use crate::world::operator;

/// Does something and hands back what the API then tells, before and after a crash.
fn outlives_a_crash(act: impl FnOnce(&Server, &Tenant, &str), look: impl Fn(&Server, &Tenant, &str) -> Value) {
    let server = Server::start();
    let tenant = server.create_tenant(r#"{"rate_limit":1000000}"#);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let untouched = look(&server, &tenant, &room);
    act(&server, &tenant, &room);
    let before = look(&server, &tenant, &room);
    assert_ne!(before, untouched, "something was done");
    let server = server.kill_and_restart();
    assert_eq!(look(&server, &tenant, &room), before);
}

/// What a user is told at a path.
fn told(server: &Server, tenant: &Tenant, user: &str, path: &str) -> Value {
    let answer = server.as_user(tenant, user, "GET", path, "");
    json!([answer.status, answer.body])
}

fn done(server: &Server, tenant: &Tenant, user: &str, method: &str, path: &str, body: &Value) -> Value {
    let answer = server.as_user(tenant, user, method, path, &body.to_string());
    assert!(answer.status < 300, "{method} {path}: {answer:?}");
    answer.body
}

#[test]
fn a_room_outlives_a_crash() {
    let room = json!({"type": "dm", "members": ["alice", "bob"], "name": "n", "metadata": "{}"});
    outlives_a_crash(
        |server, tenant, _| drop(done(server, tenant, "alice", "POST", "/rooms", &room)),
        |server, tenant, _| told(server, tenant, "bob", "/rooms"),
    );
}

#[test]
fn a_change_of_a_room_outlives_a_crash() {
    outlives_a_crash(
        |server, tenant, room| {
            let body = json!({"name": "new", "metadata": "1"});
            done(server, tenant, "alice", "PATCH", &format!("/rooms/{room}"), &body);
        },
        |server, tenant, room| told(server, tenant, "bob", &format!("/rooms/{room}")),
    );
}

#[test]
fn the_deletion_of_a_room_outlives_a_crash() {
    outlives_a_crash(
        |server, tenant, room| drop(done(server, tenant, "alice", "DELETE", &format!("/rooms/{room}"), &json!({}))),
        |server, tenant, room| told(server, tenant, "bob", &format!("/rooms/{room}")),
    );
}

#[test]
fn changes_of_members_outlive_a_crash() {
    outlives_a_crash(
        |server, tenant, room| {
            let members = format!("/rooms/{room}/members");
            done(server, tenant, "alice", "POST", &members, &json!({"user_id": "carol", "role": "admin"}));
            done(server, tenant, "alice", "POST", &members, &json!({"user_id": "dave"}));
            done(server, tenant, "carol", "DELETE", &format!("{members}/bob"), &json!({}));
            done(server, tenant, "alice", "DELETE", &format!("{members}/alice"), &json!({}));
        },
        |server, tenant, room| told(server, tenant, "carol", &format!("/rooms/{room}/members")),
    );
}

#[test]
fn edits_and_deletions_of_messages_outlive_a_crash() {
    outlives_a_crash(
        |server, tenant, room| {
            let path = |id: &str| format!("/rooms/{room}/messages/{id}");
            let ids = ["a", "b", "c"].map(|content| server.send(tenant, "alice", room, content).text("message_id"));
            done(server, tenant, "alice", "PATCH", &path(&ids[0]), &json!({"content": "A", "meta": "1"}));
            done(server, tenant, "alice", "DELETE", &path(&ids[1]), &json!({}));
        },
        |server, tenant, room| told(server, tenant, "bob", &format!("/rooms/{room}/messages")),
    );
}

#[test]
fn subscriptions_outlive_a_crash() {
    outlives_a_crash(
        |server, tenant, _| {
            for topic in ["a", "b", "c"] {
                done(server, tenant, "alice", "POST", "/subscriptions", &json!({"topic": topic}));
            }
            done(server, tenant, "alice", "DELETE", "/subscriptions/3", &json!({}));
        },
        |server, tenant, _| told(server, tenant, "alice", "/subscriptions"),
    );
}

#[test]
fn the_id_of_a_subscription_that_is_gone_is_not_given_again_after_a_crash() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let subscribe = |server: &Server, topic: &str| {
        done(server, &tenant, "alice", "POST", "/subscriptions", &json!({"topic": topic}))["id"].as_u64().unwrap()
    };
    let gone = subscribe(&server, "a").max(subscribe(&server, "b"));
    done(&server, &tenant, "alice", "DELETE", &format!("/subscriptions/{gone}"), &json!({}));
    assert!(subscribe(&server.kill_and_restart(), "c") > gone);
}

#[test]
fn a_change_of_a_tenant_outlives_a_crash() {
    outlives_a_crash(
        |server, tenant, _| {
            let config = json!({"rate_limit": 77, "webhook_url": "https://x.example/", "durable_notifications": false});
            let body = json!({"name": "renamed", "config": config}).to_string();
            let path = format!("/admin/tenants/{}", tenant.tenant_id);
            assert_eq!(operator(server, "PATCH", &path, &body).status, 200);
        },
        |server, tenant, _| operator(server, "GET", &format!("/admin/tenants/{}", tenant.tenant_id), "").body,
    );
}

#[test]
fn the_deletion_of_a_tenant_outlives_a_crash() {
    outlives_a_crash(
        |server, tenant, _| {
            let path = format!("/admin/tenants/{}", tenant.tenant_id);
            assert_eq!(operator(server, "DELETE", &path, "").status, 204);
        },
        |server, tenant, _| told(server, tenant, "alice", "/rooms"),
    );
}

#[test]
fn a_pending_notification_outlives_a_crash() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let body = json!({"topic": "t", "payload": {"a": 1}, "targets": {"user_ids": ["bob"]}});
    let sent = done(&server, &tenant, "alice", "POST", "/notify", &body)["notification_id"].clone();
    let server = server.kill_and_restart();
    let mut bob = server.connect(&tenant, "bob");
    assert_eq!(bob.next_of("notification")["notification_id"], sent);
}
