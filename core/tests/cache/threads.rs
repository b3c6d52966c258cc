//! Many threads at once: exact counts, one load a generation, and no value dropped under a lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use donjon_core::cache::lease::Filled;
use donjon_core::cache::{self, Ask, Fill, Lookup, Step, Tags};
use donjon_core::entry::Life;
use donjon_core::pattern::Pattern;

use crate::caller::*;

const THREADS: u64 = 4;
const ROUNDS: u64 = 10_000;
/// On a busy machine, meeting takes far longer than working.
const MEETINGS: u64 = 5_000;

/// Runs `work` in some threads at once, each with its number.
fn at_once(threads: u64, work: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        for number in 0..threads {
            let work = &work;
            scope.spawn(move || work(number));
        }
    });
}

#[test]
fn each_lookup_store_and_load_is_counted_by_whatever_thread() {
    must_end(|| {
        let cache = cache();
        set(&cache, "k", "v", at(0));
        at_once(THREADS, |number| {
            for round in 0..ROUNDS {
                assert_eq!(get(&cache, "k", at(0)), hit("v"));
                assert!(cache.hit(key("k"), at(0)).is_some());
                assert_eq!(get(&cache, "nothing", at(0)), Lookup::Miss);
                let own = format!("{number}:{}", round % 100);
                if let Step::Load(lease) = cache.begin(key(&own), Ask::value(), at(0)) {
                    lease.fill(text("v"), ten_seconds(&cache, at(0)), at(0));
                }
                if round % 100 == 99 {
                    assert!(cache.delete(key(&own), at(0)));
                }
            }
        });
        let stats = cache.stats();
        let own_loads = THREADS * (99 + ROUNDS / 100);
        assert_eq!(stats.lookups(), THREADS * ROUNDS * 4);
        assert_eq!(stats.misses, THREADS * ROUNDS + own_loads);
        assert_eq!((stats.loads, stats.stores, stats.loads_refused), (own_loads, own_loads + 1, 0));
        assert_eq!(stats.invalidations, THREADS * ROUNDS / 100);
        assert_eq!((stats.entries, stats.flights), (1 + THREADS * 99, 0));
        cache.validate();
    });
}

#[test]
fn of_threads_that_ask_at_once_one_loads() {
    must_end(|| {
        let cache = cache();
        let (arrived, loading) = (AtomicU64::new(0), AtomicU64::new(0));
        at_once(2, |_| {
            for round in 0..MEETINGS {
                let names = [0, 1, 2, 3, 4, 5, 6, 7].map(|number| format!("k{round}:{number}"));
                // Both meet before some keys, or they would hardly ever ask for it at once.
                arrived.fetch_add(1, Ordering::SeqCst);
                let mut spun = 0;
                while arrived.load(Ordering::SeqCst) < 2 * (round + 1) {
                    spun += 1;
                    if spun % 10_000 == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
                }
                for name in &names {
                    let mut step = cache.begin(key(name), Ask::value(), at(0));
                    while let Step::Join(..) = step {
                        std::hint::spin_loop();
                        step = cache.begin(key(name), Ask::value().again(), at(0));
                    }
                    if let Step::Load(lease) = step {
                        loading.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(lease.fill(text("v"), ten_seconds(&cache, at(0)), at(0)), Filled::Stored);
                    } else {
                        assert_eq!(served(step), text("v"));
                    }
                }
            }
        });
        assert_eq!((loading.into_inner(), cache.stats().loads), (8 * MEETINGS, 8 * MEETINGS), "one load a key");
        cache.validate();
    });
}

#[test]
fn sweeps_go_on_beside_loads_stores_and_expiry() {
    must_end(|| {
        let cache = cache();
        at_once(THREADS, |number| {
            let all = Pattern::new("k*1*").unwrap();
            for round in 0..ROUNDS {
                let (name, now) = (format!("k{}", (round * 7 + number) % 3_000), at(round * 10));
                match (number, round % 64) {
                    (0, 0) => drop(cache.invalidate_pattern(&all, now)),
                    (1, 0) => drop(cache.clear(now)),
                    (2, 0) => drop(cache.expire(100, now)),
                    (3, 0) => cache.validate(),
                    _ => match cache.begin(key(&name), Ask::value(), now) {
                        Step::Load(lease) | Step::Stale(_, lease) if round % 3 > 0 => {
                            lease.fill(text("v"), ten_seconds(&cache, now), now);
                        }
                        Step::Join(joined, _) if round % 2 == 0 => drop(joined),
                        _ => drop(set(&cache, &name, "v", now)),
                    },
                }
            }
        });
        cache.validate();
        let stats = cache.stats();
        let left = stats.evictions + stats.expirations + stats.invalidations + stats.replacements;
        assert_eq!(stats.stores, stats.entries + left, "what was stored is there or has left");
        cache.clear(at(0));
        assert_eq!((cache.stats().entries, cache.stats().bytes, cache.stats().flights), (0, 0, 0));
    });
}

/// A value that uses its cache when it is dropped.
struct Loud(cache::Cache<Arc<Loud>, ()>);

impl fmt::Debug for Loud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loud")
    }
}

impl Drop for Loud {
    fn drop(&mut self) {
        self.0.delete(key("never there"), at(0));
        self.0.stats();
    }
}

#[test]
fn no_thread_drops_the_last_of_a_value_under_a_lock() {
    must_end(|| {
        let cache = cache::Cache::<Arc<Loud>, ()>::new(&config(), SEED);
        let fill = |now: u64| Fill { life: Life::new(at(now), at(u64::MAX >> 30)), bytes: 1, tags: Tags::default() };
        at_once(THREADS, |number| {
            for _ in 0..ROUNDS * 10 {
                if number % 2 == 0 {
                    // Stale from the start, so that each look-up is told to refresh and judges twice.
                    cache.set(key("k"), Arc::new(Loud(cache.clone())), fill(0), at(0));
                } else {
                    drop(cache.begin(key("k"), Ask::value(), at(0)));
                    cache.delete(key("k"), at(0));
                }
            }
        });
        cache.clear(at(0));
    });
}
