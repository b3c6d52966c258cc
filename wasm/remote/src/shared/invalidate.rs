//! Invalidate: the calls that remove, and what has to be forgotten here.

use alloc::vec::Vec;

use donjon_core::fault::Fault;
use donjon_core::key::Key;
use donjon_core::pattern::Pattern;
use donjon_core::remote::sight::values_removed;
use donjon_wasm_host::bridge::{Input, Kind, Output, Refused};

use super::{Shared, with};
use crate::wire::{read_outcome, write_calls};

/// The calls that remove keys, two for each.
#[unsafe(no_mangle)]
pub extern "C" fn shared_delete() -> i32 {
    with(|shared, input, output| {
        let mut calls = Vec::new();
        for text in input.texts() {
            calls.extend(shared.remote.delete(Key::new(text).map_err(Refused::of(Kind::Key))?));
        }
        write_calls(&calls, output);
        Ok(0)
    })
}

/// Of the answers to those calls, how many values were there. Refused where one is a fault.
#[unsafe(no_mangle)]
pub extern "C" fn count_removed() -> i32 {
    with(|shared, input, _| {
        let removed = read_outcome(input).and_then(|replies| values_removed(&replies));
        removed.map(|count| count as i32).map_err(|fault| unavailable(shared, &fault))
    })
}

fn unavailable(shared: &Shared, fault: &Fault) -> Refused {
    shared.remote.noticed(fault);
    Refused::new(Kind::Unavailable, &fault)
}

/// The calls that make dead what carries one of these tags.
#[unsafe(no_mangle)]
pub extern "C" fn move_tags() -> i32 {
    with(|shared, input, output| {
        write_calls(&shared.remote.move_tags(&input.texts()), output);
        Ok(0)
    })
}

/// What a sweep looks for, and 1 where it is everything.
#[unsafe(no_mangle)]
pub extern "C" fn matching() -> i32 {
    with(|shared, input, output| matching_within(shared, input, output).map(|pattern| pattern.is_everything().into()))
}

/// As [`matching`]. The loads of this process that match are sent away.
#[unsafe(no_mangle)]
pub extern "C" fn sweep() -> i32 {
    with(|shared, input, output| {
        let pattern = matching_within(shared, input, output)?;
        shared.remote.detach_matching(&pattern);
        Ok(pattern.is_everything().into())
    })
}

fn matching_within(shared: &Shared, input: &mut Input<'_>, output: &mut Output<'_>) -> Result<Pattern, Refused> {
    let pattern = Pattern::new(input.text()).map_err(Refused::of(Kind::Pattern))?;
    output.bytes(shared.remote.names().matching(&pattern).as_bytes());
    Ok(pattern)
}

/// Sends the loads of keys away.
#[unsafe(no_mangle)]
pub extern "C" fn detach() -> i32 {
    with(|shared, input, _| {
        for text in input.texts() {
            shared.remote.detach(Key::new(text).map_err(Refused::of(Kind::Key))?);
        }
        Ok(0)
    })
}
