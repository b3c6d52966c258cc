//! What the policy keeps, beside least-recently-used on the same made-up requests: Zipf, scan, loop, shift and weight.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use donjon_core::entry::{Life, Weight};
use donjon_core::moment::Moment;
use donjon_core::policy::{Bounds, Policy, Slot};

/// A request: which key, and what its value weighs.
type Request = (u64, u64);

/// Hits of the policy on the last `counted` requests, in percent.
fn policy_hits(requests: &[Request], max_weight: u64, counted: usize) -> f64 {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let mut policy: Policy = Policy::new(Bounds { max_weight, max_entries: None, idle_weight: 0 });
    let mut slots: HashMap<u64, Slot> = HashMap::new();
    let mut keys: Vec<u64> = Vec::new();
    let mut hits = 0;
    for (at, &(key, weight)) in requests.iter().enumerate() {
        if let Some(&slot) = slots.get(&key) {
            policy.line(slot).touch();
            hits += usize::from(at >= requests.len() - counted);
            continue;
        }
        let slot = policy.open(hasher.hash_one(key) as u32);
        keys.resize(policy.slots(), 0);
        keys[slot.index()] = key;
        slots.insert(key, slot);
        policy.put(slot, Weight::new(weight), Life::FOREVER);
        while let Some((gone, _)) = policy.evict(Moment::default()) {
            slots.remove(&keys[gone.index()]);
            policy.close(gone);
        }
    }
    policy.validate();
    100.0 * hits as f64 / counted as f64
}

/// The same of a list kept in the order of last use.
fn lru_hits(requests: &[Request], max_weight: u64, counted: usize) -> f64 {
    let mut last_use: HashMap<u64, (usize, u64)> = HashMap::new();
    let mut order: BTreeMap<usize, u64> = BTreeMap::new();
    let (mut held, mut hits) = (0, 0);
    for (at, &(key, weight)) in requests.iter().enumerate() {
        if let Some((before, _)) = last_use.insert(key, (at, weight)) {
            order.remove(&before);
            hits += usize::from(at >= requests.len() - counted);
        } else {
            held += weight;
        }
        order.insert(at, key);
        while held > max_weight {
            let (_, oldest) = order.pop_first().expect("what is held has been used");
            held -= last_use.remove(&oldest).expect("what has been used is held").1;
        }
    }
    100.0 * hits as f64 / counted as f64
}

/// Numbers that look random and are always the same (xorshift).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Keys `first..first + 10_000` asked for by Zipf's law of exponent 0.9.
fn zipf(first: u64, requests: usize, chance: &mut Chance) -> Vec<Request> {
    let mut sum = 0.0;
    let shares: Vec<f64> = (1..=10_000)
        .map(|rank| {
            sum += f64::from(rank).powf(-0.9);
            sum
        })
        .collect();
    let key = |at: f64| shares.partition_point(|&share| share < at * sum) as u64;
    (0..requests).map(|_| (first + key(chance.next()), 1)).collect()
}

/// `popular` requests, and after each thousand of them a scan of 500 keys that are never asked for again.
fn with_scans(popular: &[Request], weight: u64) -> Vec<Request> {
    let scan = |nth: usize| (0..500).map(move |n| (1 << 40 | (nth * 500 + n) as u64, weight));
    popular.chunks(1_000).enumerate().flat_map(|(nth, chunk)| chunk.iter().copied().chain(scan(nth))).collect()
}

#[test]
fn popular_keys_are_kept_better_than_by_last_use() {
    let requests = zipf(0, 200_000, &mut Chance(1));
    let (policy, lru) = (policy_hits(&requests, 500, 100_000), lru_hits(&requests, 500, 100_000));
    assert!(policy > lru + 4.0, "{policy:.1} % against {lru:.1} %");
}

#[test]
fn a_scan_costs_popular_keys_less_than_by_last_use() {
    let popular = zipf(0, 200_000, &mut Chance(2));
    let requests = with_scans(&popular, 1);
    let [before, after, lru] =
        [policy_hits(&popular, 500, 200_000), policy_hits(&requests, 500, 300_000), lru_hits(&requests, 500, 300_000)];
    // A third of the requests are the scans, which nobody can answer.
    assert!(after * 1.5 > before - 5.0, "{:.1} % of the popular requests, {before:.1} % without scans", after * 1.5);
    assert!(after > lru + 6.0, "{after:.1} % against {lru:.1} %");
}

#[test]
fn a_loop_larger_than_the_cache_still_hits() {
    let requests: Vec<_> = (0..100_000).map(|n| (n % 1_000, 1)).collect();
    for size in [250, 500, 750] {
        let (policy, lru) = (policy_hits(&requests, size, 50_000), lru_hits(&requests, size, 50_000));
        let most = size as f64 / 10.0;
        assert!(lru == 0.0 && policy > most * 0.93, "{policy:.1} % of at most {most:.1} % with room for {size}");
    }
}

#[test]
fn keys_that_become_popular_replace_those_that_were() {
    let mut chance = Chance(3);
    let requests = [zipf(0, 200_000, &mut chance), zipf(20_000, 100_000, &mut chance)].concat();
    let steady = zipf(20_000, 300_000, &mut chance);
    let (shifted, steady) = (policy_hits(&requests, 500, 50_000), policy_hits(&steady, 500, 50_000));
    assert!(shifted > steady - 3.0, "{shifted:.1} % after the shift, {steady:.1} % where nothing shifts");
}

#[test]
fn what_is_asked_for_again_at_once_is_kept() {
    // Each key thrice within the next 150 requests, then never again: as an order that is looked at until it is paid.
    let requests: Vec<_> = (0..60_000_u64).map(|n| (n / 3 + n % 3 * 50, 1)).collect();
    let (policy, lru) = (policy_hits(&requests, 2_000, 30_000), lru_hits(&requests, 2_000, 30_000));
    assert!(policy > lru - 1.0, "{policy:.1} % against {lru:.1} %");
}

#[test]
fn after_a_loop_what_is_asked_for_again_at_once_is_kept_as_if_there_had_been_none() {
    let circle = (0..100_000).map(|n| ((1 << 40) + n % 1_000, 1));
    let again: Vec<_> = (0..60_000_u64).map(|n| (n / 3 + n % 3 * 10, 1)).collect();
    let requests: Vec<_> = circle.chain(again.iter().copied()).collect();
    let (after, alone) = (policy_hits(&requests, 500, 40_000), policy_hits(&again, 500, 40_000));
    assert!(after > alone - 1.0, "{after:.1} % after a loop, {alone:.1} % without");
}

#[test]
fn heavy_values_asked_for_once_cost_light_ones_little() {
    let popular = zipf(0, 200_000, &mut Chance(4));
    // Each of them a fifth of the whole cache.
    let requests: Vec<_> = popular
        .chunks(100)
        .enumerate()
        .flat_map(|(nth, chunk)| chunk.iter().copied().chain([(1 << 40 | nth as u64, 100)]))
        .collect();
    let [before, after, lru] =
        [policy_hits(&popular, 500, 200_000), policy_hits(&requests, 500, 202_000), lru_hits(&requests, 500, 202_000)];
    assert!(after > before - 4.0, "{after:.1} %, {before:.1} % without the heavy ones");
    assert!(after > lru + 10.0, "{after:.1} % against {lru:.1} %");
}
