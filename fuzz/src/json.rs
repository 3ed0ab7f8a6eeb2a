//! JSON as serde_json reads it, with nothing lost: what the core's strict reader is compared with.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Deepest nesting that the protocol takes (section 1).
pub(crate) const MAX_LEVELS: usize = 64;
/// Integers lie within ± this.
pub(crate) const MAX_INTEGER: i64 = (1 << 53) - 1;

/// A value; of an object every entry, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    Leaf(Value),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Tree {
    /// Reads what the protocol calls JSON: one value without duplicate keys, at most 64 levels deep.
    pub(crate) fn strict(text: &[u8]) -> Option<Self> {
        let tree: Self = serde_json::from_slice(text).ok()?;
        (tree.levels() <= MAX_LEVELS && tree.has_unique_keys()).then_some(tree)
    }

    pub(crate) fn entries(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(entries) => Some(entries),
            Self::Leaf(_) | Self::Array(_) => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Leaf(Value::String(text)) => Some(text),
            Self::Leaf(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Leaf(value) => value.as_i64().filter(|number| (-MAX_INTEGER..=MAX_INTEGER).contains(number)),
            Self::Array(_) | Self::Object(_) => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        *self == Self::Leaf(Value::Null)
    }

    /// How many arrays and objects stand in one another.
    pub(crate) fn levels(&self) -> usize {
        match self {
            Self::Leaf(_) => 0,
            Self::Array(elements) => 1 + elements.iter().map(Self::levels).max().unwrap_or_default(),
            Self::Object(entries) => 1 + entries.iter().map(|(_, value)| value.levels()).max().unwrap_or_default(),
        }
    }

    fn has_unique_keys(&self) -> bool {
        match self {
            Self::Leaf(_) => true,
            Self::Array(elements) => elements.iter().all(Self::has_unique_keys),
            Self::Object(entries) => {
                let mut keys: Vec<_> = entries.iter().map(|(key, _)| key).collect();
                keys.sort_unstable();
                keys.windows(2).all(|pair| pair[0] != pair[1])
                    && entries.iter().all(|(_, value)| value.has_unique_keys())
            }
        }
    }

    /// The value as text, in the most roundabout spelling: every character escaped, white space everywhere.
    pub(crate) fn spelled_out(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &|text, out| {
            out.push('"');
            for unit in text.encode_utf16() {
                out.push_str(&format!("\\u{unit:04X}"));
            }
            out.push_str("\"\t\r\n ");
        });
        out
    }

    fn write(&self, out: &mut String, quote: &dyn Fn(&str, &mut String)) {
        match self {
            Self::Leaf(Value::String(text)) => quote(text, out),
            Self::Leaf(value) => out.push_str(&value.to_string()),
            Self::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    element.write(out, quote);
                }
                out.push(']');
            }
            Self::Object(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    quote(key, out);
                    out.push(':');
                    value.write(out, quote);
                }
                out.push('}');
            }
        }
    }
}

/// The value as text, as short as it can be.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out, &|text, out| out.push_str(&Value::from(text).to_string()));
        f.write_str(&out)
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(flag.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Tree, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = array.next_element()? {
            elements.push(element);
        }
        Ok(Tree::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = object.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_a_value_is_spelled_it_reads_the_same() {
        let text = r#"{"a":[1,-2.5,1e300,null,true],"é\n😀":{"":"\u0000\""},"a2":18446744073709551615}"#;
        let tree = Tree::strict(text.as_bytes()).unwrap();
        assert_eq!(Tree::strict(tree.to_string().as_bytes()), Some(tree.clone()));
        assert_eq!(Tree::strict(tree.spelled_out().as_bytes()), Some(tree));
    }

    #[test]
    fn duplicates_and_depth_are_seen_at_every_level() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Tree::strict(deep(64).as_bytes()).is_some());
        for refused in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":1}}]"#, &deep(65), &deep(200), r#""\ud800""#] {
            assert_eq!(Tree::strict(refused.as_bytes()), None, "{refused}");
        }
    }
}
