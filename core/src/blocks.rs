//! Blocks: a list whose growth moves nothing, and that has little more room than it needs.
//!
//! A `Vec` that grows takes twice its room, moves all that it holds at once, and leaves a hole that no larger one fits: in a
//! WebAssembly module, which never gives memory back, that is up to three bytes for each one used. Here growth adds a block, whole: so
//! where a value is in its block needs no look at how many there are.
//!
//! Must not know what it holds.
//!
//! Invariants: there are as many blocks as what is held fills, the last one perhaps in part; what no value was pushed to is by default.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// Values a block, a power of two.
pub(crate) const BLOCK: usize = 128;

#[derive(Debug)]
pub(crate) struct Blocks<T> {
    blocks: Vec<Box<[T; BLOCK]>>,
    len: usize,
}

impl<T> Blocks<T> {
    pub(crate) const fn new() -> Self {
        Self { blocks: Vec::new(), len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// As indexing, in the midst of its caller: for what every hit does. By slices, as a `Vec` is indexed by a call where code is to
    /// be small.
    #[inline(always)]
    pub(crate) fn at(&self, at: usize) -> &T {
        let blocks: &[Box<[T; BLOCK]>] = &self.blocks;
        &blocks[at / BLOCK][at % BLOCK]
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        (at < self.len).then(|| self.at(at))
    }

    /// Drops the blocks behind the first `len` values, which fill theirs.
    pub(crate) fn truncate(&mut self, len: usize) {
        debug_assert!(len <= self.len && len.is_multiple_of(BLOCK), "blocks go as a whole");
        self.blocks.truncate(len / BLOCK);
        self.len = len;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flat_map(|block| block.iter()).take(self.len)
    }
}

impl<T: Default> Blocks<T> {
    pub(crate) fn push(&mut self, value: T) {
        if self.len == self.blocks.len() * BLOCK {
            self.blocks.push(Box::new(core::array::from_fn(|_| T::default())));
        }
        let at = self.len;
        self.len += 1;
        self[at] = value;
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
        &mut self.blocks[at / BLOCK][at % BLOCK]
    }
}

impl<T: Default> FromIterator<T> for Blocks<T> {
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
            steps in proptest::collection::vec((0..2 * BLOCK, any::<prop::sample::Index>(), any::<u32>()), 0..6),
            kept in any::<prop::sample::Index>(),
        ) {
            let (mut blocks, mut list) = (Blocks::new(), Vec::new());
            for (pushed, at, value) in steps {
                let kept = kept.index(list.len() / BLOCK + 1) * BLOCK;
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
                prop_assert_eq!((blocks.get(list.len()), blocks.blocks.len()), (None, list.len().div_ceil(BLOCK)));
            }
        }
    }

    #[test]
    fn growth_moves_nothing_and_room_is_never_more_than_a_block_too_much() {
        let mut blocks: Blocks<u64> = (0..BLOCK as u64).collect();
        let places: Vec<_> = blocks.iter().map(std::ptr::from_ref).collect();
        for n in BLOCK..=10 * BLOCK {
            blocks.push(n as u64);
            let room = blocks.blocks.len() * BLOCK;
            assert!(room - blocks.len() < BLOCK, "{room} for {}", blocks.len());
        }
        assert!(blocks.iter().map(std::ptr::from_ref).zip(places).all(|(now, before)| now == before));
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_block_without_a_value_is_not_there() {
        let blocks: Blocks<usize> = (0..BLOCK).collect();
        let _ = blocks[BLOCK];
    }
}
