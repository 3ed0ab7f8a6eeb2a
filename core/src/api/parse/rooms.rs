//! Bodies of requests on rooms and their members.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::api::call::{ChangeRoom, CreateRoom, TenantCall};
use crate::api::error::ApiError;
use crate::api::fields::{LABEL_MAX_CHARS, json_text};
use crate::id::{RoomId, UserId};
use crate::json::Object;
use crate::model::{Role, RoomType};

/// Reads the body of `POST /rooms`.
pub(super) fn create(mut body: Object<'_>) -> Result<CreateRoom, ApiError> {
    let kind = body.required("type", Object::string)?;
    let kind = RoomType::parse(&kind).ok_or_else(|| body.invalid("type", "must be one of dm, group, channel"))?;
    let members = body.required("members", Object::strings)?;
    let members = user_ids(&members).map_err(|complaint| body.invalid("members", complaint))?;
    Ok(CreateRoom { kind, members, name: name(&mut body, "name")?, metadata: json_text(&mut body, "metadata")? })
}

/// Reads the body of `PATCH /rooms/{room_id}`.
pub(super) fn change(room_id: RoomId, mut body: Object<'_>) -> Result<ChangeRoom, ApiError> {
    Ok(ChangeRoom { room_id, name: body.edit("name", name)?, metadata: body.edit("metadata", json_text)? })
}

/// Reads the body of `POST /rooms/{room_id}/members`.
pub(super) fn add_member(room_id: RoomId, mut body: Object<'_>) -> Result<TenantCall, ApiError> {
    let user_id = body.required("user_id", Object::string)?;
    let user_id = UserId::parse(user_id.as_bytes()).ok_or_else(|| {
        body.invalid("user_id", "must be 1 to 128 bytes, without control characters or white space at the ends")
    })?;
    let role = body.string("role")?;
    let role = role
        .map(|role| Role::parse(&role).ok_or_else(|| body.invalid("role", "must be one of admin, member")))
        .transpose()?;
    Ok(TenantCall::AddMember { room_id, user_id, role })
}

fn name(body: &mut Object<'_>, key: &'static str) -> Result<Option<String>, ApiError> {
    match body.string(key)? {
        Some(name) if name.chars().count() > LABEL_MAX_CHARS => {
            Err(body.invalid(key, &format!("must be at most {LABEL_MAX_CHARS} characters long")))
        }
        name => Ok(name.map(Cow::into_owned)),
    }
}

/// Most users that a body may name: the members of a room, the targets of a notification.
const USER_IDS_MAX: usize = 10_000;

/// Reads user ids, each once, in the order in which they were named first.
pub(super) fn user_ids(texts: &[Cow<'_, str>]) -> Result<Vec<UserId>, &'static str> {
    let mut seen = BTreeSet::new();
    let mut distinct: Vec<&str> = Vec::new();
    distinct.extend(texts.iter().map(AsRef::as_ref).filter(|text| seen.insert(*text)));
    if distinct.len() > USER_IDS_MAX {
        return Err("must name 10000 users at most");
    }
    distinct
        .into_iter()
        .map(|text| UserId::parse(text.as_bytes()))
        .collect::<Option<_>>()
        .ok_or("must hold user ids alone: 1 to 128 bytes, without control characters or white space at the ends")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::error::ErrorCode;
    use crate::json;

    fn read(body: &str) -> Result<CreateRoom, ApiError> {
        create(json::parse_object(body.as_bytes()).unwrap())
    }

    #[test]
    fn a_room_keeps_what_was_given() {
        let room = read(r#"{"type":"dm","members":["bob","bob"],"name":"","metadata":"{ \"a\": 1 }","x":[]}"#);
        let expected = CreateRoom {
            kind: RoomType::Dm,
            members: vec![UserId::new("bob")],
            name: Some(String::new()),
            metadata: Some("{ \"a\": 1 }".to_owned()),
        };
        assert_eq!(room, Ok(expected));
        let bare = read(r#"{"type":"channel","members":[],"name":null,"metadata":""}"#).unwrap();
        assert_eq!((bare.name, bare.metadata, bare.members), (None, None, vec![]));
    }

    #[test]
    fn a_room_s_body_is_refused_by_field() {
        let big = format!(r#""\"{}\"""#, "x".repeat(16 * 1024 - 1));
        let name = format!(r#""{}""#, "é".repeat(201));
        for (field, value, code) in [
            ("type", "null", ErrorCode::Validation),
            ("type", "1", ErrorCode::Validation),
            ("type", r#""DM""#, ErrorCode::Validation),
            ("members", "null", ErrorCode::Validation),
            ("members", r#""bob""#, ErrorCode::Validation),
            ("members", "[1]", ErrorCode::Validation),
            ("members", r#"["bob",null]"#, ErrorCode::Validation),
            ("members", r#"["bob",""]"#, ErrorCode::Validation),
            ("members", r#"["bob","a\nb"]"#, ErrorCode::Validation),
            ("name", "7", ErrorCode::Validation),
            ("name", &name, ErrorCode::Validation),
            ("metadata", "{}", ErrorCode::Validation),
            ("metadata", "7", ErrorCode::Validation),
            ("metadata", r#""{""#, ErrorCode::Validation),
            ("metadata", r#"" ""#, ErrorCode::Validation),
            ("metadata", &big, ErrorCode::PayloadTooLarge),
        ] {
            let fields = [("type", r#""group""#), ("members", r#"["bob"]"#), ("name", "null"), ("metadata", "null")];
            let body = fields.map(|(key, good)| format!(r#""{key}":{}"#, if key == field { value } else { good }));
            let error = read(&format!("{{{}}}", body.join(","))).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (code, Some(field)), "{field}: {value:.40}");
        }
    }

    #[test]
    fn a_room_names_10000_distinct_members_at_most() {
        let body = |count: usize| {
            let ids: Vec<_> = (0..count).map(|n| format!(r#""u{n}""#)).collect();
            format!(r#"{{"type":"group","members":["u0",{}]}}"#, ids.join(","))
        };
        assert_eq!(read(&body(10_000)).unwrap().members.len(), 10_000);
        assert_eq!(read(&body(10_001)).unwrap_err().field.as_deref(), Some("members"));
    }

    #[test]
    fn metadata_of_exactly_16_kib_fits() {
        let text = format!("{}1", " ".repeat(16 * 1024 - 1));
        let room = read(&format!(r#"{{"type":"group","members":[],"metadata":"{text}"}}"#)).unwrap();
        assert_eq!(room.metadata, Some(text));
    }
}
