//! What goes wrong with a Redis, and what becomes of values and invalidations then. Each engine stands for a process of its own.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use donjon::engine::{Engine, Lease, Looked, Tier, WriteError};
use donjon::link::Options;
use donjon::payload::Payload;
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
use donjon_test_redis::{Answer, Direction, Proxy, Rogue, Server};

type Process = Engine<Tokio, Arc<str>>;

#[tokio::test]
async fn a_restart_keeps_what_is_on_disk_and_nobody_sees_an_error() {
    let server = Server::builder().append_only().start();
    let one = process(&server.url());
    assert!(one.set(key("k"), &json("1"), &storing(&[])).await);
    assert!(one.set(key("t"), &json("1"), &storing(&["jobs"])).await);
    server.kill();
    assert_eq!(miss(&one, "k").await.fill(json("alone"), &storing(&[])).await, Filled::Refused);
    assert!(one.delete(key("t")).await.queued);
    server.restart();
    until_back(&one).await;

    assert_eq!(one.get(key("k")).await, Some(json("1")));
    assert_eq!(one.get(key("t")).await, None);
    assert_eq!(one.tier().stats().queued, 0);
}

#[tokio::test]
async fn a_server_that_forgot_everything_is_filled_anew() {
    for flush in [false, true] {
        let server = Server::start();
        let (one, other) = (process(&server.url()), process(&server.url()));
        assert!(one.set(key("k"), &json("1"), &storing(&["jobs"])).await);
        let late = miss(&one, "late").await;
        if flush {
            server.ask(&["FLUSHALL"]);
        } else {
            server.restart();
            until_back(&one).await;
            until_back(&other).await;
        }

        assert_eq!(late.fill(json("old"), &storing(&[])).await, Filled::Refused, "flush {flush}");
        assert_eq!(one.get(key("k")).await, None);
        let tagged = Want { tags: Some(Arc::new(["jobs".into()])), ..Want::default() };
        let Looked::Load(lease) = other.look(key("k"), tagged).await else { panic!("k was to be loaded") };
        assert_eq!(lease.fill(json("2"), &storing(&["jobs"])).await, Filled::Stored);
        assert_eq!(hit(&one, "k").await, json("2"));
        one.invalidate_tags(&["jobs"]).await.expect("a tag");
        assert_eq!(other.get(key("k")).await, None);
    }
}

#[tokio::test]
async fn what_a_new_primary_may_have_lost_is_said_again_before_the_next_read() {
    let server = Server::start();
    let one = process(&server.url());
    for (name, tags) in [("k", &[][..]), ("t", &["jobs"][..]), ("p:1", &[][..])] {
        assert!(one.set(key(name), &json("old"), &storing(tags)).await);
    }
    let before: Vec<_> = server.ask(&["KEYS", "app*"]).list().iter().map(|name| name.text().to_owned()).collect();
    let before: Vec<_> = before.into_iter().map(|name| (server.ask(&["DUMP", &name]), name)).collect();
    assert!(!one.delete(key("k")).await.queued);
    assert!(!one.invalidate_tags(&["jobs"]).await.expect("a tag").queued);
    assert!(!one.invalidate_pattern(&Pattern::new("p:*").expect("a pattern")).await.queued);

    for (dump, name) in &before {
        let bytes = dump.bytes().expect("it was there");
        server.ask(&[b"RESTORE".as_slice(), name.as_bytes(), b"60000", bytes, b"REPLACE"]);
    }
    server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);

    for name in ["k", "t", "p:1"] {
        assert_eq!(one.get(key(name)).await, None, "{name}");
    }
}

#[tokio::test]
async fn at_a_server_that_takes_no_writes_reads_go_on_and_invalidations_wait() {
    let (server, successor) = (Server::start(), Server::start());
    let one = process(&server.url());
    assert!(one.set(key("k"), &json("1"), &storing(&[])).await);
    successor.replica_of(&server);
    successor.promote();
    server.replica_of(&successor);

    assert_eq!(hit(&one, "k").await, json("1"));
    assert_eq!(miss(&one, "other").await.fill(json("alone"), &storing(&[])).await, Filled::Refused);
    assert!(!one.set(key("k"), &json("2"), &storing(&[])).await);
    assert!(one.tier().stats().queued > 0);
    server.promote();
    until_back(&one).await;
    assert_eq!(one.get(key("k")).await, None, "what was not stored has made the older value invalid");
    assert_eq!(one.tier().stats().queued, 0);
}

#[tokio::test]
async fn a_full_server_loses_the_older_value_and_nothing_else() {
    let server = Server::builder().memory(3 << 20, "noeviction").start();
    let one = process(&server.url());
    for name in ["k", "other", "n"] {
        assert!(one.set(key(name), &json("1"), &storing(&[])).await);
    }
    let mut foreign = server.client();
    while foreign.call(&["APPEND".to_owned(), "bulk".to_owned(), "x".repeat(20_000)]).is_ok() {}

    assert!(!one.set(key("k"), &json("2"), &storing(&[])).await);
    assert_eq!(server.ask(&["EXISTS", "app:k"]).number(), 0, "an old value must not outlive the set that replaces it");
    assert_eq!(one.tier().stats().queued, 0);
    assert_eq!(hit(&one, "other").await, json("1"));
    assert_eq!(one.delete(key("other")).await.count, 1);
    assert_eq!(miss(&one, "k").await.fill(json("alone"), &storing(&[])).await, Filled::Refused);
    assert!(matches!(
        one.add(key("k"), &json("1"), &storing(&[])).await,
        Err(Fault::Server { class: Class::Full, .. })
    ));
    server.ask(&["DEL", "bulk"]);
    assert_eq!(miss(&one, "k").await.fill(json("3"), &storing(&[])).await, Filled::Stored);
}

#[tokio::test]
async fn a_list_under_our_name_is_counted_and_left_alone_until_somebody_means_it() {
    let server = Server::start();
    let one = process(&server.url());
    let ttl = Ttl::parse("1m").expect("a time to live");
    server.ask(&["RPUSH", "app:k", "foreign"]);

    assert_eq!(one.get(key("k")).await, None);
    assert_eq!(miss(&one, "k").await.fill(json("1"), &storing(&[])).await, Filled::Refused);
    assert!(one.add(key("k"), &json("1"), &storing(&[])).await.is_err());
    assert!(matches!(one.increment(key("k"), 1, ttl).await, Err(WriteError::Fault(_))));
    assert_eq!(one.touch(key("k"), ttl).await, Ok(false));
    assert_eq!(one.peek(key("k")).await, Ok(None));
    let stats = one.tier().stats();
    assert!(stats.faults + stats.foreign >= 1, "{stats:?}");
    assert_eq!(server.ask(&["LRANGE", "app:k", "0", "-1"]).list()[0].text(), "foreign");

    assert_eq!(one.get_many(&[key("k"), key("none")]).await, [None, None]);
    assert!(one.set(key("k"), &json("2"), &storing(&[])).await);
    assert_eq!(one.get(key("k")).await, Some(json("2")));
}

#[tokio::test]
async fn a_reply_that_is_lost_leaves_nothing_half_done() {
    let server = Server::start();
    let to_lose = Arc::new(Mutex::new(None::<&str>));
    let rogue = Rogue::before(&server, {
        let to_lose = Arc::clone(&to_lose);
        move |words| {
            let mut to_lose = to_lose.lock().expect("nobody panics");
            let is_it = to_lose.is_some_and(|command| words[0] == command.as_bytes());
            if is_it { to_lose.take().map_or(Answer::Honest, |_| Answer::Lost) } else { Answer::Honest }
        }
    });
    let (one, other) = (process(&rogue.url()), process(&server.url()));
    let lose = |command| *to_lose.lock().expect("nobody panics") = Some(command);
    let was_lost = || to_lose.lock().expect("nobody panics").is_none();

    lose("SET");
    let lease = miss(&one, "k").await;
    assert!(was_lost());
    lose("EVALSHA");
    assert_eq!(lease.fill(json("1"), &storing(&[])).await, Filled::Stored, "said again, and seen to be there");
    assert!(was_lost());
    lose("MGET");
    assert_eq!(hit(&one, "k").await, json("1"));
    assert!(was_lost());
    lose("UNLINK");
    assert!(!one.delete(key("k")).await.queued);
    assert!(was_lost());
    assert_eq!(other.get(key("k")).await, None);

    assert!(other.set(key("k"), &json("1"), &storing(&[])).await);
    lose("SET");
    assert!(!one.set(key("k"), &json("2"), &storing(&[])).await, "it may have arrived, and must not be said twice");
    assert_eq!(other.get(key("k")).await, None);

    lose("EVALSHA");
    let ttl = Ttl::parse("1m").expect("a time to live");
    assert!(one.increment(key("n"), 1, ttl).await.is_err());
    assert_eq!(one.get(key("n")).await, None, "nobody knows what was counted");
}

#[tokio::test]
async fn replies_that_come_too_late_are_nobodys() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let one = hasty_process(&proxy.url());
    let names: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
    for name in &names {
        assert!(one.set(key(name), &json(&format!("\"{name}\"")), &storing(&[])).await);
    }

    proxy.delay(Direction::Replies, Duration::from_millis(700));
    for name in &names[..3] {
        assert_eq!(one.get(key(name)).await, None);
    }
    proxy.delay(Direction::Replies, Duration::ZERO);
    until_back(&one).await;
    for name in &names {
        assert_eq!(one.get(key(name)).await, Some(json(&format!("\"{name}\""))));
    }
}

#[tokio::test]
async fn an_invalidation_that_got_no_answer_is_owed() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let (one, other) = (hasty_process(&proxy.url()), process(&server.url()));
    assert!(one.set(key("k"), &json("old"), &storing(&[])).await);
    proxy.hold(Direction::Requests);
    assert!(one.delete(key("k")).await.queued);
    assert_eq!(other.get(key("k")).await, Some(json("old")), "it has not arrived");
    proxy.cut();
    proxy.release(Direction::Requests);
    until_back(&one).await;

    assert_eq!(one.get(key("k")).await, None);
    assert_eq!(other.get(key("k")).await, None);
}

#[tokio::test]
async fn callers_at_a_server_that_hangs_share_a_load_and_soon_wait_for_nothing() {
    let server = Server::start();
    let one = hasty_process(&server.url());
    one.ping().await.expect("the server is there");
    server.pause();
    let loads = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (one, loads) = (one.clone(), Arc::clone(&loads));
            tokio::spawn(async move {
                let begun = Instant::now();
                if let Looked::Load(lease) = one.look(key("k"), want()).await {
                    loads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    lease.fill(json("1"), &storing(&[])).await;
                }
                begun.elapsed()
            })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.expect("nobody panics") < Duration::from_secs(4));
    }
    assert!(loads.load(Ordering::Relaxed) <= 3, "{loads:?} loads");

    while one.ping().await != Err(Fault::Open) {}
    let begun = Instant::now();
    for _ in 0..10 {
        drop(miss(&one, "k").await);
    }
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn whatever_a_server_says_instead_of_a_value_the_load_runs() {
    let answers = [
        Answer::error("LOADING Redis is loading the dataset in memory"),
        Answer::error("CLUSTERDOWN The cluster is down"),
        Answer::error("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
        Answer::error("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
        Answer::error("TRYAGAIN Multiple keys request during rehashing of slot"),
        Answer::error("MOVED 3999 127.0.0.1:1"),
        Answer::error("NOAUTH Authentication required."),
        Answer::error("NOPERM User app has no permissions to run the 'get' command"),
        Answer::error("ERR unknown command 'get'"),
        Answer::error("\u{7}"),
        Answer::nested(10_000),
        Answer::nested(50),
        Answer::Instead(b":42\r\n".to_vec()),
        Answer::Instead(b"*1\r\n$1\r\nx\r\n".to_vec()),
        Answer::Instead(b"%1\r\n+a\r\n+b\r\n".to_vec()),
        Answer::Instead(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Answer::Last(b"$4294967296\r\nabc".to_vec()),
        Answer::Last(b"$100\r\nabc".to_vec()),
        Answer::Last(Vec::new()),
        Answer::Silence,
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let server = Server::start();
        let is_rogue = Arc::new(AtomicBool::new(false));
        let rogue = Rogue::before(&server, {
            let (is_rogue, answer) = (Arc::clone(&is_rogue), answer.clone());
            move |words| {
                let wrong = words[0] == b"MGET" && is_rogue.load(Ordering::SeqCst);
                if wrong { answer.clone() } else { Answer::Honest }
            }
        });
        let one = hasty_process(&rogue.url());
        assert!(one.set(key("k"), &json("old"), &storing(&[])).await);
        is_rogue.store(true, Ordering::SeqCst);

        assert_eq!(one.get(key("k")).await, None, "answer {number}");
        let lease = miss(&one, "k").await;
        assert_eq!(lease.fill(json("alone"), &storing(&[])).await, Filled::Refused, "answer {number}");
        assert!(one.tier().stats().faults >= 2, "answer {number}");
        is_rogue.store(false, Ordering::SeqCst);
        until_back(&one).await;
        assert_eq!(one.get(key("k")).await, Some(json("old")), "answer {number}");
    }
}

#[tokio::test]
async fn an_invalidation_that_is_refused_is_owed_and_said_once_it_can_be() {
    let refusals =
        ["LOADING not yet", "READONLY no", "CLUSTERDOWN no", "BUSY no", "NOPERM no", "MISCONF no", "TRYAGAIN no"];
    for refusal in refusals {
        let server = Server::start();
        let is_rogue = Arc::new(AtomicBool::new(true));
        let rogue = Rogue::before(&server, {
            let is_rogue = Arc::clone(&is_rogue);
            move |words| {
                let wrong = words[0] == b"UNLINK" && is_rogue.load(Ordering::SeqCst);
                if wrong { Answer::error(refusal) } else { Answer::Honest }
            }
        });
        let (one, other) = (process(&rogue.url()), process(&server.url()));
        assert!(other.set(key("k"), &json("old"), &storing(&[])).await);

        assert!(one.delete(key("k")).await.queued, "{refusal}");
        assert_eq!(one.get(key("k")).await, None, "{refusal}: it knows better");
        is_rogue.store(false, Ordering::SeqCst);
        until_back(&one).await;
        assert_eq!(one.get(key("k")).await, None, "{refusal}");
        assert_eq!(other.get(key("k")).await, None, "{refusal}");
        assert_eq!(one.tier().stats().queued, 0, "{refusal}");
    }
}

#[tokio::test]
async fn a_sweep_whose_connection_breaks_is_begun_anew_and_one_whose_server_dies_is_owed() {
    let server = Server::builder().append_only().start();
    let proxy = Proxy::to(server.port());
    let (one, other) = (process(&proxy.url()), process(&server.url()));
    let items: Vec<String> = (0..5_000).map(|number| format!("user:{number}")).collect();
    let items: Vec<_> = items.iter().map(|name| (key(name), json("1"))).collect();
    let users = Pattern::new("user:*").expect("a pattern");

    assert!(other.set_many(&items, &storing(&[])).await);
    assert!(other.set(key("kept"), &json("1"), &storing(&[])).await);
    one.ping().await.expect("there is a connection to cut");
    proxy.cut_after(Direction::Replies, 50_000);
    assert!(!one.invalidate_pattern(&users).await.queued);
    assert_eq!(server.ask(&["DBSIZE"]).number(), 1);

    assert!(other.set_many(&items, &storing(&[])).await);
    one.ping().await.expect("there is a connection to cut");
    proxy.cut_after(Direction::Replies, 50_000);
    server.kill();
    assert!(one.invalidate_pattern(&users).await.queued);
    server.restart();
    until_back(&one).await;
    assert_eq!(one.get(key("user:1")).await, None);
    assert_eq!(server.ask(&["DBSIZE"]).number(), 1);
}

#[tokio::test]
async fn a_placeholder_that_somebody_forged_is_waited_for_no_longer_than_a_load_may_take() {
    let server = Server::start();
    let one = process_with(&server.url(), Duration::from_millis(300), Duration::from_secs(10));
    drop(miss(&process(&server.url()), "other").await);
    let forged = [&[0xC1, b'D', 1, b'L'][..], &[7; 16], &[0; 16], &[0, 0, 0, 0, 0, 0, 0, 0]].concat();
    server.ask(&[&b"SET"[..], b"app:k", &forged, b"EX", b"864000"]);
    let begun = Instant::now();

    let lease = miss(&one, "k").await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(lease.fill(json("1"), &storing(&[])).await, Filled::Refused);
    one.delete(key("k")).await;
    assert_eq!(miss(&one, "k").await.fill(json("1"), &storing(&[])).await, Filled::Stored);
}

/// One that is in no hurry, so that a busy machine is not taken for a server that hangs.
fn process(url: &str) -> Process {
    process_with(url, Duration::from_secs(30), Duration::from_secs(10))
}

fn hasty_process(url: &str) -> Process {
    process_with(url, Duration::from_secs(30), Duration::from_millis(300))
}

fn process_with(url: &str, load_timeout: Duration, budget: Duration) -> Process {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let seed = Seed((COUNT.fetch_add(1, Ordering::Relaxed) as u128) << 64 | 0xB);
    let config = Config { early: Early::OFF, load_timeout, ..Config::default() };
    let tier = Tier::new(Namespace::new("app").expect("a namespace"), &config, 1 << 20, seed);
    let mut options = Options::new(RedisTarget::parse(url).expect("a URL"));
    (options.connect_budget, options.command_budget) = (budget, budget);
    Engine::new(tier, Tokio::new(tokio::runtime::Handle::current()), options)
}

fn key(text: &str) -> Key<'_> {
    Key::new(text).expect("a key")
}

fn json(text: &str) -> Payload {
    Payload::json(text.to_owned())
}

fn storing(tags: &[&str]) -> Storing {
    let tags = tags.iter().map(|tag| Box::from(*tag)).collect();
    Storing { ttl: Ttl::parse("1m").expect("a time to live"), grace: Grace::NONE, tags }
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

async fn until_back(process: &Process) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(fault) = process.ping().await {
        assert!(Instant::now() < deadline, "it never came back: {fault}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
