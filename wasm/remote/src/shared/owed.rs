//! Owed: the invalidations that could not be said yet.

use alloc::vec::Vec;

use donjon_core::outbox::{Epoch, Target};
use donjon_wasm_host::bridge::{Input, register};
use donjon_wasm_host::numbers::moment;

use super::with;

fn read_targets(input: &mut Input<'_>) -> Vec<Target> {
    let read = |input: &mut Input<'_>| match input.byte() {
        0 => Target::Key(input.text().into()),
        1 => Target::Pattern(input.text().into()),
        2 => Target::Tag(input.text().into()),
        _ => Target::Everything,
    };
    (0..input.count()).map(|_| read(input)).collect()
}

/// Whether anything is owed; in register 0 the connection that the next invalidation will be said over, by its number.
#[unsafe(no_mangle)]
pub extern "C" fn owed() -> i32 {
    with(|shared, _, _| {
        register(0, shared.outbox.epoch().number() as f64);
        Ok((!shared.outbox.is_empty()).into())
    })
}

/// Keeps what could not be said.
#[unsafe(no_mangle)]
pub extern "C" fn owe() -> i32 {
    with(|shared, input, _| {
        shared.outbox.queue(&read_targets(input));
        Ok(0)
    })
}

/// Notes what was said over the connection of this number.
#[unsafe(no_mangle)]
pub extern "C" fn paid(epoch: f64, now: f64) -> i32 {
    with(|shared, input, _| {
        shared.outbox.sent(&read_targets(input), Epoch::from_number(epoch as u64), moment(now));
        Ok(0)
    })
}

/// Tells of a new connection; the old one was last heard from at this moment.
#[unsafe(no_mangle)]
pub extern "C" fn reconnected(heard: f64) -> i32 {
    with(|shared, _, _| {
        shared.outbox.reconnected(moment(heard));
        Ok(0)
    })
}

/// What has to be said now, and the number of it.
#[unsafe(no_mangle)]
pub extern "C" fn batch() -> i32 {
    with(|shared, _, output| {
        let batch = shared.outbox.batch();
        output.count(batch.targets().len());
        for target in batch.targets() {
            let (kind, text) = match target {
                Target::Key(key) => (0, &**key),
                Target::Pattern(glob) => (1, &**glob),
                Target::Tag(tag) => (2, &**tag),
                Target::Everything => (3, ""),
            };
            output.byte(kind);
            output.text(text);
        }
        Ok((shared.batches.insert(batch) as u32).cast_signed())
    })
}

/// Notes that all of it was said, or forgets it.
#[unsafe(no_mangle)]
pub extern "C" fn replayed(batch: u32, is_said: i32, now: f64) -> i32 {
    with(|shared, _, _| {
        let batch = shared.batches.remove(batch as usize);
        if is_said != 0 {
            shared.outbox.replayed(&batch, moment(now));
        }
        Ok(0)
    })
}
