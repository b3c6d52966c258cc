//! Near: memory in front of a shared tier: what may enter it, and what of it may be served.
//!
//! Redis tells a connection what changes of all that was read on it. So memory has what was read there and not been told of since,
//! and believes none of it once it has not heard for [`TRUST`] that the connection still lives. Of many servers each has a connection.
//! Of a tier that keeps none to tell anything on, memory has what was read for [`Config::ttl`], which is then all that bounds how late
//! it is.
//! Must not know how a connection works, nor what a value is: who owns a connection has a [`Track`] for it, and says what it is told.
//!
//! Invariants: what is told is noted before it is removed, and looked up under the lock that stores, so that nothing enters that was
//! read before; what came over a connection dies with it; nothing here outlives what the shared tier has, by that one's own clock.
//!
//! | to find out | look in |
//! |---|---|
//! | which answer came too late to enter, and what is believed | `coherence` |
//! | how a host of one thread that keeps the values itself asks | `host` |

mod coherence;
mod host;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::time::Duration;

use crate::cache::{Cache, Config as StoreConfig, Explained, Fill, Holder};
use crate::chance::Seed;
use crate::entry::{Freshness, Life};
use crate::expiry::{Early, Grace, Jitter, Ttl};
use crate::key::Key;
use crate::moment::Moment;
use crate::pattern::Pattern;
use crate::remote::name::{Named, Names, table_of};
use crate::remote::sight::Outline;
use crate::stats::Stats;
use crate::sync::Mutex;

use coherence::{Coherence, Spells};

pub use coherence::{Guard, State, Told, Track};

/// How long memory is believed after a connection was asked for a sign of life that it then gave.
pub const TRUST: Duration = Duration::from_secs(2);

/// How often a connection is asked for a sign of life.
pub const BEAT: Duration = Duration::from_millis(500);

/// How much memory there is in front of a shared tier, and for how long it has a value.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of keys, values and bookkeeping. Default 256 MiB.
    pub max_bytes: u64,
    /// Number of values. Default: as many as the bytes allow.
    pub max_entries: Option<u64>,
    /// How long a value is served before the shared tier is asked anew, up to a tenth of it cut at random; never longer than the
    /// shared tier has it. Default 60 s.
    pub ttl: Ttl,
    /// For how long values are served, as stale ones, while there is no connection; none by default.
    pub max_stale: Duration,
    /// Who has the values. Default: memory itself.
    pub holder: Holder,
}

impl Default for Config {
    fn default() -> Self {
        let max_bytes = StoreConfig::default().max_bytes;
        let ttl = Ttl::from_secs(60.0).expect("a minute is a time to live");
        Self { max_bytes, max_entries: None, ttl, max_stale: Duration::ZERO, holder: Holder::default() }
    }
}

/// Memory in front of a shared tier, for one process. Clones share everything. `V` is a handle, such as an `Arc`, whose clone calls
/// no foreign code; its `now` is of a clock that counts on while the machine is suspended.
#[derive(Debug)]
pub struct Near<V> {
    shared: Arc<Shared<V>>,
}

impl<V> Clone for Near<V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct Shared<V> {
    names: Names,
    /// No load is led here: that is the shared tier's.
    store: Cache<Placed<V>, Infallible>,
    coherence: Arc<Coherence>,
    ttl: Ttl,
    max_stale: Duration,
    /// What sweeps removed, still to be freed.
    left: Mutex<Vec<Placed<V>>>,
}

/// A value that the shared tier answered with.
#[derive(Debug)]
pub struct Answer<'a, V> {
    /// As it is to be kept.
    pub value: V,
    /// What it weighs, without its key.
    pub bytes: u64,
    /// How long it lives there, and what ends it.
    pub outline: &'a Outline,
}

/// A value, and on what its being right depends.
#[derive(Clone, Debug)]
struct Placed<V> {
    value: V,
    spells: Spells,
}

impl<V: Clone> Near<V> {
    /// An empty one, of which nothing is believed before there is a [`Track`]. The seed is one that nobody outside can guess.
    pub fn new(names: Names, config: &Config, seed: Seed) -> Self {
        let jitter = Jitter::new(CUT).unwrap_or(Jitter::NONE);
        let Config { max_bytes, max_entries, ttl, max_stale, holder } = *config;
        // Early refreshes are for the shared tier to decide, which knows how long a load takes.
        let config =
            StoreConfig { max_bytes, max_entries, jitter, early: Early::OFF, holder, ..StoreConfig::default() };
        Self {
            shared: Arc::new(Shared {
                names,
                store: Cache::new(&config, seed),
                coherence: Arc::new(Coherence::new()),
                ttl,
                max_stale,
                left: Mutex::default(),
            }),
        }
    }

    // -- served

    /// A value that may be served: a fresh one, or where there is no connection and it was allowed, one that counts as stale. Counts
    /// nothing where there is none. Besides finding it a hit costs the load of one word and its comparison with `now`.
    #[inline]
    pub fn hit(&self, key: Key<'_>, now: Moment) -> Option<V> {
        let serve = |placed: &Placed<V>| placed.spells.is_trusted(now).then(|| placed.value.clone());
        let hit = self.shared.store.hit_as(key, now, serve);
        if hit.is_none() && !self.shared.max_stale.is_zero() { self.stale(key, now) } else { hit }
    }

    #[cold]
    fn stale(&self, key: Key<'_>, now: Moment) -> Option<V> {
        let Shared { store, coherence, max_stale, .. } = &*self.shared;
        if coherence.is_told() {
            return None;
        }
        let seen = store.peek(key, now)?;
        let serves = now < seen.value.spells.believed_until().after(*max_stale);
        serves.then(|| {
            store.count_stale(key);
            seen.value.value
        })
    }

    // -- entering

    /// Lets a value in that was answered to what was sent under `guard`, unless something was told since that it depends on. `clock`
    /// is Redis's at `now`, from when on memory has it: that is when it was asked for, where nobody tells what changed since.
    pub fn admit(&self, guard: &Guard, key: Key<'_>, answer: Answer<'_, V>, now: Moment, clock: Moment) -> bool {
        let Shared { store, coherence, .. } = &*self.shared;
        let Answer { value, bytes, outline } = answer;
        let life = self.life(outline.life, now, clock);
        let tables: Vec<String> = outline.tables.iter().map(ToString::to_string).collect();
        let Ok(tags) = store.tags(&tables) else { return false };
        if life.at(now) != Freshness::Fresh {
            return false;
        }
        let placed = Placed { value, spells: guard.spells().clone() };
        let fill = Fill { life, bytes, tags };
        store.admit(key, placed, fill, now, || coherence.holds(guard, store.hash(key), &outline.tables))
    }

    /// Corrects what a value weighs, if it still `is` the one under the key.
    pub fn reweigh(&self, key: Key<'_>, bytes: u64, now: Moment, is: impl FnOnce(&V) -> bool) {
        self.shared.store.reweigh(key, bytes, now, |placed| is(&placed.value));
    }

    /// As long as the shared tier has it, by its own clock, and no longer than is good for memory.
    fn life(&self, there: Life, now: Moment, clock: Moment) -> Life {
        let here = |moment: Moment| if moment == Moment::NEVER { moment } else { now.after(moment - clock) };
        let own = self.shared.store.life(self.shared.ttl, Grace::NONE, now);
        let fresh_until = here(there.fresh_until()).min(own.fresh_until());
        Life::new(fresh_until, here(there.usable_until()).min(fresh_until.after(self.shared.max_stale)))
    }

    // -- leaving

    /// A connection that is told of changes, from now on, or one on which nobody tells; what is read on it may enter. Dropping it ends the
    /// belief in all of that.
    pub fn track(&self, told: Told) -> Track {
        Track::new(&self.shared.coherence, told)
    }

    /// A connection was told that what has this name in Redis changed, or may have. True where that is the list of what is being
    /// swept: then its [`Track`] is to [`doubt`](Track::doubt) until that was read.
    pub fn pushed(&self, name: &[u8], now: Moment) -> bool {
        self.shared.coherence.pushed(now);
        let named = self.shared.names.read(name);
        match named {
            Some(Named::Key(key)) => self.forget(key, now),
            Some(Named::Table(table)) => self.forget_table(table),
            Some(Named::Sweeps) | None => {}
        }
        named == Some(Named::Sweeps)
    }

    /// This process is about to change a key, or just has.
    pub fn forget(&self, key: Key<'_>, now: Moment) {
        let Shared { store, coherence, .. } = &*self.shared;
        coherence.changed(store.hash(key));
        store.delete(key, now);
    }

    /// As [`Near::forget`], of all that carries one of these tags; others of the same tables go with them.
    pub fn forget_tags<N: AsRef<str>>(&self, tags: &[N]) {
        for tag in tags {
            self.forget_table(table_of(tag.as_ref()));
        }
    }

    /// As [`Near::forget`], of all keys that match.
    pub fn forget_matching(&self, pattern: &Pattern, now: Moment) {
        let Shared { store, coherence, left, .. } = &*self.shared;
        coherence.all_changed();
        let removed = store.invalidate_pattern(pattern, now).values;
        left.lock().extend(removed);
    }

    fn forget_table(&self, table: u8) {
        let Shared { store, coherence, .. } = &*self.shared;
        coherence.table_changed(table);
        let _a_table_is_a_tag = store.invalidate_tags(&[table.to_string()]);
    }

    /// Frees what sweeps removed, and lets leave whose time is over: some `limit` of them. True while there is more.
    pub fn tidy(&self, limit: usize, now: Moment) -> bool {
        let mut left = self.shared.left.lock();
        let kept = left.len().saturating_sub(limit);
        let freed = left.split_off(kept);
        drop(left);
        let more = kept > 0;
        drop(freed);
        self.shared.store.expire(limit, now) || more
    }

    // -- the rest

    /// Notes that there is no connection to be had that is told of changes; [`Near::track`] ends that.
    pub fn give_up(&self) {
        self.shared.coherence.give_up();
    }

    /// What is believed at `now`.
    pub fn state(&self, now: Moment) -> State {
        self.shared.coherence.state(now)
    }

    /// How long ago a connection was last told of a change.
    pub fn last_push(&self, now: Moment) -> Option<Duration> {
        self.shared.coherence.last_push().map(|last| now - last)
    }

    /// What is known of a key that memory would answer; `None` where it would not. Counts nothing.
    pub fn explain(&self, key: Key<'_>, now: Moment) -> Option<Explained> {
        let trusted = self.shared.store.peek(key, now)?.value.spells.is_trusted(now);
        trusted.then(|| self.shared.store.explain(key, now)).filter(|known| known.freshness == Some(Freshness::Fresh))
    }

    /// Switches memory on or off, as [`Cache::switch`] does.
    pub fn switch(&self, enabled: bool) {
        self.shared.store.switch(enabled);
    }

    /// Adds what was counted here to what the shared tier counted.
    pub fn add_to(&self, stats: &mut Stats) {
        let here = self.shared.store.stats();
        stats.hits += here.hits;
        stats.stale += here.stale;
        stats.memory_hits += here.hits + here.stale;
        stats.evictions += here.evictions;
        stats.expirations += here.expirations;
        stats.invalidations += here.invalidations;
        stats.entries += here.entries;
        stats.bytes += here.bytes;
    }

    /// Sets the counters back to zero. What is kept stays.
    pub fn reset_stats(&self) {
        self.shared.store.reset_stats();
    }

    /// Recounts everything, for tests: it visits every row.
    ///
    /// # Panics
    ///
    /// Where a count, a link or a deadline is off.
    pub fn validate(&self) {
        self.shared.store.validate();
    }
}

/// Largest part cut from the time that memory has a value, so that processes do not all ask at once.
const CUT: f64 = 0.1;

#[cfg(test)]
mod tests;
