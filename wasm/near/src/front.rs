//! Front: memory in front of the shared tier, whose values and connection the host has.
//!
//! The host has a table from keys to numbers, and reads by number. After each call that may let values go it takes their numbers and
//! frees them, before it reads again. It says what its connection is told, and asks under the number of a guard.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

use donjon_core::cache::Holder;
use donjon_core::chance::Seed;
use donjon_core::entry::Life;
use donjon_core::key::{Key, Namespace};
use donjon_core::moment::Moment;
use donjon_core::near::{Answer, Config, Near, Told, Track};
use donjon_core::pattern::Pattern;
use donjon_core::policy::Slot;
use donjon_core::remote::name::Names;
use donjon_core::remote::sight::{Outline, is_counter};
use donjon_core::stats::Stats;
use donjon_wasm_host::bridge::{Input, Kind, LEFT, Output, Refused, cross, register};
use donjon_wasm_host::given::key;
use donjon_wasm_host::kept::Kept;
use donjon_wasm_host::numbers::{self, moment, span};
use donjon_wasm_host::trap;

struct Front {
    near: Near<u32>,
    names: Names,
    /// Where there is a connection that is told of changes.
    track: Option<Track>,
    /// Where the values are, by their numbers.
    slots: Vec<Slot>,
    /// The numbers of values that the host has not let go of.
    left: Vec<u32>,
}

static FRONT: Kept<Cell<Option<Box<Front>>>> = Kept::new(Cell::new(None));

fn with<T>(ask: impl FnOnce(&mut Front) -> T) -> T {
    FRONT.lend(|front| {
        trap::spring();
        ask(front)
    })
}

/// As [`cross`], of what may let values go.
fn change(mut call: impl FnMut(&mut Front, &mut Input<'_>, &mut Output<'_>) -> Result<i32, Refused>) -> i32 {
    change_once(&mut call)
}

/// What all such calls have in common, once in the module.
#[inline(never)]
fn change_once(call: &mut dyn FnMut(&mut Front, &mut Input<'_>, &mut Output<'_>) -> Result<i32, Refused>) -> i32 {
    with(|front| {
        let outcome = cross(|input, output| call(front, input, output));
        front.left.append(&mut front.near.take_left());
        register(LEFT, front.left.len() as f64);
        outcome
    })
}

/// Opens it, empty. The input says seed and namespace; `max_entries` is negative for as many as the bytes allow.
#[unsafe(no_mangle)]
pub extern "C" fn open_near(max_bytes: f64, max_entries: f64, ttl: f64, max_stale: f64) -> i32 {
    cross(|input, _| {
        let seed = Seed(u128::from_le_bytes(input.bytes(16).try_into().expect("so many were taken")));
        let names = Names::new(Namespace::new(input.text()).map_err(Refused::of(Kind::Config))?);
        let config = Config {
            max_bytes: max_bytes as u64,
            max_entries: (max_entries >= 0.0).then_some(max_entries as u64),
            ttl: span(ttl)?,
            max_stale: Duration::from_micros((max_stale * 1e3) as u64),
            holder: Holder::Host,
        };
        let near = Near::new(names.clone(), &config, seed);
        FRONT.fill(Front { near, names, track: None, slots: Vec::new(), left: Vec::new() });
        Ok(0)
    })
}

// -- served

/// Whether the value of this number may be served. Counts a hit, or nothing.
#[unsafe(no_mangle)]
pub extern "C" fn near_hit(number: u32, now: f64) -> i32 {
    with(|front| {
        let slots: &[Slot] = &front.slots;
        front.near.hit_at(slots[number as usize], moment(now)).into()
    })
}

/// One more than the number of a key's value that may be served, and counts as a stale one where there is no connection; or 0, and
/// counts nothing.
#[unsafe(no_mangle)]
pub extern "C" fn near_find(now: f64) -> i32 {
    change(|front, input, _| {
        Ok(front.near.hit(key(input)?, moment(now)).map_or(0, |number| (number + 1).cast_signed()))
    })
}

// -- entering

/// The number of a guard, to be taken before anything is sent whose answer may enter.
#[unsafe(no_mangle)]
pub extern "C" fn near_guard() -> f64 {
    with(|front| front.track.as_ref().map_or(0.0, |track| track.guard().number() as f64))
}

const COUNTER: i32 = 2;

/// Lets a value in that was answered to what was sent under this guard, unless something changed since that it depends on. The input says
/// its key and the first bytes of what was answered, `beyond` more of which there are; `clock` is Redis's. 1 where it is in, 0 where it
/// is not, and 2 for a counter, of which Redis alone knows how long it lives.
#[unsafe(no_mangle)]
pub extern "C" fn near_admit(guard: f64, number: u32, bytes: f64, beyond: u32, now: f64, clock: f64) -> i32 {
    change(|front, input, _| {
        let (key, start) = (key(input)?, input.sized());
        let came = Came { guard, number, bytes, now: moment(now), clock: moment(clock) };
        Ok(match Outline::of_start(start, beyond as usize, came.clock) {
            Some(outline) => front.admit(key, &outline, &came).into(),
            None if is_counter(start) => COUNTER,
            None => 0,
        })
    })
}

/// As [`near_admit`], of a value that was taken. It lives there until these moments on Redis's clock, infinite for ever. The input says
/// its key, and the tables of its tags.
#[unsafe(no_mangle)]
pub extern "C" fn near_admit_taken(
    guard: f64,
    number: u32,
    bytes: f64,
    fresh_until: f64,
    usable_until: f64,
    now: f64,
    clock: f64,
) -> i32 {
    change(|front, input, _| {
        let (key, tables) = (key(input)?, input.sized().to_vec());
        let outline = Outline::of_parts(Life::new(end(fresh_until), end(usable_until)), tables);
        let came = Came { guard, number, bytes, now: moment(now), clock: moment(clock) };
        Ok(front.admit(key, &outline, &came).into())
    })
}

/// As [`near_admit`], of a counter, by what `PTTL` answered. The input says its key.
#[unsafe(no_mangle)]
pub extern "C" fn near_admit_counter(guard: f64, number: u32, bytes: f64, left: f64, now: f64, clock: f64) -> i32 {
    change(|front, input, _| {
        let key = key(input)?;
        let came = Came { guard, number, bytes, now: moment(now), clock: moment(clock) };
        let outline = Outline::of_counter(left as i64, came.clock);
        Ok(outline.is_some_and(|outline| front.admit(key, &outline, &came)).into())
    })
}

fn end(millis: f64) -> Moment {
    if millis == f64::INFINITY { Moment::NEVER } else { moment(millis) }
}

/// A value that came, by its number, what it weighs, the guard that it was asked for under, and when that was on either clock.
struct Came {
    guard: f64,
    number: u32,
    bytes: f64,
    now: Moment,
    clock: Moment,
}

impl Front {
    fn admit(&mut self, key: Key<'_>, outline: &Outline, came: &Came) -> bool {
        let Some(guard) = self.track.as_ref().and_then(|track| track.guard_of(came.guard as u64)) else { return false };
        let answer = Answer { value: came.number, bytes: came.bytes as u64, outline };
        let is_in = self.near.admit(&guard, key, answer, came.now, came.clock);
        if is_in {
            self.place(came.number, key);
        }
        is_in
    }

    /// Notes where the value of this number is, if it is anywhere.
    fn place(&mut self, number: u32, key: Key<'_>) {
        if let Some(slot) = self.near.slot(key) {
            let number = number as usize;
            if self.slots.len() <= number {
                self.slots.resize(number + 1, slot);
            }
            self.slots[number] = slot;
        }
    }
}

// -- leaving

/// A connection is told of changes from now on: itself, or with 1 by way of another; or with 2 nobody is told.
#[unsafe(no_mangle)]
pub extern "C" fn track(told: i32) -> i32 {
    change(|front, _, _| {
        let told = match told {
            0 => Told::Itself,
            1 => Told::Aside,
            _ => Told::Nobody,
        };
        front.track = Some(front.near.track(told));
        Ok(0)
    })
}

/// The connection is lost.
#[unsafe(no_mangle)]
pub extern "C" fn untrack() -> i32 {
    change(|front, _, _| {
        front.track = None;
        Ok(0)
    })
}

/// The connection gave a sign of life that it was asked for at `sent`.
#[unsafe(no_mangle)]
pub extern "C" fn answered(sent: f64) -> i32 {
    change(|front, _, _| {
        if let Some(track) = &front.track {
            track.answered(moment(sent));
        }
        Ok(0)
    })
}

/// The connection was told that everything changed.
#[unsafe(no_mangle)]
pub extern "C" fn flushed(now: f64) -> i32 {
    change(|front, _, _| {
        if let Some(track) = &front.track {
            track.flushed(moment(now));
        }
        Ok(0)
    })
}

/// The connection was told that what has this name in Redis changed. 1 where that is the list of what is being swept: nothing is
/// believed until it was read, and [`settled`].
#[unsafe(no_mangle)]
pub extern "C" fn pushed(now: f64) -> i32 {
    change(|front, input, _| {
        let is_of_sweeps = front.near.pushed(input.sized(), moment(now));
        if let Some(track) = front.track.as_ref().filter(|_| is_of_sweeps) {
            track.doubt();
        }
        Ok(is_of_sweeps.into())
    })
}

/// The number of the doubt there is, under which to read the list; 0 where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn doubted() -> f64 {
    with(|front| front.track.as_ref().and_then(Track::doubted).map_or(0.0, |number| number as f64))
}

/// The list is known that was read under the doubt of this number, and what it covers has gone.
#[unsafe(no_mangle)]
pub extern "C" fn settled(doubt: f64) -> i32 {
    change(|front, _, _| {
        if let Some(track) = &front.track {
            track.settled(doubt as u64);
        }
        Ok(0)
    })
}

/// This process is about to change keys, or just has.
#[unsafe(no_mangle)]
pub extern "C" fn near_forget(now: f64) -> i32 {
    change(|front, input, _| {
        for text in input.texts() {
            front.near.forget(Key::new(text).map_err(Refused::of(Kind::Key))?, moment(now));
        }
        Ok(0)
    })
}

/// As [`near_forget`], of all that carries one of these tags.
#[unsafe(no_mangle)]
pub extern "C" fn near_forget_tags() -> i32 {
    change(|front, input, _| {
        front.near.forget_tags(&input.texts());
        Ok(0)
    })
}

/// As [`near_forget`], of all keys that match.
#[unsafe(no_mangle)]
pub extern "C" fn near_forget_matching(now: f64) -> i32 {
    change(|front, input, _| {
        let pattern = Pattern::new(input.text()).map_err(Refused::of(Kind::Pattern))?;
        front.near.forget_matching(&pattern, moment(now));
        Ok(0)
    })
}

/// Lets leave whose time is over: some `limit` of them. 1 while there is more.
#[unsafe(no_mangle)]
pub extern "C" fn near_tidy(limit: u32, now: f64) -> i32 {
    change(|front, _, _| Ok(front.near.tidy(limit as usize, moment(now)).into()))
}

/// The numbers of the values that left, into the output: the host lets go of them.
#[unsafe(no_mangle)]
pub extern "C" fn take_left() -> i32 {
    with(|front| {
        cross(|_, output| {
            for number in core::mem::take(&mut front.left) {
                output.count(number as usize);
            }
            register(LEFT, 0.0);
            Ok(0)
        })
    })
}

// -- the rest

/// There is no connection to be had that is told of changes.
#[unsafe(no_mangle)]
pub extern "C" fn give_up() -> i32 {
    change(|front, _, _| {
        front.near.give_up();
        Ok(0)
    })
}

/// What is believed, in a word, and in register 0 how long ago a change was told; NaN for never.
#[unsafe(no_mangle)]
pub extern "C" fn near_state(now: f64) -> i32 {
    change(|front, _, output| {
        register(0, front.near.last_push(moment(now)).map_or(f64::NAN, numbers::millis));
        output.bytes(front.near.state(moment(now)).word().as_bytes());
        Ok(0)
    })
}

/// What is known of a key that would be served, as the memory explains it; 0 where it would not.
#[unsafe(no_mangle)]
pub extern "C" fn near_explain(now: f64) -> i32 {
    change(|front, input, output| {
        let now = moment(now);
        let known = front.near.explain(key(input)?, now);
        Ok(known
            .is_some_and(|known| {
                numbers::explained(&known, now, output);
                true
            })
            .into())
    })
}

/// How the names of all begin that memory depends on.
#[unsafe(no_mangle)]
pub extern "C" fn near_prefixes() -> i32 {
    change(|front, _, output| {
        let prefixes = front.names.prefixes();
        output.count(prefixes.len());
        for prefix in &prefixes {
            output.sized(prefix);
        }
        Ok(0)
    })
}

/// The counters, which go on where those of the tier behind have got: hits, stale ones, how many of both are memory's, the rates;
/// then memory's own evictions, expirations, entries and bytes. `own` are the hits of who asks, where others share this memory, and
/// negative where nobody does.
#[unsafe(no_mangle)]
pub extern "C" fn near_stats(hits: f64, stale: f64, misses: f64, own: f64) -> i32 {
    change(|front, _, output| {
        let mut stats = Stats::default();
        (stats.hits, stats.stale, stats.misses) = (hits as u64, stale as u64, misses as u64);
        front.near.add_to(&mut stats);
        if own >= 0.0 {
            (stats.hits, stats.stale, stats.memory_hits) = ((hits + own) as u64, stale as u64, own as u64);
        }
        for count in [stats.hits, stats.stale, stats.memory_hits] {
            output.number(count as f64);
        }
        output.number(stats.hit_rate());
        output.number(stats.miss_rate());
        for count in [stats.evictions, stats.expirations, stats.entries, stats.bytes] {
            output.number(count as f64);
        }
        Ok(0)
    })
}

/// Sets the counters back to zero.
#[unsafe(no_mangle)]
pub extern "C" fn reset_near_stats() -> i32 {
    change(|front, _, _| {
        front.near.reset_stats();
        Ok(0)
    })
}

/// Switches it on or off.
#[unsafe(no_mangle)]
pub extern "C" fn switch_near(enabled: i32) -> i32 {
    change(|front, _, _| {
        front.near.switch(enabled != 0);
        Ok(0)
    })
}
