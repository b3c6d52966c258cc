//! What becomes of callers when the server or the connection fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use donjon::link::Link;
use donjon::runtime::Tokio;
use donjon_core::fault::{Class, Fault};
use donjon_test_redis::{Answer, Direction, Proxy, Rogue, Server};
use redis::{Value, cmd};
use tokio::runtime::Handle;

use super::{
    BUDGET, SOON, get, impatient, link, no_greeting, options, ping, pong, set, text, timed, until, until_it_answers,
};

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
    let trickle = tokio::spawn(async move {
        loop {
            let link = link.clone();
            tokio::spawn(async move {
                let _ = ping(&link).await;
            });
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    until("the first is answered for", || first.is_finished()).await;
    trickle.abort();
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
    until("the end is noticed", || !open.is_open()).await;
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
async fn callers_who_give_up_early_do_not_hide_that_the_server_is_frozen() {
    let server = Server::start();
    let link = impatient(&server.url(), no_greeting());
    ping(&link).await.unwrap();
    let open = link.line().await.unwrap();
    server.pause();
    let impatient = tokio::spawn(async move {
        loop {
            let _ = tokio::time::timeout(BUDGET / 4, ping(&link)).await;
        }
    });
    let ((), span) = timed(until("the connection is given up", || !open.is_open())).await;
    impatient.abort();
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
    // Besides the one who asks for it.
    until("the connection before it is closed", || replica.info("connected_clients").as_deref() == Some("2")).await;
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
    let mut alone = 0;
    while let Err(fault) = ping(&link).await {
        assert!(fault == Fault::Open || fault.class() == Some(Class::Down), "{fault}");
        alone += u32::from(fault == Fault::Open);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(alone > 0, "of those who came meanwhile, some did not ask");
    assert_eq!(loads.load(Ordering::SeqCst), 8);
    assert_eq!(link.generation(), 1);
}
