//! Messages and acks (protocol, section 5).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Response, Server};
use crate::world::{World, assert_blames, assert_refused, is_timestamp, room_id};

fn send(world: &World, user: &str, room: &str, body: &Value) -> Response {
    world.user(user, "POST", &format!("{room}/messages"), &body.to_string())
}

fn send_with_key(world: &World, user: &str, room: &str, key: &str, body: &str) -> Response {
    let headers = [("X-API-Key", world.tenant.api_key.as_str()), ("X-User-Id", user), ("Idempotency-Key", key)];
    world.server.request("POST", &format!("{room}/messages"), &headers, body)
}

fn edit(world: &World, user: &str, message: &str, body: &Value) -> Response {
    world.user(user, "PATCH", message, &body.to_string())
}

fn seqs(page: &Response) -> Vec<u64> {
    let messages = page.body["messages"].as_array().unwrap_or_else(|| panic!("{page:?}"));
    messages.iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}

fn leave(world: &World, user: &str, room: &str) {
    assert_eq!(world.user(user, "DELETE", &format!("{room}/members/{user}"), "").status, 204);
}

#[test]
fn a_message_has_these_fields_and_the_dates_of_changes_only_when_they_are_set() {
    let world = World::new();
    let room = world.group();
    let sent = send(&world, "alice", &room, &json!({"content": "x"}));
    assert_eq!(sent.status, 200);
    let keys: BTreeSet<&str> = sent.body.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["message_id", "room_id", "sender_id", "seq", "content", "meta", "created_at"];
    assert_eq!(keys, BTreeSet::from(expected));
    let path = format!("{room}/messages/{}", sent.text("message_id"));
    assert_eq!(world.user("bob", "GET", &path, "").body, sent.body);
    assert_eq!(world.user("bob", "GET", &format!("{room}/messages"), "").body["messages"], json!([sent.body]));
}

#[test]
fn seq_starts_at_1_in_each_room_and_last_seq_follows() {
    let world = World::new();
    for room in [world.group(), world.dm()] {
        for seq in 1..=3 {
            assert_eq!(send(&world, "alice", &room, &json!({"content": "x"})).body["seq"], seq);
            assert_eq!(world.user("bob", "GET", &room, "").body["last_seq"], seq);
        }
    }
}

#[test]
fn seq_has_no_gap_and_no_repeat_across_a_crash_and_refusals() {
    let server = Server::start();
    let tenant = server.create_tenant(r#"{"rate_limit":1000000}"#);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    for _ in 0..3 {
        assert_eq!(server.send(&tenant, "alice", &room, "x").status, 200);
        assert_eq!(server.send(&tenant, "alice", &room, "").status, 400);
        assert_eq!(server.send(&tenant, "carol", &room, "x").status, 403);
    }
    let server = server.kill_and_restart();
    assert_eq!(server.send(&tenant, "alice", &room, "x").body["seq"], 4);
    let history = server.history(&tenant, "bob", &room);
    assert_eq!(history.iter().map(|message| message["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn the_seq_of_a_deleted_message_stays_and_is_not_given_again() {
    let world = World::new();
    let room = world.group();
    world.message("alice", &room, "x");
    let last = world.message("alice", &room, "y");
    assert_eq!(world.user("alice", "DELETE", &last, "").status, 204);
    assert_eq!(send(&world, "alice", &room, &json!({"content": "z"})).body["seq"], 3);
    assert_eq!(seqs(&world.user("bob", "GET", &format!("{room}/messages"), "")), [1, 2, 3]);
}

#[test]
fn content_is_any_unicode_of_1_byte_to_the_tenant_s_limit_in_bytes() {
    let world = World::with_config(r#"{"rate_limit":1000000,"max_message_size":8}"#);
    let room = world.group();
    for content in ["x", " ", "\n", "\u{0}", "\u{feff}", "\u{202e}", "😀😀", "e\u{301}", "\u{10ffff}", "12345678"] {
        assert_eq!(send(&world, "alice", &room, &json!({"content": content})).text("content"), content);
    }
    for content in ["123456789", "😀😀x"] {
        let refused = send(&world, "alice", &room, &json!({"content": content}));
        assert_refused(&refused, 413, "PAYLOAD_TOO_LARGE", content);
    }
    assert_blames(&send(&world, "alice", &room, &json!({"content": ""})), "content", "nothing");
}

#[test]
fn content_of_262144_bytes_passes_where_the_tenant_allows_it() {
    let world = World::with_config(r#"{"rate_limit":1000000,"max_message_size":262144}"#);
    let room = world.group();
    // Each of its bytes takes six on the wire.
    let content = "\u{1}".repeat(262_144);
    let sent = send(&world, "alice", &room, &json!({"content": content}));
    assert!(sent.status == 200 && sent.text("content") == content);
    assert_eq!(send(&world, "alice", &room, &json!({"content": "x".repeat(262_145)})).status, 413);
}

#[test]
fn meta_is_json_text_under_the_rules_of_metadata() {
    let world = World::new();
    let room = world.group();
    let meta = "{ \"a\":\n1.0 }";
    assert_eq!(send(&world, "alice", &room, &json!({"content": "x", "meta": meta})).text("meta"), meta);
    assert_eq!(send(&world, "alice", &room, &json!({"content": "x", "meta": ""})).body["meta"], Value::Null);
    assert_eq!(send(&world, "alice", &room, &json!({"content": "x", "meta": null})).body["meta"], Value::Null);
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let longest = send(&world, "alice", &room, &json!({"content": "x", "meta": text(16_384)}));
    assert_eq!(longest.text("meta"), text(16_384));
    let refused = send(&world, "alice", &room, &json!({"content": "x", "meta": text(16_385)}));
    assert_refused(&refused, 413, "PAYLOAD_TOO_LARGE", "meta");
}

#[test]
fn a_repeat_by_its_idempotency_key_returns_the_first_message_as_it_now_is() {
    let world = World::new();
    let room = world.group();
    let first = send_with_key(&world, "alice", &room, "k", r#"{"content":"x","meta":"1"}"#);
    let path = format!("{room}/messages/{}", first.text("message_id"));
    let edited = edit(&world, "alice", &path, &json!({"content": "edited", "meta": null}));
    let again = send_with_key(&world, "alice", &room, "k", r#"{"content":"x","meta":"1"}"#);
    assert_eq!((again.status, &again.body), (200, &edited.body));
    let as_edited = send_with_key(&world, "alice", &room, "k", r#"{"content":"edited"}"#);
    assert_refused(&as_edited, 422, "IDEMPOTENCY_KEY_REUSED", "compared with the request as it was first sent");
    assert_eq!(world.user("alice", "DELETE", &path, "").status, 204);
    let deleted = send_with_key(&world, "alice", &room, "k", r#"{"content":"x","meta":"1"}"#);
    assert_eq!((deleted.status, deleted.text("content").as_str()), (200, ""));
    assert_eq!(seqs(&world.user("bob", "GET", &format!("{room}/messages"), "")), [1]);
}

#[test]
fn a_key_reused_with_another_content_or_meta_is_422() {
    let world = World::new();
    let room = world.group();
    assert_eq!(send_with_key(&world, "alice", &room, "k", r#"{"content":"x","meta":"1"}"#).status, 200);
    for body in [r#"{"content":"y","meta":"1"}"#, r#"{"content":"x","meta":"2"}"#, r#"{"content":"x"}"#] {
        let refused = send_with_key(&world, "alice", &room, "k", body);
        assert_refused(&refused, 422, "IDEMPOTENCY_KEY_REUSED", body);
    }
}

#[test]
fn an_idempotency_key_is_of_one_user_in_one_room() {
    let world = World::new();
    let (room, other) = (world.group(), world.group());
    for (user, room) in [("alice", &room), ("bob", &room), ("alice", &other)] {
        let sent = send_with_key(&world, user, room, "k", &json!({"content": format!("{user} {room}")}).to_string());
        assert_eq!(sent.status, 200, "{user} {room}");
    }
}

#[test]
fn an_idempotency_key_is_1_to_128_visible_ascii_characters() {
    let world = World::new();
    let room = world.group();
    for key in ["x".to_owned(), "~!".repeat(64)] {
        assert_eq!(send_with_key(&world, "alice", &room, &key, r#"{"content":"x"}"#).status, 200);
    }
    for key in [String::new(), "x".repeat(129), "a b".to_owned(), "é".to_owned(), "a\tb".to_owned()] {
        let refused = send_with_key(&world, "alice", &room, &key, r#"{"content":"x"}"#);
        assert_refused(&refused, 400, "VALIDATION_ERROR", &key);
    }
}

#[test]
fn idempotency_keys_are_one_space_for_rest_and_sockets() {
    let world = World::new();
    let room = world.group();
    let first = send_with_key(&world, "alice", &room, "k", r#"{"content":"x"}"#);
    let mut alice = world.server.connect(&world.tenant, "alice");
    alice.next_of("sync.complete");
    let frame = |content: &str, key: &str| json!({"type": "send_message", "room_id": room_id(&room), "content": content, "idempotency_key": key});
    alice.send(&frame("x", "k"));
    let replayed = alice.next_of("message");
    assert_eq!((&replayed["message_id"], &replayed["replayed"]), (&first.body["message_id"], &true.into()));
    alice.send(&frame("y", "k"));
    assert_eq!(alice.next_of("error")["code"], "IDEMPOTENCY_KEY_REUSED");
    alice.send(&frame("z", "other"));
    let sent = alice.next_of("message");
    let again = send_with_key(&world, "alice", &room, "other", r#"{"content":"z"}"#);
    assert_eq!(again.body["message_id"], sent["message_id"]);
}

#[test]
fn a_refused_request_uses_up_no_key() {
    let world = World::new();
    let room = world.group();
    for (user, body, status) in [
        ("alice", r#"{"content":7}"#, 400),
        ("alice", &json!({"content": "x".repeat(5_000)}).to_string(), 413),
        ("carol", r#"{"content":"a"}"#, 403),
    ] {
        assert_eq!(send_with_key(&world, user, &room, "k", body).status, status);
    }
    world.user("alice", "POST", &format!("{room}/members"), r#"{"user_id":"carol"}"#);
    for user in ["alice", "carol"] {
        assert_eq!(send_with_key(&world, user, &room, "k", r#"{"content":"b"}"#).status, 200, "{user}");
    }
}

#[test]
fn an_idempotency_key_outlives_a_restart() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &[]);
    let send = |server: &Server| {
        let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice"), ("Idempotency-Key", "k")];
        server.request("POST", &format!("/rooms/{room}/messages"), &headers, r#"{"content":"x"}"#).text("message_id")
    };
    let first = send(&server);
    assert_eq!(send(&server.kill_and_restart()), first);
}

#[test]
fn history_is_ascending_50_unless_told_100_at_the_most_and_tells_whether_more_follow_in_its_direction() {
    let world = World::new();
    let room = world.group();
    for _ in 0..101 {
        world.message("alice", &room, "x");
    }
    let read = |query: &str| {
        let page = world.user("bob", "GET", &format!("{room}/messages{query}"), "");
        (seqs(&page), page.body["has_more"].as_bool().unwrap())
    };
    let range = |from: u64, to: u64| (from..=to).collect::<Vec<u64>>();
    for (query, expected, has_more) in [
        ("", range(1, 50), true),
        ("?after_seq=0&limit=3", range(1, 3), true),
        ("?after_seq=98&limit=3", range(99, 101), false),
        ("?after_seq=97&limit=3", range(98, 100), true),
        ("?after_seq=500", vec![], false),
        ("?limit=1000", range(1, 100), true),
        ("?before_seq=52", range(2, 51), true),
        ("?before_seq=51", range(1, 50), false),
        ("?before_seq=4&limit=3", range(1, 3), false),
        ("?before_seq=5&limit=3", range(2, 4), true),
        ("?before_seq=1", vec![], false),
        ("?before_seq=0", vec![], false),
        ("?before_seq=99999999999999999999&limit=2", range(100, 101), true),
    ] {
        assert_eq!(read(query), (expected, has_more), "{query}");
    }
}

#[test]
fn history_by_its_newest_end_holds_about_a_mebibyte_at_the_most() {
    let world = World::with_config(r#"{"rate_limit":1000000,"max_message_size":262144}"#);
    let room = world.group();
    let content = "x".repeat(262_144);
    for _ in 0..6 {
        world.message("alice", &room, &content);
    }
    let page = world.user("bob", "GET", &format!("{room}/messages?before_seq=7"), "");
    assert_eq!((seqs(&page), &page.body["has_more"]), (vec![3, 4, 5, 6], &true.into()));
    let page = world.user("bob", "GET", &format!("{room}/messages?before_seq=3"), "");
    assert_eq!((seqs(&page), &page.body["has_more"]), (vec![1, 2], &false.into()));
}

#[test]
fn the_sender_edits_content_and_meta_and_the_date_is_set() {
    let world = World::new();
    let room = world.group();
    let sent = send(&world, "bob", &room, &json!({"content": "x", "meta": "1"}));
    let path = format!("{room}/messages/{}", sent.text("message_id"));
    let edited = edit(&world, "bob", &path, &json!({"content": "y"}));
    assert_eq!(edited.status, 200);
    assert!(is_timestamp(&edited.body["edited_at"]));
    let mut expected = sent.body;
    expected["content"] = json!("y");
    expected["edited_at"] = edited.body["edited_at"].clone();
    assert_eq!(edited.body, expected, "an absent meta keeps, and so does all else");
    assert_eq!(world.user("alice", "GET", &path, "").body, expected);
    assert_eq!(edit(&world, "bob", &path, &json!({"content": "y", "meta": "2"})).body["meta"], "2");
    assert_eq!(edit(&world, "bob", &path, &json!({"content": "y", "meta": null})).body["meta"], Value::Null);
}

#[test]
fn an_edit_stands_under_the_limits_of_a_new_message() {
    let world = World::with_config(r#"{"rate_limit":1000000,"max_message_size":4}"#);
    let room = world.group();
    let message = world.message("alice", &room, "x");
    assert_refused(&edit(&world, "alice", &message, &json!({"content": "12345"})), 413, "PAYLOAD_TOO_LARGE", "long");
    assert_blames(&edit(&world, "alice", &message, &json!({"content": ""})), "content", "empty");
    assert_blames(&edit(&world, "alice", &message, &json!({"content": "y", "meta": "{"})), "meta", "meta");
}

#[test]
fn the_sender_alone_edits_not_even_an_admin() {
    let world = World::new();
    let room = world.group();
    let message = world.message("bob", &room, "x");
    for user in ["alice", "carol"] {
        let refused = edit(&world, user, &message, &json!({"content": "y"}));
        assert_refused(&refused, 403, "AUTHORIZATION_ERROR", user);
    }
    assert_eq!(world.user("bob", "GET", &message, "").text("content"), "x");
}

#[test]
fn a_sender_who_has_left_neither_edits_nor_deletes() {
    let world = World::new();
    let room = world.group();
    let message = world.message("bob", &room, "x");
    leave(&world, "bob", &room);
    let refused = edit(&world, "bob", &message, &json!({"content": "y"}));
    assert_refused(&refused, 403, "AUTHORIZATION_ERROR", "edit");
    assert_refused(&world.user("bob", "DELETE", &message, ""), 403, "AUTHORIZATION_ERROR", "delete");
    assert_eq!(world.user("alice", "GET", &message, "").text("content"), "x");
}

#[test]
fn to_edit_a_deleted_message_is_409() {
    let world = World::new();
    let room = world.group();
    let message = world.message("alice", &room, "x");
    assert_eq!(world.user("alice", "DELETE", &message, "").status, 204);
    assert_refused(&edit(&world, "alice", &message, &json!({"content": "y"})), 409, "CONFLICT", "deleted");
}

#[test]
fn a_deleted_message_has_no_content_and_no_meta_and_its_date() {
    let world = World::new();
    let room = world.group();
    let sent = send(&world, "bob", &room, &json!({"content": "x", "meta": "1"}));
    let path = format!("{room}/messages/{}", sent.text("message_id"));
    let removed = world.user("bob", "DELETE", &path, "");
    assert_eq!((removed.status, &removed.body), (204, &Value::Null));
    let deleted = world.user("alice", "GET", &path, "").body;
    assert!(is_timestamp(&deleted["deleted_at"]));
    let mut expected = sent.body;
    expected["content"] = json!("");
    expected["meta"] = Value::Null;
    expected["deleted_at"] = deleted["deleted_at"].clone();
    assert_eq!(deleted, expected);
    assert_eq!(world.user("bob", "DELETE", &path, "").status, 204, "again");
    assert_eq!(world.user("alice", "GET", &path, "").body, expected, "the second changed nothing");
}

#[test]
fn another_member_deletes_nothing_not_even_an_admin() {
    let world = World::new();
    let room = world.group();
    let message = world.message("bob", &room, "x");
    assert_refused(&world.user("alice", "DELETE", &message, ""), 403, "AUTHORIZATION_ERROR", "alice");
}

#[test]
fn an_unknown_message_is_404() {
    let world = World::new();
    let room = world.group();
    let path = format!("{room}/messages/msg_0000000000000000");
    for (method, body) in [("GET", ""), ("PATCH", r#"{"content":"x"}"#), ("DELETE", "")] {
        assert_refused(&world.user("alice", method, &path, body), 404, "NOT_FOUND", method);
    }
}

#[test]
fn an_ack_of_one_user_is_not_another_s() {
    let world = World::new();
    let room = world.group();
    world.message("alice", &room, "x");
    assert_eq!(world.acknowledge("bob", &room, 1).body["last_ack"], 1);
    assert_eq!(world.acknowledge("alice", &room, 0).body["last_ack"], 0);
}

#[test]
fn an_ack_past_last_seq_is_400_and_changes_nothing() {
    let world = World::new();
    let room = world.group();
    assert_blames(&world.acknowledge("bob", &room, 1), "seq", "an empty room");
    world.message("alice", &room, "x");
    assert_blames(&world.acknowledge("bob", &room, 2), "seq", "one past it");
    assert_blames(&world.acknowledge("bob", &room, 9_007_199_254_740_991), "seq", "the largest");
    let answer = world.acknowledge("bob", &room, 0);
    assert_eq!(answer.body, json!({"success": true, "room_id": room_id(&room), "last_ack": 0}));
}

#[test]
fn an_ack_outlives_a_restart() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &["bob"]);
    server.send(&tenant, "alice", &room, "x");
    let ack = |server: &Server, seq: u64| {
        let body = json!({"room_id": room, "seq": seq}).to_string();
        server.as_user(&tenant, "bob", "POST", "/acks", &body).body["last_ack"].clone()
    };
    assert_eq!(ack(&server, 1), 1);
    assert_eq!(ack(&server.kill_and_restart(), 0), 1);
}

#[test]
fn an_answer_of_history_counts_meta_and_what_json_escapes_too() {
    let world = World::with_config(r#"{"rate_limit":1000000,"max_message_size":262144}"#);
    let room = world.group();
    let meta = format!("\"{}\"", "x".repeat(16_000));
    let bodies = [json!({"content": "\u{1}".repeat(100_000)}), json!({"content": "x", "meta": meta})];
    for index in 0..100 {
        let body = &bodies[usize::from(index >= 4)];
        assert_eq!(send(&world, "alice", &room, body).status, 200);
    }
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let after = seen.last().copied().unwrap_or(0_u64);
        let page = world.user("bob", "GET", &format!("{room}/messages?limit=100&after_seq={after}"), "");
        let length: usize = page.header("Content-Length").unwrap().parse().unwrap();
        assert!(length <= (1 << 20) + (64 << 10), "{length} bytes");
        seen.extend(seqs(&page));
        pages += 1;
        if page.body["has_more"] == false {
            break;
        }
    }
    assert!(pages >= 4 && seen == (1..=100).collect::<Vec<u64>>(), "{pages} pages of {seen:?}");
}

#[test]
fn an_idempotency_key_that_stands_twice_is_400() {
    let world = World::new();
    let room = world.group();
    let headers = [
        ("X-API-Key", world.tenant.api_key.as_str()),
        ("X-User-Id", "alice"),
        ("Idempotency-Key", "a"),
        ("Idempotency-Key", "b"),
    ];
    let refused = world.server.request("POST", &format!("{room}/messages"), &headers, r#"{"content":"x"}"#);
    assert_blames(&refused, "Idempotency-Key", "which of them counts cannot be told");
}
