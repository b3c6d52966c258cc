//! Chance: random numbers for jitter, early refresh and hashing, all grown from a seed that the host gives.
//!
//! Must not find entropy by itself: a test gives a fixed seed and sees the same run twice.

use core::hash::{BuildHasher as _, Hasher as _};
use core::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;

/// What a host draws once from its operating system, 128 bits, so that nobody outside can foresee a hash.
#[derive(Clone, Copy)]
pub struct Seed(pub u128);

/// A stream of random numbers shared by all threads of a cache: `SplitMix64` (Steele, Lea, Flood, OOPSLA '14).
#[derive(Debug)]
pub(crate) struct Chance(AtomicU64);

impl Chance {
    pub(crate) fn new(seed: Seed) -> Self {
        Self(AtomicU64::new((seed.0 >> 64) as u64 ^ seed.0 as u64))
    }

    /// The next number, any of 64 bits.
    pub(crate) fn bits(&self) -> u64 {
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// What hashes keys so that nobody outside can choose some that collide.
    pub(crate) fn hasher(&self, seed: Seed) -> Hasher {
        let (high, low) = ((seed.0 >> 64) as u64, seed.0 as u64);
        Hasher(RandomState::with_seeds(high ^ self.bits(), low ^ self.bits(), self.bits(), self.bits()))
    }

    /// A share of one, never zero: in `(0, 1]`.
    pub(crate) fn share(&self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// Hashes texts.
#[derive(Clone, Debug)]
pub(crate) struct Hasher(RandomState);

impl Hasher {
    // Where it has no instructions of the processor to do it with it is long, so that a WebAssembly module has it once.
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    #[cfg_attr(target_family = "wasm", inline(never))]
    pub(crate) fn hash(&self, text: &str) -> u64 {
        // A text alone needs no mark of where it ends.
        let mut hasher = self.0.build_hasher();
        hasher.write(text.as_bytes());
        hasher.finish()
    }
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_stream_and_shares_are_never_zero() {
        let (one, two) = (Chance::new(Seed(7)), Chance::new(Seed(7)));
        let drawn: Vec<f64> = (0..1_000).map(|_| one.share()).collect();
        assert!(drawn.iter().all(|share| *share > 0.0 && *share <= 1.0));
        assert_eq!(drawn, (0..1_000).map(|_| two.share()).collect::<Vec<_>>());
        let mean = drawn.iter().sum::<f64>() / 1_000.0;
        assert!((0.45..0.55).contains(&mean), "a mean of {mean} is no even spread");
    }
}
