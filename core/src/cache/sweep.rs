//! Sweep: removing many keys at once, with no lock held for long.

use alloc::vec::Vec;

use crate::cache::{Cache, Removed};
use crate::key::Key;
use crate::moment::Moment;
use crate::pattern::Pattern;
use crate::rules::Plan;
use crate::store::Leaving;

impl<V: Clone, E: Clone> Cache<V, E> {
    /// Removes every key that matches, and all of them for an all-star pattern. It holds when this returns. Visits every row,
    /// a bounded number under one lock.
    pub fn invalidate_pattern(&self, pattern: &Pattern, now: Moment) -> Removed<V> {
        self.sweep(now, |key| pattern.is_everything() || pattern.matches(key))
    }

    /// Removes everything. Visits every row, a bounded number under one lock.
    pub fn clear(&self, now: Moment) -> Removed<V> {
        self.sweep(now, |_| true)
    }

    /// Invalidates what the rules of an event came to. The count leaves tags out, whose entries leave as they are met.
    pub fn carry_out(&self, plan: &Plan, now: Moment) -> Removed<V> {
        let mut removed = Removed { count: 0, values: Vec::new() };
        // What is no key, or no tag, has no entries.
        for key in plan.keys.iter().filter_map(|key| Key::new(key).ok()) {
            removed.count += u64::from(self.delete(key, now));
        }
        for pattern in &plan.patterns {
            let swept = self.invalidate_pattern(pattern, now);
            removed.count += swept.count;
            removed.values.extend(swept.values);
        }
        for tag in &plan.tags {
            let _no_tag = self.invalidate_tags(&[tag]);
        }
        removed
    }

    fn sweep(&self, now: Moment, matches: impl Fn(&[u8]) -> bool) -> Removed<V> {
        let mut removed = Removed { count: 0, values: Vec::new() };
        for shard in &self.shared.shards {
            // What comes behind this end while we go was loaded after we began.
            let end = shard.rows.read().len();
            for from in (0..end).step_by(SLICE) {
                let slice = from..end.min(from + SLICE);
                // In most slices nothing matches, and to find that out others may read on: where there are others.
                if cfg!(not(target_family = "wasm")) && !shard.rows.read().any(slice.clone(), &matches) {
                    continue;
                }
                let mut leaving = Leaving::new(&shard.counters, now);
                let mut rows = shard.rows.write();
                for index in slice {
                    if let Some(slot) = rows.at(index).and_then(|(slot, key)| matches(key).then_some(slot)) {
                        removed.count += u64::from(rows.invalidate(slot, &mut leaving));
                    }
                }
                drop(rows);
                let (first, others) = leaving.settle();
                removed.values.extend(first);
                removed.values.extend(others);
            }
        }
        removed
    }
}

/// Rows visited under one hold of a lock: some tens of microseconds.
const SLICE: usize = 512;
