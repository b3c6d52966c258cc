//! Lease: the right to load a key and to store what was loaded.
//!
//! A lease is void once anything happened to its key that makes the loaded value too old: the key, a pattern or tag that covers
//! it or the whole namespace was invalidated, a value was set by hand, or the lease ran out and another took over. A void lease
//! is not told so; its fill is refused, and the loader's own caller may still use what it loaded.
//!
//! Invariant: each lease ends its flight once, by `fill`, `fail`, `abandon` or by being dropped.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{Fill, Shared, weigh};
use crate::flight::{Ending, Flight};
use crate::moment::Moment;
use crate::policy::Slot;
use crate::store::{Coming, Held, Leaving};
use crate::version::Ticket;

/// The right to load one key. Give it up by [`Lease::fill`], [`Lease::fail`] or [`Lease::abandon`]; dropping it abandons it.
#[derive(Debug)]
pub struct Lease<V: Clone, E: Clone> {
    shared: Arc<Shared<V, E>>,
    key: Box<str>,
    hash: u64,
    ticket: Ticket,
    begun: Moment,
    flight: Option<(Slot, Arc<Flight<V, E>>)>,
    /// Whether a value that is still usable may be served should the load fail.
    falls_back: bool,
}

/// What became of a loaded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// It is stored, and those who waited have it.
    Stored,
    /// Something was invalidated since the load began: it is not stored, and those who waited look up anew.
    Refused,
    /// It is larger than a cache of this size takes, the cache is switched off, or it was [passed on](Lease::pass): not stored, though
    /// those who waited have it.
    Passed,
}

impl<V: Clone, E: Clone> Lease<V, E> {
    pub(crate) fn new(
        shared: &Arc<Shared<V, E>>,
        key: &str,
        hash: u64,
        slot: Slot,
        flight: Arc<Flight<V, E>>,
        falls_back: bool,
    ) -> Self {
        let (ticket, begun) = (flight.ticket, flight.begun);
        Self {
            shared: Arc::clone(shared),
            key: key.into(),
            hash,
            ticket,
            begun,
            flight: Some((slot, flight)),
            falls_back,
        }
    }

    /// A lease without a flight: its fill is always refused.
    pub(crate) fn bypass(shared: &Arc<Shared<V, E>>, key: &str, hash: u64, ticket: Ticket, now: Moment) -> Self {
        Self { shared: Arc::clone(shared), key: key.into(), hash, ticket, begun: now, flight: None, falls_back: false }
    }

    /// The key to load.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The ticket under which this load runs.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The value to serve should the load fail: one that is past its time but within its grace, and was not invalidated.
    pub fn stale(&self, now: Moment) -> Option<V> {
        let (slot, flight) = self.flight.as_ref().filter(|_| self.falls_back)?;
        let rows = self.shared.shard(self.hash).rows.read();
        rows.flies(*slot, flight).then(|| rows.usable(*slot, now).map(|(_, held)| held.value.clone()))?
    }

    /// Stores what was loaded, unless something was invalidated since the load began.
    pub fn fill(self, value: V, fill: Fill, now: Moment) -> Filled {
        self.finish(value, Some(fill), now)
    }

    /// Gives what was loaded to those who wait, unless something was invalidated since the load began, and stores nothing.
    pub fn pass(self, value: V, now: Moment) -> Filled {
        self.finish(value, None, now)
    }

    fn finish(mut self, value: V, fill: Option<Fill>, now: Moment) -> Filled {
        let shard = self.shared.shard(self.hash);
        let load_time = now - self.begun;
        shard.counters.loads.one();
        shard.counters.load_nanos.add(load_time.as_nanos() as u64);
        let Some((slot, flight)) = self.flight.take() else {
            shard.counters.loads_refused.one();
            return Filled::Refused;
        };
        let storing = fill.map(|fill| Coming {
            weight: weigh::<V, E>(&self.key, &fill),
            life: fill.life,
            ticket: self.ticket,
            load_micros: u32::try_from(load_time.as_micros()).unwrap_or(u32::MAX),
            held: Held { value: value.clone(), tags: fill.tags.0 },
        });
        let mut leaving = Leaving::new(&shard.counters, now);
        let mut rows = shard.rows.write();
        let filled = if !rows.flies(slot, &flight) {
            Filled::Refused
        } else if storing.as_ref().is_some_and(|coming| coming.held.tags.moved_since(|| self.ticket)) {
            rows.land(slot);
            Filled::Refused
        } else {
            match storing {
                Some(coming) if self.shared.enabled() && rows.admits(coming.weight) => {
                    rows.store(slot, coming, self.shared.config.early, &mut leaving);
                    rows.land(slot);
                    Filled::Stored
                }
                ref unfit => {
                    shard.counters.too_large.add(u64::from(unfit.is_some() && self.shared.enabled()));
                    rows.land(slot);
                    // What is there is older than what could not be stored.
                    if let Some(slot) = rows.find(self.hash, &self.key) {
                        rows.invalidate(slot, &mut leaving);
                    }
                    Filled::Passed
                }
            }
        };
        drop(rows);
        if filled == Filled::Refused {
            shard.counters.loads_refused.one();
            flight.end(Ending::Again);
        } else {
            flight.end(Ending::Value(value));
        }
        self.shared.settle(leaving);
        filled
    }

    /// Passes the loader's error to those who wait. Gives the value to serve instead, as [`Lease::stale`] does.
    pub fn fail(mut self, error: E, now: Moment) -> Option<V> {
        let stale = self.stale(now);
        let counters = &self.shared.shard(self.hash).counters;
        counters.loads.one();
        counters.load_failures.one();
        self.give_up(Ending::Failed(error));
        stale
    }

    /// Gives the load up: those who wait look up anew, and one of them will load.
    pub fn abandon(self) {
        drop(self);
    }

    fn give_up(&mut self, ending: Ending<V, E>) {
        let Some((slot, flight)) = self.flight.take() else { return };
        let mut rows = self.shared.shard(self.hash).rows.write();
        if rows.flies(slot, &flight) {
            rows.land(slot);
        }
        drop(rows);
        flight.end(ending);
    }
}

impl<V: Clone, E: Clone> Drop for Lease<V, E> {
    fn drop(&mut self) {
        self.give_up(Ending::Again);
    }
}
