//! What holds for others while a pattern is being swept in a cluster that has all of the namespace in one slot, wherever that goes.
//! Each engine with a tier of its own stands for a process.
//!
//! Who is not allowed `SCAN` writes down what it is about to sweep and gets no further.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use donjon::Cache;
use donjon::engine::{Looked, Watches};
use donjon::payload::Payload;
use donjon_core::lease::Filled;
use donjon_core::near::{Config, State};
use donjon_core::pattern::Pattern;
use donjon_test_redis::{Cluster, Server};

mod common;

use common::near::{Process, json, key, process_in, storing, want};
use common::{PATIENCE, eventually};

const SPACE: &str = "{shop}";
const LIST: &str = "{shop}!p";

fn cluster(replicas: usize) -> Cluster {
    let rules = "on >secret ~* &* +@all -scan";
    // As long as that twice a node that voted does not vote again, should the others not have.
    let timeout = if replicas == 0 { "15000" } else { "2000" };
    Cluster::of(&Server::builder().user("stuck", rules).option("cluster-node-timeout", &[timeout]), replicas)
}

fn process(cluster: &Cluster) -> Process {
    process_with(cluster, Watches::Reads)
}

fn process_with(cluster: &Cluster, watches: Watches) -> Process {
    process_in(SPACE, &cluster.url(), &Config::default(), watches)
}

/// Begins to sweep in a process that dies once it has written that down.
async fn leave(cluster: &Cluster, pattern: &str) {
    let url = cluster.url().replace("://", "://stuck:secret@");
    let sweeper = process_in(SPACE, &url, &Config::default(), Watches::Reads);
    assert!(sweeper.engine.invalidate_pattern(&Pattern::new(pattern).unwrap()).await.queued, "it may not sweep");
}

fn list(cluster: &Cluster) -> Option<Vec<u8>> {
    cluster.ask(LIST, &["GET", LIST]).bytes().map(<[u8]>::to_vec)
}

async fn gets(process: &Process, name: &str) -> Option<Payload> {
    process.engine.get(key(name)).await
}

#[tokio::test]
async fn what_is_written_down_holds_for_every_read_wherever_its_list_and_the_keys_are() {
    let cluster = cluster(0);
    for when in ["still", "open before it", "open since"] {
        let (one, other) = (process(&cluster), process(&cluster));
        for name in ["a:1", "a:2", "b", "c"] {
            one.set(name, "1").await;
        }
        assert_eq!(one.load("a:tagged", "1", &["jobs"]).await, Filled::Stored);
        assert_eq!(one.engine.increment(key("a:n"), 7, storing(&[]).ttl).await, Ok(7));
        let slot = cluster.slot(LIST);
        let to = cluster.other(slot);
        if when == "open before it" {
            cluster.open(slot, to);
            cluster.carry(&["{shop}:a:1", "{shop}:b"], to);
        }
        leave(&cluster, "a:*").await;
        if when == "open since" {
            cluster.open(slot, to);
            cluster.carry(&["{shop}:a:1", "{shop}:b", LIST], to);
        }
        let stranger = process(&cluster);
        for process in [&one, &other, &stranger] {
            let names = ["a:1", "a:2", "b", "c", "a:tagged", "a:n", "none"];
            let holds = |name: &str| matches!(name, "b" | "c");
            for name in names {
                assert_eq!(gets(process, name).await.is_some(), holds(name), "{name}, {when}");
            }
            let found = process.engine.get_many(&names.map(key)).await;
            assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), names.map(holds), "{when}");
            assert_eq!(process.engine.peek(key("a:1")).await, Ok(None));
            assert_eq!(process.engine.touch(key("a:1"), storing(&[]).ttl).await, Ok(false));
            assert_eq!(process.engine.tier().stats().faults, 0, "{when}");
        }
        assert_eq!(other.engine.add(key("a:2"), &json("2"), &storing(&[])).await, Ok(true), "there was none any more");
        assert_eq!(one.load("a:tagged", "2", &["jobs"]).await, Filled::Stored);
        // What is stored by hand holds, though this process has not read the list before.
        process(&cluster).set("a:1", "3").await;
        for _ in 0..2 {
            for process in [&one, &other, &stranger] {
                for (name, value) in [("a:1", "3"), ("a:2", "2"), ("a:tagged", "2"), ("b", "1")] {
                    assert_eq!(gets(process, name).await, Some(json(value)), "{name}, {when}");
                }
                assert_eq!(gets(process, "a:n").await, None);
            }
            if cluster.owner(slot).id() != to.id() {
                cluster.move_slot(slot, to);
            }
        }
        cluster.ask(LIST, &["UNLINK", LIST]);
        one.engine.clear().await;
    }
}

#[tokio::test]
async fn while_its_slot_is_on_its_way_a_key_is_read_behind_the_list() {
    let cluster = cluster(0);
    // Without memory in front, whose signs of life would ask for what is at the other end, too.
    let cache = Cache::redis(&cluster.url()).namespace(SPACE).connect_timeout(PATIENCE).command_timeout(PATIENCE);
    let cache = cache.build().unwrap();
    cache.set("a", &1).await.unwrap();
    cache.set("b", &2).await.unwrap();
    let slot = cluster.slot(LIST);
    let (from, to) = (cluster.owner(slot), cluster.other(slot));
    assert_eq!(cache.get::<i32>("a").await.unwrap(), Some(1));
    cluster.open(slot, to);
    to.pause();
    let reading = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get::<i32>("a").await }
    });
    eventually("the list is asked for at the other end", async || from.info("errorstat_ASK").is_some()).await;
    let later = from.ask(&["GET", "{shop}:b"]).bytes().unwrap().to_vec();
    from.ask(&[&b"SET"[..], b"{shop}:a", &later]);
    to.resume();
    assert_eq!(reading.await.unwrap().unwrap(), Some(2));
}

#[tokio::test]
async fn memory_in_front_drops_what_is_written_down_by_the_node_that_has_the_slot_by_then() {
    for watches in [Watches::Reads, Watches::Everything] {
        let cluster = cluster(1);
        let slot = cluster.slot(LIST);
        let one = process_with(&cluster, watches).until(State::Tracking).await;
        for way in ["still", "moved", "handed over", "open"] {
            for name in ["a", "b"] {
                one.set(name, "1").await;
            }
            match way {
                "moved" => cluster.move_slot(slot, cluster.other(slot)),
                "handed over" => {
                    cluster.hand_over(cluster.owner(slot));
                    cluster.settle();
                }
                _ => {}
            }
            for name in ["a", "b"] {
                eventually("it is kept", async || one.keep(name).await == json("1")).await;
            }
            if way == "open" {
                // What is told from then on is told elsewhere.
                cluster.open(slot, cluster.other(slot));
            }
            leave(&cluster, "a*").await;
            one.gone("a", way).await;
            if way != "open" {
                eventually("the rest is believed again", async || one.near("b").is_some()).await;
                // What is loaded from then on may be kept.
                assert_eq!(one.load("a", "2", &[]).await, Filled::Stored);
                assert_eq!(one.keep("a").await, json("2"));
                cluster.ask(LIST, &["UNLINK", LIST]);
            }
        }
        assert_eq!((one.read("a").await, one.read("b").await), (None, Some(json("1"))));
    }
}

#[tokio::test]
async fn who_dies_amid_a_sweep_leaves_nothing_to_be_served_and_another_ends_it_on_whichever_node() {
    let cluster = cluster(1);
    let one = process(&cluster);
    for number in 0..300 {
        let name = format!("{SPACE}:a:{number}");
        cluster.ask(&name, &["SET", &name, "1"]);
    }
    one.set("b", "1").await;
    leave(&cluster, "a:*").await;
    assert_eq!(gets(&one, "a:1").await, None);
    let slot = cluster.slot(LIST);
    cluster.move_slot(slot, cluster.other(slot));
    assert_eq!(gets(&one, "a:1").await, None);
    let took_over = cluster.hand_over(cluster.owner(slot));
    cluster.settle();
    let noted = Instant::now();
    while list(&cluster).is_some() {
        assert!(noted.elapsed() < Duration::from_secs(30), "nobody took it over");
        assert_eq!(gets(&one, "a:1").await, None);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(took_over.ask(&["DBSIZE"]).number(), 1, "the one that does not match");
    assert_eq!((gets(&one, "a:1").await, gets(&one, "b").await), (None, Some(json("1"))));
}

#[tokio::test]
async fn a_sweep_that_waits_for_a_node_is_nobody_elses() {
    let settings = Server::builder().option("cluster-node-timeout", &["60000"]);
    let cluster = Cluster::of(&settings, 0);
    let slow = cluster.other(cluster.slot(LIST));
    let (sweeper, reader) = (process(&cluster), process(&cluster));
    sweeper.set("a", "1").await;
    slow.pause();
    let begun = tokio::spawn(async move { sweeper.engine.clear().await });
    eventually("it is written down", async || list(&cluster).is_some()).await;
    eventually("it is raised", async || {
        assert_eq!(gets(&reader, "a").await, None);
        list(&cluster).is_some_and(|list| list[8..12] == [0, 0, 0, 1])
    })
    .await;
    slow.resume();
    begun.await.unwrap();
    assert!(reader.engine.owes_nothing(Duration::from_secs(20)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_matches_is_never_served_again_while_the_slot_of_all_moves() {
    let cluster = Arc::new(cluster(0));
    let (is_over, source) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let ending = Ending(Arc::clone(&is_over));
    let mover = {
        let (cluster, source, is_over) = (Arc::clone(&cluster), Arc::clone(&source), Arc::clone(&is_over));
        tokio::task::spawn_blocking(move || {
            let (slot, mut moved) = (cluster.slot(LIST), 0);
            while !is_over.load(Ordering::Relaxed) {
                // Once for each sweep at most: one whose slot never stands still does not end.
                if source.load(Ordering::SeqCst) == moved {
                    std::thread::yield_now();
                    continue;
                }
                moved = source.load(Ordering::SeqCst);
                cluster.move_slot(slot, cluster.other(slot));
            }
        })
    };
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (process, source, is_over) = (process(&cluster), Arc::clone(&source), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let promised = source.load(Ordering::SeqCst);
                    let value = match process.engine.look(key("v"), want()).await {
                        Looked::Value(payload) => payload,
                        Looked::Load(lease) => {
                            let value = Payload::json(source.load(Ordering::SeqCst).to_string());
                            lease.fill(value.clone(), &storing(&[])).await;
                            value
                        }
                        other => panic!("{other:?}"),
                    };
                    let value: usize = std::str::from_utf8(&value.bytes).unwrap().parse().unwrap();
                    assert!(value + 1 >= promised, "read {value} where {promised} was invalidated");
                }
            })
        })
        .collect();
    let (writer, other) = (process(&cluster), process(&cluster));
    // What nobody asks for meanwhile: the readers put another value in the place of one that they were not given.
    let quiet: Vec<_> = (0..20).map(|n| format!("v:{n}")).collect();
    let mut kept = 0;
    for version in 1..40 {
        for name in &quiet {
            kept += usize::from(writer.engine.set(key(name), &Payload::json("1"), &storing(&[])).await);
        }
        // Who reads from here on may have this one; once the pattern is swept, none before it.
        source.store(version, Ordering::SeqCst);
        assert!(!writer.engine.invalidate_pattern(&Pattern::new("v*").unwrap()).await.queued);
        for name in &quiet {
            assert_eq!(other.engine.get(key(name)).await, None, "{name} in round {version}");
        }
    }
    assert!(kept > 400, "{kept} of 780 were there to be invalidated");
    drop(ending);
    for reader in readers {
        reader.await.unwrap();
    }
    mover.await.unwrap();
    assert_eq!(list(&cluster), None);
}

/// Says that it is over, be it by a failure.
struct Ending(Arc<AtomicBool>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
