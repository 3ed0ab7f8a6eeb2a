//! Paths, methods, ids, limits, errors (protocol, section 1).

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::support::{MASTER_KEY, Server, agent, request};
use crate::world::{ROUTES, World, assert_blames, assert_refused, is_timestamp, room_id, shared};

#[test]
fn bodies_are_json_in_utf_8_both_ways() {
    let world = World::new();
    let room = world.group();
    let sent = world.user("alice", "POST", &format!("{room}/messages"), r#"{"content":"Grüße 😀 日本"}"#);
    assert_eq!((sent.status, sent.text("content").as_str()), (200, "Grüße 😀 日本"));
    assert_eq!(sent.header("Content-Type"), Some("application/json"));
}

#[test]
fn a_body_that_is_not_utf_8_is_400() {
    let world = World::new();
    let room = world.group();
    let head = format!(
        "POST {room}/messages HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nX-User-Id: alice\r\nConnection: close\r\nContent-Length: 15\r\n\r\n",
        world.tenant.api_key
    );
    let answer = world.server.raw(&[head.as_bytes(), b"{\"content\":\"\xff\"}"].concat());
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("VALIDATION_ERROR"), "{answer}");
}

#[test]
fn timestamps_are_rfc_3339_in_utc_with_milliseconds() {
    let world = World::new();
    let room = world.group();
    let message = world.message("alice", &room, "x");
    let edited = world.user("alice", "PATCH", &message, r#"{"content":"y"}"#);
    assert_eq!(world.user("alice", "DELETE", &message, "").status, 204);
    let deleted = world.user("alice", "GET", &message, "");
    let member = world.user("alice", "POST", &format!("{room}/members"), r#"{"user_id":"carol"}"#);
    let notified = world.itself("POST", "/notify", r#"{"topic":"t","payload":1}"#);
    let subscribed = world.user("alice", "POST", "/subscriptions", r#"{"topic":"t"}"#);
    for (response, field) in [
        (&edited, "created_at"),
        (&edited, "edited_at"),
        (&deleted, "deleted_at"),
        (&member, "joined_at"),
        (&notified, "created_at"),
        (&subscribed, "created_at"),
        (&world.user("alice", "GET", &room, ""), "created_at"),
        (&world.operator("GET", &world.tenant_path(""), ""), "created_at"),
    ] {
        assert!(is_timestamp(&response.body[field]), "{field} in {response:?}");
    }
}

#[test]
fn every_route_is_served_under_v1_by_the_same_handler() {
    let world = World::new();
    let (room, message) = ("/rooms/room_0000000000000000", "/messages/msg_0000000000000000");
    let headers = [
        ("X-API-Key", world.tenant.api_key.as_str()),
        ("X-User-Id", "alice"),
        ("X-Master-Key", MASTER_KEY),
        ("X-Request-Id", "same"),
    ];
    for route in ROUTES.iter().filter(|route| !matches!(route.path, "/health" | "/metrics")) {
        let (path, body) = route.about(room, message);
        let path = path.replace("/subscriptions/1", "/subscriptions/999");
        let ask = |path: &str| world.server.request(route.method, path, &headers, &body);
        let (plain, under_v1) = (ask(&path), ask(&format!("/v1{path}")));
        let differs = matches!(route.path, "/admin/tenants" | "/rooms" | "/subscriptions" | "/notify" | "/ws/token");
        assert_eq!(plain.status / 100, under_v1.status / 100, "{route:?}: {plain:?} {under_v1:?}");
        assert!(differs || plain.body == under_v1.body, "{route:?}: {plain:?} {under_v1:?}");
    }
    for path in ["/v1/health", "/v1/metrics"] {
        assert_eq!(world.server.request("GET", path, &[], "").status, 200);
    }
}

/// The methods of every path, `HEAD` and `OPTIONS` among them.
fn methods() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut methods: BTreeMap<&str, Vec<&str>> = BTreeMap::from([("/ws", vec!["GET", "HEAD", "OPTIONS"])]);
    for route in ROUTES {
        let of_path = methods.entry(route.path).or_insert_with(|| vec!["OPTIONS"]);
        of_path.push(route.method);
        if route.method == "GET" {
            of_path.push("HEAD");
        }
    }
    methods
}

fn listed(allow: Option<&str>) -> Vec<&str> {
    let mut methods: Vec<&str> = allow.unwrap_or_default().split(", ").collect();
    methods.sort_unstable();
    methods
}

#[test]
fn a_known_path_with_another_method_is_405_before_any_authentication_with_allow() {
    let server = shared();
    for (path, mut methods) in methods() {
        methods.sort_unstable();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"].iter().filter(|method| !methods.contains(method)) {
            let refused = server.request(method, path, &[], "");
            assert_refused(&refused, 405, "METHOD_NOT_ALLOWED", &format!("{method} {path}"));
            assert_eq!(listed(refused.header("Allow")), methods, "{method} {path}");
        }
    }
}

#[test]
fn options_that_is_no_preflight_is_204_with_allow_on_every_path() {
    let server = shared();
    for (path, mut methods) in methods() {
        methods.sort_unstable();
        let options = server.request("OPTIONS", path, &[], "");
        assert_eq!((options.status, listed(options.header("Allow"))), (204, methods), "{path}");
    }
}

#[test]
fn head_answers_like_get_without_a_body() {
    let world = World::new();
    let room = world.group();
    let message = world.message("alice", &room, "x");
    let credentials = [
        ("X-API-Key", world.tenant.api_key.as_str()),
        ("X-User-Id", "alice"),
        ("X-Master-Key", MASTER_KEY),
        ("X-Request-Id", "same"),
    ];
    for route in ROUTES.iter().filter(|route| route.method == "GET") {
        let path = route.about(&room, &message).0.replace("TENANT", &world.tenant.tenant_id);
        for headers in [&credentials[..], &[]] {
            let [get, head] = ["GET", "HEAD"].map(|method| world.server.request(method, &path, headers, ""));
            assert_eq!((head.status, head.body.is_null()), (get.status, true), "{path} {head:?}");
            assert_eq!(head.header("Content-Type"), get.header("Content-Type"), "{path}");
            // Of what others change meanwhile, the length is another's.
            if !matches!(route.path, "/metrics" | "/health" | "/admin/tenants") {
                assert_eq!(head.header("Content-Length"), get.header("Content-Length"), "{path}");
            }
        }
    }
}

#[test]
fn an_unknown_path_is_404_whatever_the_method_and_without_credentials() {
    let server = shared();
    for path in [
        "/",
        "/roomsx",
        "/rooms/a/b",
        "/rooms/a/messages/b/c",
        "/admin",
        "/admin/tenants/",
        "/v1/v1/rooms",
        "/V1/rooms",
        "/Rooms",
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            assert_refused(&server.request(method, path, &[], ""), 404, "NOT_FOUND", &format!("{method} {path}"));
        }
    }
}

#[test]
fn ids_have_the_prefix_of_their_kind() {
    let world = World::new();
    let room = world.group();
    let message = world.message("alice", &room, "x");
    let notified = world.itself("POST", "/notify", r#"{"topic":"t","payload":1}"#);
    assert!(world.tenant.tenant_id.starts_with("tenant_"));
    assert!(room_id(&room).starts_with("room_"));
    assert!(message.rsplit('/').next().unwrap().starts_with("msg_"));
    assert!(notified.text("notification_id").starts_with("notif_"));
}

#[test]
fn keys_and_webhook_secrets_hold_256_bits_and_tokens_128_and_none_comes_twice() {
    let world = World::new();
    let create = || {
        let body = r#"{"name":"x","config":{"webhook_url":"https://x.example/"}}"#;
        let created = world.operator("POST", "/admin/tenants", body);
        (created.text("api_key"), created.text("webhook_secret"))
    };
    let token = || world.user("alice", "POST", "/ws/token", "").text("token");
    let ((key, secret), (other_key, other_secret)) = (create(), create());
    let (one, other) = (token(), token());
    assert!(key != other_key && secret != other_secret && one != other);
    let url_safe = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap().len() * 8;
    assert_eq!(url_safe(key.strip_prefix("sk_").unwrap()), 256);
    assert_eq!(url_safe(one.strip_prefix("wst_").unwrap()), 128);
    assert_eq!(STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap().len() * 8, 256);
}

/// Every listing that takes a limit, with the name of its list.
fn limited(room: &str) -> [(String, &'static str); 6] {
    [
        ("/rooms".to_owned(), "rooms"),
        (format!("{room}/members"), "members"),
        (format!("{room}/presence"), "presence"),
        (format!("{room}/receipts"), "receipts"),
        (format!("{room}/messages"), "messages"),
        ("/admin/tenants".to_owned(), "tenants"),
    ]
}

#[test]
fn a_limit_of_zero_a_negative_one_and_no_number_are_400() {
    let world = World::new();
    let room = world.group();
    let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "alice"), ("X-Master-Key", MASTER_KEY)];
    for (path, _) in limited(&room) {
        for limit in ["0", "-1", "ten", "", "1.5", "1e2", "%2B1", "0x10"] {
            let path = format!("{path}?limit={limit}");
            assert_blames(&world.server.request("GET", &path, &headers, ""), "limit", &path);
        }
    }
}

#[test]
fn a_limit_above_its_maximum_is_clamped_to_it() {
    let world = World::new();
    let room = world.group();
    let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "alice"), ("X-Master-Key", MASTER_KEY)];
    for (path, list) in limited(&room) {
        for limit in ["10001", "4294967296", "99999999999999999999999"] {
            let path = format!("{path}?limit={limit}");
            let page = world.server.request("GET", &path, &headers, "");
            assert_eq!((page.status, page.body[list].is_array()), (200, true), "{path}: {page:?}");
        }
    }
}

#[test]
fn a_body_of_exactly_2_mib_is_served() {
    let world = World::new();
    let room = world.group();
    let body = format!("{{\"content\":\"x\"{}}}", " ".repeat((2 << 20) - 15));
    assert_eq!(body.len(), 2 << 20);
    assert_eq!(world.user("alice", "POST", &format!("{room}/messages"), &body).status, 200);
    assert_refused(
        &world.user("alice", "POST", &format!("{room}/messages"), &format!("{body} ")),
        413,
        "PAYLOAD_TOO_LARGE",
        "a byte more",
    );
}

#[test]
fn a_head_of_128_headers_or_16_kib_is_served() {
    let server = shared();
    let many = format!("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", "A: b\r\n".repeat(126));
    assert!(server.raw(many.as_bytes()).starts_with("HTTP/1.1 200 "));
    let start = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: ";
    let long = format!("{start}{}\r\n\r\n", "b".repeat((16 << 10) - start.len() - 4));
    assert_eq!(long.len(), 16 << 10);
    assert!(server.raw(long.as_bytes()).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_connection_is_kept_for_further_requests() {
    let server = shared();
    let mut stream = server.open();
    for _ in 0..3 {
        stream.write_all(b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
}

#[test]
fn x_request_id_is_the_caller_s_if_it_is_1_to_128_visible_ascii_characters() {
    let server = shared();
    let longest = "~".repeat(128);
    for id in ["x", "!", longest.as_str()] {
        let answer = server.request("GET", "/livez", &[("X-Request-Id", id)], "");
        assert_eq!(answer.header("X-Request-Id"), Some(id));
    }
    let too_long = "x".repeat(129);
    for id in ["", "a b", "ü", "a\tb", too_long.as_str()] {
        let answer = server.request("GET", "/livez", &[("X-Request-Id", id)], "");
        let told = answer.header("X-Request-Id").unwrap();
        assert!(told != id && !told.is_empty() && told.bytes().all(|byte| byte.is_ascii_graphic()), "{id}: {told}");
    }
}

#[test]
fn every_response_carries_a_request_id_of_its_own() {
    let server = shared();
    let mut seen = std::collections::BTreeSet::new();
    for (method, path) in [
        ("GET", "/livez"),
        ("GET", "/nowhere"),
        ("PUT", "/rooms"),
        ("GET", "/rooms"),
        ("OPTIONS", "/rooms"),
        ("GET", "/ws"),
        ("GET", "/openapi.json"),
    ] {
        let answer = server.request(method, path, &[], "");
        assert!(seen.insert(answer.header("X-Request-Id").unwrap().to_owned()), "{method} {path}");
    }
}

#[test]
fn an_error_repeats_no_credential() {
    let world = World::new();
    let secrets = ["sk_not_a_key_of_anybody", "the-wrong-master-key", "wst_not_a_token"];
    let headers = [("X-API-Key", secrets[0]), ("X-User-Id", "alice"), ("X-Master-Key", secrets[1])];
    for path in ["/rooms", "/admin/tenants", &format!("/ws?token={}", secrets[2]), "/nowhere?api_key=sk_x"] {
        let refused = world.server.request("GET", path, &headers, "");
        assert!(refused.status >= 400);
        let told = refused.body.to_string();
        assert!(secrets.iter().all(|secret| !told.contains(secret)) && !told.contains("sk_x"), "{told}");
    }
}

#[test]
fn storage_that_cannot_answer_and_a_shutdown_are_503_with_retry_after() {
    let mut server = Server::start_with(&[("SHUTDOWN_DRAIN_TIMEOUT", "2s")]);
    let tenant = server.create_tenant("{}");
    let other = rusqlite::Connection::open(server.data_dir().join("chatapi.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let create = r#"{"type":"group","members":[]}"#;
    let locked = server.as_user(&tenant, "alice", "POST", "/rooms", create);
    assert_refused(&locked, 503, "UNAVAILABLE", "locked");
    assert!(locked.header("Retry-After").unwrap().parse::<u64>().unwrap() >= 1);
    // What waits for the store keeps the shutdown under way, so that there is time to ask.
    let address = server.address();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(server.try_request("POST", "/admin/tenants", &[("X-Master-Key", MASTER_KEY)], r#"{"name":"x"}"#))
        });
        crate::support::eventually("a write waits", || {
            server.request("GET", "/metrics", &[], "").body["pending_store_operations"] == 1
        });
        server.signal("TERM");
        crate::support::eventually("the shutdown is under way", || {
            request(&agent(), address, "GET", "/readyz", &[], "").is_ok_and(|answer| answer.status == 503)
        });
        let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
        let refused = request(&agent(), address, "GET", "/rooms", &headers, "").unwrap();
        assert_refused(&refused, 503, "UNAVAILABLE", "shutdown");
        assert!(refused.header("Retry-After").unwrap().parse::<u64>().unwrap() >= 1);
        assert_eq!(server.handshake("/ws", &headers).err(), Some((503, "UNAVAILABLE".to_owned())));
    });
    drop(other);
    assert_eq!(server.await_exit(), Some(0));
}

#[test]
fn a_get_of_ws_without_an_upgrade_is_426_credentials_or_not() {
    let world = World::new();
    let credentials = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "alice")];
    for headers in [&credentials[..], &[], &[("X-API-Key", "sk_unknown")]] {
        let refused = world.server.request("GET", "/ws", headers, "");
        assert_refused(&refused, 426, "UPGRADE_REQUIRED", &format!("{headers:?}"));
        assert_eq!(refused.header("Upgrade"), Some("websocket"));
        assert_eq!(world.server.request("HEAD", "/ws", headers, "").status, 426);
    }
}
