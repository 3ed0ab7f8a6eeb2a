//! Rooms (protocol, section 4). Their members: `members`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::Response;
use crate::world::{World, assert_blames, assert_refused, room_id, texts};

fn create(world: &World, user: &str, room: &Value) -> Response {
    world.user(user, "POST", "/rooms", &room.to_string())
}

fn dm(world: &World, user: &str, members: &[&str]) -> Response {
    create(world, user, &json!({"type": "dm", "members": members}))
}

fn group(members: usize) -> Value {
    let members: Vec<String> = (0..members).map(|n| format!("u{n}")).collect();
    json!({"type": "group", "members": members})
}

#[test]
fn a_room_has_these_fields() {
    let world = World::new();
    let created = create(&world, "alice", &json!({"type": "channel", "members": []}));
    assert_eq!(created.status, 201);
    let expected = BTreeSet::from(["room_id", "type", "unique_key", "name", "metadata", "last_seq", "created_at"]);
    assert_eq!(created.body.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
    let absent = ["unique_key", "name", "metadata"].map(|field| created.body[field].clone());
    assert_eq!(absent, [Value::Null, Value::Null, Value::Null]);
}

#[test]
fn the_unique_key_of_a_dm_names_both_users_sorted_with_colons_and_percents_encoded() {
    let world = World::new();
    for (members, key) in [
        (["bob", "alice"], "dm:alice:bob"),
        (["a:b", "c"], "dm:a%3Ab:c"),
        (["50%", "a"], "dm:50%25:a"),
        (["a", "B"], "dm:B:a"),
        (["é", "z"], "dm:z:é"),
        (["x/y", "x y"], "dm:x y:x/y"),
    ] {
        assert_eq!(dm(&world, members[0], &members).text("unique_key"), key);
    }
    assert_ne!(dm(&world, "a", &["a", "b:c"]).text("room_id"), dm(&world, "c", &["a:b", "c"]).text("room_id"));
}

#[test]
fn a_dm_has_exactly_two_distinct_members() {
    let world = World::new();
    for members in [&[][..], &["alice"], &["alice", "alice"], &["alice", "bob", "carol"]] {
        assert_blames(&dm(&world, "alice", members), "members", &format!("{members:?}"));
    }
    let of_the_tenant = world.itself("POST", "/rooms", r#"{"type":"dm","members":["bob"]}"#);
    assert_blames(&of_the_tenant, "members", "the tenant is nobody's second");
}

#[test]
fn the_caller_is_the_second_of_a_dm_that_names_one_other() {
    let world = World::new();
    let room = format!("/rooms/{}", dm(&world, "alice", &["bob", "bob"]).text("room_id"));
    assert_eq!(world.members(&room), ["alice:member", "bob:member"]);
}

#[test]
fn a_dm_may_be_created_for_two_others_with_or_without_a_user() {
    let world = World::new();
    let by_user = dm(&world, "carol", &["alice", "bob"]);
    assert_eq!(by_user.status, 201);
    assert_eq!(world.members(&format!("/rooms/{}", by_user.text("room_id"))), ["alice:member", "bob:member"]);
    let by_tenant = world.itself("POST", "/rooms", r#"{"type":"dm","members":["dave","erin"]}"#);
    assert_eq!(by_tenant.status, 201);
}

#[test]
fn a_dm_that_exists_is_returned_as_it_is_with_200() {
    let world = World::new();
    let body = json!({"type": "dm", "members": ["bob"], "name": "first", "metadata": "1"});
    let first = create(&world, "alice", &body);
    world.message("bob", &format!("/rooms/{}", first.text("room_id")), "x");
    let other = json!({"type": "dm", "members": ["bob", "alice"], "name": "second", "metadata": "2"});
    let mut expected = first.body;
    expected["last_seq"] = json!(1);
    for user in ["alice", "bob"] {
        let again = create(&world, user, &other);
        assert_eq!((again.status, &again.body), (200, &expected), "{user}");
    }
    let by_tenant = world.itself("POST", "/rooms", &other.to_string());
    assert_eq!((by_tenant.status, &by_tenant.body), (200, &expected));
}

#[test]
fn a_dm_that_exists_is_403_to_a_user_who_is_no_member_of_it() {
    let world = World::new();
    world.dm();
    let refused = dm(&world, "carol", &["alice", "bob"]);
    assert_refused(&refused, 403, "AUTHORIZATION_ERROR", "carol");
    assert!(!refused.body.to_string().contains("room_"), "{refused:?}");
}

#[test]
fn groups_and_channels_of_the_same_members_are_rooms_of_their_own() {
    let world = World::new();
    assert_ne!(world.group(), world.group());
    assert_ne!(world.channel(), world.channel());
}

#[test]
fn the_caller_joins_a_group_or_channel_as_admin_named_or_not() {
    let world = World::new();
    for kind in ["group", "channel"] {
        for members in [json!(["bob"]), json!(["alice", "bob"]), json!(["bob", "alice", "bob", "alice"])] {
            let room = world.create("alice", &json!({"type": kind, "members": members}));
            assert_eq!(world.members(&room), ["alice:admin", "bob:member"], "{kind} {members}");
        }
    }
}

#[test]
fn a_room_that_the_tenant_creates_has_no_admin() {
    let world = World::new();
    let created = world.itself("POST", "/rooms", r#"{"type":"group","members":["alice","bob"]}"#);
    assert_eq!(world.members(&format!("/rooms/{}", created.text("room_id"))), ["alice:member", "bob:member"]);
}

#[test]
fn a_room_has_1_to_10000_members_in_all_at_its_creation() {
    let world = World::new();
    let nobody = world.itself("POST", "/rooms", r#"{"type":"group","members":[]}"#);
    assert_blames(&nobody, "members", "nobody");
    assert_eq!(world.itself("POST", "/rooms", &group(10_000).to_string()).status, 201);
    assert_blames(&world.itself("POST", "/rooms", &group(10_001).to_string()), "members", "one too many");
    assert_blames(&create(&world, "alice", &group(10_000)), "members", "with the caller one too many");
    assert_eq!(create(&world, "u7", &group(10_000)).status, 201, "the caller is named");
}

#[test]
fn metadata_is_stored_and_returned_byte_for_byte() {
    let world = World::new();
    for text in ["{ \"b\":1,\n \"a\" : [ 1.50, 1e3 ] }", "null", "\"\\u00e9é\"", " 1 ", r#"{"a":1,"a":2}"#] {
        let room = world.create("alice", &json!({"type": "group", "members": [], "metadata": text}));
        assert_eq!(world.user("alice", "GET", &room, "").text("metadata"), text);
    }
}

#[test]
fn metadata_of_16_kib_is_kept_and_a_byte_more_is_413() {
    let world = World::new();
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let room = |bytes| json!({"type": "group", "members": [], "metadata": text(bytes)});
    assert_eq!(create(&world, "alice", &room(16_384)).text("metadata"), text(16_384));
    assert_refused(&create(&world, "alice", &room(16_385)), 413, "PAYLOAD_TOO_LARGE", "create");
    let refused = world.user("alice", "PATCH", &world.group(), &json!({"metadata": text(16_385)}).to_string());
    assert_refused(&refused, 413, "PAYLOAD_TOO_LARGE", "change");
}

#[test]
fn metadata_that_is_empty_is_absent() {
    let world = World::new();
    let room = world.create("alice", &json!({"type": "group", "members": [], "metadata": ""}));
    assert_eq!(world.user("alice", "GET", &room, "").body["metadata"], Value::Null);
}

#[test]
fn a_name_has_200_characters_at_most() {
    let world = World::new();
    let room = |name: String| json!({"type": "group", "members": [], "name": name});
    assert_eq!(create(&world, "alice", &room("é".repeat(200))).text("name"), "é".repeat(200));
    assert_blames(&create(&world, "alice", &room("x".repeat(201))), "name", "create");
    let body = json!({"name": "x".repeat(201)}).to_string();
    assert_blames(&world.user("alice", "PATCH", &world.group(), &body), "name", "change");
}

#[test]
fn rooms_of_the_user_alone_are_listed_each_with_where_the_user_stands() {
    let world = World::new();
    let mine = world.group();
    world.create("carol", &json!({"type": "group", "members": []}));
    world.message("alice", &mine, "x");
    let listed = world.user("bob", "GET", "/rooms", "");
    let mut expected = world.user("bob", "GET", &mine, "").body;
    expected["last_ack"] = json!(0);
    expected["unread_count"] = json!(1);
    assert_eq!(listed.body, json!({"rooms": [expected], "next": null}));
}

#[test]
fn the_tenant_s_own_list_has_no_position() {
    let world = World::new();
    let room = world.group();
    let listed = world.itself("GET", "/rooms", "");
    assert_eq!(listed.body["rooms"], json!([world.itself("GET", &room, "").body]));
}

#[test]
fn unread_are_messages_of_others_past_the_ack_without_deleted_ones() {
    let world = World::new();
    let room = world.group();
    let messages: Vec<String> =
        ["alice", "bob", "alice", "alice", "alice"].iter().map(|sender| world.message(sender, &room, "x")).collect();
    let unread = || {
        let listed = world.user("bob", "GET", "/rooms", "");
        let room = &listed.body["rooms"][0];
        (room["last_ack"].as_u64().unwrap(), room["unread_count"].as_u64().unwrap())
    };
    assert_eq!(unread(), (0, 4));
    world.acknowledge("bob", &room, 1);
    assert_eq!(unread(), (1, 3));
    assert_eq!(world.user("alice", "DELETE", &messages[3], "").status, 204);
    assert_eq!(unread(), (1, 2));
    assert_eq!(world.user("alice", "DELETE", &messages[3], "").status, 204);
    assert_eq!(unread(), (1, 2), "a second deletion does not let it drift");
    assert_eq!(world.user("alice", "DELETE", &messages[0], "").status, 204);
    assert_eq!(unread(), (1, 2), "what was read already does not count down");
    world.acknowledge("bob", &room, 5);
    assert_eq!(unread(), (5, 0));
}

#[test]
fn unread_are_counted_among_the_first_1000_past_the_ack() {
    let world = World::new();
    let room = world.group();
    let server = &world.server;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let agent = crate::support::agent();
                let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "alice")];
                for _ in 0..130 {
                    let path = format!("{room}/messages");
                    let sent = crate::support::request(
                        &agent,
                        server.address(),
                        "POST",
                        &path,
                        &headers,
                        r#"{"content":"x"}"#,
                    );
                    assert_eq!(sent.unwrap().status, 200);
                }
            });
        }
    });
    let unread = || world.user("bob", "GET", "/rooms", "").body["rooms"][0]["unread_count"].as_u64().unwrap();
    assert_eq!(unread(), 1_000);
    world.acknowledge("bob", &room, 41);
    assert_eq!(unread(), 999);
}

#[test]
fn rooms_come_newest_first_by_pages_that_end_with_null() {
    let world = World::new();
    let mut rooms: Vec<String> = (0..4).map(|_| room_id(&world.group()).to_owned()).collect();
    rooms.reverse();
    let page = world.user("bob", "GET", "/rooms?limit=4", "");
    assert_eq!(
        (texts(&page.body["rooms"], "room_id"), &page.body["next"]),
        (rooms.iter().map(String::as_str).collect(), &Value::Null)
    );
    for by_tenant in [false, true] {
        let get =
            |path: &str| if by_tenant { world.itself("GET", path, "") } else { world.user("bob", "GET", path, "") };
        let first = get("/rooms?limit=3");
        assert_eq!(texts(&first.body["rooms"], "room_id"), rooms[..3]);
        let second = get(&format!("/rooms?limit=3&after={}", first.text("next")));
        assert_eq!(
            (texts(&second.body["rooms"], "room_id"), &second.body["next"]),
            (vec![rooms[3].as_str()], &Value::Null)
        );
    }
}

#[test]
fn a_change_sets_what_it_names_keeps_what_it_does_not_and_null_clears() {
    let world = World::new();
    let room = world.create("alice", &json!({"type": "group", "members": [], "name": "n", "metadata": "1"}));
    let fields = |body: &str| {
        let changed = world.user("alice", "PATCH", &room, body);
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!(world.user("alice", "GET", &room, "").body, changed.body);
        json!([changed.body["name"], changed.body["metadata"]])
    };
    assert_eq!(fields("{}"), json!(["n", "1"]));
    assert_eq!(fields(r#"{"name":"m"}"#), json!(["m", "1"]));
    assert_eq!(fields(r#"{"metadata":"{\"a\": 2}"}"#), json!(["m", "{\"a\": 2}"]));
    assert_eq!(fields(r#"{"name":null}"#), json!([null, "{\"a\": 2}"]));
    assert_eq!(fields(r#"{"metadata":null,"name":"x"}"#), json!(["x", null]));
    assert_eq!(fields(r#"{"metadata":"3"}"#), json!(["x", "3"]));
    assert_eq!(fields(r#"{"metadata":""}"#), json!(["x", null]), "an empty one is absent");
}

#[test]
fn admins_alone_change_a_group_or_channel() {
    let world = World::new();
    for room in [world.group(), world.channel()] {
        assert_refused(&world.user("bob", "PATCH", &room, r#"{"name":"x"}"#), 403, "AUTHORIZATION_ERROR", &room);
        assert_eq!(world.user("alice", "PATCH", &room, r#"{"name":"x"}"#).status, 200);
    }
}

#[test]
fn either_member_changes_a_dm() {
    let world = World::new();
    let room = world.dm();
    for user in ["alice", "bob"] {
        let body = json!({"name": user}).to_string();
        assert_eq!(world.user(user, "PATCH", &room, &body).text("name"), user);
    }
}

#[test]
fn admins_alone_delete_a_group_or_channel() {
    let world = World::new();
    for room in [world.group(), world.channel()] {
        assert_refused(&world.user("bob", "DELETE", &room, ""), 403, "AUTHORIZATION_ERROR", &room);
        assert_eq!(world.user("alice", "DELETE", &room, "").status, 204);
    }
}

#[test]
fn a_dm_is_deleted_by_the_tenant_alone() {
    let world = World::new();
    let room = world.dm();
    for user in ["alice", "bob"] {
        assert_refused(&world.user(user, "DELETE", &room, ""), 403, "AUTHORIZATION_ERROR", user);
    }
    assert_eq!(world.itself("DELETE", &room, "").status, 204);
}

#[test]
fn a_deleted_room_is_404_everywhere_and_not_listed() {
    let world = World::new();
    let room = world.group();
    let message = world.message("alice", &room, "x");
    assert_eq!(world.user("alice", "DELETE", &room, "").status, 204);
    for route in crate::world::ROUTES.iter().filter(|route| route.names_room()) {
        let (path, body) = route.about(&room, &message);
        assert_refused(&world.user("alice", route.method, &path, &body), 404, "NOT_FOUND", &format!("{route:?}"));
    }
    assert_eq!(world.user("bob", "GET", "/rooms", "").body["rooms"], json!([]));
    assert_eq!(world.itself("GET", "/rooms", "").body["rooms"], json!([]));
}

#[test]
fn a_dm_that_was_deleted_is_created_anew_from_its_first_message_on() {
    let world = World::new();
    let first = world.dm();
    world.message("alice", &first, "x");
    world.acknowledge("bob", &first, 1);
    assert_eq!(world.itself("DELETE", &first, "").status, 204);
    let second = world.dm();
    assert_ne!(first, second);
    assert_eq!(world.user("bob", "GET", &second, "").body["last_seq"], 0);
    let listed = world.user("bob", "GET", "/rooms", "");
    assert_eq!(
        (&listed.body["rooms"][0]["last_ack"], &listed.body["rooms"][0]["unread_count"]),
        (&0.into(), &0.into())
    );
}

/// Has eight clients do the same at once; how often they got each status, and what they got.
fn at_once(ask: impl Fn() -> Response + Sync) -> Vec<Response> {
    std::thread::scope(|scope| {
        let twins: Vec<_> = (0..8).map(|_| scope.spawn(&ask)).collect();
        twins.into_iter().map(|twin| twin.join().unwrap()).collect()
    })
}

#[test]
fn twins_in_flight_create_one_dm() {
    let world = World::new();
    let created = at_once(|| dm(&world, "alice", &["bob"]));
    assert_eq!(created.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(created.iter().filter(|answer| answer.status == 200).count(), 7);
    assert_eq!(created.iter().map(|answer| answer.text("room_id")).collect::<BTreeSet<_>>().len(), 1);
}

#[test]
fn twins_in_flight_add_a_member_once_and_subscribe_once() {
    let world = World::new();
    let room = world.group();
    for ask in [
        &(|| world.user("alice", "POST", &format!("{room}/members"), r#"{"user_id":"carol"}"#))
            as &(dyn Fn() -> Response + Sync),
        &|| world.user("alice", "POST", "/subscriptions", r#"{"topic":"t"}"#),
    ] {
        let answers = at_once(ask);
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 7);
        assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    }
}

#[test]
fn a_page_of_rooms_has_1000_unless_told_and_at_the_most() {
    let world = World::new();
    let address = world.server.address();
    std::thread::scope(|scope| {
        for _ in 0..7 {
            scope.spawn(|| {
                let agent = crate::support::agent();
                let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "alice")];
                for _ in 0..143 {
                    let body = r#"{"type":"group","members":[]}"#;
                    let created = crate::support::request(&agent, address, "POST", "/rooms", &headers, body);
                    assert_eq!(created.unwrap().status, 201);
                }
            });
        }
    });
    for query in ["", "?limit=1000", "?limit=5000"] {
        let page = world.user("alice", "GET", &format!("/rooms{query}"), "");
        assert_eq!(page.body["rooms"].as_array().unwrap().len(), 1_000, "{query}");
        let rest = world.user("alice", "GET", &format!("/rooms?after={}", page.text("next")), "");
        assert_eq!((rest.body["rooms"].as_array().unwrap().len(), &rest.body["next"]), (1, &Value::Null));
    }
}
