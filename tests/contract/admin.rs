//! What the operator does with tenants and their settings (protocol, section 3). Keys: `admin_keys`.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{PATIENCE, Response, Server};
use crate::world::{World, assert_blames, assert_refused, operator, shared};

fn create(body: &Value) -> Response {
    operator(&shared(), "POST", "/admin/tenants", &body.to_string())
}

fn change(world: &World, body: &Value) -> Response {
    world.operator("PATCH", &world.tenant_path(""), &body.to_string())
}

fn keys(body: &Value) -> BTreeSet<&str> {
    body.as_object().unwrap().keys().map(String::as_str).collect()
}

fn secret_of(bytes: usize) -> String {
    format!("whsec_{}", STANDARD.encode(vec![7; bytes]))
}

#[test]
fn a_tenant_is_created_with_201_and_these_fields() {
    let created = create(&json!({"name": "acme"}));
    assert_eq!(created.status, 201);
    assert_eq!(keys(&created.body), BTreeSet::from(["tenant_id", "name", "api_key", "config", "created_at"]));
}

#[test]
fn a_name_is_1_to_200_characters() {
    for name in ["x".to_owned(), "é".repeat(200)] {
        let created = create(&json!({"name": name}));
        assert_eq!((created.status, created.text("name")), (201, name));
    }
    for name in [String::new(), "x".repeat(201), "é".repeat(201)] {
        assert_blames(&create(&json!({"name": name})), "name", &name);
    }
    let world = World::new();
    assert_blames(&change(&world, &json!({"name": "x".repeat(201)})), "name", "change");
}

#[test]
fn settings_that_are_not_given_have_their_defaults() {
    assert_eq!(
        create(&json!({"name": "x"})).body["config"],
        json!({"webhook_url": null, "rate_limit": 100, "max_message_size": 4096, "retry_limit": 5, "durable_notifications": true})
    );
}

#[test]
fn a_setting_is_taken_up_to_its_bounds() {
    let longest = format!("https://x.example/{}", "a".repeat(2_048 - 18));
    for (setting, value) in [
        ("rate_limit", json!(1)),
        ("rate_limit", json!(1_000_000_000)),
        ("max_message_size", json!(1)),
        ("max_message_size", json!(262_144)),
        ("retry_limit", json!(1)),
        ("retry_limit", json!(100)),
        ("durable_notifications", json!(false)),
        ("webhook_url", json!("http://localhost:9000/hook?a=b")),
        ("webhook_url", json!(longest)),
        ("webhook_url", Value::Null),
    ] {
        let created = create(&json!({"name": "x", "config": {setting: value}}));
        assert_eq!((created.status, &created.body["config"][setting]), (201, &value), "{setting}");
    }
}

#[test]
fn a_setting_past_its_bounds_is_400_in_a_creation_and_in_a_change() {
    let world = World::new();
    let too_long = format!("https://x.example/{}", "a".repeat(2_048 - 17));
    for (setting, value) in [
        ("rate_limit", json!(0)),
        ("rate_limit", json!(1_000_000_001)),
        ("rate_limit", json!(-1)),
        ("rate_limit", json!(1.5)),
        ("rate_limit", json!("100")),
        ("max_message_size", json!(0)),
        ("max_message_size", json!(262_145)),
        ("retry_limit", json!(0)),
        ("retry_limit", json!(101)),
        ("durable_notifications", json!(1)),
        ("webhook_url", json!("ftp://x.example/")),
        ("webhook_url", json!("https://user@x.example/")),
        ("webhook_url", json!("https://user:pass@x.example/")),
        ("webhook_url", json!("x.example")),
        ("webhook_url", json!("")),
        ("webhook_url", json!(too_long)),
        ("webhook_secret", json!(secret_of(23))),
        ("webhook_secret", json!(secret_of(65))),
        ("webhook_secret", json!("secret_of_another_kind_that_is_long")),
        ("rate_limits", json!(5)),
        ("Rate_limit", json!(5)),
        ("unknown", Value::Null),
    ] {
        let (field, config) = (format!("config.{setting}"), json!({setting: value, "retry_limit": 7}));
        let config = if setting == "retry_limit" { json!({setting: value}) } else { config };
        let context = config.to_string();
        assert_blames(&create(&json!({"name": "x", "config": config})), &field, &context);
        assert_blames(&change(&world, &json!({"config": config})), &field, &context);
    }
    let config = &world.operator("GET", &world.tenant_path(""), "").body["config"];
    assert_eq!(config["retry_limit"], 5, "nothing of what was refused is kept");
}

#[test]
fn a_secret_of_24_to_64_bytes_that_a_creation_sets_stands_in_its_answer() {
    for bytes in [24, 64] {
        let created = create(&json!({"name": "x", "config": {"webhook_secret": secret_of(bytes)}}));
        assert_eq!((created.status, created.text("webhook_secret")), (201, secret_of(bytes)));
        assert!(created.body["config"].get("webhook_secret").is_none());
    }
}

#[test]
fn a_secret_is_generated_when_a_url_is_set_and_there_is_none() {
    let world = World::new();
    let url = json!({"config": {"webhook_url": "https://x.example/"}});
    let first = change(&world, &url);
    assert_eq!(first.status, 200);
    let key = STANDARD.decode(first.text("webhook_secret").strip_prefix("whsec_").unwrap()).unwrap();
    assert!((24..=64).contains(&key.len()));
    let again = change(&world, &json!({"config": {"webhook_url": "https://y.example/"}}));
    assert_eq!((again.status, again.body.get("webhook_secret")), (200, None), "there is one already");
}

#[test]
fn a_secret_that_is_reset_while_a_url_is_set_is_generated_anew() {
    let world = World::new();
    let first = change(&world, &json!({"config": {"webhook_url": "https://x.example/"}})).text("webhook_secret");
    let second = change(&world, &json!({"config": {"webhook_secret": null}})).text("webhook_secret");
    assert!(second.starts_with("whsec_") && second != first);
}

#[test]
fn a_secret_stands_in_the_answer_to_the_call_that_set_it_and_nowhere_else() {
    let world = World::new();
    let secret = secret_of(40);
    let set = change(&world, &json!({"config": {"webhook_url": "https://x.example/", "webhook_secret": secret}}));
    assert_eq!(set.text("webhook_secret"), secret);
    assert!(set.body["config"].get("webhook_secret").is_none(), "it stands beside config");
    for answer in [
        change(&world, &json!({"name": "renamed"})),
        change(&world, &json!({"config": {"rate_limit": 5}})),
        world.operator("GET", &world.tenant_path(""), ""),
        world.operator("GET", "/admin/tenants?limit=1000", ""),
    ] {
        let text = format!("{answer:?}");
        assert!(answer.status == 200 && !text.contains("whsec_") && !text.contains("webhook_secret"), "{text}");
    }
}

#[test]
fn a_tenant_is_read_with_these_fields_and_without_secrets() {
    let world = World::new();
    let read = world.operator("GET", &world.tenant_path(""), "");
    assert_eq!(read.status, 200);
    assert_eq!(keys(&read.body), BTreeSet::from(["tenant_id", "name", "config", "created_at"]));
    assert_eq!(read.text("tenant_id"), world.tenant.tenant_id);
}

#[test]
fn an_unknown_tenant_is_404() {
    let server = shared();
    for (method, tail, body) in
        [("GET", "", ""), ("PATCH", "", r#"{"name":"x"}"#), ("POST", "/rotate-key", "{}"), ("DELETE", "", "")]
    {
        let path = format!("/admin/tenants/tenant_0000000000000000{tail}");
        assert_refused(&operator(&server, method, &path, body), 404, "NOT_FOUND", &format!("{method} {path}"));
    }
}

#[test]
fn tenants_are_listed_oldest_first_by_pages_to_the_end() {
    let server = Server::start();
    let mut created = Vec::new();
    for index in 0..103 {
        let body = json!({"name": format!("t{index}")}).to_string();
        created.push(operator(&server, "POST", "/admin/tenants", &body).text("tenant_id"));
    }
    let page = |query: &str| {
        let page = operator(&server, "GET", &format!("/admin/tenants{query}"), "");
        assert_eq!(page.status, 200, "{page:?}");
        let ids: Vec<String> =
            crate::world::texts(&page.body["tenants"], "tenant_id").into_iter().map(str::to_owned).collect();
        (ids, page.body["next"].clone())
    };
    let (first, next) = page("");
    assert_eq!(first, created[..100], "100 are the default");
    let (rest, end) = page(&format!("?after={}", next.as_str().unwrap()));
    assert_eq!((rest.as_slice(), end), (&created[100..], Value::Null));
    let (all, end) = page("?limit=103");
    assert_eq!((all, end), (created.clone(), Value::Null), "a page that ends the list says so");
    let (mut seen, mut query) = (Vec::new(), "?limit=7".to_owned());
    loop {
        let (ids, next) = page(&query);
        assert!(ids.len() <= 7);
        seen.extend(ids);
        let Some(next) = next.as_str() else { break };
        query = format!("?limit=7&after={next}");
    }
    assert_eq!(seen, created);
    let entry = operator(&server, "GET", "/admin/tenants?limit=1", "").body["tenants"][0].clone();
    assert_eq!(keys(&entry), BTreeSet::from(["tenant_id", "name", "config", "created_at"]));
}

#[test]
fn a_change_answers_200_with_the_tenant_and_keeps_what_it_does_not_name() {
    let world = World::with_config(r#"{"rate_limit":1000,"max_message_size":10}"#);
    let changed = change(&world, &json!({"config": {"retry_limit": 9}}));
    assert_eq!((changed.status, changed.text("name").as_str()), (200, "test"));
    let config = &changed.body["config"];
    assert_eq!([&config["rate_limit"], &config["max_message_size"], &config["retry_limit"]], [1_000, 10, 9]);
    let renamed = change(&world, &json!({"name": "renamed"}));
    assert_eq!((renamed.text("name").as_str(), &renamed.body["config"]), ("renamed", config));
    assert_eq!(change(&world, &json!({})).body, renamed.body, "nothing named, nothing changed");
    assert_eq!(world.operator("GET", &world.tenant_path(""), "").body, renamed.body);
}

#[test]
fn null_resets_a_setting_to_its_default() {
    let given = json!({"webhook_url": "https://x.example/", "rate_limit": 7, "max_message_size": 8, "retry_limit": 9, "durable_notifications": false});
    let world = World::with_config(&given.to_string());
    let defaults = json!({"webhook_url": null, "rate_limit": 100, "max_message_size": 4096, "retry_limit": 5, "durable_notifications": true});
    for setting in keys(&given) {
        let changed = change(&world, &json!({"config": {setting: null}}));
        assert_eq!(changed.body["config"][setting], defaults[setting], "{setting}");
    }
    assert_eq!(world.operator("GET", &world.tenant_path(""), "").body["config"], defaults);
}

#[test]
fn a_change_of_the_rate_takes_effect_at_once() {
    let world = World::with_config(r#"{"rate_limit":1}"#);
    crate::support::eventually("it is over its rate", || world.user("alice", "GET", "/rooms", "").status == 429);
    assert_eq!(change(&world, &json!({"config": {"rate_limit": 1_000_000}})).status, 200);
    let answer = world.user("alice", "GET", "/rooms", "");
    assert_eq!(answer.header("RateLimit-Limit"), Some("1000000"));
    assert_eq!(change(&world, &json!({"config": {"rate_limit": 2}})).status, 200);
    assert_eq!(world.user("alice", "GET", "/rooms", "").header("RateLimit-Limit"), Some("2"));
}

#[test]
fn a_change_of_the_size_of_messages_takes_effect_at_once() {
    let world = World::new();
    let room = world.group();
    let send = || world.user("alice", "POST", &format!("{room}/messages"), r#"{"content":"four"}"#).status;
    assert_eq!(send(), 200);
    change(&world, &json!({"config": {"max_message_size": 3}}));
    assert_eq!(send(), 413);
    change(&world, &json!({"config": {"max_message_size": 4}}));
    assert_eq!(send(), 200);
}

#[test]
fn a_deletion_is_204_and_its_key_is_401_from_then_on() {
    let world = World::new();
    let room = world.group();
    assert_eq!(world.user("alice", "GET", &room, "").status, 200);
    assert_eq!(world.operator("DELETE", &world.tenant_path(""), "").status, 204);
    for (method, path, body) in [("GET", room.as_str(), ""), ("GET", "/rooms", ""), ("POST", "/ws/token", "")] {
        assert_refused(&world.user("alice", method, path, body), 401, "AUTHENTICATION_ERROR", path);
    }
    let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "alice")];
    assert_eq!(world.server.handshake("/ws", &headers).err().unwrap().0, 401);
}

#[test]
fn a_deletion_closes_the_tenant_s_sockets_with_1008_and_no_other_s() {
    let world = World::new();
    let other = world.neighbour();
    let mut sockets = ["alice", "bob"].map(|user| world.server.connect(&world.tenant, user));
    let mut stays = other.server.connect(&other.tenant, "alice");
    for socket in sockets.iter_mut().chain([&mut stays]) {
        socket.next_of("sync.complete");
    }
    assert_eq!(world.operator("DELETE", &world.tenant_path(""), "").status, 204);
    for mut socket in sockets {
        assert_eq!(socket.close_code().0, 1008);
    }
    stays.send(&json!({"type": "ping"}));
    assert_eq!(stays.next()["type"], "pong");
}

#[test]
fn a_deleted_tenant_is_404_and_not_listed() {
    let world = World::new();
    assert_eq!(world.operator("DELETE", &world.tenant_path(""), "").status, 204);
    for (method, tail) in [("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/rotate-key")] {
        let body = if method == "GET" || method == "DELETE" { "" } else { "{}" };
        assert_refused(&world.operator(method, &world.tenant_path(tail), body), 404, "NOT_FOUND", method);
    }
    let listed = world.operator("GET", "/admin/tenants?limit=1000", "");
    assert!(!listed.body.to_string().contains(&world.tenant.tenant_id));
}

#[test]
fn unused_tokens_of_a_deleted_tenant_die() {
    let world = World::new();
    let token = world.user("alice", "POST", "/ws/token", "").text("token");
    assert_eq!(world.operator("DELETE", &world.tenant_path(""), "").status, 204);
    assert_eq!(world.server.handshake(&format!("/ws?token={token}"), &[]).err().unwrap().0, 401);
}

#[test]
fn the_data_of_a_deleted_tenant_goes_shortly_after() {
    let server = Server::start();
    let tenant = server.create_tenant(r#"{"rate_limit":1000000}"#);
    let other = server.create_tenant(r#"{"rate_limit":1000000}"#);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let kept = server.create_room(&other, "alice", &["bob"]);
    for index in 0..300 {
        server.send(&tenant, "alice", &room, &format!("gone {index}"));
    }
    server.send(&other, "alice", &kept, "kept");
    server.as_user(&tenant, "bob", "POST", "/subscriptions", r#"{"topic":"t"}"#);
    assert_eq!(operator(&server, "DELETE", &format!("/admin/tenants/{}", tenant.tenant_id), "").status, 204);
    let database = rusqlite::Connection::open(server.data_dir().join("chatapi.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    let count = |table: &str| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    crate::support::eventually("it is gone", || {
        [("tenants", 1), ("rooms", 1), ("messages", 1), ("room_members", 2), ("subscriptions", 0)]
            .iter()
            .all(|(table, left)| count(table) == *left)
    });
    assert_eq!(server.history(&other, "bob", &kept).len(), 1);
}
