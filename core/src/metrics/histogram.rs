//! Latencies by bucket.

use serde::{Deserialize, Serialize};

use crate::time::Micros;

const BOUNDS_COUNT: usize = 14;

/// How many latencies were how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Histogram {
    /// One for each of [`Histogram::BOUNDS`], each without those before it; then what is longer than all.
    counts: [u64; BOUNDS_COUNT + 1],
    sum: Micros,
}

impl Histogram {
    /// The longest latency of each bucket, and how it is written in seconds: from 0.5 ms to 10 s.
    pub const BOUNDS: [(Micros, &'static str); BOUNDS_COUNT] = [
        (Micros(500), "0.0005"),
        (Micros(1_000), "0.001"),
        (Micros(2_500), "0.0025"),
        (Micros(5_000), "0.005"),
        (Micros(10_000), "0.01"),
        (Micros(25_000), "0.025"),
        (Micros(50_000), "0.05"),
        (Micros(100_000), "0.1"),
        (Micros(250_000), "0.25"),
        (Micros(500_000), "0.5"),
        (Micros(1_000_000), "1.0"),
        (Micros(2_500_000), "2.5"),
        (Micros(5_000_000), "5.0"),
        (Micros(10_000_000), "10.0"),
    ];

    /// Adds a latency.
    pub fn observe(&mut self, latency: Micros) {
        let bucket = Self::BOUNDS.partition_point(|(bound, _)| *bound < latency);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum = Micros(self.sum.0.saturating_add(latency.0));
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub const fn sum(&self) -> Micros {
        self.sum
    }

    /// For each bound, in seconds, how many were not longer; at last `+Inf` with all.
    pub fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = Self::BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        bounds.zip(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_counts_up_to_its_bound_and_in_every_bucket_above() {
        for (latency, first) in [
            (0, "0.0005"),
            (500, "0.0005"),
            (501, "0.001"),
            (1_000, "0.001"),
            (10_000_000, "10.0"),
            (10_000_001, "+Inf"),
            (u64::MAX, "+Inf"),
        ] {
            let mut histogram = Histogram::default();
            histogram.observe(Micros(latency));
            assert_eq!(histogram.cumulative().find(|(_, count)| *count > 0), Some((first, 1)), "{latency}");
            assert_eq!(histogram.cumulative().last(), Some(("+Inf", 1)));
            assert_eq!((histogram.count(), histogram.sum()), (1, Micros(latency)));
        }
    }

    #[test]
    fn bounds_ascend_and_are_written_as_what_they_are() {
        assert!(Histogram::BOUNDS.is_sorted_by(|(one, _), (next, _)| one < next));
        for (Micros(micros), text) in Histogram::BOUNDS {
            assert_eq!(text.parse::<f64>().unwrap() * 1e6, micros as f64);
        }
    }

    #[test]
    fn a_sum_that_is_too_large_stays_the_largest() {
        let mut histogram = Histogram::default();
        histogram.observe(Micros(u64::MAX));
        histogram.observe(Micros(1));
        assert_eq!((histogram.count(), histogram.sum()), (2, Micros(u64::MAX)));
    }
}
