//! Secrets, and the digests that stand for them.

use std::fmt;

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a credential. The core and the database know credentials by this alone. Its serialized form is
/// hexadecimal text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(#[serde(with = "crate::hex")] pub [u8; 32]);

impl Digest {
    /// Digests `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// A digest of a high-entropy credential gives nothing away, but has no business in a log either.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// A plaintext that leaves the server in exactly one answer: an API key, a WebSocket token, a webhook secret.
/// `Debug` and the serialized form hold its digest, never the text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret {
    digest: Digest,
    #[serde(skip)]
    plaintext: String,
}

/// Where fresh secrets get their randomness: lent by the driver to the request parser, never held by the core.
pub trait Entropy {
    /// Fills `buffer` with random bytes fit for keys.
    fn fill(&mut self, buffer: &mut [u8]);
}

impl Secret {
    /// Wraps a plaintext that exists already.
    #[must_use]
    pub fn new(plaintext: String) -> Self {
        Self { digest: Digest::of(plaintext.as_bytes()), plaintext }
    }

    /// Draws an API key: `sk_` and 256 random bits.
    pub fn api_key(entropy: &mut dyn Entropy) -> Self {
        Self::draw::<32>("sk_", &URL_SAFE_NO_PAD, entropy)
    }

    /// Draws a WebSocket token: `wst_` and 128 random bits.
    pub fn token(entropy: &mut dyn Entropy) -> Self {
        Self::draw::<16>("wst_", &URL_SAFE_NO_PAD, entropy)
    }

    /// Draws a webhook secret: `whsec_` and the base64 of 256 random bits (Standard Webhooks).
    pub fn webhook(entropy: &mut dyn Entropy) -> Self {
        Self::draw::<32>("whsec_", &STANDARD, entropy)
    }

    fn draw<const BYTES: usize>(prefix: &str, engine: &impl base64::Engine, entropy: &mut dyn Entropy) -> Self {
        let mut bytes = [0; BYTES];
        entropy.fill(&mut bytes);
        Self::new(format!("{prefix}{}", engine.encode(bytes)))
    }

    /// The digest of the plaintext.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest, for a stand-in to be put in its place. The plaintext goes: it would not fit any more.
    pub(crate) fn digest_mut(&mut self) -> &mut Digest {
        self.plaintext = String::new();
        &mut self.digest
    }

    /// The plaintext, for the one answer or the one column it is meant for.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.plaintext
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&mut self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    #[test]
    fn a_secret_shows_its_plaintext_neither_in_debug_nor_serialized() {
        let key = Secret::api_key(&mut Sevens);
        assert!(key.reveal().starts_with("sk_") && key.reveal().len() == 3 + 43);
        let seen = format!("{key:?} {}", serde_json::to_string(&key).unwrap());
        assert!(!seen.contains(key.reveal()) && !seen.contains(&key.reveal()[3..]), "{seen}");
    }

    #[test]
    fn a_serialized_secret_keeps_its_digest() {
        let token = Secret::token(&mut Sevens);
        let read: Secret = serde_json::from_str(&serde_json::to_string(&token).unwrap()).unwrap();
        assert_eq!(read.digest(), token.digest());
        assert_eq!(read.reveal(), "");
    }
}
