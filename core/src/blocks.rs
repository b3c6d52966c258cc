//! Blocks: a list whose growth moves nothing, and that has little more room than it needs.
//!
//! A `Vec` that grows takes twice its room, moves all that it holds at once, and leaves a hole that no larger one fits: in a
//! WebAssembly module, which never gives memory back, that is up to three bytes for each one used. Here growth adds a block.
//!
//! Must not know what it holds.
//!
//! Invariants: every block but the last holds [`BLOCK`] values; no block is empty.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// Values a block, a power of two. The first block grows up to this by itself, so that a short list stays small.
pub(crate) const BLOCK: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Blocks<T>(Vec<Vec<T>>);

impl<T> Blocks<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * BLOCK + last.len())
    }

    pub(crate) fn push(&mut self, value: T) {
        match self.0.last_mut() {
            Some(last) if last.len() < BLOCK => last.push(value),
            last => {
                let mut block = Vec::with_capacity(if last.is_some() { BLOCK } else { 1 });
                block.push(value);
                self.0.push(block);
            }
        }
    }

    /// As indexing, in the midst of its caller: for what every hit does. By slices, as a `Vec` is indexed by a call where code is to
    /// be small.
    #[inline(always)]
    pub(crate) fn at(&self, at: usize) -> &T {
        let blocks: &[Vec<T>] = &self.0;
        let block: &[T] = &blocks[at / BLOCK];
        &block[at % BLOCK]
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.0.get(at / BLOCK)?.get(at % BLOCK)
    }

    /// Drops what is behind the first `len`. Gives blocks back, never a part of one.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len.div_ceil(BLOCK));
        if let Some(last) = self.0.get_mut(len / BLOCK) {
            last.truncate(len % BLOCK);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }
}

impl<T> Index<usize> for Blocks<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        self.at(at)
    }
}

impl<T> IndexMut<usize> for Blocks<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.0[at / BLOCK][at % BLOCK]
    }
}

impl<T> FromIterator<T> for Blocks<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut blocks = Self::new();
        values.into_iter().for_each(|value| blocks.push(value));
        blocks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_holds_what_a_vec_holds(
            steps in proptest::collection::vec((0..1_500_usize, any::<prop::sample::Index>(), any::<u32>()), 0..6),
            kept in any::<prop::sample::Index>(),
        ) {
            let (mut blocks, mut list) = (Blocks::new(), Vec::new());
            for (pushed, at, value) in steps {
                let kept = kept.index(list.len() + 1);
                blocks.truncate(kept);
                list.truncate(kept);
                for n in 0..pushed {
                    blocks.push(value.wrapping_add(n as u32));
                    list.push(value.wrapping_add(n as u32));
                }
                if !list.is_empty() {
                    let at = at.index(list.len());
                    blocks[at] ^= value;
                    list[at] ^= value;
                }
                prop_assert_eq!(blocks.len(), list.len());
                prop_assert!(blocks.iter().eq(&list));
                prop_assert!((0..list.len()).all(|at| blocks[at] == list[at]));
                prop_assert_eq!((blocks.get(list.len()), blocks.0.len()), (None, list.len().div_ceil(BLOCK)));
            }
        }
    }

    #[test]
    fn growth_moves_nothing_once_the_first_block_is_full_and_room_is_never_more_than_a_block_too_much() {
        let mut blocks: Blocks<u64> = (0..BLOCK as u64).collect();
        let places: Vec<_> = blocks.iter().map(std::ptr::from_ref).collect();
        for n in BLOCK..=10 * BLOCK {
            blocks.push(n as u64);
            let room: usize = blocks.0.iter().map(Vec::capacity).sum();
            assert!(room - blocks.len() < BLOCK, "{room} for {}", blocks.len());
        }
        assert!(blocks.iter().map(std::ptr::from_ref).zip(places).all(|(now, before)| now == before));
    }

    #[test]
    fn a_short_list_has_at_most_twice_the_room_it_needs() {
        let mut blocks = Blocks::new();
        for n in 1..BLOCK {
            blocks.push(n);
            assert!(blocks.0[0].capacity() <= (2 * n).max(4), "{} for {n}", blocks.0[0].capacity());
        }
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn what_was_not_pushed_is_not_there() {
        let blocks: Blocks<usize> = (0..=BLOCK).collect();
        let _ = blocks[BLOCK + 1];
    }
}
