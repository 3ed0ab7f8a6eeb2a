//! WebSockets as clients see them (protocol, section 7).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a test that failed")]

mod support;

use async_tungstenite::tungstenite::{Bytes, Message};
use serde_json::{Value, json};
use support::{Server, Socket, Tenant};

const UNLIMITED: &str = r#"{"rate_limit":1000000}"#;

type Connect = fn(&Server, &Tenant, &str) -> Socket;

/// Both ways to authenticate.
const WAYS: [Connect; 2] = [Server::connect, Server::connect_by_token];

fn server() -> (Server, Tenant, String) {
    let server = Server::start();
    let tenant = server.create_tenant(UNLIMITED);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    (server, tenant, room)
}

#[test]
fn two_users_talk_in_both_forms_of_frames_over_both_ways_to_authenticate() {
    let (server, tenant, room) = server();
    for connect in WAYS {
        let mut alice = connect(&server, &tenant, "alice");
        let mut bob = connect(&server, &tenant, "bob");
        for socket in [&mut alice, &mut bob] {
            let connected = socket.next();
            assert_eq!(connected["type"], "connected");
            assert!(connected["connection_id"].is_string() && connected["epoch"].is_string());
            socket.next_of("sync.complete");
        }
        alice.send(&json!({"type": "send_message", "room_id": room, "content": "flat", "request_id": "1"}));
        // Bob's coming may be announced before.
        let echo = alice.next_of("message");
        assert_eq!(
            (&echo["type"], &echo["content"], &echo["request_id"]),
            (&"message".into(), &"flat".into(), &"1".into())
        );
        let heard = bob.next();
        assert_eq!(
            (&heard["content"], &heard["sender_id"], heard.get("request_id")),
            (&"flat".into(), &"alice".into(), None)
        );
        let data = json!({"room_id": room, "content": "nested", "meta": "{\"k\":1}"});
        bob.send(&json!({"type": "send_message", "data": data}));
        assert_eq!(bob.next()["content"], "nested");
        let heard = alice.next();
        assert_eq!((&heard["content"], &heard["meta"]), (&"nested".into(), &"{\"k\":1}".into()));
        let seq = heard["seq"].clone();
        alice.send(&json!({"type": "ack", "room_id": room, "seq": seq, "request_id": "2"}));
        assert_eq!(alice.next()["request_id"], "2");
        let acked = bob.next();
        assert_eq!((&acked["type"], &acked["seq"], &acked["user_id"]), (&"ack.received".into(), &seq, &"alice".into()));
        bob.send(&json!({"type": "ack", "data": {"room_id": room, "seq": seq}}));
        assert_eq!(bob.next()["user_id"], "bob");
        alice.close();
        bob.close();
    }
}

#[test]
fn a_message_sent_by_rest_reaches_sockets_and_one_sent_by_a_socket_the_history() {
    let (server, tenant, room) = server();
    let mut bob = server.connect(&tenant, "bob");
    bob.next_of("sync.complete");
    let sent = server.send(&tenant, "alice", &room, "by rest");
    let heard = bob.next();
    for field in ["message_id", "seq", "room_id", "content", "created_at"] {
        assert_eq!(heard[field], sent.body[field], "{field}");
    }
    bob.send(&json!({"type": "send_message", "room_id": room, "content": "by socket"}));
    bob.next();
    let history = server.history(&tenant, "alice", &room);
    assert_eq!(history[1]["content"], "by socket");
}

#[test]
fn missed_messages_come_by_themselves_on_connect() {
    let (server, tenant, room) = server();
    for number in 1..=250 {
        server.send(&tenant, "alice", &room, &format!("message {number}"));
    }
    let mut bob = server.connect(&tenant, "bob");
    let frames = bob.until("sync.complete");
    let seqs: Vec<u64> = frames.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=250).collect::<Vec<_>>());
    assert_eq!(frames.last().unwrap()["messages"], 250);
    bob.send(&json!({"type": "ack", "room_id": room, "seq": 240}));
    bob.next_of("ack.received");
    bob.close();
    let mut again = server.connect(&tenant, "bob");
    let frames = again.until("sync.complete");
    assert_eq!(frames.len(), 12);
    assert_eq!(frames[1]["content"], "message 241");
    let mut silent = server.handshake("/ws?sync=false&user_id=bob", &[("X-API-Key", &tenant.api_key)]).unwrap();
    assert_eq!(silent.next()["type"], "connected");
    silent.send(&json!({"type": "ping", "request_id": "p"}));
    assert_eq!(silent.next(), json!({"type": "pong", "request_id": "p"}));
}

#[test]
fn a_handshake_that_is_refused_is_an_ordinary_answer() {
    let (server, tenant, _room) = server();
    for (path, headers, refusal) in [
        ("/ws", &[][..], (401, "AUTHENTICATION_ERROR")),
        ("/ws?token=wst_nope", &[], (401, "AUTHENTICATION_ERROR")),
        ("/ws?sync=perhaps&user_id=bob", &[("X-API-Key", tenant.api_key.as_str())], (400, "VALIDATION_ERROR")),
        (
            "/ws?user_id=bob",
            &[("X-API-Key", &tenant.api_key), ("Origin", "https://evil")],
            (403, "AUTHORIZATION_ERROR"),
        ),
    ] {
        let refused = server.handshake(path, headers).map(|_| ()).unwrap_err();
        assert_eq!((refused.0, refused.1.as_str()), refusal, "{path}");
    }
    let plain = server.request("GET", "/ws", &[], "");
    assert_eq!((plain.status, plain.code(), plain.header("Upgrade")), (426, "UPGRADE_REQUIRED", Some("websocket")));
}

#[test]
fn an_allowed_origin_connects_with_a_token() {
    let server = Server::start_with(&[("WS_ALLOWED_ORIGINS", "https://app.example,https://other.example")]);
    let tenant = server.create_tenant("{}");
    let token = server.as_user(&tenant, "bob", "POST", "/ws/token", "").text("token");
    let path = format!("/ws?token={token}");
    assert_eq!(server.handshake(&path, &[("Origin", "https://evil")]).map(|_| ()).unwrap_err().0, 403);
    assert!(server.handshake(&path, &[("Origin", "https://app.example")]).is_ok());
    assert_eq!(server.handshake(&path, &[("Origin", "https://app.example")]).map(|_| ()).unwrap_err().0, 401);
}

#[test]
fn the_sixth_connection_of_a_user_is_closed_with_1008() {
    let (server, tenant, _room) = server();
    let _five: Vec<Socket> = (0..5)
        .map(|_| {
            let mut socket = server.connect(&tenant, "bob");
            socket.next_of("sync.complete");
            socket
        })
        .collect();
    let mut sixth = server.connect(&tenant, "bob");
    assert_eq!(sixth.close_code().0, 1008);
}

#[test]
fn what_breaks_the_protocol_is_closed_with_its_code() {
    let (server, tenant, _room) = server();
    let connect = || {
        let mut socket = server.connect(&tenant, "bob");
        socket.next_of("sync.complete");
        socket
    };
    let mut binary = connect();
    binary.send_message(Message::Binary(Bytes::from_static(b"x")));
    assert_eq!(binary.close_code().0, 1003);
    let mut nonsense = connect();
    for _ in 0..20 {
        nonsense.send_text("nonsense");
    }
    assert_eq!(nonsense.close_code().0, 1008);
}

#[test]
fn frames_that_cannot_be_served_are_answered_and_the_connection_stays() {
    let (server, tenant, _room) = server();
    let foreign_tenant = server.create_tenant(UNLIMITED);
    let foreign = server.create_room(&foreign_tenant, "zoe", &["bob"]);
    let mut bob = server.connect(&tenant, "bob");
    bob.next_of("sync.complete");
    for (frame, code) in [
        (json!({"type": "fly", "request_id": "r"}), "VALIDATION_ERROR"),
        (json!({"type": "send_message", "room_id": "room_x", "request_id": "r"}), "VALIDATION_ERROR"),
        (json!({"type": "send_message", "room_id": "room_x", "content": "x", "request_id": "r"}), "NOT_FOUND"),
        (json!({"type": "send_message", "room_id": foreign, "content": "x", "request_id": "r"}), "NOT_FOUND"),
        (json!({"type": "ack", "room_id": foreign, "seq": 1, "request_id": "r"}), "NOT_FOUND"),
    ] {
        bob.send(&frame);
        let answer = bob.next();
        assert_eq!(
            (&answer["type"], &answer["code"], &answer["request_id"]),
            (&"error".into(), &code.into(), &"r".into())
        );
    }
    bob.send(&json!({"type": "ping"}));
    assert_eq!(bob.next(), json!({"type": "pong"}));
}

#[test]
fn a_client_that_stops_reading_costs_bounded_memory_and_gets_everything_later() {
    let server = Server::start();
    let tenant = server.create_tenant(r#"{"rate_limit":1000000,"max_message_size":262144}"#);
    let room = server.create_room(&tenant, "alice", &["bob", "carol"]);
    let mut slow = server.connect(&tenant, "bob");
    slow.next_of("sync.complete");
    let mut quick = server.connect(&tenant, "carol");
    quick.next_of("sync.complete");
    let before = server.resident_bytes();
    let content = "x".repeat(100_000);
    for number in 1..=600_u64 {
        assert_eq!(server.send(&tenant, "alice", &room, &content).status, 200);
        assert_eq!(quick.next()["seq"], number, "nobody else notices");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 30 << 20, "60 MB were sent, and the server grew by {grown} bytes");
    let seqs: Vec<Value> = (0..600).map(|_| slow.next_of("message")["seq"].clone()).collect();
    assert_eq!(seqs, (1..=600).map(Value::from).collect::<Vec<_>>());
}

#[test]
fn a_client_that_pings_without_reading_costs_no_memory_and_its_newest_ping_is_answered() {
    use std::io::{Read as _, Write as _};
    let (server, tenant, _room) = server();
    let mut bob = server.connect(&tenant, "bob");
    bob.next_of("sync.complete");
    let mut stream = bob.abandon();
    let before = server.resident_bytes();
    let mut pings = Vec::new();
    for number in 0..500_u32 {
        pings.extend([0x89, 0x80 | 124, 0, 0, 0, 0]);
        pings.extend(format!("{number:0124}").into_bytes());
    }
    // 39 MB, and far more than sockets hold on their own.
    for _ in 0..600 {
        stream.write_all(&pings).unwrap();
    }
    stream.write_all(&[0x89, 0x84, 0, 0, 0, 0, b'l', b'a', b's', b't']).unwrap();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "the server grew by {grown} bytes");
    let newest = [0x8a, 4, b'l', b'a', b's', b't'];
    let mut seen = Vec::new();
    while !seen.ends_with(&newest) {
        let mut buffer = [0; 65_536];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0);
        seen.extend(&buffer[..count]);
    }
}

#[test]
fn connections_that_sent_a_large_frame_once_do_not_keep_its_memory() {
    let (server, tenant, _room) = server();
    let mut sockets: Vec<Socket> = (0..40).map(|number| server.connect(&tenant, &format!("user{number}"))).collect();
    for socket in &mut sockets {
        socket.next_of("sync.complete");
    }
    let before = server.resident_bytes();
    let padding = "x".repeat(1_500_000);
    for socket in &mut sockets {
        socket.send(&json!({"type": "ping", "padding": padding}));
        socket.next_of("pong");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 20 << 20, "60 MB were sent, and the server grew by {grown} bytes");
}

#[test]
fn a_client_that_dies_in_the_middle_of_a_frame_is_forgotten() {
    use std::io::Write as _;
    let (server, tenant, room) = server();
    let mut bob = server.connect(&tenant, "bob");
    bob.next_of("sync.complete");
    let mut stream = bob.abandon();
    stream.write_all(&[0x81, 0xfe, 0x10]).unwrap();
    drop(stream);
    support::eventually("the connection is forgotten", || {
        server.request("GET", "/metrics", &[], "").body["active_connections"] == 0
    });
    assert_eq!(server.send(&tenant, "alice", &room, "x").status, 200);
}
