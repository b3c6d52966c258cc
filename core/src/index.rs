//! Index: where the rows of a table are, by their hashes.
//!
//! Groups of seven, each a line of memory: seven bits of each row's hash in one word, by which all are compared at once, then the whole
//! hashes, which are compared before a row is looked at, and the numbers. A row stands in the group that its hash sends it to, or, where
//! that was full, in the next that was not; how many went past it a group counts. So to find a row takes a look at one place of memory,
//! hardly ever at the one beside it, and what is missing is known to be missing as soon as a group has let nobody past (N. Bronson, X. Shi,
//! "Open-sourcing F14", 2019). Nothing moves or marks where a row was taken out, so those that went past stay where they are. That is why
//! the table may be full to five sevenths only: once many have come and gone, a look for what is missing goes through four groups then, and
//! through sixty-six where six sevenths are full.
//!
//! It knows numbers alone, so that those of values and of tags share its code. It shrinks, too: what is bounded in bytes counts on that.
//!
//! Invariant: a group counts the rows that stand behind it and were sent to it or before it, up to [`MOST`].

use alloc::boxed::Box;
use alloc::vec;

use crate::foresee::foresee;

/// From hashes to the numbers of rows.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Index {
    groups: Box<[Group]>,
    len: u32,
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
    /// What there is to say of the row with this hash that is the one; `is_it` says nothing of the others.
    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    pub(crate) fn find<R>(&self, hash: u32, is_it: impl FnMut(u32) -> Option<R>) -> Option<R> {
        self.look(hash, is_it).map(|(_, said)| said)
    }

    /// Adds a row that is not in it.
    pub(crate) fn add(&mut self, hash: u32, row: u32) {
        if self.len() >= self.groups.len() * FULL {
            self.rebuild(self.groups.len() * 3 / 2 + 1);
        }
        self.len += 1;
        self.put(hash, row);
    }

    /// Takes a row out, where it is in it.
    pub(crate) fn take_out(&mut self, hash: u32, row: u32) {
        let is_it = |other| (other == row).then_some(());
        let Some(((stands, place), ())) = self.look(hash, is_it) else { return };
        let mut at = self.home(hash);
        while at != stands {
            self.groups[at].unpass();
            at = self.after(at);
        }
        self.groups[stands].tags &= !(0xff << (place * 8));
        self.len -= 1;
        if self.len() < self.groups.len() && self.groups.len() > 1 {
            self.rebuild(self.groups.len() / 4 + 1);
        }
    }

    /// Lets memory bring where a row with this hash is looked for first.
    #[inline]
    pub(crate) fn foresee(&self, hash: u32) {
        if let Some(group) = self.groups.get(self.home(hash)) {
            foresee(group);
        }
    }

    /// Takes all rows out.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many rows are in it.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn look<R>(&self, hash: u32, mut is_it: impl FnMut(u32) -> Option<R>) -> Option<(Place, R)> {
        let tags = tag(hash) * ONES;
        let home = self.home(hash);
        let mut at = home;
        // There is none in a table of none.
        while let Some(group) = self.groups.get(at) {
            let mut like = group.like(tags);
            while like != 0 {
                let place = like.trailing_zeros() as usize / 8;
                if group.hashes[place] == hash
                    && let Some(said) = is_it(group.rows[place])
                {
                    return Some(((at, place), said));
                }
                like &= like - 1;
            }
            if group.passed() == 0 {
                break;
            }
            at = self.after(at);
            // Where too many went past to be counted, all groups may say so.
            if at == home {
                break;
            }
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
        let old = core::mem::replace(&mut self.groups, vec![Group::EMPTY; groups].into_boxed_slice());
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
const FULL: usize = 5;
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
        assert_eq!(len, self.len(), "rows in the table");
        assert!(len <= self.groups.len() * FULL, "{len} rows in {} groups", self.groups.len());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Miri takes a thousand times as long for each of them.
    const ROWS: u32 = if cfg!(miri) { 300 } else { 10_000 };
    const CASES: u32 = if cfg!(miri) { 4 } else { 200 };

    /// The hash of a row, no two of them the same.
    const fn spread(row: u32) -> u32 {
        let mixed = row.wrapping_mul(0x9E37_79B9);
        (mixed ^ mixed >> 15).wrapping_mul(0x85EB_CA6B)
    }

    fn find(index: &Index, hash: u32, row: u32) -> Option<u32> {
        index.find(hash, |other| (other == row).then_some(other))
    }

    /// Hashes that are spread, that share their buckets, and that are all the same.
    fn hashes() -> impl Strategy<Value = u32> {
        prop_oneof![any::<u32>(), 0..8_u32, (0..8_u32).prop_map(|low| u32::MAX - low), Just(7)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

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
                        prop_assert_eq!(find(&index, hash, row), None);
                    }
                }
                index.validate();
                prop_assert_eq!(index.len(), map.len());
                prop_assert!(map.iter().all(|(row, hash)| find(&index, *hash, *row) == Some(*row)));
            }
            index.take_out(1, next);
            prop_assert_eq!(index.len(), map.len(), "what is not in it is not taken out");
        }
    }

    #[test]
    fn a_row_of_another_hash_is_never_looked_at() {
        let mut index = Index::default();
        (0..ROWS).for_each(|row| index.add(spread(row), row));
        for row in 0..ROWS {
            let is_it = |other| {
                assert_eq!(other, row);
                Some(other)
            };
            assert_eq!(index.find(spread(row), is_it), Some(row));
        }
    }

    #[test]
    fn a_hash_that_is_not_there_is_taken_for_few_that_are() {
        let mut index = Index::default();
        (0..ROWS).for_each(|row| index.add(spread(row), row));
        let others = (ROWS..2 * ROWS).map(spread);
        let like = |hash: u32| index.groups[index.home(hash)].like(tag(hash) * ONES).count_ones();
        let taken = others.map(like).sum::<u32>();
        assert!(taken < ROWS / 16, "{taken} places are looked at for {ROWS} look-ups, where one in 128 should be");
    }

    #[test]
    fn hashes_stand_from_one_end_to_the_other() {
        let mut index = Index::default();
        (0..ROWS).for_each(|row| index.add(spread(row), row));
        let homes: Vec<_> = (0..=ROWS).map(|part| index.home(u32::MAX / ROWS * part)).collect();
        assert!(homes.is_sorted(), "a table is rebuilt in one go through memory");
        assert_eq!((homes[0], homes[ROWS as usize]), (0, index.groups.len() - 1));
    }

    #[test]
    fn it_grows_by_half_and_so_seldom() {
        let mut index = Index::default();
        let mut sizes = Vec::new();
        for row in 0..ROWS {
            index.add(spread(row), row);
            let groups = index.groups.len();
            assert!(groups * FULL <= index.len() * 3 / 2 + 2 * FULL, "{groups} groups for {} rows", index.len());
            if sizes.last() != Some(&groups) {
                sizes.push(groups);
            }
        }
        assert!(sizes.len() <= 20, "{sizes:?}");
    }

    #[test]
    fn it_shrinks_to_a_quarter_where_few_are_left_and_so_seldom() {
        let mut index = Index::default();
        (0..ROWS).for_each(|row| index.add(spread(row), row));
        let mut groups = index.groups.len();
        for row in 0..ROWS {
            index.take_out(spread(row), row);
            assert!(index.groups.len() <= index.len().max(1), "{} groups for {} rows", index.groups.len(), index.len());
            if index.groups.len() != groups {
                assert_eq!((index.groups.len(), index.len()), (groups / 4 + 1, groups - 1));
                groups = index.groups.len();
            }
        }
        assert_eq!((index.len(), groups), (0, 1));
    }

    #[test]
    fn it_looks_no_farther_than_rows_went_past() {
        let mut index = Index::default();
        (0..ROWS).for_each(|row| index.add(spread(row), row));
        // Those that were sent to one group fill it and the one after, and leave again.
        let (hash, rows) = (u32::MAX / 2, ROWS..ROWS + 2 * WIDTH as u32);
        rows.clone().for_each(|row| index.add(hash, row));
        assert!(index.groups[index.home(hash)].passed() > 0);
        rows.for_each(|row| index.take_out(hash, row));
        index.validate();
        let passed = index.groups.iter().filter(|group| group.passed() > 0).count();
        assert!(passed * 2 < index.groups.len(), "most look-ups end where they begin");
    }

    #[test]
    #[cfg_attr(miri, ignore = "it takes too long there")]
    fn what_is_missing_is_soon_known_to_be_however_many_rows_came_and_went() {
        let mut index = Index::default();
        // As full as it gets.
        let mut held: Vec<u32> = Vec::new();
        while held.len() < ROWS as usize || index.len() < index.groups.len() * FULL {
            held.push(held.len() as u32);
            index.add(spread(held[held.len() - 1]), held[held.len() - 1]);
        }
        let mut chance = 1_u64;
        for row in held.len() as u32..20 * held.len() as u32 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let gone = (chance >> 33) as usize % held.len();
            index.take_out(spread(held[gone]), held[gone]);
            index.add(spread(row), row);
            held[gone] = row;
        }
        index.validate();
        let looked_at = |first: usize| {
            let groups = core::iter::successors(Some(first), |&at| Some(index.after(at)));
            1 + groups.take_while(|&at| index.groups[at].passed() > 0).count()
        };
        let all: usize = (0..index.groups.len()).map(looked_at).sum();
        assert!(all < 5 * index.groups.len(), "{all} groups for {} look-ups", index.groups.len());
    }

    #[test]
    #[cfg_attr(miri, ignore = "it takes too long there")]
    fn rows_that_went_past_are_found_however_many_they_are_and_whoever_left() {
        let mut index = Index::default();
        let rows = 2 * MOST as u32;
        (0..rows).for_each(|row| index.add(7, row));
        index.validate();
        for gone in (0..rows - 1).rev() {
            index.take_out(7, gone);
            assert_eq!(find(&index, 7, rows - 1), Some(rows - 1), "after {gone} left");
        }
    }

    #[test]
    fn nothing_is_left_of_what_was_cleared() {
        let mut index = Index::default();
        (0..ROWS).for_each(|row| index.add(spread(row), row));
        index.clear();
        assert_eq!((index.len(), index.find(spread(7), Some)), (0, None));
        index.validate();
    }
}
