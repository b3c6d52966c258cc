//! How much is kept, at every step, and what becomes of a value that is too large.

use donjon_core::cache::lease::Filled;
use donjon_core::cache::{Ask, Config, Fill, Lookup};
use donjon_core::flight::Ending;

use crate::caller::*;

#[test]
fn there_are_never_more_entries_than_allowed() {
    for most in [1, 2, 100, 5_000] {
        let cache = cache_of(&Config { max_entries: Some(most), ..config() });
        for number in 0..most * 3 {
            set(&cache, &format!("k{number}"), "v", at(number));
            assert!(cache.stats().entries <= most);
        }
        assert!(cache.stats().entries >= most * 9 / 10, "nearly all the room is used: {}", cache.stats().entries);
        cache.validate();
    }
}

#[test]
fn there_are_never_more_bytes_than_allowed() {
    let cache = cache_of(&Config { max_bytes: 1 << 20, ..config() });
    let mut most = 0;
    for number in 0..3_000_u64 {
        let bytes = number * 7_919 % 20_000;
        let fill = Fill { bytes, ..ten_seconds(&cache, at(0)) };
        assert!(cache.set(key(&format!("k{}", number % 700)), text("v"), fill, at(0)));
        let stats = cache.stats();
        assert!(stats.bytes <= 1 << 20, "step {number}: {} bytes", stats.bytes);
        most = most.max(stats.bytes);
        if number % 100 == 0 {
            cache.validate();
        }
    }
    assert!(most > (1 << 20) - 25_000, "the room is used: {most}");
}

#[test]
fn a_load_that_grows_a_value_makes_others_leave() {
    let cache = cache_of(&Config { max_bytes: 1 << 16, ..config() });
    for number in 0..20 {
        let fill = Fill { bytes: 1_000, ..ten_seconds(&cache, at(0)) };
        cache.set(key(&format!("k{number}")), text("v"), fill, at(0));
    }
    let (_, lease) = refreshes(cache.begin(key("k0"), Ask::value(), at(TTL)));
    let fill = Fill { bytes: 60_000, ..ten_seconds(&cache, at(TTL)) };
    assert_eq!(lease.fill(text("large"), fill, at(TTL)), Filled::Stored);
    let stats = cache.stats();
    assert!(stats.bytes <= 1 << 16 && stats.evictions >= 15, "{stats:?}");
    cache.validate();
}

#[test]
fn a_value_of_some_megabytes_is_kept_however_many_shards_there_are() {
    for (max_bytes, bytes) in [(4 << 20, 3 << 20), (64 << 20, 3 << 20), (256 << 20, 15 << 20), (1 << 36, 15 << 20)] {
        let cache = cache_of(&Config { max_bytes, ..config() });
        let fill = Fill { bytes, ..ten_seconds(&cache, at(0)) };
        assert!(cache.set(key("k"), text("v"), fill, at(0)), "{bytes} bytes of {max_bytes}");
    }
}

#[test]
fn a_value_set_that_is_too_large_takes_the_older_one_with_it() {
    let cache = cache_of(&Config { max_bytes: 1 << 16, ..config() });
    set(&cache, "k", "old", at(0));
    let too_large = Fill { bytes: 1 << 17, ..ten_seconds(&cache, at(0)) };
    let (_, lease) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
    assert!(!cache.set(key("k"), text("huge"), too_large.clone(), at(TTL)));
    assert_eq!(get(&cache, "k", at(TTL)), Lookup::Miss);
    assert_eq!(lease.fill(text("older"), ten_seconds(&cache, at(TTL)), at(TTL)), Filled::Refused);
    assert!(!cache.set(key("other"), text("huge"), too_large, at(TTL)));
    assert_eq!((cache.stats().too_large, cache.stats().entries), (2, 0));
    cache.validate();
}

#[test]
fn a_value_loaded_that_is_too_large_takes_the_older_one_with_it_and_still_serves_who_waits() {
    let cache = cache_of(&Config { max_bytes: 1 << 16, ..config() });
    set(&cache, "k", "old", at(0));
    let (_, lease) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
    let late = at(TTL + GRACE - 1);
    let forced = waits(cache.begin(key("k"), Ask::newer_than(cache.ticket()), late));
    let too_large = Fill { bytes: u64::MAX, ..ten_seconds(&cache, late) };
    assert_eq!(lease.fill(text("huge"), too_large.clone(), late), Filled::Passed);
    assert_eq!(forced.end(), Ending::Again);
    assert_eq!(get(&cache, "k", late), Lookup::Miss, "what was there is older than what was loaded");

    let lease = loads(cache.begin(key("k"), Ask::value(), late));
    let waiting = waits(cache.begin(key("k"), Ask::value(), late));
    assert_eq!(lease.fill(text("huge"), too_large, late), Filled::Passed);
    assert_eq!(waiting.end(), Ending::Value(text("huge")));
    let stats = cache.stats();
    assert_eq!((stats.too_large, stats.entries, stats.flights, stats.loads_refused), (2, 0, 0, 0));
    cache.validate();
}

#[test]
fn a_value_that_is_passed_on_serves_who_waits_and_is_not_stored() {
    let cache = cache();
    set(&cache, "k", "old", at(0));
    let (_, lease) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
    assert_eq!(lease.pass(text("new"), at(TTL)), Filled::Passed);
    assert_eq!(get(&cache, "k", at(TTL)), Lookup::Miss, "what was there is older than what was loaded");

    let lease = loads(cache.begin(key("k"), Ask::value(), at(TTL)));
    let waiting = waits(cache.begin(key("k"), Ask::value(), at(TTL)));
    assert_eq!(lease.pass(text("new"), at(TTL)), Filled::Passed);
    assert_eq!(waiting.end(), Ending::Value(text("new")));

    let lease = loads(cache.begin(key("k"), Ask::value(), at(TTL)));
    let waiting = waits(cache.begin(key("k"), Ask::value(), at(TTL)));
    cache.delete(key("k"), at(TTL));
    assert_eq!(lease.pass(text("older"), at(TTL)), Filled::Refused);
    assert_eq!(waiting.end(), Ending::Again);
    let stats = cache.stats();
    assert_eq!((stats.too_large, stats.entries, stats.flights, stats.loads_refused), (0, 0, 0, 1));
    cache.validate();
}

#[test]
fn a_key_weighs_too_where_it_is_too_long_for_a_row() {
    let cache = cache_of(&Config { max_bytes: 1 << 16, ..config() });
    let weight = |name: &str| {
        set(&cache, name, "v", at(0));
        cache.explain(key(name), at(0)).weight.expect("it is there").get()
    };
    assert_eq!(weight(&"k".repeat(22)), weight("k"));
    assert!(weight(&"k".repeat(23)) >= weight("k") + 23);
    assert_eq!(weight(&"k".repeat(1_000)) - weight(&"k".repeat(23)), 977);
}

#[test]
fn many_keys_that_are_only_loaded_leave_nothing_behind() {
    let cache = cache();
    for number in 0..20_000 {
        let lease = loads(cache.begin(key(&format!("missing{number}")), Ask::value(), at(0)));
        if number % 2 == 0 {
            lease.fail(text("no such row"), at(0));
        }
    }
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.bytes, stats.flights), (0, 0, 0));
    cache.validate();
}
