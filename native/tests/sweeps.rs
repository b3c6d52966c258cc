//! What holds for others while a pattern is being swept, on a real Redis: each engine with a tier of its own stands for a process.
//!
//! A sweep is stopped by a server that keeps the answers to `SCAN` to itself: what was written down before is all that others have.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use donjon::engine::{Looked, Removed, Watches};
use donjon_core::lease::Filled;
use donjon_core::near;
use donjon_core::near::State;
use donjon_core::pattern::Pattern;
use donjon_core::remote::look::Want;
use donjon_core::remote::sweeps::RAISE_EVERY;
use donjon_test_redis::{Answer, Rogue, Server};
use tokio::task::JoinHandle;

mod common;

use common::eventually;
use common::log::Log;
use common::near::{Process, json, key, process, process_with, storing, want};

/// A server on which sweeps do not get on until they are let.
struct Stopped {
    server: Server,
    rogue: Rogue,
    holds: Arc<AtomicBool>,
}

impl Stopped {
    fn start() -> Self {
        let server = Server::start();
        let holds = Arc::new(AtomicBool::new(true));
        let rogue = Rogue::before(&server, {
            let holds = Arc::clone(&holds);
            move |words| {
                let stops = words[0] == b"SCAN" && holds.load(Ordering::SeqCst);
                if stops { Answer::Silence } else { Answer::Honest }
            }
        });
        Self { server, rogue, holds }
    }

    fn go_on(&self) {
        self.holds.store(false, Ordering::SeqCst);
    }

    /// Begins to sweep, in a process of its own, which never gets on; until that is written down.
    async fn begin(&self, pattern: &str) -> JoinHandle<Removed> {
        let (sweeper, pattern) = (process(&self.rogue.url()), Pattern::new(pattern).unwrap());
        let begun = tokio::spawn(async move { sweeper.engine.invalidate_pattern(&pattern).await });
        eventually("it is written down", async || self.list().is_some()).await;
        begun
    }

    fn list(&self) -> Option<Vec<u8>> {
        self.server.ask(&["GET", LIST]).bytes().map(<[u8]>::to_vec)
    }
}

async fn gets(process: &Process, name: &str) -> Option<donjon::payload::Payload> {
    process.engine.get(key(name)).await
}

#[tokio::test]
async fn what_is_written_down_holds_for_every_read_of_every_process_before_it_is_swept() {
    let stopped = Stopped::start();
    let url = stopped.server.url();
    let (one, other) = (process(&url), process(&url));
    for name in ["a:1", "a:2", "b"] {
        one.set(name, "1").await;
    }
    assert_eq!(one.load("a:tagged", "1", &["jobs"]).await, Filled::Stored);
    assert_eq!(one.engine.increment(key("a:n"), 7, storing(&[]).ttl).await, Ok(7));

    let _begun = stopped.begin("a:*").await;
    assert!(stopped.server.ask(&["GET", "app:a:1"]).bytes().is_some(), "nothing was swept yet");
    for process in [&one, &other] {
        let names = ["a:1", "a:2", "b", "a:tagged", "a:n"];
        for name in names {
            assert_eq!(gets(process, name).await.is_some(), name == "b", "{name}");
        }
        let found = process.engine.get_many(&names.map(key)).await;
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true, false, false]);
        assert_eq!(process.engine.peek(key("a:1")).await, Ok(None));
        assert_eq!(process.engine.touch(key("a:1"), storing(&[]).ttl).await, Ok(false));
    }
    assert_eq!(other.engine.add(key("a:2"), &json("2"), &storing(&[])).await, Ok(true), "there was none any more");
    assert_eq!(gets(&one, "a:2").await, Some(json("2")));
    // What is stored by hand holds, though this process has not read the list since.
    let stranger = process(&url);
    stranger.set("a:1", "3").await;
    assert_eq!((gets(&stranger, "a:1").await, gets(&one, "a:1").await), (Some(json("3")), Some(json("3"))));
}

#[tokio::test]
async fn what_is_loaded_while_a_pattern_is_swept_is_loaded_once_for_all_processes_and_served() {
    let stopped = Stopped::start();
    let url = stopped.server.url();
    let processes = [process(&url), process(&url)];
    processes[0].set("a", "old").await;
    let _begun = stopped.begin("a*").await;
    let loads = AtomicUsize::new(0);
    let ask = async |process: &Process| match process.engine.look(key("a"), want()).await {
        Looked::Value(payload) => payload,
        Looked::Load(lease) => {
            loads.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert_eq!(lease.fill(json("new"), &storing(&[])).await, Filled::Stored);
            json("new")
        }
        other => panic!("{other:?}"),
    };
    let asked: Vec<_> = (0..20).map(|number| ask(&processes[number % 2])).collect();
    assert!(futures_util::future::join_all(asked).await.iter().all(|got| *got == json("new")));
    assert_eq!(ask(&process(&url)).await, json("new"));
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_load_that_began_before_is_served_to_nobody_who_asks_after() {
    let stopped = Stopped::start();
    let url = stopped.server.url();
    let (one, other) = (process(&url), process(&url));
    let load = async |process: &Process| match process.engine.look(key("a"), want()).await {
        Looked::Load(lease) => lease,
        other => panic!("{other:?}"),
    };
    let before = load(&one).await;
    let _begun = stopped.begin("a*").await;
    // In its own process nobody joins it, and elsewhere nobody waits for it.
    let after = load(&one).await;
    assert_eq!(after.fill(json("new"), &storing(&[])).await, Filled::Stored);
    assert_eq!(before.fill(json("old"), &storing(&[])).await, Filled::Refused);
    assert_eq!((gets(&one, "a").await, gets(&other, "a").await), (Some(json("new")), Some(json("new"))));

    let anew = Want { since: Some(one.engine.tier().remote().ticket()), ..want() };
    let refreshed = match one.engine.look(key("a"), anew).await {
        Looked::Load(lease) => lease,
        other => panic!("{other:?}"),
    };
    let sweeper = process(&stopped.rogue.url());
    let begun = tokio::spawn(async move { sweeper.engine.clear().await });
    let one_record = stopped.list().unwrap().len();
    eventually("that is written down too", async || stopped.list().unwrap().len() > one_record).await;
    // The value that it replaces is there still; whether it is stored depends on what this process has been told by now.
    refreshed.fill(json("older"), &storing(&[])).await;
    assert_eq!((gets(&one, "a").await, gets(&other, "a").await), (None, None));
    begun.abort();
}

#[tokio::test]
async fn memory_in_front_drops_what_is_written_down_and_keeps_the_rest() {
    for watches in [Watches::Reads, Watches::Everything] {
        let stopped = Stopped::start();
        let url = stopped.server.url();
        let one = process_with(&url, &near::Config::default(), watches).until(State::Tracking).await;
        for name in ["a:1", "a:2", "b"] {
            one.set(name, "1").await;
            one.keep(name).await;
        }
        let _begun = stopped.begin("a:*").await;
        one.gone("a:1", "it is told of").await;
        eventually("the rest is believed again", async || one.near("b").is_some()).await;
        assert_eq!((one.near("a:2"), one.read("a:2").await), (None, None));
        // What is loaded from then on may be kept.
        assert_eq!(one.load("a:1", "2", &[]).await, Filled::Stored);
        assert_eq!(one.keep("a:1").await, json("2"));
        stopped.go_on();
    }
}

#[tokio::test]
async fn who_dies_amid_a_sweep_leaves_nothing_to_be_served_and_another_ends_it() {
    let stopped = Stopped::start();
    let one = process(&stopped.server.url());
    for number in 0..2_500 {
        stopped.server.ask(&["SET", &format!("app:a:{number}"), "1"]);
    }
    one.set("a:x", "1").await;
    let begun = stopped.begin("a:*").await;
    begun.abort();
    assert_eq!(gets(&one, "a:x").await, None);
    let noted = Instant::now();
    while stopped.list().is_some() {
        assert!(noted.elapsed() < Duration::from_secs(30), "nobody took it over");
        assert_eq!(gets(&one, "a:x").await, None);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stopped.server.ask(&["DBSIZE"]).number(), 0);
    assert_eq!(gets(&one, "a:x").await, None);
}

#[tokio::test]
async fn more_sweeps_at_once_than_are_written_down_are_swept_all_the_same() {
    let stopped = Stopped::start();
    let one = Arc::new(process(&stopped.rogue.url()));
    for number in 0..70 {
        stopped.server.ask(&["SET", &format!("app:{number}:x"), "1"]);
    }
    let begun: Vec<_> = (0..70)
        .map(|number| {
            let one = Arc::clone(&one);
            tokio::spawn(
                async move { one.engine.invalidate_pattern(&Pattern::new(&format!("{number}:*")).unwrap()).await },
            )
        })
        .collect();
    eventually("the list is full", async || stopped.list().is_some_and(|list| list.len() >= 64 * (14 + 3))).await;
    assert!(stopped.list().unwrap().len() <= 64 * (14 + 4));
    stopped.go_on();
    for begun in begun {
        begun.await.unwrap();
    }
    assert!(one.engine.owes_nothing(Duration::from_secs(20)).await);
    eventually("all is swept, and nothing is left on the list", async || stopped.server.ask(&["DBSIZE"]).number() == 0)
        .await;
}

#[tokio::test]
async fn whatever_is_under_the_name_of_the_list_sweeps_and_reads_go_on() {
    let server = Server::start();
    let one = process(&server.url());
    let (log, _guard) = Log::of_this_thread();
    let whole: Vec<u8> = [&[7; 8][..], &[0; 4], &[0, 2], b"z*"].concat();
    let bad: [&[u8]; 5] = [b"?", &[0xFF; 200], &whole[..15], &[&whole[..12], &[0, 2, 0xFF, 0xFE]].concat(), &[]];
    for list in bad {
        server.ask(&[&b"SET"[..], LIST.as_bytes(), list]);
        one.set("a", "1").await;
        assert_eq!(gets(&one, "a").await, Some(json("1")));
        assert_eq!(one.engine.invalidate_pattern(&Pattern::new("a*").unwrap()).await.count, 1);
        assert_eq!((gets(&one, "a").await, gets(&process(&server.url()), "a").await), (None, None));
    }
    let said = log.text();
    // A record whose pattern is no text is kept, so that another process finds it, too.
    assert_eq!(said.lines().filter(|line| line.contains(LIST)).count(), 2, "once in each process: {said}");
    server.ask(&["DEL", LIST]);
    server.ask(&["HSET", LIST, "a", "b"]);
    one.set("a", "1").await;
    assert_eq!(gets(&one, "a").await, Some(json("1")));
    let removed = one.engine.clear().await;
    assert_eq!((removed.count, removed.queued), (1, false));
    assert_eq!(server.ask(&["TYPE", LIST]).text(), "hash", "what is not ours is left alone");
}

#[tokio::test]
async fn a_sweep_that_goes_on_for_long_is_nobody_elses() {
    let server = Server::start();
    // A page of a sweep is answered whenever the test lets it, and each at once when the test has done.
    let (let_one, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let rogue = Rogue::before(&server, move |words| {
        if words[0] == b"SCAN" {
            let _let_or_done = gate.lock().unwrap().recv();
        }
        Answer::Honest
    });
    for number in 0..8_000 {
        server.ask(&["SET", &format!("other:{number}"), "1"]);
    }
    let (sweeper, reader) = (process(&rogue.url()), process(&server.url()));
    let begun = tokio::spawn(async move { sweeper.engine.clear().await });
    let beat = || server.ask(&["GETRANGE", LIST, "8", "11"]).bytes().map(<[u8]>::to_vec).unwrap_or_default();
    eventually("it is written down", async || !beat().is_empty()).await;
    for raised in 1..=3_u32 {
        let since = Instant::now();
        eventually("its time to be raised comes", async || {
            assert_eq!(gets(&reader, "a").await, None);
            assert_eq!(beat(), (raised - 1).to_be_bytes(), "and nobody else raises it");
            since.elapsed() > RAISE_EVERY
        })
        .await;
        let_one.send(()).unwrap();
        eventually("it is raised", async || beat() == raised.to_be_bytes()).await;
    }
    drop(let_one);
    assert!(!begun.await.unwrap().queued);
    assert!(server.ask(&["EXISTS", LIST]).number() == 0);
}

const LIST: &str = "app!p";
