//! Every call of the API, and what it makes of bad input, on every backend.

mod common;

use std::collections::HashMap;
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Broken, Place, eventually};
use donjon::{Cache, Error, Found, LoadError, Raw, Targets};
use tokio::sync::{Notify, oneshot};

async fn keys_are_used_literally_whatever_is_in_them(place: Place) {
    let cache = place.cache();
    let keys = ["a\0b", "a\r\nb c", "{}", "*", "a*", "[a-c]?\\", "🦀", &"x".repeat(1024)];
    for key in keys {
        cache.set(key, key).await.expect("it is a key");
    }
    for key in keys {
        assert_eq!(cache.get::<String>(key).await.expect("it is a key").as_deref(), Some(key));
    }
    assert_eq!(cache.delete("*").await.expect("it is a key").count, 1, "no pattern");
    assert_eq!(cache.delete("*").await.expect("it is a key").count, 0);
    assert_eq!(cache.delete_many(&keys[4..6]).await.expect("they are keys").count, 2);
    assert_eq!(cache.get_many::<String>(keys).await.expect("they are keys").len(), 5);
}

async fn what_is_no_key_is_an_error_before_anything_is_done(place: Place) {
    let cache = place.cache();
    let long = "x".repeat(1025);
    for key in ["", &long] {
        assert!(matches!(cache.get::<u8>(key).await, Err(Error::InvalidKey { index: None, .. })));
        assert!(matches!(cache.set(key, &1).await, Err(Error::InvalidKey { .. })));
        assert!(matches!(cache.incr(key, 1).await, Err(Error::InvalidKey { .. })));
        assert!(matches!(cache.delete(key).await, Err(Error::InvalidKey { .. })));
        assert!(matches!(cache.lookup::<u8>(key).await, Err(Error::InvalidKey { .. })));
        let loaded = cache.get_or_set(key, || async { Err::<u8, _>(Broken("it must not run")) }).await;
        assert!(matches!(loaded, Err(LoadError::Cache(Error::InvalidKey { .. }))));
    }
    let named = cache.get_many::<u8>(["a", ""]).await.expect_err("one is none");
    assert_eq!(named.to_string(), "keys[1]: a key may not be empty");
    assert!(matches!(cache.set_many([("a", 1), (&long, 2)]).await, Err(Error::InvalidKey { index: Some(1), .. })));
    assert!(!cache.exists("a").await.expect("it is a key"), "none is stored where one is refused");
}

async fn what_is_no_time_no_tag_and_no_pattern_is_an_error(place: Place) {
    let cache = place.cache();
    for ttl in [Duration::ZERO, Duration::MAX] {
        assert!(matches!(cache.set("k", &1).ttl(ttl).await, Err(Error::InvalidTtl(_))));
        assert!(matches!(cache.touch("k", ttl).await, Err(Error::InvalidTtl(_))));
    }
    for ttl in ["", "-1", "soon", "0", "1e9", "11 years", "stat"] {
        let loaded = cache.get_or_set("k", || async { Err::<u8, _>(Broken("it must not run")) }).ttl(ttl).await;
        assert!(matches!(loaded, Err(LoadError::Cache(Error::InvalidTtl(_)))), "{ttl:?}");
    }
    assert!(cache.set("k", &1).grace(Duration::ZERO).await.is_ok(), "no grace is one");
    for tag in ["", "*", "\0seq"] {
        assert!(matches!(cache.set("k", &1).tags([tag]).await, Err(Error::InvalidTag(_))), "{tag:?}");
        assert!(matches!(cache.invalidate_tags([tag]).await, Err(Error::InvalidTag(_))), "{tag:?}");
    }
    let many = (0..65).map(|number| number.to_string());
    assert!(matches!(cache.set("k", &1).tags(many).await, Err(Error::InvalidTag(_))));
    for pattern in ["", &"*a".repeat(2_000), &"a".repeat(1_025)] {
        assert!(matches!(cache.invalidate_pattern(pattern).await, Err(Error::InvalidPattern(_))));
    }
    assert_eq!(cache.invalidate_pattern("**").await.expect("it is all").count, 1);
}

async fn what_a_value_cannot_be_is_an_error_that_shows_nothing_of_it(place: Place) {
    let cache = place.builder().max_value_bytes(100).build().expect("the options are good");
    cache.set("k", "old").await.expect("it is small");
    let tuples = HashMap::from([((1, "secret"), 2)]);
    let refused = cache.set("k", &tuples).await.expect_err("JSON has text alone for names");
    assert!(matches!(refused, Error::UnsupportedValue { .. }) && !refused.to_string().contains("secret"), "{refused}");
    assert!(
        matches!(cache.set("k", &[1.0, f64::NAN]).await, Err(Error::UnsupportedValue { .. })),
        "null is another value"
    );
    assert!(cache.exists("k").await.expect("it is a key"), "what is refused changes nothing");
    let loaded = cache.get_or_set("l", || async { Ok::<_, Infallible>(HashMap::from([((1, 2), 3)])) }).await;
    assert!(matches!(loaded, Err(LoadError::Cache(Error::UnsupportedValue { .. }))));

    let large = "x".repeat(100);
    assert!(matches!(cache.set("k", &large).await, Err(Error::ValueTooLarge { bytes: 102, .. })));
    assert!(!cache.exists("k").await.expect("it is a key"), "what is there would be older");
    let loaded = cache.get_or_set("l", || async { Ok::<_, Infallible>(large.clone()) }).await;
    assert_eq!(loaded.expect("its own caller has it"), large);
    assert!(!cache.exists("l").await.expect("it is a key"));
    assert_eq!(cache.stats().too_large, 2);
}

async fn a_value_of_another_type_is_a_miss_and_loaded_anew(place: Place) {
    let cache = place.cache();
    cache.set("k", "text").await.expect("it is good");
    assert_eq!(cache.get::<u64>("k").await.expect("it is a key"), None);
    assert_eq!(cache.get::<Raw>("k").await.expect("it is a key"), None);
    assert_eq!(cache.stats().undecodable, 2);
    assert_eq!(cache.get_or_set("k", || async { Ok::<_, Infallible>(7) }).await.expect("it cannot fail"), 7);
    assert_eq!(cache.get::<u64>("k").await.expect("it is a key"), Some(7), "it took the place of the other");
    cache.set("k", "text").await.expect("it is good");
    let loader = |_| async { Ok::<_, Infallible>(HashMap::from([("k".to_owned(), 8)])) };
    assert_eq!(cache.get_or_set_many(["k"], loader).await.expect("it cannot fail")["k"], 8);
    cache.set("k", "text").await.expect("it is good");
    assert!(matches!(cache.lookup::<u64>("k").await.expect("it is a key"), Found::Miss(_)));
}

async fn add_stores_only_where_there_is_nothing(place: Place) {
    let cache = place.cache();
    assert!(cache.add("k", &1).await.expect("it is good"));
    assert!(!cache.add("k", &2).await.expect("it is good"));
    assert_eq!(cache.get::<u8>("k").await.expect("it is a key"), Some(1));
    cache.delete("k").await.expect("it is a key");
    let Found::Miss(miss) = cache.lookup::<u8>("k").await.expect("it is a key") else { panic!("it is not there") };
    assert!(cache.add("k", &3).await.expect("it is good"), "a load under way is nothing yet");
    assert!(!miss.fill(&4).await.expect("it is good"));
    assert_eq!(cache.get::<u8>("k").await.expect("it is a key"), Some(3));
}

async fn incr_counts_exactly_however_many_count(place: Place) {
    let cache = place.cache();
    let counting: Vec<_> = (0..8)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    cache.incr("n", 1).await.expect("it is a counter");
                }
            })
        })
        .collect();
    for counter in counting {
        counter.await.expect("it ends");
    }
    assert_eq!(cache.get::<i64>("n").await.expect("it is a key"), Some(800));
    assert_eq!(cache.incr("n", -801).await.expect("it is a counter"), -1);
    cache.set("max", &i64::MAX).await.expect("it is good");
    assert!(matches!(cache.incr("max", 1).await, Err(Error::NotACounter { .. })));
    assert_eq!(cache.incr("max", -1).await.expect("it fits"), i64::MAX - 1, "to the last digit");
    for (key, value) in [("text", "\"1\""), ("float", "1.5"), ("null", "null")] {
        let value: serde_json::Value = serde_json::from_str(value).expect("it is JSON");
        cache.set(key, &value).await.expect("it is good");
        assert!(matches!(cache.incr(key, 1).await, Err(Error::NotACounter { .. })), "{key}");
    }
}

async fn within_its_grace_a_stale_value_is_served_while_one_caller_loads(place: Place) {
    let cache = place.cache();
    cache.set("k", "old").ttl(Duration::from_millis(1)).grace("5m").await.expect("it is good");
    until_stale(&cache, "k").await;
    let (begun, has_begun) = oneshot::channel();
    let go = Arc::new(Notify::new());
    let refreshing = tokio::spawn({
        let (cache, go) = (cache.clone(), go.clone());
        async move {
            let loader = || async move {
                begun.send(()).expect("the test waits");
                go.notified().await;
                Ok::<_, Infallible>("new".to_owned())
            };
            cache.get_or_set("k", loader).await
        }
    });
    has_begun.await.expect("it loads");
    let other = cache.get_or_set("k", || async { Err::<String, _>(Broken("it must not run")) }).await;
    assert_eq!(other.expect("it has the stale one"), "old");
    go.notify_one();
    assert_eq!(refreshing.await.expect("it ends").expect("it cannot fail"), "new");
    assert_eq!(cache.get::<String>("k").await.expect("it is a key").as_deref(), Some("new"));
}

async fn within_its_grace_a_load_that_fails_gives_the_stale_value(place: Place) {
    let cache = place.cache();
    cache.set("k", "old").ttl(Duration::from_millis(1)).grace("5m").await.expect("it is good");
    until_stale(&cache, "k").await;
    let fails = || async { Err::<String, _>(Broken("the source is down")) };
    assert_eq!(cache.get_or_set("k", fails).await.expect("there is a stale one"), "old");
    assert_eq!(cache.stats().stale_on_error, 1);
    cache.delete("k").await.expect("it is a key");
    assert!(cache.get_or_set("k", fails).await.is_err(), "what was invalidated is not served, grace or not");
}

async fn force_refresh_takes_no_load_that_began_before_it(place: Place) {
    let cache = place.cache();
    let (begun, has_begun) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let earlier = tokio::spawn({
        let cache = cache.clone();
        async move {
            let loader = || async move {
                begun.send(()).expect("the test waits");
                ended.await.expect("the test says when");
                Ok::<_, Infallible>("old".to_owned())
            };
            cache.get_or_set("k", loader).await
        }
    });
    has_begun.await.expect("it loads");
    let forced = tokio::spawn({
        let cache = cache.clone();
        async move {
            let new = || async { Ok::<_, Infallible>("new".to_owned()) };
            cache.get_or_set("k", new).force_refresh().await
        }
    });
    eventually("both have missed", async || cache.stats().misses == 2).await;
    end.send(()).expect("it waits");
    assert_eq!(earlier.await.expect("it ends").expect("it cannot fail"), "old");
    assert_eq!(forced.await.expect("it ends").expect("it cannot fail"), "new");
    assert_eq!(cache.get::<String>("k").await.expect("it is a key").as_deref(), Some("new"));
}

async fn force_refresh_takes_no_value_that_is_there(place: Place) {
    let cache = place.cache();
    cache.set("k", "old").await.expect("it is good");
    let new = || async { Ok::<_, Infallible>("new".to_owned()) };
    assert_eq!(cache.get_or_set("k", new).await.expect("it cannot fail"), "old");
    assert_eq!(cache.get_or_set("k", new).force_refresh().await.expect("it cannot fail"), "new");
    assert_eq!(cache.get::<String>("k").await.expect("it is a key").as_deref(), Some("new"));
    let fails = || async { Err::<String, _>(Broken("the source is down")) };
    assert!(cache.get_or_set("k", fails).force_refresh().await.is_err(), "what was asked for is something newer");
}

async fn a_loader_that_asks_for_its_own_key_does_not_wait_for_itself(place: Place) {
    let cache = place.cache();
    let asking = cache.get_or_set("outer", || async {
        let inner = cache.get_or_set("inner", || async {
            let own = cache.get_or_set("outer", || async { Ok::<_, Infallible>(1) }).await.expect("it cannot fail");
            Ok::<_, Infallible>(own + 1)
        });
        Ok::<_, Infallible>(inner.await.expect("it cannot fail") + 1)
    });
    let asked = tokio::time::timeout(Duration::from_secs(5), asking.into_future()).await;
    assert_eq!(asked.expect("it does not wait").expect("it cannot fail"), 3);
    assert_eq!(cache.get::<u8>("outer").await.expect("it is a key"), Some(3));
}

async fn who_waited_for_as_long_as_a_load_may_take_loads_for_himself(place: Place) {
    let cache = place.builder().load_timeout(Duration::from_millis(50)).build().expect("the options are good");
    let (begun, has_begun) = oneshot::channel();
    let hanging = tokio::spawn({
        let cache = cache.clone();
        async move {
            let loader = || async {
                begun.send(()).expect("the test waits");
                std::future::pending::<()>().await;
                Ok::<_, Infallible>(0)
            };
            cache.get_or_set("k", loader).await
        }
    });
    has_begun.await.expect("it loads");
    let waiting: Vec<_> = (1..=5)
        .map(|number| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get_or_set("k", || async { Ok::<_, Infallible>(number) }).await })
        })
        .collect();
    for waiter in waiting {
        let value = tokio::time::timeout(Duration::from_secs(10), waiter).await.expect("it is bounded");
        assert!((1..=5).contains(&value.expect("it ends").expect("it cannot fail")));
    }
    hanging.abort();
}

async fn a_miss_is_filled_once_and_only_if_nothing_was_invalidated(place: Place) {
    let cache = place.cache();
    let Found::Miss(miss) = cache.lookup::<String>("k").await.expect("it is a key") else { panic!("it is not there") };
    assert_eq!(miss.key(), "k");
    cache.invalidate_pattern("k*").await.expect("it is a pattern");
    assert!(!miss.fill("old").await.expect("it is good"));
    let Found::Miss(miss) = cache.lookup::<String>("k").await.expect("it is a key") else { panic!("it is not there") };
    cache.invalidate_tags(["t"]).await.expect("it is a tag");
    assert!(!miss.fill("old").tags(["t"]).await.expect("it is good"));
    let Found::Miss(miss) = cache.lookup::<String>("k").await.expect("it is a key") else { panic!("it is not there") };
    assert!(miss.fill("new").tags(["t"]).await.expect("it is good"));
    let Found::Hit(value) = cache.lookup::<String>("k").await.expect("it is a key") else { panic!("it is there") };
    assert_eq!(value, "new");
}

async fn a_miss_that_is_dropped_lets_another_load(place: Place) {
    let cache = place.cache();
    let Found::Miss(miss) = cache.lookup::<u8>("k").await.expect("it is a key") else { panic!("it is not there") };
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_set("k", || async { Ok::<_, Infallible>(1) }).await }
    });
    eventually("both have missed", async || cache.stats().misses == 2).await;
    drop(miss);
    assert_eq!(waiting.await.expect("it ends").expect("it cannot fail"), 1);

    cache.delete("k").await.expect("it is a key");
    let Found::Miss(miss) = cache.lookup::<u8>("k").await.expect("it is a key") else { panic!("it is not there") };
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_set("k", || async { Err::<u8, _>(Broken("it must not run")) }).await }
    });
    eventually("all have missed", async || cache.stats().misses == 4).await;
    miss.fail(Broken("as it could not be read"));
    let failed = waiting.await.expect("it ends").expect_err("it waited for one that failed");
    assert_eq!(failed.loader(), Some(&Broken("as it could not be read")));
}

async fn of_many_keys_only_the_missing_ones_are_loaded_by_one_call(place: Place) {
    let cache = place.cache();
    cache.set("a", &1).await.expect("it is good");
    let calls = AtomicUsize::new(0);
    let found = cache
        .get_or_set_many(["a", "b", "c", "b", "d"], |mut missing: Vec<String>| {
            calls.fetch_add(1, Ordering::SeqCst);
            missing.sort();
            assert_eq!(missing, ["b", "c", "d"]);
            async {
                Ok::<_, Infallible>(HashMap::from([("b".to_owned(), 2), ("c".to_owned(), 3), ("x".to_owned(), 9)]))
            }
        })
        .ttl("1m")
        .await
        .expect("it cannot fail");
    assert_eq!(found, HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 3)]));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(!cache.exists("x").await.expect("it is a key"), "nobody asked for it");
    assert_eq!(cache.get_many::<u8>(["a", "b", "d"]).await.expect("they are keys").len(), 2);
    let failed = cache.get_or_set_many(["a", "d"], |_| async { Err::<HashMap<_, u8>, _>(Broken("all of it")) }).await;
    assert_eq!(failed.expect_err("it fails").loader(), Some(&Broken("all of it")));
}

async fn what_is_missing_is_loaded_before_others_are_waited_for(place: Place) {
    let cache = place.cache();
    let Found::Miss(miss) = cache.lookup::<u8>("a").await.expect("it is a key") else { panic!("it is not there") };
    let many = tokio::spawn({
        let cache = cache.clone();
        async move {
            let loader = |missing: Vec<String>| async move {
                assert_eq!(missing, ["b"]);
                Ok::<_, Infallible>(HashMap::from([("b".to_owned(), 2)]))
            };
            cache.get_or_set_many(["a", "b"], loader).await
        }
    });
    eventually("b is loaded", async || cache.get::<u8>("b").await.expect("it is a key") == Some(2)).await;
    assert!(miss.fill(&1).await.expect("it is good"));
    let found = many.await.expect("it ends").expect("it cannot fail");
    assert_eq!(found, HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
}

async fn callers_whose_keys_overlap_do_not_wait_for_each_other(place: Place) {
    let cache = place.cache();
    let callers: Vec<_> = (0..20_usize)
        .map(|number| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let keys: Vec<_> =
                    (0..10).map(|key| format!("k{}", (key * (number % 2 * 2 + 7) + number) % 10)).collect();
                let loader = |missing: Vec<String>| async move {
                    tokio::task::yield_now().await;
                    Ok::<_, Infallible>(missing.into_iter().map(|key| (key.clone(), key)).collect::<HashMap<_, _>>())
                };
                cache.get_or_set_many(keys, loader).await.expect("it cannot fail").len()
            })
        })
        .collect();
    for caller in callers {
        let found = tokio::time::timeout(Duration::from_secs(10), caller).await.expect("nobody waits for ever");
        assert_eq!(found.expect("it ends"), 10);
    }
}

async fn warming_loads_what_is_missing_and_notes_what_fails(place: Place) {
    let cache = place.cache();
    cache.set("k0", &0).await.expect("it is good");
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let report = cache
        .warm((0..10).map(|number| format!("k{number}")), async |key: String| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            if key == "k7" { Err(Broken("this one")) } else { Ok(7) }
        })
        .concurrency(NonZeroUsize::new(3).expect("it is not zero"))
        .await
        .expect("the terms are good");
    assert_eq!((report.loaded, report.skipped), (8, 1));
    assert_eq!(report.errors["k7"].loader(), Some(&Broken("this one")));
    assert!(most.load(Ordering::SeqCst) <= 3);
}

async fn an_event_invalidates_what_the_rules_say(place: Place) {
    let cache = place.cache();
    let targets = Targets { keys: &["document:{id}"], patterns: &["documents:*summary*"], tags: &["owner:{owner}"] };
    cache.rules().on("document.*", targets).expect("they are templates");
    cache.set_many([("document:5", 1), ("documents:summary:all", 2), ("document:6", 3)]).await.expect("they are good");
    cache.set("other", &4).tags(["owner:ada"]).await.expect("it is good");
    let values = [("id", "5"), ("owner", "ada"), ("unused", "x")];
    assert_eq!(cache.emit("document.updated", values).await.expect("all is there").count, 2);
    let left = cache.get_many::<u8>(["document:5", "documents:summary:all", "document:6", "other"]).await;
    assert_eq!(left.expect("they are keys"), HashMap::from([("document:6".to_owned(), 3)]));
    assert!(matches!(cache.emit("document.updated", [("id", 5)]).await, Err(Error::Rule(_))), "a value is missing");
    assert!(matches!(cache.rules().on("e", Targets::default()), Err(Error::InvalidRule(_))));
}

async fn switched_off_everything_misses_and_invalidations_still_count(place: Place) {
    let cache = place.cache();
    cache.set("k", "old").await.expect("it is good");
    cache.set_enabled(false);
    assert!(!cache.is_enabled());
    assert_eq!(cache.get::<String>("k").await.expect("it is a key"), None);
    cache.set("l", &1).await.expect("it is dropped");
    let calls = AtomicUsize::new(0);
    for _ in 0..2 {
        let loader = || async {
            calls.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(1)
        };
        cache.get_or_set("m", loader).await.expect("it cannot fail");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2, "every caller loads");
    cache.delete("k").await.expect("it is a key");
    cache.set_enabled(true);
    assert!(cache.get_many::<u8>(["k", "l", "m"]).await.expect("they are keys").is_empty());
}

async fn a_closed_cache_says_so(place: Place) {
    let cache = place.cache();
    cache.set("k", &1).await.expect("it is good");
    let Found::Miss(miss) = cache.lookup::<u8>("l").await.expect("it is a key") else { panic!("it is not there") };
    cache.clone().close().await;
    cache.close().await;
    assert!(matches!(cache.get::<u8>("k").await, Err(Error::Closed)));
    assert!(matches!(cache.set("k", &1).await, Err(Error::Closed)));
    assert!(matches!(miss.fill(&1).await, Err(Error::Closed)));
    assert!(matches!(cache.ping().await, Err(Error::Closed)));
    let loaded = cache.get_or_set("k", || async { Ok::<_, Infallible>(1) }).await;
    assert!(matches!(loaded, Err(LoadError::Cache(Error::Closed))));
}

async fn what_is_known_of_a_key_can_be_asked(place: Place) {
    let cache = place.cache();
    cache.ping().await.expect("it answers");
    cache.set("k", &1).ttl("1m").tags(["t"]).await.expect("it is good");
    let known = cache.explain("k").await.expect("it is a key");
    assert_eq!(
        (known.tier, known.state, known.tags.as_slice()),
        (Some(cache.backend()), "fresh", ["t".to_owned()].as_slice())
    );
    cache.delete("k").await.expect("it is a key");
    let known = cache.explain("k").await.expect("it is a key");
    assert_eq!((known.tier, known.state), (None, "absent"));
    assert!(known.why_absent.is_some());
}

/// Waits until reads find the value stale.
async fn until_stale(cache: &Cache, key: &str) {
    let before = cache.stats().stale;
    eventually("it is stale", async || {
        assert!(cache.get::<String>(key).await.expect("it is a key").is_some());
        cache.stats().stale > before
    })
    .await;
}

on_every_backend! {
    keys_are_used_literally_whatever_is_in_them
    what_is_no_key_is_an_error_before_anything_is_done
    what_is_no_time_no_tag_and_no_pattern_is_an_error
    what_a_value_cannot_be_is_an_error_that_shows_nothing_of_it
    a_value_of_another_type_is_a_miss_and_loaded_anew
    add_stores_only_where_there_is_nothing
    incr_counts_exactly_however_many_count
    within_its_grace_a_stale_value_is_served_while_one_caller_loads
    within_its_grace_a_load_that_fails_gives_the_stale_value
    force_refresh_takes_no_load_that_began_before_it
    force_refresh_takes_no_value_that_is_there
    a_loader_that_asks_for_its_own_key_does_not_wait_for_itself
    who_waited_for_as_long_as_a_load_may_take_loads_for_himself
    a_miss_is_filled_once_and_only_if_nothing_was_invalidated
    a_miss_that_is_dropped_lets_another_load
    of_many_keys_only_the_missing_ones_are_loaded_by_one_call
    what_is_missing_is_loaded_before_others_are_waited_for
    callers_whose_keys_overlap_do_not_wait_for_each_other
    warming_loads_what_is_missing_and_notes_what_fails
    an_event_invalidates_what_the_rules_say
    switched_off_everything_misses_and_invalidations_still_count
    a_closed_cache_says_so
    what_is_known_of_a_key_can_be_asked
}
