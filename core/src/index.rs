//! Index: where the rows of a table are, by their hashes.
//!
//! Groups of seven, each a line of memory: seven bits of each row's hash in one word, by which all are compared at once, then the whole
//! hashes, which are compared before a row is looked at, and the numbers. A row stands in the group that its hash sends it to, or, where
//! that was full, in the next that was not; how many went past it a group counts. So to find a row takes a look at one place of memory,
//! hardly ever at the one beside it, and what is missing is known to be missing as soon as a group has let nobody past (N. Bronson, X. Shi,
//! "Open-sourcing F14", 2019). The table may be full to six sevenths, and nothing moves or marks where a row was taken out.
//!
//! It knows numbers alone, so that those of values and of tags share its code. It shrinks, too: what is bounded in bytes counts on that.
//!
//! Invariant: a group counts the rows that stand behind it and were sent to it or before it, up to [`MOST`].

use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;

/// From hashes to the numbers of rows.
#[derive(Debug, Default)]
pub(crate) struct Index {
    groups: Vec<Group>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Group {
    /// A byte for each place, zero where nobody stands in it; in the highest byte how many rows went past.
    tags: u64,
    hashes: [u32; WIDTH],
    rows: [u32; WIDTH],
}

/// Where a row stands: its group, and its place in that.
type Place = (usize, usize);

impl Index {
    /// The row with this hash that is the one.
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(crate) fn find(&self, hash: u32, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.place(hash, is_it).map(|(at, place)| self.groups[at].rows[place])
    }

    /// Adds a row that is not in it.
    pub(crate) fn add(&mut self, hash: u32, row: u32) {
        if self.len >= self.groups.len() * FULL {
            self.rebuild(self.groups.len() * 3 / 2 + 1);
        }
        self.len += 1;
        self.put(hash, row);
    }

    /// Takes a row out, where it is in it.
    pub(crate) fn take_out(&mut self, hash: u32, row: u32) {
        let Some((stands, place)) = self.place(hash, |other| other == row) else { return };
        let mut at = self.home(hash);
        while at != stands {
            self.groups[at].unpass();
            at = self.after(at);
        }
        self.groups[stands].tags &= !(0xff << (place * 8));
        self.len -= 1;
        if self.len < self.groups.len() && self.groups.len() > 1 {
            self.rebuild(self.groups.len() / 4 + 1);
        }
    }

    /// Lets memory bring where a row with this hash is looked for first.
    #[inline]
    pub(crate) fn foresee(&self, hash: u32) {
        black_box(self.groups.get(self.home(hash)).map(|group| group.tags));
    }

    /// Takes all rows out.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many rows are in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn place(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<Place> {
        let tags = tag(hash) * ONES;
        let mut at = self.home(hash);
        for _ in 0..self.groups.len() {
            let group = &self.groups[at];
            let mut like = group.like(tags);
            while like != 0 {
                let place = like.trailing_zeros() as usize / 8;
                if group.hashes[place] == hash && is_it(group.rows[place]) {
                    return Some((at, place));
                }
                like &= like - 1;
            }
            if group.passed() == 0 {
                break;
            }
            at = self.after(at);
        }
        None
    }

    /// Puts a row into the first group with room from where its hash sends it.
    fn put(&mut self, hash: u32, row: u32) {
        let mut at = self.home(hash);
        loop {
            let group = &mut self.groups[at];
            if group.free() != 0 {
                let place = group.free().trailing_zeros() as usize / 8;
                group.tags |= tag(hash) << (place * 8);
                (group.hashes[place], group.rows[place]) = (hash, row);
                return;
            }
            group.pass();
            at = self.after(at);
        }
    }

    /// The group that a hash sends a row to: by its highest bits, so that a table is rebuilt from one end to the other.
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    #[cfg_attr(target_family = "wasm", inline(never))]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.groups.len() as u64) >> 32) as usize
    }

    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    #[cfg_attr(target_family = "wasm", inline(never))]
    fn after(&self, at: usize) -> usize {
        if at + 1 < self.groups.len() { at + 1 } else { 0 }
    }

    fn rebuild(&mut self, groups: usize) {
        let old = core::mem::replace(&mut self.groups, vec![Group::EMPTY; groups]);
        for group in old {
            places(group.tags & TAGGED).for_each(|place| self.put(group.hashes[place], group.rows[place]));
        }
    }
}

impl Group {
    const EMPTY: Self = Self { tags: 0, hashes: [0; WIDTH], rows: [0; WIDTH] };

    /// The places whose tag is the one that is given for all of them, and perhaps some others: a bit each.
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    #[cfg_attr(target_family = "wasm", inline(never))]
    const fn like(&self, tags: u64) -> u64 {
        let differ = self.tags ^ tags;
        differ.wrapping_sub(ONES) & !differ & TAGGED
    }

    /// The places that nobody has, a bit each.
    #[inline(always)]
    const fn free(&self) -> u64 {
        !self.tags & TAGGED
    }

    #[inline(always)]
    const fn passed(&self) -> u64 {
        self.tags >> PASSED
    }

    /// One more went past.
    const fn pass(&mut self) {
        if self.passed() < MOST {
            self.tags += 1 << PASSED;
        }
    }

    /// One that went past was taken out. Where there were too many to count, nobody knows how many are left.
    const fn unpass(&mut self) {
        if self.passed() < MOST {
            self.tags -= 1 << PASSED;
        }
    }
}

/// What a word has of a hash: the lowest bits, as the highest say the group.
#[inline(always)]
const fn tag(hash: u32) -> u64 {
    (hash as u64 & 0x7f) | 0x80
}

/// The places of the bits that are set.
#[inline(always)]
fn places(mut set: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let place = (set != 0).then(|| set.trailing_zeros() as usize / 8);
        set &= set.wrapping_sub(1);
        place
    })
}

/// Rows a group.
const WIDTH: usize = 7;
/// How many of them there may be on the average.
const FULL: usize = 6;
/// The lowest bit of each tag.
const ONES: u64 = 0x0001_0101_0101_0101;
/// The highest bit of each tag, which those have that are not zero.
const TAGGED: u64 = ONES << 7;
/// Where in a word those are counted that went past, and how far.
const PASSED: u32 = 56;
const MOST: u64 = 0xff;

#[cfg(test)]
impl Index {
    /// Recounts what stands in it and what went past each group.
    fn validate(&self) {
        let mut passed = vec![0; self.groups.len()];
        let mut len = 0;
        for (stands, group) in self.groups.iter().enumerate() {
            for place in places(group.tags & TAGGED) {
                len += 1;
                let mut at = self.home(group.hashes[place]);
                while at != stands {
                    passed[at] += 1;
                    at = self.after(at);
                }
            }
        }
        for (group, passed) in self.groups.iter().zip(passed) {
            assert!(group.passed() == passed || group.passed() == MOST, "{passed} went past {group:?}");
        }
        assert_eq!(len, self.len, "rows in the table");
        assert!(len <= self.groups.len() * FULL, "{len} rows in {} groups", self.groups.len());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Hashes that are spread, that share their buckets, and that are all the same.
    fn hashes() -> impl Strategy<Value = u32> {
        prop_oneof![any::<u32>(), 0..8_u32, (0..8_u32).prop_map(|low| u32::MAX - low), Just(7)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_finds_what_a_map_finds(steps in prop::collection::vec((hashes(), any::<bool>(), 1..20_u32), 0..60)) {
            let (mut index, mut map) = (Index::default(), BTreeMap::new());
            let mut next = 0;
            for (hash, adds, times) in steps {
                for _ in 0..times {
                    if adds {
                        index.add(hash, next);
                        map.insert(next, hash);
                        next += 1;
                    } else if let Some((row, hash)) = map.pop_first() {
                        index.take_out(hash, row);
                        prop_assert_eq!(index.find(hash, |other| other == row), None);
                    }
                }
                index.validate();
                prop_assert_eq!(index.len(), map.len());
                prop_assert!(map.iter().all(|(row, hash)| index.find(*hash, |other| other == *row) == Some(*row)));
            }
            index.take_out(1, next);
            prop_assert_eq!(index.len(), map.len(), "what is not in it is not taken out");
        }
    }

    #[test]
    fn a_row_of_another_hash_is_never_looked_at() {
        let mut index = Index::default();
        (0..10_000_u32).for_each(|row| index.add(row.wrapping_mul(0x9E37_79B9), row));
        for row in 0..10_000_u32 {
            let is_it = |other| {
                assert_eq!(other, row);
                true
            };
            assert_eq!(index.find(row.wrapping_mul(0x9E37_79B9), is_it), Some(row));
        }
    }

    #[test]
    fn it_has_at_most_seven_places_a_row_also_when_most_have_left() {
        let mut index = Index::default();
        (0..10_000_u32).for_each(|row| index.add(row.wrapping_mul(0x9E37_79B9), row));
        assert!(index.groups.len() * WIDTH <= 10_000 * 7 / 4 + WIDTH);
        for row in 0..9_990_u32 {
            index.take_out(row.wrapping_mul(0x9E37_79B9), row);
            assert!(index.groups.len() <= index.len().max(1));
        }
        index.validate();
    }
}
