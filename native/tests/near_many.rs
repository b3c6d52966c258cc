//! Memory in front of many servers: a cluster whose slots move and whose nodes go, and a primary that sentinels replace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use donjon::engine::{Looked, Watches};
use donjon::payload::Payload;
use donjon::runtime::now;
use donjon::{Cache, Coherence};
use donjon_core::expiry::Ttl;
use donjon_core::key::Namespace;
use donjon_core::lease::Filled;
use donjon_core::near::{self, State};
use donjon_core::pattern::Pattern;
use donjon_core::remote::look::Want;
use donjon_core::remote::name::Names;
use donjon_test_redis::{Cluster, Sentinels, Server};

mod common;

use common::near::{Process, json, key, process, process_with, reads, storing, want};
use common::{PATIENCE, eventually};

/// A name whose key the server has.
fn name_at(cluster: &Cluster, server: &Server) -> String {
    let mut names = (0..1_000).map(|number| format!("k{number}"));
    names.find(|name| server.has(cluster.slot(&format!("app:{name}")))).expect("one of many")
}

/// A tag whose table the server has.
fn tag_at(cluster: &Cluster, server: &Server) -> String {
    let mut tags = (0..1_000).map(|number| format!("tag{number}"));
    tags.find(|tag| server.has(cluster.slot(&table(tag)))).expect("one of many")
}

/// What the table of a tag is called in Redis.
fn table(tag: &str) -> String {
    let names = Names::new(Namespace::new("app").expect("it is one"));
    String::from_utf8(names.table_of(tag)).expect("it is text")
}

fn all_reads(cluster: &Cluster) -> u64 {
    cluster.servers().iter().map(reads).sum()
}

/// The ids of the connections that are told of changes.
fn the_told(server: &Server) -> Vec<String> {
    let listed = server.ask(&["CLIENT", "LIST"]);
    let field = |line: &str, name: &str| line.split(' ').find_map(|field| Some(field.strip_prefix(name)?.to_owned()));
    let told = listed.text().lines().filter(|line| field(line, "flags=").is_some_and(|flags| flags.contains('t')));
    told.map(|line| field(line, "id=").expect("it has one")).collect()
}

/// Ends the connections that are told of changes.
fn cut_the_told(server: &Server) {
    for id in the_told(server) {
        server.ask(&["CLIENT", "KILL", "ID", &id]);
    }
}

#[tokio::test]
async fn hits_cost_no_node_anything_and_a_change_in_any_way_is_seen() {
    let cluster = Cluster::start();
    let (one, other) = (Process::told(&cluster.url()).await, Process::told(&cluster.url()).await);
    let names: Vec<String> = cluster.servers().iter().map(|server| name_at(&cluster, server)).collect();
    let ways: [&[&str]; 5] =
        [&["SET", "", "2"], &["UNLINK", ""], &["PEXPIRE", "", "1"], &["GETDEL", ""], &["FLUSHALL"]];
    for way in ways {
        for name in &names {
            other.set(name, "1").await;
            eventually("what was set is seen", async || one.keep(name).await == json("1")).await;
        }
        let before = all_reads(&cluster);
        for _ in 0..50 {
            for name in &names {
                assert_eq!(one.read(name).await, Some(json("1")));
            }
        }
        assert_eq!(all_reads(&cluster), before, "{way:?}");
        for name in &names {
            let stored = format!("app:{name}");
            let words: Vec<&str> = way.iter().map(|word| if word.is_empty() { &stored } else { *word }).collect();
            cluster.ask(&stored, &words);
            one.gone(name, way[0]).await;
            // What has a millisecond left is told of at once.
            eventually(way[0], async || one.read(name).await != Some(json("1"))).await;
        }
    }
    for way in 0..4 {
        for name in &names {
            other.engine.delete(key(name)).await;
            assert_eq!(one.load(name, "1", &["jobs"]).await, Filled::Stored);
            one.keep(name).await;
        }
        match way {
            0 => drop(other.engine.delete_many(&names.iter().map(|name| key(name)).collect::<Vec<_>>()).await),
            1 => drop(other.engine.invalidate_pattern(&Pattern::new("k*").unwrap()).await),
            2 => drop(other.engine.invalidate_tags(&["jobs"]).await.unwrap()),
            _ => drop(one.engine.clear().await),
        }
        for name in &names {
            assert!(way < 3 || one.near(name).is_none(), "its own is seen at once");
            one.gone(name, &format!("way {way}")).await;
            assert_eq!(one.read(name).await, None);
        }
    }
}

#[tokio::test]
async fn many_keys_loads_and_counters_are_kept_be_they_on_whichever_nodes() {
    let cluster = Cluster::start();
    for watches in [Watches::Reads, Watches::Everything] {
        let one = process_with(&cluster.url(), &near::Config::default(), watches).until(State::Tracking).await;
        let other = process(&cluster.url());
        other.engine.clear().await;
        let names: Vec<String> = (0..12).map(|number| format!("k{number}")).collect();
        for (number, name) in names.iter().enumerate() {
            let tags: &[&str] = [&[][..], &["jobs"], &["jobs", "user:5", "tag1", "tag2"]][number % 3];
            assert!(other.engine.set(key(name), &json("1"), &storing(tags)).await);
        }
        assert_eq!(other.engine.increment(key("n"), 7, Ttl::FOREVER).await, Ok(7));
        let keys: Vec<_> = names.iter().map(|name| key(name)).chain([key("n"), key("none")]).collect();
        eventually("all are in memory", async || {
            let found = one.engine.get_many(&keys).await;
            assert_eq!(found.iter().filter(|found| found.is_some()).count(), 13);
            keys[..13].iter().all(|key| one.memory.hit(*key, now()).is_some())
        })
        .await;
        assert_eq!(one.near("n"), Some(json("7")));
        other.engine.invalidate_tags(&["user:5"]).await.unwrap();
        for name in names.iter().skip(2).step_by(3) {
            one.gone(name, "one of its tags was invalidated").await;
        }
        assert_eq!((one.near("k0"), one.near("k1")), (Some(json("1")), Some(json("1"))));
        // What is loaded here is there at once, its tags being on other nodes or not.
        let storing = storing(&["tag1", "tag2"]);
        let Looked::Load(lease) = one.engine.look(key("fresh"), want()).await else { panic!("it is not there") };
        one.engine.get(key("{fresh}")).await;
        assert_eq!(lease.fill(json("1"), &storing).await, Filled::Refused, "its tags were not noted");
        let noted = Want { tags: Some(Arc::clone(&storing.tags)), ..want() };
        let Looked::Load(lease) = one.engine.look(key("fresh"), noted).await else { panic!("it is not there") };
        // Its own claim is told, too, ahead of the answer to this.
        one.engine.get(key("{fresh}")).await;
        assert_eq!(lease.fill(json("1"), &storing).await, Filled::Stored);
        if watches == Watches::Reads {
            assert_eq!(one.near("fresh"), Some(json("1")));
        }
        one.keep("fresh").await;
        cluster.ask("app:fresh", &["SET", "app:fresh", "2"]);
        one.gone("fresh", "a foreign write behind its own").await;
        other.engine.clear().await;
    }
}

#[tokio::test]
async fn a_node_that_is_lost_takes_along_what_rests_on_its_word_and_nothing_else() {
    let cluster = Cluster::start();
    let one = Process::told(&cluster.url()).await;
    let [here, there] = [0, 1].map(|number| &cluster.servers()[number]);
    let (near, far, tag) = (name_at(&cluster, here), name_at(&cluster, there), tag_at(&cluster, there));
    let tagged = format!("{{app:{near}}}tagged");
    assert!(one.engine.set(key(&tagged), &json("1"), &storing(&[&tag])).await);
    for way in 0..3 {
        one.set(&near, "1").await;
        one.set(&far, "1").await;
        for name in [&near, &far, &tagged] {
            one.keep(name).await;
        }
        match way {
            0 => cut_the_told(there),
            1 => drop(there.ask(&["FLUSHALL"])),
            _ => there.pause(),
        }
        one.gone(&far, "its node was lost").await;
        one.gone(&tagged, "the node of its tag was lost").await;
        assert_eq!(one.near(&near), Some(json("1")), "way {way}");
        if way == 1 {
            assert!(one.engine.set(key(&tagged), &json("1"), &storing(&[&tag])).await);
        }
    }
    there.resume();
    let other = process(&cluster.url());
    other.set(&far, "2").await;
    // What it had before is believed again until it is told.
    eventually("memory has what another wrote", async || {
        one.read(&far).await;
        one.near(&far) == Some(json("2"))
    })
    .await;
}

#[tokio::test]
async fn a_slot_that_moved_is_read_from_where_it_is_and_its_changes_are_told() {
    let cluster = Cluster::start();
    let (one, other) = (Process::told(&cluster.url()).await, process(&cluster.url()));
    other.set("k", "1").await;
    assert!(other.engine.set(key("tagged"), &json("1"), &storing(&["jobs"])).await);
    let table = table("jobs");
    for round in 0..4 {
        assert_eq!(one.keep("k").await, json("1"));
        one.keep("tagged").await;
        // The key's own slot, and that of the table of its tag.
        let (name, kept) = if round % 2 == 0 { ("app:k", "k") } else { (table.as_str(), "tagged") };
        let slot = cluster.slot(name);
        cluster.move_slot(slot, cluster.other(slot));
        one.gone(kept, "it moved").await;
        one.keep(kept).await;
        if round == 3 {
            other.engine.invalidate_tags(&["jobs"]).await.unwrap();
        } else if round == 2 {
            cluster.ask("app:k", &["SET", "app:k", "2"]);
        } else {
            continue;
        }
        one.gone(kept, "its new node tells").await;
        other.set("k", "1").await;
        eventually("it is seen", async || one.keep("k").await == json("1")).await;
    }
}

#[tokio::test]
async fn what_was_answered_where_nobody_is_told_of_changes_is_not_kept() {
    let cluster = Cluster::start();
    let one = Process::told(&cluster.url()).await;
    for name in ["{s}stays", "{s}went"] {
        one.set(name, "1").await;
        one.keep(name).await;
    }
    let slot = cluster.slot("app:{s}");
    let to = cluster.other(slot);
    cluster.open(slot, to);
    cluster.carry(&["app:{s}went"], to);
    one.gone("{s}went", "it went").await;
    for _ in 0..3 {
        assert_eq!(one.engine.get(key("{s}went")).await, Some(json("1")), "by way of who had it");
        assert_eq!(one.engine.get_many(&["{s}went", "{s}stays"].map(key)).await, [Some(json("1")), Some(json("1"))]);
        assert_eq!(one.near("{s}went"), None);
    }
    assert_eq!(one.keep("{s}stays").await, json("1"), "those that have not gone are told of");
    cluster.close(slot, to);
    one.gone("{s}stays", "it went as well").await;
    for name in ["{s}stays", "{s}went"] {
        assert_eq!(one.keep(name).await, json("1"));
    }
}

#[tokio::test]
async fn what_is_owed_to_a_node_is_neither_read_there_nor_kept_and_the_rest_is() {
    let rules = "on >secret ~app* resetchannels &app* +@all -unlink -eval -evalsha";
    let cluster = Cluster::of(&Server::builder().user("app", rules), 0);
    let one = Process::told(&cluster.url().replace("://", "://app:secret@")).await;
    for name in ["k", "other"] {
        one.set(name, "1").await;
        one.keep(name).await;
    }
    assert!(one.engine.delete(key("k")).await.queued, "this user may not say it");
    for _ in 0..3 {
        assert_eq!((one.engine.get(key("k")).await, one.near("k")), (None, None));
    }
    let found = one.engine.get_many(&["k", "other"].map(key)).await;
    assert_eq!(found, [None, Some(json("1"))]);
    one.set("other", "2").await;
    assert_eq!(one.keep("other").await, json("2"), "nothing of this one is owed");
}

#[tokio::test]
async fn once_a_slot_is_known_to_be_elsewhere_nothing_that_its_former_node_said_is_believed() {
    let cluster = Cluster::start();
    let one = Process::told(&cluster.url()).await;
    one.set("{k}1", "1").await;
    one.keep("{k}1").await;
    // Taken by force: the keys are thrown away, and nobody is told.
    let slot = cluster.slot("app:{k}1");
    let (from, to) = (cluster.owner(slot), cluster.other(slot));
    for (state, of) in [("IMPORTING", from), ("NODE", to)] {
        to.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), state, &of.id()]);
    }
    cluster.settle();
    assert_eq!(one.engine.get(key("{k}2")).await, None, "this one is redirected");
    assert_eq!((one.near("{k}1"), one.read("{k}1").await), (None, None));
    one.set("{k}1", "2").await;
    assert_eq!(one.keep("{k}1").await, json("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_slots_move_memory_is_late_by_no_more_than_its_bound_and_never_for_its_own() {
    let cluster = Arc::new(Cluster::start());
    let is_over = Arc::new(AtomicBool::new(false));
    let mover = {
        let (cluster, is_over) = (Arc::clone(&cluster), Arc::clone(&is_over));
        tokio::task::spawn_blocking(move || {
            let slots = ["app:{h}", "app!t3"].map(|name| cluster.slot(name));
            for slot in slots.iter().cycle() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                cluster.move_slot(*slot, cluster.other(*slot));
            }
        })
    };
    let source = Arc::new(AtomicUsize::new(0));
    // When each version was promised.
    let promised = Arc::new(parking_lot::Mutex::new(vec![now()]));
    let read = async |process: &Process, name: &str, tags: &[&str]| -> usize {
        let value = if let Some(payload) = process.near(name) {
            payload
        } else {
            let storing = storing(tags);
            let wants = Want { tags: Some(Arc::clone(&storing.tags)), ..want() };
            match process.engine.look(key(name), wants).await {
                Looked::Value(payload) => payload,
                Looked::Load(lease) => {
                    let value = Payload::json(source.load(Ordering::SeqCst).to_string());
                    lease.fill(value.clone(), &storing).await;
                    value
                }
                other => panic!("{other:?}"),
            }
        };
        std::str::from_utf8(&value.bytes).unwrap().parse().unwrap()
    };
    let cases: [(&str, &[&str]); 2] = [("{h}v", &[]), ("{h}t", &["jobs"])];
    let (reader, writer) = (Process::told(&cluster.url()).await, Process::told(&cluster.url()).await);
    let reading = async {
        while !is_over.load(Ordering::Relaxed) {
            for (name, tags) in cases {
                let began = now();
                let value = read(&reader, name, tags).await;
                let overdue = promised.lock().get(value + 1).is_some_and(|at| began - *at >= near::TRUST);
                assert!(!overdue, "read {value} of {name}, long after it was invalidated");
                tokio::task::yield_now().await;
            }
        }
    };
    let writing = async {
        for version in 1..100 {
            source.store(version, Ordering::SeqCst);
            for (name, tags) in cases {
                let removed = if tags.is_empty() {
                    writer.engine.delete(key(name)).await
                } else {
                    writer.engine.invalidate_tags(tags).await.unwrap()
                };
                assert!(!removed.queued);
                assert!(read(&writer, name, tags).await >= version, "{name} was its own to invalidate");
            }
            promised.lock().push(now());
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(reading, writing);
    mover.await.unwrap();
    for (name, tags) in cases {
        eventually("all has been told", async || read(&reader, name, tags).await == 99).await;
    }
    assert!(reader.engine.tier().stats().memory_hits > 0);
}

#[tokio::test]
async fn a_primary_that_another_took_over_from_is_believed_no_more_though_it_lives_and_answers() {
    let cluster = Cluster::start_with_replicas();
    let (one, other) = (Process::told(&cluster.url()).await, process(&cluster.url()));
    other.set("k", "1").await;
    one.keep("k").await;
    cluster.hand_over(cluster.owner(cluster.slot("app:k")));
    // Nobody asks anything: it finds out by itself.
    one.gone("k", "its node is no primary any more").await;
    cluster.settle();
    assert_eq!(one.keep("k").await, json("1"), "the new one is read, and tells");
    cluster.ask("app:k", &["SET", "app:k", "2"]);
    one.gone("k", "a foreign change at the new one").await;
    assert_eq!(one.keep("k").await, json("2"));
}

#[tokio::test]
async fn a_primary_that_is_killed_is_followed_and_its_own_invalidations_hold() {
    let cluster = Cluster::start_with_replicas();
    let one = Process::told(&cluster.url()).await;
    let primary = cluster.owner(cluster.slot("app:k"));
    for name in ["k", "{k}own"] {
        one.set(name, "1").await;
        one.keep(name).await;
    }
    let replica = cluster.replica_of(&primary.id());
    let old = primary.ask(&["GET", "app:{k}own"]).bytes().unwrap().to_vec();
    assert!(!one.engine.delete(key("{k}own")).await.queued);
    primary.ask(&["WAIT", "1", "5000"]);
    primary.kill();
    one.gone("k", "its node was lost").await;
    eventually("another has taken over", async || replica.is_primary()).await;
    cluster.settle();
    // As if it had not heard of the last that its primary was told.
    replica.ask(&[&b"SET"[..], b"app:{k}own", &old]);
    eventually("it is read again, and tells", async || {
        one.read("k").await;
        one.near("k").is_some()
    })
    .await;
    assert_eq!((one.near("{k}own"), one.read("{k}own").await), (None, None), "it was said again first");
    replica.ask(&["SET", "app:k", "2"]);
    one.gone("k", "a foreign change at the new one").await;
    assert_eq!(one.read("k").await, Some(json("2")));
}

#[tokio::test]
async fn the_rights_that_the_documentation_asks_for_are_enough_on_a_cluster() {
    let page = include_str!("../../docs/redis.md");
    let least = page.lines().find_map(|line| line.strip_prefix("ACL SETUSER app ")).expect("the page has the line");
    let least = least.replace("a-long-password", "secret");
    for more in ["+asking +cluster|slots +cluster|nodes", "+client|tracking"] {
        assert!(page.contains(&format!("`{more}`")), "{more} is on the page");
    }
    let rules = format!("{least} +asking +cluster|slots +cluster|nodes +client|tracking");
    let cluster = Cluster::of(&Server::builder().user("app", &rules), 0);
    let cache = Cache::redis(&cluster.url().replace("://", "://app:secret@")).near();
    let cache = cache.connect_timeout(PATIENCE).command_timeout(PATIENCE).build().unwrap();
    cache.ping().await.unwrap();
    eventually("it is told", async || cache.stats().coherence == Some(Coherence::Tracking)).await;
    cache.set("k", &1).tags(["jobs"]).await.unwrap();
    eventually("it is in memory", async || {
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
        cache.explain("k").await.unwrap().tier == Some("memory")
    })
    .await;
    assert_eq!(cache.stats().faults, 0);
    cluster.ask("app:k", &["UNLINK", "app:k"]);
    eventually("it is told", async || cache.get::<i32>("k").await.unwrap().is_none()).await;
}

#[tokio::test]
async fn a_primary_that_sentinels_replace_is_followed_and_believed_in_nothing_that_it_said() {
    let watched = Sentinels::start();
    let one = Process::told(&watched.url()).await;
    for name in ["k", "own"] {
        one.set(name, "1").await;
        one.keep(name).await;
    }
    let former = watched.primary();
    former.ask(&["WAIT", "2", "5000"]);
    for replica in &watched.servers()[1..] {
        replica.pause();
    }
    assert!(!one.engine.delete(key("own")).await.queued);
    former.kill();
    // At once: sentinels that find no replica awake do not try again for minutes.
    for replica in &watched.servers()[1..] {
        replica.resume();
    }
    one.gone("k", "its server was lost").await;
    watched.wait_for_another(former);
    let next = watched.primary();
    next.ask(&["SET", "app:k", "2"]);
    eventually("the next one is read, and tells", async || {
        let read = one.read("k").await;
        assert_ne!(read, Some(json("1")));
        one.near("k") == Some(json("2"))
    })
    .await;
    assert_eq!((one.near("own"), one.read("own").await), (None, None), "its replica never heard of it from the first");
    next.ask(&["SET", "app:k", "3"]);
    one.gone("k", "a foreign change at the next one").await;
    assert_eq!(one.keep("k").await, json("3"));
    assert_eq!(one.memory.state(now()), State::Tracking);
}

#[tokio::test]
async fn without_any_node_values_are_served_as_stale_ones_for_as_long_as_was_allowed() {
    let cluster = Cluster::start();
    let config = near::Config { max_stale: Duration::from_secs(600), ..near::Config::default() };
    let one = process_with(&cluster.url(), &config, Watches::Reads).until(State::Tracking).await;
    let [first, second] = [0, 1].map(|number| name_at(&cluster, &cluster.servers()[number]));
    for name in [&first, &second] {
        one.set(name, "1").await;
        one.keep(name).await;
    }
    cluster.servers()[0].kill();
    one.gone(&first, "while others can be asked").await;
    for server in &cluster.servers()[1..] {
        server.kill();
    }
    eventually("no connection is left", async || one.memory.state(now()) == State::Suspect).await;
    assert_eq!((one.near(&first), one.near(&second)), (Some(json("1")), Some(json("1"))));
    assert!(one.engine.delete(key(&first)).await.queued);
    assert_eq!(one.near(&first), None, "but never what this process itself invalidated");
}

#[tokio::test]
async fn a_namespace_in_braces_is_on_one_node_which_tells_of_it_wherever_it_moves() {
    let cluster = Cluster::start();
    let made = |cache: donjon::Builder| {
        cache.namespace("{shop}").connect_timeout(PATIENCE).command_timeout(PATIENCE).build().unwrap()
    };
    let (one, other) = (made(Cache::redis(&cluster.url()).near()), made(Cache::redis(&cluster.url())));
    let is_in_memory = async |name: &str| one.explain(name).await.unwrap().tier == Some("memory");
    let slot = cluster.slot("{shop}:k0");
    for _ in 0..2 {
        let home = cluster.owner(slot);
        for number in 0..20 {
            other.set(&format!("k{number}"), &number).tags(["jobs"]).await.unwrap();
        }
        for server in cluster.servers() {
            assert_eq!(server.ask(&["DBSIZE"]).number() > 0, server.id() == home.id());
        }
        for number in 0..20 {
            let name = format!("k{number}");
            eventually("it is in memory", async || {
                assert_eq!(one.get::<i32>(&name).await.unwrap(), Some(number));
                is_in_memory(&name).await
            })
            .await;
        }
        assert_eq!(one.stats().coherence, Some(Coherence::Tracking));
        eventually("it alone is asked to tell", async || {
            cluster.servers().iter().all(|server| the_told(server).is_empty() == (server.id() != home.id()))
        })
        .await;
        other.invalidate_pattern("k1*").await.unwrap();
        eventually("the pattern is told", async || one.get::<i32>("k1").await.unwrap().is_none()).await;
        assert_eq!(one.get::<i32>("k2").await.unwrap(), Some(2));
        other.invalidate_tags(["jobs"]).await.unwrap();
        eventually("the tag is told", async || one.get::<i32>("k2").await.unwrap().is_none()).await;
        assert!(other.lock("l", PATIENCE).await.unwrap().fence() > 0);
        assert_eq!(other.clear().await.unwrap().count, 9);
        let to = cluster.other(slot);
        cluster.move_slot(slot, to);
        eventually("it is followed", async || {
            other.get::<i32>("k0").await.is_ok() && cluster.owner(slot).id() == to.id()
        })
        .await;
    }
    assert_eq!((one.stats().faults, other.stats().faults), (0, 0));
}
