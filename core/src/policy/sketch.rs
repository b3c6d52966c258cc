//! Sketch: about how often a key was asked for lately, whether it is in the cache or not.
//!
//! A count-min sketch (G. Cormode, S. Muthukrishnan, "An Improved Data Stream Summary: The Count-Min Sketch and its
//! Applications", J. Algorithms 2005) of four-bit counters that are halved after a number of additions, as in `TinyLFU` (G. Einziger,
//! R. Friedman, B. Manes, "`TinyLFU`: A Highly Efficient Cache Admission Policy", ACM Transactions on Storage 2017). A key's four counters lie
//! in one block of 64 bytes.
//!
//! Owns the counters and their ageing. Must not know keys, only their hashes, nor what an estimate is used for.

/// The largest estimate.
pub(super) const MOST: u8 = 15;

/// One cache line: sixteen counters of four bits in each word.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Block([u64; WORDS]);

/// Words a block.
const WORDS: usize = 8;
/// Slots that one block serves: four bytes of sketch a slot.
const SLOTS_A_BLOCK: usize = 16;
/// After this many additions a slot all counters are halved.
const ADDITIONS_A_SLOT: u64 = 10;
/// The low three bits of every counter.
const HALVES: u64 = 0x7777_7777_7777_7777;

/// Approximate, ageing counts by hash.
#[derive(Debug)]
pub(super) struct Sketch {
    blocks: Vec<Block>,
    additions: u64,
}

impl Sketch {
    /// A sketch that never counted anything.
    pub(super) fn new() -> Self {
        Self { blocks: vec![Block([0; WORDS])], additions: 0 }
    }

    /// Makes room for the keys of `slots` slots; estimates stay as they are.
    pub(super) fn grow_for(&mut self, slots: usize) {
        while self.blocks.len() * SLOTS_A_BLOCK < slots {
            // A block's number is the low bits of the hash: with one bit more, both halves start as what they were together.
            self.blocks.extend_from_within(..);
        }
    }

    /// Counts one more of `hash`.
    pub(super) fn add(&mut self, hash: u64) {
        let hash = spread(hash);
        let block = self.block(hash);
        let mut added = false;
        for (word, shift) in counters(hash) {
            let word = &mut self.blocks[block].0[word];
            if *word >> shift & u64::from(MOST) < u64::from(MOST) {
                *word += 1 << shift;
                added = true;
            }
        }
        self.additions += u64::from(added);
        if self.additions >= ADDITIONS_A_SLOT * (self.blocks.len() * SLOTS_A_BLOCK) as u64 {
            self.additions /= 2;
            for block in &mut self.blocks {
                block.0.iter_mut().for_each(|word| *word = *word >> 1 & HALVES);
            }
        }
    }

    /// How often `hash` was counted lately, at most [`MOST`]; sometimes too high, never too low but by ageing.
    pub(super) fn estimate(&self, hash: u64) -> u8 {
        let hash = spread(hash);
        let block = &self.blocks[self.block(hash)];
        counters(hash).map(|(word, shift)| (block.0[word] >> shift) as u8 & MOST).min().unwrap_or(0)
    }

    fn block(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.blocks.len() - 1)
    }
}

/// The four counters of a hash in its block: word and shift. Two words to each, so that none is taken twice.
fn counters(hash: u64) -> impl Iterator<Item = (usize, u32)> {
    (0..4).map(move |row| {
        let bits = (hash >> (row * 8)) as u32;
        (row * 2 + (bits & 1) as usize, (bits >> 1 & 15) * 4)
    })
}

/// Mixes the bits, for callers whose hashes are good in some of them only.
const fn spread(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash ^ hash >> 29
}
