//! World: one cache, its source of truth, and all who use it, one step at a time.
//!
//! Owns the clock, the chance and what has been promised so far. What callers do is in `caller`, what writers do in `writer`.
//! Invariant: a step does one thing, so its number orders loads, sets and invalidations.

use std::rc::Rc;
use std::time::Duration;

use donjon_core::cache::{self, Config};
use donjon_core::chance::Seed;
use donjon_core::entry::{Freshness, Life};
use donjon_core::expiry::{Early, Grace, Ttl};
use donjon_core::key::Key;
use donjon_core::moment::Moment;
use donjon_core::stats::Stats;
use donjon_core::version::Ticket;

use crate::caller::{Caller, Told};
use crate::chance::Chance;
use crate::truth::{KEYS, Origin, Promise, Source};
use crate::writer::Change;

/// Nothing is cloned or dropped but a count, as with an `Arc`.
pub type Value = Rc<Origin>;
/// An error is the ticket of the load that failed.
pub type Cache = cache::Cache<Value, Ticket>;

#[derive(Clone, Copy, PartialEq)]
pub enum Validate {
    EachStep,
    Sometimes,
}

/// A load under way whose value may still be stored.
#[derive(Clone, Copy)]
pub struct Flying {
    pub ticket: Ticket,
    pub since: Moment,
}

pub struct World {
    seed: u64,
    pub step: u64,
    pub chance: Chance,
    pub config: Config,
    pub cache: Cache,
    pub now: Moment,
    pub source: Source,
    pub promise: Promise,
    pub flights: [Option<Flying>; KEYS],
    pub callers: Vec<Caller>,
    pub changes: Vec<Change>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let config = Config {
            max_bytes: MAX_BYTES,
            max_entries: chance.pick(&[Some(1), Some(3), Some(5), None]),
            early: chance.pick(&[Early::OFF, Early::default()]),
            load_timeout: Duration::from_millis(chance.pick(&[10, 60, 1_000])),
            max_joined: chance.pick(&[1, 2, 100]),
            ..Config::default()
        };
        Self {
            cache: Cache::new(&config, Seed(seed.into())),
            seed,
            step: 0,
            chance,
            config,
            now: Moment::from_millis(1),
            source: Source::default(),
            promise: Promise::default(),
            flights: [None; KEYS],
            callers: (0..CALLERS).map(|_| Caller::Idle).collect(),
            changes: Vec::new(),
        }
    }

    pub fn run(&mut self, steps: u64, validate: Validate) {
        for _ in 0..steps {
            self.step += 1;
            match self.chance.below(100) {
                0..78 => self.caller_turn(),
                78..89 => self.writer_turn(),
                89..99 => self.pass_time(),
                _ => self.switch(),
            }
            self.check_waits();
            assert!(self.cache.stats().entries <= self.config.max_entries.unwrap_or(u64::MAX), "too many entries");
            if validate == Validate::EachStep || self.step.is_multiple_of(256) {
                self.cache.validate();
            }
        }
        self.finish();
    }

    pub fn stats(&self) -> Stats {
        self.cache.stats()
    }

    /// Everybody leaves: nothing may be left under way.
    fn finish(&mut self) {
        for caller in &mut self.callers {
            *caller = Caller::Idle;
        }
        self.flights = [None; KEYS];
        assert_eq!(self.cache.stats().flights, 0, "a load is under way that nobody leads");
        self.cache.validate();
    }

    fn pass_time(&mut self) {
        let millis = if self.chance.one_in(40) { self.chance.below(150) } else { self.chance.below(3) };
        self.now = self.now.after(Duration::from_millis(millis));
        if self.chance.one_in(4) {
            self.cache.expire(self.chance.below(4) as usize, self.now);
        }
    }

    fn switch(&mut self) {
        let on = !self.cache.is_enabled() || !self.chance.one_in(16);
        self.cache.switch(on);
    }

    /// Fails where one who waits was not woken though its flight ended, or was woken though it did not.
    fn check_waits(&self) {
        for caller in &self.callers {
            if let Caller::Waiting(waiting) = caller {
                assert_eq!(waiting.is_woken(), waiting.told.is_some(), "woken is who waits for what has ended");
            }
        }
    }

    /// The load of `key` that may be joined.
    pub fn joinable(&self, key: usize) -> Option<Flying> {
        self.flights[key].filter(|flying| self.now - flying.since < self.config.load_timeout)
    }

    /// The flight of `key` is over, for those who wait as `told`; to others it means nothing.
    pub fn ends(&mut self, key: usize, told: &Told) {
        let Some(flying) = self.flights[key].take() else { return };
        for caller in &mut self.callers {
            if let Caller::Waiting(waiting) = caller
                && waiting.ticket() == flying.ticket
                && waiting.told.is_none()
            {
                waiting.tell(told);
            }
        }
    }

    /// How many wait for this load.
    pub fn waiting_for(&self, ticket: Ticket) -> usize {
        let waits = |caller: &&Caller| matches!(caller, Caller::Waiting(waiting) if waiting.ticket() == ticket);
        self.callers.iter().filter(waits).count()
    }

    /// A value may be served now, and stands as the cache says.
    pub fn is_served(&self, key: usize, value: &Origin, as_: Option<Freshness>) {
        self.promise.allows(key, value);
        let freshness = value.life.get().at(self.now);
        assert_ne!(freshness, Freshness::Over, "served past its grace");
        assert!(as_.is_none_or(|as_| as_ == freshness), "served as {as_:?}, though it is {freshness:?}");
    }

    pub fn random_life(&mut self) -> Life {
        let (ttl, grace) = (self.random_ttl(), self.chance.below(40) as f64);
        self.cache.life(ttl, Grace::from_millis(grace).expect("a grace"), self.now)
    }

    pub fn random_ttl(&mut self) -> Ttl {
        let millis = 1 + self.chance.below(40);
        if self.chance.one_in(20) { Ttl::FOREVER } else { Ttl::from_millis(millis as f64).expect("a ttl") }
    }

    pub fn random_key(&mut self) -> usize {
        self.chance.below(KEYS as u64) as usize
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with DONJON_SEED={} DONJON_STEPS={}", self.seed, self.step);
        }
    }
}

pub fn key_of(key: usize) -> Key<'static> {
    Key::new(NAMES[key]).expect("a valid key")
}

pub const NAMES: [&str; KEYS] = ["a0", "a1", "a2", "b0", "b1", "b2"];

/// A value of this size is refused, and one a tenth of it stored.
pub const MAX_BYTES: u64 = 100_000;

const CALLERS: u64 = 8;
