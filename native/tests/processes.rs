//! Caches that share one Redis, as processes do, and what becomes of their calls while it is away.

mod common;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Broken, PATIENCE, eventually};
use donjon::{Builder, Cache, Error, Found};
use donjon_test_redis::Server;
use tokio::sync::Notify;

fn cache(server: &Server) -> Cache {
    Cache::redis(&server.url())
        .connect_timeout(PATIENCE)
        .command_timeout(PATIENCE)
        .build()
        .expect("the options are good")
}

#[tokio::test]
async fn what_one_process_invalidates_no_other_stores() {
    let server = Server::start();
    let (one, other) = (cache(&server), cache(&server));
    let Found::Miss(by_key) = one.lookup::<u8>("a").await.expect("it is a key") else { panic!("it is not there") };
    let Found::Miss(by_pattern) = one.lookup::<u8>("b:1").await.expect("it is a key") else {
        panic!("it is not there")
    };
    let Found::Miss(by_tag) = one.lookup::<u8>("c").await.expect("it is a key") else { panic!("it is not there") };
    let Found::Miss(kept) = one.lookup::<u8>("d").await.expect("it is a key") else { panic!("it is not there") };
    other.delete("a").await.expect("it is a key");
    other.invalidate_pattern("b:*").await.expect("it is a pattern");
    other.invalidate_tags(["t"]).await.expect("it is a tag");
    assert!(!by_key.fill(&1).await.expect("it is good"));
    assert!(!by_pattern.fill(&1).await.expect("it is good"));
    assert!(!by_tag.fill(&1).tags(["t"]).await.expect("it is good"));
    assert!(kept.fill(&1).tags(["u"]).await.expect("it is good"), "nothing of it was invalidated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_miss_at_once_load_once() {
    let server = Server::start();
    let (calls, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let caches = [cache(&server), cache(&server)];
    let callers: Vec<_> = (0..20)
        .map(|number| {
            let (cache, calls, go) = (caches[number % 2].clone(), calls.clone(), go.clone());
            tokio::spawn(async move {
                let loader = || async {
                    calls.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    Ok::<_, Infallible>("once".to_owned())
                };
                cache.get_or_set("k", loader).await.expect("it cannot fail")
            })
        })
        .collect();
    eventually("all have missed", async || caches.iter().map(|cache| cache.stats().misses).sum::<u64>() == 20).await;
    go.notify_one();
    for caller in callers {
        assert_eq!(caller.await.expect("it ends"), "once");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_lock_has_one_holder_among_all_processes() {
    let server = Server::start();
    let (one, other) = (cache(&server), cache(&server));
    let guard = one.lock("l", "1m").await.expect("it is free");
    let refused = other.lock("l", "1m").wait(Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::LockTimeout { .. })));
    let fence = guard.fence();
    std::thread::spawn(move || drop(guard)).join().expect("it needs no runtime where it is dropped");
    assert!(other.lock("l", "1m").wait(PATIENCE).await.expect("it was given up").fence() > fence);
    let lost = one.lock("m", Duration::from_millis(300)).await.expect("it is free");
    server.ask(&["FLUSHALL"]);
    tokio::time::timeout(PATIENCE, lost.lost()).await.expect("its holder is told");
    assert!(matches!(lost.release().await, Err(Error::LockLost { .. })));
}

#[tokio::test]
async fn while_redis_is_away_loaders_run_and_invalidations_are_owed() {
    let server = Server::builder().append_only().start();
    let cache = Cache::redis(&server.url()).build().expect("the options are good");
    eventually("it is kept", async || {
        cache.set("k", "old").await.expect("it is good");
        cache.get::<String>("k").await.expect("it is a key").is_some()
    })
    .await;
    server.kill();
    assert_eq!(cache.get::<String>("k").await.expect("it is a key"), None);
    assert!(!cache.exists("k").await.expect("it is a key"));
    let loaded = cache.get_or_set("k", || async { Ok::<_, Infallible>("loaded".to_owned()) }).await;
    assert_eq!(loaded.expect("it cannot fail"), "loaded");
    let failed = cache.get_or_set("k", || async { Err::<String, _>(Broken("the source")) }).await;
    assert_eq!(failed.expect_err("it fails").loader(), Some(&Broken("the source")));
    assert!(cache.delete("k").await.expect("it is a key").queued);
    assert!(cache.invalidate_tags(["t"]).await.expect("it is a tag").queued);
    cache.set("l", &1).await.expect("what is not stored is owed");
    assert!(matches!(cache.incr("n", 1).await, Err(Error::Redis(_))));
    assert!(matches!(cache.add("n", &1).await, Err(Error::Redis(_))));
    assert!(matches!(cache.lock("l", "1m").await, Err(Error::Redis(_))));
    assert!(matches!(cache.ping().await, Err(Error::Redis(_))));
    assert!(cache.stats().faults > 0 && cache.stats().queued >= 3);
    server.restart();
    eventually("it is back", async || cache.ping().await.is_ok()).await;
    assert_eq!(cache.get::<String>("k").await.expect("it is a key"), None, "what was owed was said first");
    assert_eq!(cache.stats().queued, 0);
}

#[tokio::test]
async fn redis_is_reached_by_tls_and_by_its_socket_with_a_password() {
    let server = Server::builder().password("sesame").tls().start();
    let url = server.url();
    let patient = |builder: Builder| builder.connect_timeout(PATIENCE).command_timeout(PATIENCE).build();
    let by_tls = patient(Cache::redis(&url).ca(server.authority())).expect("the options are good");
    by_tls.set("k", &1).await.expect("it is good");
    let socket = format!("unix://{}?pass=sesame", server.socket().display());
    let by_socket = patient(Cache::redis(&socket)).expect("the options are good");
    assert_eq!(by_socket.get::<u8>("k").await.expect("it is a key"), Some(1));
    by_socket.delete("k").await.expect("it is a key");
    assert_eq!(by_tls.get::<u8>("k").await.expect("it is a key"), None);

    let stranger = patient(Cache::redis(&url)).expect("the options are good");
    let refused = stranger.ping().await.expect_err("the system trusts no such authority").to_string();
    assert!(refused.contains("certificate") && !refused.contains("sesame"), "{refused}");
    let guess = patient(Cache::redis(&socket.replace("sesame", "hunter2"))).expect("the options are good");
    let refused = guess.ping().await.expect_err("it is no such password").to_string();
    assert!(!refused.contains("hunter2"), "{refused}");
}
