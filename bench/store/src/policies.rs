//! Policies: each cache replays requests, and counts what it could answer. What it could not is put in, with a weight of one.
//!
//! The caches beside donjon have one shard or their form for one thread, and are let do what they put off after each insertion.

use donjon_core::entry::{Life, Weight};
use donjon_core::moment::Moment;
use donjon_core::policy::{Bounds, Policy, Slot};

type Replay = fn(&[u32], usize) -> u64;

/// By name, donjon's first.
pub const ALL: [(&str, Replay); 8] = [
    ("donjon", donjon),
    ("moka", moka),
    ("mini-moka", mini_moka),
    ("quick_cache", quick_cache),
    ("foyer w-tinylfu", |requests, size| foyer(requests, size, foyer_memory::LfuConfig::default().into())),
    ("foyer s3fifo", |requests, size| foyer(requests, size, foyer_memory::S3FifoConfig::default().into())),
    ("foyer sieve", |requests, size| foyer(requests, size, foyer_memory::SieveConfig.into())),
    ("foyer lru", |requests, size| foyer(requests, size, foyer_memory::LruConfig::default().into())),
];

fn donjon(requests: &[u32], size: usize) -> u64 {
    let mut policy: Policy = Policy::new(Bounds { max_weight: size as u64, max_entries: None, idle_weight: 0 });
    let mut slots: Vec<Option<Slot>> = vec![None; requests.iter().max().map_or(0, |&most| most as usize + 1)];
    let mut keys: Vec<u32> = Vec::new();
    let mut hits = 0;
    for &key in requests {
        if let Some(slot) = slots[key as usize] {
            policy.line(slot).touch();
            hits += 1;
            continue;
        }
        let slot = policy.open(hash(key) as u32);
        keys.resize(policy.slots(), 0);
        keys[slot.index()] = key;
        slots[key as usize] = Some(slot);
        policy.put(slot, Weight::new(1), Life::FOREVER);
        while let Some((gone, _)) = policy.evict(Moment::default()) {
            slots[keys[gone.index()] as usize] = None;
            policy.close(gone);
        }
    }
    hits
}

/// Well mixed, as that of a real key would be.
fn hash(key: u32) -> u64 {
    let mixed = u64::from(key).wrapping_add(1).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 31).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 30
}

fn moka(requests: &[u32], size: usize) -> u64 {
    let cache = moka::sync::Cache::new(size as u64);
    count(requests, |key| {
        let hit = cache.get(&key).is_some();
        if !hit {
            cache.insert(key, ());
            cache.run_pending_tasks();
        }
        hit
    })
}

fn mini_moka(requests: &[u32], size: usize) -> u64 {
    let mut cache = mini_moka::unsync::Cache::new(size as u64);
    count(requests, |key| {
        let hit = cache.get(&key).is_some();
        if !hit {
            cache.insert(key, ());
        }
        hit
    })
}

fn quick_cache(requests: &[u32], size: usize) -> u64 {
    let mut cache = quick_cache::unsync::Cache::new(size);
    count(requests, |key| {
        let hit = cache.get(&key).is_some();
        if !hit {
            cache.insert(key, ());
        }
        hit
    })
}

fn foyer(requests: &[u32], size: usize, order: foyer_memory::EvictionConfig) -> u64 {
    let cache: foyer_memory::Cache<u32, ()> =
        foyer_memory::CacheBuilder::new(size).with_shards(1).with_eviction_config(order).build();
    count(requests, |key| {
        let hit = cache.get(&key).is_some();
        if !hit {
            cache.insert(key, ());
        }
        hit
    })
}

fn count(requests: &[u32], ask: impl FnMut(u32) -> bool) -> u64 {
    requests.iter().copied().map(ask).map(u64::from).sum()
}
