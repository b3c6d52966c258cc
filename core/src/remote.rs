//! Remote: a tier that processes share, which is one Redis: what to ask it, what its answers mean, and what to do about them.
//!
//! Owns the protocol that `docs/coherence.md` describes: leases across processes, tags, and what is a hit, stale or dead. Must not
//! know how a connection works: it gives [`call::Call`]s and is told [`call::Reply`]s. Nothing is kept here but the loads under way.
//!
//! | to find out | look in |
//! |---|---|
//! | who is served, who loads, who waits | [`look`] |
//! | how a loaded value gets there | [`lease`] |
//! | what bytes under a key mean | [`sight`] |
//! | how keys are read | `read` |
//! | how values are stored, changed and removed | `write` |
//! | how tags are kept | `tables` |
//! | what is dead since a pattern is being swept that covers it | [`sweeps`] |
//! | what things are called in Redis | [`name`] |
//! | commands, answers and scripts | [`call`], [`script`] |

pub mod call;
pub mod lease;
pub mod look;
pub mod name;
mod read;
pub mod script;
pub mod sight;
pub mod sweeps;
mod tables;
pub mod together;
mod write;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::cache::Config;
use crate::chance::{Chance, Seed};
use crate::entry::{Freshness, Life};
use crate::envelope::{Content, Entry, Token};
use crate::expiry::{Early, Grace, Jitter, Ttl};
use crate::fault::Fault;
use crate::flights::Flights;
use crate::key::{Key, Namespace};
use crate::moment::Moment;
use crate::pattern::Pattern;
use crate::payload::Payload;
use crate::stats::{Counter, Stats};
use crate::version::Ticket;

use call::Call;
use look::{Look, Step, Want};
use name::Names;
use script::{ACQUIRE, EXTEND, UNLOCK};
use sight::Seen;
use sweeps::{Id, Sweeps};
use tables::{ToNote, ToRead};

pub use read::{ASKED_TOGETHER, Asking, Found, See, Tagged, Told};
pub use tables::Notes;
pub use write::{Noting, Storing};

/// The shared tier as one process sees it. Clones share everything.
#[derive(Debug)]
pub struct Remote<E: Clone> {
    shared: Arc<Shared<E>>,
}

impl<E: Clone> Clone for Remote<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct Shared<E> {
    names: Names,
    /// Where loads of this process meet, and what is counted of them.
    flights: Flights<Payload, E>,
    sweeps: Sweeps,
    jitter: Jitter,
    early: Early,
    load_timeout: Duration,
    max_value_bytes: u64,
    chance: Chance,
    /// Of this process alone: half of each of its tokens.
    prefix: u64,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    takeovers: Counter,
    closed: Counter,
    faults: Counter,
}

impl<E: Clone> Remote<E> {
    /// A view of the tier. `config` says how loads are shared and how time is treated; its bounds are for what is kept in memory,
    /// which is nothing. The seed comes from the operating system, and a child of `fork` needs another.
    pub fn new(namespace: Namespace, config: &Config, max_value_bytes: u64, seed: Seed) -> Self {
        let chance = Chance::new(seed);
        let hasher = chance.hasher(seed);
        Self {
            shared: Arc::new(Shared {
                names: Names::new(namespace),
                flights: Flights::new(config.limits(), hasher),
                sweeps: Sweeps::default(),
                jitter: config.jitter,
                early: config.early,
                load_timeout: config.load_timeout,
                max_value_bytes,
                prefix: (seed.0 >> 64) as u64,
                chance,
                counters: Counters::default(),
            }),
        }
    }

    /// What things are called.
    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    /// A ticket later than every load begun so far in this process.
    pub fn ticket(&self) -> Ticket {
        self.shared.flights.ticket()
    }

    /// Looks up for a caller that can load. Counts a hit, a stale hit or a miss.
    pub fn look(&self, key: Key<'_>, want: Want, now: Moment) -> Step<E> {
        let look = Look::new(self, key.as_str(), self.shared.names.key(key), want);
        if self.is_enabled() {
            return look.ask();
        }
        look.pass(now)
    }

    /// Loads without storing, and without asking.
    pub fn bypass(&self, key: Key<'_>, now: Moment) -> Step<E> {
        Look::new(self, key.as_str(), self.shared.names.key(key), Want::default()).bypass(now)
    }

    // -- locks and messages

    /// Takes a lock that is free; answers with a fence, or 0. The token is drawn anew.
    pub fn acquire(&self, lock: &str, millis: u64) -> ([u8; 16], Call) {
        let token = self.token(None).0;
        let names = &self.shared.names;
        let call = Call::run(&ACQUIRE, &names.lock(lock)).with(names.fence(lock)).with(token.to_vec()).number(millis);
        (token, call)
    }

    /// Lets a lock last so much longer; answers with a number, 0 where it is lost.
    pub fn extend(&self, lock: &str, token: &[u8; 16], millis: u64) -> Call {
        Call::run(&EXTEND, &self.shared.names.lock(lock)).with(token.to_vec()).number(millis)
    }

    /// Gives a lock back and says so on its channel; answers with a number, 0 where it was lost.
    pub fn unlock(&self, lock: &str, token: &[u8; 16]) -> Call {
        let names = &self.shared.names;
        Call::run(&UNLOCK, &names.lock(lock)).with(token.to_vec()).with(names.lock_channel(lock))
    }

    /// Sends a message to all who listen to a channel; answers with their number.
    pub fn publish(&self, channel: &str, message: Vec<u8>) -> Call {
        Call::plain("PUBLISH", &self.shared.names.channel(channel)).with(message)
    }

    // -- this process

    /// Sends away the load of a key that is under way in this process.
    pub fn detach(&self, key: Key<'_>) {
        self.shared.flights.detach(key.as_str());
    }

    /// Sends away the loads of the keys that match.
    pub fn detach_matching(&self, pattern: &Pattern) {
        self.shared.flights.detach_matching(|key| pattern.is_everything() || pattern.matches(key.as_bytes()));
    }

    /// Sends away all loads.
    pub fn detach_all(&self) {
        self.shared.flights.detach_matching(|_| true);
    }

    /// Switches the cache on or off, as [`Cache::switch`](crate::cache::Cache::switch) does.
    pub fn switch(&self, enabled: bool) {
        self.shared.flights.switch(enabled);
    }

    /// Whether the cache is switched on.
    pub fn is_enabled(&self) -> bool {
        self.shared.flights.is_enabled()
    }

    /// Notes that Redis could not be asked, or answered with an error.
    pub fn noticed(&self, _fault: &Fault) {
        self.shared.counters.faults.one();
    }

    /// A reading of the counters of this process. Entries and bytes are not known: others store, too.
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        let mut stats = self.shared.flights.stats();
        stats.takeovers = counters.takeovers.read();
        stats.foreign = counters.closed.read();
        stats.faults = counters.faults.read();
        stats
    }

    /// Sets the counters back to zero.
    pub fn reset_stats(&self) {
        let Counters { takeovers, closed, faults } = &self.shared.counters;
        for counter in [takeovers, closed, faults] {
            counter.reset();
        }
        self.shared.flights.counters().reset();
    }

    /// Asks how the tables of tags stand, before a value with them is loaded or stored.
    fn ask_notes(&self, notes: ToNote, calls: &mut Vec<Call>) {
        notes.ask(&self.shared.names, self.bits(), calls);
    }

    /// Asks how tags stand.
    fn ask_tags(&self, tags: &ToRead, calls: &mut Vec<Call>) {
        tags.ask(&self.shared.names, calls);
    }

    /// What stands in the place of a value.
    fn placeholder(&self, after: Option<Id>, content: Content<'_>, life: Life) -> Vec<u8> {
        let (token, load_time) = (self.token(after), Duration::ZERO);
        let entry = Entry { token, life, load_time, fingerprint: None, tags: Vec::new(), content };
        entry.encode().expect("it has neither tags nor a payload")
    }

    fn lease(&self, key: &str) -> Vec<u8> {
        let after = self.shared.sweeps.last_of(key);
        self.placeholder(after, Content::Lease, Life::new(Moment::from_millis(0), Moment::from_millis(0)))
    }

    /// One that was never used; the record that a load noted when it began stands in the place of what is this process's own.
    fn token(&self, after: Option<Id>) -> Token {
        let mut token = [0; 16];
        token[..8].copy_from_slice(&after.unwrap_or(self.shared.prefix.to_be_bytes()));
        token[8..].copy_from_slice(&self.bits().to_be_bytes());
        Token(token)
    }

    fn bits(&self) -> u64 {
        self.shared.chance.bits()
    }

    fn share(&self) -> f64 {
        self.shared.chance.share()
    }

    fn refreshes_early(&self, seen: &Seen, clock: Moment) -> bool {
        let (end, took) = (seen.life.fresh_until(), seen.load_time);
        took > Duration::ZERO
            && self.shared.early.possible(clock, end, took)
            && self.shared.early.due(clock, end, took, self.share())
    }

    fn life(&self, ttl: Ttl, grace: Grace, clock: Moment) -> Life {
        self.shared.jitter.apply(ttl, 1.0 - self.share()).life(grace, clock)
    }

    /// Counts a look-up by how the value stands that it found.
    fn count(&self, freshness: Freshness) {
        let counters = self.shared.flights.counters();
        match freshness {
            Freshness::Fresh => counters.hits.one(),
            Freshness::Stale => counters.stale.one(),
            Freshness::Over => counters.misses.one(),
        }
    }
}

/// Milliseconds from `clock` until nothing may be served any more; 0 for ever.
fn lasting(life: Life, clock: Moment) -> u64 {
    match life.usable_until() {
        Moment::NEVER => 0,
        until => ((until - clock).as_millis() as u64).max(1),
    }
}
