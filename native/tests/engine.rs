//! The shared tier against a real Redis: each engine with a tier of its own stands for a process of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use donjon::engine::{Engine, Lease, Looked, Tier, WriteError};
use donjon::link::Options;
use donjon::payload::Payload;
use donjon::runtime::Tokio;
use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::expiry::{Early, Grace, Ttl};
use donjon_core::key::{Key, Namespace};
use donjon_core::lease::Filled;
use donjon_core::pattern::Pattern;
use donjon_core::remote::Storing;
use donjon_core::remote::look::Want;
use donjon_core::settings::RedisTarget;
use donjon_test_redis::Server;

type Process = Engine<Tokio, Arc<str>>;

fn process(server: &Server) -> Process {
    process_at(&server.url())
}

fn process_at(url: &str) -> Process {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let seed = Seed((COUNT.fetch_add(1, Ordering::Relaxed) as u128) << 64 | 7);
    let config = Config { early: Early::OFF, ..Config::default() };
    let tier = Tier::new(Namespace::new("app").unwrap(), &config, 1 << 20, seed);
    let options = Options::new(RedisTarget::parse(url).unwrap());
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
    Storing { tags: tags.iter().map(|tag| Box::from(*tag)).collect(), ..storing("1m") }
}

fn want() -> Want {
    Want { tags: Some(Arc::new([])), ..Want::default() }
}

async fn miss(process: &Process, name: &str) -> Lease<Tokio, Arc<str>> {
    match process.look(key(name), want()).await {
        Looked::Load(lease) => lease,
        other => panic!("{name} was to be loaded, not {other:?}"),
    }
}

async fn hit(process: &Process, name: &str) -> Payload {
    match process.look(key(name), want()).await {
        Looked::Value(payload) => payload,
        other => panic!("{name} was to be found, not {other:?}"),
    }
}

#[tokio::test]
async fn what_one_process_stores_another_reads() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    assert!(one.set(key("user:1"), &json("{}"), &storing("1m")).await);
    assert_eq!(other.get(key("user:1")).await, Some(json("{}")));
    let bytes = Payload::bytes(&b"\0\xff"[..]);
    assert!(one.set(key("raw"), &bytes, &storing("1m")).await);
    assert_eq!(other.get_many(&[key("raw"), key("none"), key("user:1")]).await, [Some(bytes), None, Some(json("{}"))]);
    assert_eq!(one.tier().stats().stores, 2);
}

#[tokio::test]
async fn a_missing_key_is_loaded_once_for_all_processes() {
    let server = Server::start();
    let processes = [process(&server), process(&server), process(&server)];
    let loads = Arc::new(AtomicUsize::new(0));
    let callers = processes.iter().flat_map(|process| (0..50).map(move |_| process.clone())).map(|process| {
        let loads = Arc::clone(&loads);
        tokio::spawn(async move {
            match process.look(key("k"), want()).await {
                Looked::Value(payload) => payload,
                Looked::Load(lease) => {
                    loads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    assert_eq!(lease.fill(json("1"), &storing("1m")).await, Filled::Stored);
                    json("1")
                }
                other => panic!("{other:?}"),
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        assert_eq!(caller.await.unwrap(), json("1"));
    }
    assert_eq!(loads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_load_that_began_before_an_invalidation_stores_nothing() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    let pattern = Pattern::new("k*").unwrap();
    for way in 0..5 {
        let lease = miss(&one, "k").await;
        match way {
            0 => drop(other.delete(key("k")).await),
            1 => drop(other.invalidate_pattern(&pattern).await),
            2 => drop(other.clear().await),
            3 => drop(server.ask(&["UNLINK", "app:k"])),
            _ => assert!(other.set(key("k"), &json("2"), &storing("1m")).await),
        }
        assert_eq!(lease.fill(json("1"), &storing("1m")).await, Filled::Refused, "way {way}");
        assert_ne!(other.get(key("k")).await, Some(json("1")));
    }
    assert_eq!(one.tier().stats().loads_refused, 5);
}

#[tokio::test]
async fn how_a_load_failed_is_an_answer_to_who_asks_for_it_and_nothing_to_all_others() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    let failures = || Want { failures: true, ..want() };
    let failure = json("\"how\"").of_failure();
    let fail = async |storing: &Storing| {
        let tags = Some(Arc::clone(&storing.tags));
        let Looked::Load(lease) = one.look(key("k"), Want { tags, ..failures() }).await else { panic!("it is there") };
        assert_eq!(lease.fill(failure.clone(), storing).await, Filled::Stored);
    };
    let asked = async || match other.look(key("k"), failures()).await {
        Looked::Value(payload) => Some(payload),
        _ => None,
    };

    fail(&tagged(&["jobs"])).await;
    assert_eq!(asked().await, Some(failure.clone()));
    assert_eq!(other.get(key("k")).await, None);
    assert_eq!(other.get_many(&[key("k")]).await, [None]);
    assert_eq!(other.peek(key("k")).await, Ok(None));
    assert_eq!(other.touch(key("k"), Ttl::FOREVER).await, Ok(false));
    other.invalidate_tags(&["jobs"]).await.unwrap();
    assert_eq!(asked().await, None);

    other.delete(key("k")).await;
    fail(&storing("1m")).await;
    assert_eq!(other.delete(key("k")).await.count, 1);
    fail(&storing("1m")).await;
    assert_eq!(other.increment(key("k"), 1, Ttl::FOREVER).await, Ok(1));
    other.delete(key("k")).await;
    fail(&storing("1m")).await;
    assert_eq!(other.add(key("k"), &json("1"), &storing("1m")).await, Ok(true));
    other.delete(key("k")).await;
    fail(&storing("1m")).await;
    let lease = miss(&other, "k").await;
    assert_eq!(lease.fill(json("2"), &storing("1m")).await, Filled::Stored, "it is loaded anew, in its place");
    assert_eq!(asked().await, Some(json("2")));
}

#[tokio::test]
async fn for_a_key_that_is_held_down_nobody_stores_what_they_load() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    assert!(one.set(key("k"), &json("1"), &storing("1m")).await);
    let begun_before = miss(&other, "new").await;
    let held = one.hold_down(&[key("k"), key("new")], Duration::from_secs(60)).await.unwrap();
    assert!(held.iter().all(Option::is_some));
    assert_eq!(begun_before.fill(json("old"), &storing("1m")).await, Filled::Refused);
    for process in [&one, &other] {
        assert_eq!(process.get(key("k")).await, None);
        assert_eq!(miss(process, "k").await.fill(json("old"), &storing("1m")).await, Filled::Refused);
    }
    let both = [(key("k"), held[0]), (key("new"), held[1])];
    assert!(!one.lift(&both).await.queued);
    assert_eq!(miss(&other, "k").await.fill(json("2"), &storing("1m")).await, Filled::Stored);
    assert!(!one.lift(&both).await.queued);
    assert_eq!(other.get(key("k")).await, None, "lifting invalidates whatever is there");
}

#[tokio::test]
async fn a_hold_down_lasts_while_anybody_may_need_it_and_no_longer_than_its_time() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    let hold = async |process: &Process, millis| {
        process.hold_down(&[key("k")], Duration::from_millis(millis)).await.unwrap()[0]
    };
    let lift = async |process: &Process, held| assert!(!process.lift(&[(key("k"), held)]).await.queued);
    let is_held = || server.ask(&["EXISTS", "app:k"]).number() == 1;

    let first = hold(&one, 60_000).await;
    let second = hold(&other, 60_000).await;
    assert!(first.is_some() && second.is_none(), "nobody knows which of two ends last");
    lift(&one, first).await;
    assert!(is_held(), "the second may need it still");
    lift(&other, second).await;
    assert!(is_held(), "the first might have");

    server.ask(&["DEL", "app:k"]);
    let alone = hold(&one, 60_000).await;
    lift(&other, None).await;
    assert!(is_held(), "who holds nothing lifts nothing");
    lift(&one, alone).await;
    assert!(!is_held());

    hold(&one, 1).await;
    while is_held() {
        tokio::task::yield_now().await;
    }
    assert_eq!(miss(&other, "k").await.fill(json("1"), &storing("1m")).await, Filled::Stored);
}

#[tokio::test]
async fn who_waits_for_what_is_owed_hears_when_it_was_said() {
    let server = Server::start();
    let one = process(&server);
    assert!(one.set(key("k"), &json("1"), &storing("1m")).await);
    assert!(one.owes_nothing(Duration::ZERO).await);
    server.pause();
    assert!(one.delete(key("k")).await.queued);
    assert!(!one.owes_nothing(Duration::from_millis(1)).await);
    let waiting = tokio::spawn({
        let one = one.clone();
        async move { one.owes_nothing(Duration::from_secs(60)).await }
    });
    server.resume();
    assert!(waiting.await.unwrap());
    assert_eq!(server.ask(&["EXISTS", "app:k"]).number(), 0);
}

#[tokio::test]
async fn who_joins_a_load_that_is_refused_looks_up_anew() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    let lease = miss(&one, "k").await;
    let joiner = tokio::spawn({
        let one = one.clone();
        async move { one.look(key("k"), want()).await }
    });
    while one.tier().stats().misses < 2 {
        tokio::task::yield_now().await;
    }
    other.delete(key("k")).await;
    assert_eq!(lease.fill(json("old"), &storing("1m")).await, Filled::Refused);
    let Looked::Load(lease) = joiner.await.unwrap() else { panic!("it was to load") };
    assert_eq!(lease.fill(json("new"), &storing("1m")).await, Filled::Stored);
    assert_eq!(hit(&one, "k").await, json("new"));
}

#[tokio::test]
async fn the_lease_of_a_load_that_fails_or_is_dropped_is_free_at_once() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    assert_eq!(miss(&one, "k").await.fail("no".into()), None);
    let lease = miss(&other, "k").await;
    drop(lease);
    let lease = miss(&one, "k").await;
    assert_eq!(lease.fill(json("1"), &storing("1m")).await, Filled::Stored);
}

#[tokio::test]
async fn a_holder_that_died_blocks_nobody_longer_than_its_lease() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    let lease = miss(&one, "k").await;
    std::mem::forget(lease);
    // The lease would be renewed: as of a process that is gone, it is not.
    server.ask(&["PEXPIRE", "app:k", "60"]);
    let lease = miss(&other, "k").await;
    assert_eq!(lease.fill(json("1"), &storing("1m")).await, Filled::Stored);
    assert_eq!(other.tier().stats().takeovers, 1);
}

#[tokio::test]
async fn a_placeholder_without_an_end_is_taken_over() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    std::mem::forget(miss(&one, "k").await);
    server.ask(&["PERSIST", "app:k"]);
    let lease = miss(&other, "k").await;
    assert_eq!(lease.fill(json("1"), &storing("1m")).await, Filled::Stored);
}

#[tokio::test]
async fn a_lease_is_renewed_while_its_load_runs() {
    let server = Server::start();
    let one = process(&server);
    let lease = miss(&one, "k").await;
    server.ask(&["PEXPIRE", "app:k", "1200"]);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(lease.fill(json("1"), &storing("1m")).await, Filled::Stored);
}

#[tokio::test]
async fn a_tag_makes_dead_what_carries_it_and_refuses_what_is_being_loaded() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    assert!(one.set(key("a"), &json("1"), &tagged(&["jobs", "users"])).await);
    assert!(one.set(key("b"), &json("1"), &tagged(&["users"])).await);
    assert_eq!(other.get(key("a")).await, Some(json("1")));
    let named = Want { tags: Some(tagged(&["jobs"]).tags), ..Want::default() };
    let Looked::Load(loading) = one.look(key("c"), named).await else { panic!("a miss") };
    assert_eq!(other.invalidate_tags(&["jobs"]).await.unwrap().count, 1);
    assert_eq!(one.get(key("a")).await, None);
    assert_eq!(one.get_many(&[key("a"), key("b")]).await, [None, Some(json("1"))]);
    assert_eq!(loading.fill(json("1"), &tagged(&["jobs"])).await, Filled::Refused);
    assert_eq!(one.get(key("c")).await, None);
    let lease = miss(&other, "a").await;
    assert_eq!(lease.fill(json("2"), &storing("1m")).await, Filled::Stored);
    assert_eq!(hit(&one, "a").await, json("2"));
}

#[tokio::test]
async fn tags_that_are_known_only_after_the_load_count_from_its_beginning() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    for (moved, filled) in [(true, Filled::Refused), (false, Filled::Stored)] {
        let Looked::Load(lease) = one.look(key("k"), Want::default()).await else { panic!("a miss") };
        if moved {
            other.invalidate_tags(&["jobs"]).await.unwrap();
        }
        assert_eq!(lease.fill(json("1"), &tagged(&["jobs"])).await, filled);
        assert_eq!(other.get(key("k")).await.is_some(), !moved);
    }
}

#[tokio::test]
async fn a_lost_table_of_tags_makes_dead_what_it_guarded() {
    let server = Server::start();
    let one = process(&server);
    assert!(one.set(key("k"), &json("1"), &tagged(&["jobs"])).await);
    for name in server.ask(&["KEYS", "app!t*"]).list() {
        server.ask(&[&b"UNLINK"[..], name.bytes().unwrap()]);
    }
    assert_eq!(one.get(key("k")).await, None);
    one.invalidate_tags(&["jobs"]).await.unwrap();
    assert_eq!(one.get(key("k")).await, None);
}

#[tokio::test]
async fn one_caller_refreshes_a_stale_value_while_the_others_are_served() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    let graced = Storing { grace: Grace::parse("1m").unwrap(), ttl: Ttl::from_millis(30.0).unwrap(), ..storing("1s") };
    assert!(one.set(key("k"), &json("old"), &graced).await);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(one.get(key("k")).await, Some(json("old")));
    let lease = miss(&one, "k").await;
    assert_eq!(lease.stale(), Some(&json("old")));
    assert_eq!(hit(&one, "k").await, json("old"));
    assert_eq!(hit(&other, "k").await, json("old"));
    assert_eq!(lease.fill(json("new"), &storing("1m")).await, Filled::Stored);
    assert_eq!(hit(&other, "k").await, json("new"));
    assert!(one.tier().stats().stale >= 2);
}

#[tokio::test]
async fn a_refresh_that_was_overtaken_by_an_invalidation_stores_nothing() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    let graced = Storing { grace: Grace::parse("1m").unwrap(), ttl: Ttl::from_millis(5.0).unwrap(), ..storing("1s") };
    assert!(one.set(key("k"), &json("old"), &graced).await);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let lease = miss(&one, "k").await;
    other.delete(key("k")).await;
    assert_eq!(lease.fill(json("newer"), &storing("1m")).await, Filled::Refused);
    assert_eq!(one.get(key("k")).await, None);
}

#[tokio::test]
async fn a_forced_refresh_loads_whatever_is_there_and_joins_only_what_began_after_it() {
    let server = Server::start();
    let one = process(&server);
    assert!(one.set(key("k"), &json("old"), &storing("1m")).await);
    let forced = || Want { since: Some(one.tier().remote().ticket()), ..want() };
    let Looked::Load(lease) = one.look(key("k"), forced()).await else { panic!("it was to load") };
    assert_eq!(hit(&one, "k").await, json("old"), "served until the new one is there");
    let second = tokio::spawn({
        let (one, want) = (one.clone(), forced());
        async move { one.look(key("k"), want).await }
    });
    while one.tier().stats().misses < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lease.fill(json("new"), &storing("1m")).await, Filled::Stored);
    let Looked::Load(lease) = second.await.unwrap() else { panic!("that load was older than this call") };
    assert_eq!(lease.fill(json("newest"), &storing("1m")).await, Filled::Stored);
    assert_eq!(hit(&one, "k").await, json("newest"));
}

#[tokio::test]
async fn a_value_that_is_too_large_is_not_kept_and_takes_the_older_one_with_it() {
    let server = Server::start();
    let one = process(&server);
    let large = Payload::bytes(vec![0; (1 << 20) + 1]);
    assert!(one.set(key("k"), &json("old"), &storing("1m")).await);
    assert!(!one.set(key("k"), &large, &storing("1m")).await);
    assert_eq!(one.get(key("k")).await, None);
    let lease = miss(&one, "k").await;
    assert_eq!(lease.fill(large, &storing("1m")).await, Filled::Passed);
    assert_eq!(server.ask(&["EXISTS", "app:k"]).number(), 0);
}

#[tokio::test]
async fn a_value_that_is_passed_on_serves_who_waits_and_is_not_stored() {
    let server = Server::start();
    let one = process(&server);
    let lease = miss(&one, "k").await;
    let waiting = {
        let one = one.clone();
        tokio::spawn(async move { hit(&one, "k").await })
    };
    while one.tier().stats().misses < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lease.pass(json("1"), &storing("1m")).await, Filled::Passed);
    assert_eq!(waiting.await.unwrap(), json("1"));
    assert_eq!(server.ask(&["EXISTS", "app:k"]).number(), 0);
    assert_eq!(one.tier().stats().too_large, 0);
}

#[tokio::test]
async fn a_value_says_what_type_it_was_made_from_to_whoever_reads_it() {
    let server = Server::start();
    let one = process(&server);
    let typed = json("1").of_type(Some(7));
    assert!(one.set(key("set"), &typed, &storing("1m")).await);
    assert_eq!(miss(&one, "loaded").await.fill(typed.clone(), &storing("1m")).await, Filled::Stored);
    let other = process(&server);
    for name in ["set", "loaded"] {
        assert_eq!(other.get(key(name)).await, Some(typed.clone()));
        assert_eq!(hit(&other, name).await, typed);
    }
}

#[tokio::test]
async fn a_sweep_counts_what_it_removes_and_stays_in_its_namespace() {
    let server = Server::start();
    let one = process(&server);
    for number in 0..2_500 {
        server.ask(&["SET", &format!("app:user:{number}:x"), "1"]);
    }
    for foreign in ["app2:user:1:x", "app!user:1:x", "xapp:user:1:x", "app:other"] {
        server.ask(&["SET", foreign, "1"]);
    }
    let removed = one.invalidate_pattern(&Pattern::new("user:*:x").unwrap()).await;
    assert_eq!((removed.count, removed.queued), (2_500, false));
    assert_eq!(one.clear().await.count, 1);
    assert_eq!(server.ask(&["DBSIZE"]).number(), 3);
}

#[tokio::test]
async fn a_deleted_key_tells_whether_it_had_a_value() {
    let server = Server::start();
    let one = process(&server);
    one.set(key("v"), &json("1"), &storing("1m")).await;
    one.increment(key("n"), 1, Ttl::parse("1m").unwrap()).await.unwrap();
    let _lease = miss(&one, "l").await;
    server.ask(&["LPUSH", "app:list", "x"]);
    assert_eq!(one.delete(key("v")).await.count, 1);
    assert_eq!(one.delete(key("n")).await.count, 1);
    assert_eq!(one.delete(key("l")).await.count, 0);
    assert_eq!(one.delete(key("none")).await.count, 0);
    assert_eq!(one.delete_many(&[key("list"), key("none")]).await.count, 0);
    assert_eq!(server.ask(&["EXISTS", "app:list"]).number(), 0);
}

#[tokio::test]
async fn a_counter_counts_exactly_and_keeps_its_time() {
    let server = Server::start();
    let one = process(&server);
    let ttl = Ttl::parse("1m").unwrap();
    let count = |by| one.increment(key("n"), by, ttl);
    assert_eq!(count(5).await, Ok(5));
    assert_eq!(count(1 << 60).await, Ok((1 << 60) + 5));
    assert_eq!(one.get(key("n")).await, Some(json("1152921504606846981")));
    server.ask(&["PEXPIRE", "app:n", "5000"]);
    assert_eq!(count(-1).await, Ok((1 << 60) + 4));
    assert!(server.ask(&["PTTL", "app:n"]).number() <= 5_000);
    one.set(key("n"), &json("9007199254740993"), &storing("1m")).await;
    assert_eq!(count(1).await, Ok(9_007_199_254_740_994));
    one.set(key("n"), &json("9223372036854775807"), &storing("1m")).await;
    assert!(matches!(count(1).await, Err(WriteError::Overflow { .. })));
    one.set(key("n"), &json("\"text\""), &storing("1m")).await;
    assert!(matches!(count(1).await, Err(WriteError::NotACounter { .. })));
    one.set(key("n"), &json("41"), &tagged(&["jobs"])).await;
    assert_eq!(count(1).await, Ok(42));
    one.set(key("n"), &json("41"), &tagged(&["jobs"])).await;
    one.invalidate_tags(&["jobs"]).await.unwrap();
    assert_eq!(count(1).await, Ok(1), "what a tag has made dead counts as none");
    std::mem::forget(miss(&one, "m").await);
    assert_eq!(one.increment(key("m"), 3, ttl).await, Ok(3), "so does a lease");
}

#[tokio::test]
async fn a_value_is_added_where_none_may_be_served() {
    let server = Server::start();
    let one = process(&server);
    let add = async |name: &'static str| one.add(key(name), &json("1"), &storing("1m")).await.unwrap();
    assert!(add("a").await);
    assert!(!add("a").await);
    std::mem::forget(miss(&one, "l").await);
    assert!(add("l").await);
    one.set(key("t"), &json("0"), &tagged(&["jobs"])).await;
    assert!(!add("t").await);
    one.invalidate_tags(&["jobs"]).await.unwrap();
    assert!(add("t").await);
    server.ask(&["SET", "app:f", "{\"of\": \"another\"}"]);
    assert!(!add("f").await);
}

#[tokio::test]
async fn a_touched_value_starts_its_time_anew_and_keeps_its_grace() {
    let server = Server::start();
    let one = process(&server);
    let graced = Storing { grace: Grace::parse("10s").unwrap(), ..storing("5s") };
    one.set(key("k"), &json("1"), &graced).await;
    assert!(one.touch(key("k"), Ttl::parse("1m").unwrap()).await.unwrap());
    let peeked = one.peek(key("k")).await.unwrap().unwrap();
    assert!((59..=60).contains(&peeked.fresh_for.unwrap().as_secs()), "{peeked:?}");
    assert!((69..=70).contains(&peeked.usable_for.unwrap().as_secs()), "{peeked:?}");
    assert!((69_000..=70_000).contains(&server.ask(&["PTTL", "app:k"]).number()));
    one.increment(key("n"), 1, Ttl::parse("5s").unwrap()).await.unwrap();
    assert!(one.touch(key("n"), Ttl::parse("1m").unwrap()).await.unwrap());
    assert!(one.peek(key("n")).await.unwrap().unwrap().fresh_for.unwrap().as_secs() >= 59);
    assert!(one.touch(key("n"), Ttl::FOREVER).await.unwrap());
    assert_eq!(server.ask(&["PTTL", "app:n"]).number(), -1);
    assert!(!one.touch(key("none"), Ttl::FOREVER).await.unwrap());
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() {
    let server = Server::start();
    let one = process(&server);
    let newer = [&[0xC1, b'D', 2, b'V'][..], &[7; 60]].concat();
    server.ask(&["SET", "app:json", "{\"of\": \"another\"}"]);
    server.ask(&[&b"SET"[..], b"app:newer", &newer]);
    server.ask(&["LPUSH", "app:list", "x"]);
    for name in ["json", "newer", "list"] {
        assert_eq!(one.get(key(name)).await, None, "{name}");
        assert_eq!(miss(&one, name).await.fill(json("1"), &storing("1m")).await, Filled::Refused, "{name}");
    }
    assert_eq!(server.ask(&["GET", "app:json"]).text(), "{\"of\": \"another\"}");
    assert_eq!(server.ask(&["GET", "app:newer"]).bytes(), Some(&newer[..]));
    assert_eq!(server.ask(&["LLEN", "app:list"]).number(), 1);
}

#[tokio::test]
async fn a_damaged_entry_is_taken_over_wherever_it_was_cut() {
    let server = Server::start();
    let one = process(&server);
    one.set(key("k"), &json("[1,2,3]"), &storing("1m")).await;
    let whole = server.ask(&["GET", "app:k"]).bytes().unwrap().to_vec();
    for length in 2..whole.len() {
        server.ask(&[&b"SET"[..], b"app:k", &whole[..length]]);
        assert_eq!(one.get(key("k")).await, None, "{length}");
        let lease = miss(&one, "k").await;
        assert_eq!(lease.fill(json("[1]"), &storing("1m")).await, Filled::Stored, "{length}");
        assert_eq!(one.get(key("k")).await, Some(json("[1]")));
    }
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = Server::start();
    let one = process(&server);
    for _ in 0..2 {
        let lease = miss(&one, "k").await;
        server.ask(&["SCRIPT", "FLUSH"]);
        assert_eq!(lease.fill(json("1"), &tagged(&[])).await, Filled::Stored);
        server.ask(&["SCRIPT", "FLUSH"]);
        one.invalidate_tags(&["jobs", "users", "other"]).await.unwrap();
        one.delete(key("k")).await;
    }
}

#[tokio::test]
async fn without_redis_loads_run_and_invalidations_are_said_before_the_next_read() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    assert!(one.set(key("k"), &json("old"), &storing("1m")).await);
    assert!(one.set(key("t"), &json("old"), &tagged(&["jobs"])).await);
    server.pause();
    assert_eq!(one.get(key("k")).await, None);
    let lease = miss(&one, "k").await;
    assert_eq!(lease.fill(json("1"), &storing("1m")).await, Filled::Refused);
    assert!(one.delete(key("k")).await.queued);
    assert!(one.invalidate_tags(&["jobs"]).await.unwrap().queued);
    assert!(one.tier().stats().queued >= 2);
    server.resume();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while one.ping().await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "it never came back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(one.get(key("k")).await, None);
    assert_eq!(one.tier().stats().queued, 0);
    assert_eq!(other.get(key("k")).await, None);
    assert_eq!(other.get(key("t")).await, None);
}

#[tokio::test]
async fn what_was_said_lately_is_said_again_to_a_server_that_may_not_have_heard_it() {
    let server = Server::start();
    let one = process(&server);
    one.delete(key("k")).await;
    one.invalidate_tags(&["jobs"]).await.unwrap();
    // As a replica that takes over and never got the deletion.
    let other = process(&server);
    assert!(other.set(key("k"), &json("revived"), &storing("1m")).await);
    let before = server.ask(&["HGET", "app!t3", "jobs"]).text().to_owned();
    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    assert_eq!(one.get(key("k")).await, None);
    assert_ne!(server.ask(&["HGET", "app!t3", "jobs"]).text(), before);
}

#[tokio::test]
async fn what_is_owed_is_said_though_nobody_reads() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    assert!(other.set(key("k"), &json("old"), &storing("1m")).await);
    server.pause();
    assert!(one.delete(key("k")).await.queued);
    server.resume();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while server.ask(&["EXISTS", "app:k"]).number() == 1 {
        assert!(tokio::time::Instant::now() < deadline, "it was never said");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_cancelled_sweep_is_finished_before_the_next_read() {
    let server = Server::start();
    let one = process(&server);
    assert!(one.set(key("k"), &json("old"), &storing("1m")).await);
    let star = Pattern::new("*").unwrap();
    {
        let mut sweep = std::pin::pin!(one.invalidate_pattern(&star));
        std::future::poll_fn(|context| {
            let _cut_short = sweep.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
    }
    assert_eq!(one.tier().stats().queued, 1);
    assert_eq!(one.get(key("k")).await, None);
    assert_eq!(one.tier().stats().queued, 0);
}

#[tokio::test]
async fn a_user_who_may_not_run_scripts_still_fills_and_is_still_refused() {
    let server = Server::builder().user("poor", "~app:* ~app!* on >secret +@all -@scripting").start();
    let url = server.url().replace("redis://", "redis://poor:secret@");
    let (one, other) = (process_at(&url), process(&server));
    let lease = miss(&one, "k").await;
    assert_eq!(lease.fill(json("1"), &storing("1m")).await, Filled::Stored);
    assert_eq!(hit(&other, "k").await, json("1"));
    assert!(server.ask(&["PTTL", "app:k"]).number() > 59_000);
    other.delete(key("k")).await;
    let lease = miss(&one, "k").await;
    other.delete(key("k")).await;
    assert_eq!(lease.fill(json("old"), &storing("1m")).await, Filled::Refused);
    drop(miss(&one, "k").await);
    let lease = miss(&other, "k").await;
    assert_eq!(lease.fill(json("2"), &storing("1m")).await, Filled::Stored);
    assert!(other.set(key("t"), &json("1"), &tagged(&["jobs"])).await);
    assert!(!one.invalidate_tags(&["jobs"]).await.unwrap().queued);
    assert_eq!(other.get(key("t")).await, None);
    assert_eq!(hit(&one, "k").await, json("2"), "and it goes on reading");
}

#[tokio::test]
async fn a_lock_has_one_holder_whose_number_is_later_than_all_before() {
    let server = Server::start();
    let (one, other) = (process(&server), process(&server));
    let held = one.acquire("ingest", 60_000).await.unwrap().unwrap();
    assert_eq!(other.acquire("ingest", 60_000).await, Ok(None));
    assert_eq!(other.unlock("ingest", &[0; 16]).await, Ok(false), "another's lock is left alone");
    assert_eq!(one.extend("ingest", &held.token, 90_000).await, Ok(true));
    assert!(server.ask(&["PTTL", "app!{lock:ingest}"]).number() > 80_000);
    assert_eq!(one.clear().await.count, 0, "a sweep frees no lock");
    assert_eq!(one.unlock("ingest", &held.token).await, Ok(true));
    assert_eq!(one.unlock("ingest", &held.token).await, Ok(false));
    let later = other.acquire("ingest", 60_000).await.unwrap().unwrap();
    assert!(later.fence > held.fence);
    server.ask(&["UNLINK", "app!{lock:ingest}"]);
    assert_eq!(other.extend("ingest", &later.token, 90_000).await, Ok(false));
}

#[tokio::test]
async fn switched_off_it_finds_and_stores_nothing_and_still_invalidates() {
    let server = Server::start();
    let one = process(&server);
    assert!(one.set(key("k"), &json("1"), &storing("1m")).await);
    one.tier().remote().switch(false);
    assert_eq!(one.get(key("k")).await, None);
    assert_eq!(miss(&one, "k").await.fill(json("2"), &storing("1m")).await, Filled::Refused);
    assert!(!one.set(key("k"), &json("3"), &storing("1m")).await);
    assert_eq!(server.ask(&["EXISTS", "app:k"]).number(), 0, "the set that was dropped invalidates its key");
}
