//! What many read at once is asked for together, against a real Redis.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use donjon::engine::{Engine, Tier};
use donjon::link::Options;
use donjon::payload::Payload;
use donjon::runtime::Tokio;
use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::expiry::{Grace, Ttl};
use donjon_core::key::{Key, Namespace};
use donjon_core::remote::Storing;
use donjon_core::settings::RedisTarget;
use donjon_test_redis::Server;
use futures_util::future::join_all;

type Process = Engine<Tokio, Arc<str>>;

fn process(server: &Server) -> Process {
    process_with(server, |_| ())
}

fn process_with(server: &Server, set: impl FnOnce(&mut Options)) -> Process {
    let tier = Tier::new(Namespace::new("app").unwrap(), &Config::default(), 1 << 20, Seed(7));
    let mut options = Options::new(RedisTarget::parse(&server.url()).unwrap());
    set(&mut options);
    Engine::new(tier, Tokio::new(tokio::runtime::Handle::current()), options)
}

fn key(text: &str) -> Key<'_> {
    Key::new(text).unwrap()
}

fn number(n: usize) -> Payload {
    Payload::json(n.to_string())
}

async fn set(process: &Process, name: &str, payload: &Payload) {
    let storing = Storing { ttl: Ttl::parse("1m").unwrap(), grace: Grace::NONE, tags: Arc::new([]) };
    assert!(process.set(key(name), payload, &storing).await);
}

/// Reads the keys from `k0` on, at once.
async fn get_all(process: &Process, count: usize) -> Vec<Option<Payload>> {
    let names: Vec<_> = (0..count).map(|n| format!("k{n}")).collect();
    join_all(names.iter().map(|name| process.get(key(name)))).await
}

/// How many commands have read keys so far.
fn reads(server: &Server) -> usize {
    let stat = server.info("cmdstat_mget").unwrap_or_default();
    stat.split_once("calls=").map_or(0, |(_, rest)| rest.split(',').next().unwrap().parse().unwrap())
}

async fn once<F: Future>(future: std::pin::Pin<&mut F>) {
    let mut future = future;
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending(), "an answer takes its time");
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn many_reads_at_once_are_few_commands_and_each_is_given_its_own() {
    let server = Server::start();
    let process = process(&server);
    for n in 0..150 {
        set(&process, &format!("k{n}"), &number(n)).await;
    }
    assert_eq!(process.get(key("k7")).await, Some(number(7)), "how large values are is known from now on");
    let before = reads(&server);
    for (n, found) in get_all(&process, 200).await.into_iter().enumerate() {
        assert_eq!(found, (n < 150).then(|| number(n)), "k{n}");
    }
    // One alone, and at most 128 together.
    assert_eq!(reads(&server) - before, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_tasks_that_can_go_on_come_before_the_command() {
    let server = Server::start();
    let process = process(&server);
    set(&process, "k", &number(1)).await;
    process.get(key("k")).await;
    let before = reads(&server);
    // Started by the one worker: what a task starts would have the next turn, before all that wait for theirs.
    let readers = tokio::spawn(async move {
        let readers = (0..100).map(|_| {
            let process = process.clone();
            tokio::spawn(async move { process.get(key("k")).await })
        });
        readers.collect::<Vec<_>>()
    });
    for reader in readers.await.unwrap() {
        assert_eq!(reader.await.unwrap(), Some(number(1)));
    }
    let commands = reads(&server) - before;
    assert!(commands <= 10, "{commands} commands for 100 reads");
}

#[tokio::test]
async fn who_is_no_longer_polled_or_goes_away_holds_nobody_up() {
    let server = Server::start();
    let process = process(&server);
    set(&process, "k", &number(1)).await;
    process.get(key("k")).await;
    let mut alone = pin!(process.get(key("k")));
    let mut first = Box::pin(process.get(key("k")));
    once(alone.as_mut()).await;
    once(first.as_mut()).await;
    let within = |read| tokio::time::timeout(Duration::from_secs(10), read);
    assert_eq!(within(process.get(key("k"))).await.expect("it is answered"), Some(number(1)));
    drop(first);
    assert_eq!(within(process.get(key("k"))).await.expect("it is answered"), Some(number(1)));
    let mut gone = Box::pin(process.get(key("k")));
    once(gone.as_mut()).await;
    drop(gone);
    assert_eq!(within(process.get(key("k"))).await.expect("it is answered"), Some(number(1)));
    assert_eq!(alone.await, Some(number(1)));
}

#[tokio::test]
async fn large_values_are_asked_for_one_by_one_until_they_are_small_again() {
    let server = Server::start();
    let process = process(&server);
    let large = Payload::json(format!("\"{}\"", "x".repeat(100_000)));
    set(&process, "large", &large).await;
    set(&process, "small", &number(1)).await;
    assert_eq!(process.get(key("large")).await, Some(large));
    let at_once = || join_all((0..20).map(|_| process.get(key("small"))));
    let before = reads(&server);
    assert_eq!(at_once().await, vec![Some(number(1)); 20]);
    assert!(reads(&server) - before > 10, "what was large of late may come again");
    for _ in 0..100 {
        process.get(key("small")).await;
    }
    let before = reads(&server);
    assert_eq!(at_once().await, vec![Some(number(1)); 20]);
    assert_eq!(reads(&server) - before, 2);
}

#[tokio::test]
async fn what_together_is_more_than_a_reply_may_have_is_asked_for_one_by_one() {
    let server = Server::start();
    let process = process_with(&server, |options| options.max_reply_bytes = 1 << 16);
    let medium = Payload::json(format!("\"{}\"", "x".repeat(2_000)));
    for n in 0..100 {
        set(&process, &format!("k{n}"), &medium).await;
    }
    set(&process, "small", &number(1)).await;
    assert_eq!(process.get(key("small")).await, Some(number(1)));
    let before = process.tier().stats();
    for _ in 0..2 {
        assert!(get_all(&process, 100).await.iter().all(|found| found.as_ref() == Some(&medium)));
    }
    assert_eq!(process.tier().stats().faults, before.faults);
}

#[tokio::test]
async fn where_redis_is_gone_each_is_given_nothing_and_counted() {
    let server = Server::start();
    let process = process(&server);
    set(&process, "k", &number(1)).await;
    process.get(key("k")).await;
    let before = process.tier().stats();
    server.kill();
    let found = join_all((0..50).map(|_| process.get(key("k")))).await;
    assert_eq!(found, vec![None; 50]);
    assert_eq!(process.tier().stats().misses - before.misses, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_given_what_was_read_before_they_asked() {
    let server = Server::start();
    let (process, writer) = (process(&server), process(&server));
    set(&writer, "k", &number(0)).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let crowd: Vec<_> = (0..8)
        .map(|_| {
            let (process, is_over) = (process.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    process.get(key("k")).await.expect("it is there");
                }
            })
        })
        .collect();
    for n in 1..500 {
        set(&writer, "k", &number(n)).await;
        assert_eq!(process.get(key("k")).await, Some(number(n)));
    }
    is_over.store(true, Ordering::Relaxed);
    for reader in crowd {
        reader.await.unwrap();
    }
}
