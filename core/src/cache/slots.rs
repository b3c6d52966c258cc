//! Slots: a cache whose values the host holds, and finds by number.
//!
//! For a host of one thread that is quicker at finding a key in a table of its own than at handing a text over: it keeps the
//! number of a key's row beside the value, and reads by that. The numbers are good for as long as the value is: the host takes
//! what left after each call, before it reads again.

use alloc::vec::Vec;

use crate::cache::{Cache, Lookup};
use crate::entry::Freshness;
use crate::key::Key;
use crate::moment::Moment;
use crate::policy::Slot;

impl<V: Clone, E: Clone> Cache<V, E> {
    /// The row of a key that has a value or is being loaded.
    pub fn slot(&self, key: Key<'_>) -> Option<Slot> {
        let (hash, shard) = self.place(key);
        shard.rows.read().find(hash, key.as_str())
    }

    /// As [`Cache::hit`], of a row.
    #[inline(always)]
    pub fn hit_at(&self, slot: Slot, now: Moment) -> bool {
        self.hit_at_where(slot, now, |_| true)
    }

    /// As [`Cache::hit_at`], where the value may be served at all.
    #[inline(always)]
    pub(crate) fn hit_at_where(&self, slot: Slot, now: Moment, serves: impl FnOnce(&V) -> bool) -> bool {
        let shard = &self.shared.shards[0];
        let rows = shard.rows.read();
        let row = rows.line(slot);
        let Some(held) = rows.sure(row, now) else { return false };
        if !self.shared.enabled() || !serves(&held.value) {
            return false;
        }
        row.touch();
        rows.counted();
        true
    }

    /// As [`Cache::get`], of a row; of none, a miss.
    #[inline]
    pub fn get_at(&self, slot: Option<Slot>, now: Moment) -> Lookup<()> {
        let shard = &self.shared.shards[0];
        let rows = shard.rows.read();
        let usable = slot.filter(|_| self.shared.enabled()).and_then(|slot| Some((slot, rows.usable(slot, now)?.0)));
        let Some((slot, freshness)) = usable else {
            shard.counters.misses.one();
            return Lookup::Miss;
        };
        rows.line(slot).touch();
        if freshness == Freshness::Fresh {
            rows.counted();
            Lookup::Hit(())
        } else {
            shard.counters.stale.one();
            Lookup::Stale(())
        }
    }

    /// What left since this was last called: the host lets go of it.
    pub fn take_left(&self) -> Vec<V> {
        core::mem::take(&mut *self.shared.left.lock())
    }
}
