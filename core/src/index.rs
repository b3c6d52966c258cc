//! Index: where the rows of a table are, by their hashes.
//!
//! One array, a bucket a row: to find a row takes a look at one place of memory, or at two side by side, and its hash is compared before
//! the row is. An open table in which each row stands as near to where its hash sends it as those that it passes (P. Celis, "Robin Hood
//! Hashing", Waterloo 1986), so that it may be full to seven eighths, what is missing is known to be missing after a few buckets, and
//! nothing marks where a row was taken out.
//!
//! It knows numbers alone, so that those of values and of tags share its code. It shrinks, too: what is bounded in bytes counts on that.
//!
//! Invariants: from where its hash sends a row to where it stands there is no empty bucket, and none of a row that stands nearer to its own.

use alloc::vec;
use alloc::vec::Vec;

/// From hashes to the numbers of rows.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// As many as a power of two, or none.
    buckets: Vec<Bucket>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    hash: u32,
    row: u32,
}

impl Index {
    /// The row with this hash that is the one.
    #[inline]
    pub(crate) fn find(&self, hash: u32, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.place(hash, is_it).map(|at| self.buckets[at].row)
    }

    /// Adds a row that is not in it.
    pub(crate) fn add(&mut self, hash: u32, row: u32) {
        if self.len >= self.buckets.len() / 8 * 7 {
            self.rebuild((self.buckets.len() * 2).max(LEAST));
        }
        self.len += 1;
        self.put(Bucket { hash, row });
    }

    /// Takes a row out, where it is in it.
    pub(crate) fn take_out(&mut self, hash: u32, row: u32) {
        let Some(mut at) = self.place(hash, |other| other == row) else { return };
        let mask = self.buckets.len() - 1;
        loop {
            let next = (at + 1) & mask;
            let follows = self.buckets[next];
            if follows.row == NONE || self.way(follows.hash, next) == 0 {
                break;
            }
            self.buckets[at] = follows;
            at = next;
        }
        self.buckets[at] = EMPTY;
        self.len -= 1;
        if self.len < self.buckets.len() / 8 && self.buckets.len() > LEAST {
            self.rebuild((self.buckets.len() / 4).max(LEAST));
        }
    }

    /// Takes all rows out.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many rows are in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn place(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<usize> {
        let buckets: &[Bucket] = &self.buckets;
        let mask = buckets.len().checked_sub(1)?;
        let first = home(hash, mask);
        for way in 0..=mask {
            let at = (first + way) & mask;
            let bucket = buckets[at];
            if bucket.hash == hash && bucket.row != NONE && is_it(bucket.row) {
                return Some(at);
            }
            if bucket.row == NONE || self.way(bucket.hash, at) < way {
                break;
            }
        }
        None
    }

    /// Puts it where its hash sends it or behind that, and moves on whoever has come a shorter way.
    fn put(&mut self, mut bucket: Bucket) {
        let mask = self.buckets.len() - 1;
        let (mut at, mut way) = (home(bucket.hash, mask), 0);
        while self.buckets[at].row != NONE {
            let other = self.way(self.buckets[at].hash, at);
            if other < way {
                core::mem::swap(&mut self.buckets[at], &mut bucket);
                way = other;
            }
            at = (at + 1) & mask;
            way += 1;
        }
        self.buckets[at] = bucket;
    }

    /// How far from where its hash sends it a row stands that stands at `at`.
    fn way(&self, hash: u32, at: usize) -> usize {
        let mask = self.buckets.len() - 1;
        at.wrapping_sub(home(hash, mask)) & mask
    }

    fn rebuild(&mut self, buckets: usize) {
        let old = core::mem::replace(&mut self.buckets, vec![EMPTY; buckets]);
        old.into_iter().filter(|bucket| bucket.row != NONE).for_each(|bucket| self.put(bucket));
    }
}

/// The bucket that a hash sends a row to: by its highest bits, so that a table is rebuilt from one end to the other.
const fn home(hash: u32, mask: usize) -> usize {
    ((hash as u64 * (mask as u64 + 1)) >> 32) as usize
}

/// No row.
const NONE: u32 = u32::MAX;
const EMPTY: Bucket = Bucket { hash: 0, row: NONE };
/// Buckets of the smallest table.
const LEAST: usize = 8;

#[cfg(test)]
impl Index {
    /// Recounts, and checks that each row stands where it is found.
    fn validate(&self) {
        let mut len = 0;
        for (at, bucket) in self.buckets.iter().enumerate().filter(|(_, bucket)| bucket.row != NONE) {
            len += 1;
            let way = self.way(bucket.hash, at);
            let before = self.buckets[at.wrapping_sub(1) & (self.buckets.len() - 1)];
            let shorter = if before.row == NONE { 0 } else { self.way(before.hash, at.wrapping_sub(1)) + 1 };
            assert!(way <= shorter, "the row at {at} is {way} from home, behind one that is {shorter} less one");
        }
        assert_eq!(len, self.len, "rows in the table");
        assert!(len <= self.buckets.len() / 8 * 7, "{len} rows in {} buckets", self.buckets.len());
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
    fn it_has_at_most_eight_buckets_a_row_also_when_most_have_left() {
        let mut index = Index::default();
        (0..10_000_u32).for_each(|row| index.add(row.wrapping_mul(0x9E37_79B9), row));
        assert!(index.buckets.len() <= 10_000 * 16 / 7);
        for row in 0..9_990_u32 {
            index.take_out(row.wrapping_mul(0x9E37_79B9), row);
            assert!(index.buckets.len() <= 8 * index.len().max(1));
        }
        index.validate();
    }
}
