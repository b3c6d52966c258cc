//! Redis: the backend that processes share.
//!
//! Says in the words of the public API what the engine does. Decides nothing, but what a fault is to a caller: reads find
//! nothing, stores and invalidations are owed, and what can have no meaning without Redis is an error.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use donjon_core::cache::Config;
use donjon_core::expiry::Ttl;
use donjon_core::key::{Key, Namespace};
use donjon_core::lease::Filled;
use donjon_core::near::{self, Near, State};
use donjon_core::pattern::Pattern;
use donjon_core::remote::name::Names;
use donjon_core::remote::{Storing, look};
use donjon_core::rules::Plan;
use donjon_core::stats::Stats;
use donjon_core::version::Ticket;
use futures_util::future::join_all;
use tokio::runtime::Handle;

use super::Mode;
use super::backend::{self, Begun, Grant, Listener, LockToken, Want, too_large};
use super::explained::{Explained, Remaining};
use super::memory::entropy;
use super::removed::Removed;
use crate::engine::{self, Engine, Front, Looked, Peeked, Tier, Watches, WriteError};
use crate::error::{Error, Failure};
use crate::link::Options;
use crate::payload::Payload;
use crate::pubsub::Naming;
use crate::runtime::{Runtime, Tokio, now};

/// One Redis, asked from the tokio runtime in which this was made.
#[derive(Debug)]
pub(crate) struct Redis {
    engine: Engine<Tokio, Failure>,
    near: Option<Near<Payload>>,
    runtime: Tokio,
}

/// Memory in front of it.
#[derive(Clone, Debug)]
pub(super) struct InFront {
    pub(super) config: near::Config,
    pub(super) watches: Watches,
}

/// The right to load a key, among all processes.
pub(crate) type Lease = engine::Lease<Tokio, Failure>;

impl Redis {
    pub(super) fn new(
        namespace: Namespace,
        config: &Config,
        max_value_bytes: usize,
        options: Options,
        in_front: Option<InFront>,
        runtime: Handle,
    ) -> Self {
        let names = Names::new(namespace.clone());
        let watches = in_front.as_ref().map(|in_front| in_front.watches).unwrap_or_default();
        let near = in_front.map(|in_front| Near::new(names, &in_front.config, entropy()));
        let front = near.clone().map(|near| Front { memory: Arc::new(near), watches });
        let tier = Tier::behind(front, namespace, config, max_value_bytes as u64, entropy());
        let runtime = Tokio::new(runtime);
        Self { engine: Engine::new(tier, runtime.clone(), options), near, runtime }
    }

    /// What memory has, where it may answer.
    #[inline]
    pub(super) fn hit(&self, key: Key<'_>, mode: Mode) -> Option<Payload> {
        let near = self.near.as_ref().filter(|_| mode == Mode::Local)?;
        near.hit(key, now())
    }

    pub(super) fn coherence(&self) -> Option<(State, Option<Duration>)> {
        let now = now();
        self.near.as_ref().map(|near| (near.state(now), near.last_push(now)))
    }

    pub(super) async fn get(&self, key: Key<'_>) -> Option<Payload> {
        self.engine.get(key).await
    }

    pub(super) async fn get_many(&self, keys: &[Key<'_>], mode: Mode) -> Vec<Option<Payload>> {
        let mut found: Vec<Option<Payload>> = keys.iter().map(|key| self.hit(*key, mode)).collect();
        let missing: Vec<Key<'_>> =
            keys.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(key, _)| *key).collect();
        let mut rest = self.engine.get_many(&missing).await.into_iter();
        for found in found.iter_mut().filter(|found| found.is_none()) {
            *found = rest.next().flatten();
        }
        found
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.engine.tier().remote().ticket()
    }

    pub(super) async fn begin(&self, key: Key<'_>, want: Want) -> Begun {
        let Want { since, own, tags, again, mode } = want;
        if let Some(payload) = mode.filter(|_| !again && since.is_none()).and_then(|mode| self.hit(key, mode)) {
            return Begun::Value(payload);
        }
        let looked =
            self.engine.look(key, look::Want { since, own, tags, counted: again, ..look::Want::default() }).await;
        match begun(looked) {
            Some(begun) => begun,
            None => Begun::Load(self.bypass(key).await),
        }
    }

    pub(super) async fn begin_many(&self, keys: &[Key<'_>], mode: Mode, tags: &Arc<[Box<str>]>) -> Vec<Option<Begun>> {
        let want = look::Want { tags: Some(Arc::clone(tags)), impatient: true, ..look::Want::default() };
        // Over one connection: what they send goes out together.
        let looks = keys.iter().map(async |key| match self.hit(*key, mode) {
            Some(payload) => Some(Begun::Value(payload)),
            None => begun(self.engine.look(*key, want.clone()).await),
        });
        join_all(looks).await
    }

    pub(super) async fn bypass(&self, key: Key<'_>) -> backend::Lease {
        match self.engine.bypass(key).await {
            Looked::Load(lease) => backend::Lease::Redis(Box::new(lease)),
            _ => unreachable!("who loads past the cache is told to load"),
        }
    }

    pub(super) async fn set(&self, key: Key<'_>, payload: Payload, terms: &Storing) -> Result<(), Error> {
        self.set_many(vec![(key, payload)], terms).await
    }

    pub(super) async fn set_many(&self, items: Vec<(Key<'_>, Payload)>, terms: &Storing) -> Result<(), Error> {
        // What did not arrive became an invalidation, and is counted.
        self.engine.set_many(&items, terms).await;
        let remote = self.engine.tier().remote();
        let refused = items.iter().find(|(_, payload)| !remote.fits(payload));
        refused.map_or(Ok(()), |(key, payload)| Err(too_large(*key, payload.bytes.len())))
    }

    pub(super) async fn add(&self, key: Key<'_>, payload: Payload, terms: &Storing) -> Result<bool, Error> {
        if !self.engine.tier().remote().fits(&payload) {
            return Err(too_large(key, payload.bytes.len()));
        }
        Ok(self.engine.add(key, &payload, terms).await?)
    }

    pub(super) async fn incr(&self, key: Key<'_>, by: i64, terms: &Storing) -> Result<i64, Error> {
        self.engine.increment(key, by, terms.ttl).await.map_err(|error| match error {
            WriteError::Fault(fault) => Error::Redis(fault),
            refused => Error::NotACounter(refused.to_string().into()),
        })
    }

    pub(super) async fn touch(&self, key: Key<'_>, ttl: Ttl) -> Result<bool, Error> {
        Ok(self.engine.touch(key, ttl).await?)
    }

    /// Where Redis cannot be asked, there is none: as for every read.
    pub(super) async fn ttl(&self, key: Key<'_>) -> Option<Remaining> {
        match self.engine.peek(key).await {
            Ok(peeked) => peeked.map(|peeked| remaining(peeked.fresh_for)),
            Err(fault) => {
                self.engine.tier().remote().noticed(&fault);
                None
            }
        }
    }

    pub(super) async fn explain(&self, key: Key<'_>) -> Explained {
        let near = self.near.as_ref().and_then(|near| near.explain(key, now()));
        let mut explained = match near {
            Some(known) => Explained::in_memory(known, now()),
            None => match self.engine.peek(key).await {
                Ok(peeked) => peeked.map_or_else(|| Explained::absent("not in redis"), explained),
                Err(fault) => Explained { state: "unknown", ..Explained::absent(fault.to_string()) },
            },
        };
        explained.is_redis_left_alone = self.engine.is_left_alone();
        if let Some((state, last_push)) = self.coherence() {
            (explained.coherence, explained.last_push) = (Some(state.word()), last_push);
        }
        explained
    }

    pub(super) async fn delete(&self, keys: &[Key<'_>]) -> Removed {
        self.engine.delete_many(keys).await.into()
    }

    pub(super) async fn invalidate_pattern(&self, pattern: &Pattern) -> Removed {
        self.engine.invalidate_pattern(pattern).await.into()
    }

    pub(super) async fn invalidate_tags(&self, tags: &[String]) -> Result<Removed, Error> {
        Ok(self.engine.invalidate_tags(tags).await?.into())
    }

    pub(super) async fn clear(&self) -> Removed {
        self.engine.clear().await.into()
    }

    pub(super) async fn carry_out(&self, plan: &Plan) -> Removed {
        self.engine.carry_out(plan).await.into()
    }

    pub(super) async fn ping(&self) -> Result<(), Error> {
        Ok(self.engine.ping().await?)
    }

    pub(super) async fn close(&self) {
        self.engine.close(CLOSING).await;
    }

    pub(super) fn switch(&self, enabled: bool) {
        self.engine.tier().switch(enabled);
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.engine.tier().remote().is_enabled()
    }

    pub(super) fn counted(&self) -> Stats {
        self.engine.tier().stats()
    }

    pub(super) fn reset_stats(&self) {
        self.engine.tier().reset_stats();
    }

    pub(super) async fn acquire(&self, name: Key<'_>, ttl: Ttl) -> Result<Option<Grant>, Error> {
        let held = self.engine.acquire(name.as_str(), millis(ttl)).await?;
        Ok(held.map(|held| Grant { token: LockToken::Redis(held.token), fence: held.fence }))
    }

    pub(super) async fn renew(&self, name: Key<'_>, token: &[u8; 16], ttl: Ttl) -> Result<bool, Error> {
        Ok(self.engine.extend(name.as_str(), token, millis(ttl)).await?)
    }

    pub(super) async fn release(&self, name: Key<'_>, token: &[u8; 16]) -> Result<bool, Error> {
        Ok(self.engine.unlock(name.as_str(), token).await?)
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    pub(super) async fn lock_may_be_free(&self, name: Key<'_>) {
        self.engine.lock_may_be_free(name).await;
    }

    /// Renews a lock that was last asked for this long ago, until it is lost.
    pub(super) async fn keep(&self, name: Key<'_>, token: &[u8; 16], ttl: Ttl, age: Duration) {
        self.engine.keep(name.as_str(), token, millis(ttl), self.runtime.now().before(age)).await;
    }

    pub(super) async fn subscribe(
        &self,
        channels: &[Key<'_>],
        naming: Naming,
        limit: NonZeroUsize,
    ) -> Result<Listener, Error> {
        let subscription = self.engine.subscriber().listen(channels, naming, limit);
        subscription.ready().await?;
        Ok(Listener::Redis(subscription))
    }

    pub(super) async fn publish(&self, channel: Key<'_>, naming: Naming, payload: &Payload) -> Result<u64, Error> {
        Ok(self.engine.publish(channel, naming, payload).await?)
    }
}

fn begun(looked: Looked<Tokio, Failure>) -> Option<Begun> {
    Some(match looked {
        Looked::Value(payload) => Begun::Value(payload),
        Looked::Load(lease) => Begun::Load(backend::Lease::Redis(Box::new(lease))),
        Looked::Failed(failure) => Begun::Failed(failure),
        Looked::Later => return None,
    })
}

pub(super) async fn fill(lease: Lease, payload: Payload, terms: &Storing) -> bool {
    lease.fill(payload, terms).await == Filled::Stored
}

fn explained(peeked: Peeked) -> Explained {
    Explained {
        tier: Some("redis"),
        state: if peeked.stale { "stale" } else { "fresh" },
        fresh_for: Some(remaining(peeked.fresh_for)),
        usable_for: Some(remaining(peeked.usable_for)),
        load_time: Some(peeked.load_time),
        bytes: Some(peeked.bytes as u64),
        tags: peeked.tags.into_iter().map(String::from).collect(),
        why_absent: None,
        ..Explained::absent("")
    }
}

fn remaining(left: Option<Duration>) -> Remaining {
    left.map_or(Remaining::Forever, Remaining::For)
}

fn millis(ttl: Ttl) -> u64 {
    ttl.as_duration().map_or(u64::MAX, |ttl| ttl.as_millis() as u64)
}

impl From<engine::Removed> for Removed {
    fn from(removed: engine::Removed) -> Self {
        Self { count: removed.count, queued: removed.queued }
    }
}

/// How long the end of a cache waits for what is still owed.
const CLOSING: Duration = Duration::from_secs(1);
