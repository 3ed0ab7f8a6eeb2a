//! What a driver lends to the core's parsers, simulated.

use chatapi_core::Entropy;
use chatapi_core::api::ParseHost;

/// The master key of every simulated server.
pub const MASTER_KEY: &str = "the-master-key-of-this-world";

/// Stands for the operating system's randomness: never the same, always the same.
#[derive(Debug, Default)]
pub struct Counter(u64);

impl Entropy for Counter {
    fn fill(&mut self, buffer: &mut [u8]) {
        self.0 += 1;
        for (byte, value) in buffer.iter_mut().zip(self.0.to_be_bytes().into_iter().cycle()) {
            *byte = value;
        }
    }
}

impl ParseHost for Counter {
    fn is_master_key(&self, given: &[u8]) -> bool {
        given == MASTER_KEY.as_bytes()
    }

    fn is_metrics_token(&self, _given: &[u8]) -> bool {
        false
    }
}
