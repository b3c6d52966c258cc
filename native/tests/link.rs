//! The link to a real Redis, and to servers that are none.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use donjon::link::{Authorities, Greet, InvalidAuthorities, Line, Link, Options, Script};
use donjon::runtime::{Runtime, Tokio};
use donjon_core::fault::{Class, Fault};
use donjon_core::settings::RedisTarget;
use donjon_test_redis::{Answer, Direction, Proxy, Rogue, Server};
use redis::{Value, cmd};
use tokio::runtime::Handle;

type TokioLink = Link<Tokio>;

/// Patient: a machine that runs many tests at once is slow.
fn options(url: &str) -> Options {
    let mut options = Options::new(RedisTarget::parse(url).expect("the test's URL can be read"));
    options.connect_budget = Duration::from_secs(10);
    options.command_budget = Duration::from_secs(10);
    options
}

/// With [`BUDGET`] for a command and [`CONNECT`] for a connection.
fn impatient(url: &str, greet: Greet) -> TokioLink {
    let mut options = options(url);
    options.connect_budget = CONNECT;
    options.command_budget = BUDGET;
    Link::new(Tokio::new(Handle::current()), options, greet)
}

const BUDGET: Duration = Duration::from_millis(200);
const CONNECT: Duration = Duration::from_secs(1);

/// More than a budget takes on a busy machine, and less than a connection takes that is not made.
const SOON: Duration = Duration::from_millis(700);

fn no_greeting() -> Greet {
    Arc::new(|_| Box::pin(async { Ok(()) }))
}

fn link(url: &str) -> TokioLink {
    Link::new(Tokio::new(Handle::current()), options(url), no_greeting())
}

async fn set(link: &TokioLink, key: &str, value: &str) -> Result<Value, Fault> {
    link.ask(cmd("SET").arg(key).arg(value)).await
}

async fn get(link: &TokioLink, key: &str) -> Result<Value, Fault> {
    link.ask(cmd("GET").arg(key)).await
}

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

async fn ping(link: &TokioLink) -> Result<Value, Fault> {
    link.ask(&cmd("PING")).await
}

fn pong() -> Value {
    Value::SimpleString("PONG".to_owned())
}

/// Asks until it works; everything else has to be a fault of the connection.
async fn until_it_answers(link: &TokioLink) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match ping(link).await {
            Ok(_) => return,
            Err(fault) => assert!(fault == Fault::Open || fault.weight() > 0, "{fault}"),
        }
        assert!(Instant::now() < deadline, "the server is back, and the link is not");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (work.await, start.elapsed())
}

#[tokio::test]
async fn commands_pipelines_and_scripts_are_answered() {
    let server = Server::start();
    let link = link(&server.url());
    assert_eq!(set(&link, "k", "v").await, Ok(Value::Okay));
    assert_eq!(get(&link, "k").await, Ok(text("v")));

    let mut pipe = redis::pipe();
    pipe.cmd("GET").arg("k").cmd("LPUSH").arg("k").arg(1).cmd("PING");
    let replies = link.ask_all(&pipe).await.unwrap();
    assert_eq!(replies[0], Value::BulkString(b"v".to_vec()));
    assert!(matches!(&replies[1], Value::ServerError(error) if error.code() == "WRONGTYPE"));
    assert_eq!(replies[2], Value::SimpleString("PONG".to_owned()));
    assert_eq!(link.ask_all(&redis::pipe()).await, Ok(Vec::new()));

    let script = Script::new("return {KEYS[1], ARGV[1], ARGV[2]}");
    let echoed = Ok(Value::Array([b"k", b"a", b"b"].map(|part| Value::BulkString(part.to_vec())).to_vec()));
    for _ in 0..2 {
        assert_eq!(link.run(&script, &["k"], &["a", "b"]).await, echoed);
    }
    server.ask(&["SCRIPT", "FLUSH"]);
    assert_eq!(link.run(&script, &["k"], &["a", "b"]).await, echoed);
    assert_eq!(link.generation(), 1);
}

#[tokio::test]
async fn an_error_reply_is_a_fault_with_its_class_and_the_line_goes_on() {
    let server = Server::start();
    let link = link(&server.url());
    set(&link, "k", "v").await.unwrap();
    let fault = link.ask(cmd("LPUSH").arg("k").arg(1)).await.unwrap_err();
    assert_eq!(fault.class(), Some(Class::WrongType));
    for _ in 0..100 {
        link.ask(&cmd("NONSENSE")).await.unwrap_err();
    }
    assert_eq!((ping(&link).await, link.generation()), (Ok(pong()), 1));
}

#[tokio::test]
async fn the_server_is_reached_by_socket_as_a_user_and_in_its_database() {
    let server = Server::builder().user("alice", "on >p@ss ~* &* +@all").start();
    let by_user = link(&format!("redis://alice:p%40ss@127.0.0.1:{}/3", server.port()));
    assert_eq!(by_user.ask(cmd("ACL").arg("WHOAMI")).await, Ok(text("alice")));
    let by_socket = link(&format!("unix://{}?db=3&user=alice&pass=p%40ss", server.socket().display()));
    set(&by_user, "k", "v").await.unwrap();
    assert_eq!(get(&by_socket, "k").await, Ok(text("v")));
    assert_eq!(get(&link(&server.url()), "k").await, Ok(Value::Nil), "database 0 is another");
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_authority_vouches_for_and_with_nobody_else() {
    let server = Server::builder().tls().password("hunter2").start();
    let stranger = Server::builder().tls().start();
    let tls = |url: &str, pem: Option<&[u8]>| {
        let mut options = options(url);
        options.ca = pem.map(|pem| Authorities::from_pem(pem).unwrap());
        Link::new(Tokio::new(Handle::current()), options, no_greeting())
    };
    let known = tls(&server.url(), Some(server.authority()));
    assert_eq!(ping(&known).await, Ok(pong()));
    let long = "x".repeat(3_000_000);
    set(&known, "k", &long).await.unwrap();
    assert_eq!(get(&known, "k").await, Ok(text(&long)));

    for (url, pem) in [
        (server.url(), Some(stranger.authority())),
        (server.url(), None),
        (server.url().replace("localhost", "127.1"), Some(server.authority())),
    ] {
        assert_eq!(ping(&tls(&url, pem)).await, Err(Fault::Untrusted), "the last is a name of the same machine");
    }
    let plain = Server::start();
    let fault = ping(&tls(&plain.url().replace("redis:", "rediss:"), Some(server.authority()))).await;
    assert_eq!(fault, Err(Fault::Unreachable), "no downgrade");
    assert_eq!(Authorities::from_pem(b"").unwrap_err(), InvalidAuthorities::Missing);
    let cut = &server.authority()[..server.authority().len() / 2];
    assert!(Authorities::from_pem(cut).is_err());
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let server = Server::builder().password("hunter2").start();
    for url in ["redis://127.0.0.1", "redis://:wrong-one@127.0.0.1", "redis://bob:wrong-one@127.0.0.1"] {
        let link = link(&format!("{url}:{}", server.port()));
        let fault = ping(&link).await.unwrap_err();
        assert_eq!(fault.class(), Some(Class::Config), "{fault}");
        let shown = format!("{fault} {fault:?} {link:?}");
        assert!(!shown.contains("wrong-one") && !shown.contains("hunter2"), "{shown}");
    }
    assert_eq!(ping(&link(&server.url())).await, Ok(pong()));
    let fault = ping(&link(&format!("{}/99", server.url()))).await.unwrap_err();
    assert_eq!(fault.class(), Some(Class::Config), "there is no database 99: {fault}");
}

#[tokio::test]
async fn a_frozen_server_costs_one_budget_and_then_nothing_until_it_is_back() {
    let server = Server::start();
    let link = impatient(&server.url(), no_greeting());
    ping(&link).await.unwrap();
    server.pause();
    let (faults, span) = timed(async {
        let calls: Vec<_> = (0..200)
            .map(|_| {
                tokio::spawn({
                    let link = link.clone();
                    async move { ping(&link).await }
                })
            })
            .collect();
        let mut faults = Vec::new();
        for call in calls {
            faults.push(call.await.unwrap().unwrap_err());
        }
        faults
    })
    .await;
    assert!(faults.iter().all(|fault| *fault == Fault::TimedOut));
    assert!(span >= BUDGET && span < SOON, "{span:?}");

    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        let (outcome, span) = timed(ping(&link)).await;
        assert!(matches!(outcome, Err(Fault::Open | Fault::Unreachable)), "{outcome:?}");
        slowest = slowest.max(span);
    }
    assert!(slowest < SOON, "{slowest:?}: a budget is the most that anybody waits");
    server.resume();
    until_it_answers(&link).await;
}

#[tokio::test]
async fn requests_in_a_steady_trickle_do_not_hide_that_the_server_is_frozen() {
    let server = Server::start();
    let link = impatient(&server.url(), no_greeting());
    ping(&link).await.unwrap();
    server.pause();
    let first = tokio::spawn({
        let link = link.clone();
        async move { timed(ping(&link)).await }
    });
    while !first.is_finished() {
        let link = link.clone();
        tokio::spawn(async move {
            let _ = ping(&link).await;
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (outcome, span) = first.await.unwrap();
    assert_eq!(outcome, Err(Fault::TimedOut));
    assert!(span < SOON, "{span:?}");
}

#[tokio::test]
async fn a_killed_connection_is_lost_for_its_callers_and_the_next_call_makes_another() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let link = link(&proxy.url());
    for round in 1..=8 {
        ping(&link).await.unwrap();
        assert_eq!(link.generation(), round, "a connection lost now and then opens no breaker");
        proxy.hold(Direction::Replies);
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let link = link.clone();
                tokio::spawn(async move { ping(&link).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(5)).await;
        server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        proxy.cut();
        proxy.release(Direction::Replies);
        for call in waiting {
            assert_eq!(call.await.unwrap(), Err(Fault::Lost));
        }
    }
}

#[tokio::test]
async fn an_idle_connection_that_is_closed_is_noticed_before_it_is_used() {
    let server = Server::start();
    let link = link(&server.url());
    ping(&link).await.unwrap();
    let open = link.line().await.unwrap();
    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    while open.is_open() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(open.ask(&cmd("PING")).await, Err(Fault::Unreachable), "nothing was sent");
    assert_eq!((ping(&link).await, link.generation()), (Ok(pong()), 2));
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again() {
    let server = Server::start();
    let link = impatient(&server.url(), no_greeting());
    ping(&link).await.unwrap();
    server.kill();
    let mut seen_open = false;
    for _ in 0..100 {
        let (outcome, span) = timed(ping(&link)).await;
        seen_open |= outcome == Err(Fault::Open);
        assert!(matches!(outcome, Err(Fault::Open | Fault::Unreachable | Fault::Lost)), "{outcome:?}");
        assert!(span < SOON, "{span:?}");
    }
    assert!(seen_open, "a server that refuses is left alone");
    server.restart();
    until_it_answers(&link).await;
}

#[tokio::test]
async fn many_callers_share_one_attempt_and_its_outcome() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let link = link(&proxy.url());
    let calls: Vec<_> = (0..500)
        .map(|_| {
            tokio::spawn({
                let link = link.clone();
                async move { ping(&link).await }
            })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(pong()));
    }
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn the_caller_who_started_the_attempt_may_go_away() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    proxy.delay(Direction::Replies, Duration::from_millis(50));
    let link = link(&proxy.url());
    let first = tokio::spawn({
        let link = link.clone();
        async move { ping(&link).await }
    });
    tokio::task::yield_now().await;
    let second = tokio::spawn({
        let link = link.clone();
        async move { ping(&link).await }
    });
    tokio::task::yield_now().await;
    first.abort();
    proxy.delay(Direction::Replies, Duration::ZERO);
    assert_eq!(second.await.unwrap(), Ok(pong()));
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_reply_whose_caller_went_away_is_given_to_nobody_else() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let link = link(&proxy.url());
    set(&link, "a", "1").await.unwrap();
    set(&link, "b", "2").await.unwrap();
    proxy.hold(Direction::Replies);
    let gone = tokio::spawn({
        let link = link.clone();
        async move { get(&link, "a").await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    gone.abort();
    let kept = tokio::spawn({
        let link = link.clone();
        async move { get(&link, "b").await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    proxy.release(Direction::Replies);
    assert_eq!(kept.await.unwrap(), Ok(text("2")));
    assert_eq!(link.generation(), 1);
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_costs_its_budget() {
    let server = Server::start();
    server.pause();
    let link = impatient(&server.url(), no_greeting());
    let (outcome, span) = timed(ping(&link)).await;
    assert_eq!(outcome, Err(Fault::Unreachable), "nothing was sent for this caller");
    assert!(span >= CONNECT && span < CONNECT + SOON, "{span:?}");
    server.resume();
    until_it_answers(&link).await;
}

#[tokio::test]
async fn every_connection_is_greeted_before_anybody_uses_it_and_one_that_cannot_be_is_none() {
    let server = Server::start();
    let greeted = Arc::new(AtomicU32::new(0));
    let greet: Greet = {
        let greeted = Arc::clone(&greeted);
        Arc::new(move |line: Line| {
            let count = greeted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                if count == 0 {
                    return Err(Fault::server("LOADING", "not yet"));
                }
                line.ask(cmd("SET").arg("greeted").arg(count)).await.map(drop)
            })
        })
    };
    let link = Link::new(Tokio::new(Handle::current()), options(&server.url()), greet);
    assert_eq!(ping(&link).await.unwrap_err().class(), Some(Class::Down));
    assert_eq!(get(&link, "greeted").await, Ok(text("1")));
    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    until_it_answers(&link).await;
    assert_eq!(get(&link, "greeted").await, Ok(text("2")));
}

#[tokio::test]
async fn nobody_waits_for_a_long_greeting_and_the_connection_opens_after_it() {
    let server = Server::start();
    let greet: Greet = Arc::new(|_| {
        Box::pin(async {
            tokio::time::sleep(2 * CONNECT).await;
            Ok(())
        })
    });
    let link = impatient(&server.url(), greet);
    let (outcome, span) = timed(ping(&link)).await;
    assert_eq!(outcome, Err(Fault::Unreachable));
    assert!(span < CONNECT + SOON, "{span:?}");
    assert_eq!(timed(ping(&link)).await.0, Err(Fault::Unreachable));
    until_it_answers(&link).await;
    assert_eq!(link.generation(), 1);
}

#[tokio::test]
async fn rediss_clock_is_known_after_the_first_connection() {
    let server = Server::start();
    let link = link(&server.url());
    assert_eq!(link.redis_now(link.runtime().now()), None);
    ping(&link).await.unwrap();
    let before = link.redis_now(link.runtime().now()).unwrap();
    let time = server.ask(&["TIME"]);
    let parts: Vec<u64> = time.list().iter().map(|part| part.text().parse().unwrap()).collect();
    let redis = parts[0] * 1_000_000_000 + parts[1] * 1_000;
    let after = link.redis_now(link.runtime().now()).unwrap();
    let slack = 50_000_000;
    assert!(before.as_nanos() <= redis + slack && redis <= after.as_nanos() + slack, "{before:?} {redis} {after:?}");
}

#[tokio::test]
async fn a_closed_link_stays_closed_and_a_dropped_one_closes_its_connection() {
    let server = Server::start();
    let closed = link(&server.url());
    ping(&closed).await.unwrap();
    closed.close();
    assert_eq!(ping(&closed).await, Err(Fault::Unreachable));
    let dropped = link(&server.url());
    ping(&dropped).await.unwrap();
    drop(dropped);
    tokio::task::spawn_blocking(move || {
        server.wait("all connections but one are closed", || server.info("connected_clients").as_deref() == Some("1"));
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_server_without_hello_is_spoken_to_as_of_old() {
    let server = Server::start();
    for refusal in [
        "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `hunter2`, ",
        "NOPROTO unsupported protocol version",
    ] {
        let rogue = Rogue::before(&server, move |words| match (&*words[0], words.len()) {
            (b"HELLO", _) => Answer::error(refusal),
            (b"AUTH", 3) => Answer::error("ERR wrong number of arguments for 'auth' command"),
            (b"AUTH", _) if words[1] != b"hunter2" => Answer::error("ERR invalid password"),
            (b"AUTH", _) => Answer::Instead(b"+OK\r\n".to_vec()),
            _ => Answer::Honest,
        });
        for login in [":hunter2", "someone:hunter2"] {
            let link = link(&format!("redis://{login}@127.0.0.1:{}/1", rogue.port()));
            assert_eq!(ping(&link).await, Ok(pong()));
            assert!(link.redis_now(link.runtime().now()).is_some());
        }
        let fault = ping(&link(&format!("redis://:wrong@127.0.0.1:{}", rogue.port()))).await.unwrap_err();
        assert_eq!(fault.class(), Some(Class::Config));
        assert!(!format!("{fault} {fault:?}").contains("wrong`"));
    }
}

#[tokio::test]
async fn what_is_no_reply_ends_the_connection_and_takes_no_memory() {
    let server = Server::start();
    let nested = "*1\r\n".repeat(10_000);
    for reply in [
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "$4294967296\r\n",
        "*4294967296\r\n",
        "%18446744073709551615\r\n",
        &nested,
        "$-x\r\n",
    ] {
        let sent = reply.as_bytes().to_vec();
        let rogue = Rogue::before(&server, move |words| match &*words[0] {
            b"GET" => Answer::Instead(sent.clone()),
            _ => Answer::Honest,
        });
        let link = link(&rogue.url());
        assert_eq!(ping(&link).await, Ok(pong()));
        assert_eq!(get(&link, "k").await, Err(Fault::Protocol), "{reply:.20}");
        assert_eq!((ping(&link).await, link.generation()), (Ok(pong()), 2));
    }
}

#[tokio::test]
async fn what_a_server_pushes_between_replies_is_nobodys_reply() {
    let server = Server::start();
    let rogue = Rogue::before(&server, |words| match &*words[0] {
        b"GET" => Answer::HonestAfter(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n".to_vec()),
        _ => Answer::Honest,
    });
    let link = link(&rogue.url());
    set(&link, "k", "v").await.unwrap();
    let mut pipe = redis::pipe();
    pipe.cmd("PING").cmd("GET").arg("k").cmd("ECHO").arg("e");
    assert_eq!(link.ask_all(&pipe).await, Ok(vec![pong(), text("v"), text("e")]));
}

#[tokio::test]
async fn a_server_that_is_full_is_said_to_be() {
    let server = Server::builder().option("maxclients", &["1"]).start();
    let link = link(&server.url());
    let mut only = server.client();
    only.call(&["PING"]).unwrap();
    let fault = ping(&link).await.unwrap_err();
    assert_eq!(fault.class(), Some(Class::Down), "{fault}");
    drop(only);
    until_it_answers(&link).await;
}

#[tokio::test]
async fn a_reply_too_many_ends_the_connection_before_it_is_taken_for_another() {
    let server = Server::start();
    let rogue = Rogue::before(&server, |words| match &*words[0] {
        b"GET" => Answer::HonestAfter(b"$5\r\nwrong\r\n".to_vec()),
        _ => Answer::Honest,
    });
    let link = link(&rogue.url());
    set(&link, "k", "v").await.unwrap();
    // The first of the two replies may have reached its caller before the second came.
    let first = get(&link, "k").await;
    assert!(matches!(first, Err(Fault::Protocol)) || first == Ok(text("wrong")), "{first:?}");
    let second = ping(&link).await;
    assert!(matches!(second, Err(Fault::Protocol | Fault::Lost)) || second == Ok(pong()), "{second:?}");
    until_it_answers(&link).await;
    assert_eq!(link.generation(), 2);
}

#[tokio::test]
async fn a_caller_who_is_slow_to_take_a_reply_that_came_blames_nobody() {
    let server = Server::start();
    let link = impatient(&server.url(), no_greeting());
    ping(&link).await.unwrap();
    let mut slow = std::pin::pin!(ping(&link));
    let is_asked = poll_fn(|context| Poll::Ready(slow.as_mut().poll(context).is_pending())).await;
    assert!(is_asked, "and not yet answered");
    tokio::time::sleep(2 * BUDGET).await;
    assert_eq!((slow.await, link.generation()), (Ok(pong()), 1));
}

#[tokio::test]
async fn callers_who_give_up_early_do_not_hide_that_the_server_is_frozen() {
    let server = Server::start();
    let link = impatient(&server.url(), no_greeting());
    ping(&link).await.unwrap();
    let open = link.line().await.unwrap();
    server.pause();
    let ((), span) = timed(async {
        while open.is_open() {
            let _ = tokio::time::timeout(BUDGET / 4, ping(&link)).await;
        }
    })
    .await;
    assert!(span < SOON, "{span:?}");
}

#[tokio::test]
async fn a_reply_cut_in_its_middle_is_lost() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let link = link(&proxy.url());
    set(&link, "k", "a value of some length").await.unwrap();
    for bytes in [0, 1, 5, 20] {
        proxy.cut_after(Direction::Replies, bytes);
        assert_eq!(get(&link, "k").await, Err(Fault::Lost));
        assert_eq!(get(&link, "k").await, Ok(text("a value of some length")));
    }
}

#[tokio::test]
async fn a_reply_that_stops_in_its_middle_is_overdue_a_budget_later() {
    let server = Server::start();
    let rogue = Rogue::before(&server, |words| match &*words[0] {
        b"GET" => Answer::Instead(b"$10\r\nhalf".to_vec()),
        _ => Answer::Honest,
    });
    let link = impatient(&rogue.url(), no_greeting());
    let (outcome, span) = timed(get(&link, "k")).await;
    assert_eq!(outcome, Err(Fault::TimedOut));
    assert!(span < SOON, "{span:?}");
}

#[tokio::test]
async fn a_demoted_primary_is_left_for_whoever_stands_in_its_place_now() {
    let (primary, replica) = (Server::start(), Server::start());
    replica.replica_of(&primary);
    let proxy = Proxy::to(replica.port());
    let link = link(&proxy.url());
    ping(&link).await.unwrap();
    assert_eq!(set(&link, "k", "v").await.unwrap_err().class(), Some(Class::ReadOnly));
    assert_eq!(proxy.connections(), 1, "a connection this young would be no other");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(set(&link, "k", "v").await.unwrap_err().class(), Some(Class::ReadOnly));
    replica.promote();
    assert_eq!(set(&link, "k", "v").await, Ok(Value::Okay));
    assert_eq!(link.generation(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_held_up_itself_blames_nobody() {
    let server = Server::start();
    let mut options = options(&server.url());
    options.command_budget = Duration::from_secs(1);
    let link = Link::new(Tokio::new(Handle::current()), options, no_greeting());
    ping(&link).await.unwrap();
    for _ in 0..2 {
        let pings: Vec<_> = (0..10)
            .map(|_| {
                tokio::spawn({
                    let link = link.clone();
                    async move { ping(&link).await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        // Both threads of this runtime.
        let held: Vec<_> =
            (0..2).map(|_| tokio::spawn(async { std::thread::sleep(Duration::from_millis(1_500)) })).collect();
        for call in pings {
            assert_eq!(call.await.unwrap(), Ok(pong()));
        }
        for held in held {
            held.await.unwrap();
        }
    }
    assert_eq!(link.generation(), 1);
}

#[test]
fn a_link_whose_runtime_is_no_more_leaves_nobody_waiting() {
    let server = Server::start();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = runtime();
    let link = first.block_on(async {
        let link = link(&server.url());
        ping(&link).await.unwrap();
        link
    });
    first.shutdown_background();
    let late = runtime().block_on(async {
        let late = async { [ping(&link).await, ping(&link).await, ping(&link).await] };
        tokio::time::timeout(Duration::from_secs(10), late).await.expect("an answer")
    });
    assert!(late.iter().all(|outcome| matches!(outcome, Err(Fault::Lost | Fault::Unreachable))), "{late:?}");
    assert_eq!(late[2], Err(Fault::Unreachable));
}

#[tokio::test]
async fn a_large_value_goes_over_and_one_that_is_too_large_is_not_read() {
    let server = Server::start();
    let mut options = options(&server.url());
    options.max_reply_bytes = 4 << 20;
    let link = Link::new(Tokio::new(Handle::current()), options, no_greeting());
    let large = "x".repeat((4 << 20) - 64);
    set(&link, "large", &large).await.unwrap();
    assert_eq!(get(&link, "large").await, Ok(text(&large)));
    set(&link, "too large", &"x".repeat(5 << 20)).await.unwrap();
    assert_eq!(get(&link, "too large").await, Err(Fault::Protocol));
    assert_eq!(get(&link, "large").await, Ok(text(&large)));
}

#[tokio::test]
async fn a_server_that_loads_is_left_alone_over_the_connection_that_there_is() {
    let server = Server::start();
    let loads = Arc::new(AtomicU32::new(0));
    let asked = Arc::clone(&loads);
    let rogue = Rogue::before(&server, move |words| match &*words[0] {
        b"PING" if asked.fetch_add(1, Ordering::SeqCst) < 7 => Answer::error("LOADING Redis is loading the dataset"),
        _ => Answer::Honest,
    });
    let link = link(&rogue.url());
    for _ in 0..5 {
        assert_eq!(ping(&link).await.unwrap_err().class(), Some(Class::Down));
    }
    let before = loads.load(Ordering::SeqCst);
    until_it_answers(&link).await;
    assert!(loads.load(Ordering::SeqCst) - before < 10, "only one asks now and then");
    assert_eq!(link.generation(), 1);
}
