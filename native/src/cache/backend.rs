//! Backend: what the public API asks of a place where values are kept.
//!
//! Says each call once for every backend; what is the same for all of them is not in here but in the files that call this.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use donjon_core::expiry::Ttl;
use donjon_core::key::Key;
use donjon_core::lock::Token;
use donjon_core::near::State;
use donjon_core::pattern::Pattern;
use donjon_core::remote::Storing;
use donjon_core::rules::Plan;
use donjon_core::stats::Stats;
use donjon_core::version::Ticket;

use super::Mode;
use super::explained::{Explained, Remaining};
use super::memory::{self, Memory};
use super::redis::{self, Redis};
use super::removed::Removed;
use crate::error::{Error, Failure};
use crate::payload::Payload;
use crate::pubsub::{Naming, Subscription};

/// Where values are kept.
#[derive(Debug)]
pub(crate) enum Backend {
    /// In this process.
    Memory(Arc<Memory>),
    /// In a Redis that processes share.
    Redis(Redis),
}

/// The right to load a key. Dropping it gives the load up: those who wait look up anew.
#[derive(Debug)]
pub(crate) enum Lease {
    Memory(memory::Lease),
    Redis(Box<redis::Lease>),
}

/// How a look-up for a caller that can load is meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Want {
    /// Only what was loaded under a later ticket will do.
    pub(crate) since: Option<Ticket>,
    /// How fresh it has to be; none where memory was looked at already.
    pub(crate) mode: Option<Mode>,
    /// Whether this look-up was counted already.
    pub(crate) again: bool,
    /// The loads that the caller is in the middle of: waiting for one of them would be waiting for itself.
    pub(crate) own: Vec<Ticket>,
    /// The tags that the value will have; none where they are known only once it is loaded.
    pub(crate) tags: Option<Arc<[Box<str>]>>,
}

/// What a look-up for a caller that can load comes to.
#[derive(Debug)]
pub(crate) enum Begun {
    /// There is a value.
    Value(Payload),
    /// Another's load failed that was waited for.
    Failed(Failure),
    /// The caller is to load.
    Load(Lease),
}

/// A lock that was got.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) token: LockToken,
    pub(crate) fence: u64,
}

/// What shows that one holds a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LockToken {
    Memory(Token),
    Redis([u8; 16]),
}

/// One listener to some channels.
#[derive(Debug)]
pub(crate) enum Listener {
    Memory(memory::Listener),
    Redis(Subscription),
}

impl Listener {
    /// The next message, and when it came; none once it is over.
    pub(crate) async fn next(&self) -> Option<(Arc<str>, Payload, SystemTime)> {
        match self {
            Self::Memory(listener) => {
                let (channel, payload) = listener.next().await;
                Some((channel, payload, SystemTime::now()))
            }
            Self::Redis(listener) => {
                let message = listener.next().await?;
                Some((message.channel, message.payload, message.received_at))
            }
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        match self {
            Self::Memory(listener) => listener.dropped(),
            Self::Redis(listener) => listener.dropped(),
        }
    }

    pub(crate) fn gaps(&self) -> u64 {
        match self {
            Self::Memory(_) => 0,
            Self::Redis(listener) => listener.gaps(),
        }
    }
}

impl Lease {
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Memory(lease) => lease.key(),
            Self::Redis(lease) => lease.key(),
        }
    }

    pub(crate) fn ticket(&self) -> Ticket {
        match self {
            Self::Memory(lease) => lease.ticket(),
            Self::Redis(lease) => lease.ticket(),
        }
    }

    /// Stores what was loaded; false where it was refused, or is too large.
    pub(crate) async fn fill(self, payload: Payload, terms: &Storing) -> bool {
        match self {
            Self::Memory(lease) => lease.fill(payload, terms),
            Self::Redis(lease) => redis::fill(*lease, payload, terms).await,
        }
    }

    /// Hands the failure to those who wait. Gives the value to serve instead, where there is one that is stale.
    pub(crate) fn fail(self, failure: Failure) -> Option<Payload> {
        match self {
            Self::Memory(lease) => lease.fail(failure),
            Self::Redis(lease) => lease.fail(failure),
        }
    }
}

impl Backend {
    /// The word that `CACHE_BACKEND` has for it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Redis(_) => "redis",
        }
    }

    /// A fresh value that is at hand without waiting.
    #[inline]
    pub(crate) fn hit(&self, key: Key<'_>, mode: Mode) -> Option<Payload> {
        match self {
            Self::Memory(memory) => memory.hit(key),
            Self::Redis(redis) => redis.hit(key, mode),
        }
    }

    pub(crate) async fn get(&self, key: Key<'_>, mode: Mode) -> Option<Payload> {
        match self {
            Self::Memory(memory) => memory.get(key),
            Self::Redis(redis) => match redis.hit(key, mode) {
                None => redis.get(key).await,
                hit => hit,
            },
        }
    }

    pub(crate) async fn get_many(&self, keys: &[Key<'_>], mode: Mode) -> Vec<Option<Payload>> {
        match self {
            Self::Memory(memory) => keys.iter().map(|key| memory.get(*key)).collect(),
            Self::Redis(redis) => redis.get_many(keys, mode).await,
        }
    }

    /// A ticket later than every load begun so far in this process.
    pub(crate) fn ticket(&self) -> Ticket {
        match self {
            Self::Memory(memory) => memory.ticket(),
            Self::Redis(redis) => redis.ticket(),
        }
    }

    /// Looks up for a caller that can load. Waits for another's load, within its bound.
    pub(crate) async fn begin(&self, key: Key<'_>, want: Want) -> Begun {
        match self {
            Self::Memory(memory) => memory.begin(key, want).await,
            Self::Redis(redis) => redis.begin(key, want).await,
        }
    }

    /// Looks up many keys for such a caller, whose values will have these tags, without waiting: none where another loads.
    pub(crate) async fn begin_many(&self, keys: &[Key<'_>], mode: Mode, tags: &Arc<[Box<str>]>) -> Vec<Option<Begun>> {
        match self {
            Self::Memory(memory) => keys.iter().map(|key| memory.begin_at_once(*key)).collect(),
            Self::Redis(redis) => redis.begin_many(keys, mode, tags).await,
        }
    }

    /// A lease whose fill is refused: for a caller that has to load past what is kept.
    pub(crate) async fn bypass(&self, key: Key<'_>) -> Lease {
        match self {
            Self::Memory(memory) => memory.bypass(key),
            Self::Redis(redis) => redis.bypass(key).await,
        }
    }

    pub(crate) async fn set(&self, key: Key<'_>, payload: Payload, terms: &Storing) -> Result<(), Error> {
        match self {
            Self::Memory(memory) => memory.set(key, payload, terms),
            Self::Redis(redis) => redis.set(key, payload, terms).await,
        }
    }

    pub(crate) async fn set_many(&self, items: Vec<(Key<'_>, Payload)>, terms: &Storing) -> Result<(), Error> {
        match self {
            Self::Memory(memory) => memory.set_many(items, terms),
            Self::Redis(redis) => redis.set_many(items, terms).await,
        }
    }

    pub(crate) async fn add(&self, key: Key<'_>, payload: Payload, terms: &Storing) -> Result<bool, Error> {
        match self {
            Self::Memory(memory) => memory.add(key, payload, terms),
            Self::Redis(redis) => redis.add(key, payload, terms).await,
        }
    }

    pub(crate) async fn incr(&self, key: Key<'_>, by: i64, terms: &Storing) -> Result<i64, Error> {
        match self {
            Self::Memory(memory) => memory.incr(key, by, terms),
            Self::Redis(redis) => redis.incr(key, by, terms).await,
        }
    }

    pub(crate) async fn touch(&self, key: Key<'_>, ttl: Ttl) -> Result<bool, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.touch(key, ttl)),
            Self::Redis(redis) => redis.touch(key, ttl).await,
        }
    }

    pub(crate) async fn ttl(&self, key: Key<'_>) -> Option<Remaining> {
        match self {
            Self::Memory(memory) => memory.ttl(key),
            Self::Redis(redis) => redis.ttl(key).await,
        }
    }

    pub(crate) async fn explain(&self, key: Key<'_>) -> Explained {
        match self {
            Self::Memory(memory) => memory.explain(key),
            Self::Redis(redis) => redis.explain(key).await,
        }
    }

    pub(crate) async fn delete(&self, keys: &[Key<'_>]) -> Removed {
        match self {
            Self::Memory(memory) => memory.delete(keys).into(),
            Self::Redis(redis) => redis.delete(keys).await,
        }
    }

    pub(crate) async fn invalidate_pattern(&self, pattern: &Pattern) -> Removed {
        match self {
            Self::Memory(memory) => memory.invalidate_pattern(pattern).into(),
            Self::Redis(redis) => redis.invalidate_pattern(pattern).await,
        }
    }

    pub(crate) async fn invalidate_tags(&self, tags: &[String]) -> Result<Removed, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.invalidate_tags(tags)?.into()),
            Self::Redis(redis) => redis.invalidate_tags(tags).await,
        }
    }

    pub(crate) async fn clear(&self) -> Removed {
        match self {
            Self::Memory(memory) => memory.clear().into(),
            Self::Redis(redis) => redis.clear().await,
        }
    }

    pub(crate) async fn carry_out(&self, plan: &Plan) -> Removed {
        match self {
            Self::Memory(memory) => memory.carry_out(plan).into(),
            Self::Redis(redis) => redis.carry_out(plan).await,
        }
    }

    pub(crate) async fn ping(&self) -> Result<(), Error> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(redis) => redis.ping().await,
        }
    }

    /// Frees what is held; the cache is not used any more.
    pub(crate) async fn close(&self) {
        match self {
            Self::Memory(memory) => memory.close(),
            Self::Redis(redis) => redis.close().await,
        }
    }

    pub(crate) fn switch(&self, enabled: bool) {
        match self {
            Self::Memory(memory) => memory.switch(enabled),
            Self::Redis(redis) => redis.switch(enabled),
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        match self {
            Self::Memory(memory) => memory.is_enabled(),
            Self::Redis(redis) => redis.is_enabled(),
        }
    }

    /// What memory in front is worth, and how long ago it was last told of a change.
    pub(crate) fn coherence(&self) -> Option<(State, Option<Duration>)> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(redis) => redis.coherence(),
        }
    }

    pub(crate) fn counted(&self) -> Stats {
        match self {
            Self::Memory(memory) => memory.counted(),
            Self::Redis(redis) => redis.counted(),
        }
    }

    pub(crate) fn reset_stats(&self) {
        match self {
            Self::Memory(memory) => memory.reset_stats(),
            Self::Redis(redis) => redis.reset_stats(),
        }
    }

    /// Takes a lock, if it is free.
    pub(crate) async fn acquire(&self, name: Key<'_>, ttl: Ttl) -> Result<Option<Grant>, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.acquire(name, ttl)),
            Self::Redis(redis) => redis.acquire(name, ttl).await,
        }
    }

    /// Waits until a lock may be free.
    pub(crate) async fn lock_may_be_free(&self, name: Key<'_>) {
        match self {
            Self::Memory(memory) => memory.lock_may_be_free(name).await,
            Self::Redis(redis) => redis.lock_may_be_free(name).await,
        }
    }

    /// Renews a lock at a third of its time, until it is lost. It was last asked for this long ago.
    pub(crate) async fn keep(&self, name: Key<'_>, token: LockToken, ttl: Ttl, age: Duration) {
        match (self, token) {
            (Self::Memory(memory), LockToken::Memory(token)) => memory.keep(name, token, ttl).await,
            (Self::Redis(redis), LockToken::Redis(token)) => redis.keep(name, &token, ttl, age).await,
            _ => {}
        }
    }

    /// Holds a lock for longer; false where it was lost.
    pub(crate) async fn renew(&self, name: Key<'_>, token: LockToken, ttl: Ttl) -> Result<bool, Error> {
        match (self, token) {
            (Self::Memory(memory), LockToken::Memory(token)) => Ok(memory.renew(name, token, ttl)),
            (Self::Redis(redis), LockToken::Redis(token)) => redis.renew(name, &token, ttl).await,
            _ => Ok(false),
        }
    }

    /// Gives a lock up; false where it was lost.
    pub(crate) async fn release(&self, name: Key<'_>, token: LockToken) -> Result<bool, Error> {
        match (self, token) {
            (Self::Redis(redis), LockToken::Redis(token)) => redis.release(name, &token).await,
            _ => Ok(self.release_at_once(name, token).unwrap_or(false)),
        }
    }

    /// Does beside the caller what needs waiting, wherever he is; there is nothing of the kind in memory.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Self::Redis(redis) = self {
            redis.spawn(task);
        }
    }

    /// Gives a lock up where that needs no waiting.
    pub(crate) fn release_at_once(&self, name: Key<'_>, token: LockToken) -> Option<bool> {
        match (self, token) {
            (Self::Memory(memory), LockToken::Memory(token)) => Some(memory.release(name, token)),
            _ => None,
        }
    }

    /// Says to how many the message went.
    pub(crate) async fn publish(&self, channel: Key<'_>, naming: Naming, payload: Payload) -> Result<u64, Error> {
        match self {
            Self::Memory(memory) => Ok(memory.publish(channel, naming, payload)),
            Self::Redis(redis) => redis.publish(channel, naming, &payload).await,
        }
    }

    /// Listens from the moment this returns.
    pub(crate) async fn subscribe(
        &self,
        channels: &[Key<'_>],
        naming: Naming,
        limit: NonZeroUsize,
    ) -> Result<Listener, Error> {
        match self {
            Self::Memory(memory) => Ok(Listener::Memory(memory.subscribe(channels, naming, limit))),
            Self::Redis(redis) => redis.subscribe(channels, naming, limit).await,
        }
    }
}

pub(super) fn too_large(key: Key<'_>, bytes: usize) -> Error {
    Error::ValueTooLarge { key: key.as_str().into(), bytes }
}
