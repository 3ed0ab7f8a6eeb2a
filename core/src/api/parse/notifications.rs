//! The body of `POST /notify`.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::rooms::user_ids;
use crate::api::call::Notify;
use crate::api::error::ApiError;
use crate::api::fields;
use crate::json::{MAX_INTEGER, Object};
use crate::store::NotificationTargets;

/// Longest payload, in bytes of its text.
const PAYLOAD_MAX_BYTES: usize = 64 * 1024;

/// Reads the body, out of which `fields` were read already.
pub(super) fn notify(body: &[u8], mut fields: Object<'_>) -> Result<Notify, ApiError> {
    let topic = fields.required("topic", fields::label)?;
    let payload = payload(body).ok_or_else(|| fields.invalid("payload", "is required: any JSON, null too"))?;
    if payload.len() > PAYLOAD_MAX_BYTES {
        let message = format!("payload may hold {PAYLOAD_MAX_BYTES} bytes of JSON text at most");
        return Err(ApiError::too_large("payload", message));
    }
    if !has_exact_integers(payload) {
        return Err(fields.invalid("payload", "must hold no integer beyond ±(2^53 − 1)"));
    }
    let payload = payload.to_owned();
    Ok(Notify { topic, payload, targets: targets(&mut fields)? })
}

/// `None` where nothing says whom it is for: it is for everyone then. What names nobody is still `Some`, be it a typo or
/// a null: the audience is never widened.
fn targets(body: &mut Object<'_>) -> Result<Option<NotificationTargets>, ApiError> {
    let mut given = match body.object("targets", "targets.")? {
        Some(given) if given.left_over().is_some() => given,
        Some(_) | None => return Ok(None),
    };
    let named = given.strings("user_ids")?;
    let named = named.map(|texts| user_ids(&texts).map_err(|complaint| given.invalid("user_ids", complaint)));
    let named = named.transpose()?;
    let room_id = given.string("room_id")?.map(|id| fields::room_id_of(&id)).transpose()?;
    let topic_subscribers = given.boolean("topic_subscribers")?;
    let mut user_ids = named.unwrap_or_default();
    user_ids.sort_unstable();
    Ok(Some(NotificationTargets { user_ids, room_id, topic_subscribers: topic_subscribers.unwrap_or_default() }))
}

/// The text of `payload` as it stands in a body that is known to be one strict JSON object.
fn payload(body: &[u8]) -> Option<&str> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow, default, deserialize_with = "as_it_stands")]
        payload: Option<&'a RawValue>,
    }
    /// An `Option` of its own would take `null` for absent.
    fn as_it_stands<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Some)
    }
    serde_json::from_slice::<Fields<'_>>(body).ok()?.payload.map(RawValue::get)
}

/// Whether every number without fraction and exponent lies within ±[`MAX_INTEGER`]. The receivers get the text, and many
/// read numbers as doubles.
fn has_exact_integers(json_text: &str) -> bool {
    // Outside of strings only numbers hold digits. An escaped quotation mark ends no string.
    let mut is_escaped = false;
    let mut is_string = false;
    let outside = json_text.split(|c: char| {
        let is_quote = c == '"' && !is_escaped;
        is_escaped = is_string && c == '\\' && !is_escaped;
        is_string ^= is_quote;
        is_string || is_quote || matches!(c, ',' | ':' | '[' | ']' | '{' | '}' | ' ' | '\t' | '\r' | '\n')
    });
    outside
        .filter(|token| token.ends_with(|c: char| c.is_ascii_digit()) && !token.contains(['.', 'e', 'E']))
        .all(|integer| integer.parse().is_ok_and(|number: i64| (-MAX_INTEGER..=MAX_INTEGER).contains(&number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::error::ErrorCode;
    use crate::id::RoomId;
    use crate::id::UserId;
    use crate::json;

    fn read(body: &str) -> Result<Notify, ApiError> {
        notify(body.as_bytes(), json::parse_object(body.as_bytes()).unwrap())
    }

    fn to(targets: &str) -> Result<Option<NotificationTargets>, ApiError> {
        read(&format!(r#"{{"topic":"t","payload":1,"targets":{targets}}}"#)).map(|notify| notify.targets)
    }

    #[test]
    fn a_payload_is_any_json_and_kept_as_it_stood() {
        for text in [
            "null",
            "true",
            "-0",
            "1.50",
            "1e5",
            "9007199254740991",
            "1e300",
            "9007199254740992.0",
            r#""\u00e9 9007199254740992""#,
            r#""\"9007199254740992\\""#,
            r#"{ "b" :[1 , {"\u0061":null}],"a":"\/" }"#,
            "[\n]",
        ] {
            for body in [
                format!(r#"{{"topic":"t","payload":{text}}}"#),
                format!("{{\"p\\u0061yload\" : \t{text}\r\n ,\"other\":{{\"payload\":1}},\"topic\":\"t\"}}"),
            ] {
                assert_eq!(read(&body).unwrap().payload, text, "{body}");
            }
        }
    }

    #[test]
    fn a_notification_is_refused_by_field() {
        let topic = |topic: &str| format!(r#"{{"topic":{topic},"payload":1}}"#);
        let payload = |payload: &str| format!(r#"{{"topic":"t","payload":{payload}}}"#);
        let targets = |targets: &str| format!(r#"{{"topic":"t","payload":1,"targets":{targets}}}"#);
        let string = |bytes: usize| format!(r#""{}""#, "x".repeat(bytes - 2));
        assert!(read(&payload(&string(65_536))).is_ok());
        assert!(read(&topic(&format!(r#""{}""#, "é".repeat(200)))).is_ok());
        for (body, field) in [
            (r#"{"payload":1}"#.to_owned(), "topic"),
            (topic("null"), "topic"),
            (topic("7"), "topic"),
            (topic(r#""""#), "topic"),
            (topic(&format!(r#""{}""#, "é".repeat(201))), "topic"),
            (r#"{"topic":"t"}"#.to_owned(), "payload"),
            (payload(&string(65_537)), "payload"),
            (payload("9007199254740992"), "payload"),
            (payload("[\"\\\\\",-9007199254740992]"), "payload"),
            (payload(r#"{"a":{"b":99999999999999999999}}"#), "payload"),
            (targets("[]"), "targets"),
            (targets(r#""all""#), "targets"),
            (targets(r#"{"user_ids":"bob"}"#), "targets.user_ids"),
            (targets(r#"{"user_ids":[1]}"#), "targets.user_ids"),
            (targets(r#"{"user_ids":["bob",""]}"#), "targets.user_ids"),
            (targets(r#"{"user_ids":[" bob"]}"#), "targets.user_ids"),
            (targets(r#"{"room_id":7}"#), "targets.room_id"),
            (targets(r#"{"topic_subscribers":"yes"}"#), "targets.topic_subscribers"),
        ] {
            let error = read(&body).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{body:.80}");
            assert_eq!(error.code == ErrorCode::PayloadTooLarge, body.len() > 65_536, "{body:.80}");
        }
    }

    #[test]
    fn only_what_names_no_target_at_all_is_for_everyone() {
        for everyone in ["null", "{}"] {
            assert_eq!(to(everyone), Ok(None), "{everyone}");
        }
        assert_eq!(read(r#"{"topic":"t","payload":1}"#).unwrap().targets, None);
        let nobody = NotificationTargets::default();
        for text in [
            r#"{"user_ids":[]}"#,
            r#"{"topic_subscribers":false}"#,
            r#"{"user_ids":null,"room_id":null,"topic_subscribers":null}"#,
            r#"{"user_id":["bob"]}"#,
        ] {
            assert_eq!(to(text), Ok(Some(nobody.clone())), "{text}");
        }
        let all = to(r#"{"user_ids":["é","b","a","b"],"room_id":"r","topic_subscribers":true,"x":1}"#);
        let expected = NotificationTargets {
            user_ids: ["a", "b", "é"].map(UserId::new).to_vec(),
            room_id: Some(RoomId::new("r")),
            topic_subscribers: true,
        };
        assert_eq!(all, Ok(Some(expected)));
    }

    #[test]
    fn a_notification_names_10000_distinct_users_at_most() {
        let targets = |count: usize| {
            let ids: Vec<_> = (0..count).map(|n| format!(r#""u{n}""#)).collect();
            to(&format!(r#"{{"user_ids":["u0",{}]}}"#, ids.join(",")))
        };
        assert_eq!(targets(10_000).unwrap().unwrap().user_ids.len(), 10_000);
        assert_eq!(targets(10_001).unwrap_err().field.as_deref(), Some("targets.user_ids"));
    }
}
