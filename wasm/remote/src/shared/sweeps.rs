//! Sweeps: the list of what is being swept, and the records that this process has on it, by their numbers.

use donjon_core::pattern::Pattern;
use donjon_core::remote::call::Call;
use donjon_core::remote::sweeps::RAISE_EVERY;
use donjon_wasm_host::bridge::{Kind, Refused, register};
use donjon_wasm_host::given::key;
use donjon_wasm_host::numbers::moment;

use super::with;
use crate::wire::write_calls;

/// Has what is being swept read with each key: where one server has all names.
#[unsafe(no_mangle)]
pub extern "C" fn read_sweeps() -> i32 {
    with(|shared, _, _| {
        shared.remote.read_sweeps();
        Ok(0)
    })
}

/// Takes note of the list of what is being swept, as it has just been read; `is_there` is 0 where there is none. 1 where something is
/// on it, and 2 more where [`take_sweeps`] has something.
#[unsafe(no_mangle)]
pub extern "C" fn heed_sweeps(is_there: i32, now: f64) -> i32 {
    with(|shared, input, _| {
        let list = (is_there != 0).then(|| input.sized());
        Ok(i32::from(shared.remote.heed(list, moment(now))) + 2 * i32::from(shared.remote.has_news_of_sweeps()))
    })
}

/// Whether what begins like this under a key is older than something on the list, as that was last read. The input says key and bytes.
#[unsafe(no_mangle)]
pub extern "C" fn is_swept() -> i32 {
    with(|shared, input, _| Ok(shared.remote.found_before(key(input)?, input.sized().to_vec()).is_swept.into()))
}

/// What was found on the list since this was last asked: the patterns that memory has to forget, and those whose sweeps stand still,
/// each behind the number of its record. 1 where the log is to be told that not all of it are records.
#[unsafe(no_mangle)]
pub extern "C" fn take_sweeps() -> i32 {
    with(|shared, _, output| {
        let (fresh, stalled) = (shared.remote.fresh_sweeps(), shared.remote.stalled_sweeps());
        output.count(fresh.len());
        for pattern in fresh {
            output.text(pattern.as_str());
        }
        output.count(stalled.len());
        for record in stalled {
            output.text(record.pattern().as_str());
            output.count(shared.records.insert(record));
        }
        Ok(shared.remote.found_foreign().into())
    })
}

/// The call that writes a pattern down, the number of its record in register 0; none where nobody reads that. It answers with the list,
/// or with something else where it did not.
#[unsafe(no_mangle)]
pub extern "C" fn write_down() -> i32 {
    with(|shared, input, output| {
        let pattern = Pattern::new(input.text()).map_err(Refused::of(Kind::Pattern))?;
        let (record, call) = shared.remote.write_down(&pattern).unzip();
        write_calls(call.as_slice(), output);
        register(0, record.map_or(-1.0, |record| shared.records.insert(record) as f64));
        Ok(0)
    })
}

/// How often that is to be said that [`raise`] says, in milliseconds.
#[unsafe(no_mangle)]
pub extern "C" fn raise_every() -> i32 {
    RAISE_EVERY.as_millis() as i32
}

/// The call that says that a sweep goes on.
#[unsafe(no_mangle)]
pub extern "C" fn raise(record: u32) -> i32 {
    with(|shared, _, output| {
        let call = shared.records.get_mut(record as usize).map(|record| shared.remote.raise(record));
        write_calls(call.as_slice(), output);
        Ok(0)
    })
}

/// The call that says that a sweep has ended.
#[unsafe(no_mangle)]
pub extern "C" fn strike(record: u32) -> i32 {
    with(|shared, _, output| {
        let call = shared.records.get(record as usize).map(|record| shared.remote.strike(record));
        write_calls(call.as_slice(), output);
        Ok(0)
    })
}

/// Forgets a record.
#[unsafe(no_mangle)]
pub extern "C" fn forget_record(record: u32) -> i32 {
    with(|shared, _, _| {
        shared.records.try_remove(record as usize);
        Ok(0)
    })
}

/// The call that stores a value anew that is dead already, as it was not known here what is being swept; none where it is not. The
/// input says key and the arguments of the command that stored it.
#[unsafe(no_mangle)]
pub extern "C" fn store_anew() -> i32 {
    with(|shared, input, output| {
        let key = key(input)?;
        let args = (0..input.count()).map(|_| input.sized().to_vec().into()).collect();
        let call = shared.remote.store_anew(key, &Call::Plain(args));
        write_calls(call.as_slice(), output);
        Ok(0)
    })
}
