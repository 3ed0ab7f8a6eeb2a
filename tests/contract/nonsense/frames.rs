//! Nonsense over WebSocket.

use async_tungstenite::tungstenite::Message;
use serde_json::{Value, json};

use super::random::Random;
use super::{REQUESTS, Site};
use crate::support::Socket;

/// Frames in a row that may be invalid before the connection is closed, with a margin.
const INVALID_IN_A_ROW: usize = 10;

fn connect(site: &Site) -> Socket {
    let mut socket = site.server.connect(&site.tenant, "alice");
    socket.next_of("sync.complete");
    socket
}

/// A frame that can neither be served nor change anything.
fn frame(site: &Site, random: &mut Random) -> String {
    let kind = random.pick(&["send_message", "ack", "typing.start", "typing.stop", "subscribe", "resume"]);
    let length = random.below(30);
    let room = match random.below(3) {
        0 => Value::from(site.foreign_room.clone()),
        1 => Value::from(format!("room_{}", random.id(16))),
        _ => serde_json::from_str(&random.json(1)).unwrap(),
    };
    // A string of `json` may be any but a room that is there.
    let fields =
        json!({"room_id": room, "content": "x", "seq": 1, "after_seq": 0, "rooms": {site.foreign_room.as_str(): 0}});
    let mine = json!({"room_id": site.room, "content": "x", "seq": 1, "rooms": {}});
    match random.below(9) {
        0 => random.text("{}[]\",:\\ab01 ", length),
        1 => random.json(3),
        2 => json!({"type": kind, "data": fields}).to_string(),
        3 => {
            let mut beside = fields;
            beside["type"] = json!(kind);
            beside.to_string()
        }
        4 => format!("{{\"type\":{},\"data\":{mine}}}", random.json(1)),
        5 => format!("{{\"type\":\"{kind}\",\"type\":\"ping\",\"data\":{mine}}}"),
        6 => format!("{{\"type\":\"{kind}\",\"x\":\"{}\",\"data\":{mine}}}", random.lone_surrogate()),
        7 => {
            let depth = random.between(65, 5_000);
            format!("{{\"type\":\"{kind}\",\"data\":{mine},\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth))
        }
        _ => {
            let request_id = if random.chance(50) { format!("\"{}\"", "x".repeat(129)) } else { "7".to_owned() };
            format!("{{\"type\":\"{kind}\",\"request_id\":{request_id},\"data\":{mine}}}")
        }
    }
}

#[test]
fn nonsense_frames_change_nothing() {
    let site = Site::new();
    let before = site.dump();
    let mut random = Random::of("frames");
    let mut socket = connect(&site);
    for number in 0..REQUESTS {
        if number % INVALID_IN_A_ROW == INVALID_IN_A_ROW - 1 {
            socket.close();
            socket = connect(&site);
        }
        let text = frame(&site, &mut random);
        socket.send_text(&text);
        let answer = socket.next_of_either(&["error", "pong", "message", "ack.received", "sync.complete", "typing"]);
        assert_eq!(answer["type"], "error", "{number}: {answer} to {text:.500}");
        assert!(answer["code"].is_string() && answer["message"].is_string(), "{number}: {answer} to {text:.500}");
    }
    socket.close();
    site.end_as_before(&before);
}

#[test]
fn frames_that_break_the_protocol_change_nothing() {
    let site = Site::new();
    let before = site.dump();
    let mut random = Random::of("broken frames");
    for _ in 0..100 {
        let mut socket = connect(&site);
        let length = random.between(0, 300);
        let bytes: Vec<u8> = (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        if random.chance(30) {
            socket.send_message(Message::binary(bytes));
            assert_eq!(socket.close_code().0, 1003);
        } else {
            let mut stream = socket.abandon();
            // The end of what was sent is the end of the connection, whatever the bytes meant.
            drop(std::io::Write::write_all(&mut stream, &bytes));
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            crate::support::read_to_end(&mut stream);
        }
    }
    site.end_as_before(&before);
}
