//! What a body may be (protocol, section 1): types, requirements, strictness.

use serde_json::{Value, json};

use crate::support::{MASTER_KEY, Response};
use crate::world::{Caller, ROUTES, World, assert_blames, assert_refused};

/// A room with a message, to which every route of [`ROUTES`] can be put.
struct Place {
    world: World,
    room: String,
    message: String,
}

impl Place {
    fn new() -> Self {
        let world = World::new();
        let room = world.group();
        let message = world.message("alice", &room, "x");
        Self { world, room, message }
    }

    /// Puts a body to a route, with all credentials there are.
    fn put(&self, method: &str, path: &str, body: &str) -> Response {
        let message_id = self.message.rsplit('/').next().unwrap();
        let path = path
            .replace("/rooms/ROOM", &self.room)
            .replace("MESSAGE", message_id)
            .replace("TENANT", &self.world.tenant.tenant_id);
        let headers =
            [("X-API-Key", self.world.tenant.api_key.as_str()), ("X-User-Id", "alice"), ("X-Master-Key", MASTER_KEY)];
        self.world.server.request(method, &path, &headers, body)
    }
}

/// Routes that need a body, each with one that is complete.
fn with_bodies(place: &Place) -> impl Iterator<Item = (&'static str, &'static str, Value)> {
    let room_id = place.room.strip_prefix("/rooms/").unwrap().to_owned();
    ROUTES.iter().filter(|route| !route.body.is_empty()).map(move |route| {
        (route.method, route.path, serde_json::from_str(&route.body.replace("ROOM", &room_id)).unwrap())
    })
}

/// A field with a value of a type that it does not take, and whom the error blames.
const WRONG_TYPES: &[(&str, &str, &str, &[&str])] = &[
    ("POST", "/admin/tenants", "name", &["1", "true", "[]", "{}", "1.5"]),
    ("POST", "/admin/tenants", "config", &["1", "\"x\"", "[]", "false"]),
    ("PATCH", "/admin/tenants/TENANT", "name", &["1", "true", "[]", "{}", "null", "\"\""]),
    ("PATCH", "/admin/tenants/TENANT", "config", &["1", "\"x\"", "[]", "false"]),
    ("POST", "/admin/tenants/TENANT/rotate-key", "grace_seconds", &["\"1\"", "true", "[]", "{}", "1.5", "1e2"]),
    ("POST", "/admin/tenants/TENANT/rotate-key", "close_sockets", &["1", "\"true\"", "[]", "{}"]),
    ("POST", "/rooms", "type", &["1", "true", "[]", "{}", "\"DM\"", "\"\"", "\"rooms\""]),
    ("POST", "/rooms", "members", &["1", "\"bob\"", "{}", "[1]", "[null]", "[[]]", "[\"\"]", "[\" bob\"]"]),
    ("POST", "/rooms", "name", &["1", "true", "[]", "{}"]),
    ("POST", "/rooms", "metadata", &["1", "true", "[]", "{}", "\"{\"", "\"x\"", "\" \""]),
    ("PATCH", "/rooms/ROOM", "name", &["1", "true", "[]", "{}"]),
    ("PATCH", "/rooms/ROOM", "metadata", &["1", "true", "[]", "{}", "\"{\""]),
    ("POST", "/rooms/ROOM/members", "user_id", &["1", "true", "[]", "{}", "\"\"", "\" x\"", "\"a\\nb\""]),
    ("POST", "/rooms/ROOM/members", "role", &["1", "true", "[]", "{}", "\"owner\"", "\"\""]),
    ("POST", "/rooms/ROOM/messages", "content", &["1", "true", "[]", "{}", "\"\""]),
    ("POST", "/rooms/ROOM/messages", "meta", &["1", "true", "[]", "{}", "\"{\""]),
    ("PATCH", "/rooms/ROOM/messages/MESSAGE", "content", &["1", "true", "[]", "{}", "\"\""]),
    ("PATCH", "/rooms/ROOM/messages/MESSAGE", "meta", &["1", "true", "[]", "{}", "\"{\""]),
    ("POST", "/acks", "room_id", &["1", "true", "[]", "{}"]),
    ("POST", "/acks", "seq", &["\"1\"", "true", "[]", "{}", "1.5", "1e0", "-1"]),
    ("POST", "/notify", "topic", &["1", "true", "[]", "{}", "\"\""]),
    ("POST", "/notify", "targets", &["1", "true", "[]", "\"all\""]),
    ("POST", "/subscriptions", "topic", &["1", "true", "[]", "{}", "\"\""]),
];

#[test]
fn a_field_of_the_wrong_type_is_400_and_blamed() {
    let place = Place::new();
    let complete: Vec<_> = with_bodies(&place).collect();
    for (method, path, field, values) in WRONG_TYPES {
        let (_, _, body) = complete.iter().find(|(m, p, _)| m == method && p == path).unwrap();
        for value in *values {
            let mut body = body.clone();
            body[field] = serde_json::from_str(value).unwrap();
            let text = body.to_string();
            let refused = place.put(method, path, &text);
            assert_blames(&refused, field, &format!("{method} {path} {text}"));
        }
    }
}

#[test]
fn a_field_of_targets_of_the_wrong_type_is_400_and_blamed() {
    let world = World::new();
    for (field, value) in [
        ("user_ids", "1"),
        ("user_ids", "\"bob\""),
        ("user_ids", "[1]"),
        ("user_ids", "[\"\"]"),
        ("room_id", "1"),
        ("room_id", "[]"),
        ("topic_subscribers", "1"),
        ("topic_subscribers", "\"true\""),
    ] {
        let body = format!(r#"{{"topic":"t","payload":1,"targets":{{"{field}":{value}}}}}"#);
        assert_blames(&world.itself("POST", "/notify", &body), &format!("targets.{field}"), &body);
    }
}

#[test]
fn a_missing_required_field_is_400_and_blamed_and_null_is_missing() {
    let place = Place::new();
    let required = [
        ("POST", "/admin/tenants", "name"),
        ("POST", "/rooms", "type"),
        ("POST", "/rooms", "members"),
        ("POST", "/rooms/ROOM/members", "user_id"),
        ("POST", "/rooms/ROOM/messages", "content"),
        ("PATCH", "/rooms/ROOM/messages/MESSAGE", "content"),
        ("POST", "/acks", "room_id"),
        ("POST", "/acks", "seq"),
        ("POST", "/notify", "topic"),
        ("POST", "/subscriptions", "topic"),
    ];
    let complete: Vec<_> = with_bodies(&place).collect();
    for (method, path, field) in required {
        let (_, _, body) = complete.iter().find(|(m, p, _)| *m == method && *p == path).unwrap();
        let mut without = body.clone();
        without.as_object_mut().unwrap().remove(field);
        let mut with_null = body.clone();
        with_null[field] = Value::Null;
        for body in [without, with_null] {
            let body = body.to_string();
            assert_blames(&place.put(method, path, &body), field, &format!("{method} {path} {body}"));
        }
    }
    assert_blames(&place.put("POST", "/notify", r#"{"topic":"t"}"#), "payload", "a payload may be null, not absent");
}

#[test]
fn unknown_fields_are_ignored() {
    for (method, path, mut body) in with_bodies(&Place::new()) {
        // A rotation makes the key void, and ids are of a place.
        let place = Place::new();
        if path == "/acks" || path == "/notify" {
            let sample = ROUTES.iter().find(|route| route.path == path).unwrap();
            body = serde_json::from_str(&sample.about(&place.room, &place.message).1).unwrap();
        }
        body["unknown"] = json!({"a": [1, {"b": null}], "c": "d"});
        body["Content"] = json!(7);
        let served = place.put(method, path, &body.to_string());
        assert!((200..300).contains(&served.status), "{method} {path}: {served:?}");
    }
}

/// Refused by every route that takes a body, before and after its own fields were read.
fn every_route_refuses(spoil: impl Fn(&str) -> String) {
    let place = Place::new();
    for (method, path, body) in with_bodies(&place) {
        let spoilt = spoil(&body.to_string());
        let refused = place.put(method, path, &spoilt);
        assert_refused(&refused, 400, "VALIDATION_ERROR", &format!("{method} {path} {spoilt:.300}"));
    }
    let left = place.world.user("alice", "GET", &format!("{}/messages", place.room), "");
    assert_eq!(left.body["messages"].as_array().unwrap().len(), 1, "nothing was done");
}

/// A body with one field more.
fn and_field(body: &str, field: &str) -> String {
    let inner = body.strip_suffix('}').unwrap();
    let comma = if inner == "{" { "" } else { "," };
    format!("{inner}{comma}{field}}}")
}

#[test]
fn a_duplicate_key_is_400() {
    every_route_refuses(|body| and_field(body, r#""twice":1,"twice":1"#));
}

#[test]
fn a_duplicate_key_deep_inside_is_400() {
    every_route_refuses(|body| and_field(body, r#""deep":[{"twice":1,"\u0074wice":1}]"#));
}

#[test]
fn bad_json_is_400() {
    for tail in ["}", " x", ",", "\u{0}", "{}", "//"] {
        every_route_refuses(|body| format!("{body}{tail}"));
    }
    every_route_refuses(|body| body.replace('"', "'") + "'");
    every_route_refuses(|body| body.strip_suffix('}').unwrap().to_owned());
    every_route_refuses(|body| and_field(body, r#""x":01"#));
    every_route_refuses(|body| and_field(body, r#""x":NaN"#));
    every_route_refuses(|body| and_field(body, "\"x\":\"a\nb\""));
}

#[test]
fn a_byte_order_mark_is_400() {
    every_route_refuses(|body| format!("\u{feff}{body}"));
}

#[test]
fn more_than_64_levels_of_nesting_are_400() {
    every_route_refuses(|body| and_field(body, &format!("\"x\":{}{}", "[".repeat(64), "]".repeat(64))));
    every_route_refuses(|body| and_field(body, &format!("\"x\":{}1{}", "{\"x\":".repeat(64), "}".repeat(64))));
    every_route_refuses(|body| and_field(body, &format!("\"x\":{}", "[".repeat(100_000))));
}

#[test]
fn sixty_four_levels_of_nesting_are_served() {
    let world = World::new();
    let room = world.group();
    let body = format!(r#"{{"content":"x","x":{}{}}}"#, "[".repeat(63), "]".repeat(63));
    assert_eq!(world.user("alice", "POST", &format!("{room}/messages"), &body).status, 200);
}

#[test]
fn a_lone_surrogate_is_400() {
    for surrogate in [r"\ud800", r"\udfff", r"\ud800\ud800", r"\ud83dx", r"\ude00\ud83d"] {
        every_route_refuses(|body| and_field(body, &format!("\"x\":\"{surrogate}\"")));
        every_route_refuses(|body| and_field(body, &format!("\"{surrogate}\":1")));
    }
}

#[test]
fn an_array_or_a_scalar_in_place_of_the_object_is_400() {
    for body in ["[]", "1", "null", "true", "\"x\"", " "] {
        every_route_refuses(|_| body.to_owned());
    }
    every_route_refuses(|body| format!("[{body}]"));
}

#[test]
fn an_empty_body_where_one_is_needed_is_400() {
    let place = Place::new();
    for (method, path, _) in with_bodies(&place).filter(|(_, path, _)| !path.ends_with("/rotate-key")) {
        assert_refused(&place.put(method, path, ""), 400, "VALIDATION_ERROR", &format!("{method} {path}"));
    }
}

#[test]
fn an_empty_body_is_served_where_none_is_needed() {
    let place = Place::new();
    for path in ["/ws/token", "/admin/tenants/TENANT/rotate-key"] {
        assert_eq!(place.put("POST", path, "").status, 200, "{path}");
    }
}

#[test]
fn integers_beyond_2_53_are_400() {
    let place = Place::new();
    let room_id = place.room.strip_prefix("/rooms/").unwrap();
    for number in ["9007199254740992", "-9007199254740992", "18446744073709551616", "99999999999999999999999999"] {
        let body = format!(r#"{{"room_id":"{room_id}","seq":{number}}}"#);
        assert_blames(&place.put("POST", "/acks", &body), "seq", &body);
        let body = format!(r#"{{"grace_seconds":{number}}}"#);
        assert_blames(&place.put("POST", "/admin/tenants/TENANT/rotate-key", &body), "grace_seconds", &body);
        let body = format!(r#"{{"name":"x","config":{{"rate_limit":{number}}}}}"#);
        assert_blames(&place.put("POST", "/admin/tenants", &body), "config.rate_limit", &body);
        let body = format!(r#"{{"topic":"t","payload":{{"a":[{number}]}}}}"#);
        assert_blames(&place.put("POST", "/notify", &body), "payload", &body);
    }
}

#[test]
fn a_null_character_is_allowed_in_content() {
    let world = World::new();
    let room = world.group();
    let sent = world.user("alice", "POST", &format!("{room}/messages"), r#"{"content":"\u0000a\u0000"}"#);
    let message = format!("{room}/messages/{}", sent.text("message_id"));
    assert_eq!(world.user("bob", "GET", &message, "").text("content"), "\u{0}a\u{0}");
}

#[test]
fn a_body_where_none_is_wanted_changes_nothing() {
    let place = Place::new();
    let gets = ROUTES.iter().filter(|route| route.method == "GET" && route.caller == Caller::Tenant);
    for route in gets {
        assert_eq!(place.put("GET", route.path, "{\"limit\":").status, 200, "{}", route.path);
    }
}
