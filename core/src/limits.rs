//! Token buckets (protocol, section 2).

use serde::{Deserialize, Serialize};

use crate::time::MonoMicros;

/// A bucket that gains `rate` tokens a second and holds one second's worth.
///
/// It counts in millionths of a token, so that microseconds times tokens a second need no division and no float.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenBucket {
    rate: u32,
    millionths: u64,
    updated: MonoMicros,
}

/// What a caller is told about the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimitStatus {
    /// Tokens a second, which is also the burst.
    pub limit: u32,
    /// Whole tokens left.
    pub remaining: u32,
    /// Seconds until the bucket is full.
    pub reset_secs: u64,
}

const TOKEN: u64 = 1_000_000;

impl TokenBucket {
    /// A full bucket.
    pub(crate) const fn full(rate: u32, now: MonoMicros) -> Self {
        Self { rate, millionths: rate as u64 * TOKEN, updated: now }
    }

    /// Gains so many tokens a second from now on. A bucket that was full is full.
    pub(crate) fn set_rate(&mut self, rate: u32, now: MonoMicros) {
        self.refill(now);
        let missing = self.capacity() - self.millionths;
        self.rate = rate;
        self.millionths = self.capacity().saturating_sub(missing);
    }

    /// Takes a token; else says after how many milliseconds there is one.
    pub(crate) fn take(&mut self, now: MonoMicros) -> Result<(), u64> {
        self.refill(now);
        if self.millionths >= TOKEN {
            self.millionths -= TOKEN;
            return Ok(());
        }
        let wait_micros = (TOKEN - self.millionths).div_ceil(u64::from(self.rate));
        Err(wait_micros.div_ceil(1_000).max(1))
    }

    pub(crate) fn status(&mut self, now: MonoMicros) -> RateLimitStatus {
        self.refill(now);
        let missing = self.capacity() - self.millionths;
        RateLimitStatus {
            limit: self.rate,
            remaining: u32::try_from(self.millionths / TOKEN).unwrap_or(u32::MAX),
            reset_secs: missing.div_ceil(u64::from(self.rate) * TOKEN),
        }
    }

    fn refill(&mut self, now: MonoMicros) {
        let gained = u128::from((now - self.updated).0) * u128::from(self.rate);
        let level = u128::from(self.millionths).saturating_add(gained);
        self.millionths = u64::try_from(level).unwrap_or(u64::MAX).min(self.capacity());
        self.updated = self.updated.max(now);
    }

    const fn capacity(&self) -> u64 {
        self.rate as u64 * TOKEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Micros;

    const START: MonoMicros = MonoMicros(5_000_000);

    #[test]
    fn a_bucket_gives_a_second_s_worth_at_once_and_then_its_rate() {
        let mut bucket = TokenBucket::full(10, START);
        assert!((0..10).all(|_| bucket.take(START).is_ok()));
        assert_eq!(bucket.take(START), Err(100));
        assert_eq!(bucket.take(START + Micros::from_millis(99)), Err(1));
        assert_eq!(bucket.take(START + Micros::from_millis(100)), Ok(()));
        assert_eq!(bucket.take(START + Micros::from_millis(100)), Err(100));
    }

    #[test]
    fn the_wait_that_is_told_is_long_enough_and_no_longer_than_a_millisecond_too_long() {
        for rate in [1, 3, 7, 100, 999, 1_000_000] {
            let mut bucket = TokenBucket::full(rate, START);
            while bucket.take(START).is_ok() {}
            let wait = bucket.take(START).unwrap_err();
            assert_eq!(bucket.take(START + Micros::from_millis(wait)), Ok(()), "rate {rate}");
            assert!(wait <= 1_000_u64.div_ceil(u64::from(rate)), "rate {rate}");
        }
    }

    #[test]
    fn the_status_tells_what_is_left_and_when_the_bucket_is_full() {
        let mut bucket = TokenBucket::full(4, START);
        let full = RateLimitStatus { limit: 4, remaining: 4, reset_secs: 0 };
        assert_eq!(bucket.status(START), full);
        bucket.take(START).unwrap();
        assert_eq!(bucket.status(START), RateLimitStatus { limit: 4, remaining: 3, reset_secs: 1 });
        assert_eq!(bucket.status(START + Micros::from_secs(3600)), full);
    }

    #[test]
    fn a_bucket_of_the_highest_rate_does_not_overflow() {
        let mut bucket = TokenBucket::full(1_000_000_000, MonoMicros(0));
        assert_eq!(bucket.take(MonoMicros(u64::MAX)), Ok(()));
        assert_eq!(bucket.status(MonoMicros(u64::MAX)).remaining, 999_999_999);
    }
}
