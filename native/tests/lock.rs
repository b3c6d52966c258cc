//! Locks over a real Redis: each engine with a tier of its own stands for a process of its own.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use donjon::engine::{Engine, Held, Tier};
use donjon::link::Options;
use donjon::runtime::Tokio;
use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::key::{Key, Namespace};
use donjon_core::settings::RedisTarget;
use donjon_test_redis::{Direction, Proxy, Server};
use tokio::time::timeout;

use common::eventually;

type Process = Engine<Tokio, Arc<str>>;

fn process(server: &Server) -> Process {
    process_at(&server.url())
}

fn process_at(url: &str) -> Process {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let seed = Seed(u128::from(COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) << 64 | 7);
    let tier = Tier::new(Namespace::new("app").unwrap(), &Config::default(), 1 << 20, seed);
    let mut options = Options::new(RedisTarget::parse(url).unwrap());
    // Patient: a machine that runs many tests at once is slow.
    options.connect_budget = Duration::from_secs(5);
    options.command_budget = Duration::from_secs(2);
    Engine::new(tier, Tokio::new(tokio::runtime::Handle::current()), options)
}

async fn held(process: &Process, millis: u64) -> Held {
    process.acquire("l", millis).await.unwrap().expect("the lock is free")
}

async fn free(process: &Process) {
    process.lock_may_be_free(Key::new("l").unwrap()).await;
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn who_waits_is_told_when_the_lock_is_given_back() {
    let server = Server::start();
    let (holder, waiter) = (process(&server), process(&server));
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let lock = held(&holder, 60_000).await;
        let waiting = tokio::spawn({
            let waiter = waiter.clone();
            async move {
                free(&waiter).await;
                (waiter.acquire("l", 60_000).await, Instant::now())
            }
        });
        eventually("it is listened to", async || {
            server.ask(&["PUBSUB", "NUMSUB", "app!ch!lock:l"]).list()[1].number() == 1
        })
        .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let given_back = Instant::now();
        assert_eq!(holder.unlock("l", &lock.token).await, Ok(true));
        let (taken, at) = timeout(LONG, waiting).await.unwrap().unwrap();
        let taken = taken.unwrap().expect("nobody else asks");
        assert!(taken.fence > lock.fence);
        assert_eq!(waiter.unlock("l", &taken.token).await, Ok(true));
        quickest = quickest.min(at - given_back);
    }
    assert!(quickest < Duration::from_millis(100), "{quickest:?}: that is looking again, not being told");
}

#[tokio::test]
async fn a_lock_that_is_free_is_not_waited_for_and_one_that_is_removed_is_found_so() {
    let server = Server::start();
    let process = process(&server);
    timeout(LONG, free(&process)).await.unwrap();
    held(&process, 600_000).await;
    let waiting = tokio::spawn({
        let process = process.clone();
        async move { free(&process).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    // Nobody is told of that.
    server.ask(&["UNLINK", "app!{lock:l}"]);
    timeout(LONG, waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_holder_that_died_blocks_nobody_longer_than_its_time() {
    let server = Server::start();
    let (holder, waiter) = (process(&server), process(&server));
    let lock = held(&holder, 400).await;
    let start = Instant::now();
    timeout(LONG, free(&waiter)).await.unwrap();
    let after = start.elapsed();
    assert!(after > Duration::from_millis(200), "{after:?}");
    let next = held(&waiter, 60_000).await;
    assert!(next.fence > lock.fence);
    assert_eq!(holder.extend("l", &lock.token, 60_000).await, Ok(false));
    assert_eq!(holder.unlock("l", &lock.token).await, Ok(false), "another's lock is left alone");
    assert_eq!(waiter.unlock("l", &next.token).await, Ok(true));
    assert_eq!(waiter.unlock("l", &next.token).await, Ok(false));
}

#[tokio::test]
async fn who_gave_up_waiting_leaves_nothing() {
    let server = Server::start();
    let (holder, waiter) = (process(&server), process(&server));
    held(&holder, 60_000).await;
    for _ in 0..3 {
        assert!(timeout(Duration::from_millis(100), free(&waiter)).await.is_err());
    }
    let clients = || server.ask(&["CLIENT", "LIST", "TYPE", "pubsub"]).text().lines().count();
    eventually("nobody listens any more", async || clients() == 0).await;
}

#[tokio::test]
async fn who_gave_up_while_taking_a_lock_does_not_have_it() {
    let server = Server::start();
    let (proxy, other) = (Proxy::to(server.port()), process(&server));
    let process = process_at(&proxy.url());
    let before = held(&process, 600_000).await;
    assert_eq!(process.unlock("l", &before.token).await, Ok(true));
    proxy.hold(Direction::Replies);
    assert!(timeout(Duration::from_millis(100), process.acquire("l", 600_000)).await.is_err());
    timeout(LONG, free(&other)).await.unwrap();
    held(&other, 600_000).await;
}

#[tokio::test]
async fn many_who_wait_get_the_lock_one_after_the_other() {
    let server = Server::start();
    let processes = [process(&server), process(&server), process(&server)];
    let inside = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let all = (0..30).map(|number| {
        let (process, inside) = (processes[number % 3].clone(), Arc::clone(&inside));
        tokio::spawn(async move {
            let lock = loop {
                if let Some(lock) = process.acquire("l", 60_000).await.unwrap() {
                    break lock;
                }
                free(&process).await;
            };
            assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
            tokio::time::sleep(Duration::from_millis(2)).await;
            inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            assert_eq!(process.unlock("l", &lock.token).await, Ok(true));
            lock.fence
        })
    });
    let mut fences = Vec::new();
    for one in all.collect::<Vec<_>>() {
        fences.push(timeout(Duration::from_secs(30), one).await.unwrap().unwrap());
    }
    fences.sort_unstable();
    fences.dedup();
    assert_eq!(fences.len(), 30);
}

#[tokio::test]
async fn renewal_keeps_a_lock_for_as_long_as_it_goes_on() {
    let server = Server::start();
    let process = process(&server);
    let lock = held(&process, 1_500).await;
    let kept = process.keep("l", &lock.token, 1_500, lock.since);
    assert!(timeout(Duration::from_secs(4), kept).await.is_err(), "it is not lost");
    assert!(server.ask(&["PTTL", "app!{lock:l}"]).number() > 0);
    eventually("without renewal it runs out", async || process.acquire("l", 1_000).await.unwrap().is_some()).await;
}

#[tokio::test]
async fn a_lock_that_was_removed_or_taken_over_is_lost() {
    let server = Server::start();
    let process = process(&server);
    for other in [None, Some("another")] {
        let lock = held(&process, 900).await;
        server.ask(&["UNLINK", "app!{lock:l}"]);
        if let Some(other) = other {
            server.ask(&["SET", "app!{lock:l}", other]);
        }
        timeout(LONG, process.keep("l", &lock.token, 900, lock.since)).await.expect("it is lost");
        let left = server.ask(&["GET", "app!{lock:l}"]);
        assert_eq!(left.bytes(), other.map(str::as_bytes), "another's lock is left alone");
    }
}

#[tokio::test]
async fn a_lock_that_cannot_be_confirmed_in_time_is_lost_before_its_time_is_over() {
    let server = Server::start();
    let process = process(&server);
    let start = Instant::now();
    let lock = held(&process, 2_000).await;
    server.pause();
    timeout(LONG, process.keep("l", &lock.token, 2_000, lock.since)).await.expect("it is lost");
    let after = start.elapsed();
    server.resume();
    assert!(after >= Duration::from_millis(1_700) && after < Duration::from_millis(2_500), "{after:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_costs_no_lock() {
    let server = Server::start();
    let process = process(&server);
    let lock = held(&process, 1_500).await;
    let kept = tokio::spawn({
        let process = process.clone();
        async move { process.keep("l", &lock.token, 1_500, lock.since).await }
    });
    for _ in 0..20 {
        server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!kept.is_finished());
    assert_eq!(process.unlock("l", &lock.token).await, Ok(true));
}
