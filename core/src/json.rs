//! Strict JSON: what a request body or a client frame may be (protocol, section 1).
//!
//! serde_json reads; what it would let pass (duplicate keys, deep nesting) is refused here. The readers of [`Object`]
//! take typed fields out and blame the right one where that fails. `null` is absent, whatever the field.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::api::{ApiError, ErrorCode};
use crate::model::Edit;

/// Reads `text`, which must be one JSON value and nothing else.
pub(crate) fn parse(text: &[u8]) -> Result<Value<'_>, ApiError> {
    let invalid = |message: String| ApiError::new(ErrorCode::Validation, message);
    let text = std::str::from_utf8(text).map_err(|error| invalid(format!("JSON must be UTF-8: {error}")))?;
    let fault = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let root = Seed { level: 0, fault: &fault };
    root.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value)).map_err(|error| match fault.take() {
        None => invalid(format!("this is not valid JSON: {error}")),
        Some(Fault::TooDeep) => invalid(format!("JSON may be nested {MAX_LEVELS} levels deep at most")),
        Some(Fault::Duplicate { path }) if path.len() <= ECHO_MAX_BYTES => {
            ApiError::invalid(path, "a key may stand only once in an object")
        }
        Some(Fault::Duplicate { .. }) => invalid("a key may stand only once in an object".to_owned()),
    })
}

/// Reads `text`, which must be one JSON object and nothing else.
pub(crate) fn parse_object(text: &[u8]) -> Result<Object<'_>, ApiError> {
    match parse(text)? {
        Value::Object(object) => Ok(object),
        Value::Null
        | Value::Bool(_)
        | Value::Integer(_)
        | Value::OtherNumber
        | Value::String(_)
        | Value::Strings(_)
        | Value::OtherArray => Err(ApiError::new(ErrorCode::Validation, "this must be a JSON object")),
    }
}

/// Whether `text` is JSON by its grammar alone (RFC 8259). This is for JSON that travels as a string (`metadata`,
/// `meta`): nobody here looks into it, so that duplicate keys or deep nesting do no harm.
pub(crate) fn is_json_text(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Deepest nesting of arrays and objects.
pub(crate) const MAX_LEVELS: u32 = 64;
/// Integers on the wire lie within ± this: what a double holds exactly.
pub(crate) const MAX_INTEGER: i64 = (1 << 53) - 1;
/// Longest name out of a request that an error tells back as its `field`.
pub(crate) const ECHO_MAX_BYTES: usize = 64;

/// A JSON value, as far as the protocol has fields of its type. What no field can hold is checked, but not kept, so
/// that a hostile body costs no memory beyond a small multiple of its size.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// Written as an integer, within ±[`MAX_INTEGER`].
    Integer(i64),
    /// A fraction, an exponent, or an integer out of range.
    OtherNumber,
    String(Cow<'a, str>),
    /// An array of strings alone; the empty array.
    Strings(Vec<Cow<'a, str>>),
    /// An array that holds anything else.
    OtherArray,
    Object(Object<'a>),
}

/// A JSON object, from which fields are taken.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Object<'a> {
    entries: Vec<(Cow<'a, str>, Value<'a>)>,
    /// What stands before a key where an error names it: `config.` inside `config`.
    scope: &'static str,
}

/// The entries of an object of integers.
pub(crate) type Integers<'a> = Vec<(Cow<'a, str>, i64)>;

impl<'a> Object<'a> {
    /// Takes the fields of `other` in, as if they stood in this object. A field that then stands twice is refused
    /// when it is taken.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.entries.append(&mut other.entries);
    }

    /// An optional string.
    pub(crate) fn string(&mut self, key: &'static str) -> Result<Option<Cow<'a, str>>, ApiError> {
        self.typed(key, "a string", |value| if let Value::String(text) = value { Some(text) } else { None })
    }

    /// An optional integer within ±[`MAX_INTEGER`].
    pub(crate) fn integer(&mut self, key: &'static str) -> Result<Option<i64>, ApiError> {
        self.typed(key, "an integer without fraction or exponent, within ±(2^53 − 1)", |value| {
            if let Value::Integer(number) = value { Some(number) } else { None }
        })
    }

    /// An optional boolean.
    pub(crate) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, ApiError> {
        self.typed(key, "true or false", |value| if let Value::Bool(flag) = value { Some(flag) } else { None })
    }

    /// An optional array of strings.
    pub(crate) fn strings(&mut self, key: &'static str) -> Result<Option<Vec<Cow<'a, str>>>, ApiError> {
        self.typed(
            key,
            "an array of strings",
            |value| {
                if let Value::Strings(texts) = value { Some(texts) } else { None }
            },
        )
    }

    /// An optional object. `scope` stands before its keys where an error names them.
    pub(crate) fn object(&mut self, key: &'static str, scope: &'static str) -> Result<Option<Self>, ApiError> {
        self.typed(key, "an object", |value| {
            if let Value::Object(object) = value { Some(Self { scope, ..object }) } else { None }
        })
    }

    /// An optional object whose values are integers within ±[`MAX_INTEGER`], whatever its keys.
    pub(crate) fn integers(&mut self, key: &'static str) -> Result<Option<Integers<'a>>, ApiError> {
        self.typed(key, "an object whose values are integers within ±(2^53 − 1)", |value| {
            let Value::Object(object) = value else { return None };
            let number = |(name, value)| if let Value::Integer(number) = value { Some((name, number)) } else { None };
            object.entries.into_iter().map(number).collect()
        })
    }

    /// A field that changes something: one that is absent keeps it; `null`, and what reads as nothing, clears it.
    pub(crate) fn edit<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<Option<T>, ApiError>,
    ) -> Result<Edit<T>, ApiError> {
        let is_named = self.entries.iter().any(|(name, _)| name == key);
        Ok(match read(self, key)? {
            Some(value) => Edit::Set(value),
            None if is_named => Edit::Clear,
            None => Edit::Keep,
        })
    }

    /// A field that must be there: `body.required("content", Object::string)`.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<Option<T>, ApiError>,
    ) -> Result<T, ApiError> {
        read(self, key)?.ok_or_else(|| self.invalid(key, "is required"))
    }

    /// Any key that was not taken.
    pub(crate) fn left_over(&self) -> Option<&str> {
        self.entries.first().map(|(key, _)| key.as_ref())
    }

    /// 400 that blames `key`: "`key` `complaint`".
    pub(crate) fn invalid(&self, key: &'static str, complaint: &str) -> ApiError {
        let field = self.field(key);
        let message = format!("{field} {complaint}");
        ApiError::invalid(field, message)
    }

    /// How an error names `key`.
    pub(crate) fn field(&self, key: &'static str) -> Cow<'static, str> {
        if self.scope.is_empty() { Cow::Borrowed(key) } else { Cow::Owned(format!("{}{key}", self.scope)) }
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        match self.take(key)? {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(field) => Ok(Some(field)),
                None => Err(self.invalid(key, &format!("must be {expected}"))),
            },
        }
    }

    /// Every entry of the name goes; at most one may hold something.
    fn take(&mut self, key: &'static str) -> Result<Option<Value<'a>>, ApiError> {
        let mut taken = None;
        while let Some(at) = self.entries.iter().position(|(name, _)| name == key) {
            let (_, value) = self.entries.swap_remove(at);
            if value == Value::Null {
                continue;
            }
            if taken.replace(value).is_some() {
                return Err(self.invalid(key, "stands twice: give it once"));
            }
        }
        Ok(taken)
    }
}

/// What serde_json lets pass; kept beside its error, which holds text alone.
enum Fault {
    TooDeep,
    Duplicate { path: String },
}

#[derive(Clone, Copy)]
struct Seed<'f> {
    /// How many arrays and objects stand around the value.
    level: u32,
    fault: &'f Cell<Option<Fault>>,
}

impl Seed<'_> {
    fn enter<E: serde::de::Error>(self) -> Result<Self, E> {
        let level = self.level + 1;
        if level > MAX_LEVELS {
            self.fault.set(Some(Fault::TooDeep));
            return Err(E::custom("nested too deep"));
        }
        Ok(Self { level, ..self })
    }

    /// Puts `key` before the path of a duplicate that was found inside its value.
    fn blame_inside(self, key: &str) {
        let fault = match self.fault.take() {
            Some(Fault::Duplicate { path }) => Some(Fault::Duplicate { path: format!("{key}.{path}") }),
            other @ (None | Some(Fault::TooDeep)) => other,
        };
        self.fault.set(fault);
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        let exact = (-MAX_INTEGER..=MAX_INTEGER).contains(&number);
        Ok(if exact { Value::Integer(number) } else { Value::OtherNumber })
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value<'de>, E> {
        i64::try_from(number).map_or(Ok(Value::OtherNumber), |number| self.visit_i64(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::OtherNumber)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Value<'de>, A::Error> {
        let inner = self.enter()?;
        let mut strings = Some(Vec::new());
        while let Some(element) = array.next_element_seed(inner)? {
            match (element, &mut strings) {
                (Value::String(text), Some(strings)) => strings.push(text),
                (_, strings) => *strings = None,
            }
        }
        Ok(strings.map_or(Value::OtherArray, Value::Strings))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value<'de>, A::Error> {
        let inner = self.enter()?;
        let mut entries = Vec::new();
        while let Some(Key(key)) = object.next_key()? {
            let value = object.next_value_seed(inner).inspect_err(|_| inner.blame_inside(&key))?;
            entries.push((key, value));
        }
        if let Some(key) = first_duplicate(&entries) {
            self.fault.set(Some(Fault::Duplicate { path: key.to_owned() }));
            return Err(A::Error::custom("duplicate key"));
        }
        Ok(Value::Object(Object { entries, scope: "" }))
    }
}

/// Pairs are compared as long as that is cheapest; past it the keys are sorted, so that no body takes quadratic time.
fn first_duplicate<'a>(entries: &'a [(Cow<'_, str>, Value<'_>)]) -> Option<&'a str> {
    const PAIRWISE_MAX: usize = 16;
    if entries.len() <= PAIRWISE_MAX {
        return entries.iter().enumerate().find_map(|(at, (key, _))| {
            let earlier = entries.iter().take(at).any(|(other, _)| other == key);
            earlier.then_some(key.as_ref())
        });
    }
    let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_ref()).collect();
    keys.sort_unstable();
    keys.windows(2).find_map(|pair| match pair {
        [one, other] if one == other => Some(*one),
        _ => None,
    })
}

/// A key, borrowed from the text where it holds no escape.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn every_kind_of_value_is_read() {
        for (text, value) in [
            ("null", Value::Null),
            (" true ", Value::Bool(true)),
            ("-7", Value::Integer(-7)),
            ("9007199254740991", Value::Integer(MAX_INTEGER)),
            ("-9007199254740991", Value::Integer(-MAX_INTEGER)),
            ("9007199254740992", Value::OtherNumber),
            ("-9007199254740992", Value::OtherNumber),
            ("18446744073709551615", Value::OtherNumber),
            ("99999999999999999999", Value::OtherNumber),
            ("1.0", Value::OtherNumber),
            ("1e3", Value::OtherNumber),
            (r#""a\u0000\ud83d\ude00""#, Value::String("a\0😀".into())),
            ("[]", Value::Strings(vec![])),
            (r#"["a","\n"]"#, Value::Strings(vec!["a".into(), "\n".into()])),
            (r#"["a",1,"b"]"#, Value::OtherArray),
            ("[[]]", Value::OtherArray),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_not_strict_json_is_refused() {
        let many = (0..17).map(|n| format!(r#""k{n}":0"#)).collect::<Vec<_>>().join(",");
        for (text, field) in [
            ("", None),
            (" ", None),
            ("{", None),
            ("{} x", None),
            ("{}{}", None),
            ("{'a':1}", None),
            ("[1,]", None),
            ("01", None),
            ("NaN", None),
            ("\u{feff}{}", None),
            ("\"\n\"", None),
            (r#""\ud800""#, None),
            (r#""\udc00x""#, None),
            (r#"{"ignored":["\ud800"]}"#, None),
            (r#"{"\ud800":1}"#, None),
            (r#"{"a":1,"b":2,"a":1}"#, Some("a")),
            (r#"{"a":1,"\u0061":null}"#, Some("a")),
            (r#"{"config":{"x":{"a":1,"a":2}}}"#, Some("config.x.a")),
            (r#"[{"a":1,"a":2}]"#, Some("a")),
            (&format!(r#"{{{many},"k3":0}}"#), Some("k3")),
            (&format!(r#"{{"{0}":1,"{0}":1}}"#, "k".repeat(65)), None),
            (&nested(65), None),
            (&"[".repeat(2 << 20), None),
            (&"{\"a\":".repeat(300_000), None),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            let start: String = text.chars().take(40).collect();
            assert_eq!(error.code, ErrorCode::Validation, "{start}");
            assert_eq!(error.field.as_deref(), field, "{start}");
            assert!(error.message.len() < 200, "{start}: {}", error.message);
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse(b"\"\xed\xa0\x80\"").is_err());
        assert!(parse(nested(64).as_bytes()).is_ok());
        assert!(parse(format!("{{{many}}}").as_bytes()).is_ok());
    }

    #[test]
    fn only_an_object_is_an_object() {
        for text in ["null", "true", "1", "1.5", r#""{}""#, "[]", "[1]"] {
            assert!(parse_object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse_object(b"{}").is_ok());
    }

    #[test]
    fn a_field_is_missing_or_mistyped_under_its_own_name() {
        let body = || parse_object(br#"{"s":"x","n":null,"f":1.0,"c":{"i":"no"},"b":true,"a":["x"]}"#).unwrap();
        assert_eq!(body().string("s"), Ok(Some("x".into())));
        assert_eq!(body().boolean("b"), Ok(Some(true)));
        assert_eq!(body().strings("a"), Ok(Some(vec!["x".into()])));
        for absent in ["n", "z"] {
            assert_eq!(body().string(absent), Ok(None));
            assert_eq!(body().integer(absent), Ok(None));
            let error = body().required(absent, Object::string).unwrap_err();
            assert_eq!(error, ApiError::invalid(absent, format!("{absent} is required")));
        }
        assert_eq!(body().string("b").unwrap_err().message, "b must be a string");
        let wrong = [
            body().integer("f").err(),
            body().boolean("s").err(),
            body().strings("s").err(),
            body().object("a", "a.").err(),
        ];
        let fields = wrong.map(|error| error.unwrap().field.unwrap());
        assert_eq!(fields, ["f", "s", "s", "a"]);
        let mut config = body().object("c", "c.").unwrap().unwrap();
        assert_eq!(config.integer("i").unwrap_err().field.as_deref(), Some("c.i"));
    }

    #[test]
    fn an_edit_tells_what_is_absent_from_what_is_null() {
        let body = || parse_object(br#"{"set":7,"clear":null}"#).unwrap();
        assert_eq!(body().edit("set", Object::integer), Ok(Edit::Set(7)));
        assert_eq!(body().edit("clear", Object::integer), Ok(Edit::Clear));
        assert_eq!(body().edit("keep", Object::integer), Ok(Edit::Keep));
        assert_eq!(body().edit("set", Object::string).unwrap_err().field.as_deref(), Some("set"));
    }

    #[test]
    fn an_object_of_integers_is_taken_whole_or_refused() {
        let body = br#"{"o":{"a":1,"\u0062":-2},"empty":{},"null":null}"#;
        let body = || parse_object(body).unwrap();
        assert_eq!(body().integers("o"), Ok(Some(vec![("a".into(), 1), ("b".into(), -2)])));
        assert_eq!(body().integers("empty"), Ok(Some(vec![])));
        assert_eq!(body().integers("null"), Ok(None));
        for bad in ["[]", "1", r#"{"a":null}"#, r#"{"a":"1"}"#, r#"{"a":1,"b":1.0}"#, r#"{"a":9007199254740992}"#] {
            let text = format!(r#"{{"o":{bad}}}"#);
            let error = parse_object(text.as_bytes()).unwrap().integers("o").unwrap_err();
            assert_eq!(error.field.as_deref(), Some("o"), "{bad}");
        }
    }

    #[test]
    fn a_field_of_two_merged_objects_is_taken_from_either_but_never_from_both() {
        let merged = || {
            let mut object = parse_object(br#"{"a":1,"b":2,"c":null}"#).unwrap();
            object.absorb(parse_object(br#"{"b":2,"c":3}"#).unwrap());
            object
        };
        assert_eq!(merged().integer("a"), Ok(Some(1)));
        assert_eq!(merged().integer("c"), Ok(Some(3)));
        assert_eq!(merged().integer("b").unwrap_err().field.as_deref(), Some("b"));
    }

    #[test]
    fn json_text_is_judged_by_its_grammar_alone() {
        for good in ["1", " {} ", "1e400", r#""\ud800""#, r#"{"a":1,"a":2}"#, &nested(8_000)] {
            assert!(is_json_text(good), "{good}");
        }
        for bad in ["", " ", "{", "{} {}", "undefined", "'a'", "\u{feff}1", "\"\n\"", r#""\u12""#] {
            assert!(!is_json_text(bad), "{bad}");
        }
    }
}
