//! Explained: what is known of one key, for people who wonder why it is served, or why not.

use std::borrow::Cow;
use std::time::Duration;

use donjon_core::cache::Explained as InMemory;
use donjon_core::entry::{Freshness, Weight};
use donjon_core::moment::Moment;

/// For how much longer something lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remaining {
    /// For so long; nothing where it is over.
    For(Duration),
    /// Until evicted or invalidated.
    Forever,
}

impl Remaining {
    pub(super) fn until(end: Moment, now: Moment) -> Self {
        if end == Moment::NEVER { Self::Forever } else { Self::For(end - now) }
    }
}

/// What the cache knows of a key, for people who wonder why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explained {
    /// Where its value is found, `memory` or `redis`, where it has one that may be served.
    pub tier: Option<&'static str>,
    /// `fresh`, `stale`, `absent`, or `unknown` where Redis could not be asked.
    pub state: &'static str,
    /// Why there is nothing to serve, in a word.
    pub why_absent: Option<Cow<'static, str>>,
    /// How long ago it was stored.
    pub age: Option<Duration>,
    /// For how much longer it is fresh.
    pub fresh_for: Option<Remaining>,
    /// For how much longer it may be served.
    pub usable_for: Option<Remaining>,
    /// How long its loader took; nothing for what was set by hand.
    pub load_time: Option<Duration>,
    /// What it weighs, in bytes.
    pub bytes: Option<u64>,
    /// Its tags.
    pub tags: Vec<String>,
    /// For how long a load has been under way.
    pub loading_for: Option<Duration>,
    /// How long ago its last value left, where that is known.
    pub removed_ago: Option<Duration>,
    /// What memory in front of Redis is worth, where there is such: `tracking`, `fallback`, `suspect` or `off`.
    pub coherence: Option<&'static str>,
    /// How long ago Redis last told this process of a change, where it did.
    pub last_push: Option<Duration>,
    /// Whether Redis is left alone for now, since it failed.
    pub is_redis_left_alone: bool,
}

impl Explained {
    /// Of a key without a value that may be served.
    pub(super) fn absent(why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            tier: None,
            state: "absent",
            why_absent: Some(why.into()),
            age: None,
            fresh_for: None,
            usable_for: None,
            load_time: None,
            bytes: None,
            tags: Vec::new(),
            loading_for: None,
            removed_ago: None,
            coherence: None,
            last_push: None,
            is_redis_left_alone: false,
        }
    }

    pub(super) fn in_memory(known: InMemory, now: Moment) -> Self {
        Self {
            tier: known.freshness.filter(|freshness| *freshness != Freshness::Over).map(|_| "memory"),
            state: known.state(),
            why_absent: known.why_absent().map(Cow::Borrowed),
            age: known.age,
            fresh_for: known.life.map(|life| Remaining::until(life.fresh_until(), now)),
            usable_for: known.life.map(|life| Remaining::until(life.usable_until(), now)),
            load_time: known.load_time,
            bytes: known.weight.map(Weight::get),
            loading_for: known.loading,
            removed_ago: known.last_removal.map(|(_, ago)| ago),
            tags: known.tags,
            coherence: None,
            last_push: None,
            is_redis_left_alone: false,
        }
    }
}
