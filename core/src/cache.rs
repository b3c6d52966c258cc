//! Cache: what a host can ask, and what it is told to do.
//!
//! Reads that find something, writes and invalidations are done when they return. A call that needs a load is told so: it gets a
//! [`lease::Lease`] to load under, or a place to wait while another loads. The host loads, waits and keeps time; every decision is here.
//!
//! What was invalidated is never served again: an invalidation removes the value and sends the load away that was under way, in
//! one pass. Whoever asks after that begins anew, and the load sent away stores nothing.

mod config;
mod explained;
pub mod lease;
mod loading;
mod slots;
mod sweep;
mod words;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::chance::{Chance, Hasher, Seed};
use crate::entry::{Freshness, Life, Weight};
use crate::expiry::{Grace, Ttl};
use crate::flight::Limits;
use crate::key::Key;
use crate::moment::Moment;
use crate::policy::{Bounds, Slot};
use crate::stats::Stats;
use crate::store::{Coming, Held, Leaving, Shard, idle_weight, row_weight};
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::tag::InvalidTag;
use crate::version::{Ticket, Versions};

pub use config::{Config, Holder};
pub use explained::Explained;
pub use words::{Ask, Fill, Lookup, Removed, Seen, Step, Tags};

use config::shard_count;

/// How many entries a host lets leave in one call of [`Cache::expire`], before its other work has its turn: some tenths of a millisecond.
pub const EXPIRE_AT_ONCE: usize = 200;

/// A cache in memory. Clones share everything. `V` and `E` are handles, such as an `Arc`, whose clone calls no foreign code.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use donjon_core::cache::{Ask, Cache, Config, Fill, Lookup, Step};
/// use donjon_core::chance::Seed;
/// use donjon_core::expiry::{Grace, Ttl};
/// use donjon_core::key::Key;
/// use donjon_core::lease::Filled;
/// use donjon_core::moment::Moment;
///
/// let cache: Cache<Arc<str>, Arc<str>> = Cache::new(&Config::default(), Seed(0x5eed));
/// let (key, now) = (Key::new("user:1")?, Moment::from_millis(1_000));
/// let Step::Load(lease) = cache.begin(key, Ask::value(), now) else { panic!("nothing is stored yet") };
/// let life = cache.life(Ttl::from_secs(60.0)?, Grace::NONE, now);
/// let fill = Fill { life, bytes: 3, tags: cache.tags(&["users"])? };
/// assert_eq!(lease.fill("Ada".into(), fill, now), Filled::Stored);
/// assert_eq!(cache.get(key, now), Lookup::Hit("Ada".into()));
/// cache.invalidate_tags(&["users"])?;
/// assert_eq!(cache.get(key, now), Lookup::Miss);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Cache<V, E> {
    shared: Arc<Shared<V, E>>,
}

impl<V, E> Clone for Cache<V, E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
pub(crate) struct Shared<V, E> {
    shards: Box<[Shard<V, E>]>,
    hasher: Hasher,
    versions: Versions,
    chance: Chance,
    enabled: AtomicBool,
    config: Config,
    limits: Limits,
    /// What left and was not taken yet, where the host holds the values.
    left: Mutex<Vec<V>>,
}

impl<V: Clone, E: Clone> Shared<V, E> {
    /// Ends the flights that left, and lets the values go. To be called with nothing locked.
    pub(crate) fn settle(&self, leaving: Leaving<'_, V, E>) {
        let (first, others) = leaving.settle();
        if self.config.holder == Holder::Host {
            let mut left = self.left.lock();
            left.extend(first);
            left.extend(others);
        }
    }
}

impl<V, E> Shared<V, E> {
    #[inline]
    pub(crate) fn shard(&self, hash: u64) -> &Shard<V, E> {
        // The table of a shard uses the lowest and the highest bits; these are others.
        &self.shards[(hash >> 40) as usize & (self.shards.len() - 1)]
    }

    #[inline]
    pub(crate) fn enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }
}

/// What an entry takes of the capacity: value, key and bookkeeping.
pub(crate) fn weigh<V, E>(key: &str, fill: &Fill) -> Weight {
    Weight::new(fill.bytes.saturating_add(fill.tags.0.weight() + row_weight::<V, E>(key)))
}

impl<V: Clone, E: Clone> Cache<V, E> {
    /// An empty cache. The seed must be one that nobody outside can guess, or keys could be chosen to collide.
    pub fn new(config: &Config, seed: Seed) -> Self {
        let chance = Chance::new(seed);
        let hasher = chance.hasher(seed);
        let shards = shard_count(config);
        let bounds = || Bounds {
            max_weight: config.max_bytes / shards,
            max_entries: config.max_entries.map(|entries| entries / shards),
            idle_weight: idle_weight::<V, E>(),
        };
        Self {
            shared: Arc::new(Shared {
                shards: (0..shards).map(|_| Shard::new(bounds())).collect(),
                versions: Versions::new(hasher.clone()),
                hasher,
                chance,
                enabled: AtomicBool::new(true),
                config: config.clone(),
                limits: config.limits(),
                left: Mutex::default(),
            }),
        }
    }

    /// Reads a value, stale ones included. Never waits and never leases.
    pub fn get(&self, key: Key<'_>, now: Moment) -> Lookup<V> {
        self.get_as(key, now, |value| Some(value.clone()))
    }

    /// As [`Cache::get`], of what `serve` makes of the value, under the shared lock; a miss where it makes nothing of it.
    #[inline]
    pub fn get_as<U>(&self, key: Key<'_>, now: Moment, serve: impl FnOnce(&V) -> Option<U>) -> Lookup<U> {
        let (hash, shard) = self.place(key);
        let rows = shard.rows.read();
        let row = rows.row(hash, key.as_str()).filter(|_| self.shared.enabled());
        if let Some(row) = row
            && let Some(held) = rows.sure(row, now)
        {
            if let Some(served) = serve(&held.value) {
                row.touch();
                rows.counted();
                return Lookup::Hit(served);
            }
        } else if let Some(row) = row
            && let Some((freshness, held)) = rows.usable(row.slot(), now)
            && let Some(served) = serve(&held.value)
        {
            row.touch();
            if freshness == Freshness::Fresh {
                rows.counted();
                return Lookup::Hit(served);
            }
            drop(rows);
            shard.counters.stale.one();
            return Lookup::Stale(served);
        }
        drop(rows);
        shard.counters.misses.one();
        Lookup::Miss
    }

    /// The hot path of a call that would load: a fresh value that need not be refreshed early. Counts a hit, or nothing: on
    /// `None` go on with [`Cache::begin`].
    #[inline]
    pub fn hit(&self, key: Key<'_>, now: Moment) -> Option<V> {
        self.hit_as(key, now, |value| Some(value.clone()))
    }

    /// As [`Cache::hit`], of what `serve` makes of the value, under the shared lock; nothing where it makes nothing of it.
    #[inline]
    pub fn hit_as<U>(&self, key: Key<'_>, now: Moment, serve: impl FnOnce(&V) -> Option<U>) -> Option<U> {
        let (hash, shard) = self.place(key);
        let rows = shard.rows.read();
        let row = rows.row(hash, key.as_str())?;
        let held = rows.sure(row, now)?;
        if !self.shared.enabled() {
            return None;
        }
        let served = serve(&held.value)?;
        row.touch();
        rows.counted();
        Some(served)
    }

    /// A ticket later than every load begun so far.
    pub fn ticket(&self) -> Ticket {
        self.shared.versions.ticket()
    }

    /// Looks up tags by name, making those that are new.
    ///
    /// # Errors
    ///
    /// [`InvalidTag`] where a name is no tag or there are too many.
    pub fn tags<N: AsRef<str>>(&self, names: &[N]) -> Result<Tags, InvalidTag> {
        self.shared.versions.tags(names).map(Tags)
    }

    /// The life of a value stored at `now`, jitter applied.
    pub fn life(&self, ttl: Ttl, grace: Grace, now: Moment) -> Life {
        self.shared.config.jitter.apply(ttl, 1.0 - self.shared.chance.share()).life(grace, now)
    }

    /// Stores a value, whatever is there or under way: an explicit `set` is never refused. False where the value is larger than
    /// the cache takes or the cache is switched off: then the key is invalidated instead, since what is there is older.
    pub fn set(&self, key: Key<'_>, value: V, fill: Fill, now: Moment) -> bool {
        self.put(key, value, fill, now, |_| true).unwrap_or(false)
    }

    /// Stores a value in the place of what was seen: nothing, or the one with this ticket. `None` where there is another by now.
    pub fn swap(&self, key: Key<'_>, seen: Option<Ticket>, value: V, fill: Fill, now: Moment) -> Option<bool> {
        self.put(key, value, fill, now, |there| there == seen)
    }

    /// Stores a value if `may` says so, which is asked under the lock that stores: what it looks at is changed before what
    /// is kept here is removed, or not yet. False where it does not, or the value is not kept for want of room.
    pub(crate) fn admit(&self, key: Key<'_>, value: V, fill: Fill, now: Moment, may: impl FnOnce() -> bool) -> bool {
        self.put(key, value, fill, now, |_| may()) == Some(true)
    }

    /// Gives the value of a key another weight, if it `is` the one meant; what there is no more room for leaves.
    pub(crate) fn reweigh(&self, key: Key<'_>, bytes: u64, now: Moment, is: impl FnOnce(&V) -> bool) {
        let (hash, shard) = self.place(key);
        let mut leaving = Leaving::new(&shard.counters, now);
        let mut rows = shard.rows.write();
        if let Some(slot) = rows.find(hash, key.as_str()) {
            rows.reweigh(slot, |value| is(value), bytes.saturating_add(row_weight::<V, E>(key.as_str())), &mut leaving);
        }
        drop(rows);
        self.shared.settle(leaving);
    }

    /// Reads a value to be replaced by [`Cache::swap`]. Counts nothing.
    pub fn peek(&self, key: Key<'_>, now: Moment) -> Option<Seen<V>> {
        let (hash, shard) = self.place(key);
        let rows = shard.rows.read();
        let slot = rows.find(hash, key.as_str())?;
        let (_, held) = rows.usable(slot, now)?;
        let life = rows.life(slot)?;
        Some(Seen { value: held.value.clone(), ticket: rows.ticket(slot), life }).filter(|_| self.shared.enabled())
    }

    /// Gives a value another time to live from `now`; its grace stays as long as it was. False where there is none.
    pub fn retime(&self, key: Key<'_>, ttl: Ttl, now: Moment) -> bool {
        let (hash, shard) = self.place(key);
        let mut rows = shard.rows.write();
        let Some(slot) = rows.find(hash, key.as_str()) else { return false };
        if rows.usable(slot, now).is_none() || !self.shared.enabled() {
            return false;
        }
        if let Some(old) = rows.life(slot) {
            let fresh_until = self.life(ttl, Grace::NONE, now).fresh_until();
            rows.retime(slot, old.retimed(fresh_until));
        }
        true
    }

    /// Removes a key. True where its value could still be served.
    pub fn delete(&self, key: Key<'_>, now: Moment) -> bool {
        let (hash, shard) = self.place(key);
        let mut leaving = Leaving::new(&shard.counters, now);
        let mut rows = shard.rows.write();
        let served = rows.find(hash, key.as_str()).is_some_and(|slot| rows.invalidate(slot, &mut leaving));
        drop(rows);
        self.shared.settle(leaving);
        served
    }

    /// Makes dead all entries that carry one of these tags, at a cost that does not depend on how many there are. They keep
    /// their room until they are met, expire or are evicted. Gives how many tags were named.
    ///
    /// # Errors
    ///
    /// [`InvalidTag`] where a name is no tag or there are too many.
    pub fn invalidate_tags<N: AsRef<str>>(&self, names: &[N]) -> Result<u64, InvalidTag> {
        self.shared.versions.invalidate(names)
    }

    /// Lets up to `limit` entries whose time is over leave; true while more may be due. The work of one call is bounded by that.
    pub fn expire(&self, mut limit: usize, now: Moment) -> bool {
        let mut more = false;
        for shard in &self.shared.shards {
            if shard.rows.read().next_deadline().is_some_and(|due| due <= now) {
                let mut leaving = Leaving::new(&shard.counters, now);
                more |= shard.rows.write().expire(&mut limit, &mut leaving);
                self.shared.settle(leaving);
            }
        }
        more
    }

    /// When an entry's time may next be over.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.shared.shards.iter().filter_map(|shard| shard.rows.read().next_deadline()).min()
    }

    /// Switches the cache on or off. Off, reads miss, loads run without being shared, and what would be stored becomes an
    /// invalidation of its key; invalidations go on, so that nothing stale is there when it is switched on again.
    pub fn switch(&self, enabled: bool) {
        self.shared.enabled.store(enabled, Ordering::Relaxed);
    }

    /// Whether the cache is switched on.
    pub fn is_enabled(&self) -> bool {
        self.shared.enabled()
    }

    /// A reading of the counters.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for shard in &self.shared.shards {
            shard.counters.add_to(&mut stats);
            stats.hits += shard.rows.counted();
            let rows = shard.rows.read();
            stats.entries += rows.entries();
            stats.bytes += rows.bytes();
            stats.flights += rows.flights();
        }
        stats
    }

    /// Sets the counters back to zero. What is kept stays.
    pub fn reset_stats(&self) {
        for shard in &self.shared.shards {
            let _nobody_counts = shard.rows.write();
            shard.counters.reset();
            shard.rows.reset_counted();
        }
    }

    /// How many distinct tags are remembered.
    pub fn tag_count(&self) -> usize {
        self.shared.versions.len()
    }

    /// Recounts everything, for tests: it visits every row.
    ///
    /// # Panics
    ///
    /// Where a count, a link or a deadline is off.
    pub fn validate(&self) {
        self.shared.shards.iter().for_each(|shard| shard.rows.read().validate());
    }

    /// Counts a look-up that was answered by a stale value, as the tier above decided.
    pub(crate) fn count_stale(&self, key: Key<'_>) {
        self.place(key).1.counters.stale.one();
    }

    /// By what a key is found in here: no other cache has the same.
    pub(crate) fn hash(&self, key: Key<'_>) -> u64 {
        self.shared.hasher.hash(key.as_str())
    }

    #[cfg_attr(not(target_family = "wasm"), inline(always))]
    fn place(&self, key: Key<'_>) -> (u64, &Shard<V, E>) {
        let hash = self.hash(key);
        (hash, self.shared.shard(hash))
    }

    fn put(
        &self,
        key: Key<'_>,
        value: V,
        fill: Fill,
        now: Moment,
        may: impl FnOnce(Option<Ticket>) -> bool,
    ) -> Option<bool> {
        let (hash, shard) = self.place(key);
        let coming = Coming {
            weight: weigh::<V, E>(key.as_str(), &fill),
            life: fill.life,
            ticket: self.shared.versions.ticket(),
            load_micros: 0,
            held: Held { value, tags: fill.tags.0 },
        };
        let mut leaving = Leaving::new(&shard.counters, now);
        let mut rows = shard.rows.write();
        rows.foresee();
        let there = rows.find(hash, key.as_str());
        let enabled = self.shared.enabled();
        // Switched off, there is nothing to see: `peek` says the same.
        let is_usable = |slot: &Slot| enabled && rows.usable(*slot, now).is_some();
        let seen = there.filter(is_usable).map(|slot| rows.ticket(slot));
        let outcome = if !may(seen) {
            None
        } else if enabled && rows.admits(coming.weight) {
            let slot = match there {
                Some(slot) => {
                    rows.detach(slot, &mut leaving);
                    slot
                }
                None => rows.open_new(hash, key.as_str()),
            };
            rows.store(slot, coming, self.shared.config.early, &mut leaving);
            Some(true)
        } else {
            shard.counters.too_large.add(u64::from(enabled));
            if let Some(slot) = there {
                rows.invalidate(slot, &mut leaving);
            }
            Some(false)
        };
        drop(rows);
        self.shared.settle(leaving);
        outcome
    }
}
