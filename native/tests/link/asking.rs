//! What is asked on an open connection, and what comes back.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use donjon::link::{Link, Script};
use donjon::runtime::{Runtime, Tokio};
use donjon_core::fault::{Class, Fault};
use donjon_test_redis::{Answer, Direction, Proxy, Rogue, Server};
use redis::{Value, cmd};
use tokio::runtime::Handle;

use super::{BUDGET, get, impatient, link, no_greeting, options, ping, pong, set, text};

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
