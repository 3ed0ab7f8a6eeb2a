//! Who decides what happens: a seed, a property test that shrinks, or a fuzzer's bytes.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

/// Yields every decision of a scenario.
pub trait Choices {
    /// A number below `bound`, which is at least 1.
    fn below(&mut self, bound: u64) -> u64;

    /// Whether nothing is left to decide with: from here on every number is 0.
    fn is_exhausted(&self) -> bool {
        false
    }

    /// True in so many of a hundred cases.
    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of `items`, which are not empty.
    fn pick<T: Copy>(&mut self, items: &[T]) -> T
    where
        Self: Sized,
    {
        items[self.below(items.len() as u64) as usize]
    }
}

/// Decides by a generator: long runs.
#[derive(Debug, Clone)]
pub struct Seeded(ChaCha8Rng);

impl Seeded {
    /// The decisions of `seed`; those of another `stream` are independent, so that drawing more from one shifts none.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        Self(random)
    }
}

impl Choices for Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is below one in a billion for every bound there is.
        self.0.next_u64() % bound
    }
}

/// Decides by a list of numbers: a property test drops and lowers them until a failure is small.
#[derive(Debug, Clone)]
pub struct Numbers {
    numbers: std::vec::IntoIter<u64>,
}

impl Numbers {
    /// The decisions that `numbers` stand for.
    #[must_use]
    pub fn new(numbers: Vec<u64>) -> Self {
        Self { numbers: numbers.into_iter() }
    }
}

impl Choices for Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.numbers.next().unwrap_or(0) % bound
    }

    fn is_exhausted(&self) -> bool {
        self.numbers.as_slice().is_empty()
    }
}

/// Decides by bytes: a fuzzer's. A decision among at most 256 takes one byte, a larger one more.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Choices for Bytes<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        let mut number = 0_u64;
        let mut reach = 1_u64;
        while reach < bound {
            let Some((first, rest)) = self.0.split_first() else {
                break;
            };
            number = number << 8 | u64::from(*first);
            reach = reach.saturating_mul(256);
            self.0 = rest;
        }
        number % bound
    }

    fn is_exhausted(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_same_again_and_its_streams_are_independent() {
        let draw = |seed, stream| -> Vec<u64> {
            let mut choices = Seeded::new(seed, stream);
            (0..8).map(|_| choices.below(1_000)).collect()
        };
        assert_eq!(draw(7, 0), draw(7, 0));
        assert_ne!(draw(7, 0), draw(7, 1));
        assert_ne!(draw(7, 0), draw(8, 0));
    }

    #[test]
    fn decisions_run_out_as_zeros() {
        let mut numbers = Numbers::new(vec![12, 7]);
        assert_eq!((numbers.below(10), numbers.below(10), numbers.below(10)), (2, 7, 0));
        assert!(numbers.is_exhausted());
        let mut bytes = Bytes(&[3, 1, 2]);
        assert_eq!((bytes.below(2), bytes.below(1), bytes.below(1_000), bytes.below(9)), (1, 0, 258, 0));
        assert!(bytes.is_exhausted());
    }
}
