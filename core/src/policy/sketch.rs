//! Sketch: about how often a key was asked for lately, whether it is in the cache or not.
//!
//! A count-min sketch (G. Cormode, S. Muthukrishnan, "An Improved Data Stream Summary: The Count-Min Sketch and its
//! Applications", J. Algorithms 2005) of four-bit counters that are halved after a number of additions, as in `TinyLFU`
//! (G. Einziger, R. Friedman, B. Manes, "`TinyLFU`: A Highly Efficient Cache Admission Policy", ACM Transactions on
//! Storage 2017). A key's four counters lie in one block of 64 bytes.
//!
//! Owns the counters and their ageing. Must not know keys, only their hashes, nor what an estimate is used for.
//!
//! Halving all counters at once would be a pause that grows with the cache; halving them block by block in turn lets
//! two keys be compared of which only one has aged (on a loop that costs a third of the hits). So a block notes how
//! many halvings it has seen and makes up for the others when it is next used: constant work a call, and the counts are
//! as if all had been halved together.
//!
//! Invariant: no block has seen more halvings than there were.

use alloc::vec;
use alloc::vec::Vec;

use crate::foresee::foresee;

/// The largest estimate.
pub(super) const MOST: u8 = 15;

/// One cache line: sixteen counters of four bits in each word.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Block([u64; WORDS]);

/// Words a block.
const WORDS: usize = 8;
/// Counters a hash: one of each two words.
const ROWS: usize = WORDS / 2;
/// Slots that one block serves: four bytes of sketch a slot.
const SLOTS_A_BLOCK: usize = 16;
/// After this many additions a slot all counters are halved.
const ADDITIONS_A_SLOT: u64 = 10;
/// Bits a counter: after as many halvings it is zero.
const COUNTER_BITS: u32 = 4;
/// The low three bits of every counter.
const HALVES: u64 = 0x7777_7777_7777_7777;

/// Approximate, ageing counts by hash.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Sketch {
    additions: u64,
    halvings: u32,
    blocks: Vec<Block>,
    /// How many halvings each block has seen.
    seen: Vec<u32>,
}

impl Sketch {
    /// A sketch that never counted anything.
    pub(super) fn new() -> Self {
        Self { blocks: vec![Block([0; WORDS])], seen: vec![0], halvings: 0, additions: 0 }
    }

    /// Makes room for the keys of `slots` slots; estimates stay as they are.
    pub(super) fn grow_for(&mut self, slots: usize) {
        while self.blocks.len() * SLOTS_A_BLOCK < slots {
            // A block's number is the low bits of the hash: with one bit more, both halves start as what they were
            // together.
            self.blocks.extend_from_within(..);
            self.seen.extend_from_within(..);
        }
    }

    /// Counts one more of `hash`.
    #[inline]
    pub(super) fn add(&mut self, hash: u32) {
        let hash = spread(hash);
        let at = self.block(hash);
        let missed = self.missed(at);
        let block = &mut self.blocks[at];
        if missed > 0 {
            block.halve(missed);
            self.seen[at] = self.halvings;
        }
        let mut added = false;
        for row in 0..ROWS {
            let (word, shift) = counter(hash, row);
            let word = &mut block.0[word];
            if *word >> shift & u64::from(MOST) < u64::from(MOST) {
                *word += 1 << shift;
                added = true;
            }
        }
        self.additions += u64::from(added);
        if self.additions >= ADDITIONS_A_SLOT * (self.blocks.len() * SLOTS_A_BLOCK) as u64 {
            self.additions /= 2;
            self.halvings = self.halvings.wrapping_add(1);
        }
    }

    /// How often `hash` was counted lately, at most [`MOST`]; sometimes too high, never too low but by ageing.
    #[inline]
    pub(super) fn estimate(&self, hash: u32) -> u8 {
        let hash = spread(hash);
        let at = self.block(hash);
        let block = &self.blocks[at];
        let mut least = MOST;
        for row in 0..ROWS {
            let (word, shift) = counter(hash, row);
            least = least.min((block.0[word] >> shift) as u8 & MOST);
        }
        least.checked_shr(self.missed(at)).unwrap_or(0)
    }

    /// Lets memory bring what is counted of `hash`.
    #[inline]
    pub(super) fn foresee(&self, hash: u32) {
        let at = self.block(spread(hash));
        foresee(&self.blocks[at]);
        foresee(&self.seen[at]);
    }

    /// How many halvings a block has still to make up for.
    fn missed(&self, block: usize) -> u32 {
        self.halvings.wrapping_sub(self.seen[block])
    }

    fn block(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.blocks.len() - 1)
    }
}

impl Block {
    /// Halves all counters so many times.
    #[cold]
    fn halve(&mut self, times: u32) {
        for _ in 0..times.min(COUNTER_BITS) {
            self.0.iter_mut().for_each(|word| *word = *word >> 1 & HALVES);
        }
    }
}

/// One of the counters of a hash in its block: word and shift. Two words to each, so that none is taken twice.
const fn counter(hash: u64, row: usize) -> (usize, u32) {
    let bits = (hash >> (row * 8)) as u32;
    (row * 2 + (bits & 1) as usize, (bits >> 1 & 15) * COUNTER_BITS)
}

/// Makes of 32 bits the 64 of which a block and its counters are chosen, for callers whose hashes are good in some of them only.
const fn spread(hash: u32) -> u64 {
    let hash = (hash as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash ^ hash >> 29
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `n`-th of a row of well mixed hashes.
    fn hash(n: u64) -> u32 {
        let mixed = n.wrapping_add(1).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((mixed ^ mixed >> 31).wrapping_mul(0x94D0_49BB_1331_11EB) >> 32) as u32
    }

    fn for_slots(slots: usize) -> Sketch {
        let mut sketch = Sketch::new();
        sketch.grow_for(slots);
        sketch
    }

    #[test]
    fn a_key_is_estimated_as_often_as_it_was_added_up_to_the_most() {
        let mut sketch = for_slots(1_000);
        for times in 1..=20_u8 {
            sketch.add(hash(7));
            assert_eq!(sketch.estimate(hash(7)), times.min(MOST));
        }
        assert_eq!(sketch.estimate(hash(8)), 0);
    }

    #[test]
    fn few_keys_are_taken_for_others_also_where_only_some_bits_of_their_hashes_differ() {
        let high = |n: u64| (n as u32) << 16;
        let low = |n: u64| n as u32;
        for hash in [hash, high, low] {
            let mut sketch = for_slots(1_000);
            (0..1_000).for_each(|n| sketch.add(hash(n)));
            assert!((0..1_000).all(|n| sketch.estimate(hash(n)) >= 1), "an estimate is never too low");
            let mistaken = (1_000..2_000).filter(|&n| sketch.estimate(hash(n)) > 0).count();
            assert!(mistaken < 150, "{mistaken} of 1000 keys that were never added are taken for one that was");
        }
    }

    #[test]
    fn a_block_serves_sixteen_slots_and_a_hash_has_a_counter_in_each_two_of_its_words() {
        for (slots, blocks) in [(0, 1), (16, 1), (17, 2), (64, 4), (65, 8), (1_000, 64)] {
            assert_eq!(for_slots(slots).blocks.len(), blocks, "for {slots}");
        }
        for n in 0..100 {
            let words = [0, 1, 2, 3].map(|row| counter(spread(hash(n)), row).0 / 2);
            assert_eq!(words, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn growing_changes_no_estimate() {
        let mut sketch = for_slots(16);
        (0..40).for_each(|n| (0..n % 5).for_each(|_| sketch.add(hash(n))));
        let before: Vec<_> = (0..100).map(|n| sketch.estimate(hash(n))).collect();
        sketch.grow_for(1_000);
        assert_eq!((0..100).map(|n| sketch.estimate(hash(n))).collect::<Vec<_>>(), before);
    }

    #[test]
    fn counts_are_halved_after_ten_additions_a_slot_also_where_nothing_was_added_since() {
        let mut sketch = for_slots(64);
        (0..8).for_each(|_| sketch.add(hash(0)));
        let far = |n: &u64| sketch_block(*n) != sketch_block(0);
        let others: Vec<_> = (1..2_000).filter(far).collect();
        for (halvings, expected) in [(1, 4), (2, 2), (3, 1), (4, 0)] {
            let mut others = others.iter().cycle();
            while sketch.halvings < halvings {
                sketch.add(hash(*others.next().expect("a cycle has no end")));
            }
            assert_eq!(sketch.estimate(hash(0)), expected, "after {halvings} halvings");
            assert_eq!(sketch.additions, 64 * ADDITIONS_A_SLOT / 2, "half of what was added is left");
        }
        sketch.add(hash(0));
        assert_eq!(sketch.estimate(hash(0)), 1, "what was missed is made up before counting on");
    }

    fn sketch_block(n: u64) -> usize {
        for_slots(64).block(spread(hash(n)))
    }
}
