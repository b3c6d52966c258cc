//! Cache: what a host can ask, and what it is told to do.
//!
//! Reads that find something, writes and invalidations are done when they return. A call that needs a load is told so: it gets a
//! [`Lease`] to load under, or a place to wait while another loads. The host loads, waits and keeps time; every decision is here.
//!
//! What was invalidated is never served again: an invalidation removes the value and sends the load away that was under way, in
//! one pass. Whoever asks after that begins anew, and the load sent away stores nothing.

pub mod lease;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ahash::RandomState;

use crate::chance::{Chance, Seed};
use crate::entry::{Freshness, Life, Removal, Weight};
use crate::expiry::{Early, Grace, Jitter, Ttl};
use crate::flight::{Flight, Joined};
use crate::key::Key;
use crate::moment::Moment;
use crate::pattern::Pattern;
use crate::policy::{Bounds, Slot};
use crate::rules::Plan;
use crate::stats::{Counter, Stats};
use crate::store::{Held, Leaving, Rows, Shard, row_overhead};
use crate::tag::InvalidTag;
use crate::version::{TagSet, Ticket, Versions};
use lease::Lease;

/// How large a cache may grow and how it treats time.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of keys, values and bookkeeping. Default 256 MiB.
    pub max_bytes: u64,
    /// Number of values. Default: as many as the bytes allow.
    pub max_entries: Option<u64>,
    /// Cut from each time to live at random, so that what was stored together does not expire together. Default none.
    pub jitter: Jitter,
    /// Refresh before expiry, the earlier the longer the load takes. Default on, with a beta of 1.
    pub early: Early,
    /// How long others wait for a load before another takes over. Default 30 s.
    pub load_timeout: Duration,
    /// Loads under way at once; what goes beyond loads for itself and stores nothing. Default 10,000.
    pub max_flights: u64,
    /// Callers that wait for one load; what goes beyond loads for itself and stores nothing. Default 10,000.
    pub max_joined: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            max_entries: None,
            jitter: Jitter::NONE,
            early: Early::default(),
            load_timeout: Duration::from_secs(30),
            max_flights: 10_000,
            max_joined: 10_000,
        }
    }
}

/// How a value is to be stored.
#[derive(Clone, Debug)]
pub struct Fill {
    /// Until when it is fresh and usable: see [`Cache::life`].
    pub life: Life,
    /// What it weighs, in bytes, without its key.
    pub bytes: u64,
    /// What it can be invalidated by, besides its key: see [`Cache::tags`].
    pub tags: Tags,
}

/// Names that were checked and found in the cache's table of tags. Empty by default.
#[derive(Clone, Debug, Default)]
pub struct Tags(pub(crate) TagSet);

/// What [`Cache::begin`] is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    since: Option<Ticket>,
    again: bool,
}

impl Ask {
    /// Any usable value, or a load.
    pub fn value() -> Self {
        Self::default()
    }

    /// A value whose load began after `since` was taken (by [`Cache::ticket`]), or such a load.
    pub fn newer_than(since: Ticket) -> Self {
        Self { since: Some(since), again: false }
    }

    /// The same once more, after waiting: the look-up was counted already.
    pub fn again(self) -> Self {
        Self { again: true, ..self }
    }
}

/// What to do next.
#[derive(Debug)]
pub enum Step<V: Clone, E: Clone> {
    /// Serve this.
    Done(V),
    /// Load under the lease. Until then this value may be served; should the load fail, it is served instead.
    Stale(V, Lease<V, E>),
    /// Load under the lease.
    Load(Lease<V, E>),
    /// Another loads: wait for it, but no longer than this, and then begin again.
    Join(Joined<V, E>, Duration),
}

/// What a plain read finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<V> {
    /// A fresh value.
    Hit(V),
    /// A value past its time to live, within its grace.
    Stale(V),
    /// Nothing that may be served.
    Miss,
}

/// What an invalidation removed. The caller drops the values, where it likes.
#[derive(Debug)]
pub struct Removed<V> {
    /// How many of them could still have been served.
    pub count: u64,
    /// All that left.
    pub values: Vec<V>,
}

/// A value with what is needed to replace exactly it.
#[derive(Clone, Debug)]
pub struct Seen<V> {
    /// The value.
    pub value: V,
    /// What it was stored under: see [`Cache::swap`].
    pub ticket: Ticket,
    /// Until when it lives.
    pub life: Life,
}

/// What the cache knows of a key, for people who wonder why.
#[derive(Clone, Debug)]
pub struct Explained {
    /// How its value stands, where it has one that may be served.
    pub freshness: Option<Freshness>,
    /// Until when that value lives.
    pub life: Option<Life>,
    /// How long ago it was stored.
    pub age: Option<Duration>,
    /// How long its loader took; zero for what was set by hand.
    pub load_time: Option<Duration>,
    /// What the entry weighs.
    pub weight: Option<Weight>,
    /// The tags of the value.
    pub tags: Vec<String>,
    /// Whether a tag of the value was invalidated, so that it is not served.
    pub tag_invalidated: bool,
    /// For how long a load has been under way.
    pub loading: Option<Duration>,
    /// Why its last value left and how long ago, where that is not too many removals back.
    pub last_removal: Option<(Removal, Duration)>,
}

impl Explained {
    /// `fresh`, `stale` or `absent`.
    pub fn state(&self) -> &'static str {
        match self.freshness {
            Some(Freshness::Fresh) => "fresh",
            Some(_) => "stale",
            None => "absent",
        }
    }

    /// Why there is nothing to serve, in a word; `None` where there is.
    pub fn why_absent(&self) -> Option<&'static str> {
        match (self.freshness, self.tag_invalidated, self.last_removal) {
            (Some(_), ..) => None,
            (None, true, _) => Some("tag invalidated"),
            (None, false, Some((Removal::Invalidated, _))) => Some("invalidated"),
            (None, false, Some((Removal::Evicted, _))) => Some("evicted"),
            (None, false, Some((Removal::Expired, _))) => Some("expired"),
            (None, false, Some((Removal::Replaced, _)) | None) => {
                Some("never stored, or too long ago to be remembered")
            }
        }
    }
}

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
    hasher: RandomState,
    versions: Versions,
    chance: Chance,
    enabled: AtomicBool,
    config: Config,
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
    Weight::new(fill.bytes.saturating_add(key.len() as u64).saturating_add(row_overhead::<V, E>()))
}

impl<V: Clone, E: Clone> Cache<V, E> {
    /// An empty cache. The seed must be one that nobody outside can guess, or keys could be chosen to collide.
    pub fn new(config: &Config, seed: Seed) -> Self {
        let chance = Chance::new(seed);
        let hasher = RandomState::with_seeds(
            (seed.0 >> 64) as u64 ^ chance.bits(),
            seed.0 as u64 ^ chance.bits(),
            chance.bits(),
            chance.bits(),
        );
        let shards = shard_count(config);
        let bounds = || Bounds {
            max_weight: config.max_bytes / shards,
            max_entries: config.max_entries.map(|entries| entries / shards),
        };
        Self {
            shared: Arc::new(Shared {
                shards: (0..shards).map(|_| Shard::new(bounds())).collect(),
                versions: Versions::new(hasher.clone()),
                hasher,
                chance,
                enabled: AtomicBool::new(true),
                config: config.clone(),
            }),
        }
    }

    /// Reads a value, stale ones included. Never waits and never leases.
    pub fn get(&self, key: Key<'_>, now: Moment) -> Lookup<V> {
        let (hash, shard) = self.place(key);
        if !self.shared.enabled() {
            shard.counters.misses.one();
            return Lookup::Miss;
        }
        let rows = shard.rows.read();
        let found = rows.find(hash, key.as_str()).and_then(|slot| {
            let (freshness, held) = rows.usable(slot, now)?;
            rows.touch(slot);
            Some((freshness, held.value.clone()))
        });
        drop(rows);
        match found {
            Some((Freshness::Fresh, value)) => {
                shard.counters.hits.one();
                Lookup::Hit(value)
            }
            Some((_, value)) => {
                shard.counters.stale.one();
                Lookup::Stale(value)
            }
            None => {
                shard.counters.misses.one();
                Lookup::Miss
            }
        }
    }

    /// The hot path of a call that would load: a fresh value that need not be refreshed early. Counts a hit, or nothing: on
    /// `None` go on with [`Cache::begin`].
    #[inline]
    pub fn hit(&self, key: Key<'_>, now: Moment) -> Option<V> {
        let (hash, shard) = self.place(key);
        let rows = shard.rows.read();
        let slot = rows.find(hash, key.as_str())?;
        let (freshness, held) = rows.usable(slot, now)?;
        if freshness != Freshness::Fresh || !self.shared.enabled() || self.early_is_possible(&rows, slot, held, now) {
            return None;
        }
        rows.touch(slot);
        let value = held.value.clone();
        drop(rows);
        shard.counters.hits.one();
        Some(value)
    }

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
            drop(leaving.settle());
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
            (Verdict::Join(flight), _) => self.join(key, flight, ask, now),
            (Verdict::Load, lease) => Step::Load(lease.unwrap_or_else(|| self.bypass(key, now))),
        }
    }

    /// A lease whose fill is refused: for a caller that has to load without waiting any longer.
    pub fn bypass(&self, key: Key<'_>, now: Moment) -> Lease<V, E> {
        Lease::bypass(&self.shared, key.as_str(), self.place(key).0, self.shared.versions.ticket(), now)
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

    /// Reads a value to be replaced by [`Cache::swap`]. Counts nothing.
    pub fn peek(&self, key: Key<'_>, now: Moment) -> Option<Seen<V>> {
        let (hash, shard) = self.place(key);
        let rows = shard.rows.read();
        let slot = rows.find(hash, key.as_str())?;
        let (_, held) = rows.usable(slot, now)?;
        let life = rows.life(slot)?;
        Some(Seen { value: held.value.clone(), ticket: held.ticket, life }).filter(|_| self.shared.enabled())
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
            let usable_until = match (old.fresh_until(), old.usable_until()) {
                // What was fresh for ever had no grace to keep.
                (Moment::NEVER, _) => fresh_until,
                (_, Moment::NEVER) => Moment::NEVER,
                (fresh, usable) => fresh_until.after(usable - fresh),
            };
            rows.retime(slot, Life::new(fresh_until, usable_until));
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
        drop(leaving.settle());
        served
    }

    /// Removes every key that matches, and all of them for an all-star pattern. It holds when this returns. Visits every row,
    /// a bounded number under one lock.
    pub fn invalidate_pattern(&self, pattern: &Pattern, now: Moment) -> Removed<V> {
        self.sweep(now, |key| pattern.is_everything() || pattern.matches(key.as_bytes()))
    }

    /// Removes everything. Visits every row, a bounded number under one lock.
    pub fn clear(&self, now: Moment) -> Removed<V> {
        self.sweep(now, |_| true)
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

    /// Lets up to `limit` entries whose time is over leave, a shard at most; true while more may be due.
    pub fn expire(&self, limit: usize, now: Moment) -> bool {
        let mut more = false;
        for shard in &self.shared.shards {
            if shard.rows.read().next_deadline().is_some_and(|due| due <= now) {
                let mut leaving = Leaving::new(&shard.counters, now);
                more |= shard.rows.write().expire(limit, &mut leaving);
                drop(leaving.settle());
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
            let rows = shard.rows.read();
            stats.entries += rows.entries();
            stats.bytes += rows.bytes();
            stats.flights += rows.flights();
        }
        stats
    }

    /// Sets the counters back to zero. What is kept stays.
    pub fn reset_stats(&self) {
        self.shared.shards.iter().for_each(|shard| shard.counters.reset());
    }

    /// Says what is known of a key. Counts nothing.
    pub fn explain(&self, key: Key<'_>, now: Moment) -> Explained {
        let (hash, shard) = self.place(key);
        let rows = shard.rows.read();
        let slot = rows.find(hash, key.as_str());
        let usable = slot.and_then(|slot| rows.usable(slot, now));
        let held = usable.map(|(_, held)| held);
        Explained {
            freshness: usable.map(|(freshness, _)| freshness),
            life: held.and(slot).and_then(|slot| rows.life(slot)),
            age: held.map(|held| now - held.stored),
            load_time: held.map(Held::load_time),
            weight: held.and(slot).and_then(|slot| rows.weight(slot)),
            tags: held.iter().flat_map(|held| held.tags.names().map(Into::into)).collect(),
            tag_invalidated: slot.is_some_and(|slot| rows.tag_invalidated(slot)),
            loading: slot.and_then(|slot| rows.flight(slot)).map(|flight| now - flight.begun),
            last_removal: match slot.and_then(|slot| rows.over(slot, now)) {
                Some(since) => Some((Removal::Expired, now - since)),
                None => rows.last_removal(hash).map(|(why, when)| (why, now - when)),
            },
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

    fn place(&self, key: Key<'_>) -> (u64, &Shard<V, E>) {
        let hash = self.shared.hasher.hash_one(key.as_str());
        (hash, self.shared.shard(hash))
    }

    fn early_is_possible(&self, rows: &Rows<V, E>, slot: Slot, held: &Held<V>, now: Moment) -> bool {
        held.load_micros > 0
            && rows
                .life(slot)
                .is_some_and(|life| self.shared.config.early.possible(now, life.fresh_until(), held.load_time()))
    }

    fn judge(&self, rows: &Rows<V, E>, slot: Option<Slot>, ask: Ask, chance: f64, now: Moment) -> Verdict<V, E> {
        let Some(slot) = slot else { return Verdict::Load };
        let flight = rows.flight(slot).filter(|flight| now - flight.begun < self.shared.config.load_timeout);
        let serves = |held: &Held<V>| ask.since.is_none_or(|since| held.ticket > since);
        match rows.usable(slot, now).filter(|(_, held)| serves(held)) {
            Some((freshness, held)) => {
                let refreshes = flight.is_none()
                    && (freshness == Freshness::Stale
                        || self.early_is_possible(rows, slot, held, now)
                            && rows.life(slot).is_some_and(|life| {
                                self.shared.config.early.due(now, life.fresh_until(), held.load_time(), chance)
                            }));
                rows.touch(slot);
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
        let most = (self.shared.config.max_flights / self.shared.shards.len() as u64).max(1);
        let takes_over = || rows.find(hash, key.as_str()).is_some_and(|slot| rows.flight(slot).is_some());
        if rows.flights() >= most && !takes_over() {
            return None;
        }
        let slot = rows.open(hash, key.as_str());
        let flight = rows.take_off(slot, self.shared.versions.ticket(), leaving);
        Some(Lease::new(&self.shared, key.as_str(), hash, slot, flight, falls_back))
    }

    fn join(&self, key: Key<'_>, flight: Arc<Flight<V, E>>, ask: Ask, now: Moment) -> Step<V, E> {
        if flight.joined() >= self.shared.config.max_joined {
            return Step::Load(self.bypass(key, now));
        }
        let at_most = self.shared.config.load_timeout.saturating_sub(now - flight.begun);
        Step::Join(Joined::new(flight, ask.since), at_most)
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
        let weight = weigh::<V, E>(key.as_str(), &fill);
        let held =
            Held { value, ticket: self.shared.versions.ticket(), tags: fill.tags.0, stored: now, load_micros: 0 };
        let mut leaving = Leaving::new(&shard.counters, now);
        let mut rows = shard.rows.write();
        let there = rows.find(hash, key.as_str());
        let enabled = self.shared.enabled();
        // Switched off, there is nothing to see: `peek` says the same.
        let seen = there.filter(|_| enabled).and_then(|slot| rows.usable(slot, now)).map(|(_, held)| held.ticket);
        let outcome = if !may(seen) {
            None
        } else if enabled && rows.admits(weight) {
            let slot = rows.open(hash, key.as_str());
            rows.detach(slot, &mut leaving);
            rows.store(slot, held, weight, fill.life, &mut leaving);
            Some(true)
        } else {
            shard.counters.too_large.add(u64::from(enabled));
            if let Some(slot) = there {
                rows.invalidate(slot, &mut leaving);
            }
            Some(false)
        };
        drop(rows);
        drop(leaving.settle());
        outcome
    }

    fn sweep(&self, now: Moment, matches: impl Fn(&str) -> bool) -> Removed<V> {
        let mut removed = Removed { count: 0, values: Vec::new() };
        for shard in &self.shared.shards {
            // What comes behind this end while we go was loaded after we began.
            let end = shard.rows.read().len();
            for from in (0..end).step_by(SLICE) {
                let mut leaving = Leaving::new(&shard.counters, now);
                let mut rows = shard.rows.write();
                for index in from..end.min(from + SLICE) {
                    if let Some(slot) = rows.at(index).and_then(|(slot, key)| matches(key).then_some(slot)) {
                        removed.count += u64::from(rows.invalidate(slot, &mut leaving));
                    }
                }
                drop(rows);
                removed.values.extend(leaving.settle());
            }
        }
        removed
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

/// As many shards as leave each a useful share of the bounds: a value has to fit into one.
fn shard_count(config: &Config) -> u64 {
    let fits = |shards: u64| {
        config.max_bytes / shards >= MIN_SHARD_BYTES
            && config.max_entries.is_none_or(|entries| entries / shards >= MIN_SHARD_ENTRIES)
    };
    [16, 8, 4, 2].into_iter().find(|shards| fits(*shards)).unwrap_or(1)
}

/// Rows visited under one hold of a lock: some tens of microseconds.
const SLICE: usize = 512;
const MIN_SHARD_BYTES: u64 = 4 << 20;
const MIN_SHARD_ENTRIES: u64 = 1_024;
