//! REST as clients see it (protocol, sections 1 to 5).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a test that failed")]

mod support;

use serde_json::{Value, json};
use support::{MASTER_KEY, Server, Tenant};

const UNLIMITED: &str = r#"{"rate_limit":1000000}"#;

fn server() -> (Server, Tenant) {
    let server = Server::start();
    let tenant = server.create_tenant(UNLIMITED);
    (server, tenant)
}

fn is_timestamp(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 24 && text.as_bytes()[10] == b'T' && text.as_bytes()[19] == b'.' && text.ends_with('Z')
}

#[test]
fn a_tenant_is_created_by_the_master_key_alone_and_told_its_key_once() {
    let server = Server::start();
    let create = |headers: &[(&str, &str)], body: &str| server.request("POST", "/admin/tenants", headers, body);
    for headers in [&[][..], &[("X-Master-Key", "wrong")], &[("X-Master-Key", "")]] {
        let refused = create(headers, r#"{"name":"x"}"#);
        assert_eq!((refused.status, refused.code()), (401, "AUTHENTICATION_ERROR"), "{headers:?}");
    }
    let created = create(
        &[("X-Master-Key", MASTER_KEY)],
        r#"{"name":"shop","config":{"webhook_url":"https://shop.example/hook"}}"#,
    );
    assert_eq!(created.status, 201);
    assert!(created.text("tenant_id").starts_with("tenant_"));
    assert!(created.text("api_key").starts_with("sk_") && created.text("api_key").len() >= 46);
    assert!(created.text("webhook_secret").starts_with("whsec_"));
    assert_eq!(created.body["name"], "shop");
    assert!(is_timestamp(&created.body["created_at"]));
    let config = &created.body["config"];
    assert_eq!(
        *config,
        json!({"webhook_url": "https://shop.example/hook", "rate_limit": 100, "max_message_size": 4096,
               "retry_limit": 5, "durable_notifications": true})
    );
}

#[test]
fn a_setting_with_a_typo_is_not_lost_silently() {
    let server = Server::start();
    for (config, field) in [
        (r#"{"rate_limt":5}"#, "config.rate_limt"),
        (r#"{"rate_limit":0}"#, "config.rate_limit"),
        (r#"{"max_message_size":262145}"#, "config.max_message_size"),
        (r#"{"webhook_url":"ftp://x"}"#, "config.webhook_url"),
        (r#"{"webhook_secret":"whsec_short"}"#, "config.webhook_secret"),
    ] {
        let body = format!(r#"{{"name":"x","config":{config}}}"#);
        let refused = server.request("POST", "/admin/tenants", &[("X-Master-Key", MASTER_KEY)], &body);
        assert_eq!((refused.status, &refused.body["error"]["field"]), (400, &field.into()), "{refused:?}");
    }
}

#[test]
fn every_answer_carries_a_request_id_and_the_rate_limit() {
    let (server, tenant) = server();
    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice"), ("X-Request-Id", "mine-1")];
    let answer = server.request("GET", "/rooms", &headers, "");
    assert_eq!(answer.header("X-Request-Id"), Some("mine-1"));
    assert_eq!(answer.header("RateLimit-Limit"), Some("1000000"));
    assert!(answer.header("RateLimit-Remaining").is_some() && answer.header("RateLimit-Reset").is_some());
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    let drawn = server.request("GET", "/nowhere", &[("X-Request-Id", "not\u{a0}visible")], "");
    assert!(drawn.header("X-Request-Id").is_some_and(|id| !id.is_empty()));
}

#[test]
fn routes_are_served_under_v1_too_and_other_paths_and_methods_are_refused() {
    let (server, tenant) = server();
    assert_eq!(server.as_user(&tenant, "alice", "GET", "/v1/rooms", "").status, 200);
    for path in ["/", "/room", "/rooms/", "/v1", "/v2/rooms", "/rooms//members", "/rooms/x/y"] {
        let refused = server.request("GET", path, &[], "");
        assert_eq!((refused.status, refused.code()), (404, "NOT_FOUND"), "{path}");
    }
    let refused = server.request("DELETE", "/rooms", &[], "");
    assert_eq!((refused.status, refused.code()), (405, "METHOD_NOT_ALLOWED"));
    assert_eq!(refused.header("Allow"), Some("GET, HEAD, POST, OPTIONS"));
    let options = server.request("OPTIONS", "/rooms", &[], "");
    assert_eq!((options.status, options.header("Allow")), (204, Some("GET, HEAD, POST, OPTIONS")));
    let head = server.request("HEAD", "/livez", &[], "");
    assert_eq!((head.status, head.body), (200, Value::Null));
}

#[test]
fn a_caller_who_is_not_known_is_401() {
    let (server, tenant) = server();
    for headers in [
        &[][..],
        &[("X-API-Key", "sk_wrong"), ("X-User-Id", "alice")],
        &[("X-User-Id", "alice")],
        &[("X-API-Key", tenant.tenant_id.as_str()), ("X-User-Id", "alice")],
    ] {
        let refused = server.request("POST", "/rooms", headers, r#"{"type":"dm","members":["bob"]}"#);
        assert_eq!((refused.status, refused.code()), (401, "AUTHENTICATION_ERROR"), "{headers:?}");
    }
    let path = format!("/rooms?api_key={}", tenant.api_key);
    assert_eq!(server.request("GET", &path, &[("X-User-Id", "alice")], "").status, 401);
    let no_user = server.request("POST", "/acks", &[("X-API-Key", &tenant.api_key)], "{}");
    assert_eq!(no_user.status, 401);
}

#[test]
fn a_room_is_created_read_and_listed() {
    let (server, tenant) = server();
    let body = r#"{"type":"group","members":["bob","carol","bob"],"name":"Order 42","metadata":"{\"order\": 42}"}"#;
    let created = server.as_user(&tenant, "alice", "POST", "/rooms", body);
    assert_eq!(created.status, 201);
    let room_id = created.text("room_id");
    assert!(room_id.starts_with("room_"));
    assert!(is_timestamp(&created.body["created_at"]));
    let expected = json!({"room_id": room_id, "type": "group", "unique_key": null, "name": "Order 42",
        "metadata": "{\"order\": 42}", "last_seq": 0, "created_at": created.body["created_at"]});
    assert_eq!(created.body, expected);
    for user in ["alice", "bob", "carol"] {
        assert_eq!(server.as_user(&tenant, user, "GET", &format!("/rooms/{room_id}"), "").body, expected);
    }
    let members = server.as_user(&tenant, "bob", "GET", &format!("/rooms/{room_id}/members"), "");
    let shown: Vec<(&str, &str)> = members.body["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (member["user_id"].as_str().unwrap(), member["role"].as_str().unwrap()))
        .collect();
    assert_eq!(shown, [("alice", "admin"), ("bob", "member"), ("carol", "member")]);
    assert_eq!(members.body["next"], Value::Null);
}

#[test]
fn a_dm_exists_once_for_each_pair() {
    let (server, tenant) = server();
    let create = |user: &str, members: &str| {
        server.as_user(&tenant, user, "POST", "/rooms", &format!(r#"{{"type":"dm","members":{members}}}"#))
    };
    let first = create("alice", r#"["bob"]"#);
    assert_eq!((first.status, first.text("unique_key").as_str()), (201, "dm:alice:bob"));
    for again in [create("bob", r#"["alice"]"#), create("alice", r#"["bob","alice"]"#)] {
        assert_eq!((again.status, again.text("room_id")), (200, first.text("room_id")));
    }
    let refused = create("carol", r#"["alice","bob"]"#);
    assert_eq!((refused.status, refused.code()), (403, "AUTHORIZATION_ERROR"));
    assert_eq!(create("alice", r#"["alice"]"#).status, 400);
    assert_eq!(create("alice", r#"["bob","carol","dave"]"#).status, 400);
    let by_tenant =
        server.request("POST", "/rooms", &[("X-API-Key", &tenant.api_key)], r#"{"type":"dm","members":["x","y"]}"#);
    assert_eq!(by_tenant.status, 201);
}

#[test]
fn rooms_are_listed_newest_first_by_pages_with_where_the_user_stands() {
    let (server, tenant) = server();
    let rooms: Vec<String> = (0..5).map(|_| server.create_room(&tenant, "alice", &["bob"])).collect();
    for _ in 0..3 {
        server.send(&tenant, "alice", &rooms[4], "hello");
    }
    server.send(&tenant, "bob", &rooms[4], "mine");
    let ack = format!(r#"{{"room_id":"{}","seq":1}}"#, rooms[4]);
    assert_eq!(server.as_user(&tenant, "bob", "POST", "/acks", &ack).status, 200);
    let mut seen = Vec::new();
    let mut path = "/rooms?limit=2".to_owned();
    loop {
        let page = server.as_user(&tenant, "bob", "GET", &path, "");
        seen.extend(page.body["rooms"].as_array().unwrap().iter().cloned());
        match page.body["next"].as_str() {
            Some(next) => path = format!("/rooms?limit=2&after={next}"),
            None => break,
        }
    }
    let ids: Vec<&str> = seen.iter().map(|room| room["room_id"].as_str().unwrap()).collect();
    assert_eq!(ids, rooms.iter().rev().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((&seen[0]["last_ack"], &seen[0]["unread_count"]), (&1.into(), &2.into()));
    assert_eq!((&seen[1]["last_ack"], &seen[1]["unread_count"]), (&0.into(), &0.into()));
    let of_the_tenant = server.request("GET", "/rooms", &[("X-API-Key", &tenant.api_key)], "");
    assert_eq!(of_the_tenant.body["rooms"].as_array().unwrap().len(), 5);
    let of_nobody = server.as_user(&tenant, "zoe", "GET", "/rooms", "");
    assert_eq!(of_nobody.body, json!({"rooms": [], "next": null}));
}

#[test]
fn messages_are_numbered_from_one_and_read_both_ways() {
    let (server, tenant) = server();
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let first = server.as_user(
        &tenant,
        "alice",
        "POST",
        &format!("/rooms/{room}/messages"),
        r#"{"content":"Hi \u0000 \ud83d\ude00","meta":"{\"a\":1}"}"#,
    );
    assert_eq!(first.status, 200);
    assert!(first.text("message_id").starts_with("msg_"));
    assert_eq!((&first.body["seq"], &first.body["content"]), (&1.into(), &"Hi \u{0} 😀".into()));
    assert_eq!((&first.body["meta"], &first.body["sender_id"]), (&r#"{"a":1}"#.into(), &"alice".into()));
    assert!(first.body.get("edited_at").is_none() && is_timestamp(&first.body["created_at"]));
    for number in 2..=120 {
        let sent = server.send(&tenant, "bob", &room, &format!("message {number}"));
        assert_eq!((&sent.body["seq"], &sent.body["meta"]), (&number.into(), &Value::Null));
    }
    let read = |query: &str| {
        let page = server.as_user(&tenant, "bob", "GET", &format!("/rooms/{room}/messages{query}"), "");
        assert_eq!(page.status, 200, "{page:?}");
        let seqs: Vec<u64> =
            page.body["messages"].as_array().unwrap().iter().map(|message| message["seq"].as_u64().unwrap()).collect();
        (seqs.first().copied(), seqs.last().copied(), seqs.len(), page.body["has_more"].as_bool().unwrap())
    };
    assert_eq!(read(""), (Some(1), Some(50), 50, true));
    assert_eq!(read("?limit=1000"), (Some(1), Some(100), 100, true));
    assert_eq!(read("?after_seq=100"), (Some(101), Some(120), 20, false));
    assert_eq!(read("?after_seq=120"), (None, None, 0, false));
    assert_eq!(read("?before_seq=9007199254740991&limit=5"), (Some(116), Some(120), 5, true));
    assert_eq!(read("?before_seq=4"), (Some(1), Some(3), 3, false));
    assert_eq!(server.history(&tenant, "alice", &room).len(), 120);
    for query in ["?limit=0", "?limit=-1", "?limit=x", "?after_seq=-1", "?before_seq=-1", "?after_seq=1&before_seq=2"] {
        let refused = server.as_user(&tenant, "bob", "GET", &format!("/rooms/{room}/messages{query}"), "");
        assert_eq!((refused.status, refused.code()), (400, "VALIDATION_ERROR"), "{query}");
    }
}

#[test]
fn an_answer_of_history_holds_about_a_mebibyte_and_says_that_more_follows() {
    let server = Server::start();
    let tenant = server.create_tenant(r#"{"rate_limit":1000000,"max_message_size":262144}"#);
    let room = server.create_room(&tenant, "alice", &[]);
    let content = "x".repeat(262_144);
    for _ in 0..6 {
        assert_eq!(server.send(&tenant, "alice", &room, &content).status, 200);
    }
    let page = server.as_user(&tenant, "alice", "GET", &format!("/rooms/{room}/messages"), "");
    assert_eq!(page.body["messages"].as_array().unwrap().len(), 4);
    assert_eq!(page.body["has_more"], true);
    assert_eq!(server.history(&tenant, "alice", &room).len(), 6);
}

#[test]
fn bodies_that_break_a_rule_are_refused_with_the_field_to_blame() {
    let (server, tenant) = server();
    let room = server.create_room(&tenant, "alice", &[]);
    let deep = format!(r#"{{"content":"x","other":{}1{}}}"#, "[".repeat(80), "]".repeat(80));
    for (body, status, field) in [
        ("", 400, None),
        ("{", 400, None),
        ("[]", 400, None),
        (r#"{"content":"x"} {"#, 400, None),
        (r#"{"content":"x","content":"y"}"#, 400, None),
        (r#"{"content":"\ud800"}"#, 400, None),
        (deep.as_str(), 400, None),
        ("{}", 400, Some("content")),
        (r#"{"content":5}"#, 400, Some("content")),
        (r#"{"content":""}"#, 400, Some("content")),
        (r#"{"content":"x","meta":"{"}"#, 400, Some("meta")),
        (r#"{"content":"x","meta":{}}"#, 400, Some("meta")),
    ] {
        let refused = server.as_user(&tenant, "alice", "POST", &format!("/rooms/{room}/messages"), body);
        let named = refused.body["error"]["field"].as_str();
        assert_eq!(refused.status, status, "{body} {refused:?}");
        assert!(field.is_none() || named == field, "{body} {refused:?}");
    }
    let long = json!({"content": "x".repeat(4_097)}).to_string();
    let refused = server.as_user(&tenant, "alice", "POST", &format!("/rooms/{room}/messages"), &long);
    assert_eq!((refused.status, refused.code()), (413, "PAYLOAD_TOO_LARGE"));
    let meta = json!({"content": "x", "meta": format!("\"{}\"", "x".repeat(16_384))}).to_string();
    assert_eq!(server.as_user(&tenant, "alice", "POST", &format!("/rooms/{room}/messages"), &meta).status, 413);
    assert!(server.history(&tenant, "alice", &room).is_empty(), "nothing was stored");
}

#[test]
fn an_idempotency_key_stores_one_message() {
    let (server, tenant) = server();
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let path = format!("/rooms/{room}/messages");
    let send = |user: &str, key: &str, body: &str| {
        let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", user), ("Idempotency-Key", key)];
        server.request("POST", &path, &headers, body)
    };
    let first = send("alice", "k1", r#"{"content":"hello"}"#);
    let again = send("alice", "k1", r#"{ "content" : "hello", "unknown": 1 }"#);
    assert_eq!((again.status, &again.body), (200, &first.body));
    let reused = send("alice", "k1", r#"{"content":"other"}"#);
    assert_eq!((reused.status, reused.code()), (422, "IDEMPOTENCY_KEY_REUSED"));
    assert_eq!(send("bob", "k1", r#"{"content":"hello"}"#).body["seq"], 2, "another sender's key is another key");
    assert_eq!(send("alice", &"k".repeat(129), r#"{"content":"x"}"#).status, 400);
    assert_eq!(send("alice", "k2", r#"{"content":""}"#).status, 400);
    assert_eq!(send("alice", "k2", r#"{"content":"fine"}"#).status, 200, "a refused request uses up no key");
    assert_eq!(server.history(&tenant, "alice", &room).len(), 3);
}

#[test]
fn twins_in_flight_with_one_idempotency_key_store_one_message() {
    let (server, tenant) = server();
    let room = server.create_room(&tenant, "alice", &[]);
    let path = format!("/rooms/{room}/messages");
    let ids: Vec<String> = std::thread::scope(|scope| {
        let twins: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let headers =
                        [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice"), ("Idempotency-Key", "twin")];
                    server.request("POST", &path, &headers, r#"{"content":"once"}"#).text("message_id")
                })
            })
            .collect();
        twins.into_iter().map(|twin| twin.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(server.history(&tenant, "alice", &room).len(), 1);
}

#[test]
fn an_ack_moves_forward_only() {
    let (server, tenant) = server();
    let room = server.create_room(&tenant, "alice", &["bob"]);
    for _ in 0..3 {
        server.send(&tenant, "alice", &room, "x");
    }
    let ack =
        |seq: i64| server.as_user(&tenant, "bob", "POST", "/acks", &json!({"room_id": room, "seq": seq}).to_string());
    assert_eq!(ack(2).body, json!({"success": true, "room_id": room, "last_ack": 2}));
    assert_eq!(ack(1).body["last_ack"], 2);
    assert_eq!(ack(0).body["last_ack"], 2);
    for seq in [-1, 4] {
        let refused = ack(seq);
        assert_eq!((refused.status, &refused.body["error"]["field"]), (400, &"seq".into()), "{seq}");
    }
    assert_eq!(ack(3).body["last_ack"], 3);
}

#[test]
fn a_room_of_another_tenant_looks_like_one_that_does_not_exist() {
    let (server, tenant) = server();
    let other = server.create_tenant(UNLIMITED);
    let foreign = server.create_room(&other, "alice", &["bob"]);
    server.send(&other, "alice", &foreign, "secret");
    let ask = |room: &str, method: &str, tail: &str, body: &str| {
        let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice"), ("X-Request-Id", "same")];
        let answer = server.request(method, &format!("/rooms/{room}{tail}"), &headers, body);
        (answer.status, answer.body)
    };
    for (method, tail, body) in [
        ("GET", "", ""),
        ("GET", "/members", ""),
        ("GET", "/messages", ""),
        ("POST", "/messages", r#"{"content":"x"}"#),
    ] {
        let (status, body_of_foreign) = ask(&foreign, method, tail, body);
        assert_eq!(status, 404);
        assert_eq!(ask("room_0000000000000000", method, tail, body), (404, body_of_foreign));
    }
    let ack = |room: &str| {
        server.as_user(&tenant, "alice", "POST", "/acks", &json!({"room_id": room, "seq": 0}).to_string()).body
    };
    assert_eq!(ack(&foreign), ack("room_0000000000000000"));
    assert_eq!(server.history(&other, "bob", &foreign).len(), 1);
}

#[test]
fn a_room_is_for_its_members_and_the_tenant_itself() {
    let (server, tenant) = server();
    let room = server.create_room(&tenant, "alice", &["bob"]);
    server.send(&tenant, "alice", &room, "x");
    for (method, tail, body) in [
        ("GET", "", ""),
        ("GET", "/members", ""),
        ("GET", "/messages", ""),
        ("POST", "/messages", r#"{"content":"x"}"#),
    ] {
        let refused = server.as_user(&tenant, "carol", method, &format!("/rooms/{room}{tail}"), body);
        assert_eq!((refused.status, refused.code()), (403, "AUTHORIZATION_ERROR"), "{method} {tail}");
    }
    for tail in ["", "/members", "/messages"] {
        let path = format!("/rooms/{room}{tail}");
        assert_eq!(server.request("GET", &path, &[("X-API-Key", &tenant.api_key)], "").status, 200, "{tail}");
    }
    let sent_by_nobody = server.request(
        "POST",
        &format!("/rooms/{room}/messages"),
        &[("X-API-Key", &tenant.api_key)],
        r#"{"content":"x"}"#,
    );
    assert_eq!(sent_by_nobody.status, 401);
}

#[test]
fn health_and_metrics_tell_how_the_process_is() {
    let (server, tenant) = server();
    let room = server.create_room(&tenant, "alice", &[]);
    server.send(&tenant, "alice", &room, "x");
    let health = server.request("GET", "/health", &[], "");
    assert_eq!(health.status, 200);
    assert_eq!((&health.body["status"], &health.body["service"]), (&"ok".into(), &"chatapi".into()));
    assert_eq!((&health.body["db_writable"], health.body["uptime"].is_string()), (&true.into(), true));
    for path in ["/livez", "/readyz"] {
        assert_eq!(server.request("GET", path, &[], "").status, 200);
    }
    let metrics = server.request("GET", "/metrics", &[], "");
    assert_eq!((&metrics.body["messages_sent"], &metrics.body["active_connections"]), (&1.into(), &0.into()));
    assert!(metrics.body["uptime_seconds"].is_number() && metrics.body["dropped_broadcasts"].is_number());
}

#[test]
fn metrics_want_their_token_where_one_is_set() {
    let server = Server::start_with(&[("METRICS_TOKEN", "metrics-token")]);
    assert_eq!(server.request("GET", "/metrics", &[], "").status, 401);
    assert_eq!(server.request("GET", "/metrics", &[("Authorization", "Bearer wrong")], "").status, 401);
    assert_eq!(server.request("GET", "/metrics", &[("Authorization", "Bearer metrics-token")], "").status, 200);
}

#[test]
fn user_ids_are_any_text_that_has_no_control_characters() {
    let (server, tenant) = server();
    let room = server.create_room(&tenant, "alice", &["Ünï:%/ 😀", "bob"]);
    let body = format!(
        "POST /rooms/{room}/messages HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nX-User-Id: Ünï:%/ 😀\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{{\"content\":\"x\"}}",
        tenant.api_key
    );
    let answer = server.raw(body.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"sender_id\":\"Ünï:%/ 😀\""), "{answer}");
}
