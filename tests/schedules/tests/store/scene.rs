//! A scene: a source, a cache in front of it, and what its threads do. It judges what they are served, and what was counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use donjon_schedules::cache::{Ask, Cache, Config, Fill, Lookup, Step};
use donjon_schedules::chance::Seed;
use donjon_schedules::expiry::{Early, Grace, Ttl};
use donjon_schedules::flight::Ending;
use donjon_schedules::key::Key;
use donjon_schedules::lease::{Filled, Lease};
use donjon_schedules::moment::Moment;
use donjon_schedules::pattern::Pattern;
use shuttle::Runner;
use shuttle::future::block_on;
use shuttle::scheduler::Scheduler;

pub const NAMES: [&str; 2] = ["k0", "k1"];
pub const TAG: &str = "tag";
/// After how long a load is taken over, in milliseconds.
pub const TIMEOUT: u64 = 50;
/// For how long a value is fresh, and then usable, in milliseconds.
pub const TTL: u64 = 30;

/// What the source said when a value was loaded. A value set by hand is as new as can be for its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    key: usize,
    version: u64,
    tag: u64,
}

/// A row of the source: its version, and the newest one whose invalidation has returned. No thread gives way between two of these.
#[derive(Default)]
struct Row {
    version: AtomicU64,
    promised: AtomicU64,
}

impl Row {
    /// Changes the row, then invalidates, and promises that the change is seen from now on.
    fn change(&self, invalidate: impl FnOnce(u64)) {
        let version = self.version.fetch_add(1, SeqCst) + 1;
        invalidate(version);
        self.promised.fetch_max(version, SeqCst);
    }
}

/// What a thread may rely on from the moment it asks.
#[derive(Clone, Copy, Debug)]
struct Floor {
    key: usize,
    version: u64,
    tag: u64,
}

impl Floor {
    fn allows(self, seen: Seen) -> bool {
        seen.version >= self.version && seen.tag >= self.tag
    }

    #[track_caller]
    fn judge(self, seen: Seen) -> Seen {
        assert_eq!(seen.key, self.key, "the value of another key was served");
        assert!(self.allows(seen), "{seen:?} was served, which had been invalidated: {self:?}");
        seen
    }
}

/// What a thread is told to do, and what it may rely on.
pub struct Asked {
    floor: Floor,
    pub step: Step<Seen, ()>,
}

/// How a load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Fill,
    Fail,
    Abandon,
}

/// Something that is done to a key so that what was there before is not served any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Delete,
    Pattern,
    Clear,
    Tag,
    Set,
}

pub const CHANGES: [Change; 5] = [Change::Delete, Change::Pattern, Change::Clear, Change::Tag, Change::Set];

pub struct Scene {
    pub cache: Cache<Seen, ()>,
    keys: [Row; NAMES.len()],
    tag: Row,
    millis: AtomicU64,
    asked: AtomicU64,
    stored: AtomicU64,
    /// Loads that ended with a value or an error, those that failed, and those whose value was refused.
    loads: [AtomicU64; 3],
}

impl Scene {
    /// Nothing is stored yet. Room is for as many entries as said, or for all.
    pub fn new(max_entries: Option<u64>) -> Arc<Self> {
        let load_timeout = Duration::from_millis(TIMEOUT);
        let config = Config { max_entries, max_bytes: 1 << 20, early: Early::OFF, load_timeout, ..Config::default() };
        Arc::new(Self {
            cache: Cache::new(&config, Seed(5)),
            keys: Default::default(),
            tag: Row::default(),
            millis: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            loads: Default::default(),
        })
    }

    pub fn now(&self) -> Moment {
        Moment::from_millis(self.millis.load(SeqCst))
    }

    pub fn pass(&self, millis: u64) {
        self.millis.fetch_add(millis, SeqCst);
    }

    fn floor(&self, key: usize) -> Floor {
        Floor { key, version: self.keys[key].promised.load(SeqCst), tag: self.tag.promised.load(SeqCst) }
    }

    fn fill(&self, tags: &[&str]) -> Fill {
        let (ttl, grace) = (Ttl::from_millis(TTL as f64).unwrap(), Grace::from_millis(TTL as f64).unwrap());
        Fill { life: self.cache.life(ttl, grace, self.now()), bytes: 1, tags: self.cache.tags(tags).unwrap() }
    }

    /// Reads what is there.
    pub fn get(&self, key: usize) {
        let floor = self.floor(key);
        self.asked.fetch_add(1, SeqCst);
        if let Lookup::Hit(seen) | Lookup::Stale(seen) = self.cache.get(name(key), self.now()) {
            floor.judge(seen);
        }
    }

    /// Reads by the hot path, which counts what it finds.
    pub fn hit(&self, key: usize) {
        let floor = self.floor(key);
        if let Some(seen) = self.cache.hit(name(key), self.now()) {
            self.asked.fetch_add(1, SeqCst);
            floor.judge(seen);
        }
    }

    /// Asks for a value, as one who can load.
    pub fn ask(&self, key: usize) -> Asked {
        let floor = self.floor(key);
        self.asked.fetch_add(1, SeqCst);
        Asked { floor, step: self.cache.begin(name(key), Ask::value(), self.now()) }
    }

    /// Does as it was told, up to a value; none where its load failed or was given up.
    pub fn follow(&self, asked: Asked, end: End) -> Option<Seen> {
        let Asked { mut floor, mut step } = asked;
        loop {
            match step {
                Step::Done(seen) => return Some(floor.judge(seen)),
                Step::Stale(seen, lease) => return self.load(lease, end).or(Some(floor.judge(seen))),
                Step::Load(lease) => return self.load(lease, end),
                Step::Join(joined, _) => match block_on(joined) {
                    Ending::Value(seen) => return Some(floor.judge(seen)),
                    Ending::Failed(()) => return None,
                    Ending::Again => {
                        floor = self.floor(floor.key);
                        step = self.cache.begin(name(floor.key), Ask::value().again(), self.now());
                    }
                },
            }
        }
    }

    /// Loads from the source, and stores what it said unless the load is to end otherwise.
    fn load(&self, lease: Lease<Seen, ()>, end: End) -> Option<Seen> {
        let key = NAMES.iter().position(|name| *name == lease.key()).unwrap();
        let seen = Seen { key, version: self.keys[key].version.load(SeqCst), tag: self.tag.version.load(SeqCst) };
        if end == End::Abandon {
            lease.abandon();
            return None;
        }
        self.loads[0].fetch_add(1, SeqCst);
        if end == End::Fail {
            let floor = self.floor(key);
            self.loads[1].fetch_add(1, SeqCst);
            return lease.fail((), self.now()).map(|stale| floor.judge(stale));
        }
        let (fill, now) = (self.fill(&[TAG]), self.now());
        let floor = self.floor(key);
        let filled = lease.fill(seen, fill, now);
        self.stored.fetch_add(u64::from(filled == Filled::Stored), SeqCst);
        self.loads[2].fetch_add(u64::from(filled == Filled::Refused), SeqCst);
        assert!(floor.allows(seen) || filled == Filled::Refused, "{seen:?} was stored behind {floor:?}");
        Some(seen)
    }

    /// Changes the source and says so to the cache. But one thread does so, or a value set by hand could be older than another change.
    pub fn change(&self, key: usize, change: Change) {
        let (row, now) = (&self.keys[key], self.now());
        match change {
            Change::Delete => row.change(|_| _ = self.cache.delete(name(key), now)),
            Change::Pattern => {
                let pattern = Pattern::new("k*").unwrap();
                row.change(|_| drop(self.cache.invalidate_pattern(&pattern, now)));
            }
            Change::Clear => row.change(|_| drop(self.cache.clear(now))),
            Change::Tag => self.tag.change(|_| _ = self.cache.invalidate_tags(&[TAG]).unwrap()),
            Change::Set => row.change(|version| {
                let seen = Seen { key, version, tag: u64::MAX };
                assert!(self.cache.set(name(key), seen, self.fill(&[]), now));
                self.stored.fetch_add(1, SeqCst);
            }),
        }
    }

    /// Stores a value that no thread asks for.
    pub fn put_other(&self, number: usize) {
        let (other, seen) = (format!("other {number}"), Seen { key: NAMES.len(), version: 0, tag: 0 });
        assert!(self.cache.set(Key::new(&other).unwrap(), seen, self.fill(&[]), self.now()));
        self.stored.fetch_add(1, SeqCst);
    }

    /// How many loads came to an end.
    pub fn loads(&self) -> u64 {
        self.loads[0].load(SeqCst)
    }

    /// What must hold once all threads are done.
    pub fn adds_up(&self) {
        (0..NAMES.len()).for_each(|key| self.get(key));
        self.cache.validate();
        let stats = self.cache.stats();
        assert_eq!(stats.flights, 0, "a load is under way that nobody leads");
        assert_eq!(stats.lookups(), self.asked.load(SeqCst), "look-ups");
        let loads = self.loads.each_ref().map(|count| count.load(SeqCst));
        assert_eq!([stats.loads, stats.load_failures, stats.loads_refused], loads, "loads, failures, refusals");
        assert_eq!(stats.stores, self.stored.load(SeqCst), "stores");
        let left = stats.evictions + stats.expirations + stats.invalidations + stats.replacements;
        assert_eq!(stats.stores, stats.entries + left, "what was stored is there or has left");
    }
}

pub fn name(key: usize) -> Key<'static> {
    Key::new(NAMES[key]).unwrap()
}

/// What one thread does in a scene, and what it was told last, if it leaves that undone.
pub type Thread = Box<dyn FnOnce(&Scene) -> Option<Asked> + Send>;

/// Runs all threads at once. Gives what they left undone.
pub fn together(scene: &Arc<Scene>, threads: Vec<Thread>) -> Vec<Asked> {
    let spawn = |thread: Thread| {
        let scene = Arc::clone(scene);
        shuttle::thread::spawn(move || thread(&scene))
    };
    let threads: Vec<_> = threads.into_iter().map(spawn).collect();
    threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
}

/// Plays a scene in each schedule that `scheduler` comes up with, or in the one that `DONJON_SCHEDULE` has.
pub fn play(scheduler: impl Scheduler + 'static, scene: impl Fn() + Send + Sync + 'static) {
    if let Ok(schedule) = std::env::var("DONJON_SCHEDULE") {
        return shuttle::replay(scene, &schedule);
    }
    let mut config = shuttle::Config::new();
    // That an order of memory weaker than its own is not told apart: `docs/simulation.md` says so.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scene);
}
