//! The cases of every call, as data in `tests/cases/calls`: Rust comes to the same results on every backend.
//!
//! Owns how a case is run; `cases/spelling.rs` says how Rust spells the options, calls and errors that it names.

#[path = "cases/spelling.rs"]
mod spelling;

mod common;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::PATIENCE;
use donjon::{Builder, Cache, ManualClock};
use donjon_test_redis::Server;
use parking_lot::Mutex;
use serde_json::Value;
use spelling::{Down, Held, configured, name_of, texts};
use tokio::time::{sleep, timeout};

/// One case on caches of its own.
struct Run<'a> {
    builder: Builder,
    server: Option<&'a Server>,
    clock: ManualClock,
    at_ms: AtomicU64,
    /// By the name that the case has for one; the first has none.
    caches: Mutex<HashMap<String, Cache>>,
    held: Mutex<HashMap<String, Held>>,
    risen: AtomicU64,
}

impl Run<'_> {
    fn cache(&self, by: &Value) -> Cache {
        let make = || self.builder.clone().build().expect("the options are good");
        self.caches.lock().entry(by.as_str().unwrap_or_default().to_owned()).or_insert_with(make).clone()
    }

    fn steps<'a>(&'a self, steps: &'a Value) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            for step in steps.as_array().into_iter().flatten() {
                let at_once =
                    step.get("together").and_then(Value::as_array).map_or(std::slice::from_ref(step), Vec::as_slice);
                futures_util::future::join_all(at_once.iter().map(|one| self.step(one))).await;
            }
        })
    }

    async fn step(&self, step: &Value) {
        self.prepare(step).await;
        let (given, failed) = match self.call(step).await {
            Ok(given) => (given, None),
            Err(error) => (None, Some(name_of(&*error))),
        };
        assert_eq!(failed.as_deref(), step["fails"].as_str(), "{step}");
        assert!(step.get("nothing").is_none() || given.is_none(), "{given:?} {step}");
        if let Some(gives) = step.get("gives") {
            let given = given.as_ref().map(|given| given.get("count").unwrap_or(given));
            assert_eq!(given, Some(gives), "{step}");
        }
        if let Some(name) = step["rises"].as_str() {
            let now = given.as_ref().and_then(|given| given[name].as_u64()).expect("a number");
            assert!(now > self.risen.swap(now, Ordering::Relaxed), "{step}");
        }
        for (told, facts) in [(given.unwrap_or_default(), &step["has"]), (self.stats(step), &step["stats"])] {
            for (name, fact) in facts.as_object().into_iter().flatten() {
                assert_eq!(&told[name], fact, "{name} {step}");
            }
        }
    }

    /// Makes it the time of the step, and Redis what it says.
    async fn prepare(&self, step: &Value) {
        if let Some(at_ms) = step["at_ms"].as_u64() {
            self.clock.advance(Duration::from_millis(at_ms - self.at_ms.swap(at_ms, Ordering::Relaxed)));
        }
        if let Some(wait_ms) = step["wait_ms"].as_u64() {
            self.clock.advance(Duration::from_millis(wait_ms));
            sleep(Duration::from_millis(wait_ms)).await;
        }
        if let Some(place) = step["redis"].as_str() {
            let (server, cache) = (self.server.expect("the case needs a server"), self.cache(&Value::Null));
            if place == "away" {
                server.kill();
            } else {
                server.restart();
            }
            while cache.ping().await.is_ok() == (place == "away") {
                sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// What the step says that its loader gives, once the steps are done that come meanwhile.
    async fn load(&self, step: &Value) -> Result<Value, Down> {
        let loads = step.get("loads").or(step.get("loads_each"));
        assert!(loads.is_some() || step["load_fails"] == true, "nothing is to be loaded: {step}");
        tokio::task::yield_now().await; // for who asks at the same time
        self.steps(&step["meanwhile"]).await;
        loads.cloned().ok_or(Down)
    }
}

/// All cases of which a place has what they need, each on caches of its own.
async fn all_of(has: &[&str], server: Option<&Server>, place: impl Fn(&ManualClock) -> Builder) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases/calls");
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("the cases are there") {
        let text = std::fs::read_to_string(file.expect("it can be listed").path()).expect("it can be read");
        let subject: Value = serde_json::from_str(&text).expect("it is JSON");
        for case in subject["cases"].as_array().expect("a list of cases") {
            if !texts(&case["needs"]).iter().all(|need| has.contains(&&**need)) {
                continue;
            }
            println!("{}: {}", subject["about"], case["name"]);
            let clock = ManualClock::default();
            let builder = configured(place(&clock), &case["cache"]).namespace(format!("case{count}"));
            let (caches, held) = (Mutex::default(), Mutex::default());
            let run = Run { builder, server, clock, at_ms: 0.into(), caches, held, risen: 0.into() };
            timeout(Duration::from_secs(30), run.steps(&case["steps"])).await.expect("it ends");
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

async fn all_over_redis(near: impl Fn(Builder) -> Builder) {
    let server = Server::builder().append_only().start();
    let place = |_: &_| near(Cache::redis(&server.url()).connect_timeout(PATIENCE).command_timeout(PATIENCE));
    all_of(&["redis", "time", "max_value_bytes"], Some(&server), place).await;
}

#[tokio::test]
async fn calls_give_in_memory_what_they_give_everywhere() {
    all_of(&["clock", "bounds", "max_value_bytes"], None, |clock| Cache::memory().clock(clock)).await;
}

#[tokio::test]
async fn calls_give_over_redis_what_they_give_everywhere() {
    all_over_redis(|builder| builder).await;
}

#[tokio::test]
async fn calls_give_with_memory_in_front_what_they_give_everywhere() {
    all_over_redis(Builder::near).await;
}
