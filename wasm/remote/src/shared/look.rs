//! Look: look-ups and leases under way, by their numbers, and what the host is to do next.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::task::Poll;

use bytes::Bytes;
use donjon_core::envelope::Codec;
use donjon_core::flight::Ending;
use donjon_core::lease::Filled;
use donjon_core::moment::Moment;
use donjon_core::payload::Payload;
use donjon_core::remote::Storing;
use donjon_core::remote::lease::{Filling, Lease};
use donjon_core::remote::look::{Step, Want};
use donjon_core::version::Ticket;
use donjon_wasm_host::bridge::{Input, Output, register};
use donjon_wasm_host::given::key;
use donjon_wasm_host::kept::Kept;
use donjon_wasm_host::numbers::{self, moment, span, until};
use donjon_wasm_host::waits::poll;

use super::{SHARED, Shared, with};
use crate::wire::{read_outcome, write_calls};

// -- look-ups

const DONE: i32 = 0;
const STALE: i32 = 1;
const LOAD: i32 = 2;
const JOIN: i32 = 3;
const SEND: i32 = 4;
const SLEEP: i32 = 5;
const FAILED: i32 = 6;
const LATER: i32 = 7;

/// What to do next, and with what:
///
/// - 0 and 1: the value in the output, its codec first; with 1 the lease in register 1, its ticket in 2;
/// - 2: load under the lease; register 3 is 1 where it has to be renewed;
/// - 3: wait for the load whose ticket is in 2, by the wait in 1, for the milliseconds in 3, and go on with the look-up in 0;
/// - 4: send the calls in the output, and go on with the pending look-up in 0; 1 in register 1 where they may be sent twice; in
///   register 2, 0 where they change something, 2 where they read the value, and 1 where they read what it depends on. A call
///   follows that gives up what they took, where nobody is left to hear what was answered;
/// - 5: let the milliseconds in 3 pass, and go on with the look-up in 0;
/// - 6: another's load failed; 7: another loads.
fn step(shared: &mut Shared, step: Step<()>, output: &mut Output<'_>) -> i32 {
    match step {
        Step::Done(payload) => {
            write_payload(&payload, output);
            DONE
        }
        Step::Stale(payload, lease) => {
            write_payload(&payload, output);
            lead(shared, lease);
            STALE
        }
        Step::Load(lease) => {
            lead(shared, lease);
            LOAD
        }
        Step::Failed(()) => FAILED,
        Step::Later => LATER,
        Step::Send(pending, calls) => {
            register(1, pending.may_be_repeated().into());
            register(2, f64::from(u8::from(pending.reads()) + u8::from(pending.begins())));
            write_calls(&calls, output);
            write_calls(pending.given_up().as_slice(), output);
            register(0, shared.pending.insert(*pending) as f64);
            SEND
        }
        Step::Join(look, joined, at_most) => {
            register(2, joined.ticket().get() as f64);
            register(3, numbers::millis(at_most));
            let wait = shared.joined.insert(joined);
            register(1, wait as f64);
            // So that it is known to the flight; it cannot have ended, as nothing runs beside us.
            let _pending = poll(&mut shared.joined[wait], wait as u32);
            register(0, shared.looks.insert(*look) as f64);
            JOIN
        }
        Step::Sleep(look, pause) => {
            register(3, numbers::millis(pause));
            register(0, shared.looks.insert(*look) as f64);
            SLEEP
        }
    }
}

fn lead(shared: &mut Shared, lease: Lease<()>) {
    register(2, lease.ticket().get() as f64);
    register(3, lease.renewal().is_some().into());
    register(1, shared.leases.insert(lease) as f64);
}

pub(super) fn write_payload(payload: &Payload, output: &mut Output<'_>) {
    output.byte(codec_number(payload.codec));
    output.bytes(&payload.bytes);
}

const fn codec_number(codec: Codec) -> u8 {
    match codec {
        Codec::Json => 1,
        Codec::Bytes => 2,
    }
}

pub(super) fn read_payload(input: &mut Input<'_>) -> Payload {
    let codec = input.byte();
    let bytes = Bytes::copy_from_slice(input.sized());
    if codec == 1 { Payload::json(bytes) } else { Payload::bytes(bytes) }
}

pub(super) fn tag_names(input: &mut Input<'_>) -> Vec<Box<str>> {
    input.texts().into_iter().map(Into::into).collect()
}

/// The name of a key in Redis.
#[unsafe(no_mangle)]
pub extern "C" fn name_of_key() -> i32 {
    with(|shared, input, output| {
        output.bytes(&shared.remote.names().key(key(input)?));
        Ok(0)
    })
}

static START: Kept<RefCell<[u8; START_BYTES]>> = Kept::new(RefCell::new([0; START_BYTES]));

/// All that is needed to tell what an entry without tags is.
const START_BYTES: usize = 64;

/// Where the host writes the first bytes of what it was answered. It never moves.
#[unsafe(no_mangle)]
pub extern "C" fn start_at() -> *const u8 {
    START.with(|start| start.as_ptr().cast_const().cast())
}

/// Whether what is under a key is a value that can be served without another question: one more than where its payload begins, with its
/// codec in register 0, counted as a hit. 0 where it is not, counted as nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hit_start(written: u32, beyond: u32, clock: f64) -> i32 {
    let found = SHARED.with_borrow(|shared| {
        let shared = shared.as_ref().expect("the host opens the tier first");
        START.with_borrow(|start| shared.remote.hit_start(&start[..written as usize], beyond as usize, moment(clock)))
    });
    found.map_or(0, |(codec, from)| {
        register(0, codec_number(codec).into());
        (from as u32 + 1).cast_signed()
    })
}

/// A ticket later than every load begun so far in this process.
#[unsafe(no_mangle)]
pub extern "C" fn shared_ticket() -> f64 {
    SHARED.with_borrow(|shared| shared.as_ref().map_or(0.0, |shared| shared.remote.ticket().get() as f64))
}

/// Looks a key up. The input says key, the tickets of loads that the caller is in the middle of, whether the tags are known, and
/// they. `since` is negative where any load will do.
#[unsafe(no_mangle)]
pub extern "C" fn look(since: f64, is_impatient: i32, is_counted: i32, now: f64) -> i32 {
    with(|shared, input, output| {
        let key = key(input)?;
        let own = (0..input.count()).map(|_| Ticket::from_number(input.number() as u64)).collect();
        let tags = (input.byte() != 0).then(|| tag_names(input).into());
        let since = (since >= 0.0).then(|| Ticket::from_number(since as u64));
        let (impatient, counted) = (is_impatient != 0, is_counted != 0);
        let want = Want { since, own, tags, impatient, counted, ..Want::default() };
        let next = shared.remote.look(key, want, moment(now));
        Ok(step(shared, next, output))
    })
}

/// The right to load a key without storing.
#[unsafe(no_mangle)]
pub extern "C" fn shared_bypass(now: f64) -> i32 {
    with(|shared, input, output| {
        let next = shared.remote.bypass(key(input)?, moment(now));
        Ok(step(shared, next, output))
    })
}

/// Goes on with what was answered to the calls of a look-up.
#[unsafe(no_mangle)]
pub extern "C" fn replied(pending: u32, now: f64, clock: f64) -> i32 {
    with(|shared, input, output| {
        let pending = shared.pending.remove(pending as usize);
        let next = pending.replied(read_outcome(input), moment(now), moment(clock));
        Ok(step(shared, next, output))
    })
}

/// Forgets a look-up that nobody waits for any more.
#[unsafe(no_mangle)]
pub extern "C" fn forget_pending(pending: u32) -> i32 {
    with(|shared, _, _| {
        drop(shared.pending.try_remove(pending as usize));
        Ok(0)
    })
}

/// Goes on after a pause.
#[unsafe(no_mangle)]
pub extern "C" fn slept(look: u32) -> i32 {
    with(|shared, _, output| {
        let next = shared.looks.remove(look as usize).slept();
        Ok(step(shared, next, output))
    })
}

/// Forgets a look-up that pauses, or waits for another's load.
#[unsafe(no_mangle)]
pub extern "C" fn forget_look(look: u32) -> i32 {
    with(|shared, _, _| {
        drop(shared.looks.try_remove(look as usize));
        Ok(0)
    })
}

/// How a load ended for a wait that was woken: 0 with the value that the host has just filled, 1 with the error that it has just
/// failed with, 2 in a way that it has to look up anew. The wait is over.
#[unsafe(no_mangle)]
pub extern "C" fn shared_ending(wait: u32) -> i32 {
    with(|shared, _, _| {
        Ok(shared.joined.try_remove(wait as usize).map_or(2, |mut joined| match poll(&mut joined, wait) {
            Poll::Ready(Ending::Value(_)) => 0,
            Poll::Ready(Ending::Failed(())) => 1,
            _ => 2,
        }))
    })
}

/// Gives a wait up.
#[unsafe(no_mangle)]
pub extern "C" fn shared_leave(wait: u32) -> i32 {
    with(|shared, _, _| {
        drop(shared.joined.try_remove(wait as usize));
        Ok(0)
    })
}

/// Goes on after waiting for another of this process: `ended` is 2 where it has to look up anew, and 3 where it took too long.
#[unsafe(no_mangle)]
pub extern "C" fn joined(look: u32, ended: i32, now: f64) -> i32 {
    with(|shared, _, output| {
        let look = shared.looks.remove(look as usize);
        let next = look.joined((ended == 2).then_some(Ending::Again), moment(now));
        Ok(step(shared, next, output))
    })
}

// -- leases

/// The call that keeps a lease from running out.
#[unsafe(no_mangle)]
pub extern "C" fn renewal(lease: u32) -> i32 {
    with(|shared, _, output| {
        let call = shared.leases.get(lease as usize).and_then(Lease::renewal);
        write_calls(call.as_slice(), output);
        Ok(0)
    })
}

/// How filling ends: 0 stored, 1 refused, 2 passed on only.
const fn filled_number(filled: Filled) -> i32 {
    match filled {
        Filled::Stored => 0,
        Filled::Refused => 1,
        Filled::Passed => 2,
    }
}

/// Fills a lease; the input says tags and payload. As [`filled_number`], or 3: send the calls, and go on with the value in register 0.
#[unsafe(no_mangle)]
pub extern "C" fn shared_fill(lease: u32, ttl: f64, grace: f64, now: f64, clock: f64) -> i32 {
    with(|shared, input, output| {
        let storing = Storing { ttl: span(ttl)?, grace: numbers::grace(grace)?, tags: tag_names(input).into() };
        let payload = read_payload(input);
        let Some(lease) = shared.leases.try_remove(lease as usize) else { return Ok(1) };
        Ok(match lease.fill(payload, &storing, moment(now), moment(clock)) {
            Filling::Done(filled) => filled_number(filled),
            Filling::Send(sent, calls) => {
                write_calls(&calls, output);
                register(0, shared.sent.insert(sent) as f64);
                3
            }
        })
    })
}

/// What memory in front has to know of a value on its way, should it be stored: until when it is fresh and usable, in registers 0 and 1,
/// on the store's clock, infinite for ever; the tables of its tags in the output. 0 where memory may not have it.
#[unsafe(no_mangle)]
pub extern "C" fn outline_of_sent(sent: u32) -> i32 {
    with(|shared, _, output| {
        let outline = shared.sent.get(sent as usize).and_then(|sent| sent.outline());
        Ok(outline
            .is_some_and(|(outline, _)| {
                let start = Moment::from_millis(0);
                register(0, until(outline.life().fresh_until(), start));
                register(1, until(outline.life().usable_until(), start));
                output.bytes(outline.tables());
                true
            })
            .into())
    })
}

/// Ends a load by what was answered to its fill.
#[unsafe(no_mangle)]
pub extern "C" fn filled(sent: u32, now: f64) -> i32 {
    with(|shared, input, _| {
        let sent = shared.sent.remove(sent as usize);
        Ok(filled_number(sent.replied(read_outcome(input), moment(now))))
    })
}

/// Ends a load by an error; the calls are to be sent, and their answers do not matter.
#[unsafe(no_mangle)]
pub extern "C" fn shared_fail(lease: u32) -> i32 {
    with(|shared, _, output| {
        let calls = shared.leases.try_remove(lease as usize).map(|lease| lease.fail(()));
        write_calls(&calls.unwrap_or_default(), output);
        Ok(0)
    })
}

/// Gives a load up; the calls are to be sent, and their answers do not matter.
#[unsafe(no_mangle)]
pub extern "C" fn shared_abandon(lease: u32) -> i32 {
    with(|shared, _, output| {
        let calls = shared.leases.try_remove(lease as usize).map(Lease::abandon);
        write_calls(&calls.unwrap_or_default(), output);
        Ok(0)
    })
}
