//! Who is calling, and what is theirs (protocol, section 2).

use serde_json::json;

use crate::support::{MASTER_KEY, Response};
use crate::world::{Caller, ROUTES, Route, World, assert_refused, room_id, texts};

fn tenant_routes() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| matches!(route.caller, Caller::Tenant | Caller::User))
}

#[test]
fn a_missing_or_unknown_key_is_401_on_every_tenant_route() {
    let world = World::new();
    for route in tenant_routes() {
        let longer = format!("{}x", world.tenant.api_key);
        for headers in [
            &[("X-User-Id", "alice")][..],
            &[("X-User-Id", "alice"), ("X-API-Key", "sk_unknown")],
            &[("X-User-Id", "alice"), ("X-API-Key", "")],
            &[("X-User-Id", "alice"), ("X-API-Key", &longer)],
            &[("X-User-Id", "alice"), ("X-Master-Key", MASTER_KEY)],
        ] {
            let refused = world.server.request(route.method, route.path, headers, route.body);
            assert_refused(&refused, 401, "AUTHENTICATION_ERROR", &format!("{route:?} {headers:?}"));
        }
    }
}

#[test]
fn a_missing_user_id_is_401_where_the_route_needs_one() {
    let world = World::new();
    let room = world.group();
    let message = world.message("alice", &room, "x");
    for route in ROUTES.iter().filter(|route| route.caller == Caller::User) {
        let (path, body) = route.about(&room, &message);
        assert_refused(&world.itself(route.method, &path, &body), 401, "AUTHENTICATION_ERROR", &path);
    }
}

#[test]
fn a_user_id_of_128_bytes_is_served() {
    let world = World::new();
    for user in ["x".repeat(128), "é".repeat(64), "a".to_owned()] {
        let room = world.create(&user, &json!({"type": "group", "members": []}));
        assert_eq!(world.members(&room), [format!("{user}:admin")]);
    }
}

#[test]
fn a_user_id_that_is_empty_too_long_or_holds_a_control_character_or_white_space_at_its_ends_is_400() {
    let world = World::new();
    let too_long = "x".repeat(129);
    for user in ["", too_long.as_str(), "a\u{85}b", "\u{9f}", "\u{a0}x", "x\u{3000}", "\u{2028}x", "a\tb", "\u{85}x"] {
        for (method, path) in [("GET", "/rooms"), ("GET", "/subscriptions"), ("POST", "/ws/token")] {
            let refused = world.user(user, method, path, "");
            assert_refused(&refused, 400, "VALIDATION_ERROR", &format!("{user:?} {path}"));
        }
    }
}

#[test]
fn a_user_id_that_is_not_utf_8_is_400() {
    let world = World::new();
    let head = format!(
        "GET /rooms HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {}\r\nX-User-Id: ",
        world.tenant.api_key
    );
    for id in [&b"\xff"[..], b"a\xc3", b"\xed\xa0\x80", b"\xc0\xaf"] {
        let answer = world.server.raw(&[head.as_bytes(), id, b"\r\n\r\n"].concat());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{id:?}: {answer}");
    }
}

#[test]
fn user_ids_are_compared_byte_by_byte() {
    let world = World::new();
    let room = world.create("é", &json!({"type": "group", "members": ["Bob"]}));
    assert_eq!(world.user("é", "GET", &room, "").status, 200);
    for other in ["e\u{301}", "É", "bob", "BOB"] {
        assert_refused(&world.user(other, "GET", &room, ""), 403, "AUTHORIZATION_ERROR", other);
    }
}

#[test]
fn a_key_in_a_query_string_is_never_accepted() {
    let world = World::new();
    for name in ["api_key", "X-API-Key", "key", "token"] {
        let path = format!("/rooms?{name}={}", world.tenant.api_key);
        let refused = world.server.request("GET", &path, &[("X-User-Id", "alice")], "");
        assert_refused(&refused, 401, "AUTHENTICATION_ERROR", name);
    }
    let refused = world.server.handshake(&format!("/ws?user_id=alice&api_key={}", world.tenant.api_key), &[]);
    assert_eq!(refused.err(), Some((401, "AUTHENTICATION_ERROR".to_owned())));
}

#[test]
fn without_a_user_the_tenant_reads_every_room_of_its_own() {
    let world = World::new();
    let room = world.group();
    let message = world.message("alice", &room, "x");
    for tail in ["", "/members", "/presence", "/receipts", "/messages"] {
        assert_eq!(world.itself("GET", &format!("{room}{tail}"), "").status, 200, "{tail}");
    }
    assert_eq!(world.itself("GET", &message, "").status, 200);
}

#[test]
fn without_a_user_all_rooms_of_the_tenant_are_listed() {
    let world = World::new();
    let mut rooms = [world.group(), world.dm(), world.create("carol", &json!({"type": "channel", "members": []}))];
    let listed = world.itself("GET", "/rooms", "");
    rooms.reverse();
    assert_eq!(texts(&listed.body["rooms"], "room_id"), rooms.iter().map(|room| room_id(room)).collect::<Vec<_>>());
}

#[test]
fn without_a_user_the_tenant_creates_changes_and_deletes_rooms() {
    let world = World::new();
    let created = world.itself("POST", "/rooms", r#"{"type":"group","members":["bob"]}"#);
    assert_eq!(created.status, 201);
    let room = format!("/rooms/{}", created.text("room_id"));
    assert_eq!(world.itself("PATCH", &room, r#"{"name":"new"}"#).text("name"), "new");
    assert_eq!(world.itself("DELETE", &room, "").status, 204);
    assert_refused(&world.itself("GET", &room, ""), 404, "NOT_FOUND", "it is gone");
}

#[test]
fn without_a_user_the_tenant_manages_members() {
    let world = World::new();
    let room = world.group();
    let members = format!("{room}/members");
    assert_eq!(world.itself("POST", &members, r#"{"user_id":"carol","role":"admin"}"#).status, 201);
    assert_eq!(world.itself("DELETE", &format!("{members}/bob"), "").status, 204);
    assert_eq!(world.members(&room), ["alice:admin", "carol:admin"]);
}

#[test]
fn without_a_user_the_tenant_deletes_any_message() {
    let world = World::new();
    let room = world.group();
    let message = world.message("bob", &room, "x");
    assert_eq!(world.itself("DELETE", &message, "").status, 204);
    assert_eq!(world.user("bob", "GET", &message, "").text("content"), "");
}

#[test]
fn admin_routes_want_the_master_key_and_take_no_tenant_s() {
    let world = World::new();
    let longer = format!("{MASTER_KEY}x");
    for route in ROUTES.iter().filter(|route| route.caller == Caller::Master) {
        let path = route.path.replace("TENANT", &world.tenant.tenant_id);
        for headers in [
            &[][..],
            &[("X-Master-Key", "")],
            &[("X-Master-Key", &longer)],
            &[("X-Master-Key", &MASTER_KEY[1..])],
            &[("X-Master-Key", &world.tenant.api_key)],
            &[("X-API-Key", &world.tenant.api_key)],
            &[("X-API-Key", MASTER_KEY)],
        ] {
            let refused = world.server.request(route.method, &path, headers, route.body);
            assert_refused(&refused, 401, "AUTHENTICATION_ERROR", &format!("{route:?} {headers:?}"));
        }
    }
}

#[test]
fn the_plaintext_of_a_key_is_in_exactly_one_response() {
    let world = World::new();
    let path = world.tenant_path("");
    let responses = [
        world.operator("GET", &path, ""),
        world.operator("PATCH", &path, r#"{"name":"x"}"#),
        world.operator("GET", "/admin/tenants?limit=1000", ""),
        world.operator("POST", &world.tenant_path("/rotate-key"), r#"{"grace_seconds":60}"#),
        world.operator("GET", &path, ""),
    ];
    let rotated = responses[3].text("api_key");
    for (index, response) in responses.iter().enumerate() {
        assert_eq!(response.status, 200);
        let text = format!("{response:?}");
        assert!(!text.contains(&world.tenant.api_key), "{text}");
        assert_eq!(text.contains(&rotated), index == 3, "{text}");
    }
}

/// Status and body of an answer to alice, where the id of the request is the same always.
fn bytes(world: &World, method: &str, path: &str, body: &str) -> (u16, String) {
    let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "alice"), ("X-Request-Id", "same")];
    let answer: Response = world.server.request(method, path, &headers, body);
    (answer.status, answer.body.to_string())
}

#[test]
fn a_room_or_message_of_another_tenant_is_404_in_the_same_bytes_as_one_that_does_not_exist() {
    let (world, room, message) = {
        let world = World::new();
        let other = world.neighbour();
        let room = other.group();
        let message = other.message("alice", &room, "x");
        (world, room, message)
    };
    let (no_room, no_message) = ("/rooms/room_0000000000000000", "x/msg_0000000000000000");
    for route in ROUTES.iter().filter(|route| route.names_room()) {
        let (path, body) = route.about(&room, &message);
        let foreign = bytes(&world, route.method, &path, &body);
        let (path, body) = route.about(no_room, no_message);
        assert_eq!(foreign, bytes(&world, route.method, &path, &body), "{route:?}");
        assert_eq!(foreign.0, 404, "{route:?} {foreign:?}");
    }
}

#[test]
fn a_message_of_another_room_or_tenant_under_a_room_of_one_s_own_is_404() {
    let world = World::new();
    let (room, elsewhere) = (world.group(), world.group());
    let other = world.neighbour();
    let foreign_room = other.group();
    let unknown = bytes(&world, "GET", &format!("{room}/messages/msg_0000000000000000"), "");
    assert_eq!(unknown.0, 404);
    for message in [world.message("alice", &elsewhere, "x"), other.message("alice", &foreign_room, "x")] {
        let path = format!("{room}/messages/{}", message.rsplit('/').next().unwrap());
        assert_eq!(bytes(&world, "GET", &path, ""), unknown);
        assert_eq!(bytes(&world, "PATCH", &path, r#"{"content":"y"}"#).0, 404);
        assert_eq!(bytes(&world, "DELETE", &path, "").0, 404);
    }
}

#[test]
fn a_subscription_of_another_tenant_or_user_is_404_in_the_same_bytes_as_one_that_does_not_exist() {
    let world = World::new();
    let other = world.neighbour();
    for _ in 0..2 {
        other.user("alice", "POST", "/subscriptions", r#"{"topic":"foreign"}"#);
    }
    let of_bob = world.user("bob", "POST", "/subscriptions", r#"{"topic":"bob's"}"#).body["id"].as_u64().unwrap();
    let unknown = bytes(&world, "DELETE", "/subscriptions/987654321", "");
    assert_eq!(unknown.0, 404);
    for path in [format!("/subscriptions/{of_bob}"), "/subscriptions/2".to_owned()] {
        assert_eq!(bytes(&world, "DELETE", &path, ""), unknown, "{path}");
    }
    assert_eq!(world.user("bob", "GET", "/subscriptions", "").body["subscriptions"].as_array().unwrap().len(), 1);
}

#[test]
fn a_user_of_the_same_name_in_another_tenant_sees_nothing() {
    let world = World::new();
    world.group();
    world.user("alice", "POST", "/subscriptions", r#"{"topic":"t"}"#);
    let other = world.neighbour();
    for (path, list) in [("/rooms", "rooms"), ("/subscriptions", "subscriptions")] {
        assert_eq!(other.user("alice", "GET", path, "").body[list], json!([]), "{path}");
    }
    assert_eq!(other.itself("GET", "/rooms", "").body["rooms"], json!([]));
}

#[test]
fn a_dm_of_the_same_users_in_another_tenant_is_another_room() {
    let world = World::new();
    let other = world.neighbour();
    assert_ne!(world.dm(), other.dm());
}

#[test]
fn a_user_who_is_no_member_gets_403_from_every_route_of_a_room() {
    let world = World::new();
    let room = world.group();
    let message = world.message("alice", &room, "x");
    // `/notify` asks for no membership.
    for route in ROUTES.iter().filter(|route| route.names_room() && route.path != "/notify") {
        let (path, body) = route.about(&room, &message);
        let refused = world.user("carol", route.method, &path, &body);
        assert_refused(&refused, 403, "AUTHORIZATION_ERROR", &format!("{route:?}"));
    }
}

#[test]
fn a_header_of_a_caller_that_stands_twice_is_400() {
    let world = World::new();
    let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "alice"), ("X-User-Id", "bob")];
    let refused = world.server.request("GET", "/rooms", &headers, "");
    assert_refused(&refused, 400, "VALIDATION_ERROR", "which of them acts cannot be told");
}
