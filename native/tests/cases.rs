//! The cases of every call, as data in `tests/cases/calls`: Rust comes to the same results on every backend.
//!
//! Owns how a case is run; `cases/spelling.rs` says how Rust spells the calls that a step names.

#[path = "cases/spelling.rs"]
mod spelling;

mod common;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::PATIENCE;
use donjon::{Builder, Cache, LockGuard, ManualClock, Miss, Subscription};
use donjon_test_redis::Server;
use parking_lot::Mutex;
use serde_json::Value;
use spelling::{items, name_of, span, texts};

/// What the loader of a case fails with.
#[derive(Debug, thiserror::Error)]
#[error("down")]
struct Down;

/// What is in hand, under the name that a case has for it.
enum Held {
    Miss(Miss),
    Lock(LockGuard),
    Messages(Subscription),
}

/// One case on one cache.
struct Run {
    cache: Cache,
    clock: ManualClock,
    at_ms: AtomicU64,
    held: Mutex<HashMap<String, Held>>,
    risen: AtomicU64,
}

impl Run {
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
        if let Some(at_ms) = step["at_ms"].as_u64() {
            self.clock.advance(Duration::from_millis(at_ms - self.at_ms.swap(at_ms, Ordering::Relaxed)));
        }
        let (given, failed) = match self.call(step).await {
            Ok(given) => (given, None),
            Err(error) => (None, Some(name_of(&*error))),
        };
        assert_eq!(failed.as_deref(), step["fails"].as_str(), "{step}");
        assert!(step.get("nothing").is_none() || given.is_none(), "{given:?} {step}");
        if let Some(gives) = step.get("gives") {
            assert_eq!(given.as_ref(), Some(gives), "{step}");
        }
        if let Some(name) = step["rises"].as_str() {
            let now = given.as_ref().and_then(|given| given[name].as_u64()).expect("a number");
            assert!(now > self.risen.swap(now, Ordering::Relaxed), "{step}");
        }
        for (told, facts) in [(given.unwrap_or_default(), &step["has"]), (self.stats(), &step["stats"])] {
            for (name, fact) in facts.as_object().into_iter().flatten() {
                assert_eq!(&told[name], fact, "{name} {step}");
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

/// The builder of a case's cache, with what it says of it, and neither jitter nor early refresh.
fn made(builder: Builder, options: &Value) -> Builder {
    items(options).iter().fold(builder.early(0.0), |builder, (option, value)| match option.as_str() {
        "default_ttl" => builder.default_ttl(span(value, "")),
        "ttl_classes" => items(value).iter().fold(builder, |it, (name, ttl)| it.ttl_class(name, span(ttl, ""))),
        "enabled" => builder.enabled(value == true),
        "jitter" => builder.jitter(value.as_f64().expect("a number")),
        "max_entries" => builder.max_entries(value.as_u64().expect("a number")),
        "max_value_bytes" => builder.max_value_bytes(value.as_u64().expect("a number") as usize),
        // What the others have to be told is always so here.
        "strict" => builder,
        other => panic!("there is no option {other}"),
    })
}

/// All cases of which a place has what they need, each on a cache of its own.
async fn all_of(has: &[&str], place: impl Fn(&ManualClock) -> Builder) {
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
            let builder = made(place(&clock), &case["cache"]).namespace(format!("case{count}"));
            let cache = builder.build().expect("the options are good");
            let run = Run { cache, clock, at_ms: 0.into(), held: Mutex::default(), risen: 0.into() };
            tokio::time::timeout(Duration::from_secs(30), run.steps(&case["steps"])).await.expect("it ends");
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

#[tokio::test]
async fn calls_give_in_memory_what_they_give_everywhere() {
    all_of(&["clock", "bounds", "max_value_bytes"], |clock| Cache::memory().clock(clock)).await;
}

#[tokio::test]
async fn calls_give_over_redis_what_they_give_everywhere() {
    let server = Server::start();
    let place = |_: &_| Cache::redis(&server.url()).connect_timeout(PATIENCE).command_timeout(PATIENCE);
    all_of(&["max_value_bytes"], place).await;
}

#[tokio::test]
async fn calls_give_with_memory_in_front_what_they_give_everywhere() {
    let server = Server::start();
    let place = |_: &_| Cache::redis(&server.url()).connect_timeout(PATIENCE).command_timeout(PATIENCE).near();
    all_of(&["max_value_bytes"], place).await;
}
