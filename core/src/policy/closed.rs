//! Closed: the slots that were given back, to be handed out again: those of the lowest block first.
//!
//! So what comes fills gaps before it makes a row, and blocks at the end come to have no open slot, which then can go as a whole.
//!
//! Must not know what a slot was for. Invariant: a slot that is closed stands in the list of its block, linked through its row, or is the
//! only one.

use alloc::vec::Vec;

use super::queue::{Link, NONE, Queued};
use crate::blocks::{BLOCK, Blocks};

/// Slots that nobody has.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct Closed {
    blocks: Vec<Block>,
    /// A bit for each block that has one.
    some: Vec<u64>,
    /// How many stand in the lists of their blocks.
    listed: u32,
    /// The one that is closed, where there is no other: for each value that comes to a full cache one leaves, and no list is looked at.
    only: u32,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    /// The one closed last; each names the one closed before it.
    first: u32,
    len: u32,
}

impl Closed {
    /// None.
    pub(super) const fn new() -> Self {
        Self { blocks: Vec::new(), some: Vec::new(), listed: 0, only: NONE }
    }

    /// Takes note of a slot that was closed.
    #[inline]
    pub(super) fn push<R: Queued>(&mut self, rows: &mut Blocks<R>, slot: u32) {
        if self.listed == 0 && self.only == NONE {
            self.only = slot;
            return;
        }
        if self.only != NONE {
            self.list(rows, self.only);
            self.only = NONE;
        }
        self.list(rows, slot);
    }

    /// One to be opened.
    #[inline]
    pub(super) fn pop<R: Queued>(&mut self, rows: &Blocks<R>) -> Option<u32> {
        if self.only != NONE {
            return Some(core::mem::replace(&mut self.only, NONE));
        }
        let word = self.some.iter().position(|&some| some != 0)?;
        let at = word * WORD + self.some[word].trailing_zeros() as usize;
        let slot = self.blocks[at].first;
        self.blocks[at] = Block { first: rows[slot as usize].link().next(), len: self.blocks[at].len - 1 };
        if self.blocks[at].len == 0 {
            self.some[word] &= self.some[word] - 1;
        }
        self.listed -= 1;
        Some(slot)
    }

    /// How many of `slots` are left once the blocks at their end go of which all are closed. The first stays.
    pub(super) fn cut(&mut self, slots: usize) -> usize {
        let mut left = slots;
        while left > BLOCK {
            let at = (left - 1) / BLOCK;
            let listed = self.blocks.get(at).map_or(0, |block| block.len);
            let is_only = self.only as usize == left - 1;
            if listed as usize + usize::from(is_only) != left - at * BLOCK {
                break;
            }
            if is_only {
                self.only = NONE;
            } else {
                self.blocks.truncate(at);
                self.some[at / WORD] &= !(1 << (at % WORD));
                self.listed -= listed;
            }
            left = at * BLOCK;
        }
        left
    }

    /// The closed slots, in no order.
    pub(super) fn iter<R: Queued>(&self, rows: &Blocks<R>) -> impl Iterator<Item = u32> {
        let next = |slot: u32| (slot != NONE).then_some(slot);
        let of = move |block: &Block| {
            core::iter::successors(next(block.first), move |&slot| next(rows[slot as usize].link().next()))
                .take(block.len as usize + 1)
        };
        self.blocks.iter().flat_map(of).chain(next(self.only))
    }

    fn list<R: Queued>(&mut self, rows: &mut Blocks<R>, slot: u32) {
        let at = slot as usize / BLOCK;
        if at >= self.blocks.len() {
            self.blocks.resize(at + 1, Block { first: NONE, len: 0 });
            self.some.resize(at / WORD + 1, 0);
        }
        let block = &mut self.blocks[at];
        rows[slot as usize].set_link(Link::before(block.first));
        *block = Block { first: slot, len: block.len + 1 };
        self.some[at / WORD] |= 1 << (at % WORD);
        self.listed += 1;
    }
}

/// Bits of a word.
const WORD: usize = u64::BITS as usize;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::row::{Cold, Rows};

    #[test]
    fn however_many_blocks_there_are_slots_of_the_lowest_come_first_and_the_last_blocks_go() {
        let blocks = WORD + 2;
        let mut rows: Rows<(), ()> = Rows::new();
        for _ in 0..blocks * BLOCK {
            rows.push(0);
        }
        let mut rows = rows.cold;
        let all = |block: usize| (block * BLOCK) as u32..((block + 1) * BLOCK) as u32;
        let mut closed = Closed::new();
        for block in [WORD, 1, WORD + 1, WORD - 1] {
            all(block).for_each(|slot| closed.push(&mut rows, slot));
        }
        assert_eq!(closed.iter(&rows).count(), 4 * BLOCK);
        for block in [1, WORD - 1] {
            for _ in 0..BLOCK {
                let slot = closed.pop(&rows).expect("one is closed");
                assert!(all(block).contains(&slot), "{slot} is not of block {block}");
            }
        }
        let slot = closed.pop(&rows).expect("one is closed");
        assert!(all(WORD).contains(&slot), "{slot} is not of block {WORD}");
        closed.push(&mut rows, slot);
        assert_eq!(closed.cut(rows.len()), WORD * BLOCK);
        assert_eq!((closed.pop(&rows), closed.iter(&rows).count()), (None, 0));
        closed.push(&mut rows, 0);
        assert_eq!((closed.only, closed.listed), (0, 0));
    }

    #[test]
    fn the_only_one_is_opened_again_and_goes_with_its_block_and_with_another_is_one_of_two() {
        let mut rows: Blocks<_> = (0..=2 * BLOCK).map(|_| Cold::<()>::default()).collect();
        let (mut closed, last) = (Closed::new(), 2 * BLOCK as u32);
        for slots in [&[7][..], &[last], &[last, 7], &[7, last], &[last, 7, BLOCK as u32]] {
            closed.push(&mut rows, slots[0]);
            assert_eq!((closed.only, closed.listed), (slots[0], 0));
            for &slot in &slots[1..] {
                closed.push(&mut rows, slot);
                assert_eq!(closed.only, NONE);
            }
            assert_eq!(closed.iter(&rows).count(), slots.len());
            let mut lowest_first = slots.to_vec();
            lowest_first.sort_unstable();
            assert_eq!(slots.iter().filter_map(|_| closed.pop(&rows)).collect::<Vec<_>>(), lowest_first);
            assert_eq!((closed.pop(&rows), closed.iter(&rows).count()), (None, 0));
        }
        closed.push(&mut rows, last - 1);
        assert_eq!(closed.cut(rows.len()), rows.len(), "another is of that block, and open");
        assert_eq!(closed.pop(&rows), Some(last - 1));
        closed.push(&mut rows, last);
        assert_eq!((closed.cut(rows.len()), closed.pop(&rows)), (2 * BLOCK, None));
    }
}
