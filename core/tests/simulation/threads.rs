//! The same promise, kept to readers that are real threads: sweeps, loads and sets go on at once.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use donjon_core::cache::lease::Lease;
use donjon_core::cache::{Ask, Cache, Config, Fill, Lookup, Step};
use donjon_core::chance::Seed;
use donjon_core::expiry::{Grace, Ttl};
use donjon_core::flight::{Ending, Joined};
use donjon_core::key::Key;
use donjon_core::moment::Moment;
use donjon_core::pattern::Pattern;

use crate::chance::Chance;

const KEYS: [&str; 4] = ["hot:0", "hot:1", "hot:2", "hot:3"];
/// Key `n` is loaded with tag `n % 2`, and changed by writer `n % 2`: whoever sets by hand has no rival.
const TAGS: [&str; 2] = ["even", "odd"];
const READERS: u64 = 3;
const READS: u64 = 30_000;

/// A row of the source: its version, and the newest one whose invalidation has returned.
#[derive(Default)]
struct Row {
    version: AtomicU64,
    promised: AtomicU64,
}

impl Row {
    fn commit(&self) -> u64 {
        self.version.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn read(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    fn promise(&self, version: u64) {
        self.promised.fetch_max(version, Ordering::SeqCst);
    }

    fn promised(&self) -> u64 {
        self.promised.load(Ordering::SeqCst)
    }
}

/// What the source said when a value was loaded; what was set by hand is as new as can be for its tag.
#[derive(Debug)]
struct Seen {
    key: usize,
    version: u64,
    tag: u64,
}

struct Scene {
    cache: Cache<Arc<Seen>, u64>,
    keys: [Row; 4],
    tags: [Row; 2],
    millis: AtomicU64,
    reading: AtomicUsize,
}

/// One reader less, also where it failed: or the writers would go on for ever.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a reader may rely on from the moment it asks.
#[derive(Clone, Copy)]
struct Floor {
    key: usize,
    version: u64,
    tag: u64,
}

impl Floor {
    fn allows(self, seen: &Seen) {
        assert_eq!(seen.key, self.key, "the value of another key was served");
        assert!(seen.version >= self.version && seen.tag >= self.tag, "{seen:?} was invalidated: {self}");
    }
}

impl std::fmt::Display for Floor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "version {} and tag version {} had been promised", self.version, self.tag)
    }
}

/// What a thread that waits listens to.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    ring: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rung.lock().unwrap() = true;
        self.ring.notify_one();
    }
}

fn wait(mut joined: Joined<Arc<Seen>, u64>) -> Ending<Arc<Seen>, u64> {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    loop {
        if let Poll::Ready(ending) = Pin::new(&mut joined).poll(&mut Context::from_waker(&waker)) {
            return ending;
        }
        // Long past what any load here takes: a wait that nobody ends is a fault, not a slow machine.
        let limit = Duration::from_secs(30);
        let (mut rung, late) = bell.ring.wait_timeout_while(bell.rung.lock().unwrap(), limit, |rung| !*rung).unwrap();
        assert!(!late.timed_out(), "nobody ended the wait");
        *rung = false;
    }
}

impl Scene {
    fn new(config: &Config, others: u64) -> Self {
        let scene = Self {
            cache: Cache::new(config, Seed(11)),
            keys: Default::default(),
            tags: Default::default(),
            millis: AtomicU64::new(1),
            reading: AtomicUsize::new(READERS as usize),
        };
        for number in 0..others {
            scene.set_other(number);
        }
        scene
    }

    /// A key that nobody reads, so that sweeps have far to go.
    fn set_other(&self, number: u64) {
        let seen = Seen { key: 0, version: 0, tag: 0 };
        let name = format!("other:{number}");
        self.cache.set(Key::new(&name).unwrap(), Arc::new(seen), self.fill(&[]), self.now());
    }

    fn now(&self) -> Moment {
        Moment::from_millis(self.millis.load(Ordering::Relaxed))
    }

    fn fill(&self, tags: &[&str]) -> Fill {
        let (ttl, grace) = (Ttl::from_millis(30.0).unwrap(), Grace::from_millis(30.0).unwrap());
        Fill { life: self.cache.life(ttl, grace, self.now()), bytes: 1, tags: self.cache.tags(tags).unwrap() }
    }

    fn floor(&self, key: usize) -> Floor {
        Floor { key, version: self.keys[key].promised(), tag: self.tags[key % 2].promised() }
    }

    fn read(&self, reader: u64) {
        let mut chance = Chance::new(reader);
        for round in 0..READS {
            let key = chance.below(KEYS.len() as u64) as usize;
            let name = Key::new(KEYS[key]).unwrap();
            if round % 64 == 0 {
                self.millis.fetch_add(1, Ordering::Relaxed);
            }
            let mut floor = self.floor(key);
            if chance.one_in(4) {
                match self.cache.get(name, self.now()) {
                    Lookup::Hit(seen) | Lookup::Stale(seen) => floor.allows(&seen),
                    Lookup::Miss => {}
                }
                continue;
            }
            let mut step = self.cache.begin(name, Ask::value(), self.now());
            loop {
                match step {
                    Step::Done(seen) => floor.allows(&seen),
                    Step::Stale(seen, lease) => {
                        floor.allows(&seen);
                        self.load(key, lease, &mut chance);
                    }
                    Step::Load(lease) => self.load(key, lease, &mut chance),
                    Step::Join(joined, _) if chance.one_in(16) => drop(joined),
                    Step::Join(joined, _) => {
                        let ticket = joined.ticket().get();
                        match wait(joined) {
                            Ending::Value(seen) => floor.allows(&seen),
                            Ending::Failed(failed) => assert_eq!(failed, ticket, "the error of another load"),
                            Ending::Again => {
                                floor = self.floor(key);
                                step = self.cache.begin(name, Ask::value().again(), self.now());
                                continue;
                            }
                        }
                    }
                }
                break;
            }
        }
    }

    fn load(&self, key: usize, lease: Lease<Arc<Seen>, u64>, chance: &mut Chance) {
        let seen = Seen { key, version: self.keys[key].read(), tag: self.tags[key % 2].read() };
        if chance.one_in(2) {
            std::thread::yield_now();
        }
        match chance.below(16) {
            0 => lease.abandon(),
            1 => {
                let (floor, ticket) = (self.floor(key), lease.ticket().get());
                if let Some(stale) = lease.fail(ticket, self.now()) {
                    floor.allows(&stale);
                }
            }
            _ => _ = lease.fill(Arc::new(seen), self.fill(&[TAGS[key % 2]]), self.now()),
        }
    }

    /// Changes the source and invalidates, until all readers have read enough.
    fn write(&self, writer: usize) {
        let mut chance = Chance::new(100 + writer as u64);
        let hot = Pattern::new("hot:*").unwrap();
        while self.reading.load(Ordering::SeqCst) > 0 {
            let key = writer + 2 * chance.below(2) as usize;
            let name = Key::new(KEYS[key]).unwrap();
            match chance.below(16) {
                0..6 => {
                    let version = self.keys[key].commit();
                    self.cache.delete(name, self.now());
                    self.keys[key].promise(version);
                }
                6..9 => {
                    let version = self.tags[writer].commit();
                    self.cache.invalidate_tags(&[TAGS[writer]]).unwrap();
                    self.tags[writer].promise(version);
                }
                9..12 => {
                    let version = self.keys[key].commit();
                    let seen = Seen { key, version, tag: u64::MAX };
                    self.cache.set(name, Arc::new(seen), self.fill(&[TAGS[writer]]), self.now());
                    self.keys[key].promise(version);
                }
                12 | 13 => {
                    let versions = [writer, writer + 2].map(|key| (key, self.keys[key].commit()));
                    if chance.one_in(8) {
                        self.cache.clear(self.now());
                    } else {
                        self.cache.invalidate_pattern(&hot, self.now());
                    }
                    for (key, version) in versions {
                        self.keys[key].promise(version);
                    }
                }
                14 => self.set_other(chance.below(4_000)),
                _ => std::thread::yield_now(),
            }
        }
    }

    fn run(&self) {
        std::thread::scope(|scope| {
            for reader in 0..READERS {
                scope.spawn(move || {
                    let _done = Done(&self.reading);
                    self.read(reader);
                });
            }
            for writer in 0..2 {
                scope.spawn(move || self.write(writer));
            }
        });
        assert_eq!(self.cache.stats().flights, 0, "a load is under way that nobody leads");
        self.cache.validate();
    }
}

#[test]
fn threads_never_read_what_was_invalidated_in_one_large_shard() {
    let config = Config { max_entries: Some(1_900), ..Config::default() };
    Scene::new(&config, 1_880).run();
}

#[test]
fn threads_never_read_what_was_invalidated_in_many_shards() {
    Scene::new(&Config::default(), 500).run();
}

#[test]
fn threads_never_read_what_was_invalidated_where_room_is_scarce() {
    let config = Config { max_entries: Some(3), ..Config::default() };
    Scene::new(&config, 3).run();
}
