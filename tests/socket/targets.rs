//! Whom a notification is for: those it names, each once, and nobody else (protocol, section 6).

use serde_json::{Value, json};

use crate::client::{Client, UNLIMITED, World, topics};

/// Alice, bob, carol and dave online; bob and carol in a room; carol and dave subscribed to the topic "t".
fn world() -> (World, String, [Client; 4]) {
    let world = World::new();
    let room = world.group(&["bob", "carol"]);
    for user in ["carol", "dave"] {
        assert_eq!(world.rest(user, "POST", "/subscriptions", &json!({"topic": "t"})).status, 201);
    }
    let clients = world.clients(["alice", "bob", "carol", "dave"]);
    (world, room, clients)
}

/// How many notifications of topic "t" each client gets. What is sent to each alone comes behind them.
fn counts(world: &World, clients: &mut [Client; 4]) -> [usize; 4] {
    world.notify("end", &json!({"user_ids": ["alice", "bob", "carol", "dave"]}));
    let mut counts = [0; 4];
    for (client, count) in clients.iter_mut().zip(&mut counts) {
        while client.next_of("notification")["topic"] == "t" {
            *count += 1;
        }
    }
    counts
}

#[track_caller]
fn reaches(targets: impl FnOnce(&str) -> Value, expected: [usize; 4]) {
    let (world, room, mut clients) = world();
    world.notify("t", &targets(&room));
    assert_eq!(counts(&world, &mut clients), expected);
}

#[test]
fn user_ids_reach_those_users() {
    reaches(|_| json!({"user_ids": ["alice", "dave"]}), [1, 0, 0, 1]);
}

#[test]
fn a_user_who_is_named_twice_gets_it_once() {
    reaches(|_| json!({"user_ids": ["alice", "alice"]}), [1, 0, 0, 0]);
}

#[test]
fn a_room_reaches_its_members() {
    reaches(|room| json!({ "room_id": room }), [0, 1, 1, 0]);
}

#[test]
fn topic_subscribers_reach_those_who_subscribed_to_the_topic() {
    reaches(|_| json!({"topic_subscribers": true}), [0, 0, 1, 1]);
}

#[test]
fn targets_add_up_and_each_user_gets_it_once() {
    let all = |room: &str| json!({"user_ids": ["carol", "bob"], "room_id": room, "topic_subscribers": true});
    reaches(all, [0, 1, 1, 1]);
}

#[test]
fn null_and_no_targets_reach_everyone_who_is_online() {
    reaches(|_| Value::Null, [1; 4]);
    reaches(|_| json!({}), [1; 4]);
    let (world, _room, mut clients) = world();
    assert_eq!(world.as_tenant("POST", "/notify", &json!({"topic": "t", "payload": 1})).status, 202);
    assert_eq!(counts(&world, &mut clients), [1; 4]);
}

#[test]
fn no_targets_reach_nobody_who_is_away() {
    let world = World::new();
    let [mut alice] = world.clients(["alice"]);
    world.notify("t", &Value::Null);
    assert_eq!(alice.next()["topic"], "t");
    assert_eq!(topics(&world.fresh_client("bob").until("sync.complete")), Vec::<&str>::new());
}

#[test]
fn an_empty_list_reaches_nobody() {
    reaches(|_| json!({"user_ids": []}), [0; 4]);
}

#[test]
fn a_topic_without_subscribers_reaches_nobody() {
    let (world, _room, mut clients) = world();
    world.notify("other", &json!({"topic_subscribers": true}));
    world.notify("end", &json!({"user_ids": ["alice", "bob", "carol", "dave"]}));
    for client in &mut clients {
        assert_eq!(client.next()["topic"], "end");
    }
}

#[test]
fn subscribers_that_are_not_wanted_reach_nobody() {
    reaches(|_| json!({"topic_subscribers": false}), [0; 4]);
}

#[test]
fn an_empty_list_beside_a_room_takes_nothing_from_it_and_adds_nobody() {
    reaches(|room| json!({"user_ids": [], "room_id": room, "topic_subscribers": false}), [0, 1, 1, 0]);
}

#[test]
fn an_unknown_room_is_404_and_reaches_nobody() {
    let (world, _room, mut clients) = world();
    let other = world.server.create_tenant(UNLIMITED);
    let foreign = world.server.create_room(&other, "alice", &["bob"]);
    for room in ["room_none", &foreign] {
        let body = json!({"topic": "t", "payload": 1, "targets": {"room_id": room, "user_ids": ["alice"]}});
        let refused = world.as_tenant("POST", "/notify", &body);
        assert_eq!((refused.status, refused.code()), (404, "NOT_FOUND"));
    }
    assert_eq!(counts(&world, &mut clients), [0; 4]);
}

#[test]
fn a_user_of_another_tenant_is_never_reached() {
    let (world, _room, mut clients) = world();
    let other = world.server.create_tenant(UNLIMITED);
    let body = r#"{"topic":"t","payload":1}"#;
    for targets in [r#"{"user_ids":["alice"]}"#, r#"{"topic_subscribers":true}"#, "null"] {
        let body = body.replace('}', &format!(r#","targets":{targets}}}"#));
        let sent = world.server.request("POST", "/notify", &[("X-API-Key", &other.api_key)], &body);
        assert_eq!(sent.status, 202, "{sent:?}");
    }
    assert_eq!(counts(&world, &mut clients), [0; 4]);
}

#[test]
fn a_user_may_notify_users_and_rooms_it_shares_nothing_with() {
    let (world, room, mut clients) = world();
    let body = json!({"topic": "t", "payload": 1, "targets": {"room_id": room, "user_ids": ["dave"]}});
    assert_eq!(world.rest("alice", "POST", "/notify", &body).status, 202);
    assert_eq!(counts(&world, &mut clients), [0, 1, 1, 1]);
}

#[test]
fn a_subscription_that_was_deleted_reaches_nobody() {
    let (world, _room, mut clients) = world();
    let listed = world.rest("carol", "GET", "/subscriptions", &Value::Null);
    let id = &listed.body["subscriptions"][0]["id"];
    assert_eq!(world.rest("carol", "DELETE", &format!("/subscriptions/{id}"), &Value::Null).status, 204);
    world.notify("t", &json!({"topic_subscribers": true}));
    assert_eq!(counts(&world, &mut clients), [0, 0, 0, 1]);
}

#[test]
fn a_member_who_left_is_no_target_of_the_room() {
    let (world, room, mut clients) = world();
    assert_eq!(world.as_tenant("DELETE", &format!("/rooms/{room}/members/carol"), &Value::Null).status, 204);
    world.notify("t", &json!({ "room_id": room }));
    assert_eq!(counts(&world, &mut clients), [0, 1, 0, 0]);
}

#[test]
fn a_subscriber_who_is_away_gets_it_on_connect() {
    let (world, _room, _clients) = world();
    assert_eq!(world.rest("erin", "POST", "/subscriptions", &json!({"topic": "t"})).status, 201);
    world.notify("t", &json!({"topic_subscribers": true}));
    assert_eq!(topics(&world.fresh_client("erin").until("sync.complete")), ["t"]);
}

#[test]
fn ten_thousand_users_may_be_named_and_the_last_of_them_is_reached() {
    let world = World::new();
    let users: Vec<String> = (0..10_000).map(|number| format!("user{number:05}")).collect();
    let mut last = world.client("user09999");
    world.notify("t", &json!({ "user_ids": users }));
    assert_eq!(last.next()["topic"], "t");
    let too_many = [users, vec!["one more".to_owned()]].concat();
    let more = json!({"topic": "t", "payload": 1, "targets": {"user_ids": too_many}});
    assert_eq!(world.as_tenant("POST", "/notify", &more).status, 400);
}
