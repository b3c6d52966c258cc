//! Memory: the backend that keeps values in this process.
//!
//! Hands the core what it needs, the time among it, and waits where the core says to. Decides nothing.

mod bell;
mod listen;
mod tend;

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use donjon_core::cache::{Ask, Cache as Store, Config, Fill, Lookup, Step};
use donjon_core::chance::Seed;
use donjon_core::envelope::Codec;
use donjon_core::expiry::Ttl;
use donjon_core::flight::Ending;
use donjon_core::key::Key;
use donjon_core::lease;
use donjon_core::lock::{Locks, Pace, Token, Waiting};
use donjon_core::moment::Moment;
use donjon_core::pattern::Pattern;
use donjon_core::pubsub::Hub;
use donjon_core::remote::Storing;
use donjon_core::rules::Plan;
use donjon_core::stats::Stats;
use donjon_core::tag::InvalidTag;
use donjon_core::version::Ticket;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::backend::{self, Begun, Grant, LockToken, Want, too_large};
use super::explained::{Explained, Remaining};
use crate::clock::Clock;
use crate::error::{Error, Failure};
use crate::payload::Payload;
use crate::pubsub::Naming;

pub(super) use listen::Listener;

use bell::Bell;
use tend::Tender;

/// The memory of this process.
#[derive(Debug)]
pub(crate) struct Memory {
    store: Store<Payload, Failure>,
    locks: Locks,
    hub: Hub<Payload>,
    /// Channels by the names that they would have in Redis: none of them is the cache's own, whatever it is called.
    literal: Hub<Payload>,
    max_value_bytes: usize,
    tender: Tender,
    clock: Clock,
}

/// The right to load a key.
#[derive(Debug)]
pub(crate) struct Lease {
    right: lease::Lease<Payload, Failure>,
    memory: Arc<Memory>,
}

impl Lease {
    pub(super) fn key(&self) -> &str {
        self.right.key()
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.right.ticket()
    }

    pub(super) fn fill(self, payload: Payload, terms: &Storing) -> bool {
        let Self { right, memory } = self;
        memory.tender.see_to_it();
        let now = memory.clock.exact();
        // Where there is no such tag the lease goes unused: tags are checked before anything is loaded.
        memory
            .terms(&payload, terms, now)
            .is_ok_and(|fill| right.fill(owned(payload), fill, now) == lease::Filled::Stored)
    }

    pub(super) fn fail(self, failure: Failure) -> Option<Payload> {
        self.right.fail(failure, self.memory.clock.exact())
    }
}

impl Memory {
    pub(super) fn new(config: &Config, max_value_bytes: usize, clock: Clock) -> Self {
        let store = Store::new(config, entropy());
        let tender = Tender::new(&store, &clock);
        let (hub, literal) = (Hub::default(), Hub::default());
        Self { store, locks: Locks::default(), hub, literal, max_value_bytes, tender, clock }
    }

    #[inline]
    pub(super) fn hit(&self, key: Key<'_>) -> Option<Payload> {
        self.store.hit(key, self.clock.now())
    }

    pub(super) fn get(&self, key: Key<'_>) -> Option<Payload> {
        match self.store.get(key, self.clock.now()) {
            Lookup::Hit(payload) | Lookup::Stale(payload) => Some(payload),
            Lookup::Miss => None,
        }
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.store.ticket()
    }

    /// Looks up; `None` where another loads, whose end is to be waited for.
    pub(super) fn begin_at_once(self: &Arc<Self>, key: Key<'_>) -> Option<Begun> {
        match self.store.begin(key, Ask::value(), self.clock.exact()) {
            Step::Join(..) => None,
            step => Some(self.begun(key, step)),
        }
    }

    /// Looks up, and waits for another's load where there is one.
    pub(super) async fn begin(self: &Arc<Self>, key: Key<'_>, want: Want) -> Begun {
        let ask = want.since.map_or_else(Ask::value, Ask::newer_than);
        let mut ask = if want.again { ask.again() } else { ask };
        let mut deadline = None;
        loop {
            let (joined, at_most) = match self.store.begin(key, ask, self.clock.exact()) {
                Step::Join(joined, at_most) if !want.own.contains(&joined.ticket()) => (joined, at_most),
                step => return self.begun(key, step),
            };
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + at_most);
            ask = ask.again();
            match timeout_at(deadline, joined).await {
                Ok(Ending::Value(payload)) => return Begun::Value(payload),
                Ok(Ending::Failed(failure)) => return Begun::Failed(failure),
                // Nobody's successor is chosen, as it may be cancelled itself: whoever comes first loads.
                Ok(Ending::Again) => {}
                // Past its limit a load may be taken over; whoever comes later than that loads for himself.
                Err(_) => return self.begun(key, self.store.begin(key, ask, self.clock.exact())),
            }
        }
    }

    pub(super) fn bypass(self: &Arc<Self>, key: Key<'_>) -> backend::Lease {
        self.lease(self.store.bypass(key, self.clock.exact()))
    }

    /// What to do, for a caller that may not wait.
    fn begun(self: &Arc<Self>, key: Key<'_>, step: Step<Payload, Failure>) -> Begun {
        match step {
            Step::Done(payload) => Begun::Value(payload),
            Step::Stale(_, right) | Step::Load(right) => Begun::Load(self.lease(right)),
            Step::Join(..) => Begun::Load(self.bypass(key)),
        }
    }

    fn lease(self: &Arc<Self>, right: lease::Lease<Payload, Failure>) -> backend::Lease {
        backend::Lease::Memory(Lease { right, memory: Arc::clone(self) })
    }

    pub(super) fn set(&self, key: Key<'_>, payload: Payload, terms: &Storing) -> Result<(), Error> {
        self.tender.see_to_it();
        let now = self.clock.exact();
        let (fill, bytes) = (self.terms(&payload, terms, now)?, payload.bytes.len());
        let stored = self.store.set(key, owned(payload), fill, now) || !self.store.is_enabled();
        if stored { Ok(()) } else { Err(too_large(key, bytes)) }
    }

    /// All or none, but for what the bounds of the cache refuse.
    pub(super) fn set_many(&self, items: Vec<(Key<'_>, Payload)>, terms: &Storing) -> Result<(), Error> {
        if let Some((key, payload)) = items.iter().find(|(_, payload)| payload.bytes.len() > self.max_value_bytes) {
            self.delete(&items.iter().map(|(key, _)| *key).collect::<Vec<_>>());
            return Err(too_large(*key, payload.bytes.len()));
        }
        let mut stored = Ok(());
        for (key, payload) in items {
            stored = stored.and(self.set(key, payload, terms));
        }
        stored
    }

    pub(super) fn add(&self, key: Key<'_>, payload: Payload, terms: &Storing) -> Result<bool, Error> {
        self.tender.see_to_it();
        let now = self.clock.exact();
        let (fill, bytes) = (self.terms(&payload, terms, now)?, payload.bytes.len());
        match self.store.swap(key, None, owned(payload), fill, now) {
            Some(false) if self.store.is_enabled() => Err(too_large(key, bytes)),
            stored => Ok(stored == Some(true)),
        }
    }

    pub(super) fn incr(&self, key: Key<'_>, by: i64, terms: &Storing) -> Result<i64, Error> {
        let refused = |why| Error::NotACounter(format!("{} {why}", key.as_str()).into());
        let now = self.clock.exact();
        loop {
            let seen = self.store.peek(key, now);
            let count = match &seen {
                None => by,
                Some(seen) => integer(&seen.value)
                    .ok_or_else(|| refused("holds no 64-bit integer: delete it, or count elsewhere"))?
                    .checked_add(by)
                    .ok_or_else(|| refused("would leave 64 bits"))?,
            };
            let payload = Payload::json(count.to_string());
            let mut fill = self.terms(&payload, terms, now)?;
            fill.life = seen.as_ref().map_or(fill.life, |seen| seen.life);
            if self.store.swap(key, seen.map(|seen| seen.ticket), payload, fill, now).is_some() {
                return Ok(count);
            }
        }
    }

    pub(super) fn touch(&self, key: Key<'_>, ttl: Ttl) -> bool {
        self.store.retime(key, ttl, self.clock.exact())
    }

    pub(super) fn ttl(&self, key: Key<'_>) -> Option<Remaining> {
        let now = self.clock.exact();
        self.store.peek(key, now).map(|seen| Remaining::until(seen.life.fresh_until(), now))
    }

    pub(super) fn explain(&self, key: Key<'_>) -> Explained {
        let now = self.clock.exact();
        Explained::in_memory(self.store.explain(key, now), now)
    }

    pub(super) fn delete(&self, keys: &[Key<'_>]) -> u64 {
        let now = self.clock.now();
        keys.iter().map(|key| u64::from(self.store.delete(*key, now))).sum()
    }

    pub(super) fn invalidate_pattern(&self, pattern: &Pattern) -> u64 {
        self.store.invalidate_pattern(pattern, self.clock.now()).count
    }

    pub(super) fn invalidate_tags(&self, tags: &[String]) -> Result<u64, InvalidTag> {
        self.store.invalidate_tags(tags)
    }

    pub(super) fn clear(&self) -> u64 {
        self.store.clear(self.clock.now()).count
    }

    pub(super) fn carry_out(&self, plan: &Plan) -> u64 {
        self.store.carry_out(plan, self.clock.now()).count
    }

    pub(super) fn switch(&self, enabled: bool) {
        self.store.switch(enabled);
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.store.is_enabled()
    }

    pub(super) fn counted(&self) -> Stats {
        self.store.stats()
    }

    pub(super) fn reset_stats(&self) {
        self.store.reset_stats();
    }

    pub(super) fn close(&self) {
        // Off first, so that loads under way store nothing.
        self.store.switch(false);
        drop(self.store.clear(self.clock.exact()));
    }

    pub(super) fn acquire(&self, name: Key<'_>, ttl: Ttl) -> Option<Grant> {
        let granted = self.locks.acquire(name, ttl, self.clock.exact()).ok()?;
        Some(Grant { token: LockToken::Memory(granted.token), fence: granted.fence })
    }

    pub(super) fn renew(&self, name: Key<'_>, token: Token, ttl: Ttl) -> bool {
        self.locks.renew(name, token, ttl, self.clock.exact())
    }

    pub(super) fn release(&self, name: Key<'_>, token: Token) -> bool {
        self.locks.release(name, token, self.clock.exact())
    }

    /// Waits until a lock may be free: it was released, or its holder's time is over.
    pub(super) async fn lock_may_be_free(&self, name: Key<'_>) {
        let bell = Bell::default();
        let now = self.clock.exact();
        let Some(waiting) = self.locks.wait(name, bell.waker(), now) else { return };
        let until = waiting.until;
        let place = Place { locks: &self.locks, waiting };
        if until == Moment::NEVER {
            bell.rung().await;
        } else {
            // Either will do: who is woken looks again.
            let _ = timeout(until - now, bell.rung()).await;
        }
        drop(place);
    }

    /// Renews a lock until it is lost.
    pub(super) async fn keep(&self, name: Key<'_>, token: Token, ttl: Ttl) {
        let pace = Pace::of(ttl.as_duration().unwrap_or(Duration::MAX));
        loop {
            sleep(pace.renew).await;
            if !self.renew(name, token, ttl) {
                return;
            }
        }
    }

    pub(super) fn publish(&self, channel: Key<'_>, naming: Naming, payload: Payload) -> u64 {
        self.hub(naming).publish(channel, owned(payload)) as u64
    }

    pub(super) fn subscribe(&self, channels: &[Key<'_>], naming: Naming, limit: NonZeroUsize) -> Listener {
        Listener::new(self.hub(naming).subscribe(channels, limit))
    }

    fn hub(&self, naming: Naming) -> &Hub<Payload> {
        match naming {
            Naming::Own => &self.hub,
            Naming::Literal => &self.literal,
        }
    }

    fn terms(&self, payload: &Payload, terms: &Storing, now: Moment) -> Result<Fill, InvalidTag> {
        let bytes = payload.bytes.len();
        Ok(Fill {
            life: self.store.life(terms.ttl, terms.grace, now),
            // What is over the limit for one value is too heavy for any cache.
            bytes: if bytes > self.max_value_bytes { u64::MAX } else { bytes as u64 + COUNTED },
            tags: self.store.tags(&terms.tags)?,
        })
    }
}

/// A place among those who wait for a lock, given back however the wait ends.
struct Place<'a> {
    locks: &'a Locks,
    waiting: Waiting,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.locks.leave(&self.waiting);
    }
}

/// What `Bytes` asks the allocator for besides its bytes, once they have been handed out: three words.
const COUNTED: u64 = 3 * size_of::<usize>() as u64;

/// The payload with bytes of its own: those that a caller brings may be a small part of a buffer that lives as long.
fn owned(payload: Payload) -> Payload {
    match payload.codec {
        Codec::Json => payload,
        Codec::Bytes => Payload { bytes: Bytes::copy_from_slice(&payload.bytes), ..payload },
    }
}

fn integer(payload: &Payload) -> Option<i64> {
    match payload.codec {
        Codec::Json => serde_json::from_slice(&payload.bytes).ok(),
        Codec::Bytes => None,
    }
}

/// What the standard library draws from the operating system for its own hash tables.
pub(super) fn entropy() -> Seed {
    let draw = || u128::from(RandomState::new().hash_one(0_u8));
    Seed(draw() << 64 | draw())
}
