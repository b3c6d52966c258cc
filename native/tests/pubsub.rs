//! Messages over a real Redis: each engine with a tier of its own stands for a process of its own.

mod common;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use donjon::engine::{Engine, Tier};
use donjon::link::{Authorities, Options};
use donjon::payload::Payload;
use donjon::pubsub::{Message, Naming, Subscription};
use donjon::runtime::Tokio;
use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::fault::{Class, Fault};
use donjon_core::key::{Key, Namespace};
use donjon_core::settings::RedisTarget;
use donjon_test_redis::{Direction, Proxy, Server};

use common::eventually;

type Process = Engine<Tokio, Arc<str>>;

fn options(url: &str) -> Options {
    let mut options = Options::new(RedisTarget::parse(url).unwrap());
    // Patient: a machine that runs many tests at once is slow.
    options.connect_budget = Duration::from_secs(5);
    options.command_budget = Duration::from_secs(2);
    options
}

fn process(url: &str) -> Process {
    process_with(options(url))
}

fn process_with(options: Options) -> Process {
    let tier = Tier::new(Namespace::new("app").unwrap(), &Config::default(), 1 << 20, Seed(7));
    Engine::new(tier, Tokio::new(tokio::runtime::Handle::current()), options)
}

fn key(text: &str) -> Key<'_> {
    Key::new(text).unwrap()
}

fn listen_up_to(process: &Process, channels: &[&str], limit: usize) -> Subscription {
    let channels: Vec<_> = channels.iter().map(|channel| key(channel)).collect();
    process.subscriber().listen(&channels, Naming::Own, NonZeroUsize::new(limit).unwrap())
}

async fn listen(process: &Process, channels: &[&str]) -> Subscription {
    let subscription = listen_up_to(process, channels, 1_000);
    subscription.ready().await.unwrap();
    subscription
}

async fn say(process: &Process, channel: &str, text: &'static str) -> u64 {
    process.publish(key(channel), Naming::Own, &Payload::json(text)).await.unwrap()
}

async fn next(subscription: &Subscription) -> Message {
    let next = tokio::time::timeout(Duration::from_secs(10), subscription.next());
    next.await.expect("a message comes").expect("it is not over")
}

async fn heard(subscription: &Subscription) -> (String, Payload) {
    let message = next(subscription).await;
    (message.channel.to_string(), message.payload)
}

/// Publishes until it is heard: who reconnects hears nothing before it is back.
async fn until_heard(process: &Process, channel: &str, subscription: &Subscription) {
    eventually("a message is heard", async || {
        let _ = process.publish(key(channel), Naming::Own, &Payload::json("1")).await;
        subscription.take().is_some()
    })
    .await;
    while subscription.take().is_some() {}
}

fn listeners(server: &Server, channel: &str) -> i64 {
    server.ask(&["PUBSUB", "NUMSUB", &format!("app!ch:{channel}")]).list()[1].number()
}

#[tokio::test]
async fn what_one_process_says_others_hear_as_it_was_and_in_order() {
    let server = Server::start();
    let (one, other) = (process(&server.url()), process(&server.url()));
    let first = listen(&one, &["a", "b", "a"]).await;
    let second = listen(&other, &["a"]).await;
    assert_eq!(say(&other, "a", "{\"id\":5}").await, 2);
    assert_eq!(say(&one, "b", "2").await, 1);
    assert_eq!(say(&one, "c", "3").await, 0);
    let bytes = Payload::bytes(&b"\0\xff"[..]);
    assert_eq!(one.publish(key("a"), Naming::Own, &bytes).await, Ok(2));
    assert_eq!(heard(&first).await, ("a".into(), Payload::json("{\"id\":5}")));
    assert_eq!(heard(&first).await, ("b".into(), Payload::json("2")));
    assert_eq!(heard(&first).await, ("a".into(), bytes.clone()));
    assert_eq!(heard(&second).await, ("a".into(), Payload::json("{\"id\":5}")));
    assert_eq!(heard(&second).await, ("a".into(), bytes));
    assert!(first.take().is_none() && second.take().is_none());
}

#[tokio::test]
async fn foreign_programs_are_heard_and_hear() {
    let server = Server::start();
    let process = process(&server.url());
    let literal = process.subscriber().listen(&[key("elsewhere:*")], Naming::Literal, NonZeroUsize::new(9).unwrap());
    let own = listen(&process, &["a"]).await;
    literal.ready().await.unwrap();
    server.ask(&["PUBLISH", "elsewhere:1", "no pattern"]);
    server.ask(&["PUBLISH", "elsewhere:*", "plain text"]);
    server.ask(&["PUBLISH", "app!ch:a", "[1]"]);
    assert_eq!(heard(&literal).await, ("elsewhere:*".into(), Payload::json("plain text")));
    assert_eq!(heard(&own).await, ("a".into(), Payload::json("[1]")));
    assert_eq!(process.publish(key("elsewhere:*"), Naming::Literal, &Payload::json("1")).await, Ok(1));
    assert_eq!(heard(&literal).await.1, Payload::json("1"));
}

#[tokio::test]
async fn a_channel_is_what_it_is_called_whatever_is_in_its_name() {
    let server = Server::start();
    let process = process(&server.url());
    let names = ["*", "user:?", "[ab]", "a\\*", "ä ö\r\n", "!lock:x"];
    let subscription = listen(&process, &names).await;
    for other in ["user:1", "a", "b", "x"] {
        assert_eq!(say(&process, other, "0").await, 0, "{other}");
    }
    for name in names {
        assert_eq!(say(&process, name, "1").await, 1, "{name}");
        assert_eq!(heard(&subscription).await.0, name);
    }
}

#[tokio::test]
async fn one_connection_serves_all_who_listen_and_goes_with_the_last() {
    let server = Server::start();
    let process = process(&server.url());
    process.ping().await.unwrap();
    let clients = || server.ask(&["CLIENT", "LIST", "TYPE", "pubsub"]).text().lines().count();
    assert_eq!(clients(), 0);
    let mut kept = Vec::new();
    for number in 0..50 {
        kept.push(listen(&process, &["all", &format!("of-{number}")]).await);
    }
    assert_eq!((clients(), listeners(&server, "all"), listeners(&server, "of-7")), (1, 1, 1));
    drop(kept.split_off(1));
    eventually("channels are let go", async || listeners(&server, "of-7") == 0).await;
    assert_eq!(say(&process, "all", "1").await, 1);
    assert_eq!(heard(&kept[0]).await.0, "all");
    kept.clear();
    eventually("the connection is closed", async || clients() == 0).await;
    let again = listen(&process, &["all"]).await;
    assert_eq!(say(&process, "all", "2").await, 1);
    assert_eq!(heard(&again).await.1, Payload::json("2"));
}

#[tokio::test]
async fn a_slow_listener_loses_the_oldest_and_knows_how_many() {
    let server = Server::start();
    let process = process(&server.url());
    let (slow, fast) = (listen_up_to(&process, &["a"], 3), listen_up_to(&process, &["a"], 9_000));
    slow.ready().await.unwrap();
    let mut client = server.client();
    for number in 0..5_000 {
        client.call(&["PUBLISH", "app!ch:a", &number.to_string()]).unwrap();
    }
    for number in 0..5_000 {
        assert_eq!(heard(&fast).await.1, Payload::json(number.to_string()));
    }
    assert_eq!((slow.dropped(), fast.dropped()), (4_997, 0));
    for number in 4_997..5_000 {
        assert_eq!(heard(&slow).await.1, Payload::json(number.to_string()));
    }
    assert!(slow.take().is_none());
}

#[tokio::test]
async fn who_began_to_listen_hears_what_this_process_says_next() {
    let server = Server::start();
    let process = process(&server.url());
    for channel in ["a", "b", "c"] {
        let subscription = listen_up_to(&process, &[channel], 9);
        assert_eq!(say(&process, channel, "1").await, 1);
        assert_eq!(heard(&subscription).await.0, channel);
    }
}

#[tokio::test]
async fn a_large_message_comes_whole() {
    let server = Server::start();
    let process = process(&server.url());
    let subscription = listen(&process, &["a"]).await;
    let large = Payload::bytes((0..3_000_000_u32).map(|number| number as u8).collect::<Vec<_>>());
    assert_eq!(process.publish(key("a"), Naming::Own, &large).await, Ok(1));
    assert_eq!(heard(&subscription).await.1, large);
}

#[tokio::test]
async fn a_connection_that_is_killed_is_made_anew_and_counted() {
    let server = Server::start();
    let process = process(&server.url());
    let (one, two) = (listen(&process, &["a"]).await, listen(&process, &["b"]).await);
    for gaps in 1..=3 {
        server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        until_heard(&process, "a", &one).await;
        until_heard(&process, "b", &two).await;
        assert_eq!((one.gaps(), two.gaps(), process.subscriber().gaps()), (gaps, gaps, gaps));
    }
    assert_eq!(listen(&process, &["a"]).await.gaps(), 0);
}

#[tokio::test]
async fn after_a_restart_all_is_listened_to_again() {
    let server = Server::start();
    let process = process(&server.url());
    let subscription = listen(&process, &["a", "b"]).await;
    server.kill();
    eventually("the loss is noticed", async || subscription.gaps() == 1).await;
    let early = listen_up_to(&process, &["c"], 9);
    assert!(early.ready().await.is_err(), "there is nobody to listen to");
    server.restart();
    until_heard(&process, "a", &subscription).await;
    until_heard(&process, "b", &subscription).await;
    until_heard(&process, "c", &early).await;
    early.ready().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_open_on_this_side_alone_is_noticed() {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    let process = process(&proxy.url());
    let subscription = listen(&process, &["a"]).await;
    proxy.hold(Direction::Replies);
    let start = Instant::now();
    eventually("the silence is noticed", async || subscription.gaps() == 1).await;
    assert!(start.elapsed() > Duration::from_secs(2), "an idle connection is left alone");
    proxy.release(Direction::Replies);
    proxy.cut();
    until_heard(&process, "a", &subscription).await;
}

#[tokio::test]
async fn an_idle_subscription_stays() {
    let server = Server::start();
    let process = process(&server.url());
    let subscription = listen(&process, &["a"]).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(say(&process, "a", "1").await, 1);
    assert_eq!(heard(&subscription).await.1, Payload::json("1"));
    assert_eq!(subscription.gaps(), 0);
}

#[tokio::test]
async fn it_is_all_the_same_over_tls_with_a_password() {
    let server = Server::builder().tls().password("secret").start();
    let mut options = options(&server.url());
    options.ca = Some(Authorities::from_pem(server.authority()).unwrap());
    is_all_the_same(&process_with(options)).await;
}

#[tokio::test]
async fn it_is_all_the_same_by_the_older_protocol() {
    let server = Server::builder().option("rename-command", &["HELLO", ""]).start();
    is_all_the_same(&process(&server.url())).await;
}

async fn is_all_the_same(process: &Process) {
    let subscription = listen(process, &["a", "b"]).await;
    assert_eq!(say(process, "b", "1").await, 1);
    assert_eq!(heard(&subscription).await, ("b".into(), Payload::json("1")));
    // It is asked for a sign of life meanwhile.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let other = listen(process, &["c"]).await;
    drop(subscription);
    eventually("channels are let go", async || say(process, "b", "1").await == 0).await;
    assert_eq!(say(process, "c", "2").await, 1);
    assert_eq!(heard(&other).await, ("c".into(), Payload::json("2")));
    assert_eq!(process.subscriber().gaps(), 0);
}

#[tokio::test]
async fn a_channel_that_is_not_allowed_is_refused_and_others_are_heard() {
    let server = Server::builder().user("app", "on >secret ~* resetchannels &app!ch:yes +@all").start();
    let process = process(&server.url().replace("redis://", "redis://app:secret@"));
    let refused = listen_up_to(&process, &["yes", "no"], 9);
    let fault = refused.ready().await.unwrap_err();
    assert_eq!(fault.class(), Some(Class::Config), "{fault}");
    let allowed = listen(&process, &["yes"]).await;
    server.ask(&["PUBLISH", "app!ch:yes", "1"]);
    assert_eq!(heard(&allowed).await.0, "yes");
    assert_eq!(heard(&refused).await.0, "yes");
}

#[tokio::test]
async fn closing_ends_what_is_listened_to_and_nothing_listens_afterwards() {
    let server = Server::start();
    let process = process(&server.url());
    let (one, two) = (listen(&process, &["a"]).await, Arc::new(listen(&process, &["a"]).await));
    let waiting = tokio::spawn({
        let two = Arc::clone(&two);
        async move { two.next().await }
    });
    two.close();
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap(), None);
    assert!(two.is_closed() && !one.is_closed());
    assert_eq!(say(&process, "a", "1").await, 1);
    assert_eq!(heard(&one).await.0, "a");
    process.close(Duration::from_secs(1)).await;
    assert_eq!(one.next().await, None);
    let late = listen_up_to(&process, &["a"], 9);
    assert_eq!(late.ready().await, Err(Fault::Unreachable));
    assert_eq!(late.next().await, None);
    eventually("the connection is closed", async || listeners(&server, "a") == 0).await;
}
