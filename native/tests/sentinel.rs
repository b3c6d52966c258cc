//! A primary that sentinels name: how it is found, what a failover does, and what is said where there is none.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{PATIENCE, eventually};
use donjon::Cache;
use donjon::link::{Line, Link, Options};
use donjon::runtime::Tokio;
use donjon_core::fault::{Class, Fault};
use donjon_core::settings::RedisTarget;
use donjon_test_redis::{Answer, PRIMARY, Rogue, Sentinels, Server};
use redis::{Value, cmd};

fn cache(url: &str) -> Cache {
    Cache::redis(url).connect_timeout(PATIENCE).command_timeout(PATIENCE).build().expect("the options are good")
}

fn link(url: &str) -> Link<Tokio> {
    let mut options = Options::new(RedisTarget::parse(url).expect("a URL"));
    (options.connect_budget, options.command_budget) = (PATIENCE, PATIENCE);
    let greet = Arc::new(|_: Line| -> donjon::link::Greeting { Box::pin(async { Ok(()) }) });
    Link::new(Tokio::new(tokio::runtime::Handle::current()), options, greet)
}

async fn stored(cache: &Cache, key: &str, value: u8) -> bool {
    cache.set(key, &value).await.expect("it is good");
    cache.get::<u8>(key).await.expect("it is a key") == Some(value)
}

#[tokio::test]
async fn when_the_primary_is_gone_the_next_one_is_found_and_told_what_it_may_have_missed() {
    let watched = Sentinels::start();
    let cache = Cache::redis(&watched.url()).command_timeout(Duration::from_millis(500)).build().unwrap();
    assert!(stored(&cache, "kept", 1).await && stored(&cache, "deleted", 1).await);
    let former = watched.primary();
    former.ask(&["WAIT", "2", "5000"]);
    let mut heard = cache.subscribe(["c"]).await.expect("it listens");
    for replica in &watched.servers()[1..] {
        replica.pause();
    }
    assert_eq!(cache.delete("deleted").await.expect("it is a key").count, 1);
    former.kill();
    for replica in &watched.servers()[1..] {
        replica.resume();
    }
    watched.wait_for_another(former);
    eventually("the next one is found", async || stored(&cache, "new", 2).await).await;
    assert_eq!(cache.get::<u8>("kept").await.unwrap(), Some(1));
    assert_eq!(cache.get::<u8>("deleted").await.unwrap(), None, "its replica never heard of it from the first");
    eventually("it is heard again", async || cache.publish("c", &1).await.is_ok_and(|listeners| listeners > 0)).await;
    assert!(heard.next().await.is_some());
}

#[tokio::test]
async fn a_sentinel_that_is_gone_is_not_missed() {
    let watched = Sentinels::start();
    watched.sentinels()[0].kill();
    watched.sentinels()[1].pause();
    assert!(stored(&cache(&watched.url()), "k", 1).await);
    let places = watched.places();
    let in_db_3 = cache(&format!("redis+sentinel://127.0.0.1:1,{places}/{PRIMARY}/3"));
    assert!(stored(&in_db_3, "k3", 1).await);
    assert_eq!(watched.servers()[0].info("db3").map(|keys| keys.starts_with("keys=1,")), Some(true));
    watched.sentinels()[1].resume();
}

#[tokio::test]
async fn servers_and_sentinels_have_passwords_of_their_own_and_no_message_shows_them() {
    let server = Server::builder().password("hunter2");
    let sentinel = Server::builder().password("sesame").option("sentinel", &["auth-pass", PRIMARY, "hunter2"]);
    let watched = Sentinels::of(&server, &sentinel);
    let places = watched.places();
    let good = format!("redis+sentinel://:hunter2@{places}/{PRIMARY}?sentinel_password=sesame");
    assert!(stored(&cache(&good), "k", 1).await);
    for (url, code) in [
        (format!("redis+sentinel://:hunter2@{places}/{PRIMARY}"), "NOAUTH"),
        (format!("redis+sentinel://:sesame@{places}/{PRIMARY}?sentinel_password=sesame"), "WRONGPASS"),
        (format!("redis+sentinel://:hunter2@{places}/{PRIMARY}?sentinel_password=hunter2"), "WRONGPASS"),
    ] {
        let link = link(&url);
        let fault = link.ask(&cmd("PING")).await.unwrap_err();
        assert!(matches!(&fault, Fault::Server { code: said, .. } if **said == *code), "{fault}");
        let shown = format!("{fault} {link:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("sesame"), "{shown}");
    }
}

#[tokio::test]
async fn a_name_that_no_sentinel_knows_and_sentinels_that_are_not_there_are_told_apart() {
    let watched = Sentinels::start();
    let fault = link(&format!("redis+sentinel://{}/others", watched.places())).ask(&cmd("PING")).await.unwrap_err();
    assert_eq!(fault.class(), Some(Class::Config));
    assert!(fault.to_string().contains("the sentinels know no primary of this name"), "{fault}");
    let nowhere = link(&format!("redis+sentinel://127.0.0.1:1,127.0.0.1:2/{PRIMARY}"));
    assert_eq!(nowhere.ask(&cmd("PING")).await, Err(Fault::Unreachable));
    let fault = link(&format!("redis+sentinel://127.0.0.1:{}/{PRIMARY}", watched.servers()[0].port()));
    assert_eq!(fault.ask(&cmd("PING")).await.unwrap_err().class(), Some(Class::Config), "a server is no sentinel");
}

#[tokio::test]
async fn who_is_named_and_is_no_primary_is_not_used() {
    let (primary, replica) = (Server::start(), Server::start());
    replica.replica_of(&primary);
    let port = replica.port().to_string();
    let named = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len()).into_bytes();
    let sentinel = Rogue::before(&primary, move |words| match &*words[0] {
        b"SENTINEL" => Answer::Instead(named.clone()),
        _ => Answer::Honest,
    });
    let link = link(&format!("redis+sentinel://127.0.0.1:{}/{PRIMARY}", sentinel.port()));
    assert_eq!(link.ask(&cmd("PING")).await, Err(Fault::Unreachable));
    replica.promote();
    eventually("it is a primary now", async || link.ask(&cmd("PING")).await == Ok(Value::SimpleString("PONG".into())))
        .await;
}
