//! Loading: who is served, who loads and who waits.
//!
//! Decides under the shared lock where nothing has to change, and once more under the other where a load begins.

use alloc::sync::Arc;

use crate::cache::lease::Lease;
use crate::cache::{Ask, Cache, Step};
use crate::entry::{Freshness, Life};
use crate::flight::Flight;
use crate::key::Key;
use crate::moment::Moment;
use crate::policy::Slot;
use crate::stats::Counter;
use crate::store::{Leaving, Rows};

impl<V: Clone, E: Clone> Cache<V, E> {
    /// Looks up for a caller that can load, and says what it has to do.
    pub fn begin(&self, key: Key<'_>, ask: Ask, now: Moment) -> Step<V, E> {
        let (hash, shard) = self.place(key);
        let count = |what: &Counter| {
            if !ask.again {
                what.one();
            }
        };
        if !self.shared.enabled() {
            count(&shard.counters.misses);
            return Step::Load(self.bypass(key, now));
        }
        let chance = self.shared.chance.share();
        // Kept to the end: by then it may hold the last of a value, which must not be dropped under a lock.
        let first = {
            let rows = shard.rows.read();
            self.judge(&rows, rows.find(hash, key.as_str()), ask, chance, now)
        };
        let (verdict, lease) = if first.leads() {
            // Somebody may have begun between the two locks: judged again, under the one that lets us begin.
            let mut leaving = Leaving::new(&shard.counters, now);
            let mut rows = shard.rows.write();
            let verdict = self.judge(&rows, rows.find(hash, key.as_str()), ask, chance, now);
            let lease = verdict
                .leads()
                .then(|| self.lease(&mut rows, key, hash, matches!(verdict, Verdict::Refresh(..)), &mut leaving))
                .flatten();
            drop(rows);
            self.shared.settle(leaving);
            (verdict, lease)
        } else {
            (first, None)
        };
        match &verdict {
            Verdict::Serve(Freshness::Fresh, _) | Verdict::Refresh(Freshness::Fresh, _) => count(&shard.counters.hits),
            Verdict::Serve(..) | Verdict::Refresh(..) => count(&shard.counters.stale),
            Verdict::Join(_) | Verdict::Load => count(&shard.counters.misses),
        }
        match (verdict, lease) {
            (Verdict::Serve(_, value) | Verdict::Refresh(_, value), None) => Step::Done(value),
            (Verdict::Serve(_, value) | Verdict::Refresh(_, value), Some(lease)) => Step::Stale(value, lease),
            (Verdict::Join(flight), _) => match self.shared.limits.join(flight, ask.since, now) {
                Some((joined, at_most)) => Step::Join(joined, at_most),
                None => Step::Load(self.bypass(key, now)),
            },
            (Verdict::Load, lease) => Step::Load(lease.unwrap_or_else(|| self.bypass(key, now))),
        }
    }

    /// A lease whose fill is refused: for a caller that has to load without waiting any longer.
    pub fn bypass(&self, key: Key<'_>, now: Moment) -> Lease<V, E> {
        Lease::bypass(&self.shared, key.as_str(), self.place(key).0, self.shared.versions.ticket(), now)
    }

    /// Whether the value of `slot` is to be loaded anew although it is fresh, as this chance has it.
    fn is_early(&self, rows: &Rows<V, E>, slot: Slot, now: Moment, chance: f64) -> bool {
        let is_due = |life: Life| self.shared.config.early.due(now, life.fresh_until(), rows.load_time(slot), chance);
        rows.life(slot).is_some_and(is_due)
    }

    fn judge(&self, rows: &Rows<V, E>, slot: Option<Slot>, ask: Ask, chance: f64, now: Moment) -> Verdict<V, E> {
        let Some(slot) = slot else { return Verdict::Load };
        let flight = rows.flight(slot).filter(|flight| self.shared.limits.awaits(flight, now));
        let serves = ask.since.is_none_or(|since| rows.ticket(slot) > since);
        match rows.usable(slot, now).filter(|_| serves) {
            Some((freshness, held)) => {
                let refreshes =
                    flight.is_none() && (freshness == Freshness::Stale || self.is_early(rows, slot, now, chance));
                rows.line(slot).touch();
                if refreshes {
                    Verdict::Refresh(freshness, held.value.clone())
                } else {
                    Verdict::Serve(freshness, held.value.clone())
                }
            }
            None => flight.map_or(Verdict::Load, |flight| Verdict::Join(Arc::clone(flight))),
        }
    }

    /// Begins a load; `None` where too many are under way.
    fn lease(
        &self,
        rows: &mut Rows<V, E>,
        key: Key<'_>,
        hash: u64,
        falls_back: bool,
        leaving: &mut Leaving<'_, V, E>,
    ) -> Option<Lease<V, E>> {
        let most = (self.shared.limits.max_flights / self.shared.shards.len() as u64).max(1);
        let takes_over = || rows.find(hash, key.as_str()).is_some_and(|slot| rows.flight(slot).is_some());
        if rows.flights() >= most && !takes_over() {
            return None;
        }
        let slot = rows.open(hash, key.as_str());
        let flight = rows.take_off(slot, self.shared.versions.ticket(), leaving);
        Some(Lease::new(&self.shared, key.as_str(), hash, slot, flight, falls_back))
    }
}

/// What a look-up that could load comes to.
enum Verdict<V, E> {
    /// There is a value.
    Serve(Freshness, V),
    /// There is a value, and whoever gets this is to load the next one.
    Refresh(Freshness, V),
    /// There is none, and another loads.
    Join(Arc<Flight<V, E>>),
    /// There is none.
    Load,
}

impl<V, E> Verdict<V, E> {
    fn leads(&self) -> bool {
        matches!(self, Self::Refresh(..) | Self::Load)
    }
}
