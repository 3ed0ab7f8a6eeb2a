//! Stand-ins for what must not be recorded.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::confidential::Confidential;
use super::{EffectsDigest, append};
use crate::effect::Effect;
use crate::input::Input;

/// Puts stand-ins in the place of credentials and of the addresses of webhooks, so that a recording holds no secret and
/// nothing from which one could be guessed.
///
/// A credential is known to the core as its SHA-256, and somebody who guesses a weak one could tell by that whether the
/// guess is right. A stand-in is an HMAC under a key that is drawn for one recording and never written. The same
/// credential has the same stand-in wherever it turns up, and the core does nothing with credentials but compare them
/// and pass them on: so the redacted inputs cause exactly the redacted effects.
///
/// The digests by which repeated messages are told ([`crate::store::Idempotency::body`]) stay: replay computes them
/// anew, from a text that stands in the recording anyway.
#[derive(Clone)]
pub struct Redactor {
    keyed: Hmac<Sha256>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor(…)")
    }
}

/// An input as its line has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedInput(Vec<u8>);

/// The effects of an input, as its line tells of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEffects(EffectsDigest);

impl RecordedInput {
    /// Its JSON text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The length of that.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.0.len()
    }
}

impl RecordedEffects {
    /// Their digest.
    #[must_use]
    pub const fn digest(&self) -> EffectsDigest {
        self.0
    }
}

impl Redactor {
    /// One for a recording. `key` must be random, drawn for this recording alone, and be kept nowhere.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        // HMAC pads a key that is shorter than a block with zeros.
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        Self { keyed: Hmac::new(&block.into()) }
    }

    /// What is written of an input.
    #[must_use]
    pub fn input(&self, input: &Input) -> RecordedInput {
        let mut text = Vec::with_capacity(512);
        if input.holds_confidential() {
            let mut input = input.clone();
            input.for_each_confidential(&mut |found| self.replace(found));
            append(&mut text, &input);
        } else {
            append(&mut text, input);
        }
        RecordedInput(text)
    }

    /// What is written of effects. They are redacted on the way.
    pub fn effects(&self, effects: &mut [Effect]) -> RecordedEffects {
        for effect in &mut *effects {
            effect.for_each_confidential(&mut |found| self.replace(found));
        }
        RecordedEffects(EffectsDigest::of(effects))
    }

    fn replace(&self, found: Confidential<'_>) {
        match found {
            Confidential::Credential(digest) => digest.0 = self.stand_in(b"credential", &digest.0),
            Confidential::Address(url) => *url = self.stand_in_url(url),
        }
    }

    fn stand_in(&self, kind: &[u8], value: &[u8]) -> [u8; 32] {
        let mut keyed = self.keyed.clone();
        keyed.update(kind);
        keyed.update(value);
        keyed.finalize().into_bytes().into()
    }

    /// Addresses of webhooks often hold what lets anyone call them, in the path, the query or the host. Whether two have
    /// the same host can still be seen.
    pub(super) fn stand_in_url(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let short = |kind, text: &str| crate::hex::encode(&self.stand_in(kind, text.as_bytes())[..8]);
        format!("{scheme}://{}.invalid/{}", short(b"host", host), short(b"path", path))
    }
}
