//! A cache whose values the host holds.

use donjon_core::cache::{Ask, Cache, Config, Fill, Holder, Lookup, Step};
use donjon_core::chance::Seed;
use donjon_core::expiry::{Early, Grace, Ttl};
use donjon_core::key::Key;
use donjon_core::lease::Filled;
use donjon_core::moment::Moment;
use donjon_core::policy::Slot;

const START: Moment = Moment::from_millis(1_000);

fn hosted(max_entries: u64) -> Cache<u32, ()> {
    let config =
        Config { max_entries: Some(max_entries), early: Early::OFF, holder: Holder::Host, ..Config::default() };
    Cache::new(&config, Seed(0x5eed))
}

fn key(text: &str) -> Key<'_> {
    Key::new(text).unwrap()
}

fn set(cache: &Cache<u32, ()>, text: &str, number: u32, seconds: f64) -> Slot {
    let life = cache.life(Ttl::from_secs(seconds).unwrap(), Grace::from_secs(5.0).unwrap(), START);
    let tags = cache.tags(&["tag"]).unwrap();
    assert!(cache.set(key(text), number, Fill { life, bytes: 8, tags }, START));
    cache.slot(key(text)).expect("it was stored")
}

#[test]
fn a_value_is_read_by_the_number_of_its_row_as_it_is_by_its_key() {
    let cache = hosted(10);
    let slot = set(&cache, "a", 7, 10.0);
    let (fresh, stale, over) = (START, Moment::from_millis(12_000), Moment::from_millis(16_000));
    assert!(cache.hit_at(slot, fresh));
    assert_eq!(cache.get_at(Some(slot), fresh), Lookup::Hit(()));
    assert!(!cache.hit_at(slot, stale), "somebody has to refresh it");
    assert_eq!(cache.get_at(Some(slot), stale), Lookup::Stale(()));
    assert_eq!(cache.get_at(Some(slot), over), Lookup::Miss);
    assert_eq!(cache.get_at(None, fresh), Lookup::Miss);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.stale, stats.misses), (2, 1, 2));
    cache.invalidate_tags(&["tag"]).unwrap();
    assert!(!cache.hit_at(slot, fresh));
    assert_eq!(cache.get_at(Some(slot), fresh), Lookup::Miss);
}

#[test]
fn nothing_is_read_by_number_while_the_cache_is_switched_off() {
    let cache = hosted(10);
    let slot = set(&cache, "a", 7, 10.0);
    cache.switch(false);
    assert!(!cache.hit_at(slot, START));
    assert_eq!(cache.get_at(Some(slot), START), Lookup::Miss);
}

#[test]
fn the_host_is_told_of_each_value_that_left_once_and_of_no_other() {
    let cache = hosted(2);
    set(&cache, "a", 1, 10.0);
    set(&cache, "a", 2, 10.0);
    assert_eq!(cache.take_left(), [1], "replaced");
    assert!(cache.delete(key("a"), START));
    assert_eq!(cache.take_left(), [2], "invalidated");
    for number in 3..6 {
        set(&cache, &format!("n{number}"), number, 10.0);
    }
    let evicted = cache.take_left();
    assert_eq!(evicted.len(), 1, "evicted");
    while cache.expire(10, Moment::from_millis(60_000)) {}
    let mut all = [evicted, cache.take_left()].concat();
    all.sort_unstable();
    assert_eq!(all, [3, 4, 5], "expired");
    assert_eq!(cache.take_left(), []);
}

#[test]
fn a_value_that_a_load_replaces_leaves_when_it_is_filled() {
    let cache = hosted(10);
    set(&cache, "a", 1, 10.0);
    let Step::Stale(1, lease) = cache.begin(key("a"), Ask::value(), Moment::from_millis(12_000)) else {
        panic!("it is past its time")
    };
    let fill =
        Fill { life: cache.life(Ttl::FOREVER, Grace::NONE, START), bytes: 8, tags: cache.tags(&["tag"]).unwrap() };
    assert_eq!(lease.fill(2, fill, START), Filled::Stored);
    assert_eq!(cache.take_left(), [1]);
}
