//! The digest of everything that went into the core and came out, so that two runs can be compared to the byte.

use std::io;

use chatapi_core::{Effect, Input, Now};
use sha2::{Digest as _, Sha256};

/// A trace under way.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: Sha256,
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

    fn add(&mut self, value: &impl serde::Serialize) {
        let written = serde_json::to_writer(Into(&mut self.hasher), value);
        assert!(written.is_ok(), "inputs and effects are plain data: {written:?}");
    }
}

struct Into<'a>(&'a mut Sha256);

impl io::Write for Into<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
