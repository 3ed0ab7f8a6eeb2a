//! Bytes as hexadecimal text in serialized forms: `#[serde(with = "crate::hex")]`.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Two digits a byte, in lower case.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

pub(crate) fn serialize<S: Serializer, const BYTES: usize>(
    bytes: &[u8; BYTES],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>, const BYTES: usize>(
    deserializer: D,
) -> Result<[u8; BYTES], D::Error> {
    deserializer.deserialize_str(HexVisitor)
}

struct HexVisitor<const BYTES: usize>;

impl<const BYTES: usize> Visitor<'_> for HexVisitor<BYTES> {
    type Value = [u8; BYTES];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hexadecimal digits in lower case", BYTES * 2)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<[u8; BYTES], E> {
        let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
        let digit =
            |byte: u8| DIGITS.iter().position(|digit| *digit == byte).and_then(|value| u8::try_from(value).ok());
        if text.len() != BYTES * 2 {
            return Err(wrong());
        }
        let mut bytes = [0; BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0]).ok_or_else(wrong)? << 4 | digit(pair[1]).ok_or_else(wrong)?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, StrDeserializer};

    use super::*;

    fn read(text: &str) -> Result<[u8; 3], Error> {
        let deserializer: StrDeserializer<'_, Error> = text.into_deserializer();
        deserialize(deserializer)
    }

    #[test]
    fn text_holds_every_byte_and_nothing_else_is_read() {
        assert_eq!(encode(&[0, 0x9f, 0xff]), "009fff");
        assert_eq!(read("009fff").unwrap(), [0, 0x9f, 0xff]);
        for bad in ["", "009ff", "009fff0", "009FFF", "00 fff", "009f€"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
