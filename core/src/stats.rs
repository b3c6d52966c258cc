//! Stats: what a cache has done so far, counted exactly however many threads use it.
//!
//! Owns the counters and what is worked out from them. Each shard counts apart, so that two threads that hit different
//! shards write to different cache lines; a reading adds them up.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use crate::entry::Removal;

/// A reading of the counters. Every look-up counts once, as a hit, a stale hit or a miss.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Look-ups answered by a fresh value.
    pub hits: u64,
    /// Look-ups answered by memory in front of a shared tier: `hits` and `stale` count them, too.
    pub memory_hits: u64,
    /// Look-ups answered by a value past its time to live, within its grace.
    pub stale: u64,
    /// Look-ups that found nothing usable, whether they loaded, waited for a load, or went away.
    pub misses: u64,
    /// Loads that came to an end, well or badly.
    pub loads: u64,
    /// Loads whose loader failed.
    pub load_failures: u64,
    /// Loads whose value was not stored, since something was invalidated while they ran.
    pub loads_refused: u64,
    /// Time spent in loads that ended with a value.
    pub load_time: Duration,
    /// Values stored, by a load or by hand.
    pub stores: u64,
    /// Values that left for want of room.
    pub evictions: u64,
    /// Values that left because their time was over.
    pub expirations: u64,
    /// Values that left because somebody said so.
    pub invalidations: u64,
    /// Values that another took the place of.
    pub replacements: u64,
    /// Values not stored because they are larger than a cache of this size takes.
    pub too_large: u64,
    /// Leases taken from the dead: of a holder that is gone, or on a value that a tag has made dead. Of a shared tier only.
    pub takeovers: u64,
    /// Look-ups that met what is not this release's to replace. Of a shared tier only.
    pub foreign: u64,
    /// Commands that failed. Of a shared tier only.
    pub faults: u64,
    /// Invalidations that Redis has not confirmed yet. Of a shared tier only.
    pub queued: u64,
    /// Values kept now.
    pub entries: u64,
    /// What they weigh: bytes of keys, values and bookkeeping.
    pub bytes: u64,
    /// Loads under way now.
    pub flights: u64,
}

impl Stats {
    /// Look-ups of any outcome.
    pub fn lookups(&self) -> u64 {
        self.hits + self.stale + self.misses
    }

    /// The share of look-ups answered by a value, stale ones among them; 0.0 before the first look-up.
    pub fn hit_rate(&self) -> f64 {
        match self.lookups() {
            0 => 0.0,
            lookups => (self.hits + self.stale) as f64 / lookups as f64,
        }
    }

    /// The share of look-ups that found nothing; 0.0 before the first look-up.
    pub fn miss_rate(&self) -> f64 {
        match self.lookups() {
            0 => 0.0,
            lookups => self.misses as f64 / lookups as f64,
        }
    }
}

/// The counters of one shard, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(crate) struct Counters {
    /// Those of a cache in memory that only read are counted by the lock that they read under.
    pub(crate) hits: Counter,
    pub(crate) stale: Counter,
    pub(crate) misses: Counter,
    pub(crate) stores: Counter,
    evicted: Counter,
    expired: Counter,
    invalidated: Counter,
    replaced: Counter,
    pub(crate) loads: Counter,
    pub(crate) load_failures: Counter,
    pub(crate) loads_refused: Counter,
    pub(crate) load_nanos: Counter,
    pub(crate) too_large: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn one(&self) {
        self.add(1);
    }

    #[inline]
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// As [`Counter::one`], where nobody else counts meanwhile: under the lock that a shard is changed under.
    #[inline]
    pub(crate) fn one_alone(&self) {
        self.0.store(self.read() + 1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Counters {
    /// Counts a value that left, under the lock that the shard is changed under.
    #[inline]
    pub(crate) fn left(&self, why: Removal) {
        match why {
            Removal::Evicted => &self.evicted,
            Removal::Expired => &self.expired,
            Removal::Invalidated => &self.invalidated,
            Removal::Replaced => &self.replaced,
        }
        .one_alone();
    }

    pub(crate) fn add_to(&self, stats: &mut Stats) {
        stats.hits += self.hits.read();
        stats.stale += self.stale.read();
        stats.misses += self.misses.read();
        stats.loads += self.loads.read();
        stats.load_failures += self.load_failures.read();
        stats.loads_refused += self.loads_refused.read();
        stats.load_time += Duration::from_nanos(self.load_nanos.read());
        stats.stores += self.stores.read();
        stats.too_large += self.too_large.read();
        stats.evictions += self.evicted.read();
        stats.expirations += self.expired.read();
        stats.invalidations += self.invalidated.read();
        stats.replacements += self.replaced.read();
    }

    pub(crate) fn reset(&self) {
        for counter in [
            &self.hits,
            &self.stale,
            &self.misses,
            &self.loads,
            &self.load_failures,
            &self.loads_refused,
            &self.load_nanos,
            &self.stores,
            &self.too_large,
            &self.evicted,
            &self.expired,
            &self.invalidated,
            &self.replaced,
        ] {
            counter.reset();
        }
    }
}
