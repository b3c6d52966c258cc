//! The rights that the documentation asks for are enough, and are really the ones that are given.

use std::num::NonZeroUsize;
use std::sync::Arc;

use donjon::engine::{Engine, Looked, Tier};
use donjon::link::Options;
use donjon::payload::Payload;
use donjon::pubsub::Naming;
use donjon::runtime::Tokio;
use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::expiry::{Grace, Ttl};
use donjon_core::key::{Key, Namespace};
use donjon_core::lease::Filled;
use donjon_core::pattern::Pattern;
use donjon_core::remote::Storing;
use donjon_core::remote::look::Want;
use donjon_core::settings::RedisTarget;
use donjon_test_redis::Server;

#[tokio::test]
async fn the_least_rights_run_everything() {
    let server = Server::builder().user("app", &least()).start();
    let url = server.url().replace("redis://", "redis://app:secret@");
    let tier: Arc<Tier<Arc<str>>> =
        Tier::new(Namespace::new("app").unwrap(), &Config::default(), 1 << 20, Seed(1 << 64));
    let options = Options::new(RedisTarget::parse(&url).unwrap());
    let engine = Engine::new(tier, Tokio::new(tokio::runtime::Handle::current()), options);
    let (key, ttl) = (Key::new("k").unwrap(), Ttl::parse("1m").unwrap());
    let tags: Arc<[Box<str>]> = Arc::new(["jobs".into()]);
    let storing = Storing { ttl, grace: Grace::NONE, tags: Arc::clone(&tags) };

    engine.ping().await.unwrap();
    let Looked::Load(lease) = engine.look(key, Want { tags: Some(tags), ..Want::default() }).await else { panic!() };
    assert_eq!(lease.fill(Payload::json("1"), &storing).await, Filled::Stored);
    assert_eq!(engine.get_many(&[key]).await, [Some(Payload::json("1"))]);
    assert!(engine.touch(key, Ttl::FOREVER).await.unwrap() && engine.touch(key, ttl).await.unwrap());
    assert!(!engine.add(key, &Payload::json("2"), &Storing { tags: Arc::new([]), ..storing.clone() }).await.unwrap());
    assert!(!engine.invalidate_tags(&["jobs"]).await.unwrap().queued);
    let Looked::Load(lease) = engine.look(key, Want::default()).await else { panic!() };
    drop(lease.fail("no".into()));
    assert_eq!(engine.increment(Key::new("n").unwrap(), 2, ttl).await, Ok(2));
    assert!(engine.peek(Key::new("n").unwrap()).await.unwrap().is_some());
    assert!(engine.set(key, &Payload::json("3"), &storing).await);
    assert_eq!(engine.delete(key).await.count, 1);
    assert_eq!(engine.invalidate_pattern(&Pattern::new("n*").unwrap()).await.count, 1);
    let held = engine.hold_down(&[key], std::time::Duration::from_secs(60)).await.unwrap();
    assert_eq!(engine.lift(&[(key, held[0])]).await.count, 1);
    let held = engine.acquire("l", 60_000).await.unwrap().unwrap();
    assert!(engine.extend("l", &held.token, 60_000).await.unwrap() && engine.unlock("l", &held.token).await.unwrap());
    engine.lock_may_be_free(key).await;
    let listener = engine.subscriber().listen(&[key], Naming::Own, NonZeroUsize::MIN);
    assert_eq!(listener.ready().await, Ok(()));
    assert_eq!(engine.publish(key, Naming::Own, &Payload::json("1")).await, Ok(1));
    assert_eq!(listener.next().await.map(|message| message.payload), Some(Payload::json("1")));
    assert_eq!(engine.tier().stats().faults, 0);
    assert!(!engine.clear().await.queued);
}

fn least() -> String {
    let page = include_str!("../../docs/redis.md");
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER app ")).expect("the page has the line");
    line.trim_start_matches("ACL SETUSER app ").replace("a-long-password", "secret")
}
