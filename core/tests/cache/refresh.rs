//! Loading anew what is there: stale values, forced refreshes, and early ones.

use std::time::Duration;

use donjon_core::cache::lease::Filled;
use donjon_core::cache::{Ask, Config, Lookup, Step};
use donjon_core::expiry::Early;
use donjon_core::flight::Ending;

use crate::caller::*;

#[test]
fn one_refreshes_what_is_stale_while_the_others_are_served() {
    let cache = cache();
    set(&cache, "k", "old", at(0));
    let (old, lease) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
    assert_eq!((&*old, lease.stale(at(TTL))), ("old", Some(text("old"))));
    for _ in 0..5 {
        assert_eq!(served(cache.begin(key("k"), Ask::value(), at(TTL))), text("old"));
    }
    assert_eq!(get(&cache, "k", at(TTL)), Lookup::Stale(text("old")));
    assert_eq!(lease.fill(text("new"), ten_seconds(&cache, at(TTL)), at(TTL)), Filled::Stored);
    assert_eq!(get(&cache, "k", at(TTL)), hit("new"));
    assert_eq!((cache.stats().stale, cache.stats().hits, cache.stats().replacements), (7, 1, 1));
    cache.validate();
}

#[test]
fn who_comes_when_the_grace_of_a_refreshed_value_ended_waits_for_the_refresh() {
    let cache = cache();
    set(&cache, "k", "old", at(0));
    let (_, lease) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
    let late = at(TTL + GRACE);
    let waiting = waits(cache.begin(key("k"), Ask::value(), late));
    assert_eq!(lease.fill(text("new"), ten_seconds(&cache, late), late), Filled::Stored);
    assert_eq!(waiting.end(), Ending::Value(text("new")));
}

#[test]
fn a_refresh_that_fails_falls_back_on_the_stale_value() {
    let cache = cache();
    set(&cache, "k", "old", at(0));
    let (_, lease) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
    assert_eq!(lease.fail(text("down"), at(TTL + 1)), Some(text("old")));
    let (_, next) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL + 1)));
    drop(next);
    cache.validate();
}

#[test]
fn a_refresh_that_fails_does_not_fall_back_on_what_was_invalidated() {
    for (name, overtake) in overtakers() {
        let cache = cache();
        set(&cache, "k", "old", at(0));
        let (_, lease) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
        overtake(&cache, at(TTL + 1));
        assert_eq!(lease.stale(at(TTL + 1)), None, "{name}");
        assert_eq!(lease.fail(text("down"), at(TTL + 1)), None, "{name}");
    }
}

#[test]
fn a_refresh_that_fails_does_not_fall_back_on_what_lost_its_tag_or_its_time() {
    let cache = cache();
    cache.set(key("k"), text("old"), tagged(&cache, &["t"], at(0)), at(0));
    let (_, lease) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
    cache.invalidate_tags(&["t"]).unwrap();
    assert_eq!(lease.fail(text("down"), at(TTL)), None);

    set(&cache, "l", "old", at(0));
    let (_, lease) = refreshes(cache.begin(key("l"), Ask::value(), at(TTL)));
    assert_eq!(lease.fail(text("down"), at(TTL + GRACE)), None);
}

#[test]
fn a_refresh_refused_leaves_nothing_of_the_stale_value() {
    let cache = cache();
    cache.set(key("k"), text("old"), tagged(&cache, &["t"], at(0)), at(0));
    let (_, lease) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
    cache.invalidate_tags(&["t"]).unwrap();
    assert_eq!(lease.fill(text("new"), tagged(&cache, &["t"], at(TTL)), at(TTL)), Filled::Refused);
    assert_eq!(get(&cache, "k", at(TTL)), Lookup::Miss);
    drop(loads(cache.begin(key("k"), Ask::value(), at(TTL))));
    cache.validate();
}

#[test]
fn a_forced_refresh_takes_only_what_was_loaded_after_it_was_asked_for() {
    let cache = cache();
    set(&cache, "k", "old", at(0));
    let since = cache.ticket();
    let lease = loads(cache.begin(key("k"), Ask::newer_than(since), at(1)));
    assert_eq!(served(cache.begin(key("k"), Ask::value(), at(1))), text("old"), "others are served meanwhile");
    assert_eq!(lease.fill(text("new"), ten_seconds(&cache, at(2)), at(2)), Filled::Stored);
    assert_eq!(served(cache.begin(key("k"), Ask::newer_than(since), at(2))), text("new"));
    drop(loads(cache.begin(key("k"), Ask::newer_than(cache.ticket()), at(2))));
    assert_eq!(get(&cache, "k", at(2)), hit("new"), "a refresh given up leaves what was there");
    cache.validate();
}

#[test]
fn a_forced_refresh_that_fails_does_not_fall_back_but_leaves_the_value_to_others() {
    let cache = cache();
    set(&cache, "k", "old", at(0));
    let lease = loads(cache.begin(key("k"), Ask::newer_than(cache.ticket()), at(TTL)));
    assert_eq!(lease.stale(at(TTL)), None);
    assert_eq!(lease.fail(text("down"), at(TTL)), None);
    assert_eq!(get(&cache, "k", at(TTL)), Lookup::Stale(text("old")));
}

#[test]
fn a_forced_refresh_waits_for_an_older_load_without_taking_what_it_brings() {
    let cache = cache();
    let older = loads(cache.begin(key("k"), Ask::value(), at(0)));
    let since = cache.ticket();
    let forced = waits(cache.begin(key("k"), Ask::newer_than(since), at(1)));
    let plain = waits(cache.begin(key("k"), Ask::value(), at(1)));
    older.fill(text("older"), ten_seconds(&cache, at(2)), at(2));
    assert_eq!((forced.end(), plain.end()), (Ending::Again, Ending::Value(text("older"))));
    let newer = loads(cache.begin(key("k"), Ask::newer_than(since).again(), at(2)));
    newer.fill(text("newer"), ten_seconds(&cache, at(3)), at(3));
    assert_eq!(get(&cache, "k", at(3)), hit("newer"));
}

#[test]
fn a_forced_refresh_does_not_take_the_error_of_an_older_load() {
    let cache = cache();
    let older = loads(cache.begin(key("k"), Ask::value(), at(0)));
    let forced = waits(cache.begin(key("k"), Ask::newer_than(cache.ticket()), at(1)));
    older.fail(text("down"), at(2));
    assert_eq!(forced.end(), Ending::Again);
}

#[test]
fn many_forced_refreshes_at_once_make_two_loads_at_most() {
    let cache = cache();
    set(&cache, "k", "old", at(0));
    let (_, running) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
    let asked: Vec<_> = (0..50).map(|_| cache.ticket()).collect();
    let waiting: Vec<_> =
        asked.iter().map(|since| waits(cache.begin(key("k"), Ask::newer_than(*since), at(TTL)))).collect();
    running.fill(text("one"), ten_seconds(&cache, at(TTL)), at(TTL));
    assert!(waiting.into_iter().all(|one| one.end() == Ending::Again));
    let second = loads(cache.begin(key("k"), Ask::newer_than(asked[7]).again(), at(TTL)));
    let waiting: Vec<_> =
        asked.iter().map(|since| waits(cache.begin(key("k"), Ask::newer_than(*since).again(), at(TTL)))).collect();
    second.fill(text("two"), ten_seconds(&cache, at(TTL)), at(TTL));
    assert!(waiting.into_iter().all(|one| one.end() == Ending::Value(text("two"))));
    assert_eq!(cache.stats().loads, 2);
}

#[test]
fn a_forced_refresh_is_refused_by_an_invalidation_that_comes_after_it() {
    for (name, overtake) in overtakers() {
        let cache = cache();
        set(&cache, "k", "old", at(0));
        let lease = loads(cache.begin(key("k"), Ask::newer_than(cache.ticket()), at(1)));
        let waiting = waits(cache.begin(key("k"), Ask::newer_than(cache.ticket()), at(1)));
        overtake(&cache, at(1));
        assert_eq!(waiting.end(), Ending::Again, "{name}");
        assert_eq!(lease.fill(text("new"), ten_seconds(&cache, at(2)), at(2)), Filled::Refused, "{name}");
    }
}

#[test]
fn a_forced_refresh_accepts_what_was_set_by_hand_since() {
    let cache = cache();
    let since = cache.ticket();
    set(&cache, "k", "by hand", at(0));
    assert_eq!(served(cache.begin(key("k"), Ask::newer_than(since), at(0))), text("by hand"));
}

#[test]
fn early_refreshes_come_as_often_as_the_load_time_asks_for() {
    let cache = cache_of(&Config { early: Early::default(), ..config() });
    let odds = |left: u64| {
        let tries = 4_000_u32;
        let early = (0..tries).filter(|_| {
            let step = cache.begin(key("k"), Ask::value(), at(1_000 + TTL - left));
            matches!(step, Step::Stale(..))
        });
        early.count() as f64 / f64::from(tries)
    };
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    lease.fill(text("v"), ten_seconds(&cache, at(1_000)), at(1_000));
    for loads_left in [0.5_f64, 1.0, 2.0] {
        let (seen, expected) = (odds((loads_left * 1_000.0) as u64), (-loads_left).exp());
        assert!((seen - expected).abs() < 0.04, "{loads_left} load times before the end: {seen}, not {expected}");
    }
    assert!(odds(TTL) < 0.01);
    assert!(cache.hit(key("k"), at(1_000 + TTL - 1)).is_none(), "near the end the hot path leaves it to `begin`");
    assert_eq!(get(&cache, "k", at(1_000 + TTL - 1)), hit("v"), "who cannot load is served what is fresh");
    set(&cache, "k", "by hand", at(0));
    assert!(cache.hit(key("k"), at(TTL - 1)).is_some(), "what nobody had to wait for is not refreshed early");
}

#[test]
fn an_early_refresh_is_one_callers_business_and_counts_a_hit() {
    let cache = cache_of(&Config { early: Early::new(100.0).unwrap(), ..config() });
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    lease.fill(text("v"), ten_seconds(&cache, at(9_000)), at(9_000));
    let now = at(9_000 + TTL - 1);
    let (_, lease) = refreshes(cache.begin(key("k"), Ask::value(), now));
    for _ in 0..5 {
        assert_eq!(served(cache.begin(key("k"), Ask::value(), now)), text("v"));
    }
    assert_eq!(lease.fail(text("down"), now), Some(text("v")));
    assert_eq!((cache.stats().hits, cache.stats().misses), (6, 1));
}

#[test]
fn a_refresh_that_hangs_is_taken_over() {
    let cache = cache_of(&Config { load_timeout: Duration::from_secs(1), ..config() });
    set(&cache, "k", "old", at(0));
    let (_, hangs) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
    let (_, next) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL + 1_000)));
    assert_eq!(hangs.stale(at(TTL + 1_000)), None, "what it would fall back on is another's to refresh now");
    assert_eq!(next.fill(text("new"), ten_seconds(&cache, at(TTL + 1_000)), at(TTL + 1_000)), Filled::Stored);
    assert_eq!(hangs.fill(text("late"), ten_seconds(&cache, at(TTL + 1_001)), at(TTL + 1_001)), Filled::Refused);
    assert_eq!(get(&cache, "k", at(TTL + 1_001)), hit("new"));
    cache.validate();
}
