//! Read: what is under keys, without the right to load it.

use donjon_core::remote::sight::Sight;
use donjon_core::remote::{See, Told};
use donjon_wasm_host::bridge::{Output, register};
use donjon_wasm_host::numbers::{self, moment, until};

use super::{Shared, look::write_payload, with};
use crate::wire::{read_outcome, write_calls};

const ABSENT: i32 = 0;
const VALUE: i32 = 1;
const ASK: i32 = 2;
const REPLACEABLE: i32 = 3;

/// Whether there is a value, whose payload goes into the output, its number into register 0, and its times into 1 to 4: fresh for,
/// usable for, load time, and 1 for a counter. 3 where there is none, but what may be replaced by its header.
fn sight(shared: &mut Shared, sight: Sight, clock: f64, output: &mut Output<'_>) -> i32 {
    let seen = match sight {
        Sight::Value(seen) => seen,
        Sight::Dead(_) | Sight::Held(_) => return REPLACEABLE,
        Sight::Absent | Sight::Closed => return ABSENT,
    };
    let clock = moment(clock);
    register(1, until(seen.life.fresh_until(), clock));
    register(2, until(seen.life.usable_until(), clock));
    register(3, numbers::millis(seen.load_time));
    register(4, seen.counter.into());
    output.count(seen.tags().count());
    seen.tags().for_each(|tag| output.text(tag));
    write_payload(&seen.payload, output);
    register(0, shared.seen.insert(seen) as f64);
    VALUE
}

/// What the bytes under a key are, or none where the host has none. 2: its tags are to be asked about, under the number in register 0.
#[unsafe(no_mangle)]
pub extern "C" fn see(is_there: i32, clock: f64) -> i32 {
    with(|shared, input, output| {
        let bytes = (is_there != 0).then(|| input.sized().to_vec());
        Ok(match shared.remote.see(bytes.into(), moment(clock)) {
            See::Plain(found) => sight(shared, found, clock, output),
            See::Tagged(tagged) => {
                register(0, shared.tagged.insert(tagged) as f64);
                ASK
            }
        })
    })
}

/// Asks about the tags of these, each table once: send the calls and say to [`tags_told`], by the number in register 0, what was answered.
#[unsafe(no_mangle)]
pub extern "C" fn ask_about() -> i32 {
    with(|shared, input, output| {
        let tagged = (0..input.count()).map(|_| &shared.tagged[input.count()]);
        let (asking, calls) = shared.remote.ask_about(tagged);
        write_calls(&calls, output);
        register(0, shared.asking.insert(asking) as f64);
        Ok(0)
    })
}

/// Reads how they stand, by which [`see_tagged`] goes until it is told the next. What kept all of it from being answered the host notices.
#[unsafe(no_mangle)]
pub extern "C" fn tags_told(asking: u32) -> i32 {
    with(|shared, input, _| {
        let asking = shared.asking.remove(asking as usize);
        shared.told = read_outcome(input).map_or_else(|_| Told::default(), |replies| asking.replied(replies));
        if let Some(fault) = shared.told.fault() {
            shared.remote.noticed(fault);
        }
        Ok(0)
    })
}

/// As [`see`], once it is known how the tags stand. Where that cannot be known there is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn see_tagged(tagged: u32, clock: f64) -> i32 {
    with(|shared, _, output| {
        let tagged = shared.tagged.remove(tagged as usize);
        let found = shared.told.judge(tagged).unwrap_or(Sight::Absent);
        Ok(sight(shared, found, clock, output))
    })
}

/// Counts a plain read: of the value of this number, or of none.
#[unsafe(no_mangle)]
pub extern "C" fn count_read(seen: i32, clock: f64) -> i32 {
    with(|shared, _, _| {
        let found = usize::try_from(seen).ok().and_then(|seen| shared.seen.get(seen).cloned());
        shared.remote.count_read(&found.map_or(Sight::Absent, Sight::Value), moment(clock));
        Ok(0)
    })
}

/// Forgets a value that was seen.
#[unsafe(no_mangle)]
pub extern "C" fn forget_seen(seen: u32) -> i32 {
    with(|shared, _, _| {
        drop(shared.seen.try_remove(seen as usize));
        Ok(0)
    })
}
