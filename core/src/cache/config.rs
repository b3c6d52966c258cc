//! Config: how large a cache may grow and how it treats time.

use core::time::Duration;

use crate::expiry::{Early, Jitter};
use crate::flight::Limits;

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
    /// Who has the values. Default: the cache.
    pub holder: Holder,
}

/// Who has the values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holder {
    /// The cache, in shards, for many threads.
    #[default]
    Cache,
    /// A host of one thread: `V` is the number of a value that it keeps. There is one shard, so that a [`Slot`](crate::policy::Slot)
    /// names a row, and what left waits until [`Cache::take_left`](super::Cache::take_left) tells the host to let go of it.
    Host,
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
            holder: Holder::Cache,
        }
    }
}

impl Config {
    /// How far loads are shared.
    pub(crate) fn limits(&self) -> Limits {
        Limits { load_timeout: self.load_timeout, max_flights: self.max_flights, max_joined: self.max_joined }
    }
}

/// As many shards as leave each a useful share of the bounds. The smaller each is, the less is done at once where its tables grow or
/// shrink, and the fewer wait for its lock; but a value has to fit into one.
pub(super) fn shard_count(config: &Config) -> u64 {
    if config.holder == Holder::Host {
        return 1;
    }
    let fits = |shards: u64, bytes: u64| {
        config.max_bytes / shards >= bytes
            && config.max_entries.is_none_or(|entries| entries / shards >= MIN_SHARD_ENTRIES)
    };
    SHARDS.into_iter().find(|&(shards, bytes)| fits(shards, bytes)).map_or(1, |(shards, _)| shards)
}

/// How many shards, and the bytes that each has at least then: for the most of them as many as a value over Redis takes by default.
const SHARDS: [(u64, u64); 5] = [(32, 16 << 20), (16, 4 << 20), (8, 4 << 20), (4, 4 << 20), (2, 4 << 20)];
const MIN_SHARD_ENTRIES: u64 = 1_024;
