//! Fields that bodies of requests and client frames have in common, read by one mechanism.

use std::borrow::Cow;

use super::call::SendMessage;
use super::error::ApiError;
use crate::id::{RoomId, Seq};
use crate::json::{self, Object};

/// Longest `metadata` of a room and `meta` of a message, in bytes.
pub(crate) const JSON_TEXT_MAX_BYTES: usize = 16 * 1024;
/// Longest name of a tenant or a room, and longest topic, in characters.
pub(crate) const LABEL_MAX_CHARS: usize = 200;
/// Longest idempotency key and request id, in bytes.
pub(crate) const KEY_MAX_BYTES: usize = 128;

/// What is sent, out of `content` and `meta`.
pub(crate) fn message(
    fields: &mut Object<'_>,
    room_id: RoomId,
    idempotency_key: Option<String>,
) -> Result<SendMessage, ApiError> {
    let content = content(fields)?;
    Ok(SendMessage { room_id, content, meta: json_text(fields, "meta")?, idempotency_key })
}

/// `content`: at least a byte.
pub(crate) fn content(fields: &mut Object<'_>) -> Result<String, ApiError> {
    let content = fields.required("content", Object::string)?.into_owned();
    if content.is_empty() {
        return Err(fields.invalid("content", "must not be empty"));
    }
    Ok(content)
}

/// `room_id`, whatever it names.
pub(crate) fn room_id(fields: &mut Object<'_>) -> Result<RoomId, ApiError> {
    let id = fields.required("room_id", Object::string)?;
    room_id_of(&id)
}

/// Longest id of a room, in bytes.
const ROOM_ID_MAX_BYTES: usize = 128;

/// An id that a room may have. What waits for the store holds these: no request may make it long.
pub(crate) fn room_id_of(text: &str) -> Result<RoomId, ApiError> {
    if text.len() > ROOM_ID_MAX_BYTES { Err(ApiError::no_room()) } else { Ok(RoomId::new(text)) }
}

/// The number of a message: an integer from 0 up.
pub(crate) fn seq(fields: &mut Object<'_>, key: &'static str) -> Result<Option<Seq>, ApiError> {
    let number = fields.integer(key)?;
    let seq = |number| u64::try_from(number).map(Seq).map_err(|_| fields.invalid(key, "must not be negative"));
    number.map(seq).transpose()
}

/// A text of 1 to [`LABEL_MAX_CHARS`] characters.
pub(crate) fn label(fields: &mut Object<'_>, key: &'static str) -> Result<Option<String>, ApiError> {
    match fields.string(key)? {
        Some(text) if !(1..=LABEL_MAX_CHARS).contains(&text.chars().count()) => {
            Err(fields.invalid(key, &format!("must be 1 to {LABEL_MAX_CHARS} characters long")))
        }
        text => Ok(text.map(Cow::into_owned)),
    }
}

/// JSON text in a string, kept byte for byte; `""` is absent.
pub(crate) fn json_text(fields: &mut Object<'_>, key: &'static str) -> Result<Option<String>, ApiError> {
    let text = match fields.string(key)? {
        Some(text) if !text.is_empty() => text,
        Some(_) | None => return Ok(None),
    };
    if text.len() > JSON_TEXT_MAX_BYTES {
        let message = format!("{key} may hold {JSON_TEXT_MAX_BYTES} bytes at most");
        return Err(ApiError::too_large(fields.field(key), message));
    }
    if !json::is_json_text(&text) {
        return Err(fields.invalid(key, "must be a string that holds JSON text, like \"{\\\"a\\\":1}\""));
    }
    Ok(Some(text.into_owned()))
}

/// An idempotency key, given under the name `field`.
pub(crate) fn idempotency_key(raw: &[u8], field: &'static str) -> Result<String, ApiError> {
    visible_ascii(raw).map(str::to_owned).ok_or_else(|| {
        let message = format!("{field} must be 1 to {KEY_MAX_BYTES} visible ASCII characters");
        ApiError::invalid(field, message)
    })
}

/// The text of a key that is 1 to [`KEY_MAX_BYTES`] visible ASCII characters.
pub(crate) fn visible_ascii(raw: &[u8]) -> Option<&str> {
    let fits = (1..=KEY_MAX_BYTES).contains(&raw.len()) && raw.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(raw).ok().filter(|_| fits)
}
