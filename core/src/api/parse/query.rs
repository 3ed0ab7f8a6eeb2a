//! The query of a request.

use std::borrow::Cow;

use crate::api::error::ApiError;
use crate::id::Seq;
use crate::json::MAX_INTEGER;
use crate::store::HistoryRange;

/// A query string, without its `?`. Parameters that nobody asks for are ignored, well formed or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a>(pub(super) &'a str);

impl<'a> Query<'a> {
    /// The decoded value of a parameter, which may stand only once.
    pub(super) fn get(self, name: &'static str) -> Result<Option<Cow<'a, str>>, ApiError> {
        let mut found = None;
        for pair in self.0.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if percent_decode(key, true).is_some_and(|key| key == name) && found.replace(value).is_some() {
                return Err(invalid(name, "stands twice in the query: give it once"));
            }
        }
        found
            .map(|raw| percent_decode(raw, true).ok_or_else(|| invalid(name, "must be percent-encoded UTF-8")))
            .transpose()
    }

    /// `limit`: from 1 up, clamped to `max`.
    pub(super) fn limit(self, default: u32, max: u32) -> Result<u32, ApiError> {
        let Some(text) = self.get("limit")? else {
            return Ok(default);
        };
        natural(&text)
            .filter(|limit| *limit > 0)
            .map(|limit| u32::try_from(limit).map_or(max, |limit| limit.min(max)))
            .ok_or_else(|| invalid("limit", "must be a whole number from 1 up"))
    }

    /// `after_seq` and `before_seq`, of which one may stand there.
    pub(super) fn range(self) -> Result<HistoryRange, ApiError> {
        match (self.get("after_seq")?, self.get("before_seq")?) {
            (Some(_), Some(_)) => Err(invalid("before_seq", "cannot stand beside after_seq: give one of them")),
            (None, Some(text)) => natural(&text)
                .map(|seq| HistoryRange::Before(Seq(seq.min(i64::MAX.unsigned_abs()))))
                .ok_or_else(|| invalid("before_seq", "must be a whole number from 0 up")),
            (Some(text), None) => natural(&text)
                .filter(|seq| *seq <= MAX_INTEGER.unsigned_abs())
                .map(|seq| HistoryRange::After(Seq(seq)))
                .ok_or_else(|| invalid("after_seq", "must be a whole number from 0 to 2^53 − 1")),
            (None, None) => Ok(HistoryRange::After(Seq(0))),
        }
    }
}

/// 400 that blames a parameter: "`name` `complaint`".
pub(super) fn invalid(name: &'static str, complaint: &str) -> ApiError {
    ApiError::invalid(name, format!("{name} {complaint}"))
}

/// Decodes `%XX`, and `+` as a space where `plus_is_space`; `None` where an escape is broken or UTF-8 does not result.
pub(super) fn percent_decode(raw: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    if !raw.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Some(Cow::Borrowed(raw));
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// A number of digits alone, at most [`u64::MAX`].
pub(super) fn natural(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_decoded_and_others_are_ignored() {
        for (query, value) in [
            ("", None),
            ("x=1&&=&%zz=2", None),
            ("after=a%20b+c%2B", Some("a b c+")),
            ("%61fter=x", Some("x")),
            ("after", Some("")),
            ("x=1&after=a=b", Some("a=b")),
            ("After=x", None),
            ("x=1&x=2&after=y", Some("y")),
        ] {
            assert_eq!(Query(query).get("after"), Ok(value.map(Cow::from)), "{query}");
        }
    }

    #[test]
    fn a_parameter_that_stands_twice_or_does_not_decode_is_refused() {
        for query in
            ["after=1&after=1", "after=1&%61fter=2", "after=%", "after=%f", "after=%gg", "after=%ff", "after=%+1"]
        {
            let error = Query(query).get("after").unwrap_err();
            assert_eq!(error.field.as_deref(), Some("after"), "{query}");
        }
    }

    #[test]
    fn a_limit_is_clamped_to_its_maximum_and_must_be_a_number_from_1_up() {
        for (query, limit) in [
            ("", Some(50)),
            ("limit=1", Some(1)),
            ("limit=007", Some(7)),
            ("limit=100", Some(100)),
            ("limit=101", Some(100)),
            ("limit=4294967296", Some(100)),
            ("limit=99999999999999999999", Some(100)),
            ("limit=0", None),
            ("limit=-1", None),
            ("limit=%2B1", None),
            ("limit=1.0", None),
            ("limit=1e2", None),
            ("limit=", None),
            ("limit", None),
            ("limit=ten", None),
            ("limit=1+", None),
            ("limit=1&limit=1", None),
        ] {
            match (Query(query).limit(50, 100), limit) {
                (Ok(given), expected) => assert_eq!(Some(given), expected, "{query}"),
                (Err(error), expected) => {
                    assert_eq!((error.field.as_deref(), expected), (Some("limit"), None), "{query}");
                }
            }
        }
    }

    #[test]
    fn a_range_has_one_end_and_a_huge_before_seq_is_the_newest() {
        for (query, range) in [
            ("", Ok(HistoryRange::After(Seq(0)))),
            ("after_seq=0", Ok(HistoryRange::After(Seq(0)))),
            ("after_seq=9007199254740991", Ok(HistoryRange::After(Seq(9_007_199_254_740_991)))),
            ("before_seq=7", Ok(HistoryRange::Before(Seq(7)))),
            ("before_seq=9223372036854775808", Ok(HistoryRange::Before(Seq(i64::MAX as u64)))),
            ("before_seq=99999999999999999999", Ok(HistoryRange::Before(Seq(i64::MAX as u64)))),
            ("after_seq=9007199254740992", Err("after_seq")),
            ("after_seq=99999999999999999999", Err("after_seq")),
            ("after_seq=-1", Err("after_seq")),
            ("after_seq=", Err("after_seq")),
            ("before_seq=-1", Err("before_seq")),
            ("before_seq=x", Err("before_seq")),
            ("after_seq=1&before_seq=3", Err("before_seq")),
            ("after_seq=1&after_seq=1", Err("after_seq")),
        ] {
            let given = Query(query).range();
            let given = given.as_ref().map_err(|error| error.field.as_deref().unwrap());
            assert_eq!(given, range.as_ref().map_err(|field| *field), "{query}");
        }
    }
}
