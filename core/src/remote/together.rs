//! Together: how many of those who read at once are asked for by one command.
//!
//! One answer to all is whole only with the last of them, so large values are better asked for one by one. What was large of late may come
//! again: it is forgotten by a tenth with each answer.

use core::sync::atomic::{AtomicUsize, Ordering};

/// Knows how large values are that are read from one place. Threads that note that at once may lose a note, which costs nothing but time.
#[derive(Debug)]
pub struct Together {
    /// The largest value of late; [`UNKNOWN`] at first.
    largest: AtomicUsize,
}

impl Default for Together {
    fn default() -> Self {
        Self { largest: AtomicUsize::new(UNKNOWN) }
    }
}

impl Together {
    /// As many may be asked for by one command: 1 to 128. One as long as nothing is known.
    pub fn most(&self) -> usize {
        (BYTES / self.largest.load(Ordering::Relaxed).max(1)).clamp(1, MOST)
    }

    /// Notes the sizes, in bytes, of the values that one answer held.
    pub fn saw(&self, sizes: impl Iterator<Item = usize>) {
        let before = match self.largest.load(Ordering::Relaxed) {
            UNKNOWN => 0,
            before => before - before.div_ceil(10),
        };
        self.largest.store(sizes.max().unwrap_or(0).max(before), Ordering::Relaxed);
    }

    /// Notes that there was no answer: it may have been too large for one.
    pub fn failed(&self) {
        self.largest.store(UNKNOWN, Ordering::Relaxed);
    }
}

/// As many names stand in one command, as long as the answer is not likely to have more bytes than this.
const MOST: usize = 128;
const BYTES: usize = 64 << 10;

/// Larger than anything.
const UNKNOWN: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(sizes: &[usize]) -> usize {
        let together = Together::default();
        for &size in sizes {
            together.saw([size].into_iter());
        }
        together.most()
    }

    #[test]
    fn many_small_values_are_asked_for_together_and_large_ones_alone() {
        assert_eq!(after(&[]), 1, "nothing is known at first");
        assert_eq!([after(&[0]), after(&[512]), after(&[513])], [128, 128, 127]);
        assert_eq!([after(&[1 << 15]), after(&[(1 << 15) + 1]), after(&[usize::MAX - 1])], [2, 1, 1]);
    }

    #[test]
    fn of_one_answer_the_largest_counts_and_what_was_large_is_forgotten_by_and_by() {
        let together = Together::default();
        together.saw([10, 4_096, 20].into_iter());
        assert_eq!(together.most(), 16);
        together.saw([].into_iter());
        assert_eq!(together.most(), 17, "by a tenth");
        (0..100).for_each(|_| together.saw([1].into_iter()));
        assert_eq!(together.most(), 128);
    }

    #[test]
    fn after_a_failure_nothing_is_known() {
        let together = Together::default();
        together.saw([1].into_iter());
        together.failed();
        assert_eq!(together.most(), 1);
    }
}
