//! The core as a WebAssembly module: a few calls that a host without Rust can make and check.
//!
//! Keys are numbers here (`user:7`), since only numbers cross without ado; values are numbers too, and every call that needs
//! the time is given it in milliseconds. `probe.mjs` beside it sees to it that the module imports nothing and decides right.

// Names that a host can find need `no_mangle`, which Rust counts as unsafe: two symbols could share one name.
#![allow(unsafe_code)]
// What panics here fails the test, as it should.
#![allow(clippy::missing_panics_doc)]

use std::cell::RefCell;

use donjon_core::cache::{Ask, Cache, Config, Fill, Lookup, Step};
use donjon_core::chance::Seed;
use donjon_core::expiry::{Grace, Ttl};
use donjon_core::key::Key;
use donjon_core::lease::{Filled, Lease};
use donjon_core::moment::Moment;
use donjon_core::pattern::Pattern;

/// What a call answers where there is no value.
const NOTHING: i32 = -1;

struct Probe {
    cache: Cache<i32, ()>,
    /// The loads that the host has under way, by the numbers it was given.
    leases: Vec<Option<Lease<i32, ()>>>,
}

thread_local! {
    static PROBE: RefCell<Probe> = RefCell::new(Probe::new(100));
}

impl Probe {
    fn new(max_entries: u64) -> Self {
        let config = Config { max_entries: Some(max_entries), ..Config::default() };
        Self { cache: Cache::new(&config, Seed(0x5eed)), leases: Vec::new() }
    }

    fn fill_of(&self, ttl: f64, now: Moment) -> Option<Fill> {
        let life = self.cache.life(Ttl::from_millis(ttl).ok()?, Grace::NONE, now);
        Some(Fill { life, bytes: 4, tags: self.cache.tags(&["users"]).ok()? })
    }
}

fn with<T>(user: u32, now: f64, ask: impl FnOnce(&mut Probe, Key<'_>, Moment) -> T) -> T {
    let name = format!("user:{user}");
    let key = Key::new(&name).expect("the name is short and not empty");
    PROBE.with_borrow_mut(|probe| ask(probe, key, Moment::from_millis(now as u64)))
}

/// Starts anew, empty, with room for so many entries.
#[unsafe(no_mangle)]
pub extern "C" fn start(max_entries: u32) {
    PROBE.set(Probe::new(max_entries.into()));
}

/// Stores a value; 1 where that was done, 0 where the time to live was refused.
#[unsafe(no_mangle)]
pub extern "C" fn set(user: u32, value: i32, ttl: f64, now: f64) -> i32 {
    with(user, now, |probe, key, now| {
        probe.fill_of(ttl, now).is_some_and(|fill| probe.cache.set(key, value, fill, now)).into()
    })
}

/// The value that is there, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn get(user: u32, now: f64) -> i32 {
    with(user, now, |probe, key, now| match probe.cache.get(key, now) {
        Lookup::Hit(value) | Lookup::Stale(value) => value,
        Lookup::Miss => NOTHING,
    })
}

/// Begins a load and gives its number; -1 where another load is under way, -2 where a value is there.
#[unsafe(no_mangle)]
pub extern "C" fn begin(user: u32, now: f64) -> i32 {
    with(user, now, |probe, key, now| match probe.cache.begin(key, Ask::value(), now) {
        Step::Load(lease) | Step::Stale(_, lease) => {
            probe.leases.push(Some(lease));
            i32::try_from(probe.leases.len() - 1).expect("a probe makes few loads")
        }
        Step::Join(..) => NOTHING,
        Step::Done(_) => -2,
    })
}

/// Ends a load with a value: 1 where it is stored, 0 where it is refused, -1 where there is no such load.
#[unsafe(no_mangle)]
pub extern "C" fn fill(load: u32, value: i32, ttl: f64, now: f64) -> i32 {
    with(0, now, |probe, _, now| {
        let Some(fill) = probe.fill_of(ttl, now) else { return NOTHING };
        let Some(lease) = probe.leases.get_mut(load as usize).and_then(Option::take) else { return NOTHING };
        (lease.fill(value, fill, now) == Filled::Stored).into()
    })
}

/// Removes one key; 1 where a value was there.
#[unsafe(no_mangle)]
pub extern "C" fn delete(user: u32, now: f64) -> i32 {
    with(user, now, |probe, key, now| probe.cache.delete(key, now).into())
}

/// Removes what `user:*` matches, and says how many values that were.
#[unsafe(no_mangle)]
pub extern "C" fn invalidate_users(now: f64) -> u64 {
    let users = Pattern::new("user:*").expect("the pattern is a valid one");
    with(0, now, |probe, _, now| probe.cache.invalidate_pattern(&users, now).count)
}

/// Invalidates the tag that every value here carries.
#[unsafe(no_mangle)]
pub extern "C" fn invalidate_tag() {
    with(0, 0.0, |probe, _, _| probe.cache.invalidate_tags(&["users"]).expect("the tag is a valid one"));
}

/// Lets what is over leave, and says how many entries stay.
#[unsafe(no_mangle)]
pub extern "C" fn expire(now: f64) -> u64 {
    with(0, now, |probe, _, now| {
        while probe.cache.expire(1_000, now) {}
        probe.cache.stats().entries
    })
}
