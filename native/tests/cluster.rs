//! The shared tier over a cluster: keys on many nodes, slots that move, and nodes that go. Each engine stands for a process.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{PATIENCE, eventually};
use donjon::engine::{Engine, Lease, Looked, Tier};
use donjon::link::Options;
use donjon::payload::Payload;
use donjon::pubsub::Naming;
use donjon::runtime::Tokio;
use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::expiry::{Early, Grace, Ttl};
use donjon_core::fault::{Class, Fault};
use donjon_core::key::{Key, Namespace};
use donjon_core::lease::Filled;
use donjon_core::pattern::Pattern;
use donjon_core::remote::Storing;
use donjon_core::remote::look::Want;
use donjon_core::settings::RedisTarget;
use donjon_test_redis::{Cluster, Server};

type Process = Engine<Tokio, Arc<str>>;

fn process(cluster: &Cluster) -> Process {
    process_at(&cluster.url(), PATIENCE)
}

fn process_at(url: &str, patience: Duration) -> Process {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let seed = Seed((COUNT.fetch_add(1, Ordering::Relaxed) as u128) << 64 | 7);
    let config = Config { early: Early::OFF, ..Config::default() };
    let tier = Tier::new(Namespace::new("app").unwrap(), &config, 1 << 20, seed);
    let mut options = Options::new(RedisTarget::parse(url).unwrap());
    (options.connect_budget, options.command_budget) = (patience, patience);
    Engine::new(tier, Tokio::new(tokio::runtime::Handle::current()), options)
}

fn key(text: &str) -> Key<'_> {
    Key::new(text).unwrap()
}

fn json(text: &'static str) -> Payload {
    Payload::json(text)
}

fn storing(ttl: &str) -> Storing {
    Storing { ttl: Ttl::parse(ttl).unwrap(), grace: Grace::NONE, tags: Arc::new([]) }
}

fn tagged(tags: &[&str]) -> Storing {
    Storing { tags: tags.iter().map(|tag| Box::from(*tag)).collect(), ..storing("10m") }
}

async fn store(process: &Process, name: &str) {
    assert!(process.set(key(name), &json("1"), &storing("10m")).await, "{name} was not stored");
}

async fn has(process: &Process, name: &str) -> bool {
    process.get(key(name)).await.is_some()
}

async fn miss(process: &Process, name: &str) -> Lease<Tokio, Arc<str>> {
    let want = Want { tags: Some(Arc::new([])), ..Want::default() };
    match process.look(key(name), want).await {
        Looked::Load(lease) => lease,
        other => panic!("{name} was to be loaded, not {other:?}"),
    }
}

/// Names with a slot each, some on every node.
fn names(many: usize) -> Vec<String> {
    (0..many).map(|number| format!("k{number}")).collect()
}

/// A name whose key the server has.
fn name_at(cluster: &Cluster, server: &Server) -> String {
    let mut names = names(1_000).into_iter();
    names.find(|name| server.has(cluster.slot(&format!("app:{name}")))).expect("one of many")
}

/// How often a server answered with this error.
fn errors(server: &Server, code: &str) -> u64 {
    let count = server.info(&format!("errorstat_{code}"));
    count.and_then(|count| count.strip_prefix("count=")?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn many_keys_are_dealt_out_to_their_nodes_and_come_back_in_order() {
    let cluster = Cluster::start();
    let (one, other) = (process(&cluster), process(&cluster));
    let names = names(300);
    let keys: Vec<Key<'_>> = names.iter().map(|name| key(name)).collect();
    let items: Vec<(Key<'_>, Payload)> =
        keys.iter().map(|key| (*key, Payload::json(key.as_str().to_owned()))).collect();
    assert!(one.set_many(&items, &storing("10m")).await);
    let sizes: Vec<i64> = cluster.servers().iter().map(|server| server.ask(&["DBSIZE"]).number()).collect();
    assert!(sizes.iter().all(|size| *size > 0) && sizes.iter().sum::<i64>() == 300, "{sizes:?}");
    let found = other.get_many(&keys).await;
    assert!(found.iter().zip(&items).all(|(found, (_, stored))| found.as_ref() == Some(stored)));
    assert_eq!(other.delete_many(&keys[..200]).await.count, 200);
    assert_eq!(one.get_many(&keys).await.iter().filter(|found| found.is_some()).count(), 100);
    assert_eq!(one.topology().borrow().nodes().len(), 3);
}

#[tokio::test]
async fn tags_hold_though_their_tables_are_on_other_nodes() {
    let cluster = Cluster::start();
    let (one, other) = (process(&cluster), process(&cluster));
    let tags: Vec<String> = (0..20).map(|number| format!("tag{number}")).collect();
    for (name, tag) in names(20).iter().zip(&tags) {
        assert!(one.set(key(name), &json("1"), &tagged(&[tag, "all"])).await);
        let lease = miss(&other, &format!("l{name}")).await;
        assert_eq!(lease.fill(json("1"), &storing("10m")).await, Filled::Stored);
    }
    assert!(!other.invalidate_tags(&tags[..10]).await.unwrap().queued);
    for (number, name) in names(20).iter().enumerate() {
        assert_eq!(has(&one, name).await, number >= 10, "{name}");
    }
    assert!(!one.invalidate_tags(&["all"]).await.unwrap().queued);
    assert!(!has(&other, "k19").await);
}

#[tokio::test]
async fn a_sweep_goes_over_all_nodes_and_spares_other_namespaces() {
    let cluster = Cluster::start();
    let process = process(&cluster);
    let names = ["a:{u1}:x", "a:{u1}:y", "a:{u2}:x", "{u1}:a", "{u1}:b", "{u2}:a", "b", "c"];
    for name in names {
        store(&process, name).await;
        cluster.ask(&format!("other:{name}"), &["SET", &format!("other:{name}"), "v"]);
    }
    let sweep = async |glob: &str| process.invalidate_pattern(&Pattern::new(glob).unwrap()).await;
    assert_eq!(sweep("a:{u1}:*").await.count, 2);
    assert_eq!(sweep("{u1}:*").await.count, 2);
    assert_eq!(sweep("{u2}:a").await.count, 1);
    assert_eq!(sweep("*:x").await.count, 1);
    let removed = process.clear().await;
    assert_eq!((removed.count, removed.queued), (2, false));
    let left: i64 = cluster.servers().iter().map(|server| server.ask(&["DBSIZE"]).number()).sum();
    assert_eq!(left, 8, "those of the other namespace");
}

#[tokio::test]
async fn a_slot_that_moved_is_followed_by_all_that_is_asked() {
    let cluster = Cluster::start();
    let (one, other) = (process(&cluster), process(&cluster));
    let mut changes = one.topology();
    store(&one, "k").await;
    assert!(has(&other, "k").await);
    changes.borrow_and_update();
    let slot = cluster.slot("app:k");
    let lease = miss(&one, "{k}2").await;
    let to = cluster.other(slot);
    cluster.move_slot(slot, to);
    assert!(has(&one, "k").await && has(&other, "k").await);
    tokio::time::timeout(PATIENCE, changes.changed()).await.expect("it is told of").unwrap();
    let topology = changes.borrow().clone();
    let node = topology.node_of(b"app:k").expect("somebody has it");
    assert!(topology.nodes()[node].to_string().contains(&to.port().to_string()));
    assert_eq!(lease.fill(json("2"), &storing("10m")).await, Filled::Stored, "its lease went with its slot");
    cluster.move_slot(slot, cluster.other(slot));
    store(&one, "k").await;
    assert_eq!(other.delete(key("k")).await.count, 1);
    assert_eq!(one.increment(key("{k}n"), 2, Ttl::parse("1m").unwrap()).await, Ok(2));
    cluster.move_slot(slot, cluster.other(slot));
    assert_eq!(one.increment(key("{k}n"), 2, Ttl::parse("1m").unwrap()).await, Ok(4));
    let lease = miss(&one, "{k}3").await;
    cluster.move_slot(slot, cluster.other(slot));
    other.delete(key("{k}3")).await;
    assert_eq!(lease.fill(json("3"), &storing("10m")).await, Filled::Refused);
}

#[tokio::test]
async fn a_key_of_an_open_slot_is_asked_for_where_it_is() {
    let cluster = Cluster::start();
    let (one, other) = (process(&cluster), process(&cluster));
    for name in ["{s}stays", "{s}goes", "{s}went"] {
        store(&one, name).await;
    }
    let slot = cluster.slot("app:{s}");
    let (from, to) = (cluster.owner(slot), cluster.other(slot));
    cluster.open(slot, to);
    cluster.carry(&["app:{s}goes", "app:{s}went"], to);
    for process in [&one, &other] {
        assert!(has(process, "{s}stays").await && has(process, "{s}goes").await);
    }
    assert_eq!(one.delete(key("{s}went")).await.count, 1);
    let lease = miss(&one, "{s}new").await;
    assert_eq!(lease.fill(json("1"), &storing("10m")).await, Filled::Stored);
    assert!(one.add(key("{s}added"), &json("1"), &storing("10m")).await.unwrap());
    assert!(!other.add(key("{s}added"), &json("1"), &storing("10m")).await.unwrap());
    let found = other.get_many(&["{s}stays", "{s}went", "{s}new", "{s}added"].map(key)).await;
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, true]);
    assert!(errors(from, "ASK") > 0);
    assert_eq!(other.invalidate_pattern(&Pattern::new("{s}*").unwrap()).await.count, 4, "on both ends");
    assert!(!has(&one, "{s}goes").await && !has(&one, "{s}stays").await);
    cluster.close(slot, to);
    assert!(!has(&one, "{s}new").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_whose_slot_is_open_is_got_as_soon_as_that_is_closed() {
    let cluster = Arc::new(Cluster::start());
    let process = process(&cluster);
    let held = process.acquire("l", 60_000).await.unwrap().expect("it is free");
    assert!(process.unlock("l", &held.token).await.unwrap());
    // Its count is there and its holder is not: the one half is here, the other would be there.
    let slot = cluster.slot("app!{lock:l}");
    let (from, to) = (cluster.owner(slot).port(), cluster.other(slot).port());
    let by_port = |port: u16| cluster.servers().iter().find(|server| server.port() == port).unwrap();
    cluster.open(slot, by_port(to));
    let waiting = {
        let process = process.clone();
        tokio::spawn(async move { process.acquire("l", 60_000).await })
    };
    // Where it came from says so, or, up to Redis 6.2, where that sends it on to.
    let told = || [from, to].map(|port| errors(by_port(port), "TRYAGAIN")).iter().sum::<u64>();
    eventually("it was told to try again", async || told() > 0).await;
    cluster.close(slot, by_port(to));
    let again = waiting.await.unwrap().unwrap().expect("it is free");
    assert!(again.fence > held.fence);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_meets_every_key_while_slots_move() {
    let cluster = Arc::new(Cluster::start());
    let process = process(&cluster);
    let names = names(60);
    let is_over = Arc::new(AtomicBool::new(false));
    let mover = {
        let (cluster, is_over, names) = (Arc::clone(&cluster), Arc::clone(&is_over), names.clone());
        tokio::task::spawn_blocking(move || {
            let slots: Vec<u16> = names.iter().map(|name| cluster.slot(&format!("app:{name}"))).collect();
            for slot in slots.iter().cycle() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                cluster.move_slot(*slot, cluster.other(*slot));
            }
        })
    };
    for round in 0..10 {
        for name in &names {
            store(&process, name).await;
        }
        let removed = if round % 2 == 0 {
            process.clear().await
        } else {
            process.invalidate_pattern(&Pattern::new("k*").unwrap()).await
        };
        assert!(!removed.queued);
        for name in &names {
            assert!(!has(&process, name).await, "{name} was missed in round {round}");
        }
    }
    is_over.store(true, Ordering::Relaxed);
    mover.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_loaded_while_slots_move_is_loaded_once_and_never_stale() {
    let cluster = Arc::new(Cluster::start());
    let is_over = Arc::new(AtomicBool::new(false));
    let mover = {
        let (cluster, is_over) = (Arc::clone(&cluster), Arc::clone(&is_over));
        tokio::task::spawn_blocking(move || {
            let slot = cluster.slot("app:{h}");
            while !is_over.load(Ordering::Relaxed) {
                cluster.move_slot(slot, cluster.other(slot));
            }
        })
    };
    let source = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (process, source, is_over) = (process(&cluster), Arc::clone(&source), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let promised = source.load(Ordering::SeqCst);
                    let want = Want { tags: Some(Arc::new([])), ..Want::default() };
                    let value = match process.look(key("{h}v"), want).await {
                        Looked::Value(payload) => payload,
                        Looked::Load(lease) => {
                            let value = Payload::json(source.load(Ordering::SeqCst).to_string());
                            lease.fill(value.clone(), &storing("10m")).await;
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
    let writer = process(&cluster);
    for version in 1..200 {
        // Who reads from here on may have this one; once the key is deleted, none before it.
        source.store(version, Ordering::SeqCst);
        assert!(!writer.delete(key("{h}v")).await.queued);
    }
    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    mover.await.unwrap();
}

#[tokio::test]
async fn a_replica_that_takes_over_is_found_and_told_what_it_may_have_missed() {
    let cluster = Cluster::start_with_replicas();
    let process = process_at(&cluster.url(), Duration::from_millis(500));
    let primary = cluster.owner(cluster.slot("app:k"));
    for name in ["k", "{k}2"] {
        store(&process, name).await;
    }
    assert!(process.set(key("{k}3"), &json("1"), &tagged(&["t"])).await);
    let before = ["app:k", "app:{k}2"].map(|name| primary.ask(&["GET", name]).bytes().unwrap().to_vec());
    let replica = cluster.replica_of(&primary.id());
    assert!(!process.delete(key("k")).await.queued);
    assert!(!process.invalidate_pattern(&Pattern::new("{k}2").unwrap()).await.queued);
    primary.ask(&["WAIT", "1", "5000"]);
    primary.kill();
    eventually("another has taken over", async || replica.is_primary()).await;
    cluster.settle();
    // As if it had not heard of the last that its primary was told.
    for (name, value) in ["app:k", "app:{k}2"].into_iter().zip(&before) {
        replica.ask(&[&b"SET"[..], name.as_bytes(), value]);
    }
    eventually("there is an answer", async || {
        process.set(key("{k}9"), &json("1"), &storing("10m")).await && has(&process, "{k}9").await
    })
    .await;
    assert_eq!(
        process.get_many(&["k", "{k}2", "{k}3", "{k}9"].map(key)).await.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, false, true, true]
    );
}

#[tokio::test]
async fn a_replica_that_is_told_to_take_over_is_followed_at_once() {
    let cluster = Cluster::start_with_replicas();
    let (one, other) = (process(&cluster), process(&cluster));
    store(&one, "k").await;
    let primary = cluster.owner(cluster.slot("app:k"));
    assert!(has(&other, "k").await);
    cluster.hand_over(primary);
    assert!(has(&one, "k").await);
    assert_eq!(other.delete(key("k")).await.count, 1);
    assert!(!one.clear().await.queued);
}

#[tokio::test]
async fn while_a_node_is_away_the_others_are_read_and_what_it_is_owed_waits() {
    let settings =
        Server::builder().option("cluster-node-timeout", &["60000"]).option("cluster-require-full-coverage", &["no"]);
    let cluster = Cluster::of(&settings, 0);
    let process = process_at(&cluster.url(), Duration::from_millis(300));
    let (away, here) = (&cluster.servers()[0], &cluster.servers()[1]);
    let (gone, there) = (name_at(&cluster, away), name_at(&cluster, here));
    store(&process, &gone).await;
    store(&process, &there).await;
    away.pause();
    assert!(process.delete(key(&gone)).await.queued);
    assert_eq!(process.tier().stats().queued, 1);
    assert!(has(&process, &there).await, "this one is owed nothing");
    assert!(!has(&process, &gone).await);
    let found = process.get_many(&[key(&gone), key(&there)]).await;
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    assert!(!process.delete(key(&there)).await.queued);
    assert!(process.clear().await.queued);
    away.resume();
    eventually("nothing is owed any more", async || process.tier().stats().queued == 0).await;
    assert_eq!(away.ask(&["EXISTS", &format!("app:{gone}")]).number(), 0);
}

#[tokio::test]
async fn messages_and_locks_reach_all_nodes() {
    let cluster = Cluster::start();
    let (one, other) = (process(&cluster), process(&cluster));
    for channel in ["a", "b", "c", "d"] {
        let heard = other.subscriber().listen(&[key(channel)], Naming::Own, 9.try_into().unwrap());
        heard.ready().await.unwrap();
        one.publish(key(channel), Naming::Own, &json("1")).await.unwrap();
        let message = tokio::time::timeout(PATIENCE, heard.next()).await.expect("it comes").expect("it goes on");
        assert_eq!(message.payload, json("1"));
    }
    for lock in ["a", "b", "c", "d"] {
        let held = one.acquire(lock, 60_000).await.unwrap().expect("it is free");
        assert_eq!(other.acquire(lock, 60_000).await, Ok(None));
        assert_eq!(one.extend(lock, &held.token, 60_000).await, Ok(true));
        let freed = other.lock_may_be_free(key(lock));
        let ((), given) = tokio::join!(freed, one.unlock(lock, &held.token));
        assert_eq!(given, Ok(true));
        assert!(other.acquire(lock, 60_000).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn one_node_that_runs_is_enough_to_find_the_others() {
    let cluster = Cluster::start();
    let port = cluster.servers()[2].port();
    let process = process_at(&format!("redis+cluster://127.0.0.1:1,localhost:{port}"), PATIENCE);
    for name in names(10) {
        store(&process, &name).await;
    }
    assert_eq!(process.clear().await.count, 10);
    let heard = process.subscriber().listen(&[key("c")], Naming::Own, 9.try_into().unwrap());
    heard.ready().await.unwrap();
}

#[tokio::test]
async fn what_is_no_cluster_or_not_there_says_so_and_shows_no_password() {
    let server = Server::builder().password("hunter2").start();
    let alone = process_at(&format!("redis+cluster://:hunter2@127.0.0.1:{}", server.port()), PATIENCE);
    let fault = alone.ping().await.unwrap_err();
    assert_eq!(fault.class(), Some(Class::Config));
    assert!(fault.to_string().contains("in no cluster") && !fault.to_string().contains("hunter2"), "{fault}");
    assert!(!format!("{alone:?}").contains("hunter2"));
    let nowhere = process_at("redis+cluster://:hunter2@127.0.0.1:1,127.0.0.1:2", PATIENCE);
    assert_eq!(nowhere.ping().await, Err(Fault::Unreachable));
    assert!(!nowhere.set(key("k"), &json("1"), &storing("1m")).await);
    assert!(nowhere.delete(key("k")).await.queued && !has(&nowhere, "k").await);
    let wrong = process_at(&format!("redis+cluster://:wrong@127.0.0.1:{}", server.port()), PATIENCE);
    let fault = wrong.ping().await.unwrap_err();
    assert!(fault.to_string().contains("WRONGPASS") && !fault.to_string().contains("hunter2"), "{fault}");
    let cluster = Cluster::start();
    let plain = process_at(&cluster.servers()[0].url(), PATIENCE);
    let name = name_at(&cluster, &cluster.servers()[1]);
    let fault = plain.touch(key(&name), Ttl::parse("1m").unwrap()).await.unwrap_err();
    assert!(fault.to_string().contains("redis+cluster://"), "{fault}");
}

#[tokio::test]
async fn without_scripts_loads_and_tags_still_hold() {
    let rules = "on >p ~app:* ~app!* resetchannels &app!ch* -@all +get +mget +set +unlink +getrange +pexpire +pttl +hset +hsetnx \
                 +hmget +time +scan +watch +unwatch +multi +exec +ping +hello +auth +asking +cluster|slots +cluster|nodes";
    let cluster = Cluster::of(&Server::builder().user("app", rules), 0);
    let process = process_at(&cluster.url().replace("://", "://app:p@"), Duration::from_millis(500));
    for name in names(6) {
        let lease = miss(&process, &name).await;
        assert_eq!(lease.fill(json("1"), &storing("10m")).await, Filled::Stored);
    }
    let slot = cluster.slot("app:k0");
    let lease = miss(&process, "{k0}2").await;
    cluster.move_slot(slot, cluster.other(slot));
    assert_eq!(lease.fill(json("1"), &storing("10m")).await, Filled::Stored);
    assert_eq!(process.clear().await.count, 7);
    for server in cluster.servers() {
        server.pause();
    }
    let removed = process.invalidate_tags(&["a", "b", "c", "d"]).await.unwrap();
    assert!(removed.queued, "nobody was told");
    for server in cluster.servers() {
        server.resume();
    }
    eventually("what is owed of tags is said", async || process.tier().stats().queued == 0).await;
}
