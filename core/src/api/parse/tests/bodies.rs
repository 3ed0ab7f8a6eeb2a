//! Bodies that are refused, by the field to blame.

use super::*;

/// A name, and a value as JSON.
type Field = (&'static str, &'static str);

/// The body of each route that takes one, with every field right.
const GOOD: [(&str, &str, &[Field]); 6] = [
    ("PATCH", "/admin/tenants/t", &[("name", r#""n""#), ("config", r#"{"rate_limit":1}"#)]),
    ("POST", "/admin/tenants/t/rotate-key", &[("grace_seconds", "1"), ("close_sockets", "true")]),
    ("PATCH", "/rooms/r", &[("name", "null"), ("metadata", r#""{}""#)]),
    ("POST", "/rooms/r/members", &[("user_id", r#""bob""#), ("role", "null")]),
    ("PATCH", "/rooms/r/messages/m", &[("content", r#""c""#), ("meta", "null")]),
    ("POST", "/subscriptions", &[("topic", r#""t""#)]),
];

/// The body of `target`, with another value for `field`; `None` leaves it out.
fn body_with(target: &str, field: &str, value: Option<&str>) -> (&'static str, String) {
    let (method, _, fields) = GOOD.into_iter().find(|(_, known, _)| *known == target).unwrap();
    assert!(fields.iter().any(|(known, _)| *known == field));
    let fields = fields.iter().map(|(known, good)| (*known, if *known == field { value } else { Some(*good) }));
    let fields: Vec<_> =
        fields.filter_map(|(known, value)| value.map(|value| format!(r#""{known}":{value}"#))).collect();
    (method, format!("{{{}}}", fields.join(",")))
}

fn refused(target: &str, field: &str, value: Option<&str>) -> ApiError {
    let (method, body) = body_with(target, field, value);
    request(method, target, &[], &body).call.expect_err(&body)
}

#[test]
fn a_body_with_every_field_right_is_taken() {
    for (_, target, fields) in GOOD {
        for (field, good) in fields {
            let (method, body) = body_with(target, field, Some(good));
            let call = request(method, target, &[], &body).call;
            assert!(call.is_ok(), "{method} {target} {body}: {call:?}");
        }
    }
}

#[test]
fn a_change_may_change_nothing() {
    for target in ["/admin/tenants/t", "/rooms/r"] {
        for body in ["{}", r#"{"unknown":1}"#] {
            assert!(request("PATCH", target, &[], body).call.is_ok(), "{target} {body}");
        }
    }
}

#[test]
fn a_body_that_is_no_object_is_refused_where_one_is_needed() {
    for (method, target, _) in GOOD {
        for body in ["", " ", "{", "[]", "null", "7", r#"{"x":"\ud800"}"#, "{} {}"] {
            let call = request(method, target, &[], body).call;
            if body.is_empty() && target.ends_with("/rotate-key") {
                assert!(call.is_ok());
            } else {
                let error = call.unwrap_err();
                assert_eq!((error.code, error.field), (ErrorCode::Validation, None), "{method} {target} {body}");
            }
        }
        let error = request(method, target, &[], r#"{"x":{"a":1,"a":1}}"#).call.unwrap_err();
        assert_eq!(error.field.as_deref(), Some("x.a"), "{method} {target}");
    }
}

#[test]
fn a_field_that_breaks_its_rules_is_refused_by_name() {
    let long = format!(r#""{}""#, "é".repeat(201));
    let long_id = format!(r#""{}""#, "x".repeat(129));
    for (target, field, values) in [
        ("/admin/tenants/t", "name", &[Some("null"), Some("7"), Some(r#""""#), Some(&long)][..]),
        ("/admin/tenants/t", "config", &[Some("7"), Some("[]"), Some(r#""{}""#)]),
        (
            "/admin/tenants/t/rotate-key",
            "grace_seconds",
            &[Some("-1"), Some("86401"), Some("1.0"), Some(r#""1""#), Some("4294967296"), Some("9007199254740992")],
        ),
        ("/admin/tenants/t/rotate-key", "close_sockets", &[Some("1"), Some(r#""true""#)]),
        ("/rooms/r", "name", &[Some("7"), Some("[]"), Some(&long)]),
        ("/rooms/r", "metadata", &[Some("7"), Some("{}"), Some(r#""{""#), Some(r#"" ""#)]),
        (
            "/rooms/r/members",
            "user_id",
            &[None, Some("null"), Some("7"), Some(r#""""#), Some(r#"" bob""#), Some(r#""a\nb""#), Some(&long_id)],
        ),
        ("/rooms/r/members", "role", &[Some("7"), Some(r#""""#), Some(r#""Admin""#), Some(r#""owner""#)]),
        ("/rooms/r/messages/m", "content", &[None, Some("null"), Some("7"), Some(r#""""#)]),
        ("/rooms/r/messages/m", "meta", &[Some("7"), Some("{}"), Some(r#""{""#)]),
        ("/subscriptions", "topic", &[None, Some("null"), Some("7"), Some(r#""""#), Some(&long)]),
    ] {
        for value in values {
            let error = refused(target, field, *value);
            let told = (error.code, error.field.as_deref());
            assert_eq!(told, (ErrorCode::Validation, Some(field)), "{target} {field}: {value:.40?}");
        }
    }
}

#[test]
fn json_text_is_413_past_16_kib() {
    let text = |bytes: usize| format!(r#""{}1""#, " ".repeat(bytes - 1));
    for (target, field) in [("/rooms/r", "metadata"), ("/rooms/r/messages/m", "meta")] {
        let (method, fits) = body_with(target, field, Some(&text(16 * 1024)));
        assert!(request(method, target, &[], &fits).call.is_ok(), "{target}");
        let error = refused(target, field, Some(&text(16 * 1024 + 1)));
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::PayloadTooLarge, Some(field)), "{target}");
    }
}

#[test]
fn settings_are_checked_alike_at_creation_and_change() {
    for (config, field) in [
        (r#"{"rate_limits":1}"#, "config.rate_limits"),
        (r#"{"rate_limit":0}"#, "config.rate_limit"),
        (r#"{"max_message_size":262145}"#, "config.max_message_size"),
        (r#"{"retry_limit":101}"#, "config.retry_limit"),
        (r#"{"durable_notifications":"yes"}"#, "config.durable_notifications"),
        (r#"{"webhook_url":"ftp://h"}"#, "config.webhook_url"),
        (r#"{"webhook_url":""}"#, "config.webhook_url"),
        (r#"{"webhook_secret":"whsec_AAAA"}"#, "config.webhook_secret"),
        (r#"{"rate_limit":null,"x":null}"#, "config.x"),
    ] {
        let body = format!(r#"{{"name":"n","config":{config}}}"#);
        for (method, target) in [("POST", "/admin/tenants"), ("PATCH", "/admin/tenants/t")] {
            let error = request(method, target, &[], &body).call.unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{method} {body}");
        }
    }
}

#[test]
fn a_notification_s_body_obeys_the_rules_of_every_body_its_payload_included() {
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    for payload in [r#"{"a":1,"a":2}"#, r#"["\ud800"]"#, &deep, "01", "undefined", "1e400", "[9007199254740992]"] {
        let body = format!(r#"{{"topic":"t","payload":{payload}}}"#);
        let error = request("POST", "/notify", &[], &body).call.unwrap_err();
        assert_eq!(error.code, ErrorCode::Validation, "{body:.60}");
    }
}
