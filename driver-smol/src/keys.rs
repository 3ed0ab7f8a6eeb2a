//! Secrets of the operator's, compared in constant time, and randomness for fresh ones.

use chatapi_core::api::ParseHost;
use chatapi_core::{AllowedOrigins, Entropy};
use subtle::ConstantTimeEq as _;

/// The operator's keys.
pub(crate) struct Keys {
    master: String,
    metrics: Option<String>,
}

impl Keys {
    pub(crate) const fn new(master: String, metrics: Option<String>) -> Self {
        Self { master, metrics }
    }
}

/// What a request's parser borrows.
pub(crate) struct Host<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) allowed_origins: &'a AllowedOrigins,
}

impl Entropy for Host<'_> {
    fn fill(&mut self, buffer: &mut [u8]) {
        fill_random(buffer);
    }
}

impl ParseHost for Host<'_> {
    fn is_master_key(&self, given: &[u8]) -> bool {
        self.keys.master.as_bytes().ct_eq(given).into()
    }

    fn is_metrics_token(&self, given: &[u8]) -> bool {
        self.keys.metrics.as_ref().is_some_and(|token| token.as_bytes().ct_eq(given).into())
    }

    fn allowed_origins(&self) -> &AllowedOrigins {
        self.allowed_origins
    }
}

/// Fills a buffer from the operating system. Without that there are no keys, and a server that draws guessable ones is
/// worse than none.
pub(crate) fn fill_random(buffer: &mut [u8]) {
    if let Err(error) = getrandom::fill(buffer) {
        tracing::error!(%error, "the operating system gives no randomness: the process ends");
        std::process::abort();
    }
}
