//! Notifications and subscriptions over REST (protocol, section 6).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::Response;
use crate::world::{World, assert_blames, assert_refused, is_timestamp, room_id, texts};

fn notify(world: &World, body: &Value) -> Response {
    world.itself("POST", "/notify", &body.to_string())
}

fn subscribe(world: &World, user: &str, topic: &str) -> Response {
    world.user(user, "POST", "/subscriptions", &json!({"topic": topic}).to_string())
}

#[test]
fn a_notification_is_202_with_these_fields() {
    let world = World::new();
    let notified = notify(&world, &json!({"topic": "order.shipped", "payload": {"order": 42}}));
    assert_eq!(notified.status, 202);
    let keys: BTreeSet<&str> = notified.body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["notification_id", "created_at"]));
    assert!(is_timestamp(&notified.body["created_at"]));
    assert_ne!(
        notified.text("notification_id"),
        notify(&world, &json!({"topic": "t", "payload": 1})).text("notification_id")
    );
}

#[test]
fn a_user_notifies_as_well_as_the_tenant_and_needs_no_membership() {
    let world = World::new();
    let room = world.group();
    let body = json!({"topic": "t", "payload": 1, "targets": {"room_id": room_id(&room)}}).to_string();
    for user in ["alice", "carol"] {
        assert_eq!(world.user(user, "POST", "/notify", &body).status, 202, "{user}");
    }
    assert_eq!(world.itself("POST", "/notify", &body).status, 202);
}

#[test]
fn a_topic_is_1_to_200_characters() {
    let world = World::new();
    for topic in ["x".to_owned(), "é".repeat(200)] {
        assert_eq!(notify(&world, &json!({"topic": topic, "payload": 1})).status, 202);
        assert_eq!(subscribe(&world, "alice", &topic).text("topic"), topic);
    }
    for topic in [String::new(), "x".repeat(201)] {
        assert_blames(&notify(&world, &json!({"topic": topic, "payload": 1})), "topic", &topic);
        assert_blames(&subscribe(&world, "alice", &topic), "topic", &topic);
    }
}

#[test]
fn a_payload_is_any_json() {
    let world = World::new();
    for payload in ["null", "true", "1.5e300", "-9007199254740991", "\"\"", "[]", "{}", "[[{\"a\":[null]}]]"] {
        let body = format!(r#"{{"topic":"t","payload":{payload}}}"#);
        assert_eq!(world.itself("POST", "/notify", &body).status, 202, "{payload}");
    }
}

#[test]
fn a_payload_of_64_kib_passes_and_a_byte_more_is_413() {
    let world = World::new();
    let body = |bytes: usize| json!({"topic": "t", "payload": "x".repeat(bytes - 2)});
    assert_eq!(notify(&world, &body(65_536)).status, 202);
    assert_refused(&notify(&world, &body(65_537)), 413, "PAYLOAD_TOO_LARGE", "a byte more");
}

#[test]
fn at_most_10000_users_are_named() {
    let world = World::new();
    let body = |count: usize| {
        let users: Vec<String> = (0..count).map(|n| format!("u{n}")).collect();
        json!({"topic": "t", "payload": 1, "targets": {"user_ids": users}})
    };
    assert_eq!(notify(&world, &body(10_000)).status, 202);
    assert_blames(&notify(&world, &body(10_001)), "targets.user_ids", "one more");
}

#[test]
fn targets_that_come_to_nobody_are_202_too() {
    let world = World::new();
    for targets in [
        json!({"user_ids": []}),
        json!({"topic_subscribers": true}),
        json!({"topic_subscribers": false}),
        json!({"user_ids": [], "topic_subscribers": true}),
        json!(null),
        json!({}),
    ] {
        assert_eq!(notify(&world, &json!({"topic": "t", "payload": 1, "targets": targets})).status, 202, "{targets}");
    }
}

#[test]
fn a_room_as_a_target_must_be_one_of_the_tenant_s() {
    let world = World::new();
    let foreign = world.neighbour().group();
    for id in ["room_0000000000000000", room_id(&foreign), ""] {
        let refused = notify(&world, &json!({"topic": "t", "payload": 1, "targets": {"room_id": id}}));
        assert_refused(&refused, 404, "NOT_FOUND", id);
    }
}

#[test]
fn a_subscription_is_201_with_these_fields_and_ids_counted_within_the_tenant() {
    let world = World::new();
    for (id, user, topic) in [(1, "alice", "a"), (2, "alice", "b"), (3, "bob", "a")] {
        let created = subscribe(&world, user, topic);
        assert_eq!(created.status, 201);
        assert!(is_timestamp(&created.body["created_at"]));
        let created_at = &created.body["created_at"];
        assert_eq!(created.body, json!({"id": id, "subscriber_id": user, "topic": topic, "created_at": created_at}));
    }
    assert_eq!(subscribe(&world.neighbour(), "alice", "a").body["id"], 1);
}

#[test]
fn the_same_subscription_again_is_200_with_the_same_id() {
    let world = World::new();
    let first = subscribe(&world, "alice", "t");
    let again = subscribe(&world, "alice", "t");
    assert_eq!((again.status, again.body), (200, first.body));
}

#[test]
fn topics_are_compared_as_they_stand() {
    let world = World::new();
    for topic in ["t", "T", " t", "é", "e\u{301}"] {
        assert_eq!(subscribe(&world, "alice", topic).status, 201, "{topic}");
    }
}

#[test]
fn subscriptions_of_the_user_alone_are_listed() {
    let world = World::new();
    assert_eq!(world.user("alice", "GET", "/subscriptions", "").body, json!({"subscriptions": []}));
    let first = subscribe(&world, "alice", "b");
    subscribe(&world, "bob", "c");
    let second = subscribe(&world, "alice", "a");
    let listed = world.user("alice", "GET", "/subscriptions", "");
    assert_eq!((listed.status, listed.body), (200, json!({"subscriptions": [first.body, second.body]})));
}

#[test]
fn a_subscription_is_deleted_with_204_and_is_404_then() {
    let world = World::new();
    let path = format!("/subscriptions/{}", subscribe(&world, "alice", "t").body["id"]);
    assert_eq!(world.user("alice", "DELETE", &path, "").status, 204);
    assert_refused(&world.user("alice", "DELETE", &path, ""), 404, "NOT_FOUND", "again");
    assert_eq!(world.user("alice", "GET", "/subscriptions", "").body, json!({"subscriptions": []}));
    let anew = subscribe(&world, "alice", "t");
    assert_eq!((anew.status, &anew.body["id"]), (201, &2.into()), "an id is not given twice");
}

#[test]
fn another_s_or_an_unknown_subscription_is_404() {
    let world = World::new();
    let of_bob = subscribe(&world, "bob", "t").body["id"].to_string();
    for id in [of_bob.as_str(), "0", "99", "-1", "abc", "9007199254740992", "99999999999999999999999", "1.0"] {
        assert_refused(&world.user("alice", "DELETE", &format!("/subscriptions/{id}"), ""), 404, "NOT_FOUND", id);
    }
    assert_eq!(texts(&world.user("bob", "GET", "/subscriptions", "").body["subscriptions"], "topic"), ["t"]);
}

#[test]
fn a_user_has_1000_subscriptions_at_most_then_409() {
    let world = World::new();
    let address = world.server.address();
    std::thread::scope(|scope| {
        for part in 0..8 {
            let world = &world;
            scope.spawn(move || {
                let agent = crate::support::agent();
                let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", "alice")];
                for index in 0..125 {
                    let body = json!({"topic": format!("{part}.{index}")}).to_string();
                    let created = crate::support::request(&agent, address, "POST", "/subscriptions", &headers, &body);
                    assert_eq!(created.unwrap().status, 201);
                }
            });
        }
    });
    assert_refused(&subscribe(&world, "alice", "one more"), 409, "CONFLICT", "alice");
    assert_eq!(subscribe(&world, "alice", "0.0").status, 200, "one that is there");
    assert_eq!(subscribe(&world, "bob", "one more").status, 201, "another user");
    let listed = world.user("alice", "GET", "/subscriptions", "");
    assert_eq!(listed.body["subscriptions"].as_array().unwrap().len(), 1_000);
    let path = format!("/subscriptions/{}", listed.body["subscriptions"][0]["id"]);
    assert_eq!(world.user("alice", "DELETE", &path, "").status, 204);
    assert_eq!(subscribe(&world, "alice", "one more").status, 201, "there is room again");
}

#[test]
fn targets_of_which_no_name_is_known_reach_nobody() {
    let world = World::new();
    let mut carol = world.server.connect(&world.tenant, "carol");
    carol.next_of("sync.complete");
    for targets in [json!({"user_id": ["bob"]}), json!({"users": ["bob"]}), json!({"room": "x"})] {
        let typo = notify(&world, &json!({"topic": "typo", "payload": 1, "targets": targets}));
        assert!(matches!(typo.status, 202 | 400), "{typo:?}");
    }
    // Of two for one user, the first comes first.
    let meant = notify(&world, &json!({"topic": "meant", "payload": 1, "targets": {"user_ids": ["carol"]}}));
    assert_eq!(meant.status, 202);
    assert_eq!(carol.next_of("notification")["topic"], "meant");
}
