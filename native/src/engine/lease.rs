//! Lease: the right to load a key, kept alive while the load runs and given up on every way out.

use donjon_core::key::Key;
use donjon_core::lease::Filled;
use donjon_core::moment::Moment;
use donjon_core::payload::Payload;
use donjon_core::remote::Storing;
use donjon_core::remote::lease::{Filling, Lease as Right};
use donjon_core::version::Ticket;

use super::Engine;
use super::renewals::Renewal;
use crate::runtime::Runtime;

/// The right to load one key. Ends by [`Lease::fill`] or [`Lease::fail`]; dropping it gives it up, and others load.
pub struct Lease<R: Runtime, E: Clone + Send + Sync + 'static> {
    engine: Engine<R, E>,
    ticket: Ticket,
    /// Taken when the lease ends, which is once: `fill` and `fail` take the lease itself.
    right: Option<Right<E>>,
    stale: Option<Payload>,
    _renewal: Option<Renewal>,
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Lease<R, E> {
    pub(super) fn new(engine: &Engine<R, E>, right: Right<E>, stale: Option<Payload>) -> Self {
        let renewal = right.renewal().map(|call| engine.renew(call));
        Self { engine: engine.clone(), ticket: right.ticket(), right: Some(right), stale, _renewal: renewal }
    }

    /// The key to load.
    pub fn key(&self) -> &str {
        self.right.as_ref().map_or("", Right::key)
    }

    /// The ticket under which this load runs.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// The value to serve should the load fail: one that was past its time but within its grace when it was looked up.
    pub fn stale(&self) -> Option<&Payload> {
        self.stale.as_ref()
    }

    /// Stores what was loaded, unless something was invalidated since the load began. One round trip. Whatever befalls Redis, the
    /// value may go to the loader's own caller.
    pub async fn fill(self, payload: Payload, storing: &Storing) -> Filled {
        self.finish(payload, storing, Right::fill).await
    }

    /// As [`fill`](Self::fill), but those who wait have the value and nobody else: it is not stored.
    pub async fn pass(self, payload: Payload, storing: &Storing) -> Filled {
        self.finish(payload, storing, Right::pass).await
    }

    async fn finish(
        mut self,
        payload: Payload,
        storing: &Storing,
        end: impl FnOnce(Right<E>, Payload, &Storing, Moment, Moment) -> Filling<E>,
    ) -> Filled {
        let engine = self.engine.clone();
        let Some(right) = self.right.take() else { return Filled::Refused };
        let key = Box::<str>::from(right.key());
        let clock = Key::new(right.key()).map_or_else(|_| Moment::from_millis(0), |key| engine.clock(key));
        match end(right, payload, storing, engine.now(), clock) {
            Filling::Done(filled) => filled,
            Filling::Send(sent, calls) => {
                let mut via = engine.via();
                let kept = sent.outline().filter(|_| via.is_told());
                let replies = engine.store_via(&mut via, &calls).await;
                let filled = sent.replied(replies, engine.now());
                if let (Filled::Stored, Some((outline, payload)), Ok(key)) = (filled, kept, Key::new(&key)) {
                    engine.admit(&via, key, &outline, &payload);
                }
                filled
            }
        }
    }

    /// Passes the loader's error to those who wait. Gives the value to serve instead, as [`Lease::stale`] does.
    pub fn fail(mut self, error: E) -> Option<Payload> {
        let calls = self.right.take()?.fail(error);
        self.engine.ask_aside(calls);
        self.stale.take()
    }
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Drop for Lease<R, E> {
    fn drop(&mut self) {
        if let Some(right) = self.right.take() {
            self.engine.ask_aside(right.abandon());
        }
    }
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> std::fmt::Debug for Lease<R, E> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Lease").field("key", &self.right.as_ref().map(Right::key)).finish_non_exhaustive()
    }
}

/// What a look-up comes to.
#[derive(Debug)]
pub enum Looked<R: Runtime, E: Clone + Send + Sync + 'static> {
    /// A value, or what another caller loaded meanwhile.
    Value(Payload),
    /// There is none: load, and then fill.
    Load(Lease<R, E>),
    /// Another caller's load failed, with this.
    Failed(E),
    /// Another loads, and the caller did not want to wait.
    Later,
}
