//! Stores: the caches that are timed, all behind the same few calls: `String` keys, values that are shared handles.
//!
//! Each as its own documentation first builds it: its own hasher, its own number of shards, bounded by entries.

use std::sync::Arc;

use donjon_core::cache::{Cache, Config, Fill, Lookup, Tags};
use donjon_core::chance::Seed;
use donjon_core::entry::Life;
use donjon_core::key::Key;
use donjon_core::moment::Moment;
use donjon_core::pattern::Pattern;

pub type Value = Arc<[u8]>;

pub trait Store: Send + Sync {
    fn get(&self, key: &str) -> Option<Value>;
    fn insert(&self, key: &str, value: Value);
    /// Does what was put off; nothing where nothing is.
    fn settle(&self) {}
    /// Removes the keys that begin so; false where the store has no way to.
    fn invalidate(&self, _prefix: &str) -> bool {
        false
    }
}

pub type Made = Box<dyn Store>;
pub type Make = fn(usize) -> Made;

/// By name, donjon first.
pub const ALL: [(&str, Make); 6] = [
    ("donjon", |entries| Box::new(Donjon::new(entries, 0x5eed))),
    ("quick_cache", |entries| Box::new(quick_cache::sync::Cache::<String, Value>::new(entries))),
    ("moka", |entries| Box::new(moka(entries))),
    ("mini-moka", |entries| Box::new(mini_moka::sync::Cache::<String, Value>::new(entries as u64))),
    ("foyer w-tinylfu", |entries| Box::new(foyer(entries, foyer_memory::LfuConfig::default().into()))),
    ("foyer s3fifo", |entries| Box::new(foyer(entries, foyer_memory::S3FifoConfig::default().into()))),
];

pub struct Donjon {
    cache: Cache<Value, ()>,
}

impl Donjon {
    pub fn new(entries: usize, seed: u128) -> Self {
        let config = Config { max_entries: Some(entries as u64), max_bytes: u64::MAX / 2, ..Config::default() };
        Self { cache: Cache::new(&config, Seed(seed)) }
    }

    pub fn now() -> Moment {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
        Moment::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

impl Store for Donjon {
    fn get(&self, key: &str) -> Option<Value> {
        match self.cache.get(Key::new(key).ok()?, Self::now()) {
            Lookup::Hit(value) => Some(value),
            _ => None,
        }
    }

    fn insert(&self, key: &str, value: Value) {
        let fill = Fill { life: Life::FOREVER, bytes: value.len() as u64, tags: Tags::default() };
        self.cache.set(Key::new(key).expect("a key of twenty letters"), value, fill, Self::now());
    }

    fn invalidate(&self, prefix: &str) -> bool {
        let pattern = Pattern::new(&format!("{prefix}*")).expect("a pattern of a few letters");
        self.cache.invalidate_pattern(&pattern, Self::now());
        true
    }
}

impl Store for quick_cache::sync::Cache<String, Value> {
    fn get(&self, key: &str) -> Option<Value> {
        self.get(key)
    }

    fn insert(&self, key: &str, value: Value) {
        self.insert(key.to_owned(), value);
    }

    fn invalidate(&self, prefix: &str) -> bool {
        self.retain(|key, _| !key.starts_with(prefix));
        true
    }
}

fn moka(entries: usize) -> moka::sync::Cache<String, Value> {
    moka::sync::Cache::builder().max_capacity(entries as u64).support_invalidation_closures().build()
}

impl Store for moka::sync::Cache<String, Value> {
    fn get(&self, key: &str) -> Option<Value> {
        self.get(key)
    }

    fn insert(&self, key: &str, value: Value) {
        self.insert(key.to_owned(), value);
    }

    fn settle(&self) {
        self.run_pending_tasks();
    }

    fn invalidate(&self, prefix: &str) -> bool {
        let prefix = prefix.to_owned();
        let _id = self.invalidate_entries_if(move |key, _| key.starts_with(&prefix)).expect("closures are on");
        self.run_pending_tasks();
        true
    }
}

impl Store for mini_moka::sync::Cache<String, Value> {
    fn get(&self, key: &str) -> Option<Value> {
        self.get(&key.to_owned())
    }

    fn insert(&self, key: &str, value: Value) {
        self.insert(key.to_owned(), value);
    }

    fn settle(&self) {
        mini_moka::sync::ConcurrentCacheExt::sync(self);
    }
}

fn foyer(entries: usize, order: foyer_memory::EvictionConfig) -> foyer_memory::Cache<String, Value> {
    foyer_memory::CacheBuilder::new(entries).with_eviction_config(order).build()
}

impl Store for foyer_memory::Cache<String, Value> {
    fn get(&self, key: &str) -> Option<Value> {
        self.get(key).map(|entry| entry.value().clone())
    }

    fn insert(&self, key: &str, value: Value) {
        self.insert(key.to_owned(), value);
    }
}
