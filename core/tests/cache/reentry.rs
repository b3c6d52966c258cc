//! Foreign code: wakers and the drops of values may call the cache they belong to, for the key in hand. Nothing is locked then.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

use donjon_core::cache::{self, Ask, Config, Fill, Step, Tags};
use donjon_core::entry::Life;
use donjon_core::expiry::{Grace, Ttl};
use donjon_core::pattern::Pattern;

use crate::caller::{SEED, at, config, key, loads, must_end};

/// A value, or the error of a load, that uses its cache when it is dropped.
type Noisy = Arc<Noise>;
type Cache = cache::Cache<Noisy, Noisy>;

struct Noise {
    cache: Cache,
    calls: Arc<AtomicU64>,
}

impl fmt::Debug for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Noise")
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        use_all_of(&self.cache);
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

struct NoisyBell {
    cache: Cache,
    calls: Arc<AtomicU64>,
}

impl Wake for NoisyBell {
    fn wake(self: Arc<Self>) {
        use_all_of(&self.cache);
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for NoisyBell {
    fn drop(&mut self) {
        use_all_of(&self.cache);
    }
}

/// Takes each lock there is, for the key that the tests use, without storing anything new.
fn use_all_of(cache: &Cache) {
    let (_, _) = (cache.get(key("k"), at(0)), cache.hit(key("k"), at(0)));
    if let Step::Load(lease) = cache.begin(key("k"), Ask::value(), at(0)) {
        lease.abandon();
    }
    cache.delete(key("another"), at(0));
    cache.invalidate_tags(&["t"]).unwrap();
    let _ = (cache.stats(), cache.next_deadline(), cache.tag_count(), cache.explain(key("k"), at(0)));
    drop(cache.invalidate_pattern(&Pattern::new("another*").unwrap(), at(0)));
}

/// Something done to the key `k`, and its name.
type Done = (&'static str, fn(&House));

struct House {
    cache: Cache,
    calls: Arc<AtomicU64>,
}

impl House {
    fn new(config: &Config) -> Self {
        Self { cache: Cache::new(config, SEED), calls: Arc::default() }
    }

    fn value(&self) -> Noisy {
        Arc::new(Noise { cache: self.cache.clone(), calls: Arc::clone(&self.calls) })
    }

    fn fill(&self, bytes: u64) -> Fill {
        let life = self.cache.life(Ttl::from_secs(1.0).unwrap(), Grace::from_secs(1.0).unwrap(), at(0));
        Fill { life, bytes, tags: self.cache.tags(&["t"]).unwrap() }
    }

    fn set(&self, name: &str) {
        self.cache.set(key(name), self.value(), self.fill(1), at(0));
    }

    /// Waits for the load under way, with a waker that uses the cache.
    fn wait(&self) -> impl Sized {
        let Step::Join(mut joined, _) = self.cache.begin(key("k"), Ask::value(), at(0)) else {
            panic!("a load is under way")
        };
        let bell = NoisyBell { cache: self.cache.clone(), calls: Arc::clone(&self.calls) };
        let waker = Waker::from(Arc::new(bell));
        assert!(Future::poll(std::pin::Pin::new(&mut joined), &mut Context::from_waker(&waker)).is_pending());
        joined
    }
}

/// Each way in which a value leaves, or never enters.
const LEAVING: [Done; 15] = [
    ("deleted", |house| _ = house.cache.delete(key("k"), at(0))),
    ("replaced", |house| house.set("k")),
    ("replaced by what is too large", |house| {
        house.cache.set(key("k"), house.value(), house.fill(u64::MAX), at(0));
    }),
    ("swapped", |house| {
        let seen = house.cache.peek(key("k"), at(0)).map(|seen| seen.ticket);
        house.cache.swap(key("k"), seen, house.value(), house.fill(1), at(0));
    }),
    ("not swapped", |house| {
        let seen = Some(house.cache.ticket());
        assert_eq!(house.cache.swap(key("k"), seen, house.value(), house.fill(1), at(0)), None);
    }),
    ("swept", |house| drop(house.cache.invalidate_pattern(&Pattern::new("k").unwrap(), at(0)))),
    ("cleared", |house| drop(house.cache.clear(at(0)))),
    ("expired", |house| while house.cache.expire(10, at(60_000)) {}),
    ("expired by a store", |house| {
        let fill = Fill { life: Life::FOREVER, bytes: 1, tags: Tags::default() };
        house.cache.set(key("another"), house.value(), fill, at(60_000));
    }),
    ("evicted", |house| (0..50).for_each(|number| house.set(&format!("other{number}")))),
    ("lost its tag and loaded anew", |house| {
        house.cache.invalidate_tags(&["t"]).unwrap();
        drop(loads(house.cache.begin(key("k"), Ask::value(), at(0))));
    }),
    ("refreshed", |house| match house.cache.begin(key("k"), Ask::value(), at(1_500)) {
        Step::Stale(_, lease) => drop(lease.fill(house.value(), house.fill(1), at(1_500))),
        other => panic!("{other:?}"),
    }),
    ("refreshed by what is too large", |house| match house.cache.begin(key("k"), Ask::value(), at(1_500)) {
        Step::Stale(_, lease) => drop(lease.fill(house.value(), house.fill(u64::MAX), at(1_500))),
        other => panic!("{other:?}"),
    }),
    ("refused", |house| {
        house.cache.delete(key("k"), at(0));
        let lease = loads(house.cache.begin(key("k"), Ask::value(), at(0)));
        house.cache.delete(key("k"), at(0));
        lease.fill(house.value(), house.fill(1), at(0));
    }),
    ("failed", |house| {
        house.cache.delete(key("k"), at(0));
        let lease = loads(house.cache.begin(key("k"), Ask::value(), at(0)));
        drop(house.wait());
        lease.fail(house.value(), at(0));
    }),
];

#[test]
fn a_value_that_uses_the_cache_as_it_is_dropped_finds_nothing_locked() {
    for (name, leave) in LEAVING {
        must_end(move || {
            let house = House::new(&Config { max_entries: Some(10), ..config() });
            house.set("k");
            let before = house.calls.load(Ordering::Relaxed);
            leave(&house);
            assert!(house.calls.load(Ordering::Relaxed) > before, "{name}: the value was to be dropped");
            house.cache.validate();
        });
    }
}

/// Each way in which a flight ends.
const ENDING: [Done; 7] = [
    ("deleted", |house| _ = house.cache.delete(key("k"), at(0))),
    ("set", |house| house.set("k")),
    ("cleared", |house| drop(house.cache.clear(at(0)))),
    ("swept", |house| drop(house.cache.invalidate_pattern(&Pattern::new("k").unwrap(), at(0)))),
    ("taken over", |house| drop(house.cache.begin(key("k"), Ask::value(), at(3_600_000)))),
    ("set too large", |house| _ = house.cache.set(key("k"), house.value(), house.fill(u64::MAX), at(0))),
    ("switched off and set", |house| {
        house.cache.switch(false);
        house.set("k");
        house.cache.switch(true);
    }),
];

#[test]
fn a_waker_that_uses_the_cache_finds_nothing_locked_when_a_flight_is_sent_away() {
    for (name, end) in ENDING {
        must_end(move || {
            let house = House::new(&config());
            let lease = loads(house.cache.begin(key("k"), Ask::value(), at(0)));
            let waiting: Vec<_> = (0..3).map(|_| house.wait()).collect();
            end(&house);
            assert!(house.calls.load(Ordering::Relaxed) >= 3, "{name}: all were to be woken");
            lease.fill(house.value(), house.fill(1), at(0));
            drop(waiting);
            house.cache.validate();
        });
    }
}

#[test]
fn a_waker_that_uses_the_cache_finds_nothing_locked_when_a_lease_ends() {
    for end in 0..3 {
        must_end(move || {
            let house = House::new(&config());
            let lease = loads(house.cache.begin(key("k"), Ask::value(), at(0)));
            let waiting: Vec<_> = (0..3).map(|_| house.wait()).collect();
            match end {
                0 => drop(lease.fill(house.value(), house.fill(1), at(0))),
                1 => drop(lease.fail(house.value(), at(0))),
                _ => lease.abandon(),
            }
            assert!(house.calls.load(Ordering::Relaxed) >= 3);
            drop(waiting);
            house.cache.validate();
        });
    }
}

#[test]
fn a_waker_that_uses_the_cache_may_be_replaced_or_dropped() {
    must_end(|| {
        let house = House::new(&config());
        let lease = loads(house.cache.begin(key("k"), Ask::value(), at(0)));
        let Step::Join(mut joined, _) = house.cache.begin(key("k"), Ask::value(), at(0)) else { panic!("one loads") };
        for _ in 0..3 {
            let bell = NoisyBell { cache: house.cache.clone(), calls: Arc::clone(&house.calls) };
            let waker = Waker::from(Arc::new(bell));
            assert!(Future::poll(std::pin::Pin::new(&mut joined), &mut Context::from_waker(&waker)).is_pending());
        }
        drop(joined);
        drop(house.wait());
        lease.abandon();
        assert_eq!(house.calls.load(Ordering::Relaxed), 0, "nobody was left to be woken");
    });
}

#[test]
fn a_waker_may_look_up_load_and_store_what_it_waited_for() {
    struct Loader(Cache, Arc<AtomicU64>);
    impl Wake for Loader {
        fn wake(self: Arc<Self>) {
            if let Step::Load(lease) = self.0.begin(key("k"), Ask::value().again(), at(0)) {
                let noise = Noise { cache: self.0.clone(), calls: Arc::clone(&self.1) };
                let fill = Fill { life: Life::FOREVER, bytes: 1, tags: Tags::default() };
                lease.fill(Arc::new(noise), fill, at(0));
            }
        }
    }
    must_end(|| {
        let house = House::new(&config());
        let lease = loads(house.cache.begin(key("k"), Ask::value(), at(0)));
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let Step::Join(mut joined, _) = house.cache.begin(key("k"), Ask::value(), at(0)) else {
                    panic!("one loads")
                };
                let waker = Waker::from(Arc::new(Loader(house.cache.clone(), Arc::clone(&house.calls))));
                let _ = Future::poll(std::pin::Pin::new(&mut joined), &mut Context::from_waker(&waker));
                joined
            })
            .collect();
        drop(lease);
        assert_eq!(house.cache.stats().loads, 1, "one of those who were woken loaded");
        assert!(house.cache.hit(key("k"), at(0)).is_some());
        drop(waiting);
        house.cache.validate();
    });
}
