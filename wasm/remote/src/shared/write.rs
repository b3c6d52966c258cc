//! Write: the calls that store, change and count.

use donjon_core::key::Key;
use donjon_core::payload::Payload;
use donjon_core::remote::call::Call;
use donjon_core::remote::sight::Header;
use donjon_core::remote::{Notes, Storing};
use donjon_wasm_host::bridge::{Input, Output, Refused, register};
use donjon_wasm_host::given::key;
use donjon_wasm_host::numbers::{self, moment, span};

use super::{look::read_payload, look::tag_names, with};
use crate::wire::{read_outcome, write_calls};

fn call_or_not(call: Option<&Call>, output: &mut Output<'_>) -> i32 {
    let call = call.map(core::slice::from_ref).unwrap_or_default();
    write_calls(call, output);
    (!call.is_empty()).into()
}

/// What to ask before values with these tags are stored by hand; the number of the question in register 0.
#[unsafe(no_mangle)]
pub extern "C" fn note() -> i32 {
    with(|shared, input, output| {
        let (noting, calls) = shared.remote.note(&tag_names(input));
        write_calls(&calls, output);
        register(0, shared.noting.insert(noting) as f64);
        Ok(0)
    })
}

/// Reads how the tables stand: 1, their number in register 0; 0 where that is not known.
#[unsafe(no_mangle)]
pub extern "C" fn noted(noting: u32) -> i32 {
    with(|shared, input, _| {
        let noting = shared.noting.remove(noting as usize);
        Ok(match read_outcome(input).and_then(|replies| noting.replied(replies)) {
            Ok(notes) => {
                register(0, shared.notes.insert(notes) as f64);
                1
            }
            Err(fault) => {
                shared.remote.noticed(&fault);
                0
            }
        })
    })
}

/// Forgets how tables stood.
#[unsafe(no_mangle)]
pub extern "C" fn forget_notes(notes: u32) -> i32 {
    with(|shared, _, _| {
        drop(shared.notes.try_remove(notes as usize));
        Ok(0)
    })
}

/// The call that stores a value, of which the input says key, tags and payload; 0 where it is too large or the cache is switched off,
/// so that its key is to be invalidated. `notes` is negative where it has no tags.
#[unsafe(no_mangle)]
pub extern "C" fn shared_set(notes: i32, ttl: f64, grace: f64, clock: f64) -> i32 {
    with(|shared, input, output| {
        let (key, storing, payload) = stored(input, ttl, grace)?;
        let none = Notes::default();
        let notes = usize::try_from(notes).ok().and_then(|notes| shared.notes.get(notes)).unwrap_or(&none);
        Ok(call_or_not(shared.remote.set(key, &payload, &storing, notes, moment(clock)).as_ref(), output))
    })
}

fn stored<'i>(input: &mut Input<'i>, ttl: f64, grace: f64) -> Result<(Key<'i>, Storing, Payload), Refused> {
    let key = key(input)?;
    let storing = Storing { ttl: span(ttl)?, grace: numbers::grace(grace)?, tags: tag_names(input).into() };
    Ok((key, storing, read_payload(input)))
}

/// The calls that store a value where there is none, and tell what is there. As [`shared_set`].
#[unsafe(no_mangle)]
pub extern "C" fn shared_add(ttl: f64, clock: f64) -> i32 {
    with(|shared, input, output| {
        let (key, storing, payload) = stored(input, ttl, 0.0)?;
        let calls = shared.remote.add(key, &payload, &storing, moment(clock));
        write_calls(calls.as_ref().map_or(&[][..], |calls| calls), output);
        Ok(calls.is_some().into())
    })
}

/// The call that puts a value into the place of what may be replaced, whose bytes come last. As [`shared_set`].
#[unsafe(no_mangle)]
pub extern "C" fn shared_swap(ttl: f64, clock: f64) -> i32 {
    with(|shared, input, output| {
        let (key, storing, payload) = stored(input, ttl, 0.0)?;
        let header = Header::of(input.sized());
        Ok(call_or_not(shared.remote.swap(key, &header, &payload, &storing, moment(clock)).as_ref(), output))
    })
}

/// Counts a value that was added, where nothing was or in the place of what may be replaced.
#[unsafe(no_mangle)]
pub extern "C" fn shared_added() -> i32 {
    with(|shared, _, _| {
        shared.remote.added();
        Ok(0)
    })
}

/// The call that gives a value that was seen another time to live.
#[unsafe(no_mangle)]
pub extern "C" fn shared_touch(seen: u32, ttl: f64, clock: f64) -> i32 {
    with(|shared, input, output| {
        let (key, ttl) = (key(input)?, span(ttl)?);
        let seen = &shared.seen[seen as usize];
        write_calls(&[shared.remote.touch(key, seen, ttl, moment(clock))], output);
        Ok(0)
    })
}

/// The call that adds to a counter. `judged` is negative, or 1 where the value that the input holds after the key is alive, 0 where it
/// is dead.
#[unsafe(no_mangle)]
pub extern "C" fn increment(by: f64, ttl: f64, judged: i32, clock: f64) -> i32 {
    with(|shared, input, output| {
        let (key, ttl) = (key(input)?, span(ttl)?);
        let header = (judged >= 0).then(|| Header::of(input.sized()));
        let judged = header.as_ref().map(|header| (header, judged == 1));
        write_calls(&[shared.remote.increment(key, by as i64, ttl, judged, moment(clock))], output);
        Ok(0)
    })
}
