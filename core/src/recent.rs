//! Recent: what left lately, so that somebody can be told why a key is not there.
//!
//! A ring that the newest overwrites the oldest of. Must not know keys, only their hashes.

use alloc::vec::Vec;

use crate::entry::Removal;
use crate::moment::Moment;

/// The last removals.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Recent {
    /// Where the next is noted.
    next: usize,
    gone: Vec<(u32, Removal, Moment)>,
}

impl Recent {
    /// Notes that a value left.
    #[inline]
    pub(crate) fn note(&mut self, hash: u32, why: Removal, when: Moment) {
        let gone = (hash, why, when);
        match self.gone.get_mut(self.next) {
            Some(oldest) => *oldest = gone,
            None => self.gone.push(gone),
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// Why and when the last value with this hash left, where that is not too many removals ago.
    pub(crate) fn last(&self, hash: u32) -> Option<(Removal, Moment)> {
        let (newer, older) = self.gone.split_at(self.next);
        let mut newest_first = newer.iter().rev().chain(older.iter().rev());
        newest_first.find(|(gone, ..)| *gone == hash).map(|(_, why, when)| (*why, *when))
    }
}

/// How many removals can be looked back on.
const KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_removal_of_a_hash_is_found_until_too_many_came_after_it() {
        let mut recent = Recent::default();
        for nth in 0..4 * KEPT as u64 {
            assert_eq!(recent.last(7), nth.checked_sub(1).map(|last| (Removal::Expired, Moment::from_nanos(last))));
            recent.note(7, Removal::Expired, Moment::from_nanos(nth));
        }
        recent.note(8, Removal::Evicted, Moment::default());
        for _ in 1..KEPT {
            assert_eq!(recent.last(8), Some((Removal::Evicted, Moment::default())));
            recent.note(9, Removal::Replaced, Moment::default());
        }
        recent.note(9, Removal::Replaced, Moment::default());
        assert_eq!(recent.last(8), None, "as many came since as are kept");
        assert!(recent.gone.len() == KEPT);
    }
}
