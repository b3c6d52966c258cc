//! One loads, the others wait: who leads, how a wait ends, and what makes a load too old to be stored.

use std::sync::Arc;
use std::time::Duration;

use donjon_core::cache::lease::Filled;
use donjon_core::cache::{Ask, Config, Lookup};
use donjon_core::flight::Ending;

use crate::caller::*;

#[test]
fn one_loads_and_the_others_wait_for_its_value() {
    let cache = cache();
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    assert_eq!(lease.key(), "k");
    let others: Vec<_> = (0..20).map(|_| waits(cache.begin(key("k"), Ask::value(), at(1)))).collect();
    assert!(others.iter().all(|other| other.woken() == 0 && other.joined.ticket() == lease.ticket()));
    assert_eq!(cache.stats().flights, 1);
    assert_eq!(lease.fill(text("v"), ten_seconds(&cache, at(2)), at(2)), Filled::Stored);
    for other in others {
        assert_eq!(other.end(), Ending::Value(text("v")));
    }
    assert_eq!(served(cache.begin(key("k"), Ask::value(), at(2))), text("v"));
    assert_eq!((cache.stats().loads, cache.stats().flights), (1, 0));
    cache.validate();
}

#[test]
fn a_plain_read_never_waits_for_a_load() {
    let cache = cache();
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    assert_eq!(get(&cache, "k", at(0)), Lookup::Miss);
    assert!(cache.hit(key("k"), at(0)).is_none());
    drop(lease);
}

#[test]
fn a_load_overtaken_is_refused_and_those_who_wait_look_up_anew() {
    for (name, overtake) in overtakers() {
        let cache = cache();
        let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
        let waiting = waits(cache.begin(key("k"), Ask::value(), at(0)));
        overtake(&cache, at(1));
        assert_eq!(waiting.end(), Ending::Again, "{name}: told at once, not when the load ends");
        assert_eq!(lease.fill(text("old"), ten_seconds(&cache, at(2)), at(2)), Filled::Refused, "{name}");
        let found = get(&cache, "k", at(2));
        assert_eq!(found, if name == "set" { hit("by hand") } else { Lookup::Miss }, "{name}");
        assert_eq!((cache.stats().loads_refused, cache.stats().flights), (1, 0), "{name}");
        cache.validate();
    }
}

#[test]
fn who_asks_after_an_invalidation_does_not_wait_for_the_old_load() {
    for (name, overtake) in overtakers().into_iter().filter(|(name, _)| *name != "set") {
        let cache = cache();
        let old = loads(cache.begin(key("k"), Ask::value(), at(0)));
        overtake(&cache, at(1));
        let new = loads(cache.begin(key("k"), Ask::value(), at(2)));
        let waiting = waits(cache.begin(key("k"), Ask::value(), at(2)));
        assert_eq!(waiting.joined.ticket(), new.ticket(), "{name}");
        assert_eq!(old.fill(text("old"), ten_seconds(&cache, at(3)), at(3)), Filled::Refused, "{name}");
        assert_eq!(waiting.woken(), 0, "{name}: the end of the old load is nobody's business");
        assert_eq!(new.fill(text("new"), ten_seconds(&cache, at(4)), at(4)), Filled::Stored, "{name}");
        assert_eq!(waiting.end(), Ending::Value(text("new")), "{name}");
        cache.validate();
    }
}

#[test]
fn a_load_whose_tag_was_invalidated_is_refused_also_to_those_who_came_later() {
    let cache = cache();
    let old = loads(cache.begin(key("k"), Ask::value(), at(0)));
    let before = waits(cache.begin(key("k"), Ask::value(), at(0)));
    cache.invalidate_tags(&["t"]).unwrap();
    let after = waits(cache.begin(key("k"), Ask::value(), at(1)));
    assert_eq!(old.fill(text("old"), tagged(&cache, &["t", "u"], at(2)), at(2)), Filled::Refused);
    assert_eq!((before.end(), after.end()), (Ending::Again, Ending::Again));
    assert_eq!(get(&cache, "k", at(2)), Lookup::Miss);
    cache.validate();
}

#[test]
fn a_load_goes_on_when_another_key_or_tag_is_invalidated() {
    let cache = cache();
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    cache.delete(key("l"), at(1));
    cache.invalidate_pattern(&donjon_core::pattern::Pattern::new("l*").unwrap(), at(1));
    cache.invalidate_tags(&["u"]).unwrap();
    set(&cache, "l", "v", at(1));
    assert_eq!(lease.fill(text("v"), tagged(&cache, &["t"], at(2)), at(2)), Filled::Stored);
}

#[test]
fn when_a_leader_gives_up_those_who_wait_look_up_anew_and_one_of_them_leads() {
    let cache = cache();
    let mut lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    for round in 0..3 {
        let others: Vec<_> = (0..5).map(|_| waits(cache.begin(key("k"), Ask::value().again(), at(0)))).collect();
        match round {
            0 => lease.abandon(),
            _ => drop(lease),
        }
        assert_eq!(cache.stats().flights, 0, "it is free at once");
        assert!(others.into_iter().all(|other| other.end() == Ending::Again));
        lease = loads(cache.begin(key("k"), Ask::value().again(), at(0)));
    }
    lease.fill(text("v"), ten_seconds(&cache, at(0)), at(0));
    assert_eq!(cache.stats().loads, 1, "a load that was given up did not come to an end");
    cache.validate();
}

#[test]
fn a_loader_error_goes_to_those_who_joined_and_to_nobody_after_them() {
    let cache = cache();
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    let others: Vec<_> = (0..5).map(|_| waits(cache.begin(key("k"), Ask::value(), at(0)))).collect();
    assert_eq!(lease.fail(text("no such row"), at(1)), None);
    let next = loads(cache.begin(key("k"), Ask::value(), at(1)));
    let after = waits(cache.begin(key("k"), Ask::value(), at(1)));
    for other in others {
        assert_eq!(other.end(), Ending::Failed(text("no such row")));
    }
    next.fill(text("v"), ten_seconds(&cache, at(2)), at(2));
    assert_eq!(after.end(), Ending::Value(text("v")));
    assert_eq!((cache.stats().loads, cache.stats().load_failures), (2, 1));
    cache.validate();
}

#[test]
fn the_error_of_an_overtaken_load_disturbs_nobody() {
    for (name, overtake) in overtakers().into_iter().filter(|(name, _)| *name != "set") {
        let cache = cache();
        let old = loads(cache.begin(key("k"), Ask::value(), at(0)));
        let before = waits(cache.begin(key("k"), Ask::value(), at(0)));
        overtake(&cache, at(1));
        let new = loads(cache.begin(key("k"), Ask::value(), at(1)));
        let after = waits(cache.begin(key("k"), Ask::value(), at(1)));
        old.fail(text("gone"), at(2));
        assert_eq!(before.end(), Ending::Again, "{name}");
        assert_eq!(after.woken(), 0, "{name}");
        assert_eq!(new.fill(text("v"), ten_seconds(&cache, at(3)), at(3)), Filled::Stored, "{name}");
        assert_eq!(after.end(), Ending::Value(text("v")), "{name}");
    }
}

#[test]
fn one_who_stops_waiting_is_forgotten() {
    let cache = cache();
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    let (stays, leaves) =
        (waits(cache.begin(key("k"), Ask::value(), at(0))), waits(cache.begin(key("k"), Ask::value(), at(0))));
    assert_eq!(leaves.bell_holders(), 1, "the flight keeps its waker");
    let bell = leaves.bell();
    drop(leaves);
    assert_eq!(Arc::strong_count(&bell), 1, "and gives it back");
    lease.fill(text("v"), ten_seconds(&cache, at(0)), at(0));
    assert_eq!(stays.end(), Ending::Value(text("v")));
}

#[test]
fn one_polled_often_is_woken_once_and_told_the_same_each_time() {
    let cache = cache();
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    let mut waiting = waits(cache.begin(key("k"), Ask::value(), at(0)));
    for _ in 0..5 {
        assert!(waiting.poll().is_pending());
    }
    assert_eq!(waiting.bell_holders(), 1);
    lease.fill(text("v"), ten_seconds(&cache, at(0)), at(0));
    assert_eq!(waiting.woken(), 1);
    assert_eq!(waiting.poll(), std::task::Poll::Ready(Ending::Value(text("v"))));
    assert_eq!(waiting.poll(), std::task::Poll::Ready(Ending::Value(text("v"))));
}

#[test]
fn one_who_polls_first_when_all_is_over_is_told_how_it_ended() {
    let cache = cache();
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    let donjon_core::cache::Step::Join(mut joined, _) = cache.begin(key("k"), Ask::value(), at(0)) else {
        panic!("another loads")
    };
    lease.fail(text("no"), at(0));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let ending = Future::poll(std::pin::Pin::new(&mut joined), &mut context);
    assert_eq!(ending, std::task::Poll::Ready(Ending::Failed(text("no"))));
}

#[test]
fn a_load_past_its_time_is_taken_over_and_its_late_value_refused() {
    let cache = cache_of(&Config { load_timeout: Duration::from_secs(3), ..config() });
    let slow = loads(cache.begin(key("k"), Ask::value(), at(0)));
    let waiting = waits(cache.begin(key("k"), Ask::value(), at(1_000)));
    assert_eq!(waiting.at_most, Duration::from_secs(2), "who comes later waits shorter");
    let last = waits(cache.begin(key("k"), Ask::value(), at(2_999)));
    assert_eq!(last.at_most, Duration::from_millis(1));
    let next = loads(cache.begin(key("k"), Ask::value().again(), at(3_000)));
    assert_eq!((waiting.end(), last.end()), (Ending::Again, Ending::Again));
    let after = waits(cache.begin(key("k"), Ask::value(), at(3_001)));
    assert_eq!(slow.fill(text("late"), ten_seconds(&cache, at(3_002)), at(3_002)), Filled::Refused);
    assert_eq!(get(&cache, "k", at(3_002)), Lookup::Miss);
    assert_eq!(next.fill(text("v"), ten_seconds(&cache, at(3_003)), at(3_003)), Filled::Stored);
    assert_eq!(after.end(), Ending::Value(text("v")));
    assert_eq!(cache.stats().flights, 0);
    cache.validate();
}

#[test]
fn a_slow_load_that_nobody_took_over_is_stored() {
    let cache = cache_of(&Config { load_timeout: Duration::from_secs(3), ..config() });
    let slow = loads(cache.begin(key("k"), Ask::value(), at(0)));
    assert_eq!(slow.fill(text("v"), ten_seconds(&cache, at(60_000)), at(60_000)), Filled::Stored);
    assert_eq!(get(&cache, "k", at(60_000)), hit("v"));
}

#[test]
fn beyond_the_most_loads_a_caller_loads_for_itself_and_stores_nothing() {
    let cache = cache_of(&Config { max_flights: 2, max_entries: Some(100), ..config() });
    set(&cache, "stale", "v", at(0));
    let now = at(TTL);
    let one = loads(cache.begin(key("one"), Ask::value(), now));
    let two = loads(cache.begin(key("two"), Ask::value(), now));
    let three = loads(cache.begin(key("three"), Ask::value(), now));
    assert_eq!(cache.stats().flights, 2);
    assert_eq!(served(cache.begin(key("stale"), Ask::value(), now)), text("v"), "a refresh can wait");
    assert_eq!(three.fill(text("v"), ten_seconds(&cache, now), now), Filled::Refused);
    assert_eq!(get(&cache, "three", now), Lookup::Miss);
    assert_eq!(one.fill(text("v"), ten_seconds(&cache, now), now), Filled::Stored);
    let three = loads(cache.begin(key("three"), Ask::value(), now));
    assert_eq!(three.fill(text("v"), ten_seconds(&cache, now), now), Filled::Stored, "there is room again");
    drop(two);
    cache.validate();
}

#[test]
fn loads_that_hang_are_taken_over_also_where_there_are_as_many_as_may_be() {
    let cache =
        cache_of(&Config { max_flights: 1, load_timeout: Duration::from_secs(3), max_entries: Some(9), ..config() });
    let hangs = loads(cache.begin(key("k"), Ask::value(), at(0)));
    let next = loads(cache.begin(key("k"), Ask::value(), at(3_000)));
    assert_eq!(next.fill(text("v"), ten_seconds(&cache, at(3_000)), at(3_000)), Filled::Stored);
    drop(hangs);
    assert_eq!(cache.stats().flights, 0);
}

#[test]
fn beyond_the_most_who_wait_a_caller_loads_for_itself_and_stores_nothing() {
    let cache = cache_of(&Config { max_joined: 2, ..config() });
    let lease = loads(cache.begin(key("k"), Ask::value(), at(0)));
    let one = waits(cache.begin(key("k"), Ask::value(), at(0)));
    let two = waits(cache.begin(key("k"), Ask::value(), at(0)));
    let third = loads(cache.begin(key("k"), Ask::value(), at(0)));
    assert_eq!(third.fill(text("third"), ten_seconds(&cache, at(0)), at(0)), Filled::Refused);
    drop(two);
    let fourth = waits(cache.begin(key("k"), Ask::value(), at(0)));
    assert_eq!(lease.fill(text("v"), ten_seconds(&cache, at(0)), at(0)), Filled::Stored);
    assert_eq!((one.end(), fourth.end()), (Ending::Value(text("v")), Ending::Value(text("v"))));
    cache.validate();
}

#[test]
fn a_loader_that_needs_its_own_key_knows_its_own_load_and_loads_without_storing() {
    let cache = cache();
    let outer = loads(cache.begin(key("k"), Ask::value(), at(0)));
    let own = waits(cache.begin(key("k"), Ask::value(), at(0)));
    assert_eq!(own.joined.ticket(), outer.ticket());
    drop(own);
    let inner = cache.bypass(key("k"), at(0));
    assert_eq!(inner.stale(at(0)), None);
    assert_eq!(inner.fill(text("inner"), ten_seconds(&cache, at(0)), at(0)), Filled::Refused);
    assert_eq!(outer.fill(text("outer"), ten_seconds(&cache, at(0)), at(0)), Filled::Stored);
    assert_eq!(get(&cache, "k", at(0)), hit("outer"));
}

#[test]
fn a_value_that_leaves_for_want_of_room_takes_no_load_with_it() {
    let cache = cache_of(&Config { max_entries: Some(2), ..config() });
    set(&cache, "k", "old", at(0));
    let (_, lease) = refreshes(cache.begin(key("k"), Ask::value(), at(TTL)));
    for number in 0..200 {
        let other = format!("other{}", number % 2);
        cache.delete(key(&other), at(TTL));
        set(&cache, &other, "v", at(TTL));
        cache.validate();
    }
    assert_eq!(cache.explain(key("k"), at(TTL)).freshness, None, "it is the one used least");
    let waiting = waits(cache.begin(key("k"), Ask::value(), at(TTL)));
    assert_eq!(lease.fill(text("new"), ten_seconds(&cache, at(TTL)), at(TTL)), Filled::Stored);
    assert_eq!(waiting.end(), Ending::Value(text("new")));
    cache.validate();
}
