//! Who is in a room (protocol, section 4).

use serde_json::{Value, json};

use crate::support::{Response, eventually};
use crate::world::{World, assert_refused, is_timestamp, texts};

fn add(world: &World, by: &str, room: &str, member: &Value) -> Response {
    world.user(by, "POST", &format!("{room}/members"), &member.to_string())
}

fn remove(world: &World, by: &str, room: &str, user: &str) -> Response {
    world.user(by, "DELETE", &format!("{room}/members/{user}"), "")
}

#[test]
fn a_member_has_these_fields() {
    let world = World::new();
    let room = world.group();
    let page = world.user("bob", "GET", &format!("{room}/members"), "");
    assert_eq!(page.status, 200);
    for member in page.body["members"].as_array().unwrap() {
        assert_eq!(member.as_object().unwrap().keys().collect::<Vec<_>>(), ["joined_at", "role", "user_id"]);
        assert!(is_timestamp(&member["joined_at"]));
    }
}

#[test]
fn members_presence_and_receipts_come_by_pages_that_end_with_null() {
    let world = World::new();
    let room = world.create("u0", &json!({"type": "group", "members": ["u1", "u2", "u3", "ü:/%"]}));
    for list in ["members", "presence", "receipts"] {
        let whole = world.user("u0", "GET", &format!("{room}/{list}"), "");
        let all = texts(&whole.body[list], "user_id");
        assert_eq!((all.len(), &whole.body["next"]), (5, &Value::Null), "{list}");
        let (mut seen, mut query) = (Vec::new(), String::new());
        loop {
            let page = world.user("u0", "GET", &format!("{room}/{list}?limit=2{query}"), "");
            assert_eq!(page.status, 200, "{page:?}");
            let entries = page.body[list].as_array().unwrap();
            assert!(entries.len() <= 2);
            seen.extend(entries.clone());
            let Some(next) = page.body["next"].as_str() else { break };
            let escaped: String = next.bytes().map(|byte| format!("%{byte:02X}")).collect();
            query = format!("&after={escaped}");
        }
        assert_eq!(&Value::from(seen), &whole.body[list], "{list}");
    }
}

#[test]
fn ten_thousand_members_are_one_page() {
    let world = World::new();
    let members: Vec<String> = (0..9_999).map(|n| format!("u{n}")).collect();
    let room = world.create("alice", &json!({"type": "group", "members": members}));
    for list in ["members", "presence", "receipts"] {
        for query in ["", "?limit=20000"] {
            let page = world.user("alice", "GET", &format!("{room}/{list}{query}"), "");
            assert_eq!(
                (page.body[list].as_array().unwrap().len(), &page.body["next"]),
                (10_000, &Value::Null),
                "{list}"
            );
        }
    }
    assert_eq!(add(&world, "alice", &room, &json!({"user_id": "zoe"})).status, 201);
    let page = world.user("alice", "GET", &format!("{room}/members?limit=20000"), "");
    assert_eq!(page.body["members"].as_array().unwrap().len(), 10_000, "the limit is clamped");
    let rest = world.user("alice", "GET", &format!("{room}/members?after={}", page.text("next")), "");
    assert_eq!(texts(&rest.body["members"], "user_id"), ["zoe"]);
}

#[test]
fn both_in_a_dm_are_members() {
    let world = World::new();
    assert_eq!(world.members(&world.dm()), ["alice:member", "bob:member"]);
}

#[test]
fn an_admin_adds_a_member_with_201_and_the_member() {
    let world = World::new();
    for room in [world.group(), world.channel()] {
        let added = add(&world, "alice", &room, &json!({"user_id": "carol"}));
        assert_eq!(added.status, 201);
        let expected = json!({"user_id": "carol", "role": "member", "joined_at": added.body["joined_at"]});
        assert_eq!(added.body, expected);
        let dave = add(&world, "alice", &room, &json!({"user_id": "dave", "role": "admin"}));
        assert_eq!((dave.status, dave.text("role").as_str()), (201, "admin"));
        assert_eq!(world.members(&room), ["alice:admin", "bob:member", "carol:member", "dave:admin"]);
    }
}

#[test]
fn a_member_who_is_no_admin_adds_nobody() {
    let world = World::new();
    for room in [world.group(), world.channel()] {
        assert_refused(&add(&world, "bob", &room, &json!({"user_id": "carol"})), 403, "AUTHORIZATION_ERROR", &room);
        assert_eq!(world.members(&room), ["alice:admin", "bob:member"]);
    }
}

#[test]
fn anyone_joins_a_channel_as_themselves_as_member() {
    let world = World::new();
    let room = world.channel();
    let joined = add(&world, "carol", &room, &json!({"user_id": "carol"}));
    assert_eq!((joined.status, joined.text("role").as_str()), (201, "member"));
    assert_eq!(add(&world, "dave", &room, &json!({"user_id": "dave", "role": "member"})).status, 201);
    let as_admin = add(&world, "erin", &room, &json!({"user_id": "erin", "role": "admin"}));
    assert_refused(&as_admin, 403, "AUTHORIZATION_ERROR", "as an admin");
    let for_another = add(&world, "erin", &room, &json!({"user_id": "frank"}));
    assert_refused(&for_another, 403, "AUTHORIZATION_ERROR", "somebody else");
    assert_eq!(world.members(&room), ["alice:admin", "bob:member", "carol:member", "dave:member"]);
}

#[test]
fn nobody_joins_a_group_by_themselves() {
    let world = World::new();
    let room = world.group();
    assert_refused(&add(&world, "carol", &room, &json!({"user_id": "carol"})), 403, "AUTHORIZATION_ERROR", "carol");
}

#[test]
fn nobody_is_added_to_or_removed_from_a_dm_409() {
    let world = World::new();
    let room = world.dm();
    assert_refused(&add(&world, "alice", &room, &json!({"user_id": "carol"})), 409, "CONFLICT", "add");
    for user in ["alice", "bob"] {
        assert_refused(&remove(&world, "alice", &room, user), 409, "CONFLICT", user);
    }
    let (path, body) = (format!("{room}/members"), r#"{"user_id":"carol"}"#);
    assert_refused(&world.itself("POST", &path, body), 409, "CONFLICT", "the tenant adds");
    assert_refused(&world.itself("DELETE", &format!("{path}/bob"), ""), 409, "CONFLICT", "the tenant removes");
}

#[test]
fn who_is_a_member_already_is_200_with_the_member_as_it_is() {
    let world = World::new();
    let room = world.group();
    let before = world.itself("GET", &format!("{room}/members"), "").body["members"][1].clone();
    let again = add(&world, "alice", &room, &json!({"user_id": "bob"}));
    assert_eq!((again.status, &again.body), (200, &before));
    let as_admin = add(&world, "alice", &room, &json!({"user_id": "alice"}));
    assert_eq!((as_admin.status, as_admin.text("role").as_str()), (200, "admin"), "no role named, none changed");
}

#[test]
fn an_admin_s_role_is_applied_to_who_is_a_member_already() {
    let world = World::new();
    let room = world.group();
    let promoted = add(&world, "alice", &room, &json!({"user_id": "bob", "role": "admin"}));
    assert_eq!((promoted.status, promoted.text("role").as_str()), (200, "admin"));
    let demoted = add(&world, "bob", &room, &json!({"user_id": "alice", "role": "member"}));
    assert_eq!((demoted.status, demoted.text("role").as_str()), (200, "member"));
    assert_eq!(world.members(&room), ["alice:member", "bob:admin"]);
}

#[test]
fn a_member_s_own_role_is_not_applied() {
    let world = World::new();
    for room in [world.channel(), world.group()] {
        let again = add(&world, "bob", &room, &json!({"user_id": "bob", "role": "admin"}));
        assert!(matches!(again.status, 200 | 403), "{again:?}");
        assert_eq!(world.members(&room), ["alice:admin", "bob:member"]);
    }
}

#[test]
fn history_before_joining_is_readable_but_not_missed() {
    let world = World::new();
    for room in [world.group(), world.channel()] {
        for _ in 0..3 {
            world.message("alice", &room, "x");
        }
        assert_eq!(add(&world, "alice", &room, &json!({"user_id": "carol"})).status, 201);
        let history = world.user("carol", "GET", &format!("{room}/messages"), "");
        assert_eq!(history.body["messages"].as_array().unwrap().len(), 3);
        let receipts = world.user("carol", "GET", &format!("{room}/receipts"), "");
        assert_eq!(receipts.body["receipts"][2], json!({"user_id": "carol", "last_ack": 3}));
        let listed = world.user("carol", "GET", "/rooms?limit=1", "");
        assert_eq!(
            (&listed.body["rooms"][0]["last_ack"], &listed.body["rooms"][0]["unread_count"]),
            (&3.into(), &0.into())
        );
    }
}

#[test]
fn an_admin_removes_a_member_and_any_member_leaves() {
    let world = World::new();
    for room in [world.group(), world.channel()] {
        add(&world, "alice", &room, &json!({"user_id": "carol"}));
        assert_eq!(remove(&world, "alice", &room, "bob").status, 204);
        assert_eq!(remove(&world, "carol", &room, "carol").status, 204);
        assert_eq!(world.members(&room), ["alice:admin"]);
        assert_refused(&world.user("bob", "GET", &room, ""), 403, "AUTHORIZATION_ERROR", "bob is out");
    }
}

#[test]
fn a_member_who_is_no_admin_removes_nobody_else() {
    let world = World::new();
    let room = world.group();
    assert_refused(&remove(&world, "bob", &room, "alice"), 403, "AUTHORIZATION_ERROR", "bob");
    assert_eq!(world.members(&room), ["alice:admin", "bob:member"]);
}

#[test]
fn to_remove_who_is_no_member_is_404() {
    let world = World::new();
    let room = world.group();
    assert_refused(&remove(&world, "alice", &room, "zoe"), 404, "NOT_FOUND", "an admin");
    assert_refused(&world.itself("DELETE", &format!("{room}/members/zoe"), ""), 404, "NOT_FOUND", "the tenant");
}

#[test]
fn a_user_id_in_a_path_is_percent_decoded() {
    let world = World::new();
    let room = world.create("alice", &json!({"type": "group", "members": ["a/b c", "é%", "x+y"]}));
    for escaped in ["a%2Fb%20c", "%c3%A9%25", "x+y"] {
        assert_eq!(remove(&world, "alice", &room, escaped).status, 204, "{escaped}");
    }
    assert_eq!(world.members(&room), ["alice:admin"]);
}

#[test]
fn when_the_last_admin_leaves_the_other_member_who_joined_first_becomes_one() {
    let world = World::new();
    let room = world.create("alice", &json!({"type": "group", "members": []}));
    let mut joined_last = String::new();
    for user in ["zoe", "bob"] {
        // The order of joining is told by clocks of milliseconds.
        eventually("time goes on", || {
            let added = add(&world, "alice", &room, &json!({"user_id": user}));
            let joined_at = added.text("joined_at");
            if joined_at > joined_last {
                joined_last = joined_at;
                return true;
            }
            remove(&world, "alice", &room, user);
            false
        });
    }
    assert_eq!(remove(&world, "alice", &room, "alice").status, 204);
    assert_eq!(world.members(&room), ["bob:member", "zoe:admin"]);
    assert_eq!(world.itself("DELETE", &format!("{room}/members/zoe"), "").status, 204);
    assert_eq!(world.members(&room), ["bob:admin"]);
}

#[test]
fn when_the_last_admin_steps_down_another_member_becomes_one() {
    let world = World::new();
    let room = world.group();
    let down = add(&world, "alice", &room, &json!({"user_id": "alice", "role": "member"}));
    assert_eq!((down.status, down.text("role").as_str()), (200, "member"));
    assert_eq!(world.members(&room), ["alice:member", "bob:admin"]);
}

#[test]
fn while_another_admin_is_left_nobody_becomes_one() {
    let world = World::new();
    let room = world.create("alice", &json!({"type": "group", "members": ["bob", "carol"]}));
    add(&world, "alice", &room, &json!({"user_id": "carol", "role": "admin"}));
    assert_eq!(remove(&world, "alice", &room, "alice").status, 204);
    assert_eq!(world.members(&room), ["bob:member", "carol:admin"]);
}

#[test]
fn with_the_last_member_the_room_goes() {
    let world = World::new();
    let room = world.group();
    assert_eq!(remove(&world, "alice", &room, "bob").status, 204);
    assert_eq!(remove(&world, "alice", &room, "alice").status, 204);
    assert_refused(&world.itself("GET", &room, ""), 404, "NOT_FOUND", "the room");
    assert_eq!(world.itself("GET", "/rooms", "").body["rooms"], json!([]));
}

#[test]
fn who_leaves_and_comes_back_has_missed_nothing() {
    let world = World::new();
    let room = world.channel();
    world.message("alice", &room, "x");
    assert_eq!(remove(&world, "bob", &room, "bob").status, 204);
    world.message("alice", &room, "y");
    assert_eq!(add(&world, "bob", &room, &json!({"user_id": "bob"})).status, 201);
    let listed = world.user("bob", "GET", "/rooms", "");
    assert_eq!(
        (&listed.body["rooms"][0]["last_ack"], &listed.body["rooms"][0]["unread_count"]),
        (&2.into(), &0.into())
    );
}

#[test]
fn presence_tells_who_is_online() {
    let world = World::new();
    let room = world.group();
    let presence = || world.itself("GET", &format!("{room}/presence"), "").body;
    let told = |bob: &str| json!({"presence": [{"user_id": "alice", "status": "offline"}, {"user_id": "bob", "status": bob}], "next": null});
    assert_eq!(presence(), told("offline"));
    let mut bob = world.server.connect(&world.tenant, "bob");
    bob.next_of("sync.complete");
    assert_eq!(presence(), told("online"));
    bob.close();
    eventually("bob is offline after his grace", || presence() == told("offline"));
}

#[test]
fn receipts_tell_how_far_each_member_has_read() {
    let world = World::new();
    let room = world.group();
    for _ in 0..3 {
        world.message("alice", &room, "x");
    }
    world.acknowledge("bob", &room, 2);
    let receipts = world.user("alice", "GET", &format!("{room}/receipts"), "");
    let expected =
        json!({"receipts": [{"user_id": "alice", "last_ack": 0}, {"user_id": "bob", "last_ack": 2}], "next": null});
    assert_eq!((receipts.status, receipts.body), (200, expected));
}
