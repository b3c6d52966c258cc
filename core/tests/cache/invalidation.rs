//! What an invalidation removes, what it leaves, and what it says it removed.

use std::collections::BTreeSet;

use donjon_core::cache::{Ask, Lookup};
use donjon_core::pattern::Pattern;

use crate::caller::*;

#[test]
fn a_delete_says_whether_a_value_could_still_be_served() {
    let cache = cache();
    assert!(!cache.delete(key("k"), at(0)), "there is none");
    set(&cache, "k", "v", at(0));
    assert!(cache.delete(key("k"), at(TTL)), "a stale one");
    assert!(!cache.delete(key("k"), at(TTL)));
    set(&cache, "k", "v", at(0));
    assert!(!cache.delete(key("k"), at(TTL + GRACE)), "one whose time is over");
    cache.set(key("k"), text("v"), tagged(&cache, &["t"], at(0)), at(0));
    cache.invalidate_tags(&["t"]).unwrap();
    assert!(!cache.delete(key("k"), at(0)), "one whose tag was invalidated");
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    assert!(!cache.delete(key("k"), at(0)), "a load alone");
    drop(lease);
    cache.validate();
}

#[test]
fn a_deleted_key_names_itself_only() {
    let cache = cache();
    for name in ["*", "k*", "k1", "K1"] {
        set(&cache, name, "v", at(0));
    }
    assert!(cache.delete(key("*"), at(0)) && cache.delete(key("k*"), at(0)));
    assert_eq!((get(&cache, "k1", at(0)), get(&cache, "K1", at(0))), (hit("v"), hit("v")));
}

#[test]
fn a_tag_covers_what_was_there_before_and_nothing_after() {
    let cache = cache();
    let store = |name: &str, tags: &[&str]| cache.set(key(name), text(name), tagged(&cache, tags, at(0)), at(0));
    store("both", &["one", "two"]);
    store("one", &["one"]);
    store("two", &["two"]);
    store("none", &[]);
    assert_eq!(cache.invalidate_tags(&["one"]).unwrap(), 1);
    store("later", &["one", "two"]);
    for (name, stays) in [("both", false), ("one", false), ("two", true), ("none", true), ("later", true)] {
        assert_eq!(get(&cache, name, at(0)), if stays { hit(name) } else { Lookup::Miss }, "{name}");
        assert_eq!(cache.hit(key(name), at(0)).is_some(), stays, "{name}");
        assert_eq!(cache.peek(key(name), at(0)).is_some(), stays, "{name}");
    }
    let lease = loads(cache.begin(key("both"), Ask::value(), at(0)));
    lease.fill(text("again"), tagged(&cache, &["one"], at(0)), at(0));
    assert_eq!(get(&cache, "both", at(0)), hit("again"));
    assert_eq!(cache.invalidate_tags(&["one", "two", "three"]).unwrap(), 3);
    assert_eq!(get(&cache, "later", at(0)), Lookup::Miss);
    cache.validate();
}

#[test]
fn a_value_whose_tag_was_invalidated_cannot_be_given_more_time() {
    let cache = cache();
    cache.set(key("k"), text("v"), tagged(&cache, &["t"], at(0)), at(0));
    cache.invalidate_tags(&["t"]).unwrap();
    assert!(!cache.retime(key("k"), millis(TTL), at(0)));
    assert_eq!(get(&cache, "k", at(0)), Lookup::Miss);
}

#[test]
fn what_lost_its_tag_leaves_when_it_is_loaded_anew() {
    let cache = cache();
    cache.set(key("k"), text("v"), tagged(&cache, &["t"], at(0)), at(0));
    cache.invalidate_tags(&["t"]).unwrap();
    assert_eq!((cache.stats().entries, cache.stats().invalidations), (1, 0));
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    assert_eq!((cache.stats().entries, cache.stats().invalidations), (0, 1));
    drop(lease);
}

#[test]
fn a_refused_tag_invalidates_nothing() {
    let cache = cache();
    cache.set(key("k"), text("v"), tagged(&cache, &["t"], at(0)), at(0));
    assert!(cache.invalidate_tags(&["t", ""]).is_err());
    assert_eq!(get(&cache, "k", at(0)), hit("v"));
}

#[test]
fn tags_that_nothing_carries_are_forgotten() {
    let cache = cache();
    for number in 0..20_000 {
        cache.set(key("k"), text("v"), tagged(&cache, &[&format!("t{number}")], at(0)), at(0));
    }
    assert!(cache.tag_count() < 5_000, "{} tags are remembered", cache.tag_count());
}

#[test]
fn a_pattern_over_thousands_of_keys_counts_what_could_be_served() {
    let cache = cache();
    for number in 0..5_000 {
        set(&cache, &format!("user:{number}:profile"), "v", at(TTL));
        set(&cache, &format!("user:{number}:jobs"), "v", at(TTL));
    }
    for number in 0..500 {
        set(&cache, &format!("user:old{number}:profile"), "v", at(0));
        let dead = format!("user:dead{number}:profile");
        cache.set(key(&dead), text("v"), tagged(&cache, &["dead"], at(TTL)), at(TTL));
    }
    cache.invalidate_tags(&["dead"]).unwrap();
    let loading = loads(cache.begin(key("user:loading:profile"), Ask::value(), at(TTL)));
    let now = at(TTL + GRACE);
    let removed = cache.invalidate_pattern(&Pattern::new("user:*:profile").unwrap(), now);
    assert_eq!(removed.count, 5_000);
    assert_eq!(removed.values.len(), 6_000, "what could not be served left as well");
    for number in 0..5_000 {
        assert_eq!(get(&cache, &format!("user:{number}:profile"), now), Lookup::Miss);
        assert_eq!(get(&cache, &format!("user:{number}:jobs"), now), hit("v"));
    }
    drop(loading);
    cache.validate();
    assert_eq!(cache.stats().entries, 5_000);
    assert_eq!(cache.clear(now).count, 5_000);
    assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
    assert_eq!(cache.clear(now).count, 0);
    cache.validate();
}

#[test]
fn each_load_under_thousands_of_keys_is_sent_away_by_a_pattern() {
    let cache = cache();
    let leases: Vec<_> =
        (0..5_000).map(|number| loads(cache.begin(key(&format!("k{number}")), Ask::value(), at(0)))).collect();
    let waiting: Vec<_> =
        (0..5_000).map(|number| waits(cache.begin(key(&format!("k{number}")), Ask::value(), at(0)))).collect();
    assert_eq!(cache.invalidate_pattern(&Pattern::new("k*").unwrap(), at(0)).count, 0);
    assert!(waiting.iter().all(|one| one.woken() == 1));
    assert_eq!(cache.stats().flights, 0);
    for lease in leases {
        lease.fill(text("v"), ten_seconds(&cache, at(0)), at(0));
    }
    assert_eq!(cache.stats().entries, 0);
    cache.validate();
}

#[test]
fn a_room_left_by_one_key_is_given_to_another_without_confusion() {
    let cache = cache();
    let mut old = Vec::new();
    for round in 0..50 {
        let name = format!("k{round}");
        old.push(loads(cache.begin(key(&name), Ask::value(), at(0))));
        cache.delete(key(&name), at(0));
    }
    let new: Vec<_> = (0..50).map(|round| loads(cache.begin(key(&format!("l{round}")), Ask::value(), at(0)))).collect();
    for lease in old {
        lease.fill(text("old"), ten_seconds(&cache, at(0)), at(0));
    }
    assert_eq!((cache.stats().entries, cache.stats().flights), (0, 50));
    for lease in new {
        let name = lease.key().to_owned();
        lease.fill(text(&name), ten_seconds(&cache, at(0)), at(0));
    }
    let names: BTreeSet<_> = (0..50).map(|round| format!("l{round}")).collect();
    assert!(names.iter().all(|name| get(&cache, name, at(0)) == hit(name)));
    cache.validate();
}
