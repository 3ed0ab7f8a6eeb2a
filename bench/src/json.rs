//! Reading a few fields of a JSON text in one pass, without building anything.
//!
//! The hot loops need a `type`, a `seq` and a `request_id` of each frame; a real parser would cost the client as much
//! as the server spends on the message. The texts come from the server under test, so what is malformed simply ends
//! the iteration and then misses a field.

/// The members of a JSON object, as (raw key without quotes, raw value).
pub(crate) fn fields(object: &[u8]) -> Fields<'_> {
    Fields { rest: trim(object).strip_prefix(b"{").unwrap_or_default() }
}

/// The raw value of one member.
pub(crate) fn field<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    fields(object).find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
}

/// The raw elements of a JSON array.
pub(crate) fn elements(array: &[u8]) -> Elements<'_> {
    Elements { rest: trim(array).strip_prefix(b"[").unwrap_or_default() }
}

/// What stands between the quotes of a raw string, escapes left as they are.
pub(crate) fn string(raw: &[u8]) -> Option<&[u8]> {
    raw.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// A raw value that is a non-negative integer.
pub(crate) fn number(raw: &[u8]) -> Option<u64> {
    if raw.is_empty() {
        return None;
    }
    raw.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// See [`fields`].
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = trim(self.rest);
        let (key, rest) = rest.split_at_checked(string_length(rest)?)?;
        let rest = trim(trim(rest).strip_prefix(b":")?);
        let (value, rest) = rest.split_at_checked(value_length(rest)?)?;
        self.rest = after_comma(rest);
        Some((string(key)?, value))
    }
}

/// See [`elements`].
#[derive(Debug, Clone)]
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let rest = trim(self.rest);
        let (value, rest) = rest.split_at_checked(value_length(rest)?)?;
        self.rest = after_comma(rest);
        Some(value)
    }
}

fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii_start()
}

/// What follows the comma; nothing when there is none, which ends the iteration.
fn after_comma(bytes: &[u8]) -> &[u8] {
    trim(bytes).strip_prefix(b",").unwrap_or_default()
}

/// The length of the string at the start, with both quotes.
fn string_length(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The length of the value at the start.
fn value_length(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    loop {
        match bytes.get(at) {
            Some(b'"') => at += string_length(&bytes[at..])?,
            Some(b'{' | b'[') => {
                depth += 1;
                at += 1;
                continue;
            }
            Some(b'}' | b']') if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            Some(b',' | b':' | b' ' | b'\t' | b'\r' | b'\n') if depth > 0 => {
                at += 1;
                continue;
            }
            Some(_) => {
                let scalar = bytes[at..].iter().take_while(|byte| is_scalar(**byte)).count();
                if scalar == 0 {
                    return None;
                }
                at += scalar;
            }
            None => return None,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_top_level_fields_only() {
        let text =
            br#" {"content":"\"seq\":9, {[\\", "inner":{"seq":7,"a":[1,{"seq":8}]},"seq": 42 ,"none":null,"e":[]}"#;
        assert_eq!(field(text, "seq").and_then(number), Some(42));
        assert_eq!(field(text, "none"), Some(&b"null"[..]));
        assert_eq!(field(text, "e"), Some(&b"[]"[..]));
        assert_eq!(field(text, "content").and_then(string), Some(&br#"\"seq\":9, {[\\"#[..]));
        assert_eq!(field(text, "absent"), None);
        assert_eq!(fields(text).count(), 5);
    }

    #[test]
    fn elements_of_an_array() {
        let text = br#"[{"seq":1},{"seq":2} , {"seq":3}]"#;
        let seqs: Vec<_> = elements(text).filter_map(|one| field(one, "seq").and_then(number)).collect();
        assert_eq!(seqs, [1, 2, 3]);
        assert_eq!(elements(b"[]").count(), 0);
    }

    #[test]
    fn malformed_text_ends_the_iteration() {
        for text in [
            &b""[..],
            b"{",
            b"[",
            b"{\"a\"",
            b"{\"a\":",
            b"{\"a\":[1",
            b"{\"a\":\"x",
            b"{\"a\":\"x\\",
            b"{\"a\":}",
            b"x",
        ] {
            assert_eq!(fields(text).count(), 0, "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(number(b""), None);
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b"99999999999999999999"), None);
    }
}
