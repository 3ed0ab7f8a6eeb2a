//! What is a frame, what is answered to one that is none, and what ends a connection (protocol, section 7).

use std::io::Write as _;

use async_tungstenite::tungstenite::{Bytes, Message};
use serde_json::{Value, json};

use crate::client::{Client, UNLIMITED, World};

/// The largest message of a client.
const MESSAGE_MAX_BYTES: usize = 2 << 20;

#[track_caller]
fn refuses(client: &mut Client, text: &str, field: &Value) {
    client.send_text(text);
    let answer = client.next();
    assert_eq!(
        (&answer["type"], &answer["code"], &answer["field"]),
        (&json!("error"), &json!("VALIDATION_ERROR"), field),
        "{text:.100}: {answer}"
    );
}

/// Twenty of a kind end a connection: a valid frame between them starts the count anew.
fn pacify(client: &mut Client) {
    assert_eq!(client.ask("ping", json!({})), json!({"type": "pong"}));
}

#[test]
fn what_is_no_json_object_is_answered_with_an_error_and_the_connection_stays_open() {
    let world = World::new();
    let mut bob = world.client("bob");
    let nested = format!(r#"{{"type":"ping","x":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    for text in ["", "ping", "[]", "null", "7", r#"{"type":"ping""#, r#"{"type":"ping"}{}"#, &nested] {
        refuses(&mut bob, text, &Value::Null);
    }
    pacify(&mut bob);
}

#[test]
fn a_lone_surrogate_is_an_error() {
    let world = World::new();
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    bob.send_text(&format!(r#"{{"type":"send_message","room_id":"{room}","content":"\ud800"}}"#));
    assert_eq!(bob.next()["code"], "VALIDATION_ERROR");
    assert!(world.server.history(&world.tenant, "bob", &room).is_empty());
}

#[test]
fn a_key_that_stands_twice_is_an_error() {
    let world = World::new();
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    bob.send_text(&format!(r#"{{"type":"send_message","room_id":"{room}","content":"a","content":"b"}}"#));
    assert_eq!(bob.next()["code"], "VALIDATION_ERROR");
    assert!(world.server.history(&world.tenant, "bob", &room).is_empty());
}

#[test]
fn unknown_fields_are_ignored() {
    let world = World::new();
    let mut bob = world.client("bob");
    assert_eq!(
        bob.ask("ping", json!({"x": {"y": [1]}, "request_id": "r1"})),
        json!({"type": "pong", "request_id": "r1"})
    );
}

#[test]
fn an_unknown_or_missing_type_is_an_error_that_blames_it() {
    let world = World::new();
    let mut bob = world.client("bob");
    for text in [
        r#"{"type":"fly"}"#,
        r#"{"type":"Ping"}"#,
        r#"{"type":7}"#,
        r#"{"type":null}"#,
        "{}",
        r#"{"data":{"type":"ping"}}"#,
    ] {
        refuses(&mut bob, text, &json!("type"));
    }
    pacify(&mut bob);
}

#[test]
fn a_field_of_the_wrong_type_is_an_error_that_blames_it() {
    let world = World::new();
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    for (frame, field) in [
        (json!({"type": "send_message", "room_id": 7, "content": "x"}), "room_id"),
        (json!({"type": "send_message", "room_id": room, "content": "x", "meta": {}}), "meta"),
        (json!({"type": "send_message", "room_id": room, "content": "x", "meta": "{"}), "meta"),
        (json!({"type": "send_message", "room_id": room, "content": ""}), "content"),
        (json!({"type": "send_message", "room_id": room, "content": "x", "idempotency_key": "a b"}), "idempotency_key"),
        (json!({"type": "ack", "room_id": room, "seq": "1"}), "seq"),
        (json!({"type": "ack", "room_id": room, "seq": 1.5}), "seq"),
        (json!({"type": "ack", "room_id": room, "seq": 9_007_199_254_740_992_u64}), "seq"),
        (json!({"type": "subscribe", "room_id": room, "after_seq": -1}), "after_seq"),
        (json!({"type": "resume", "rooms": [room]}), "rooms"),
        (json!({"type": "resume", "rooms": {&room: "1"}}), "rooms"),
        (json!({"type": "ping", "data": []}), "data"),
    ] {
        refuses(&mut bob, &frame.to_string(), &json!(field));
    }
    pacify(&mut bob);
    assert!(world.server.history(&world.tenant, "bob", &room).is_empty());
}

#[test]
fn a_request_id_of_128_bytes_is_echoed() {
    let world = World::new();
    let mut bob = world.client("bob");
    let longest = "é".repeat(64);
    assert_eq!(bob.ask("ping", json!({ "request_id": longest })), json!({"type": "pong", "request_id": longest}));
}

#[test]
fn a_request_id_that_is_no_string_of_1_to_128_bytes_is_an_error() {
    let world = World::new();
    let mut bob = world.client("bob");
    for id in [json!(""), json!(format!("{}x", "é".repeat(64))), json!(7), json!({}), json!([])] {
        let answer = bob.ask("ping", json!({ "request_id": id }));
        assert_eq!((&answer["type"], &answer["field"]), (&json!("error"), &json!("request_id")), "{id}");
        assert_eq!(answer.get("request_id"), None, "{id}");
    }
    pacify(&mut bob);
}

#[test]
fn twenty_invalid_frames_in_a_row_of_any_kind_are_answered_then_closed_with_1008() {
    let world = World::new();
    let mut bob = world.client("bob");
    let kinds = ["{", r#"{"type":"fly"}"#, r#"{"type":"ack"}"#, r#"{"type":"ack","room_id":"r","seq":-1}"#];
    for text in kinds.into_iter().cycle().take(20) {
        bob.send_text(text);
    }
    let answered: Vec<Value> = (0..20).map(|_| bob.next()).collect();
    assert!(answered.iter().all(|answer| answer["type"] == "error"), "{answered:?}");
    assert_eq!(bob.close_code().0, 1008);
}

#[test]
fn a_valid_frame_between_invalid_ones_starts_their_count_anew() {
    let world = World::new();
    let mut bob = world.client("bob");
    for _ in 0..3 {
        for _ in 0..19 {
            refuses(&mut bob, r#"{"type":"fly"}"#, &json!("type"));
        }
        pacify(&mut bob);
    }
}

#[test]
fn valid_frames_that_cannot_be_served_never_end_a_connection() {
    let world = World::new();
    let others = world.group(&["alice"]);
    let mut bob = world.client("bob");
    for _ in 0..30 {
        let answer = bob.ask("send_message", json!({"room_id": others, "content": "x"}));
        assert_eq!(answer["code"], "AUTHORIZATION_ERROR");
    }
    pacify(&mut bob);
}

#[test]
fn a_content_of_max_message_size_bytes_is_sent_and_one_more_is_an_error() {
    let world = World::with(&[], r#"{"rate_limit":1000000,"max_message_size":10}"#);
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    let answer = bob.ask("send_message", json!({"room_id": room, "content": "ééééé"}));
    assert_eq!(answer["content"], "ééééé");
    let answer = bob.ask("send_message", json!({"room_id": room, "content": "éééééx"}));
    assert_eq!((&answer["code"], &answer["field"]), (&json!("PAYLOAD_TOO_LARGE"), &json!("content")));
    pacify(&mut bob);
}

#[test]
fn content_is_any_unicode() {
    let world = World::new();
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    let content = "\0\u{1}\"\\\u{feff}\u{2028}𝄞🏳️‍🌈";
    assert_eq!(bob.ask("send_message", json!({"room_id": room, "content": content}))["content"], content);
    assert_eq!(world.server.history(&world.tenant, "bob", &room)[0]["content"], content);
}

#[test]
fn a_meta_of_more_than_16_kib_is_an_error_that_says_so() {
    let world = World::new();
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    let largest = format!("\"{}\"", "x".repeat(16_382));
    let answer = bob.ask("send_message", json!({"room_id": room, "content": "x", "meta": largest}));
    assert_eq!(answer["meta"], largest);
    let answer = bob.ask("send_message", json!({"room_id": room, "content": "x", "meta": format!("{largest} ")}));
    assert_eq!((&answer["code"], &answer["field"]), (&json!("PAYLOAD_TOO_LARGE"), &json!("meta")));
}

#[test]
fn an_empty_meta_is_none() {
    let world = World::new();
    let room = world.group(&["bob"]);
    let mut bob = world.client("bob");
    let answer = bob.ask("send_message", json!({"room_id": room, "content": "x", "meta": ""}));
    assert_eq!((&answer["type"], answer.get("meta")), (&json!("message"), None));
}

#[test]
fn a_message_in_fragments_is_one_frame() {
    let world = World::new();
    let mut stream = world.client("bob").abandon();
    stream.write_all(&masked(0x01, br#"{"type":"pi"#)).unwrap();
    stream.write_all(&masked(0x89, b"between")).unwrap();
    stream.write_all(&masked(0x80, br#"ng"}"#)).unwrap();
    let mut seen = Vec::new();
    let pong = br#"{"type":"pong"}"#;
    while !seen.windows(pong.len()).any(|window| window == pong) {
        let mut buffer = [0; 1_024];
        let count = std::io::Read::read(&mut stream, &mut buffer).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&buffer[..count]);
    }
}

#[test]
fn a_frame_of_2_mib_is_served() {
    let world = World::new();
    let mut bob = world.client("bob");
    let rest = r#"{"type":"ping","x":""}"#.len();
    bob.send_text(&format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(MESSAGE_MAX_BYTES - rest)));
    assert_eq!(bob.next(), json!({"type": "pong"}));
}

#[test]
fn a_frame_over_2_mib_is_closed_with_1009() {
    let world = World::new();
    let mut stream = world.client("bob").abandon();
    let mut head = vec![0x81, 0x80 | 127];
    head.extend((MESSAGE_MAX_BYTES as u64 + 1).to_be_bytes());
    head.extend([0; 4]);
    stream.write_all(&head).unwrap();
    assert_eq!(close_code(&mut stream), 1009);
}

#[test]
fn a_message_in_fragments_over_2_mib_is_closed_with_1009() {
    let world = World::new();
    let mut stream = world.client("bob").abandon();
    let part = vec![b'x'; 1 << 20];
    for first in [0x01, 0x00, 0x00] {
        // A server that closes early may not read everything.
        drop(stream.write_all(&masked(first, &part)));
    }
    assert_eq!(close_code(&mut stream), 1009);
}

#[test]
fn a_binary_frame_is_closed_with_1003() {
    let world = World::new();
    let mut bob = world.client("bob");
    bob.send_message(Message::Binary(Bytes::from_static(br#"{"type":"ping"}"#)));
    assert_eq!(bob.close_code().0, 1003);
}

#[test]
fn bad_utf_8_is_closed_with_1007() {
    let world = World::new();
    let mut stream = world.client("bob").abandon();
    stream.write_all(&masked(0x81, b"{\"type\":\"ping\xff\"}")).unwrap();
    assert_eq!(close_code(&mut stream), 1007);
}

#[test]
fn a_frame_without_a_mask_is_closed_with_1002() {
    let world = World::new();
    let mut stream = world.client("bob").abandon();
    stream.write_all(&[0x81, 2, b'{', b'}']).unwrap();
    assert_eq!(close_code(&mut stream), 1002);
}

#[test]
fn a_reserved_opcode_is_closed_with_1002() {
    let world = World::new();
    let mut stream = world.client("bob").abandon();
    stream.write_all(&masked(0x83, b"x")).unwrap();
    assert_eq!(close_code(&mut stream), 1002);
}

#[test]
fn a_protocol_ping_is_answered_with_its_payload() {
    let world = World::new();
    let mut stream = world.client("bob").abandon();
    stream.write_all(&masked(0x89, b"are you there?")).unwrap();
    let expected = [&[0x8a, 14][..], b"are you there?"].concat();
    let mut answer = vec![0; expected.len()];
    std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
    assert_eq!(answer, expected);
}

#[test]
fn a_client_that_breaks_the_protocol_ends_its_own_connection_alone() {
    let world = World::with(&[], UNLIMITED);
    let [mut bob, mut other] = world.clients(["bob", "bob"]);
    bob.send_message(Message::Binary(Bytes::from_static(b"x")));
    assert_eq!(bob.close_code().0, 1003);
    pacify(&mut other);
}

/// A frame as clients send it.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | 127];
    if payload.len() < 126 {
        frame[1] = 0x80 | u8::try_from(payload.len()).unwrap();
    } else {
        frame.extend((payload.len() as u64).to_be_bytes());
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The code of the close frame, which is all that the server still sends.
fn close_code(stream: &mut std::net::TcpStream) -> u16 {
    let mut head = [0; 4];
    std::io::Read::read_exact(stream, &mut head).unwrap();
    assert_eq!(head[0], 0x88, "{head:?}");
    u16::from_be_bytes([head[2], head[3]])
}
