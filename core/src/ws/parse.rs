//! From the text of a client frame to a typed command.

use std::collections::BTreeMap;

use super::client::{ClientFrame, Command, FrameBucket, TypingAction};
use crate::api::{ApiError, fields};
use crate::id::{RoomId, Seq};
use crate::json::{self, Object};

/// Parses the payload of a text frame: one JSON object whose fields stand beside `type` or inside `data`.
#[must_use]
pub fn parse_client_frame(text: &str) -> ClientFrame {
    match json::parse_object(text.as_bytes()) {
        Ok(frame) => read(frame),
        Err(error) => ClientFrame { request_id: None, paid_by: FrameBucket::Tenant, command: Err(error) },
    }
}

fn read(mut frame: Object<'_>) -> ClientFrame {
    // `type` is taken before the fields inside `data` come beside it: one of that name there is unknown, and ignored.
    let kind = frame.required("type", Object::string);
    let data = frame.object("data", "").map(|data| frame.absorb(data.unwrap_or_default()));
    let paid_by = match kind.as_deref() {
        Ok("ack" | "ping" | TYPING_START | TYPING_STOP) => FrameBucket::Connection,
        Ok(_) | Err(_) => FrameBucket::Tenant,
    };
    match request_id(&mut frame) {
        Ok(request_id) => {
            let command = kind.and_then(|kind| data.and_then(|()| command(&kind, frame)));
            ClientFrame { request_id, paid_by, command }
        }
        Err(error) => ClientFrame { request_id: None, paid_by, command: Err(error) },
    }
}

fn command(kind: &str, mut frame: Object<'_>) -> Result<Command, ApiError> {
    match kind {
        "send_message" => {
            let room_id = fields::room_id(&mut frame)?;
            let key = idempotency_key(&mut frame)?;
            let message = fields::message(&mut frame, room_id, key)?;
            Ok(Command::SendMessage(Box::new(message)))
        }
        "ack" => {
            let room_id = fields::room_id(&mut frame)?;
            Ok(Command::Acknowledge { room_id, seq: frame.required("seq", fields::seq)? })
        }
        TYPING_START => Ok(Command::Typing { room_id: fields::room_id(&mut frame)?, action: TypingAction::Start }),
        TYPING_STOP => Ok(Command::Typing { room_id: fields::room_id(&mut frame)?, action: TypingAction::Stop }),
        "subscribe" => {
            let room_id = fields::room_id(&mut frame)?;
            Ok(Command::Subscribe { room_id, after: fields::seq(&mut frame, "after_seq")? })
        }
        "resume" => Ok(Command::Resume { rooms: positions(&mut frame, "rooms")? }),
        "ping" => Ok(Command::Ping),
        _ => {
            let kinds = "must be one of send_message, ack, typing.start, typing.stop, subscribe, resume, ping";
            Err(frame.invalid("type", kinds))
        }
    }
}

const TYPING_START: &str = "typing.start";
const TYPING_STOP: &str = "typing.stop";

/// Most rooms of a `resume`.
const RESUME_ROOMS_MAX: usize = 1_000;

/// Where a client stands in each of several rooms.
fn positions(frame: &mut Object<'_>, key: &'static str) -> Result<BTreeMap<RoomId, Seq>, ApiError> {
    let rooms = frame.required(key, Object::integers)?;
    if rooms.len() > RESUME_ROOMS_MAX {
        return Err(frame.invalid(key, &format!("may name {RESUME_ROOMS_MAX} rooms at most")));
    }
    let mut positions = BTreeMap::new();
    for (room_id, number) in rooms {
        let seq = u64::try_from(number).map_err(|_| frame.invalid(key, "must hold no negative position"))?;
        positions.insert(fields::room_id_of(&room_id)?, Seq(seq));
    }
    Ok(positions)
}

fn request_id(frame: &mut Object<'_>) -> Result<Option<String>, ApiError> {
    match frame.string("request_id")? {
        Some(id) if !(1..=fields::KEY_MAX_BYTES).contains(&id.len()) => {
            Err(frame.invalid("request_id", "must be a string of 1 to 128 bytes"))
        }
        id => Ok(id.map(String::from)),
    }
}

fn idempotency_key(frame: &mut Object<'_>) -> Result<Option<String>, ApiError> {
    const NAME: &str = "idempotency_key";
    frame.string(NAME)?.map(|key| fields::idempotency_key(key.as_bytes(), NAME)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ErrorCode, SendMessage};

    #[test]
    fn the_fields_of_every_type_stand_beside_it_or_inside_data() {
        let send = |meta: Option<&str>, key: Option<&str>| {
            Command::SendMessage(Box::new(SendMessage {
                room_id: RoomId::new("room_1"),
                content: "Hi\0".to_owned(),
                meta: meta.map(str::to_owned),
                idempotency_key: key.map(str::to_owned),
            }))
        };
        let ack = |seq| Command::Acknowledge { room_id: RoomId::new("room_1"), seq: Seq(seq) };
        let typing = |action| Command::Typing { room_id: RoomId::new("room_1"), action };
        let subscribe = |after| Command::Subscribe { room_id: RoomId::new("room_1"), after };
        let resume = |rooms: &[(&str, u64)]| Command::Resume {
            rooms: rooms.iter().map(|(room_id, seq)| (RoomId::new(room_id), Seq(*seq))).collect(),
        };
        for (fields, kind, command) in [
            (r#""room_id":"room_1","content":"Hi\u0000""#, "send_message", send(None, None)),
            (
                r#""room_id":"room_1","content":"Hi\u0000","meta":"[ 1 ]","idempotency_key":"k!","x":{}"#,
                "send_message",
                send(Some("[ 1 ]"), Some("k!")),
            ),
            (
                r#""room_id":"room_1","content":"Hi\u0000","meta":"","idempotency_key":null"#,
                "send_message",
                send(None, None),
            ),
            (r#""room_id":"room_1","seq":0"#, "ack", ack(0)),
            (r#""room_id":"room_1","seq":9007199254740991"#, "ack", ack(9_007_199_254_740_991)),
            (r#""room_id":"room_1""#, "typing.start", typing(TypingAction::Start)),
            (r#""room_id":"room_1","seq":-1"#, "typing.stop", typing(TypingAction::Stop)),
            (r#""room_id":"room_1""#, "subscribe", subscribe(None)),
            (r#""room_id":"room_1","after_seq":null"#, "subscribe", subscribe(None)),
            (r#""room_id":"room_1","after_seq":0"#, "subscribe", subscribe(Some(Seq(0)))),
            (r#""rooms":{}"#, "resume", resume(&[])),
            (
                r#""rooms":{"b":9007199254740991,"\u0061":0}"#,
                "resume",
                resume(&[("a", 0), ("b", 9_007_199_254_740_991)]),
            ),
            (r#""x":1"#, "ping", Command::Ping),
        ] {
            for text in [
                format!(r#"{{"type":"{kind}","request_id":"r","data":null,{fields}}}"#),
                format!(r#"{{{fields},"request_id":"r","type":"{kind}"}}"#),
                format!(r#"{{"type":"{kind}","request_id":"r","data":{{{fields}}}}}"#),
                format!(r#"{{"data":{{"type":"other","request_id":"r",{fields}}},"type":"{kind}","x":7}}"#),
            ] {
                let frame = parse_client_frame(&text);
                assert_eq!(frame.command.as_ref(), Ok(&command), "{text}");
                assert_eq!(frame.request_id.as_deref(), Some("r"), "{text}");
            }
        }
        assert_eq!(parse_client_frame(r#"{"type":"ping"}"#).request_id, None);
    }

    #[test]
    fn a_frame_that_is_no_json_object_is_refused() {
        for text in ["", "ping", "[]", "null", r#""ping""#, r#"{"type":"ping"} {}"#, r#"{"type":"\ud800"}"#] {
            let frame = parse_client_frame(text);
            assert_eq!(frame.command.unwrap_err().code, ErrorCode::Validation, "{text}");
        }
    }

    #[test]
    fn an_error_blames_the_field_and_echoes_the_request_id() {
        let big = format!(r#""type":"send_message","room_id":"r","content":"c","meta":"{}""#, "1".repeat(16_385));
        let rooms = |count: usize| {
            let rooms: Vec<_> = (0..count).map(|n| format!(r#""room_{n}":{n}"#)).collect();
            format!(r#""type":"resume","rooms":{{{}}}"#, rooms.join(","))
        };
        assert!(parse_client_frame(&format!("{{{}}}", rooms(1_000))).command.is_ok());
        let key =
            format!(r#""type":"send_message","room_id":"r","content":"c","idempotency_key":"{}""#, "k".repeat(129));
        for (fields, field) in [
            (r#""x":1"#, "type"),
            (r#""type":null"#, "type"),
            (r#""type":7"#, "type"),
            (r#""type":"nonsense""#, "type"),
            (r#""type":"Ping""#, "type"),
            (r#""data":{"type":"ping"}"#, "type"),
            (r#""type":"ping","data":[]"#, "data"),
            (r#""type":"ping","data":"x""#, "data"),
            (r#""type":"send_message","content":"c""#, "room_id"),
            (r#""type":"send_message","room_id":7,"content":"c""#, "room_id"),
            (r#""type":"send_message","room_id":"a","data":{"room_id":"b","content":"c"}"#, "room_id"),
            (r#""type":"send_message","room_id":"r""#, "content"),
            (r#""type":"send_message","room_id":"r","content":"""#, "content"),
            (r#""type":"send_message","room_id":"r","content":7"#, "content"),
            (r#""type":"send_message","room_id":"r","content":"c","meta":{}"#, "meta"),
            (r#""type":"send_message","room_id":"r","content":"c","meta":"{""#, "meta"),
            (&big, "meta"),
            (r#""type":"send_message","room_id":"r","content":"c","idempotency_key":"""#, "idempotency_key"),
            (r#""type":"send_message","room_id":"r","content":"c","idempotency_key":"a b""#, "idempotency_key"),
            (r#""type":"send_message","room_id":"r","content":"c","idempotency_key":5"#, "idempotency_key"),
            (&key, "idempotency_key"),
            (r#""type":"typing.start""#, "room_id"),
            (r#""type":"typing.stop","room_id":[]"#, "room_id"),
            (r#""type":"typing","room_id":"r""#, "type"),
            (r#""type":"subscribe","after_seq":1"#, "room_id"),
            (r#""type":"subscribe","room_id":"r","after_seq":-1"#, "after_seq"),
            (r#""type":"subscribe","room_id":"r","after_seq":"1""#, "after_seq"),
            (r#""type":"subscribe","room_id":"r","after_seq":1.5"#, "after_seq"),
            (r#""type":"resume""#, "rooms"),
            (r#""type":"resume","rooms":null"#, "rooms"),
            (r#""type":"resume","rooms":["r"]"#, "rooms"),
            (r#""type":"resume","rooms":{"r":-1}"#, "rooms"),
            (r#""type":"resume","rooms":{"r":null}"#, "rooms"),
            (r#""type":"resume","rooms":{"r":1,"s":"2"}"#, "rooms"),
            (r#""type":"resume","rooms":{"r":1},"data":{"rooms":{"s":1}}"#, "rooms"),
            (&rooms(1_001), "rooms"),
            (r#""type":"ack","seq":1"#, "room_id"),
            (r#""type":"ack","room_id":"r""#, "seq"),
            (r#""type":"ack","room_id":"r","seq":-1"#, "seq"),
            (r#""type":"ack","room_id":"r","seq":"1""#, "seq"),
            (r#""type":"ack","room_id":"r","seq":1.0"#, "seq"),
            (r#""type":"ack","room_id":"r","seq":9007199254740992"#, "seq"),
        ] {
            let frame = parse_client_frame(&format!(r#"{{"request_id":"r1",{fields}}}"#));
            let error = frame.command.unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{fields:.80}");
            assert_eq!(frame.request_id.as_deref(), Some("r1"), "{fields:.80}");
            let large = fields == big;
            assert_eq!(error.code == ErrorCode::PayloadTooLarge, large, "{fields:.80}");
        }
    }

    #[test]
    fn what_is_cheap_for_everyone_is_paid_from_the_connection_s_own_bucket() {
        for (kind, bucket) in [
            ("send_message", FrameBucket::Tenant),
            ("subscribe", FrameBucket::Tenant),
            ("resume", FrameBucket::Tenant),
            ("nonsense", FrameBucket::Tenant),
            ("ack", FrameBucket::Connection),
            ("typing.start", FrameBucket::Connection),
            ("typing.stop", FrameBucket::Connection),
            ("ping", FrameBucket::Connection),
        ] {
            assert_eq!(parse_client_frame(&format!(r#"{{"type":"{kind}","seq":"x"}}"#)).paid_by, bucket, "{kind}");
        }
        let unknown = parse_client_frame(r#"{"type":"nonsense"}"#).command.unwrap_err();
        for kind in ["send_message", "ack", "typing.start", "typing.stop", "subscribe", "resume", "ping"] {
            assert!(unknown.message.contains(kind), "{kind}");
        }
    }

    #[test]
    fn a_request_id_is_a_string_of_1_to_128_bytes_and_a_bad_one_is_not_echoed() {
        let longest = "é".repeat(64);
        let good = parse_client_frame(&format!(r#"{{"type":"ping","request_id":"{longest}"}}"#));
        assert_eq!((good.request_id, good.command), (Some(longest.clone()), Ok(Command::Ping)));
        for bad in ["7", r#""""#, "{}", "[]", &format!(r#""{longest}x""#)] {
            for text in [
                format!(r#"{{"type":"ping","request_id":{bad}}}"#),
                format!(r#"{{"type":"ping","data":{{"request_id":{bad}}}}}"#),
            ] {
                let frame = parse_client_frame(&text);
                assert_eq!(frame.command.unwrap_err().field.as_deref(), Some("request_id"), "{text}");
                assert_eq!(frame.request_id, None, "{text}");
            }
        }
    }
}
