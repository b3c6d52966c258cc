//! Reading, expiry, replacing what was seen, and what is counted and explained.

use std::time::Duration;

use donjon_core::cache::lease::Filled;
use donjon_core::cache::{Ask, Config, Lookup};
use donjon_core::entry::{Freshness, Life, Removal};
use donjon_core::expiry::{Grace, Ttl};

use donjon_core::moment::Moment;

use crate::caller::*;

#[test]
fn a_value_is_fresh_then_stale_then_gone() {
    let cache = cache();
    set(&cache, "k", "v", at(0));
    assert_eq!(get(&cache, "k", at(TTL - 1)), hit("v"));
    assert_eq!(get(&cache, "k", at(TTL)), Lookup::Stale(text("v")));
    assert_eq!(get(&cache, "k", at(TTL + GRACE - 1)), Lookup::Stale(text("v")));
    assert_eq!(get(&cache, "k", at(TTL + GRACE)), Lookup::Miss);
}

#[test]
fn a_loaded_value_lives_from_when_it_was_stored() {
    let cache = cache();
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    assert_eq!(lease.fill(text("v"), lasting(&cache, TTL, 0, at(500)), at(500)), Filled::Stored);
    assert_eq!(get(&cache, "k", at(TTL + 499)), hit("v"));
    assert_eq!(get(&cache, "k", at(TTL + 500)), Lookup::Miss);
}

#[test]
fn entries_leave_by_expiry_without_being_read() {
    let cache = cache();
    for number in 0..100 {
        set(&cache, &format!("k{number}"), "v", at(number));
    }
    let first = cache.next_deadline().expect("something will expire");
    assert!(first <= at(TTL + GRACE), "the first is due at {first:?}");
    assert!(!cache.expire(1_000, at(TTL + GRACE - 2)));
    assert_eq!(cache.stats().entries, 100, "nothing leaves early");
    while cache.expire(7, at(TTL + GRACE + 102)) {}
    cache.validate();
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.bytes, stats.expirations), (0, 0, 100));
    assert_eq!(cache.next_deadline(), None);
}

#[test]
fn stores_let_expired_entries_leave() {
    let cache = cache_of(&Config { max_entries: Some(1_000), ..config() });
    for number in 0..100 {
        set(&cache, &format!("old{number}"), "v", at(0));
    }
    for number in 0..40 {
        set(&cache, &format!("new{number}"), "v", at(TTL * 2));
    }
    assert_eq!(cache.stats().entries, 40, "more than one leaves for each that comes");
}

#[test]
fn another_time_to_live_counts_from_now_and_keeps_the_grace() {
    let cache = cache();
    set(&cache, "k", "v", at(0));
    assert!(cache.retime(key("k"), millis(1_000), at(TTL + 1)), "a stale value can be given more time");
    assert_eq!(get(&cache, "k", at(TTL + 1_000)), hit("v"));
    assert_eq!(get(&cache, "k", at(TTL + 1_001)), Lookup::Stale(text("v")));
    assert_eq!(get(&cache, "k", at(TTL + GRACE + 1_000)), Lookup::Stale(text("v")));
    assert_eq!(get(&cache, "k", at(TTL + GRACE + 1_001)), Lookup::Miss);
    assert!(!cache.retime(key("k"), millis(1_000), at(TTL + GRACE + 1_001)), "what is gone stays gone");
    assert!(!cache.retime(key("other"), millis(1_000), at(0)));
    cache.validate();
}

#[test]
fn what_was_kept_for_ever_has_no_grace_once_it_is_given_an_end() {
    let cache = cache();
    let mut fill = ten_seconds(&cache, at(0));
    fill.life = cache.life(Ttl::FOREVER, Grace::NONE, at(0));
    cache.set(key("k"), text("v"), fill, at(0));
    assert!(cache.retime(key("k"), millis(1_000), at(0)));
    assert_eq!(get(&cache, "k", at(999)), hit("v"));
    assert_eq!(get(&cache, "k", at(1_000)), Lookup::Miss);
}

#[test]
fn an_endless_grace_stays_endless() {
    let cache = cache();
    let mut fill = ten_seconds(&cache, at(0));
    fill.life = cache.life(millis(TTL), Grace::FOREVER, at(0));
    cache.set(key("k"), text("v"), fill, at(0));
    assert!(cache.retime(key("k"), millis(1_000), at(0)));
    assert_eq!(get(&cache, "k", at(u64::MAX / 2_000_000)), Lookup::Stale(text("v")));
    assert!(cache.retime(key("k"), Ttl::FOREVER, at(0)));
    assert_eq!(cache.peek(key("k"), at(0)).expect("it is there").life, Life::FOREVER);
    assert_eq!(cache.next_deadline(), None::<Moment>);
}

#[test]
fn a_swap_replaces_only_what_was_seen() {
    let cache = cache();
    let swap = |seen, value: &str| cache.swap(key("k"), seen, text(value), ten_seconds(&cache, at(0)), at(0));
    assert_eq!(swap(None, "one"), Some(true));
    assert_eq!(swap(None, "two"), None, "there is a value by now");
    let seen = cache.peek(key("k"), at(0)).expect("it is there");
    assert_eq!(&*seen.value, "one");
    assert_eq!(swap(Some(seen.ticket), "two"), Some(true));
    assert_eq!(swap(Some(seen.ticket), "three"), None, "what was seen was replaced");
    let seen = cache.peek(key("k"), at(0)).expect("it is there");
    assert!(cache.delete(key("k"), at(0)));
    assert_eq!(swap(Some(seen.ticket), "three"), None, "what was seen was deleted");
    set(&cache, "k", "two", at(0));
    assert_eq!(swap(Some(seen.ticket), "three"), None, "the same value set again is another");
    assert_eq!(get(&cache, "k", at(0)), hit("two"));
}

#[test]
fn what_expired_or_lost_its_tag_counts_as_nothing_for_a_swap() {
    let cache = cache();
    cache.set(key("k"), text("v"), tagged(&cache, &["t"], at(0)), at(0));
    cache.invalidate_tags(&["t"]).unwrap();
    assert!(cache.peek(key("k"), at(0)).is_none());
    assert_eq!(cache.swap(key("k"), None, text("w"), ten_seconds(&cache, at(0)), at(0)), Some(true));
    let late = at(TTL + GRACE);
    assert_eq!(cache.swap(key("k"), None, text("x"), ten_seconds(&cache, late), late), Some(true));
    assert_eq!(get(&cache, "k", late), hit("x"));
    cache.validate();
}

#[test]
fn a_load_is_refused_once_a_swap_put_a_value_there() {
    let cache = cache();
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    assert_eq!(cache.swap(key("k"), None, text("swapped"), ten_seconds(&cache, at(0)), at(0)), Some(true));
    assert_eq!(lease.fill(text("loaded"), ten_seconds(&cache, at(0)), at(0)), Filled::Refused);
    assert_eq!(get(&cache, "k", at(0)), hit("swapped"));
}

#[test]
fn a_swap_that_comes_too_late_leaves_a_load_alone() {
    let cache = cache();
    set(&cache, "k", "v", at(0));
    let (_, lease) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
    assert_eq!(cache.swap(key("k"), None, text("w"), ten_seconds(&cache, at(TTL)), at(TTL)), None);
    assert_eq!(lease.fill(text("loaded"), ten_seconds(&cache, at(TTL)), at(TTL)), Filled::Stored);
}

#[test]
fn switched_off_reads_miss_stores_are_dropped_and_invalidations_go_on() {
    let cache = cache();
    set(&cache, "old", "v", at(0));
    set(&cache, "deleted", "v", at(0));
    set(&cache, "k", "v", at(0));
    let before = loads(cache.begin(key("before"), Ask::value(), at(0)));
    let waiting = waits(cache.begin(key("before"), Ask::value(), at(0)));
    cache.switch(false);
    assert!(!cache.is_enabled());
    assert_eq!(get(&cache, "old", at(0)), Lookup::Miss);
    assert!(cache.hit(key("old"), at(0)).is_none() && cache.peek(key("old"), at(0)).is_none());
    assert!(!cache.retime(key("old"), millis(1), at(0)));
    let (one, two) = (cache.begin(key("k"), Ask::value(), at(0)), cache.begin(key("k"), Ask::value(), at(0)));
    assert_eq!(loads(one).fill(text("w"), ten_seconds(&cache, at(0)), at(0)), Filled::Refused);
    drop(loads(two));
    assert!(!set(&cache, "k", "newer", at(0)), "dropped, and what is older goes with it");
    assert!(cache.delete(key("deleted"), at(0)));
    assert_eq!(before.fill(text("b"), ten_seconds(&cache, at(0)), at(0)), Filled::Passed);
    assert_eq!(waiting.end(), donjon_core::flight::Ending::Value(text("b")), "who waited has the value all the same");
    cache.switch(true);
    assert_eq!(get(&cache, "old", at(0)), hit("v"));
    for gone in ["k", "deleted", "before"] {
        assert_eq!(get(&cache, gone, at(0)), Lookup::Miss, "{gone}");
    }
    cache.validate();
}

#[test]
fn switched_off_a_swap_finds_nothing_there_as_a_peek_does() {
    let cache = cache();
    set(&cache, "k", "v", at(0));
    cache.switch(false);
    assert!(cache.peek(key("k"), at(0)).is_none());
    let swapped = cache.swap(key("k"), None, text("w"), ten_seconds(&cache, at(0)), at(0));
    assert_eq!(swapped, Some(false), "or whoever repeats peek and swap would never come to an end");
}

#[test]
fn a_lookup_counts_once_however_long_it_takes() {
    let cache = cache();
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    let waiting = waits(cache.begin(key("k"), Ask::value(), at(0)));
    lease.abandon();
    assert_eq!(waiting.end(), donjon_core::flight::Ending::Again);
    let lease = loads(cache.begin(key("k"), Ask::value().again(), at(0)));
    lease.fill(text("v"), ten_seconds(&cache, at(20)), at(20));
    assert!(cache.hit(key("k"), at(20)).is_some());
    assert!(cache.hit(key("other"), at(20)).is_none(), "counted by the `begin` that follows");
    drop(cache.begin(key("k"), Ask::value(), at(20)));
    get(&cache, "k", at(TTL + 20));
    get(&cache, "other", at(20));
    cache.peek(key("k"), at(20));
    cache.explain(key("k"), at(20));
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.stale, stats.misses, stats.lookups()), (2, 1, 3, 6));
    assert_eq!((stats.loads, stats.stores, stats.load_time), (1, 1, Duration::from_millis(20)));
    assert!((stats.hit_rate() - 0.5).abs() < 1e-9 && (stats.miss_rate() - 0.5).abs() < 1e-9);
    cache.reset_stats();
    let stats = cache.stats();
    assert_eq!((stats.lookups(), stats.loads, stats.entries), (0, 0, 1), "what is kept stays");
}

#[test]
fn each_value_that_leaves_is_counted_under_its_reason() {
    let cache = cache_of(&Config { max_entries: Some(4), ..config() });
    set(&cache, "a", "v", at(0));
    set(&cache, "a", "w", at(0));
    cache.delete(key("a"), at(0));
    for number in 0..6 {
        set(&cache, &format!("k{number}"), "v", at(0));
    }
    while cache.expire(100, at(TTL * 2)) {}
    let stats = cache.stats();
    assert_eq!((stats.replacements, stats.invalidations, stats.evictions, stats.expirations), (1, 1, 2, 4));
    assert_eq!(stats.stores, 8);
}

#[test]
fn a_key_explains_how_its_value_stands_and_why_the_last_one_left() {
    let cache = cache();
    assert!(cache.explain(key("k"), at(0)).last_removal.is_none());
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    assert_eq!(cache.explain(key("k"), at(5)).loading, Some(Duration::from_millis(5)));
    lease.fill(text("v"), tagged(&cache, &["t"], at(7)), at(7));
    let told = cache.explain(key("k"), at(1_007));
    assert_eq!(told.freshness, Some(Freshness::Fresh));
    assert_eq!((told.age, told.load_time), (Some(Duration::from_secs(1)), Some(Duration::from_millis(7))));
    assert_eq!((told.tags, told.tag_invalidated, told.loading), (vec!["t".to_owned()], false, None));
    assert!(told.weight.is_some_and(|weight| weight.get() > 2) && told.life.is_some());

    cache.invalidate_tags(&["t"]).unwrap();
    let told = cache.explain(key("k"), at(1_007));
    assert!(told.tag_invalidated && told.freshness.is_none() && told.life.is_none() && told.age.is_none());
    cache.delete(key("k"), at(2_000));
    let told = cache.explain(key("k"), at(2_500));
    assert_eq!(told.last_removal, Some((Removal::Invalidated, Duration::from_millis(500))));

    set(&cache, "k", "v", at(3_000));
    while cache.expire(10, at(3_000 + TTL * 2)) {}
    let told = cache.explain(key("k"), at(4_000 + TTL * 2));
    assert_eq!(told.last_removal, Some((Removal::Expired, Duration::from_secs(1))));
}
