//! The faults that shipping caches have, one by one, on every backend: here they do not occur.

mod common;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Broken, Place, eventually};
use donjon::{Cache, Error, Found, Raw, Remaining};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// A load that has begun, and ends when it is told to.
struct Load {
    end: oneshot::Sender<()>,
    task: JoinHandle<String>,
}

/// Begins to load `key`, with two tags, and waits until the loader has read what it will store.
async fn begin(cache: &Cache, key: &'static str) -> Load {
    let (read, has_read) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let cache = cache.clone();
    let task = tokio::spawn(async move {
        let loader = || async move {
            let row = "old".to_owned();
            read.send(()).expect("the test waits");
            ended.await.expect("the test says when");
            Ok::<_, Infallible>(row)
        };
        cache.get_or_set(key, loader).tags(["users", "user:5"]).ttl("5m").await.expect("it cannot fail")
    });
    has_read.await.expect("the loader runs");
    Load { end, task }
}

async fn new_row(cache: &Cache, key: &str) -> String {
    cache.get_or_set(key, || async { Ok::<_, Infallible>("new".to_owned()) }).await.expect("it cannot fail")
}

/// T1
async fn what_was_invalidated_while_it_was_loaded_is_not_stored(place: Place) {
    let invalidations: [(&str, AsyncInvalidation); 5] = [
        ("key", |cache| Box::pin(async move { cache.delete("user:5").await.map(drop) })),
        ("keys", |cache| Box::pin(async move { cache.delete_many(["other", "user:5"]).await.map(drop) })),
        ("pattern", |cache| Box::pin(async move { cache.invalidate_pattern("user:*").await.map(drop) })),
        ("namespace", |cache| Box::pin(async move { cache.clear().await.map(drop) })),
        ("set", |cache| Box::pin(async move { cache.set("user:5", "new").await })),
    ];
    for (what, invalidate) in invalidations {
        let cache = place.cache();
        let load = begin(&cache, "user:5").await;
        invalidate(cache.clone()).await.expect("it is valid");
        // While the old load still runs, and after it.
        assert_eq!(new_row(&cache, "user:5").await, "new", "{what}");
        load.end.send(()).expect("it waits");
        assert_eq!(load.task.await.expect("it ends"), "old", "its own caller may have what it loaded");
        assert_eq!(new_row(&cache, "user:5").await, "new", "{what}");
        assert_eq!(cache.stats().loads_refused, 1, "{what}");
        assert_eq!(cache.clear().await.expect("it is open").count, 1);
    }
}

type AsyncInvalidation = fn(Cache) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// T1
async fn who_waits_for_a_load_that_was_invalidated_gets_the_new_row(place: Place) {
    let cache = place.cache();
    let load = begin(&cache, "user:5").await;
    let joined = tokio::spawn({
        let cache = cache.clone();
        async move { new_row(&cache, "user:5").await }
    });
    eventually("both have missed", async || cache.stats().misses == 2).await;
    cache.invalidate_tags(["user:5"]).await.expect("it is a tag");
    load.end.send(()).expect("it waits");
    assert_eq!(joined.await.expect("it ends"), "new");
    assert_eq!(load.task.await.expect("it ends"), "old");
    assert_eq!(new_row(&cache, "user:5").await, "new");
    assert_eq!(cache.stats().loads_refused, 1);
}

/// T2
async fn when_the_caller_that_loads_goes_away_another_takes_the_lead(place: Place) {
    let cache = place.cache();
    let load = begin(&cache, "user:5").await;
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { new_row(&cache, "user:5").await })
        })
        .collect();
    eventually("all have missed", async || cache.stats().misses == 6).await;
    load.task.abort();
    for waiter in waiting {
        assert_eq!(waiter.await.expect("it is not cancelled with the other"), "new");
    }
    assert_eq!(cache.stats().loads, 1, "one of them loaded for all");
}

/// T2
async fn a_loader_that_panics_takes_nobody_with_it(place: Place) {
    let cache = place.cache();
    let panicking = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_set("k", || async { panic!("in the loader") as Result<u8, Infallible> }).await }
    });
    assert!(panicking.await.expect_err("it panicked").is_panic());
    assert_eq!(new_row(&cache, "k").await, "new");
}

/// T3
async fn after_a_load_that_failed_no_two_run_at_once(place: Place) {
    let cache = place.cache();
    let (running, most, calls) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let (cache, running, most, calls) = (cache.clone(), running.clone(), most.clone(), calls.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    let _failed_or_not = cache
                        .get_or_set("k", || async {
                            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            tokio::task::yield_now().await;
                            running.fetch_sub(1, Ordering::SeqCst);
                            if calls.fetch_add(1, Ordering::SeqCst) % 2 == 0 {
                                Err(Broken("now and then"))
                            } else {
                                Ok(1)
                            }
                        })
                        .ttl(Duration::from_millis(1))
                        .await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("it ends");
    }
    assert!(calls.load(Ordering::SeqCst) > 1, "a load failed and others followed");
    assert_eq!(most.load(Ordering::SeqCst), 1, "loads at a time");
}

/// T4
async fn many_who_miss_at_once_load_once(place: Place) {
    let cache = place.cache();
    let (calls, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (cache, calls, go) = (cache.clone(), calls.clone(), go.clone());
            tokio::spawn(async move {
                cache
                    .get_or_set("k", || async {
                        calls.fetch_add(1, Ordering::SeqCst);
                        go.notified().await;
                        Ok::<_, Infallible>(vec![1, 2, 3])
                    })
                    .await
                    .expect("it cannot fail")
            })
        })
        .collect();
    eventually("all have missed", async || cache.stats().misses == 100).await;
    go.notify_one();
    for caller in callers {
        assert_eq!(caller.await.expect("it ends"), [1, 2, 3]);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

/// T9
async fn everybody_who_waits_gets_the_error_of_the_loader_in_its_own_type(place: Place) {
    let cache = place.cache();
    let (calls, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let callers: Vec<_> = (0..10)
        .map(|_| {
            let (cache, calls, go) = (cache.clone(), calls.clone(), go.clone());
            tokio::spawn(async move {
                let loader = || async {
                    calls.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    Err::<u8, _>(Broken("no such row"))
                };
                cache.get_or_set("k", loader).await.expect_err("the loader fails")
            })
        })
        .collect();
    eventually("all have missed", async || cache.stats().misses == 10).await;
    go.notify_one();
    for caller in callers {
        assert_eq!(caller.await.expect("it ends").loader(), Some(&Broken("no such row")));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(new_row(&cache, "k").await, "new", "an error is not cached");
}

/// T9
async fn who_waits_with_another_type_of_error_loads_for_himself(place: Place) {
    let cache = place.cache();
    let go = Arc::new(Notify::new());
    let first = tokio::spawn({
        let (cache, go) = (cache.clone(), go.clone());
        async move {
            let loader = || async {
                go.notified().await;
                Err::<String, _>(Broken("of one type"))
            };
            cache.get_or_set("k", loader).await
        }
    });
    eventually("it loads", async || cache.stats().misses == 1).await;
    let other = tokio::spawn({
        let cache = cache.clone();
        async move { new_row(&cache, "k").await }
    });
    eventually("both have missed", async || cache.stats().misses == 2).await;
    go.notify_one();
    assert!(first.await.expect("it ends").is_err());
    assert_eq!(other.await.expect("it ends"), "new");
}

/// T11
async fn a_cached_null_is_a_hit(place: Place) {
    let cache = place.cache();
    let calls = AtomicUsize::new(0);
    for _ in 0..3 {
        let loader = || async {
            calls.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(None::<String>)
        };
        assert_eq!(cache.get_or_set("k", loader).await.expect("it cannot fail"), None);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(cache.get::<Option<String>>("k").await.expect("it is a key"), Some(None));
    assert_eq!(cache.get::<Option<String>>("absent").await.expect("it is a key"), None);
    assert!(cache.exists("k").await.expect("it is a key"));
}

/// T12
async fn clear_takes_all_of_this_namespace_and_nothing_else(place: Place) {
    let (one, other) = (place.cache(), place.builder().namespace("another").build().expect("it is a namespace"));
    one.set_many((0..5_000).map(|number| (format!("k{number}"), number))).await.expect("they are good");
    other.set("k1", &1).await.expect("it is good");
    assert_eq!(one.clear().await.expect("it is open").count, 5_000);
    assert!(!one.exists("k1").await.expect("it is a key"));
    assert!(other.exists("k1").await.expect("it is a key"));
    other.clear().await.expect("it is open");
}

/// T13
async fn each_reader_has_a_value_of_its_own(place: Place) {
    let cache = place.cache();
    let mut given = vec!["a".to_owned()];
    cache.set("k", &given).await.expect("it is good");
    given.push("b".to_owned());
    let mut read: Vec<String> = cache.get("k").await.expect("it is a key").expect("it was set");
    read.clear();
    assert_eq!(cache.get::<Vec<String>>("k").await.expect("it is a key"), Some(vec!["a".to_owned()]));
}

/// T17
async fn every_time_that_is_given_counts(place: Place) {
    let cache = place.builder().default_ttl("10s").build().expect("the options are good");
    let at_most = async |key: &str, seconds| match cache.ttl(key).await.expect("it is a key") {
        Some(Remaining::For(left)) => {
            assert!(left <= Duration::from_secs(seconds) && left > Duration::from_secs(seconds - 5), "{key}: {left:?}");
        }
        other => panic!("{key}: {other:?}"),
    };
    let load = || async { Ok::<_, Infallible>(1) };
    cache.set("default", &1).await.expect("it is good");
    at_most("default", 10).await;
    cache.set("set", &1).ttl(Duration::from_secs(20)).await.expect("it is good");
    at_most("set", 20).await;
    cache.set("class", &1).ttl("stats").await.expect("it is good");
    at_most("class", 60).await;
    assert!(cache.add("add", &1).ttl("30s").await.expect("it is good"));
    at_most("add", 30).await;
    cache.get_or_set("load", load).ttl("40s").await.expect("it cannot fail");
    at_most("load", 40).await;
    cache.incr("incr", 1).ttl("50s").await.expect("it is a counter");
    cache.incr("incr", 1).ttl("5s").await.expect("it is a counter");
    at_most("incr", 50).await;
    cache.set_many([("set_many", 1)]).ttl("70s").await.expect("it is good");
    at_most("set_many", 70).await;
    let loader = |_| async { Ok::<_, Infallible>(HashMap::from([("load_many".to_owned(), 1)])) };
    cache.get_or_set_many(["load_many"], loader).ttl("80s").await.expect("it cannot fail");
    at_most("load_many", 80).await;
    let Found::Miss(miss) = cache.lookup::<u8>("fill").await.expect("it is a key") else { panic!("it is not there") };
    assert!(miss.fill(&1).ttl("90s").await.expect("it is good"));
    at_most("fill", 90).await;
    assert!(cache.touch("fill", "100s").await.expect("it is a key"));
    at_most("fill", 100).await;
    cache.set("ever", &1).ttl(donjon::FOREVER).await.expect("it is good");
    assert_eq!(cache.ttl("ever").await.expect("it is a key"), Some(Remaining::Forever));

    cache.set("short", &1).ttl(Duration::from_millis(30)).await.expect("it is good");
    eventually("it is gone", async || cache.get::<u8>("short").await.expect("it is a key").is_none()).await;
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    roles: Vec<Role>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Role {
    Reader,
    Owner { of: u64 },
}

/// T20
async fn a_hit_has_the_type_of_the_miss(place: Place) {
    let cache = place.cache();
    let load = || async {
        Ok::<_, Infallible>(User { name: "Ada".into(), roles: vec![Role::Reader, Role::Owner { of: u64::MAX }] })
    };
    let miss = cache.get_or_set("k", load).await.expect("it cannot fail");
    let hit = cache.get_or_set("k", load).await.expect("it cannot fail");
    assert_eq!(miss, hit);
    let bytes = || async { Ok::<_, Infallible>(Raw::from(vec![0, 255, 13])) };
    let miss = cache.get_or_set("raw", bytes).await.expect("it cannot fail");
    assert_eq!(cache.get_or_set("raw", bytes).await.expect("it cannot fail"), miss);
}

on_every_backend! {
    what_was_invalidated_while_it_was_loaded_is_not_stored
    who_waits_for_a_load_that_was_invalidated_gets_the_new_row
    when_the_caller_that_loads_goes_away_another_takes_the_lead
    a_loader_that_panics_takes_nobody_with_it
    after_a_load_that_failed_no_two_run_at_once
    many_who_miss_at_once_load_once
    everybody_who_waits_gets_the_error_of_the_loader_in_its_own_type
    who_waits_with_another_type_of_error_loads_for_himself
    a_cached_null_is_a_hit
    clear_takes_all_of_this_namespace_and_nothing_else
    each_reader_has_a_value_of_its_own
    every_time_that_is_given_counts
    a_hit_has_the_type_of_the_miss
}
