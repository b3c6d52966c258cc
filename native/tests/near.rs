//! Memory in front of a real Redis: each engine with memory and a tier of its own stands for a process of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use donjon::engine::{Looked, Watches};
use donjon::runtime::now;
use donjon::{Cache, Coherence, Found, Mode};
use donjon_core::expiry::Ttl;
use donjon_core::lease::Filled;
use donjon_core::near::{self, State};
use donjon_core::pattern::Pattern;
use donjon_core::remote::Storing;
use donjon_core::remote::look::Want;
use donjon_test_redis::{Direction, Proxy, Server};

mod common;

use common::near::{Process, json, key, process, process_with, reads, storing, want};
use common::{Broken, eventually};

#[tokio::test]
async fn hits_cost_the_server_nothing_and_a_change_in_any_way_is_seen() {
    let server = Server::start();
    let (one, other) = (Process::told(&server.url()).await, Process::told(&server.url()).await);
    let ways: [&[&str]; 8] = [
        &["SET", "app:k", "2"],
        &["DEL", "app:k"],
        &["UNLINK", "app:k"],
        &["PEXPIRE", "app:k", "1"],
        &["RENAME", "app:k", "elsewhere"],
        &["EVAL", "return redis.call('DEL', KEYS[1])", "1", "app:k"],
        &["FLUSHDB"],
        &["FLUSHALL"],
    ];
    for way in ways {
        other.set("k", "1").await;
        // A value of the way before may be in memory still: what another sets is seen soon, not at once.
        eventually("what was set is seen", async || one.keep("k").await == json("1")).await;
        let before = reads(&server);
        for _ in 0..100 {
            assert_eq!(one.read("k").await, Some(json("1")));
        }
        assert_eq!(reads(&server), before, "{way:?}");
        server.ask(way);
        one.gone("k", way[0]).await;
        // What has a millisecond left is told of at once.
        eventually(way[0], async || one.read("k").await != Some(json("1"))).await;
    }
    let stats = one.engine.tier().stats();
    assert!(stats.memory_hits >= 800 && stats.hits > stats.memory_hits, "{stats:?}");
}

#[tokio::test]
async fn what_another_process_invalidates_is_seen_whatever_it_is_invalidated_by() {
    let server = Server::start();
    let (one, other) = (Process::told(&server.url()).await, Process::told(&server.url()).await);
    for way in 0..5 {
        other.engine.clear().await;
        assert_eq!(one.load("user:1", "1", &["users"]).await, Filled::Stored);
        one.keep("user:1").await;
        match way {
            0 => drop(other.engine.delete(key("user:1")).await),
            1 => drop(other.engine.invalidate_pattern(&Pattern::new("user:*").unwrap()).await),
            2 => drop(other.engine.invalidate_tags(&["users"]).await.unwrap()),
            3 => drop(other.engine.clear().await),
            _ => other.set("user:1", "2").await,
        }
        one.gone("user:1", &format!("way {way}")).await;
        assert_eq!(one.read("user:1").await, (way == 4).then(|| json("2")));
    }
}

#[tokio::test]
async fn its_own_invalidations_are_seen_at_once() {
    let server = Server::start();
    let one = Process::told(&server.url()).await;
    for way in 0..7 {
        one.engine.clear().await;
        assert_eq!(one.load("user:1", "1", &["users"]).await, Filled::Stored);
        one.keep("user:1").await;
        match way {
            0 => drop(one.engine.delete(key("user:1")).await),
            1 => drop(one.engine.invalidate_pattern(&Pattern::new("user:*").unwrap()).await),
            2 => drop(one.engine.invalidate_tags(&["users"]).await.unwrap()),
            3 => drop(one.engine.clear().await),
            4 => one.set("user:1", "2").await,
            5 => assert!(one.engine.touch(key("user:1"), Ttl::parse("2m").unwrap()).await.unwrap()),
            _ => assert_eq!(one.engine.increment(key("user:1"), 1, Ttl::FOREVER).await, Ok(2)),
        }
        assert_eq!(one.near("user:1"), None, "way {way}");
    }
    server.kill();
    let lonely = process(&server.url());
    assert!(lonely.engine.delete(key("k")).await.queued, "with redis down, too");
}

/// A read on its way when Redis refuses the command: its answer comes when the invalidation has returned, or is about to.
#[tokio::test]
async fn what_it_could_not_invalidate_it_does_not_serve_from_memory_either() {
    let server = Server::builder()
        .user("app", "on >secret ~app* resetchannels &app* +@all -unlink -eval -evalsha -scan")
        .start();
    for way in 0..3 {
        let proxy = Proxy::to(server.port());
        let one = Process::told(&proxy.url().replace("redis://", "redis://app:secret@")).await;
        let name = ["user:1", "user:2", "user:3"][way];
        let other = process(&server.url().replace("redis://", "redis://donjon-test-kit:kit@"));
        assert_eq!(other.load(name, "1", &["users"]).await, Filled::Stored);
        proxy.hold(Direction::Replies);
        let invalidate = async {
            match way {
                0 => one.engine.delete(key(name)).await,
                1 => one.engine.invalidate_pattern(&Pattern::new("user:*").unwrap()).await,
                _ => one.engine.invalidate_tags(&["users"]).await.unwrap(),
            }
        };
        let read_meanwhile = async {
            tokio::task::yield_now().await;
            let read = one.engine.get(key(name));
            let release = async { proxy.release(Direction::Replies) };
            tokio::join!(read, release).0
        };
        let (removed, _old) = tokio::join!(invalidate, read_meanwhile);
        assert!(removed.queued, "way {way}");
        assert_eq!(one.near(name), None, "way {way}");
    }
}

#[tokio::test]
async fn a_value_that_was_loaded_here_is_in_memory_and_a_change_behind_the_fill_is_seen() {
    let server = Server::start();
    for watches in [Watches::Reads, Watches::Everything] {
        server.ask(&["FLUSHALL"]);
        let one = process_with(&server.url(), &near::Config::default(), watches).until(State::Tracking).await;
        for tags in [&[][..], &["users"]] {
            one.engine.delete(key("k")).await;
            let storing = storing(tags);
            let want = Want { tags: Some(Arc::clone(&storing.tags)), ..Want::default() };
            let Looked::Load(lease) = one.engine.look(key("k"), want).await else { panic!("it is not there") };
            // Its own claim is told, too, ahead of this answer. What is loaded more quickly than that is kept by the next read.
            one.engine.get(key("elsewhere")).await;
            assert_eq!(lease.fill(json("1"), &storing).await, Filled::Stored);
            if watches == Watches::Everything {
                // What a script writes is told its own connection as well, where all is told: the next read brings it.
                one.keep("k").await;
            }
            let before = reads(&server);
            assert_eq!(one.near("k"), Some(json("1")));
            assert_eq!(one.read("k").await, Some(json("1")));
            assert_eq!(reads(&server), before);
            server.ask(&["SET", "app:k", "2"]);
            one.gone("k", "a foreign write behind its own").await;
            assert_eq!(one.read("k").await, Some(json("2")));
        }
    }
}

#[tokio::test]
async fn two_processes_that_write_at_once_agree_on_what_redis_has() {
    let server = Server::start();
    let (one, other) = (Process::told(&server.url()).await, Process::told(&server.url()).await);
    for _ in 0..50 {
        tokio::join!(one.set("k", "1"), other.set("k", "2"), one.read("k"), other.read("k"));
        eventually("both have what redis has", async || {
            let there = other.engine.get(key("k")).await;
            one.read("k").await == there && other.read("k").await == there
        })
        .await;
        let there = one.engine.get(key("k")).await;
        for _ in 0..10 {
            assert_eq!((one.read("k").await, other.read("k").await), (there.clone(), there.clone()));
        }
    }
}

#[tokio::test]
async fn a_value_is_not_served_for_longer_than_redis_has_it_though_nobody_says_that_it_expired() {
    let server = Server::start();
    let (one, other) = (Process::told(&server.url()).await, Process::told(&server.url()).await);
    let short = Storing { ttl: Ttl::from_millis(400.0).unwrap(), ..storing(&[]) };
    eventually("it was in memory", async || {
        assert!(other.engine.set(key("k"), &json("1"), &short).await);
        server.ask(&["PERSIST", "app:k"]);
        one.read("k").await;
        one.near("k").is_some()
    })
    .await;
    one.gone("k", "its time was over").await;
    assert_eq!(one.read("k").await, None);
}

#[tokio::test]
async fn a_counter_is_kept_for_as_long_as_it_lives_in_redis() {
    let server = Server::start();
    let one = Process::told(&server.url()).await;
    server.ask(&["SET", "app:n", "7", "PX", "400"]);
    assert_eq!(one.keep("n").await, json("7"));
    one.gone("n", "its time was over").await;
    server.ask(&["SET", "app:n", "8"]);
    eventually("one that stays is kept by a load, too", async || {
        assert!(matches!(one.engine.look(key("n"), want()).await, Looked::Value(payload) if payload == json("8")));
        one.near("n").is_some()
    })
    .await;
    server.ask(&["INCR", "app:n"]);
    one.gone("n", "it was added to").await;
}

#[tokio::test]
async fn many_keys_read_at_once_are_kept_each_by_its_own_tags() {
    let server = Server::start();
    let (one, other) = (Process::told(&server.url()).await, Process::told(&server.url()).await);
    assert!(other.engine.set(key("a"), &json("1"), &storing(&["jobs"])).await);
    assert!(other.engine.set(key("b"), &json("2"), &storing(&["user:5"])).await);
    assert!(other.engine.set(key("n"), &json("7"), &storing(&[])).await);
    assert_eq!(other.engine.increment(key("n"), 1, Ttl::FOREVER).await, Ok(8));
    let keys = ["a", "b", "n", "none"].map(key);
    let found = one.engine.get_many(&keys).await;
    assert_eq!(found, [Some(json("1")), Some(json("2")), Some(json("8")), None]);
    for name in ["a", "b", "n"] {
        one.keep(name).await;
    }
    assert_eq!(other.engine.increment(key("n"), 1, Ttl::FOREVER).await, Ok(9));
    one.gone("n", "a counter was added to").await;
    other.engine.invalidate_tags(&["jobs"]).await.unwrap();
    one.gone("a", "its tag was invalidated").await;
    assert_eq!((one.near("b"), one.read("a").await), (Some(json("2")), None));
}

/// The connections that are told of changes, and the others, by their numbers.
fn connections(server: &Server) -> (Vec<String>, Vec<String>) {
    let listed = server.ask(&["CLIENT", "LIST"]);
    let field = |line: &str, name: &str| line.split(' ').find_map(|field| Some(field.strip_prefix(name)?.to_owned()));
    let all =
        listed.text().lines().filter(|line| field(line, "cmd=").is_some_and(|command| !command.starts_with("client")));
    let (told, others): (Vec<_>, Vec<_>) =
        all.partition(|line| field(line, "flags=").is_some_and(|flags| flags.contains('t')));
    let numbers = |lines: Vec<&str>| lines.into_iter().filter_map(|line| field(line, "id=")).collect();
    (numbers(told), numbers(others))
}

#[tokio::test]
async fn where_one_of_its_connections_is_lost_the_other_is_made_anew_too() {
    let server = Server::start();
    let one = Process::told(&server.url()).await;
    one.set("k", "1").await;
    let old = server.ask(&["GET", "app:k"]);
    let old = old.bytes().expect("it was set");
    for kills_the_told in [true, false] {
        one.engine.delete(key("k")).await;
        // As a server would have it that took over and had not heard of it.
        server.ask(&[b"SET".as_slice(), b"app:k", old]);
        one.keep("k").await;
        let (told, others) = connections(&server);
        for id in if kills_the_told { &told } else { &others } {
            server.ask(&["CLIENT", "KILL", "ID", id]);
        }
        eventually("both are others", async || {
            one.read("k").await;
            let (told_now, others_now) = connections(&server);
            let is_new =
                |now: &[String], before: &[String]| !now.is_empty() && now.iter().all(|id| !before.contains(id));
            is_new(&told_now, &told) && is_new(&others_now, &others)
        })
        .await;
        assert_eq!(one.read("k").await, None, "it was said again first");
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_takes_its_values_along() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let one = Process::told(&proxy.url()).await;
    for way in 0..3 {
        one.set("k", "1").await;
        one.keep("k").await;
        match way {
            0 => drop(server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])),
            1 => proxy.cut(),
            _ => server.restart(),
        }
        one.gone("k", &format!("way {way}")).await;
        eventually("it is told of changes again", async || one.memory.state(now()) == State::Tracking).await;
        process(&server.url()).set("k", "2").await;
        assert_eq!(one.keep("k").await, json("2"), "way {way}");
    }
}

#[tokio::test]
async fn a_server_that_is_silently_gone_is_believed_no_longer_than_the_bound_and_what_it_says_late_is_not() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let one = Process::told(&proxy.url()).await;
    one.set("k", "1").await;
    one.keep("k").await;
    // From here on nothing comes: neither that the key changed, nor a sign of life.
    proxy.hold(Direction::Replies);
    server.ask(&["SET", "app:k", "2"]);
    assert_eq!(
        one.memory.hit(key("k"), now().after(near::TRUST)),
        None,
        "nor to a process that was frozen for so long"
    );
    one.gone("k", "the bound is over").await;
    assert_eq!(one.memory.state(now()), State::Suspect);
    // Signs of life that were asked for before come with what was to be told, in whichever pieces.
    proxy.release(Direction::Replies);
    eventually("the change is seen", async || {
        let near = one.near("k");
        assert_ne!(near, Some(json("1")));
        one.read("k").await == Some(json("2"))
    })
    .await;
    server.pause();
    one.gone("k", "the server stands still").await;
    server.resume();
    process(&server.url()).set("k", "3").await;
    assert_eq!(one.keep("k").await, json("3"));
}

#[tokio::test]
async fn without_redis_values_are_served_as_stale_ones_for_as_long_as_was_allowed() {
    let server = Server::start();
    let config = near::Config { max_stale: Duration::from_secs(600), ..near::Config::default() };
    let one = process_with(&server.url(), &config, Watches::Reads).until(State::Tracking).await;
    one.set("k", "1").await;
    one.keep("k").await;
    server.kill();
    eventually("the connection is lost", async || one.memory.state(now()) == State::Suspect).await;
    assert_eq!(one.near("k"), Some(json("1")));
    assert!(one.engine.tier().stats().stale > 0);
    assert!(one.engine.delete(key("k")).await.queued);
    assert_eq!(one.near("k"), None, "but never what this process itself invalidated");
}

#[tokio::test]
async fn a_server_without_the_newer_protocol_tells_another_connection() {
    let server = Server::builder().option("rename-command", &["HELLO", ""]).start();
    let proxy = Proxy::to(server.port());
    let one = process(&proxy.url()).until(State::Fallback).await;
    for way in [&["SET", "app:k", "2"][..], &["FLUSHALL"]] {
        one.set("k", "1").await;
        one.keep("k").await;
        server.ask(way);
        one.gone("k", way[0]).await;
    }
    one.set("k", "1").await;
    one.keep("k").await;
    server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    one.gone("k", "the connection that is told was lost").await;
    let one = one.until(State::Fallback).await;
    process(&server.url()).set("k", "2").await;
    assert_eq!(one.keep("k").await, json("2"));
}

#[tokio::test]
async fn a_user_who_may_not_be_told_has_no_memory_and_reads_all_the_same() {
    let server = Server::builder().user("app", "on >secret ~app* resetchannels &app* +@all -client").start();
    let url = server.url().replace("redis://", "redis://app:secret@");
    let one = process(&url).until(State::Off).await;
    one.set("k", "1").await;
    assert_eq!((one.read("k").await, one.read("k").await), (Some(json("1")), Some(json("1"))));
    assert_eq!((one.near("k"), one.engine.tier().stats().memory_hits), (None, 0));
}

#[tokio::test]
async fn the_rights_that_the_documentation_asks_for_are_enough() {
    let page = include_str!("../../docs/redis.md");
    let least = page.lines().find_map(|line| line.strip_prefix("ACL SETUSER app ")).expect("the page has the line");
    let least = least.replace("a-long-password", "secret");
    for (more, state) in
        [("+client|tracking", State::Tracking), ("+client|tracking +client|id &__redis__:invalidate", State::Fallback)]
    {
        assert!(more.split(' ').all(|right| page.contains(&format!("`{right}`"))), "{more} is on the page");
        let builder = Server::builder().user("app", &format!("{least} {more}"));
        let builder = if state == State::Fallback { builder.option("rename-command", &["HELLO", ""]) } else { builder };
        let server = builder.start();
        let one = process(&server.url().replace("redis://", "redis://app:secret@")).until(state).await;
        one.set("k", "1").await;
        assert_eq!(one.keep("k").await, json("1"));
        assert_eq!(one.engine.tier().stats().faults, 0);
        server.ask(&["DEL", "app:k"]);
        one.gone("k", "it is told").await;
    }
}

#[tokio::test]
async fn a_connection_that_is_told_of_everything_hears_of_its_namespace_alone() {
    let server = Server::start();
    let one = process_with(&server.url(), &near::Config::default(), Watches::Everything).until(State::Tracking).await;
    let other = process(&server.url());
    assert!(other.engine.set(key("k"), &json("1"), &storing(&["jobs"])).await);
    one.keep("k").await;
    server.ask(&["SET", "ap:k", "2"]);
    server.ask(&["SET", "apple", "2"]);
    other.engine.invalidate_tags(&["jobs"]).await.unwrap();
    one.gone("k", "its tag was invalidated").await;
    other.set("k", "2").await;
    assert_eq!(one.keep("k").await, json("2"));
    server.ask(&["DEL", "app:k"]);
    one.gone("k", "a foreign delete").await;
}

#[tokio::test]
async fn a_closed_engine_believes_nothing() {
    let server = Server::start();
    let one = Process::told(&server.url()).await;
    one.set("k", "1").await;
    one.keep("k").await;
    one.engine.close(Duration::from_secs(1)).await;
    one.gone("k", "it is closed").await;
}

#[tokio::test]
async fn a_cache_answers_from_memory_unless_it_is_asked_for_more() {
    let server = Server::start();
    let cache = || Cache::redis(&server.url()).connect_timeout(common::PATIENCE).command_timeout(common::PATIENCE);
    let (near, plain) = (cache().near().build().unwrap(), cache().build().unwrap());
    near.ping().await.unwrap();
    eventually("it is told", async || near.stats().coherence == Some(Coherence::Tracking)).await;
    plain.set_many([("a", 1), ("b", 2)]).await.unwrap();
    let strong = near.in_mode(Mode::Strong);
    eventually("both are in memory", async || {
        near.get_many::<i32>(["a", "b"]).await.unwrap();
        near.explain("a").await.unwrap().tier == Some("memory")
            && near.explain("b").await.unwrap().tier == Some("memory")
    })
    .await;

    let before = reads(&server);
    for _ in 0..10 {
        assert_eq!(near.get::<i32>("a").await.unwrap(), Some(1));
        assert_eq!(near.get_many::<i32>(["a", "b"]).await.unwrap().len(), 2);
        let loaded = near.get_or_set("a", || async { Err::<i32, _>(Broken("not asked")) }).await.unwrap();
        let many = near.get_or_set_many(["a", "b"], |_| async { Err::<HashMap<String, i32>, _>(Broken("not asked")) });
        assert_eq!((loaded, many.await.unwrap().len()), (1, 2));
        assert!(matches!(near.lookup::<i32>("b").await.unwrap(), Found::Hit(2)));
    }
    assert_eq!(reads(&server), before);
    assert!(near.stats().memory_hits >= 70);
    assert_eq!(strong.get::<i32>("a").await.unwrap(), Some(1));
    assert!(matches!(strong.lookup::<i32>("b").await.unwrap(), Found::Hit(2)));
    strong.get_or_set("a", || async { Err::<i32, _>(Broken("not asked")) }).await.unwrap();
    assert_eq!(reads(&server), before + 3, "who wants it strong asks redis");

    plain.delete("a").await.unwrap();
    eventually("it is told of that", async || near.get::<i32>("a").await.unwrap().is_none()).await;
    let explained = near.explain("a").await.unwrap();
    assert_eq!((explained.tier, explained.coherence), (None, Some("tracking")));
    assert!(explained.last_push.is_some() && !explained.is_redis_left_alone);
    assert_eq!(near.get_or_set("a", || async { Ok::<_, Broken>(3) }).await.unwrap(), 3);
    assert_eq!(near.get_or_set("a", || async { Ok::<_, Broken>(4) }).force_refresh().await.unwrap(), 4);
    assert_eq!(near.get::<i32>("a").await.unwrap(), Some(4), "what was loaded anew is what it has");
    near.set_enabled(false);
    assert_eq!(near.get::<i32>("a").await.unwrap(), None);
    near.close().await;
}
