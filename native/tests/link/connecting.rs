//! How a connection is made, as whom, and who waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use donjon::link::{Authorities, Greet, InvalidAuthorities, Line, Link};
use donjon::runtime::{Runtime, Tokio};
use donjon_core::fault::{Class, Fault};
use donjon_test_redis::{Answer, Direction, Proxy, Rogue, Server};
use redis::{Value, cmd};
use tokio::runtime::Handle;

use super::log::Log;
use super::{
    CONNECT, SOON, get, impatient, link, no_greeting, options, ping, pong, set, text, timed, until_it_answers,
};

#[tokio::test]
async fn the_server_is_reached_by_socket_as_a_user_and_in_its_database() {
    let server = Server::builder().user("alice", "on >p@ss ~* &* +@all").user("bob", "on nopass ~* &* +@all").start();
    let by_user = link(&format!("redis://alice:p%40ss@127.0.0.1:{}/3", server.port()));
    assert_eq!(by_user.ask(cmd("ACL").arg("WHOAMI")).await, Ok(text("alice")));
    let by_name = link(&format!("redis://bob@127.0.0.1:{}", server.port()));
    assert_eq!(by_name.ask(cmd("ACL").arg("WHOAMI")).await, Ok(text("bob")), "and not as the default user");
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
async fn a_server_that_is_full_is_said_to_be() {
    let server = Server::start();
    let link = link(&server.url());
    let mut only = server.client();
    only.call(&["CONFIG", "SET", "maxclients", "1"]).unwrap();
    let fault = ping(&link).await.unwrap_err();
    assert_eq!(fault.class(), Some(Class::Down), "{fault}");
    drop(only);
    until_it_answers(&link).await;
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
async fn the_log_says_once_what_is_wrong_and_shows_no_password() {
    let (log, _guard) = Log::of_this_thread();
    let server = Server::builder().password("hunter2").start();
    let local = link(&server.url());
    ping(&local).await.unwrap();
    assert_eq!(log.text(), "", "on this machine a password is seen by nobody");
    for _ in 0..2 {
        drop(link("redis://:hunter2@192.0.2.1"));
    }
    let wrong = link(&server.url().replace("hunter2", "hunter3"));
    for _ in 0..20 {
        ping(&wrong).await.unwrap_err();
    }
    let log = log.text();
    assert_eq!(log.matches("unencrypted").count(), 1, "{log}");
    assert_eq!(log.matches("WRONGPASS").count(), 1, "{log}");
    assert!(!log.contains("hunter"), "{log}");
}
