//! Backend: what the public API asks of a place where values are kept.
//!
//! Says each call once for every backend; what is the same for all of them is not in here but in the files that call this.

#![expect(
    clippy::unused_async,
    clippy::unnecessary_wraps,
    reason = "memory never waits, and all that is far away does"
)]

use std::num::NonZeroUsize;
use std::sync::Arc;

use donjon_core::expiry::Ttl;
use donjon_core::key::Key;
use donjon_core::lock::Token;
use donjon_core::pattern::Pattern;
use donjon_core::rules::Plan;
use donjon_core::stats::Stats;
use donjon_core::version::Ticket;

use super::explained::{Explained, Remaining};
use super::memory::{self, Memory};
use super::removed::Removed;
use super::terms::Terms;
use crate::error::{Error, Failure};
use crate::payload::Payload;

/// Where values are kept.
#[derive(Debug)]
pub(crate) enum Backend {
    /// In this process.
    Memory(Arc<Memory>),
}

/// The right to load a key. Dropping it gives the load up: those who wait look up anew.
#[derive(Debug)]
pub(crate) enum Lease {
    Memory(memory::Lease),
}

/// How a look-up for a caller that can load is meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Want {
    /// Only what was loaded under a later ticket will do.
    pub(crate) since: Option<Ticket>,
    /// Whether this look-up was counted already.
    pub(crate) again: bool,
    /// The loads that the caller is in the middle of: waiting for one of them would be waiting for itself.
    pub(crate) own: Vec<Ticket>,
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
}

/// One listener to some channels.
#[derive(Debug)]
pub(crate) enum Listener {
    Memory(memory::Listener),
}

macro_rules! each {
    ($self:ident, $backend:ident => $call:expr) => {
        match $self {
            Self::Memory($backend) => $call,
        }
    };
}

impl Lease {
    pub(crate) fn key(&self) -> &str {
        each!(self, lease => lease.key())
    }

    pub(crate) fn ticket(&self) -> Ticket {
        each!(self, lease => lease.ticket())
    }

    /// Stores what was loaded; false where it was refused, or is too large.
    pub(crate) async fn fill(self, payload: Payload, terms: &Terms) -> Result<bool, Error> {
        each!(self, lease => lease.fill(payload, terms))
    }

    /// Hands the failure to those who wait. Gives the value to serve instead, where there is one that is stale.
    pub(crate) async fn fail(self, failure: Failure) -> Option<Payload> {
        each!(self, lease => lease.fail(failure))
    }
}

impl Listener {
    /// The next message and its channel. Loses nothing when it is dropped while it waits.
    pub(crate) async fn next(&mut self) -> (Arc<str>, Payload) {
        each!(self, listener => listener.next().await)
    }

    /// Messages lost because the listener was too slow.
    pub(crate) fn dropped(&self) -> u64 {
        each!(self, listener => listener.dropped())
    }
}

impl Backend {
    /// The word that `CACHE_BACKEND` has for it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
        }
    }

    /// A fresh value that is at hand without waiting.
    #[inline]
    pub(crate) fn hit(&self, key: Key<'_>) -> Option<Payload> {
        each!(self, backend => backend.hit(key))
    }

    pub(crate) async fn get(&self, key: Key<'_>) -> Option<Payload> {
        each!(self, backend => backend.get(key))
    }

    pub(crate) async fn get_many(&self, keys: &[Key<'_>]) -> Vec<Option<Payload>> {
        each!(self, backend => keys.iter().map(|key| backend.get(*key)).collect())
    }

    /// A ticket later than every load begun so far.
    pub(crate) fn ticket(&self) -> Ticket {
        each!(self, backend => backend.ticket())
    }

    /// Looks up for a caller that can load. Waits for another's load, within its bound.
    pub(crate) async fn begin(&self, key: Key<'_>, want: Want) -> Begun {
        each!(self, backend => backend.begin(key, want).await)
    }

    /// Looks up many keys for such a caller, without waiting: none where another loads.
    pub(crate) async fn begin_many(&self, keys: &[Key<'_>]) -> Vec<Option<Begun>> {
        each!(self, backend => keys.iter().map(|key| backend.begin_at_once(*key)).collect())
    }

    /// A lease whose fill is refused: for a caller that has to load past what is kept.
    pub(crate) fn bypass(&self, key: Key<'_>) -> Lease {
        each!(self, backend => backend.bypass(key))
    }

    /// False where the value is larger than what is kept for one key.
    pub(crate) async fn set(&self, key: Key<'_>, payload: Payload, terms: &Terms) -> Result<bool, Error> {
        each!(self, backend => backend.set(key, payload, terms))
    }

    pub(crate) async fn set_many(&self, items: Vec<(Key<'_>, Payload)>, terms: &Terms) -> Result<Vec<bool>, Error> {
        each!(self, backend => items.into_iter().map(|(key, payload)| backend.set(key, payload, terms)).collect())
    }

    /// None where there is a value already, and false as for `set`.
    pub(crate) async fn add(&self, key: Key<'_>, payload: Payload, terms: &Terms) -> Result<Option<bool>, Error> {
        each!(self, backend => backend.add(key, payload, terms))
    }

    pub(crate) async fn incr(&self, key: Key<'_>, by: i64, terms: &Terms) -> Result<i64, Error> {
        each!(self, backend => backend.incr(key, by, terms))
    }

    pub(crate) async fn touch(&self, key: Key<'_>, ttl: Ttl) -> Result<bool, Error> {
        each!(self, backend => Ok(backend.touch(key, ttl)))
    }

    pub(crate) async fn exists(&self, key: Key<'_>) -> Result<bool, Error> {
        each!(self, backend => Ok(backend.exists(key)))
    }

    pub(crate) async fn ttl(&self, key: Key<'_>) -> Result<Option<Remaining>, Error> {
        each!(self, backend => Ok(backend.ttl(key)))
    }

    pub(crate) async fn explain(&self, key: Key<'_>) -> Result<Explained, Error> {
        each!(self, backend => Ok(backend.explain(key)))
    }

    pub(crate) async fn delete(&self, keys: &[Key<'_>]) -> Result<Removed, Error> {
        each!(self, backend => Ok(backend.delete(keys).into()))
    }

    pub(crate) async fn invalidate_pattern(&self, pattern: &Pattern) -> Result<Removed, Error> {
        each!(self, backend => Ok(backend.invalidate_pattern(pattern).into()))
    }

    pub(crate) async fn invalidate_tags(&self, tags: &[String]) -> Result<Removed, Error> {
        each!(self, backend => Ok(backend.invalidate_tags(tags)?.into()))
    }

    pub(crate) async fn clear(&self) -> Result<Removed, Error> {
        each!(self, backend => Ok(backend.clear().into()))
    }

    pub(crate) async fn carry_out(&self, plan: &Plan) -> Result<Removed, Error> {
        each!(self, backend => Ok(backend.carry_out(plan).into()))
    }

    pub(crate) async fn ping(&self) -> Result<(), Error> {
        each!(self, _backend => Ok(()))
    }

    /// Frees what is held; the cache is not used any more.
    pub(crate) async fn close(&self) {
        each!(self, backend => backend.close());
    }

    pub(crate) fn switch(&self, enabled: bool) {
        each!(self, backend => backend.switch(enabled));
    }

    pub(crate) fn is_enabled(&self) -> bool {
        each!(self, backend => backend.is_enabled())
    }

    pub(crate) fn counted(&self) -> Stats {
        each!(self, backend => backend.counted())
    }

    pub(crate) fn reset_stats(&self) {
        each!(self, backend => backend.reset_stats());
    }

    /// Takes a lock, if it is free.
    pub(crate) async fn acquire(&self, name: Key<'_>, ttl: Ttl) -> Result<Option<Grant>, Error> {
        each!(self, backend => Ok(backend.acquire(name, ttl)))
    }

    /// Waits until a lock may be free.
    pub(crate) async fn lock_may_be_free(&self, name: Key<'_>) {
        each!(self, backend => backend.lock_may_be_free(name).await);
    }

    /// Holds a lock for longer; false where it was lost.
    pub(crate) async fn renew(&self, name: Key<'_>, token: LockToken, ttl: Ttl) -> Result<bool, Error> {
        match (self, token) {
            (Self::Memory(backend), LockToken::Memory(token)) => Ok(backend.renew(name, token, ttl)),
        }
    }

    /// Gives a lock up; false where it was lost.
    pub(crate) async fn release(&self, name: Key<'_>, token: LockToken) -> Result<bool, Error> {
        match (self, token) {
            (Self::Memory(backend), LockToken::Memory(token)) => Ok(backend.release(name, token)),
        }
    }

    /// The same where it needs no waiting.
    pub(crate) fn release_at_once(&self, name: Key<'_>, token: LockToken) -> Option<bool> {
        match (self, token) {
            (Self::Memory(backend), LockToken::Memory(token)) => Some(backend.release(name, token)),
        }
    }

    /// Says to how many the message went.
    pub(crate) async fn publish(&self, channel: Key<'_>, payload: Payload) -> Result<u64, Error> {
        each!(self, backend => Ok(backend.publish(channel, payload)))
    }

    /// Listens from the moment this returns.
    pub(crate) async fn subscribe(&self, channels: &[Key<'_>], limit: NonZeroUsize) -> Result<Listener, Error> {
        each!(self, backend => Ok(Listener::Memory(backend.subscribe(channels, limit))))
    }
}
