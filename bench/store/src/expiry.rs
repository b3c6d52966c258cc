//! Expiry: the longest that one call takes while a million entries leave because their time is over, which nobody reads.
//!
//! Times to live are mixed where the cache takes one for each entry. What a host does once a second is done once a second: donjon is
//! asked to let entries go until there are no more, the others do what they put off.

use std::time::{Duration, Instant};

use donjon_core::cache::{Cache, Config, EXPIRE_AT_ONCE, Fill, Tags};
use donjon_core::chance::Seed;
use donjon_core::entry::Life;
use donjon_core::key::Key;

use crate::speed::{processor_time, sorted_median};
use crate::stores::{Donjon, Value};

const ROUNDS: usize = 3;
const ENTRIES: u64 = 1_000_000;
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(6);

trait Timed {
    fn insert(&self, key: &str, ttl: Duration, value: &Value);
    /// Lets go of some of what is due; true where there may be more.
    fn tidy(&self) -> bool;
    fn entries(&self) -> u64;
}

type Make = fn() -> Box<dyn Timed>;

const ALL: [(&str, Make); 3] = [
    ("donjon", || Box::new(donjon())),
    ("moka", || Box::new(moka())),
    ("mini-moka, one time to live for all", || Box::new(mini_moka())),
];

/// Prints the table.
pub fn run() {
    println!(
        "{ENTRIES} entries leave, over within {} to {} s: processor time of the longest call, median of {ROUNDS}\n\n\
         | cache | of a new key, ms | of tidying, ms | tidying in all, ms | left a second later |\n|---|--:|--:|--:|--:|",
        SHORTEST.as_secs(),
        LONGEST.as_secs()
    );
    for (name, make) in ALL {
        let rounds: Vec<[f64; 4]> = (0..ROUNDS).map(|_| watch(&*make())).collect();
        let [insert, tidy, all, left] =
            [0, 1, 2, 3].map(|figure| sorted_median(rounds.iter().map(|round| round[figure])));
        println!("| {name} | {insert:.2} | {tidy:.2} | {all:.0} | {left:.0} |");
    }
    println!();
}

fn watch(cache: &dyn Timed) -> [f64; 4] {
    let value: Value = vec![b'v'; 120].into();
    let span = (LONGEST - SHORTEST).as_millis() as u64;
    for n in 0..ENTRIES {
        let ttl = SHORTEST + Duration::from_millis(n * 7_919 % span);
        cache.insert(&format!("user:profile:{n:07}"), ttl, &value);
    }
    let end = Instant::now() + LONGEST + Duration::from_secs(1);
    let (mut insert, mut tidy, mut all) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut next = Instant::now();
    for n in 0.. {
        let now = Instant::now();
        if now > end {
            break;
        }
        insert = insert.max(timed(|| cache.insert(&format!("other:{:04}", n % 1_000), LONGEST * 10, &value)).0);
        if now > next {
            next = now + Duration::from_secs(1);
            loop {
                let (took, more) = timed(|| cache.tidy());
                tidy = tidy.max(took);
                all += took;
                if !more {
                    break;
                }
            }
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    let millis = |took: Duration| took.as_secs_f64() * 1_000.0;
    [millis(insert), millis(tidy), millis(all), cache.entries().saturating_sub(1_000) as f64]
}

fn timed<T>(call: impl FnOnce() -> T) -> (Duration, T) {
    let from = processor_time();
    let answer = call();
    (processor_time() - from, answer)
}

fn donjon() -> Cache<Value, ()> {
    Cache::new(&Config { max_entries: Some(2 * ENTRIES), max_bytes: u64::MAX / 2, ..Config::default() }, Seed(0x5eed))
}

impl Timed for Cache<Value, ()> {
    fn insert(&self, key: &str, ttl: Duration, value: &Value) {
        let (key, now) = (Key::new(key).expect("a key of twenty letters"), Donjon::now());
        let life = Life::new(now.after(ttl), now.after(ttl));
        self.set(key, value.clone(), Fill { life, bytes: value.len() as u64, tags: Tags::default() }, now);
    }

    fn tidy(&self) -> bool {
        self.expire(EXPIRE_AT_ONCE, Donjon::now())
    }

    fn entries(&self) -> u64 {
        self.stats().entries
    }
}

struct Own;

impl moka::Expiry<String, (Duration, Value)> for Own {
    fn expire_after_create(&self, _: &String, value: &(Duration, Value), _: Instant) -> Option<Duration> {
        Some(value.0)
    }
}

fn moka() -> moka::sync::Cache<String, (Duration, Value)> {
    moka::sync::Cache::builder().max_capacity(2 * ENTRIES).expire_after(Own).build()
}

impl Timed for moka::sync::Cache<String, (Duration, Value)> {
    fn insert(&self, key: &str, ttl: Duration, value: &Value) {
        self.insert(key.to_owned(), (ttl, value.clone()));
    }

    fn tidy(&self) -> bool {
        self.run_pending_tasks();
        false
    }

    fn entries(&self) -> u64 {
        self.entry_count()
    }
}

fn mini_moka() -> mini_moka::sync::Cache<String, Value> {
    mini_moka::sync::Cache::builder().max_capacity(2 * ENTRIES).time_to_live(LONGEST).build()
}

impl Timed for mini_moka::sync::Cache<String, Value> {
    fn insert(&self, key: &str, _: Duration, value: &Value) {
        self.insert(key.to_owned(), value.clone());
    }

    fn tidy(&self) -> bool {
        mini_moka::sync::ConcurrentCacheExt::sync(self);
        false
    }

    fn entries(&self) -> u64 {
        self.entry_count()
    }
}
