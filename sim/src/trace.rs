//! The digest of everything that went into the core and came out, so that two runs can be compared to the byte.

use chatapi_core::{Effect, Input, Now};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// A trace under way.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: Sha256,
    buffer: Vec<u8>,
}

impl Trace {
    pub(crate) fn input(&mut self, now: Now, input: &Input) {
        self.add(&(now, input));
    }

    pub(crate) fn effects(&mut self, effects: &[Effect]) {
        self.add(&effects);
    }

    /// In hexadecimal.
    pub(crate) fn digest(self) -> String {
        self.hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    fn add(&mut self, value: &impl Serialize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        match postcard::to_extend(value, buffer) {
            Ok(written) => {
                self.hasher.update(&written);
                self.buffer = written;
            }
            Err(error) => panic!("inputs and effects are plain data: {error}"),
        }
    }
}
