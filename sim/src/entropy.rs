//! What a driver lends to the core's parsers, simulated.

use chatapi_core::api::ParseHost;
use chatapi_core::{AllowedOrigins, Entropy};

/// The master key of every simulated server.
pub const MASTER_KEY: &str = "the-master-key-of-this-world";

/// Stands for the operating system's randomness: never the same, always the same.
#[derive(Debug)]
pub struct Counter {
    drawn: u64,
    allowed_origins: AllowedOrigins,
}

impl Counter {
    /// One that has drawn nothing, for a server that allows these origins.
    #[must_use]
    pub const fn new(allowed_origins: AllowedOrigins) -> Self {
        Self { drawn: 0, allowed_origins }
    }
}

impl Entropy for Counter {
    fn fill(&mut self, buffer: &mut [u8]) {
        self.drawn += 1;
        for (byte, value) in buffer.iter_mut().zip(self.drawn.to_be_bytes().into_iter().cycle()) {
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

    fn allowed_origins(&self) -> &AllowedOrigins {
        &self.allowed_origins
    }
}
