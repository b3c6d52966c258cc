//! Flight: the one load under way for a key, those who wait for it, and how far it is shared.
//!
//! A flight ends once: as a value, as the loader's error, or as "look up anew", when its load was refused, given up, or when
//! what it was loading was invalidated. No successor is chosen among those who wait, since the chosen one may be cancelled
//! itself: all of them look up, and whoever comes first leads.
//!
//! Must not know where flights are found. Wakers are called, and endings cloned and dropped, with nothing locked.

use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use crate::moment::Moment;
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::version::Ticket;
use crate::waiters::{WaiterId, Waiters};

/// How a flight ended for those who joined it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending<V, E> {
    /// The value was loaded, and nothing was invalidated meanwhile.
    Value(V),
    /// The loader failed.
    Failed(E),
    /// Neither: the load was given up or refused, or it is older than what was asked for. Look up anew.
    Again,
}

/// How far loads are shared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long others wait for a load before another takes over.
    pub(crate) load_timeout: Duration,
    /// Loads under way at once.
    pub(crate) max_flights: u64,
    /// Callers that wait for one load.
    pub(crate) max_joined: usize,
}

impl Limits {
    /// Whether a flight is still waited for. If not, whoever asks takes its load over.
    pub(crate) fn awaits<V, E>(&self, flight: &Flight<V, E>, now: Moment) -> bool {
        now - flight.begun < self.load_timeout
    }

    /// A place among those who wait for a flight, and for how long at most; `None` where they are too many.
    pub(crate) fn join<V: Clone, E: Clone>(
        &self,
        flight: Arc<Flight<V, E>>,
        since: Option<Ticket>,
        now: Moment,
    ) -> Option<(Joined<V, E>, Duration)> {
        let at_most = self.load_timeout.saturating_sub(now - flight.begun);
        (flight.joined() < self.max_joined).then(|| (Joined::new(flight, since), at_most))
    }
}

#[derive(Debug)]
pub(crate) struct Flight<V, E> {
    pub(crate) ticket: Ticket,
    pub(crate) begun: Moment,
    closed: AtomicBool,
    state: Mutex<State<V, E>>,
}

#[derive(Debug)]
enum State<V, E> {
    Loading(Waiters),
    Ended(Arc<Ending<V, E>>),
}

impl<V: Clone, E: Clone> Flight<V, E> {
    pub(crate) fn new(ticket: Ticket, begun: Moment) -> Self {
        Self { ticket, begun, closed: AtomicBool::new(false), state: Mutex::new(State::Loading(Waiters::default())) }
    }

    /// Ends the flight and wakes who waits. The first ending stands. To be called with nothing locked.
    pub(crate) fn end(&self, ending: Ending<V, E>) {
        let ending = Arc::new(ending);
        let mut state = self.state.lock();
        let wakers = match &mut *state {
            State::Loading(waiters) => waiters.take(),
            State::Ended(_) => return,
        };
        *state = State::Ended(ending);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// From now on its value is only for those who asked before it began: who joins later waits for its end and looks up anew.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// How many wait for the end.
    fn joined(&self) -> usize {
        match &*self.state.lock() {
            State::Loading(waiters) => waiters.len(),
            State::Ended(_) => 0,
        }
    }
}

/// A place among those who wait for a flight: a future of its ending. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Joined<V, E> {
    flight: Arc<Flight<V, E>>,
    place: Option<WaiterId>,
    /// Only what was loaded under a later ticket will do.
    since: Option<Ticket>,
}

impl<V: Clone, E: Clone> Joined<V, E> {
    fn new(flight: Arc<Flight<V, E>>, since: Option<Ticket>) -> Self {
        let closed = flight.closed.load(Ordering::SeqCst).then_some(flight.ticket);
        Self { since: since.or(closed), flight, place: None }
    }

    /// The ticket of the load that is being waited for: a loader that finds its own here must not wait.
    pub fn ticket(&self) -> Ticket {
        self.flight.ticket
    }

    fn ending(&self, ending: &Ending<V, E>) -> Ending<V, E> {
        match self.since {
            Some(since) if self.flight.ticket <= since => Ending::Again,
            _ => ending.clone(),
        }
    }
}

impl<V: Clone, E: Clone> Future for Joined<V, E> {
    type Output = Ending<V, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // Cloned and dropped outside the lock, since a waker is the host's code.
        let waker = context.waker().clone();
        let mut state = this.flight.state.lock();
        let replaced = match &mut *state {
            State::Ended(ending) => {
                let ending = Arc::clone(ending);
                drop(state);
                this.place = None;
                return Poll::Ready(this.ending(&ending));
            }
            State::Loading(waiters) => {
                if let Some(place) = this.place {
                    waiters.replace(place, waker).ok()
                } else {
                    this.place = Some(waiters.add(waker));
                    None
                }
            }
        };
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl<V, E> Drop for Joined<V, E> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let mut state = self.flight.state.lock();
        let waker = match &mut *state {
            State::Loading(waiters) => waiters.remove(place),
            State::Ended(_) => None,
        };
        drop(state);
        drop(waker);
    }
}
