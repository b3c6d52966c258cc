//! Flights: the loads under way in one process, by key, of a tier whose values are kept elsewhere.
//!
//! Owns who leads for a key, who joins, and what is counted of both. Must not know what is loaded, or where it goes. What is in
//! memory has its flights in the rows of its entries instead, where one probe finds either: see `store`.
//!
//! Flights end, and wakers are called, with nothing locked. A pass over all keys holds the lock for as long as it takes to copy
//! handles of them, of which there are [`Limits::max_flights`] at most.
//!
//! Invariants: a key has one flight at most, and what is not in the table any more has ended or is about to; each lead ends its
//! flight once, by `hand_on`, `fail` or by being dropped.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::HashTable;

use crate::chance::Hasher;
use crate::flight::{Ending, Flight, Joined, Limits};
use crate::moment::Moment;
use crate::stats::{Counters, Stats};
use crate::sync::{AtomicBool, Mutex, Ordering};
use crate::version::{Ticket, Tickets};

/// The loads under way. Clones share everything.
#[derive(Debug)]
pub(crate) struct Flights<V, E> {
    shared: Arc<Shared<V, E>>,
}

impl<V, E> Clone for Flights<V, E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct Shared<V, E> {
    rows: Mutex<HashTable<Row<V, E>>>,
    hasher: Hasher,
    limits: Limits,
    tickets: Tickets,
    counters: Counters,
    enabled: AtomicBool,
}

#[derive(Debug)]
struct Row<V, E> {
    key: Arc<str>,
    flight: Arc<Flight<V, E>>,
}

impl<V, E> Clone for Row<V, E> {
    fn clone(&self) -> Self {
        Self { key: Arc::clone(&self.key), flight: Arc::clone(&self.flight) }
    }
}

/// What a caller that can load is to do.
#[derive(Debug)]
pub(crate) enum Part<V: Clone, E: Clone> {
    /// Load, for all who join.
    Lead(Lead<V, E>),
    /// Wait, no longer than this.
    Join(Joined<V, E>, Duration),
    /// Load for itself: too many do, or flights are switched off.
    Alone,
}

/// The load of one key under way. Dropped, it sends those who wait to look up anew.
#[derive(Debug)]
pub(crate) struct Lead<V: Clone, E: Clone> {
    flights: Flights<V, E>,
    key: Arc<str>,
    ticket: Ticket,
    begun: Moment,
    /// `None` where nobody joins.
    flight: Option<Arc<Flight<V, E>>>,
}

impl<V: Clone, E: Clone> Flights<V, E> {
    pub(crate) fn new(limits: Limits, hasher: Hasher) -> Self {
        Self {
            shared: Arc::new(Shared {
                rows: Mutex::new(HashTable::new()),
                hasher,
                limits,
                tickets: Tickets::default(),
                counters: Counters::default(),
                enabled: AtomicBool::new(true),
            }),
        }
    }

    /// A ticket later than every load begun so far.
    pub(crate) fn ticket(&self) -> Ticket {
        self.shared.tickets.next()
    }

    /// Leads for a key or joins who does. Only what was loaded under a ticket later than `since` will do.
    pub(crate) fn begin(&self, key: &str, since: Option<Ticket>, now: Moment) -> Part<V, E> {
        let Shared { rows, hasher, limits, enabled, .. } = &*self.shared;
        if !enabled.load(Ordering::Relaxed) {
            return Part::Alone;
        }
        let hash = hasher.hash(key);
        let mut rows = rows.lock();
        let there = rows.find_mut(hash, |row| *row.key == *key);
        if let Some(row) = there.as_ref().filter(|row| limits.awaits(&row.flight, now)) {
            let flight = Arc::clone(&row.flight);
            drop(rows);
            return limits
                .join(flight, since, now)
                .map_or(Part::Alone, |(joined, at_most)| Part::Join(joined, at_most));
        }
        let key: Arc<str> = there.as_ref().map_or_else(|| key.into(), |row| Arc::clone(&row.key));
        let flight = Arc::new(Flight::new(self.ticket(), now));
        let taken_over = if let Some(row) = there {
            Some(core::mem::replace(&mut row.flight, Arc::clone(&flight)))
        } else {
            if rows.len() as u64 >= limits.max_flights {
                return Part::Alone;
            }
            let row = Row { key: Arc::clone(&key), flight: Arc::clone(&flight) };
            rows.insert_unique(hash, row, |row| hasher.hash(&row.key));
            None
        };
        drop(rows);
        if let Some(flight) = taken_over {
            flight.end(Ending::Again);
        }
        Part::Lead(Lead { flights: self.clone(), key, ticket: flight.ticket, begun: now, flight: Some(flight) })
    }

    /// A load that nobody joins.
    pub(crate) fn alone(&self, key: &str, now: Moment) -> Lead<V, E> {
        Lead { flights: self.clone(), key: key.into(), ticket: self.ticket(), begun: now, flight: None }
    }

    /// Sends the load of a key away: those who wait look up anew.
    pub(crate) fn detach(&self, key: &str) {
        if let Some(row) = self.take(key, |_| true) {
            row.flight.end(Ending::Again);
        }
    }

    /// Sends the loads of the keys that match away.
    pub(crate) fn detach_matching(&self, matches: impl Fn(&str) -> bool) {
        // What comes after this was loaded after we began.
        let rows: Vec<Row<V, E>> = self.shared.rows.lock().iter().cloned().collect();
        for row in rows.iter().filter(|row| matches(&row.key)) {
            if let Some(row) = self.take(&row.key, |flight| Arc::ptr_eq(flight, &row.flight)) {
                row.flight.end(Ending::Again);
            }
        }
    }

    /// Switches loads on or off. Off, each is for its caller alone.
    pub(crate) fn switch(&self, enabled: bool) {
        self.shared.enabled.store(enabled, Ordering::Relaxed);
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.shared.enabled.load(Ordering::Relaxed)
    }

    /// What was counted of the tier whose loads these are.
    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.shared.counters.add_to(&mut stats);
        stats.flights = self.shared.rows.lock().len() as u64;
        stats
    }

    /// Takes the row of a key out, where its flight is what is meant.
    fn take(&self, key: &str, is_meant: impl Fn(&Arc<Flight<V, E>>) -> bool) -> Option<Row<V, E>> {
        let hash = self.shared.hasher.hash(key);
        let mut rows = self.shared.rows.lock();
        let entry = rows.find_entry(hash, |row| *row.key == *key && is_meant(&row.flight)).ok()?;
        Some(entry.remove().0)
    }
}

impl<V: Clone, E: Clone> Lead<V, E> {
    /// The key to load.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The ticket under which this load runs.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// When the load began.
    pub(crate) fn begun(&self) -> Moment {
        self.begun
    }

    /// Closes the flight to the value of this load: who asks from now on waits for its end and then looks up anew. For a host
    /// that is about to say elsewhere what was loaded, and learns only later whether something was invalidated before.
    pub(crate) fn close(&self) {
        if let Some(flight) = &self.flight {
            flight.close();
        }
    }

    /// Ends the load: hands its value to those who wait, or sends them to look up anew.
    pub(crate) fn hand_on(mut self, value: Option<V>, now: Moment) {
        let counters = self.flights.counters();
        counters.loads.one();
        counters.load_nanos.add((now - self.begun).as_nanos() as u64);
        self.land(value.map_or(Ending::Again, Ending::Value));
    }

    /// Passes the loader's error to those who wait.
    pub(crate) fn fail(mut self, error: E) {
        let counters = self.flights.counters();
        counters.loads.one();
        counters.load_failures.one();
        self.land(Ending::Failed(error));
    }

    fn land(&mut self, ending: Ending<V, E>) {
        let Some(flight) = self.flight.take() else { return };
        // Sent away, it is not there any more; and another may have taken its place.
        drop(self.flights.take(&self.key, |there| Arc::ptr_eq(there, &flight)));
        flight.end(ending);
    }
}

impl<V: Clone, E: Clone> Drop for Lead<V, E> {
    fn drop(&mut self) {
        self.land(Ending::Again);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::chance::{Chance, Seed};

    const LIMITS: Limits = Limits { load_timeout: Duration::from_secs(30), max_flights: 3, max_joined: 2 };

    fn flights() -> Flights<u32, ()> {
        Flights::new(LIMITS, Chance::new(Seed(7)).hasher(Seed(7)))
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    fn lead(flights: &Flights<u32, ()>, key: &str, now: Moment) -> Lead<u32, ()> {
        let Part::Lead(lead) = flights.begin(key, None, now) else { panic!("another leads for {key}") };
        lead
    }

    fn join(flights: &Flights<u32, ()>, key: &str, since: Option<Ticket>, now: Moment) -> Joined<u32, ()> {
        let Part::Join(mut joined, _) = flights.begin(key, since, now) else { panic!("nobody leads for {key}") };
        assert_eq!(poll(&mut joined), Poll::Pending);
        joined
    }

    fn poll(joined: &mut Joined<u32, ()>) -> Poll<Ending<u32, ()>> {
        Pin::new(joined).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn one_leads_and_the_others_get_its_value() {
        let flights = flights();
        let lead = lead(&flights, "k", at(0));
        let mut joined = join(&flights, "k", None, at(1));
        assert_eq!(joined.ticket(), lead.ticket());
        lead.hand_on(Some(7), at(2));
        assert_eq!(poll(&mut joined), Poll::Ready(Ending::Value(7)));
        assert!(matches!(flights.begin("k", None, at(2)), Part::Lead(_)), "it has landed");
        let stats = flights.stats();
        assert_eq!((stats.loads, stats.load_time, stats.flights), (1, Duration::from_secs(2), 0));
    }

    #[test]
    fn an_error_reaches_those_who_wait_and_a_load_given_up_sends_them_to_look_up_anew() {
        let flights = flights();
        let (fails, leaves) = (lead(&flights, "fails", at(0)), lead(&flights, "gives up", at(0)));
        let mut failed = join(&flights, "fails", None, at(0));
        let mut deserted = join(&flights, "gives up", None, at(0));
        fails.fail(());
        drop(leaves);
        assert_eq!(poll(&mut failed), Poll::Ready(Ending::Failed(())));
        assert_eq!(poll(&mut deserted), Poll::Ready(Ending::Again));
        let stats = flights.stats();
        assert_eq!((stats.loads, stats.load_failures, stats.flights), (1, 1, 0));
    }

    #[test]
    fn a_load_sent_away_ends_for_those_who_wait_and_leaves_the_next_one_alone() {
        let flights = flights();
        let old = lead(&flights, "k", at(0));
        let mut joined = join(&flights, "k", None, at(0));
        flights.detach("k");
        assert_eq!(poll(&mut joined), Poll::Ready(Ending::Again));
        let new = lead(&flights, "k", at(1));
        old.hand_on(Some(1), at(1));
        let mut joined = join(&flights, "k", None, at(1));
        new.hand_on(Some(2), at(1));
        assert_eq!(poll(&mut joined), Poll::Ready(Ending::Value(2)));
    }

    #[test]
    fn only_the_loads_of_keys_that_match_are_sent_away() {
        let flights = flights();
        let leads: Vec<_> = ["a:1", "a:2", "b:1"].map(|key| lead(&flights, key, at(0))).into();
        let mut joined: Vec<_> = leads.iter().map(|lead| join(&flights, lead.key(), None, at(0))).collect();
        flights.detach_matching(|key| key.starts_with("a:"));
        let ended: Vec<_> = joined.iter_mut().map(|joined| poll(joined).is_ready()).collect();
        assert_eq!(ended, [true, true, false]);
        assert_eq!(flights.stats().flights, 1);
    }

    #[test]
    fn a_load_whose_time_is_over_is_taken_over() {
        let flights = flights();
        let slow = lead(&flights, "k", at(0));
        let mut joined = join(&flights, "k", None, at(29));
        let next = lead(&flights, "k", at(30));
        assert_eq!(poll(&mut joined), Poll::Ready(Ending::Again));
        assert!(next.ticket() > slow.ticket());
        drop(slow);
        assert_eq!(flights.stats().flights, 1, "the one that took over is under way still");
    }

    #[test]
    fn who_comes_after_it_was_closed_waits_for_its_end_and_looks_up_anew() {
        let flights = flights();
        let lead = lead(&flights, "k", at(0));
        let mut before = join(&flights, "k", None, at(0));
        lead.close();
        let mut after = join(&flights, "k", None, at(0));
        lead.hand_on(Some(7), at(1));
        assert_eq!(poll(&mut before), Poll::Ready(Ending::Value(7)));
        assert_eq!(poll(&mut after), Poll::Ready(Ending::Again));
    }

    #[test]
    fn what_was_loaded_under_an_older_ticket_will_not_do() {
        let flights = flights();
        let lead = lead(&flights, "k", at(0));
        let mut joined = join(&flights, "k", Some(flights.ticket()), at(0));
        lead.hand_on(Some(7), at(1));
        assert_eq!(poll(&mut joined), Poll::Ready(Ending::Again));
    }

    #[test]
    fn what_goes_beyond_the_bounds_loads_for_itself() {
        let flights = flights();
        let _leads: Vec<_> = ["a", "b", "c"].map(|key| lead(&flights, key, at(0))).into();
        assert!(matches!(flights.begin("d", None, at(0)), Part::Alone), "loads at once");
        let _joined = [join(&flights, "a", None, at(0)), join(&flights, "a", None, at(0))];
        assert!(matches!(flights.begin("a", None, at(0)), Part::Alone), "callers of one load");
        let late = at(30);
        assert!(matches!(flights.begin("a", None, late), Part::Lead(_)), "taking over is no load more");
    }

    #[test]
    fn switched_off_nobody_joins() {
        let flights = flights();
        let _lead = lead(&flights, "k", at(0));
        flights.switch(false);
        assert!(matches!(flights.begin("k", None, at(0)), Part::Alone));
        assert!(!flights.is_enabled());
    }
}
