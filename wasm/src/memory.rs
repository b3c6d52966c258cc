//! Memory: the tier whose values the host keeps, each under a number that it chose, with all decisions on this side.
//!
//! The host has a table from keys to numbers, and reads by number: no text crosses for a hit. A text crosses when a value is stored
//! or a key invalidated. After each call that may let values go the host takes their numbers and frees them, before it reads again.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use core::task::Poll;

use donjon_core::cache::{Ask, Cache, Config, EXPIRE_AT_ONCE, Fill, Holder, Lookup, Removed, Step, Tags};
use donjon_core::expiry::{Grace, Ttl};
use donjon_core::flight::{Ending, Joined};
use donjon_core::key::Key;
use donjon_core::lease::{Filled, Lease};
use donjon_core::moment::Moment;
use donjon_core::pattern::Pattern;
use donjon_core::policy::Slot;
use donjon_core::version::Ticket;
use donjon_wasm_host::bridge::{Input, Kind, LEFT, Output, Refused, cross, register};
use donjon_wasm_host::given::{config, key};
use donjon_wasm_host::kept::Kept;
use donjon_wasm_host::numbers::{self, moment, span, until};
use donjon_wasm_host::trap;
use donjon_wasm_host::waits::poll;
use slab::Slab;

use crate::events;

struct Memory {
    cache: Cache<u32, ()>,
    /// Where the values are, by their numbers.
    slots: Vec<Slot>,
    leases: Slab<Lease<u32, ()>>,
    joined: Slab<Joined<u32, ()>>,
    /// The numbers of values that the host has not let go of.
    left: Vec<u32>,
}

static MEMORY: Kept<Cell<Option<Box<Memory>>>> = Kept::new(Cell::new(None));

fn with<T>(ask: impl FnOnce(&mut Memory) -> T) -> T {
    MEMORY.lend(|memory| {
        trap::spring();
        ask(memory)
    })
}

/// As [`cross`], of what asks the memory, and may let values go.
fn change(mut call: impl FnMut(&mut Memory, &mut Input<'_>, &mut Output<'_>) -> Result<i32, Refused>) -> i32 {
    change_once(&mut call)
}

/// What all such calls have in common, once in the module.
#[inline(never)]
fn change_once(call: &mut dyn FnMut(&mut Memory, &mut Input<'_>, &mut Output<'_>) -> Result<i32, Refused>) -> i32 {
    with(|memory| {
        let outcome = cross(|input, output| call(memory, input, output));
        memory.left.append(&mut memory.cache.take_left());
        register(LEFT, memory.left.len() as f64);
        outcome
    })
}

impl Memory {
    /// Notes where the value of this number is, if it is anywhere.
    fn place(&mut self, number: u32, key: Key<'_>) {
        if let Some(slot) = self.cache.slot(key) {
            let number = number as usize;
            if self.slots.len() <= number {
                // Grown by an eighth: doubled, a large cache would have as much room again that nobody needs.
                if self.slots.capacity() <= number {
                    self.slots.reserve_exact(number + 1 - self.slots.len() + number / 8 + 32);
                }
                self.slots.resize(number + 1, slot);
            }
            self.slots[number] = slot;
        }
    }

    fn fill(&self, bytes: f64, terms: &Terms, tags: &[&str], now: Moment) -> Result<Fill, Refused> {
        let life = self.cache.life(terms.ttl, terms.grace, now);
        let tags =
            if tags.is_empty() { Tags::default() } else { self.cache.tags(tags).map_err(Refused::of(Kind::Tag))? };
        Ok(Fill { life, bytes: bytes as u64, tags })
    }

    fn removed(&mut self, removed: Removed<u32>) -> i32 {
        self.left.extend(removed.values);
        i32::try_from(removed.count).unwrap_or(i32::MAX)
    }
}

/// How long a value lives, in milliseconds of the host's; infinite for ever.
struct Terms {
    ttl: Ttl,
    grace: Grace,
}

impl Terms {
    fn new(ttl: f64, grace: f64) -> Result<Self, Refused> {
        Ok(Self { ttl: span(ttl)?, grace: numbers::grace(grace)? })
    }
}

/// Opens the memory, empty. `max_entries` is negative for as many as the bytes allow.
#[unsafe(no_mangle)]
pub extern "C" fn open_memory(max_bytes: f64, max_entries: f64, jitter: f64, early: f64, load_timeout: f64) -> i32 {
    cross(|input, _| {
        let (config, seed) = config(input, jitter, early, load_timeout)?;
        let max_entries = (max_entries >= 0.0).then_some(max_entries as u64);
        let holder = Holder::Host;
        let cache = Cache::new(&Config { max_bytes: max_bytes as u64, max_entries, holder, ..config }, seed);
        let (leases, joined) = (Slab::new(), Slab::new());
        MEMORY.fill(Memory { cache, slots: Vec::new(), leases, joined, left: Vec::new() });
        Ok(0)
    })
}

// -- reads, by number

/// Whether the value is a hit that needs no refresh. Counts a hit, or nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hit(number: u32, now: f64) -> i32 {
    with(|memory| {
        let slots: &[Slot] = &memory.slots;
        memory.cache.hit_at(slots[number as usize], moment(now)).into()
    })
}

/// 2 for a hit, 1 for a stale one, 0 for a miss, and counts it. A negative number stands for a key that has none.
#[unsafe(no_mangle)]
pub extern "C" fn get(number: i32, now: f64) -> i32 {
    with(|memory| {
        let slot = usize::try_from(number).ok().map(|number| memory.slots[number]);
        match memory.cache.get_at(slot, moment(now)) {
            Lookup::Hit(()) => 2,
            Lookup::Stale(()) => 1,
            Lookup::Miss => 0,
        }
    })
}

/// How long the value of a key is still fresh, into the first register, infinite for ever; 0 where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn fresh_for(now: f64) -> i32 {
    change(|memory, input, _| {
        let now = moment(now);
        let seen = memory.cache.peek(key(input)?, now);
        Ok(seen
            .is_some_and(|seen| {
                register(0, until(seen.life.fresh_until(), now));
                true
            })
            .into())
    })
}

/// What is known of a key.
#[unsafe(no_mangle)]
pub extern "C" fn explain(now: f64) -> i32 {
    change(|memory, input, output| {
        let now = moment(now);
        numbers::explained(&memory.cache.explain(key(input)?, now), now, output);
        Ok(0)
    })
}

// -- loads

const DONE: i32 = 0;
const STALE: i32 = 1;
const LOAD: i32 = 2;
const JOIN: i32 = 3;

/// A ticket later than every load begun so far.
#[unsafe(no_mangle)]
pub extern "C" fn ticket() -> f64 {
    with(|memory| memory.cache.ticket().get() as f64)
}

/// Looks a key up for a caller that can load. `since` is negative, or a ticket that the load has to be later than; `again` is 1 where
/// the look-up was counted before.
///
/// - 0: serve the value of the number in register 0;
/// - 1: that, or load under the lease in register 1, whose ticket is in 2;
/// - 2: load under the lease;
/// - 3: wait for the load whose ticket is in 2, by the wait in 1, for the milliseconds in 3.
#[unsafe(no_mangle)]
pub extern "C" fn begin(since: f64, again: i32, now: f64) -> i32 {
    change(|memory, input, _| {
        let ask = if since < 0.0 { Ask::value() } else { Ask::newer_than(Ticket::from_number(since as u64)) };
        let ask = if again == 0 { ask } else { ask.again() };
        Ok(match memory.cache.begin(key(input)?, ask, moment(now)) {
            Step::Done(number) => {
                register(0, number.into());
                DONE
            }
            Step::Stale(number, lease) => {
                register(0, number.into());
                lead(memory, lease);
                STALE
            }
            Step::Load(lease) => {
                lead(memory, lease);
                LOAD
            }
            Step::Join(joined, at_most) => {
                register(2, joined.ticket().get() as f64);
                register(3, numbers::millis(at_most));
                let wait = memory.joined.insert(joined);
                register(1, wait as f64);
                // So that it is known to the flight; it cannot have ended, as nothing runs beside us.
                let _pending = poll(&mut memory.joined[wait], wait as u32);
                JOIN
            }
        })
    })
}

/// The right to load without storing; its lease is in register 1, its ticket in 2.
#[unsafe(no_mangle)]
pub extern "C" fn bypass(now: f64) -> i32 {
    change(|memory, input, _| {
        let lease = memory.cache.bypass(key(input)?, moment(now));
        lead(memory, lease);
        Ok(LOAD)
    })
}

fn lead(memory: &mut Memory, lease: Lease<u32, ()>) {
    register(2, lease.ticket().get() as f64);
    register(1, memory.leases.insert(lease) as f64);
}

/// How a load ended for a wait that was woken: 0 with the value that the host has just filled, 1 with the error that it has just
/// failed with, 2 in a way that it has to look up anew. The wait is over.
#[unsafe(no_mangle)]
pub extern "C" fn ending(wait: u32) -> i32 {
    with(|memory| {
        memory.joined.try_remove(wait as usize).map_or(2, |mut joined| match poll(&mut joined, wait) {
            Poll::Ready(Ending::Value(_)) => 0,
            Poll::Ready(Ending::Failed(())) => 1,
            Poll::Ready(Ending::Again) | Poll::Pending => 2,
        })
    })
}

/// Gives a wait up.
#[unsafe(no_mangle)]
pub extern "C" fn leave(wait: u32) {
    with(|memory| drop(memory.joined.try_remove(wait as usize)));
}

/// The value to serve should the load fail, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn fallback(lease: u32, now: f64) -> i32 {
    with(|memory| {
        memory.leases.get(lease as usize).and_then(|lease| lease.stale(moment(now))).map_or(-1, u32::cast_signed)
    })
}

/// Fills a lease, of which the input says key and tags, with the value of this number. 0: stored; 1: refused; 2: passed on only.
#[unsafe(no_mangle)]
pub extern "C" fn fill(lease: u32, number: u32, ttl: f64, grace: f64, bytes: f64, now: f64) -> i32 {
    change(|memory, input, _| {
        let (key, now) = (key(input)?, moment(now));
        let fill = memory.fill(bytes, &Terms::new(ttl, grace)?, &input.texts(), now)?;
        let Some(lease) = memory.leases.try_remove(lease as usize) else { return Ok(1) };
        Ok(match lease.fill(number, fill, now) {
            Filled::Stored => {
                memory.place(number, key);
                0
            }
            Filled::Refused => 1,
            Filled::Passed => 2,
        })
    })
}

/// Ends a load by an error, which goes to all who wait.
#[unsafe(no_mangle)]
pub extern "C" fn fail(lease: u32, now: f64) -> i32 {
    change(|memory, _, _| {
        if let Some(lease) = memory.leases.try_remove(lease as usize) {
            let _served_by_fallback = lease.fail((), moment(now));
        }
        Ok(0)
    })
}

/// Gives a load up.
#[unsafe(no_mangle)]
pub extern "C" fn abandon(lease: u32) -> i32 {
    change(|memory, _, _| {
        drop(memory.leases.try_remove(lease as usize));
        Ok(0)
    })
}

// -- writes: everything that can be refused is refused before anything changes

/// Stores a value under a key, with tags. 1 where that was done; 0 where the key was invalidated instead.
#[unsafe(no_mangle)]
pub extern "C" fn set(number: u32, ttl: f64, grace: f64, bytes: f64, now: f64) -> i32 {
    change(|memory, input, _| {
        let (key, now) = (key(input)?, moment(now));
        let fill = memory.fill(bytes, &Terms::new(ttl, grace)?, &input.texts(), now)?;
        let stored = memory.cache.set(key, number, fill, now);
        memory.place(number, key);
        Ok(stored.into())
    })
}

/// Stores a value where there is none. 1 where that was done.
#[unsafe(no_mangle)]
pub extern "C" fn add(number: u32, ttl: f64, bytes: f64, now: f64) -> i32 {
    change(|memory, input, _| {
        let (key, now) = (key(input)?, moment(now));
        let fill = memory.fill(bytes, &Terms::new(ttl, 0.0)?, &[], now)?;
        let stored = memory.cache.swap(key, None, number, fill, now) == Some(true);
        if stored {
            memory.place(number, key);
        }
        Ok(stored.into())
    })
}

/// The number of the value of a key, or -1. Counts nothing.
#[unsafe(no_mangle)]
pub extern "C" fn peek(now: f64) -> i32 {
    change(|memory, input, _| {
        register(0, memory.cache.peek(key(input)?, moment(now)).map_or(-1.0, |seen| seen.value.into()));
        Ok(0)
    })
}

/// Stores a value in the place of the one that is there, whose life it takes over, or of none. 1 where it is stored.
#[unsafe(no_mangle)]
pub extern "C" fn replace(number: u32, ttl: f64, bytes: f64, now: f64) -> i32 {
    change(|memory, input, _| {
        let (key, now) = (key(input)?, moment(now));
        let fill = memory.fill(bytes, &Terms::new(ttl, 0.0)?, &[], now)?;
        let seen = memory.cache.peek(key, now);
        let life = seen.as_ref().map_or(fill.life, |seen| seen.life);
        let stored = memory.cache.swap(key, seen.map(|seen| seen.ticket), number, Fill { life, ..fill }, now);
        memory.place(number, key);
        Ok((stored == Some(true)).into())
    })
}

/// Gives a value another time to live. 1 where there is one.
#[unsafe(no_mangle)]
pub extern "C" fn touch(ttl: f64, now: f64) -> i32 {
    change(|memory, input, _| Ok(memory.cache.retime(key(input)?, span(ttl)?, moment(now)).into()))
}

// -- invalidation: how many values left

/// Invalidates a key.
#[unsafe(no_mangle)]
pub extern "C" fn delete(now: f64) -> i32 {
    change(|memory, input, _| Ok(memory.cache.delete(key(input)?, moment(now)).into()))
}

/// Invalidates the keys that match.
#[unsafe(no_mangle)]
pub extern "C" fn invalidate_pattern(now: f64) -> i32 {
    change(|memory, input, _| {
        let pattern = Pattern::new(input.text()).map_err(Refused::of(Kind::Pattern))?;
        let removed = memory.cache.invalidate_pattern(&pattern, moment(now));
        Ok(memory.removed(removed))
    })
}

/// Makes dead what carries one of these tags; gives how many they are.
#[unsafe(no_mangle)]
pub extern "C" fn invalidate_tags() -> i32 {
    change(|memory, input, _| {
        memory.cache.invalidate_tags(&input.texts()).map(|count| count as i32).map_err(Refused::of(Kind::Tag))
    })
}

/// Invalidates everything.
#[unsafe(no_mangle)]
pub extern "C" fn clear(now: f64) -> i32 {
    change(|memory, _, _| {
        let removed = memory.cache.clear(moment(now));
        Ok(memory.removed(removed))
    })
}

/// Carries out what the rules make of an event.
#[unsafe(no_mangle)]
pub extern "C" fn emit(now: f64) -> i32 {
    change(|memory, input, _| {
        let plan = events::planned(input)?;
        let removed = memory.cache.carry_out(&plan, moment(now));
        Ok(memory.removed(removed))
    })
}

// -- the rest

/// The values that left since this was last called, into the output.
#[unsafe(no_mangle)]
pub extern "C" fn take_left() -> i32 {
    change(|memory, _, output| {
        memory.left.drain(..).for_each(|number| output.count(number as usize));
        register(LEFT, 0.0);
        Ok(0)
    })
}

/// Lets some values whose time is over leave; 1 while more may be due. When the next may be is in register 0.
#[unsafe(no_mangle)]
pub extern "C" fn expire(now: f64) -> i32 {
    change(|memory, _, _| {
        let more = memory.cache.expire(EXPIRE_AT_ONCE, moment(now));
        register(0, memory.cache.next_deadline().map_or(f64::INFINITY, |due| until(due, moment(0.0))));
        Ok(more.into())
    })
}

/// Switches the cache on or off.
#[unsafe(no_mangle)]
pub extern "C" fn switch(enabled: i32) {
    with(|memory| memory.cache.switch(enabled != 0));
}

/// The counters, as [`numbers::stats`] writes them.
#[unsafe(no_mangle)]
pub extern "C" fn stats() -> i32 {
    change(|memory, _, output| {
        numbers::stats(&memory.cache.stats(), output);
        Ok(0)
    })
}

/// Sets the counters back to zero.
#[unsafe(no_mangle)]
pub extern "C" fn reset_stats() {
    with(|memory| memory.cache.reset_stats());
}
