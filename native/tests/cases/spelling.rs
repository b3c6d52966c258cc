//! Spelling: how Rust spells the options, calls and errors that the cases name.

use std::collections::HashMap;
use std::time::Duration;

use donjon::{Builder, FOREVER, Found, LockGuard, Miss, Mode, Remaining, Removed, Span, Subscription, Targets};
use serde_json::{Value, json};

use super::Run;

/// What the loader of a case fails with.
#[derive(Debug, thiserror::Error)]
#[error("down")]
pub(super) struct Down;

/// What is in hand, under the name that a case has for it.
pub(super) enum Held {
    Miss(Miss),
    Lock(LockGuard),
    Messages(Subscription),
}

/// The builder of a case's caches, with what it says of them, and neither jitter nor early refresh.
pub(super) fn configured(builder: Builder, options: &Value) -> Builder {
    items(options).iter().fold(builder.early(0.0), |builder, (option, value)| match option.as_str() {
        "default_ttl" => builder.default_ttl(span(value, "")),
        "ttl_classes" => items(value).iter().fold(builder, |it, (name, ttl)| it.ttl_class(name, span(ttl, ""))),
        "enabled" => builder.enabled(value == true),
        "jitter" => builder.jitter(value.as_f64().expect("a number")),
        "load_timeout" => builder.load_timeout(Duration::from_millis(value.as_u64().expect("a number"))),
        "max_entries" => builder.max_entries(value.as_u64().expect("a number")),
        "max_value_bytes" => builder.max_value_bytes(value.as_u64().expect("a number") as usize),
        // A value that is too large is an error here in any case.
        "strict" => builder,
        other => panic!("there is no option {other}"),
    })
}

/// Whatever a call fails with, the cache's own or the loader's.
type Failed = Box<dyn std::error::Error + Send + Sync>;

impl Run<'_> {
    /// What the call gives that a step names; none where it found nothing.
    pub(super) async fn call(&self, step: &Value) -> Result<Option<Value>, Failed> {
        if let Some(name) = step["of"].as_str() {
            return self.call_of(name, step).await.map(Some);
        }
        let (first, second, with) = (&step["do"][1], &step["do"][2], &step["with"]);
        let (key, keys, rest) = (&*text(first), texts(first), texts(&step["do"]).split_off(1));
        let (ttl, grace, tags) = (span(&with["ttl"], "default"), span(&with["grace"], "0s"), texts(&with["tags"]));
        let cache = &match (self.cache(&step["by"]), with["mode"].as_str()) {
            (cache, None) => cache,
            (cache, Some(mode)) => cache.in_mode(if mode == "strong" { Mode::Strong } else { Mode::Local }),
        };
        let given = match &*text(&step["do"][0]) {
            "get" => return Ok(cache.get(key).await?),
            "get_many" => json!(cache.get_many::<Value>(keys).await?),
            "exists" => cache.exists(key).await?.into(),
            "ttl" => return Ok(cache.ttl(key).await?.map(remaining)),
            "explain" => {
                let known = cache.explain(key).await?;
                json!({ "state": known.state, "why_absent": known.why_absent, "tags": known.tags, "tier": known.tier })
            }
            "set" => cache.set(key, second).ttl(ttl).grace(grace).tags(tags).await?.into(),
            "set_many" => cache.set_many(items(first)).ttl(ttl).grace(grace).tags(tags).await?.into(),
            "add" => cache.add(key, second).ttl(ttl).await?.into(),
            "incr" => cache.incr(key, second.as_i64().unwrap_or(1)).ttl(ttl).await?.into(),
            "touch" => cache.touch(key, span(second, "")).await?.into(),
            "get_or_set" => {
                let call = cache.get_or_set(key, || self.load(step)).ttl(ttl).grace(grace).tags(tags);
                if with["force_refresh"] == true { call.force_refresh().await? } else { call.await? }
            }
            "get_or_set_many" => {
                let loader = |keys: Vec<String>| async move {
                    let loaded = items(&self.load(step).await?);
                    assert!(keys.len() == loaded.len() && keys.iter().all(|key| loaded.contains_key(key)), "{keys:?}");
                    Ok::<_, Down>(loaded)
                };
                json!(cache.get_or_set_many(keys, loader).ttl(ttl).grace(grace).tags(tags).await?)
            }
            "warm" => {
                let loader = |key: String| async move { Ok::<_, Down>(self.load(step).await?[key].clone()) };
                let report = cache.warm(keys, loader).ttl(ttl).grace(grace).tags(tags).await?;
                json!({ "loaded": report.loaded, "skipped": report.skipped })
            }
            "lookup" => match cache.lookup(key).await? {
                Found::Hit(value) => value,
                Found::Miss(miss) => return Ok(self.hold(step, Held::Miss(miss), None)),
            },
            "delete" => (cache.delete(key).await?.count > 0).into(),
            "delete_many" => removed(cache.delete_many(keys).await?),
            "invalidate_pattern" => removed(cache.invalidate_pattern(key).await?),
            "invalidate_tags" => removed(cache.invalidate_tags(rest).await?),
            "clear" => removed(cache.clear().await?),
            "emit" => removed(cache.emit(key, items(with).iter().map(|(name, it)| (name, text(it)))).await?),
            "rules.on" => {
                let [keys, patterns, tags] = ["keys", "patterns", "tags"].map(|name| texts(&with[name]));
                let [keys, patterns, tags] = [&keys, &patterns, &tags].map(|all| all.iter().map(|it| &**it).collect());
                let (keys, patterns, tags): (Vec<_>, Vec<_>, Vec<_>) = (keys, patterns, tags);
                cache.rules().on(key, Targets { keys: &keys, patterns: &patterns, tags: &tags })?.into()
            }
            "lock" => {
                let wait = Duration::from_millis(with["wait"].as_u64().unwrap_or_default());
                let guard = cache.lock(key, ttl).wait(wait).await?;
                let told = json!({ "fence": guard.fence() });
                return Ok(self.hold(step, Held::Lock(guard), Some(told)));
            }
            "publish" => cache.publish(key, second).await?.into(),
            "subscribe" => return Ok(self.hold(step, Held::Messages(cache.subscribe(rest).await?), None)),
            "ping" => cache.ping().await.is_ok().into(),
            "enabled" => json!(cache.set_enabled(first == true)),
            "reset_stats" => json!(cache.reset_stats()),
            "close" => json!(cache.close().await),
            other => panic!("there is no call {other}"),
        };
        Ok(Some(given))
    }

    /// What a call gives of something that is in hand.
    async fn call_of(&self, name: &str, step: &Value) -> Result<Value, Failed> {
        let (first, with) = (&step["do"][1], &step["with"]);
        let held = self.held.lock().remove(name).expect("the case has it in hand");
        let (kept, given) = match held {
            Held::Miss(miss) => {
                let fill = miss.fill(first).ttl(span(&with["ttl"], "default")).grace(span(&with["grace"], "0s"));
                return Ok(fill.tags(texts(&with["tags"])).await?.into());
            }
            Held::Lock(guard) if step["do"][0] == "release" => return Ok(guard.release().await?.into()),
            Held::Lock(guard) => {
                let extended = guard.extend(span(first, "")).await.map(Value::from);
                (Held::Lock(guard), extended)
            }
            Held::Messages(mut messages) => {
                let message = messages.next().await.expect("the cache is open");
                let told = json!({ "channel": *message.channel, "data": message.decode::<Value>()? });
                (Held::Messages(messages), Ok(told))
            }
        };
        self.held.lock().insert(name.to_owned(), kept);
        Ok(given?)
    }

    fn hold(&self, step: &Value, held: Held, told: Option<Value>) -> Option<Value> {
        self.held.lock().insert(text(&step["as"]), held);
        told
    }

    pub(super) fn stats(&self, step: &Value) -> Value {
        let stats = self.cache(&step["by"]).stats();
        macro_rules! told {
            ($($name:ident)*) => { json!({ $(stringify!($name): stats.$name,)* "hit_rate": stats.hit_rate(), "miss_rate": stats.miss_rate() }) };
        }
        told! {
            hits stale misses loads load_failures loads_refused stale_on_error stores evictions expirations invalidations
            replacements too_large entries bytes
        }
    }
}

/// An error's name in the cases: that of its variant, but where Rust has two for what is one elsewhere.
pub(super) fn name_of(error: &(dyn std::error::Error + Send + Sync)) -> String {
    let shown = format!("{error:?}");
    let shown = ["Cache(", "Loader("].iter().fold(&*shown, |shown, outer| shown.trim_start_matches(outer));
    match shown.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default() {
        "Rule" => "InvalidRule",
        "Closed" => "CacheClosed",
        "LockWithoutEnd" => "InvalidTtl",
        "Redis" => "BackendUnavailable",
        name => name,
    }
    .to_owned()
}

fn removed(removed: Removed) -> Value {
    json!({ "count": removed.count, "queued": removed.queued })
}

fn remaining(left: Remaining) -> Value {
    match left {
        Remaining::Forever => "forever".into(),
        Remaining::For(left) => json!(left.as_millis() as u64),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn items(value: &Value) -> HashMap<String, Value> {
    value.as_object().into_iter().flatten().map(|(name, it)| (name.clone(), it.clone())).collect()
}

fn span(value: &Value, default: &'static str) -> Span {
    match value.as_str() {
        Some("forever") => FOREVER,
        Some(text) => text.to_owned().into(),
        None => default.into(),
    }
}
