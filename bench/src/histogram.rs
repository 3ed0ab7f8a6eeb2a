//! Latencies in logarithmic buckets: constant memory, less than 1 % error, nothing to sort at the end.

use std::time::Duration;

/// Each power of two is cut into this many buckets; the middle of one is then at most 0.4 % off.
const SUB_BUCKETS: u64 = 128;
const SUB_BITS: u32 = SUB_BUCKETS.trailing_zeros();

/// Counts of microseconds. Values below 256 µs are exact, the maximum always is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// Adds one latency.
    pub(crate) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(micros);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
        self.max = self.max.max(micros);
    }

    /// How many were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.total
    }

    /// The latency that `share` (0 to 1) of all did not exceed, in milliseconds; 0 when nothing was recorded.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle_of(bucket).min(self.max as f64) / 1000.0;
            }
        }
        0.0
    }

    /// The longest latency, in milliseconds.
    pub(crate) fn max_ms(&self) -> f64 {
        self.max as f64 / 1000.0
    }
}

fn bucket_of(micros: u64) -> usize {
    let magnitude = micros.checked_ilog2().unwrap_or(0);
    let shift = magnitude.saturating_sub(SUB_BITS);
    // Within a power of two the top bits number the bucket; each further power adds SUB_BUCKETS of them.
    (u64::from(shift) * SUB_BUCKETS + (micros >> shift)) as usize
}

fn middle_of(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    let shift = (bucket / SUB_BUCKETS).saturating_sub(1);
    let low = (bucket - shift * SUB_BUCKETS) << shift;
    low as f64 + ((1u64 << shift) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_zero() {
        let histogram = Histogram::default();
        assert_eq!((histogram.count(), histogram.quantile_ms(0.5), histogram.max_ms()), (0, 0.0, 0.0));
    }

    #[test]
    fn every_value_is_within_one_percent() {
        let mut last = 0;
        for exponent in 0..60 {
            for offset in [0, 1, 3, 77] {
                let micros = (1u64 << exponent) + (offset << exponent) / 128;
                let bucket = bucket_of(micros);
                assert!(bucket >= last || offset == 0, "buckets must ascend at {micros}");
                last = bucket;
                let error = (middle_of(bucket) - micros as f64).abs() / micros as f64;
                assert!(error < 0.01, "{micros} is off by {error}");
            }
        }
    }

    #[test]
    fn buckets_have_no_hole_and_no_overlap() {
        let mut expected = 0;
        for micros in 0..100_000 {
            let bucket = bucket_of(micros);
            assert!(bucket == expected || bucket == expected + 1, "{micros}");
            expected = bucket;
        }
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        for micros in 1..=100_000 {
            histogram.record(Duration::from_micros(micros));
        }
        assert!((histogram.quantile_ms(0.5) - 50.0).abs() < 0.5);
        assert!((histogram.quantile_ms(0.99) - 99.0).abs() < 1.0);
        assert_eq!(histogram.max_ms(), 100.0);
        assert_eq!(histogram.count(), 100_000);
    }
}
