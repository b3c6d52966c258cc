//! The whole cache against a naive model of it: random lists of operations, an exact answer to each, shrunk where one is wrong.
//!
//! Where room is scarce the model cannot know what is left, only what may be.

// One model for these and for the fuzzer, which is handed bytes instead of lists.
#[path = "../../tests/src/cache_model.rs"]
mod model;

use donjon_core::cache::{Cache, Config, Fill, Lookup, Tags};
use donjon_core::chance::Seed;
use donjon_core::entry::{Life, Removal};
use donjon_core::expiry::Early;
use donjon_core::key::Key;
use donjon_core::moment::Moment;
use proptest::prelude::*;

use model::{COLLIDING, COLLIDING_SEED, Entry, How, NAMES, Names, Op, PATTERNS, Pair, SEED, TIMEOUT, TOO_LARGE};

fn how() -> impl Strategy<Value = How> {
    let bytes = prop_oneof![20 => 0_u64..2_000, 1 => Just(TOO_LARGE)];
    (0_u8..8, ttl(), 0_u64..30, bytes).prop_map(|(tags, ttl, grace, bytes)| How { tags, ttl, grace, bytes })
}

fn ttl() -> impl Strategy<Value = Option<u64>> {
    proptest::option::weighted(0.9, 1_u64..60)
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..NAMES.len();
    prop_oneof![
        3 => key.clone().prop_map(Op::Get),
        2 => key.clone().prop_map(Op::Hit),
        8 => key.clone().prop_map(Op::Begin),
        2 => key.clone().prop_map(Op::Force),
        6 => (any::<usize>(), how()).prop_map(|(lease, how)| Op::Fill(lease, how)),
        1 => any::<usize>().prop_map(Op::Fail),
        1 => any::<usize>().prop_map(Op::Abandon),
        1 => any::<usize>().prop_map(Op::Leave),
        3 => (key.clone(), how()).prop_map(|(key, how)| Op::Set(key, how)),
        2 => (key.clone(), how(), any::<bool>()).prop_map(|(key, how, seen)| Op::Swap(key, how, seen)),
        1 => (key.clone(), ttl()).prop_map(|(key, ttl)| Op::Retime(key, ttl)),
        2 => key.prop_map(Op::Delete),
        1 => (0..PATTERNS.len()).prop_map(Op::Pattern),
        1 => Just(Op::Clear),
        1 => (1_u8..8).prop_map(Op::Tags),
        4 => (0_u64..25).prop_map(Op::Pass),
        1 => Just(Op::Expire),
        1 => proptest::bool::weighted(0.8).prop_map(Op::Switch),
    ]
}

/// Compares a cache that has room with what it ought to be, after each operation.
fn answers_as_a_map_would(seed: Seed, names: Names, ops: Vec<Op>) {
    let config = Config { max_bytes: TOO_LARGE, early: Early::OFF, load_timeout: TIMEOUT, ..Config::default() };
    let mut pair = Pair::new(&config, seed, names);
    for op in ops {
        pair.apply(op);
        pair.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cache_with_room_answers_as_a_map_would(ops in proptest::collection::vec(op(), 1..120)) {
        answers_as_a_map_would(SEED, NAMES, ops);
    }

    #[test]
    fn a_cache_whose_keys_all_collide_answers_as_a_map_would(ops in proptest::collection::vec(op(), 1..120)) {
        answers_as_a_map_would(COLLIDING_SEED, COLLIDING, ops);
    }
}

#[test]
fn keys_that_are_to_collide_do() {
    let cache: Cache<(), ()> = Cache::new(&Config::default(), COLLIDING_SEED);
    let [first, others @ ..] = COLLIDING.map(|name| Key::new(name).unwrap());
    let fill = Fill { life: Life::FOREVER, bytes: 1, tags: Tags::default() };
    cache.set(first, (), fill, Moment::default());
    cache.delete(first, Moment::default());
    // What left is remembered by its hash alone.
    let left = |key| cache.explain(key, Moment::default()).last_removal.map(|(why, _)| why);
    assert_eq!(others.map(left), [Some(Removal::Invalidated); 4], "`ahash` hashes otherwise by now: choose others");
    assert_eq!(left(Key::new("ihjguvej------c").unwrap()), None);
}

/// What is set, read and removed where there is room for few.
fn crowded() -> impl Strategy<Value = Op> {
    let key = 0_usize..40;
    prop_oneof![
        6 => (key.clone(), how()).prop_map(|(key, how)| Op::Set(key, how)),
        6 => key.clone().prop_map(Op::Get),
        1 => key.prop_map(Op::Delete),
        2 => (0_u64..10).prop_map(Op::Pass),
        1 => (1_u8..8).prop_map(Op::Tags),
        1 => Just(Op::Expire),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cache_without_room_keeps_to_its_bounds_and_to_what_was_stored(
        entries in proptest::option::of(1_u64..12), bytes in 1_000_u64..12_000,
        collide in any::<bool>(),
        ops in proptest::collection::vec(crowded(), 1..300),
    ) {
        let config = Config { max_bytes: bytes, max_entries: entries, ..Config::default() };
        let (seed, stem) = if collide { (COLLIDING_SEED, "ihjguvej------") } else { (SEED, "k") };
        let mut pair = Pair::new(&config, seed, NAMES);
        for op in ops {
            match op {
                Op::Set(key, how) => {
                    let (value, fill, name) = (pair.draw(), pair.fill_of(how), format!("{stem}{key:02}"));
                    pair.entries.remove(&key);
                    if pair.cache.set(Key::new(&name).unwrap(), value, fill.clone(), pair.now) {
                        pair.entries.insert(key, Entry { value, tags: how.tags, life: fill.life, begun: value });
                    }
                }
                Op::Get(key) => {
                    let found = pair.cache.get(Key::new(&format!("{stem}{key:02}")).unwrap(), pair.now);
                    prop_assert!(found == Lookup::Miss || found == pair.expected(key), "{:?} for {}", found, key);
                }
                Op::Delete(key) => {
                    let served = pair.cache.delete(Key::new(&format!("{stem}{key:02}")).unwrap(), pair.now);
                    prop_assert!(!served || pair.usable(key).is_some());
                    pair.entries.remove(&key);
                }
                op => pair.apply(op),
            }
            pair.cache.validate();
            let stats = pair.cache.stats();
            prop_assert!(stats.bytes <= bytes && stats.entries <= entries.unwrap_or(u64::MAX), "{:?}", stats);
        }
    }
}
