//! The cases of every call, as data in `tests/cases/calls`: Rust comes to the same results on every backend.

mod common;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::PATIENCE;
use donjon::{
    Builder, Cache, Error, FOREVER, Found, LoadError, LockGuard, ManualClock, Miss, Remaining, Span, Subscription,
    Targets,
};
use donjon_test_redis::Server;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Barrier;

/// What a loader of a case fails with.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(String);

/// Why a call gave nothing.
enum Refused {
    Cache(Error),
    Loader(String),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Cache(error)
    }
}

impl From<LoadError<Broken>> for Refused {
    fn from(error: LoadError<Broken>) -> Self {
        match error {
            LoadError::Loader(broken) => Self::Loader(broken.0.clone()),
            LoadError::Cache(error) => Self::Cache(error),
        }
    }
}

/// What is in hand, by the name that a case has for it.
enum Held {
    Miss(Miss),
    Lock(LockGuard),
    Released,
    Messages(Subscription),
}

/// One case on one cache.
struct Run {
    cache: Cache,
    clock: ManualClock,
    at_ms: AtomicU64,
    loaded: AtomicU64,
    held: Mutex<HashMap<String, Held>>,
    fences: Mutex<HashMap<String, u64>>,
}

type Done<'a, O = ()> = Pin<Box<dyn Future<Output = O> + Send + 'a>>;

impl Run {
    fn steps<'a>(&'a self, steps: &'a Value) -> Done<'a> {
        Box::pin(async move {
            for step in steps.as_array().into_iter().flatten() {
                match step.get("together").and_then(Value::as_array) {
                    // No load ends before each has been asked for: the barrier is in the loader, and beside the callers.
                    Some(together) => {
                        let everyone = Barrier::new(2);
                        let all =
                            futures_util::future::join_all(together.iter().map(|one| self.step(one, Some(&everyone))));
                        tokio::join!(all, everyone.wait());
                    }
                    None => self.step(step, None).await,
                }
            }
        })
    }

    async fn step(&self, step: &Value, after: Option<&Barrier>) {
        if let Some(at_ms) = step["at_ms"].as_u64() {
            self.clock.advance(Duration::from_millis(at_ms - self.at_ms.swap(at_ms, Ordering::Relaxed)));
        }
        match self.call(step, after).await {
            Err(Refused::Cache(error)) => assert_eq!(step["refused"], name_of(&error), "{error} {step}"),
            Err(Refused::Loader(text)) => assert_eq!(step["raises"], text, "{step}"),
            Ok(given) => {
                assert!(step.get("refused").or(step.get("raises")).is_none(), "{given:?} {step}");
                if let Some(expected) = step.get("gives") {
                    assert_eq!(given.map(|given| some_of(given, step)), Some(whole(expected)), "{step}");
                } else if step.get("nothing").is_some() {
                    assert_eq!(given, None, "{step}");
                }
            }
        }
    }

    async fn load(&self, step: &Value, of: &str, after: Option<&Barrier>) -> Result<Value, Broken> {
        assert!(step.get(of).or(step.get("load_fails")).is_some(), "nothing is to be loaded: {step}");
        if self.loaded.fetch_add(1, Ordering::Relaxed) == 0
            && let Some(everyone) = after
        {
            everyone.wait().await;
        }
        self.steps(&step["meanwhile"]).await;
        step["load_fails"].as_str().map_or_else(|| Ok(whole(&step[of])), |why| Err(Broken(why.to_owned())))
    }

    fn hold(&self, step: &Value, held: Held) {
        if let Some(name) = step["as"].as_str() {
            self.held.lock().insert(name.to_owned(), held);
        }
    }

    fn take(&self, step: &Value, what: &str) -> Held {
        self.held.lock().insert(text(&step[what]), Held::Released).expect("the case has it in hand")
    }

    /// What a call gives; nothing where it found nothing.
    async fn call(&self, step: &Value, after: Option<&Barrier>) -> Result<Option<Value>, Refused> {
        let (cache, key, value) = (&self.cache, &text(&step["key"]), &whole(&step["value"]));
        let (ttl, grace, tags) = (span(&step["ttl"]), span(&step["grace"]), texts(&step["tags"]));
        // A builder with those of its options that the case names.
        macro_rules! with {
            ($call:expr) => {{
                let mut call = $call;
                if let Some(ttl) = ttl {
                    call = call.ttl(ttl);
                }
                call
            }};
            ($call:expr, grace, tags) => {{
                let mut call = with!($call).tags(tags);
                if let Some(grace) = grace {
                    call = call.grace(grace);
                }
                call
            }};
        }
        let given = match &*text(&step["do"]) {
            "get" => return Ok(cache.get(key).await?),
            "set" => with!(cache.set(key, value), grace, tags).await?.into(),
            "add" => with!(cache.add(key, value)).await?.into(),
            "exists" => cache.exists(key).await?.into(),
            "get_many" => json!(cache.get_many::<Value>(texts(&step["keys"])).await?),
            "set_many" => cache.set_many(step["items"].as_object().expect("items").clone()).await?.into(),
            "delete" => (cache.delete(key).await?.count > 0).into(),
            "delete_many" => cache.delete_many(texts(&step["keys"])).await?.count.into(),
            "incr" => with!(cache.incr(key, step["by"].as_i64().unwrap_or(1))).await?.into(),
            "ttl" => match cache.ttl(key).await? {
                None => return Ok(None),
                Some(Remaining::Forever) => "forever".into(),
                Some(Remaining::For(span)) => json!(span.as_millis() as u64),
            },
            "touch" => cache.touch(key, ttl.expect("a ttl")).await?.into(),
            "get_or_set" => {
                let call = with!(cache.get_or_set(key, || self.load(step, "loads", after)), grace, tags);
                if step["force_refresh"] == true { call.force_refresh().await? } else { call.await? }
            }
            "get_or_set_many" => {
                let loader = |mut keys: Vec<String>| async move {
                    keys.sort_unstable();
                    assert_eq!(json!(keys), step["asks"], "{step}");
                    let loaded = self.load(step, "loads_each", None).await?;
                    Ok::<HashMap<_, _>, Broken>(loaded.as_object().expect("values").clone().into_iter().collect())
                };
                json!(cache.get_or_set_many(texts(&step["keys"]), loader).await?)
            }
            "lookup" => match cache.lookup(key).await? {
                Found::Hit(value) => value,
                Found::Miss(miss) => {
                    self.hold(step, Held::Miss(miss));
                    return Ok(None);
                }
            },
            "fill" => {
                let Held::Miss(miss) = self.take(step, "miss") else { panic!("no miss: {step}") };
                miss.fill(value).tags(tags).await?.into()
            }
            "explain" => {
                let known = cache.explain(key).await?;
                json!({ "state": known.state, "why_absent": known.why_absent, "tags": known.tags })
            }
            _ => self.call_for_all(step, ttl, tags).await?,
        };
        Ok(Some(given))
    }

    /// What a call gives that is about no single key.
    async fn call_for_all(&self, step: &Value, ttl: Option<Span>, tags: Vec<String>) -> Result<Value, Refused> {
        let cache = &self.cache;
        Ok(match &*text(&step["do"]) {
            "warm" => {
                let loader = |key: String| async move { Ok::<_, Broken>(step["loads_each"][key].clone()) };
                let report = cache.warm(texts(&step["keys"]), loader).await?;
                json!({ "loaded": report.loaded, "skipped": report.skipped, "failed": report.failed.len() })
            }
            "loaded" => self.loaded.load(Ordering::Relaxed).into(),
            "invalidate_pattern" => cache.invalidate_pattern(&text(&step["pattern"])).await?.count.into(),
            "invalidate_tags" => cache.invalidate_tags(tags).await?.count.into(),
            "clear" => cache.clear().await?.count.into(),
            "on" => {
                let (keys, patterns) = (texts(&step["keys"]), texts(&step["patterns"]));
                let [keys, patterns, tags] =
                    [&keys, &patterns, &tags].map(|all| all.iter().map(|it| &**it).collect::<Vec<_>>());
                cache
                    .rules()
                    .on(&text(&step["event"]), Targets { keys: &keys, patterns: &patterns, tags: &tags })?
                    .into()
            }
            "emit" => {
                let about = step["about"].as_object().expect("what it is about");
                cache
                    .emit(&text(&step["event"]), about.iter().map(|(name, value)| (name, text(value))))
                    .await?
                    .count
                    .into()
            }
            "lock" => {
                let wait = Duration::from_millis(step["wait"].as_u64().unwrap_or_default());
                let guard = cache.lock(&text(&step["name"]), ttl.expect("a ttl")).wait(wait).await?;
                self.fences.lock().insert(text(&step["as"]), guard.fence());
                self.hold(step, Held::Lock(guard));
                Value::Null
            }
            "extend" => match self.take(step, "lock") {
                Held::Lock(guard) => {
                    let extended = guard.extend(ttl.expect("a ttl")).await;
                    self.held.lock().insert(text(&step["lock"]), Held::Lock(guard));
                    extended?.into()
                }
                // A guard that was released is no more: what the others refuse cannot be written in Rust.
                _ => return Err(Error::LockLost { name: "".into() }.into()),
            },
            "release" => {
                let Held::Lock(guard) = self.take(step, "lock") else { panic!("no lock: {step}") };
                guard.release().await?.into()
            }
            "later" => {
                let fences = self.fences.lock();
                (fences[&text(&step["is"])] > fences[&text(&step["than"])]).into()
            }
            "publish" => cache.publish(&text(&step["channel"]), &step["message"]).await?.into(),
            "subscribe" => {
                self.hold(step, Held::Messages(cache.subscribe(texts(&step["channels"])).await?));
                Value::Null
            }
            "receive" => {
                let Held::Messages(mut messages) = self.take(step, "from") else { panic!("no subscription: {step}") };
                let message = messages.next().await.expect("the cache is open");
                self.held.lock().insert(text(&step["from"]), Held::Messages(messages));
                json!({ "channel": *message.channel, "data": message.decode::<Value>()? })
            }
            "stats" => self.stats(),
            "reset_stats" => {
                cache.reset_stats();
                Value::Null
            }
            "switch" => {
                cache.set_enabled(step["on"] == true);
                Value::Null
            }
            "ping" => cache.ping().await.is_ok().into(),
            other => panic!("there is no call {other}"),
        })
    }

    fn stats(&self) -> Value {
        let stats = self.cache.stats();
        json!({
            "hits": stats.hits, "stale": stats.stale, "misses": stats.misses, "loads": stats.loads, "stores": stats.stores,
            "load_failures": stats.load_failures, "loads_refused": stats.loads_refused, "entries": stats.entries,
            "bytes": stats.bytes, "evictions": stats.evictions, "invalidations": stats.invalidations,
            "replacements": stats.replacements, "hit_rate": stats.hit_rate(), "miss_rate": stats.miss_rate(),
        })
    }
}

/// Of what a call tells, what the case asks for. Rates are compared as numbers, whole or not.
fn some_of(mut given: Value, step: &Value) -> Value {
    if let (Some(given), true) = (given.as_object_mut(), step["do"] == "stats" || step["do"] == "explain") {
        given.retain(|name, value| {
            if let Some(whole) = value.as_f64().filter(|number| number.fract() == 0.0) {
                *value = json!(whole as u64);
            }
            step["gives"].get(name).is_some()
        });
    }
    given
}

/// A value as it is written, or a text that is said to be repeated.
fn whole(value: &Value) -> Value {
    match (value["repeat"].as_str(), value["times"].as_u64()) {
        (Some(text), Some(times)) => text.repeat(times as usize).into(),
        _ => value.clone(),
    }
}

fn text(value: &Value) -> String {
    match whole(value) {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn span(value: &Value) -> Option<Span> {
    value.as_str().map(|text| if text == "forever" { FOREVER } else { text.to_owned().into() })
}

/// An error's name in the cases.
fn name_of(error: &Error) -> &'static str {
    match error {
        Error::InvalidKey { .. } => "InvalidKey",
        Error::InvalidPattern(_) => "InvalidPattern",
        Error::InvalidTag(_) => "InvalidTag",
        Error::InvalidTtl(_) => "InvalidTtl",
        Error::ValueTooLarge { .. } => "ValueTooLarge",
        Error::NotACounter(_) => "NotACounter",
        Error::InvalidRule(_) | Error::Rule(_) => "RuleError",
        Error::LockTimeout { .. } => "LockTimeout",
        Error::LockLost { .. } => "LockNotOwned",
        _ => "another",
    }
}

/// The builder of a case's cache, with what it says of it.
fn made(mut builder: Builder, options: &Value) -> Builder {
    builder = builder.early(0.0);
    for (option, value) in options.as_object().into_iter().flatten() {
        builder = match option.as_str() {
            "default_ttl" => builder.default_ttl(text(value)),
            "ttls" => value
                .as_object()
                .expect("classes")
                .iter()
                .fold(builder, |it, (name, ttl)| it.ttl_class(name, text(ttl))),
            "max_entries" => builder.max_entries(value.as_u64().expect("a number")),
            "max_value_bytes" => builder.max_value_bytes(value.as_u64().expect("a number") as usize),
            // What Python and JavaScript have to be told is always so here.
            "strict" => builder,
            other => panic!("there is no option {other}"),
        };
    }
    builder
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
            let run = Run {
                cache,
                clock,
                at_ms: AtomicU64::new(0),
                loaded: AtomicU64::new(0),
                held: Mutex::default(),
                fences: Mutex::default(),
            };
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
