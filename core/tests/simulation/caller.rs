//! Callers: each asks, loads or waits, and may change its mind. What they are told is judged here.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use donjon_core::cache::lease::{Filled, Lease};
use donjon_core::cache::{Ask, Lookup, Step};
use donjon_core::entry::Freshness;
use donjon_core::flight::{Ending, Joined};
use donjon_core::moment::Moment;
use donjon_core::version::Ticket;

use crate::truth::{Origin, Promise, TAGS};
use crate::world::{Flying, Value, World, key_of};

pub enum Caller {
    Idle,
    /// Has asked for what is newer than this, and is about to look it up.
    Asking(Query),
    Loading(Loading),
    Waiting(Box<Waiting>),
    /// Has seen a value, or none, and is about to replace it.
    Swapping {
        key: usize,
        seen: Option<(Ticket, Value)>,
    },
}

/// What a caller asked for, and what it was promised when it did.
#[derive(Clone, Copy)]
pub struct Query {
    key: usize,
    /// Only what began after this ticket, taken at this step, will do.
    since: Option<(Ticket, u64)>,
    promise: Promise,
}

pub struct Loading {
    query: Query,
    lease: Lease<Value, Ticket>,
    begun: u64,
    read: Option<([u64; TAGS], u64)>,
    /// Whether there was a value to refresh.
    falls_back: bool,
}

pub struct Waiting {
    query: Query,
    joined: Joined<Value, Ticket>,
    until: Moment,
    bell: Arc<Bell>,
    /// How the flight ended, as the model has it.
    pub told: Option<Told>,
}

/// What those who wait are told.
#[derive(Clone)]
pub enum Told {
    Value(Value),
    Failed(Ticket),
    Again,
}

#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Waiting {
    pub fn ticket(&self) -> Ticket {
        self.joined.ticket()
    }

    pub fn is_woken(&self) -> bool {
        self.bell.0.load(Ordering::Relaxed)
    }

    /// The flight ended; one who asked for something newer is to look up anew whatever it brought.
    pub fn tell(&mut self, told: &Told) {
        let older = self.query.since.is_some_and(|(since, _)| self.ticket() <= since);
        self.told = Some(if older { Told::Again } else { told.clone() });
    }

    fn poll(&mut self) -> Poll<Ending<Value, Ticket>> {
        let waker = Waker::from(Arc::clone(&self.bell));
        Pin::new(&mut self.joined).poll(&mut Context::from_waker(&waker))
    }
}

impl World {
    pub fn caller_turn(&mut self) {
        let chosen = self.chance.below(self.callers.len() as u64) as usize;
        let caller = std::mem::replace(&mut self.callers[chosen], Caller::Idle);
        self.callers[chosen] = match caller {
            Caller::Idle => self.ask(),
            Caller::Asking(query) => self.begin(query, false),
            Caller::Loading(loading) => self.go_on_loading(loading),
            Caller::Waiting(waiting) => self.go_on_waiting(waiting),
            Caller::Swapping { key, seen } => {
                self.swap(key, seen.as_ref());
                Caller::Idle
            }
        };
    }

    fn ask(&mut self) -> Caller {
        let key = self.random_key();
        match self.chance.below(100) {
            0..50 => return self.begin(Query { key, since: None, promise: self.promise }, false),
            50..60 => {
                let since = Some((self.cache.ticket(), self.step));
                let query = Query { key, since, promise: self.promise };
                return if self.chance.one_in(2) { self.begin(query, false) } else { Caller::Asking(query) };
            }
            60..72 => match self.cache.get(key_of(key), self.now) {
                Lookup::Hit(value) => self.is_served(key, &value, Some(Freshness::Fresh)),
                Lookup::Stale(value) => self.is_served(key, &value, Some(Freshness::Stale)),
                Lookup::Miss => {}
            },
            72..82 => {
                if let Some(value) = self.cache.hit(key_of(key), self.now) {
                    self.is_served(key, &value, Some(Freshness::Fresh));
                }
            }
            82..90 => self.set_by_hand(),
            90..94 => return self.look_to_swap(),
            94..98 => self.retime(),
            _ => {
                let query = Query { key, since: None, promise: self.promise };
                let lease = self.cache.bypass(key_of(key), self.now);
                return Caller::Loading(Loading { query, lease, begun: self.step, read: None, falls_back: false });
            }
        }
        Caller::Idle
    }

    fn begin(&mut self, query: Query, again: bool) -> Caller {
        let ask = query.since.map_or_else(Ask::value, |(since, _)| Ask::newer_than(since));
        let ask = if again { ask.again() } else { ask };
        // Whoever looks up anew relies on what holds now.
        let query = Query { promise: self.promise, ..query };
        let joinable = self.joinable(query.key);
        let usable = self.cache.explain(key_of(query.key), self.now).freshness.is_some();
        let unserved = !usable || query.since.is_some() || !self.cache.is_enabled();
        match self.cache.begin(key_of(query.key), ask, self.now) {
            Step::Done(value) => {
                self.is_answered(&query, &value);
                let fresh = value.life.get().at(self.now) == Freshness::Fresh;
                assert!(fresh || joinable.is_some(), "what is stale is served while somebody loads, not instead");
                Caller::Idle
            }
            Step::Stale(value, lease) => {
                self.is_answered(&query, &value);
                assert!(joinable.is_none(), "two loads of one key at once");
                self.leads(query, lease, true)
            }
            Step::Load(_) | Step::Join(..) if !unserved => panic!("there is a value to serve"),
            Step::Load(lease) => match joinable {
                Some(flying) => {
                    let crowded = self.waiting_for(flying.ticket) >= self.config.max_joined;
                    assert!(crowded || !self.cache.is_enabled(), "two loads of one key at once");
                    Caller::Loading(Loading { query, lease, begun: self.step, read: None, falls_back: false })
                }
                None => self.leads(query, lease, false),
            },
            Step::Join(joined, at_most) => {
                let flying = joinable.expect("only what is under way can be joined");
                assert_eq!(joined.ticket(), flying.ticket, "told to wait for another load than the one under way");
                assert!(self.waiting_for(flying.ticket) < self.config.max_joined, "more wait than may");
                let until = self.now.after(at_most);
                assert_eq!(until, flying.since.after(self.config.load_timeout), "waiting is bounded");
                let mut waiting = Waiting { query, joined, until, bell: Arc::default(), told: None };
                assert!(waiting.poll().is_pending(), "told to wait for what has ended");
                Caller::Waiting(Box::new(waiting))
            }
        }
    }

    fn leads(&mut self, query: Query, lease: Lease<Value, Ticket>, falls_back: bool) -> Caller {
        if self.cache.is_enabled() {
            // One past its time may still be under way: it is taken over.
            self.ends(query.key, &Told::Again);
            self.flights[query.key] = Some(Flying { ticket: lease.ticket(), since: self.now });
        }
        Caller::Loading(Loading { query, lease, begun: self.step, read: None, falls_back })
    }

    fn is_answered(&self, query: &Query, value: &Origin) {
        self.is_served(query.key, value, None);
        Self::is_new_enough(query, value);
    }

    fn is_new_enough(query: &Query, value: &Origin) {
        if let Some((_, asked)) = query.since {
            assert!(value.begun >= asked, "served what began at step {}, asked for newer than {asked}", value.begun);
        }
    }

    /// Whether what this lease loads may be stored, as far as its key goes.
    fn flies(&self, loading: &Loading) -> bool {
        self.flights[loading.query.key].is_some_and(|flying| flying.ticket == loading.lease.ticket())
    }

    fn go_on_loading(&mut self, mut loading: Loading) -> Caller {
        match self.chance.below(10) {
            0..3 => loading.read = Some((self.source.tags, self.source.keys[loading.query.key])),
            3 => {
                let found = loading.lease.stale(self.now);
                self.falls_back_on(&loading, found.as_ref());
            }
            4..8 if loading.read.is_some() => {
                self.fill(loading);
                return Caller::Idle;
            }
            8 => {
                self.fail(loading);
                return Caller::Idle;
            }
            9 => {
                let flies = self.flies(&loading);
                match self.chance.below(2) {
                    0 => loading.lease.abandon(),
                    _ => drop(loading.lease),
                }
                if flies {
                    self.ends(loading.query.key, &Told::Again);
                }
                return Caller::Idle;
            }
            _ => {}
        }
        Caller::Loading(loading)
    }

    fn fill(&mut self, loading: Loading) {
        let (key, tags) = (loading.query.key, self.random_tags());
        let fill = self.random_fill(tags);
        let origin = Origin { key, tags, begun: loading.begun, read: loading.read, life: Cell::new(fill.life) };
        let value = Rc::new(origin);
        let flies = self.flies(&loading);
        let moved = crate::truth::tags_of(tags).any(|tag| self.promise.tags[tag] > loading.begun);
        let expected = match (flies && !moved, self.takes(&fill)) {
            (false, _) => Filled::Refused,
            (true, true) => Filled::Stored,
            (true, false) => Filled::Passed,
        };
        let filled = loading.lease.fill(Rc::clone(&value), fill, self.now);
        assert_eq!(filled, expected, "flies: {flies}, tags moved: {moved}");
        if !flies {
            return;
        }
        if filled == Filled::Refused {
            self.ends(key, &Told::Again);
        } else {
            // What is there now, or was too large to be there, is newer than all before it.
            self.promise.keys[key] = self.promise.keys[key].max(loading.begun);
            self.ends(key, &Told::Value(value));
        }
    }

    fn fail(&mut self, loading: Loading) {
        let (key, ticket, flies) = (loading.query.key, loading.lease.ticket(), self.flies(&loading));
        let usable = flies && loading.falls_back;
        let found = loading.lease.fail(ticket, self.now);
        assert!(usable || found.is_none(), "fell back on a value that is not its own to refresh");
        if let Some(value) = found {
            self.is_served(key, &value, None);
        }
        if flies {
            self.ends(key, &Told::Failed(ticket));
        }
    }

    fn falls_back_on(&self, loading: &Loading, found: Option<&Value>) {
        if let Some(value) = found {
            assert!(self.flies(loading) && loading.falls_back, "falls back on a value that is not its own to refresh");
            self.is_served(loading.query.key, value, None);
        }
    }

    fn go_on_waiting(&mut self, mut waiting: Box<Waiting>) -> Caller {
        if self.chance.one_in(8) {
            // The one who asked went away.
            return Caller::Idle;
        }
        let Some(told) = waiting.told.take() else {
            assert!(waiting.poll().is_pending(), "woken by nobody, yet told something");
            if self.now < waiting.until {
                return Caller::Waiting(waiting);
            }
            let query = waiting.query;
            drop(waiting);
            return self.begin(query, true);
        };
        match (waiting.poll(), told) {
            (Poll::Ready(Ending::Value(value)), Told::Value(expected)) => {
                assert!(Rc::ptr_eq(&value, &expected), "told of another value than was loaded");
                waiting.query.promise.allows(waiting.query.key, &value);
                Self::is_new_enough(&waiting.query, &value);
                Caller::Idle
            }
            (Poll::Ready(Ending::Failed(failed)), Told::Failed(expected)) => {
                assert_eq!(failed, expected, "told the error of another load");
                assert_eq!(failed, waiting.ticket(), "told the error of a load it did not join");
                Caller::Idle
            }
            (Poll::Ready(Ending::Again), Told::Again) => self.begin(waiting.query, true),
            (ending, _) => panic!("the wait ended as {ending:?}, which is not how the flight did"),
        }
    }
}
