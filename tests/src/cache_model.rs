//! What a cache ought to do, said in the plainest way: a map, a list of loads and a list of those who wait.
//!
//! Owns a cache and this model of it, side by side, and compares them operation by operation. The model must not know of slots,
//! shards, wheels or locks.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use donjon_core::cache::lease::{Filled, Lease};
use donjon_core::cache::{self, Ask, Config, Fill, Lookup, Step};
use donjon_core::chance::Seed;
use donjon_core::entry::{Freshness, Life};
use donjon_core::expiry::{Grace, Ttl};
use donjon_core::flight::{Ending, Joined};
use donjon_core::key::Key;
use donjon_core::moment::Moment;
use donjon_core::pattern::Pattern;
use donjon_core::version::Ticket;

/// Values and errors are numbers, each given once.
type Cache = cache::Cache<u64, u64>;

/// The keys of a cache.
pub type Names = [&'static str; 5];
/// Keys as they come.
pub const NAMES: Names = ["a0", "a1", "b0", "b1", "b2"];
/// A seed like any other.
pub const SEED: Seed = Seed(3);
/// Keys whose hashes are the same in all bits where the seed is [`COLLIDING_SEED`]: eight bytes of it are multiplied away by the first
/// eight of these.
pub const COLLIDING: Names =
    ["ihjguvej------a0", "ihjguvej------a1", "ihjguvej------b0", "ihjguvej------b1", "ihjguvej------b2"];
/// A seed that somebody knows.
pub const COLLIDING_SEED: Seed = Seed(63_303_083);
const TAGS: [&str; 3] = ["red", "green", "blue"];
/// Patterns, of which most cover some keys.
pub const PATTERNS: [&str; 5] = ["*a?", "*?1", "*b[02]", "none", "**"];
/// After how long a load is taken over.
pub const TIMEOUT: Duration = Duration::from_millis(50);
/// What a cache takes: a value of so many bytes is too large.
pub const TOO_LARGE: u64 = 1 << 20;

/// How a value is stored.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// A bit for each tag.
    pub tags: u8,
    /// Milliseconds, or for ever.
    pub ttl: Option<u64>,
    /// Milliseconds.
    pub grace: u64,
    /// What it weighs without its key.
    pub bytes: u64,
}

/// What is done to a cache. Loads and waits are chosen by any number, out of those there are.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Reads a key.
    Get(usize),
    /// Reads a key by the hot path.
    Hit(usize),
    /// Looks a key up, ready to load.
    Begin(usize),
    /// The same, for what is newer than now.
    Force(usize),
    /// Ends a load well.
    Fill(usize, How),
    /// Ends a load badly.
    Fail(usize),
    /// Gives a load up.
    Abandon(usize),
    /// Waits no longer.
    Leave(usize),
    /// Sets a key by hand.
    Set(usize, How),
    /// Replaces what is there, having seen it or not.
    Swap(usize, How, bool),
    /// Gives a value another time to live, in milliseconds or for ever.
    Retime(usize, Option<u64>),
    /// Deletes a key.
    Delete(usize),
    /// Invalidates what one of the patterns covers.
    Pattern(usize),
    /// Removes everything.
    Clear,
    /// Invalidates tags, a bit each.
    Tags(u8),
    /// Lets so many milliseconds pass.
    Pass(u64),
    /// Lets go what is due.
    Expire,
    /// Switches the cache on or off.
    Switch(bool),
}

/// A value that ought to be there.
pub struct Entry {
    /// The number it is.
    pub value: u64,
    /// A bit for each tag.
    pub tags: u8,
    /// Until when it may be served.
    pub life: Life,
    /// When its load began, in the model's order.
    pub begun: u64,
}

#[derive(Clone, Copy)]
struct Flight {
    begun: u64,
    since: Moment,
}

struct Loading {
    key: usize,
    lease: Lease<u64, u64>,
    begun: u64,
    falls_back: bool,
}

struct Waiting {
    joined: Joined<u64, u64>,
    begun: u64,
    since: Option<u64>,
    told: Option<Ending<u64, u64>>,
}

/// The cache and what ought to be in it.
pub struct Pair {
    /// The cache that is tested.
    pub cache: Cache,
    names: Names,
    /// The time.
    pub now: Moment,
    enabled: bool,
    /// Orders loads, sets and invalidations; values and errors are drawn from it too.
    count: u64,
    /// What ought to be in it, whatever room there is.
    pub entries: BTreeMap<usize, Entry>,
    flights: HashMap<usize, Flight>,
    tags: [u64; TAGS.len()],
    leases: Vec<Loading>,
    waits: Vec<Waiting>,
    /// Look-ups that were answered fresh, stale, and not at all.
    lookups: [u64; 3],
    stores: u64,
    too_large: u64,
    /// Loads that ended, those that failed, and those whose value was refused.
    loads: [u64; 3],
}

impl Pair {
    /// An empty cache with these settings, and nothing in the model.
    pub fn new(config: &Config, seed: Seed, names: Names) -> Self {
        Self {
            cache: Cache::new(config, seed),
            names,
            now: Moment::from_millis(1),
            enabled: true,
            count: 0,
            entries: BTreeMap::new(),
            flights: HashMap::new(),
            tags: [0; TAGS.len()],
            leases: Vec::new(),
            waits: Vec::new(),
            lookups: [0; 3],
            stores: 0,
            too_large: 0,
            loads: [0; 3],
        }
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn name(&self, key: usize) -> Key<'static> {
        Key::new(self.names[key]).unwrap()
    }

    fn moved(&self, tags: u8, begun: u64) -> bool {
        tags_of(tags).any(|tag| self.tags[tag] > begun)
    }

    /// The value that ought to be served for a key, and how it stands.
    pub fn usable(&self, key: usize) -> Option<(Freshness, &Entry)> {
        let entry = self.entries.get(&key)?;
        let freshness = entry.life.at(self.now);
        (freshness != Freshness::Over && !self.moved(entry.tags, entry.begun)).then_some((freshness, entry))
    }

    /// What a read of a key ought to find.
    pub fn expected(&self, key: usize) -> Lookup<u64> {
        match self.usable(key).filter(|_| self.enabled) {
            Some((Freshness::Fresh, entry)) => Lookup::Hit(entry.value),
            Some((_, entry)) => Lookup::Stale(entry.value),
            None => Lookup::Miss,
        }
    }

    fn counts(&mut self, found: Lookup<u64>) {
        self.lookups[match found {
            Lookup::Hit(_) => 0,
            Lookup::Stale(_) => 1,
            Lookup::Miss => 2,
        }] += 1;
    }

    /// A value and an ending for those who wait for the load of `key`, if there is one that flies.
    fn ends(&mut self, key: usize, ending: &Ending<u64, u64>) {
        let Some(flight) = self.flights.remove(&key) else { return };
        for wait in self.waits.iter_mut().filter(|wait| wait.begun == flight.begun && wait.told.is_none()) {
            let older = wait.since.is_some_and(|since| flight.begun <= since);
            wait.told = Some(if older { Ending::Again } else { ending.clone() });
        }
    }

    fn invalidate(&mut self, key: usize) -> bool {
        let served = self.usable(key).is_some();
        self.entries.remove(&key);
        self.ends(key, &Ending::Again);
        served
    }

    /// How the cache is told to store a value.
    ///
    /// # Panics
    ///
    /// Where the cache refuses the tags.
    pub fn fill_of(&self, how: How) -> Fill {
        let (ttl, grace) = (ttl_of(how.ttl), Grace::from_millis(how.grace as f64).unwrap());
        let tags: Vec<_> = tags_of(how.tags).map(|tag| TAGS[tag]).collect();
        Fill { life: self.cache.life(ttl, grace, self.now), bytes: how.bytes, tags: self.cache.tags(&tags).unwrap() }
    }

    fn stores(&mut self, key: usize, how: How, value: u64, begun: u64) -> bool {
        let fits = self.enabled && how.bytes < TOO_LARGE;
        if fits {
            let life = self.fill_of(how).life;
            self.stores += 1;
            self.entries.insert(key, Entry { value, tags: how.tags, life, begun });
        } else {
            self.too_large += u64::from(self.enabled);
            self.entries.remove(&key);
        }
        fits
    }

    fn begin(&mut self, key: usize, since: Option<(Ticket, u64)>) {
        let begun = self.draw();
        let flight = self.flights.get(&key).copied().filter(|flight| self.now - flight.since < TIMEOUT);
        let usable = self.usable(key).filter(|_| self.enabled);
        let usable = usable.filter(|(_, entry)| since.is_none_or(|(_, since)| entry.begun > since));
        let usable = usable.map(|(freshness, entry)| (freshness, entry.value));
        let found = match usable {
            Some((Freshness::Fresh, value)) => Lookup::Hit(value),
            Some((_, value)) => Lookup::Stale(value),
            None => Lookup::Miss,
        };
        self.counts(found);
        let ask = since.map_or_else(Ask::value, |(since, _)| Ask::newer_than(since));
        let step = self.cache.begin(self.name(key), ask, self.now);
        match (step, usable, flight) {
            (Step::Done(value), Some((freshness, expected)), flight) => {
                assert_eq!(value, expected);
                assert!(freshness == Freshness::Fresh || flight.is_some());
            }
            (Step::Stale(value, lease), Some((Freshness::Stale, expected)), None) => {
                assert_eq!(value, expected);
                self.leads(key, lease, begun, true);
            }
            (Step::Load(lease), None, None) => self.leads(key, lease, begun, false),
            (Step::Load(lease), None, Some(_)) if !self.enabled => {
                self.leases.push(Loading { key, lease, begun, falls_back: false });
            }
            (Step::Join(joined, at_most), None, Some(flight)) if self.enabled => {
                assert_eq!(at_most, TIMEOUT.saturating_sub(self.now - flight.since));
                let since = since.map(|(_, since)| since);
                self.waits.push(Waiting { joined, begun: flight.begun, since, told: None });
            }
            (step, usable, flight) => panic!("{step:?} with {usable:?} and a flight: {}", flight.is_some()),
        }
    }

    fn leads(&mut self, key: usize, lease: Lease<u64, u64>, begun: u64, falls_back: bool) {
        if self.enabled {
            self.ends(key, &Ending::Again);
            self.flights.insert(key, Flight { begun, since: self.now });
        }
        self.leases.push(Loading { key, lease, begun, falls_back });
    }

    fn flies(&self, loading: &Loading) -> bool {
        self.flights.get(&loading.key).is_some_and(|flight| flight.begun == loading.begun)
    }

    fn fill(&mut self, loading: Loading, how: How) {
        let (key, value, flies) = (loading.key, self.draw(), self.flies(&loading));
        let fill = self.fill_of(how);
        let expected = if !flies || self.moved(how.tags, loading.begun) {
            Filled::Refused
        } else if self.stores(key, how, value, loading.begun) {
            Filled::Stored
        } else {
            Filled::Passed
        };
        self.loads[0] += 1;
        self.loads[2] += u64::from(expected == Filled::Refused);
        assert_eq!(loading.lease.fill(value, fill, self.now), expected);
        let ending = if expected == Filled::Refused { Ending::Again } else { Ending::Value(value) };
        if flies {
            self.ends(key, &ending);
        }
    }

    fn fail(&mut self, loading: Loading) {
        let (key, error, flies) = (loading.key, self.draw(), self.flies(&loading));
        let falls_back = flies && loading.falls_back;
        let stale = self.usable(key).filter(|_| falls_back).map(|(_, entry)| entry.value);
        self.loads[0] += 1;
        self.loads[1] += 1;
        assert_eq!(loading.lease.stale(self.now), stale);
        assert_eq!(loading.lease.fail(error, self.now), stale);
        if flies {
            self.ends(key, &Ending::Failed(error));
        }
    }

    fn swap(&mut self, key: usize, how: How, seen: bool) {
        let (value, fill) = (self.draw(), self.fill_of(how));
        let peeked = self.cache.peek(self.name(key), self.now);
        let expected = self.usable(key).filter(|_| self.enabled).map(|(_, entry)| (entry.value, entry.life));
        assert_eq!(peeked.as_ref().map(|seen| (seen.value, seen.life)), expected);
        let there = peeked.map(|seen| seen.ticket);
        // What was not seen: nothing where there is something, or a ticket that no value has.
        let other = Some(self.cache.ticket()).filter(|_| there.is_none() || value.is_multiple_of(2));
        let (claimed, agrees) = if seen { (there, true) } else { (other, false) };
        let stored = agrees.then(|| self.stores(key, how, value, value));
        assert_eq!(self.cache.swap(self.name(key), claimed, value, fill, self.now), stored);
        if agrees {
            self.ends(key, &Ending::Again);
        }
    }

    fn retime(&mut self, key: usize, ttl: Option<u64>) {
        let expected = self.enabled && self.usable(key).is_some();
        assert_eq!(self.cache.retime(self.name(key), ttl_of(ttl), self.now), expected);
        if expected && let Some(entry) = self.entries.get_mut(&key) {
            let fresh_until = ttl_of(ttl).life(Grace::NONE, self.now).fresh_until();
            let for_ever = entry.life.fresh_until() == Moment::NEVER;
            let grace = if for_ever { Duration::ZERO } else { entry.life.usable_until() - entry.life.fresh_until() };
            entry.life = Life::new(fresh_until, fresh_until.after(grace));
        }
    }

    fn sweep(&mut self, covers: impl Fn(usize) -> bool) -> u64 {
        (0..NAMES.len()).filter(|key| covers(*key)).map(|key| u64::from(self.invalidate(key))).sum()
    }

    /// Does `op` to both.
    ///
    /// # Panics
    ///
    /// Where the cache answers otherwise than the model.
    pub fn apply(&mut self, op: Op) {
        match op {
            Op::Get(key) => {
                let expected = self.expected(key);
                self.counts(expected);
                assert_eq!(self.cache.get(self.name(key), self.now), expected);
            }
            Op::Hit(key) => {
                let found = self.cache.hit(self.name(key), self.now).map_or(Lookup::Miss, Lookup::Hit);
                let expected = self.expected(key);
                let fresh = matches!(expected, Lookup::Hit(_));
                assert_eq!(found, if fresh { expected } else { Lookup::Miss });
                self.lookups[0] += u64::from(fresh);
            }
            Op::Begin(key) => self.begin(key, None),
            Op::Force(key) => {
                let since = (self.cache.ticket(), self.draw());
                self.begin(key, Some(since));
            }
            Op::Fill(chosen, how) => {
                if let Some(loading) = take(&mut self.leases, chosen) {
                    self.fill(loading, how);
                }
            }
            Op::Fail(chosen) => {
                if let Some(loading) = take(&mut self.leases, chosen) {
                    self.fail(loading);
                }
            }
            Op::Abandon(chosen) => {
                if let Some(loading) = take(&mut self.leases, chosen) {
                    if self.flies(&loading) {
                        self.ends(loading.key, &Ending::Again);
                    }
                    loading.lease.abandon();
                }
            }
            Op::Leave(chosen) => drop(take(&mut self.waits, chosen)),
            Op::Set(key, how) => {
                let (value, fill) = (self.draw(), self.fill_of(how));
                let stored = self.stores(key, how, value, value);
                self.ends(key, &Ending::Again);
                assert_eq!(self.cache.set(self.name(key), value, fill, self.now), stored);
            }
            Op::Swap(key, how, seen) => self.swap(key, how, seen),
            Op::Retime(key, ttl) => self.retime(key, ttl),
            Op::Delete(key) => {
                let served = self.invalidate(key);
                assert_eq!(self.cache.delete(self.name(key), self.now), served);
            }
            Op::Pattern(chosen) => {
                let (pattern, names) = (Pattern::new(PATTERNS[chosen]).unwrap(), self.names);
                let served = self.sweep(|key| pattern.matches(names[key].as_bytes()));
                assert_eq!(self.cache.invalidate_pattern(&pattern, self.now).count, served);
            }
            Op::Clear => {
                let served = self.sweep(|_| true);
                assert_eq!(self.cache.clear(self.now).count, served);
                assert_eq!((self.cache.stats().entries, self.cache.stats().bytes), (0, 0));
            }
            Op::Tags(tags) => {
                let names: Vec<_> = tags_of(tags).map(|tag| TAGS[tag]).collect();
                assert_eq!(self.cache.invalidate_tags(&names), Ok(names.len() as u64));
                let version = self.draw();
                tags_of(tags).for_each(|tag| self.tags[tag] = version);
            }
            Op::Pass(millis) => self.now = self.now.after(Duration::from_millis(millis)),
            Op::Expire => while self.cache.expire(3, self.now) {},
            Op::Switch(enabled) => {
                self.cache.switch(enabled);
                self.enabled = enabled;
            }
        }
    }

    /// Compares all that can be seen of both; to be called after each operation.
    ///
    /// # Panics
    ///
    /// Where they differ.
    pub fn check(&mut self) {
        self.cache.validate();
        let mut context = Context::from_waker(Waker::noop());
        for mut wait in std::mem::take(&mut self.waits) {
            match (Pin::new(&mut wait.joined).poll(&mut context), &wait.told) {
                (Poll::Pending, None) => self.waits.push(wait),
                (Poll::Ready(ending), Some(told)) => assert_eq!(&ending, told),
                (ending, told) => panic!("a wait is {ending:?} where it should be {told:?}"),
            }
        }
        let stats = self.cache.stats();
        assert_eq!([stats.hits, stats.stale, stats.misses], self.lookups);
        assert_eq!([stats.loads, stats.load_failures, stats.loads_refused], self.loads);
        let flights = self.flights.len() as u64;
        assert_eq!((stats.stores, stats.too_large, stats.flights), (self.stores, self.too_large, flights));
        let left = stats.evictions + stats.expirations + stats.invalidations + stats.replacements;
        assert_eq!(stats.stores, stats.entries + left, "what was stored is there or has left");
        for key in 0..NAMES.len() {
            let told = self.cache.explain(self.name(key), self.now);
            assert_eq!(told.freshness, self.usable(key).map(|(freshness, _)| freshness));
            assert_eq!(told.life, self.usable(key).map(|(_, entry)| entry.life));
            let loading = self.flights.get(&key).map(|flight| self.now - flight.since);
            assert_eq!(told.loading, loading);
        }
    }
}

fn take<T>(from: &mut Vec<T>, chosen: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(chosen % from.len()))
}

fn tags_of(bits: u8) -> impl Iterator<Item = usize> {
    (0..TAGS.len()).filter(move |tag| bits >> tag & 1 == 1)
}

fn ttl_of(millis: Option<u64>) -> Ttl {
    millis.map_or(Ttl::FOREVER, |millis| Ttl::from_millis(millis as f64).unwrap())
}
