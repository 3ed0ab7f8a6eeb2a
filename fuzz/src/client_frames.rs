//! Client frames: [`parse_client_frame`].
//!
//! An input is the text of a frame. It is read a second time with serde_json and the rules of the protocol told once
//! more, and every good object is written anew in the other forms that must come to the same.

use std::collections::BTreeMap;

use chatapi_core::api::{ApiError, ErrorCode};
use chatapi_core::ws::{ClientFrame, Command, FrameBucket, TypingAction, parse_client_frame};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::json::{MAX_LEVELS, Tree};

/// Longest `request_id` and idempotency key, in bytes.
const KEY_MAX_BYTES: usize = 128;
/// Longest `meta`, in bytes.
const META_MAX_BYTES: usize = 16 * 1024;

/// Most rooms of a `resume`.
const RESUME_ROOMS_MAX: usize = 1_000;

/// Reads one frame.
pub fn run(input: &[u8]) {
    // tungstenite refuses other frames, with 1007.
    let Ok(text) = std::str::from_utf8(input) else { return };
    let frame = parse_client_frame(text);
    check_error(&frame);
    let tree = Tree::strict(input);
    let Some(entries) = tree.as_ref().and_then(Tree::entries) else {
        let error = frame.command.expect_err("a frame is one JSON object, without duplicates, 64 levels deep at most");
        assert_eq!((frame.request_id, error.code), (None, ErrorCode::Validation), "{}", error.message);
        return;
    };
    assert_eq!(outcome(&frame), expected(entries), "{text}");
    let kind = entries.iter().find(|(key, _)| key == "type").and_then(|(_, kind)| kind.text());
    let is_cheap = matches!(kind, Some("ping" | "ack" | "typing.start" | "typing.stop"));
    assert_eq!(frame.paid_by == FrameBucket::Connection, is_cheap, "{text}");
    for other in other_forms(entries) {
        assert_eq!(parse_client_frame(&other), frame, "{text} and {other}");
    }
}

fn check_error(frame: &ClientFrame) {
    if let Err(ApiError { code, message, field, retry_after_ms }) = &frame.command {
        assert!(matches!(code, ErrorCode::Validation | ErrorCode::PayloadTooLarge), "{code:?}");
        assert!(!message.is_empty() && message.len() < 300, "{message}");
        assert!(field.as_ref().is_none_or(|field| field.len() <= 64), "{field:?} is told back");
        assert_eq!(*retry_after_ms, None);
    }
}

/// The command, or the code and the field of the error.
type Outcome = (Option<String>, Result<Expected, (ErrorCode, &'static str)>);

#[derive(Debug, PartialEq)]
enum Expected {
    Send { room_id: String, content: String, meta: Option<String>, key: Option<String> },
    Acknowledge { room_id: String, seq: u64 },
    Typing { room_id: String, action: TypingAction },
    Subscribe { room_id: String, after: Option<u64> },
    Resume { rooms: BTreeMap<String, u64> },
    Ping,
}

const FIELDS: [&str; 10] =
    ["type", "data", "request_id", "room_id", "content", "meta", "idempotency_key", "seq", "after_seq", "rooms"];

fn outcome(frame: &ClientFrame) -> Outcome {
    let command = match &frame.command {
        Ok(Command::SendMessage(message)) => Ok(Expected::Send {
            room_id: message.room_id.as_str().to_owned(),
            content: message.content.clone(),
            meta: message.meta.clone(),
            key: message.idempotency_key.clone(),
        }),
        Ok(Command::Acknowledge { room_id, seq }) => {
            Ok(Expected::Acknowledge { room_id: room_id.as_str().to_owned(), seq: seq.0 })
        }
        Ok(Command::Typing { room_id, action }) => {
            Ok(Expected::Typing { room_id: room_id.as_str().to_owned(), action: *action })
        }
        Ok(Command::Subscribe { room_id, after }) => {
            Ok(Expected::Subscribe { room_id: room_id.as_str().to_owned(), after: after.map(|seq| seq.0) })
        }
        Ok(Command::Resume { rooms }) => Ok(Expected::Resume {
            rooms: rooms.iter().map(|(room_id, seq)| (room_id.as_str().to_owned(), seq.0)).collect(),
        }),
        Ok(Command::Ping) => Ok(Expected::Ping),
        Err(error) => {
            let field = error.field.as_deref().expect("an object is refused for a field of its own");
            let known = FIELDS.into_iter().find(|known| *known == field);
            Err((error.code, known.expect("the field is one of the protocol's")))
        }
    };
    (frame.request_id.clone(), command)
}

/// What a frame with these entries asks for.
fn expected(entries: &[(String, Tree)]) -> Outcome {
    let (frame, data) = Fields::of(entries);
    let request_id = match frame.text("request_id") {
        Ok(Some(id)) if !(1..=KEY_MAX_BYTES).contains(&id.len()) => Err(invalid("request_id")),
        id => id,
    };
    let kind = entries.iter().find(|(key, _)| key == "type").and_then(|(_, kind)| kind.text()).ok_or(invalid("type"));
    match request_id {
        Ok(id) => (id, kind.and_then(|kind| data.and_then(|()| frame.command(kind)))),
        Err(error) => (None, Err(error)),
    }
}

/// The fields beside `type` and inside `data`, all together; `null` is absent.
struct Fields<'t>(Vec<(&'t str, &'t Tree)>);

type Refused = (ErrorCode, &'static str);

fn position(seq: &Tree) -> Option<u64> {
    seq.integer().and_then(|number| u64::try_from(number).ok())
}

fn invalid(field: &'static str) -> Refused {
    (ErrorCode::Validation, field)
}

impl<'t> Fields<'t> {
    fn of(entries: &'t [(String, Tree)]) -> (Self, Result<(), Refused>) {
        let present = |entries: &'t [(String, Tree)]| {
            entries.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.as_str(), value))
        };
        let outer = present(entries).filter(|(key, _)| !matches!(*key, "type" | "data"));
        let data = present(entries).find(|(key, _)| *key == "data").map(|(_, data)| data);
        let inner = data.and_then(Tree::entries).unwrap_or_default();
        let is_good = data.is_none_or(|data| data.entries().is_some());
        let all = outer.chain(present(inner)).collect();
        (Self(all), if is_good { Ok(()) } else { Err(invalid("data")) })
    }

    fn one(&self, field: &'static str) -> Result<Option<&'t Tree>, Refused> {
        let mut found = self.0.iter().filter(|(key, _)| *key == field).map(|(_, value)| *value);
        match (found.next(), found.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(invalid(field)),
        }
    }

    fn text(&self, field: &'static str) -> Result<Option<String>, Refused> {
        match self.one(field)? {
            None => Ok(None),
            Some(value) => value.text().map(|text| Some(text.to_owned())).ok_or(invalid(field)),
        }
    }

    fn required(&self, field: &'static str) -> Result<String, Refused> {
        self.text(field)?.ok_or(invalid(field))
    }

    fn command(&self, kind: &str) -> Result<Expected, Refused> {
        match kind {
            "send_message" => self.send(),
            "ack" => {
                let room_id = self.required("room_id")?;
                let seq = self.one("seq")?.and_then(position);
                Ok(Expected::Acknowledge { room_id, seq: seq.ok_or(invalid("seq"))? })
            }
            "typing.start" => Ok(Expected::Typing { room_id: self.required("room_id")?, action: TypingAction::Start }),
            "typing.stop" => Ok(Expected::Typing { room_id: self.required("room_id")?, action: TypingAction::Stop }),
            "subscribe" => {
                let room_id = self.required("room_id")?;
                let after = self.one("after_seq")?.map(|seq| position(seq).ok_or(invalid("after_seq"))).transpose()?;
                Ok(Expected::Subscribe { room_id, after })
            }
            "resume" => {
                let rooms = self.one("rooms")?.and_then(Tree::entries).ok_or(invalid("rooms"))?;
                let rooms = rooms.iter().map(|(room_id, seq)| Some((room_id.clone(), position(seq)?)));
                let rooms = rooms.collect::<Option<BTreeMap<_, _>>>().filter(|rooms| rooms.len() <= RESUME_ROOMS_MAX);
                Ok(Expected::Resume { rooms: rooms.ok_or(invalid("rooms"))? })
            }
            "ping" => Ok(Expected::Ping),
            _ => Err(invalid("type")),
        }
    }

    fn send(&self) -> Result<Expected, Refused> {
        let room_id = self.required("room_id")?;
        let key = self.text("idempotency_key")?;
        let is_key =
            |key: &String| (1..=KEY_MAX_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if !key.as_ref().is_none_or(is_key) {
            return Err(invalid("idempotency_key"));
        }
        let content = self.required("content")?;
        if content.is_empty() {
            return Err(invalid("content"));
        }
        let meta = self.text("meta")?.filter(|meta| !meta.is_empty());
        match &meta {
            Some(text) if text.len() > META_MAX_BYTES => Err((ErrorCode::PayloadTooLarge, "meta")),
            Some(text) if serde_json::from_str::<IgnoredAny>(text).is_err() => Err(invalid("meta")),
            Some(_) | None => Ok(Expected::Send { room_id, content, meta, key }),
        }
    }
}

/// The same object spelled out, and with its fields beside `type`, inside `data`, and on both sides. Where a field
/// stands on both sides already, or nothing more fits around it, there are no other sides.
fn other_forms(entries: &[(String, Tree)]) -> Vec<String> {
    let whole = Tree::Object(entries.to_vec());
    let mut forms = vec![whole.to_string(), whole.spelled_out()];
    let data = entries.iter().find(|(key, _)| key == "data").map(|(_, data)| data);
    let is_movable = data.is_none_or(|data| data.is_null() || data.entries().is_some());
    let kind = entries.iter().filter(|(key, _)| key == "type");
    let outer = entries.iter().filter(|(key, _)| !matches!(key.as_str(), "type" | "data"));
    let inner = data.and_then(Tree::entries).unwrap_or_default().iter();
    // Inside `data` neither of these means anything.
    let inner = inner.filter(|(key, _)| !matches!(key.as_str(), "type" | "data"));
    let fields: Vec<_> = outer.chain(inner).cloned().collect();
    let mut keys: Vec<_> = fields.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    if !is_movable || keys.windows(2).any(|pair| pair[0] == pair[1]) || whole.levels() >= MAX_LEVELS {
        return forms;
    }
    let kind: Vec<_> = kind.cloned().collect();
    for beside in [fields.len(), 0, fields.len() / 2] {
        let (beside, inside) = fields.split_at(beside);
        let mut form = beside.to_vec();
        let data = if inside.is_empty() { Tree::Leaf(Value::Null) } else { Tree::Object(inside.to_vec()) };
        form.push(("data".to_owned(), data));
        form.extend(kind.iter().cloned());
        forms.push(Tree::Object(form).to_string());
    }
    forms
}
