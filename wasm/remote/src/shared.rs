//! Shared: the tier that processes share, with the host's connection to it.
//!
//! The host sends what it is told to, and says what was answered; what that means is decided in the core. What is under way is named
//! by numbers: look-ups that wait for answers, leases, values on their way.

mod invalidate;
mod look;
mod owed;
mod read;
mod sweeps;
mod write;

use alloc::boxed::Box;
use alloc::string::ToString;
use core::cell::RefCell;

use donjon_core::breaker::{Allowed, Breaker, BreakerConfig, Pass};
use donjon_core::fault::{Class, Fault};
use donjon_core::flight::Joined;
use donjon_core::key::Namespace;
use donjon_core::outbox::{Batch, Outbox};
use donjon_core::payload::Payload;
use donjon_core::remote::lease::{Lease, Sent};
use donjon_core::remote::look::{Look, Pending};
use donjon_core::remote::sight::Seen;
use donjon_core::remote::sweeps::Record;
use donjon_core::remote::{Asking, Notes, Noting, Remote, Tagged, Told};
use donjon_wasm_host::bridge::{Input, Kind, Output, Refused, cross};
use donjon_wasm_host::given::{config, key};
use donjon_wasm_host::kept::Kept;
use donjon_wasm_host::numbers::{self, moment};
use slab::Slab;

use crate::wire::{read_outcome, write_calls};

struct Shared {
    remote: Remote<()>,
    outbox: Outbox,
    breaker: Breaker,
    /// Under which the latest question went out that could open or close the breaker.
    pass: Pass,
    pending: Slab<Pending<()>>,
    looks: Slab<Look<()>>,
    joined: Slab<Joined<Payload, ()>>,
    leases: Slab<Lease<()>>,
    sent: Slab<Box<Sent<()>>>,
    tagged: Slab<Tagged>,
    asking: Slab<Asking>,
    /// How the tags stand that were asked about, as was told last.
    told: Told,
    noting: Slab<Noting>,
    notes: Slab<Notes>,
    seen: Slab<Seen>,
    batches: Slab<Batch>,
    records: Slab<Record>,
}

static SHARED: Kept<RefCell<Option<Shared>>> = Kept::new(RefCell::new(None));

fn with(mut call: impl FnMut(&mut Shared, &mut Input<'_>, &mut Output<'_>) -> Result<i32, Refused>) -> i32 {
    with_once(&mut call)
}

/// What all calls have in common, once in the module.
#[inline(never)]
fn with_once(call: &mut dyn FnMut(&mut Shared, &mut Input<'_>, &mut Output<'_>) -> Result<i32, Refused>) -> i32 {
    SHARED.with_borrow_mut(|shared| {
        let shared = shared.as_mut().expect("the host opens the tier first");
        cross(|input, output| call(shared, input, output))
    })
}

/// Opens the tier. The input says seed and namespace.
#[unsafe(no_mangle)]
pub extern "C" fn open_shared(jitter: f64, early: f64, load_timeout: f64, max_value_bytes: f64) -> i32 {
    cross(|input, _| {
        let (config, seed) = config(input, jitter, early, load_timeout)?;
        let namespace = Namespace::new(input.text()).map_err(Refused::of(Kind::Config))?;
        let mut breaker = Breaker::new(BreakerConfig::default());
        let (Allowed::Go(pass) | Allowed::Probe(pass)) = breaker.allow(moment(0.0)) else {
            unreachable!("a new breaker is closed")
        };
        SHARED.set(Some(Shared {
            remote: Remote::new(namespace, &config, max_value_bytes as u64, seed),
            outbox: Outbox::default(),
            breaker,
            pass,
            pending: Slab::new(),
            looks: Slab::new(),
            joined: Slab::new(),
            leases: Slab::new(),
            sent: Slab::new(),
            tagged: Slab::new(),
            asking: Slab::new(),
            told: Told::default(),
            noting: Slab::new(),
            notes: Slab::new(),
            seen: Slab::new(),
            batches: Slab::new(),
            records: Slab::new(),
        }));
        Ok(0)
    })
}

// -- when to leave the store alone

/// Whether something may be asked: 0 no, 1 yes, 2 yes, alone, to find out whether the store is back.
#[unsafe(no_mangle)]
pub extern "C" fn may_ask(now: f64) -> i32 {
    with(|shared, _, _| {
        let (answer, pass) = match shared.breaker.allow(moment(now)) {
            Allowed::No { .. } => return Ok(0),
            Allowed::Go(pass) => (1, pass),
            Allowed::Probe(pass) => (2, pass),
        };
        shared.pass = pass;
        Ok(answer)
    })
}

/// Reports what became of what was asked last: a weight of 0 for an answer, and a random share for how long the store is left alone
/// if need be. 1 where it is not left alone.
#[unsafe(no_mangle)]
pub extern "C" fn asked(weight: u32, now: f64, share: f64) -> i32 {
    with(|shared, _, _| {
        shared.breaker.failed(shared.pass, weight, moment(now), share);
        Ok(shared.breaker.is_closed().into())
    })
}

/// What follows from an error that the store answered with, whose code and detail the input says: 1 it cannot serve now; 2 it is a
/// replica; 3 nothing will work before a setting is changed; 0 nothing. The output says it in words that may be shown.
#[unsafe(no_mangle)]
pub extern "C" fn refused() -> i32 {
    with(|_, input, output| {
        let fault = Fault::server(input.text(), input.text());
        output.bytes(fault.to_string().as_bytes());
        Ok(match fault.class() {
            Some(Class::Down) => 1,
            Some(Class::ReadOnly) => 2,
            Some(Class::Config) => 3,
            _ => 0,
        })
    })
}

// -- locks and messages

/// The call that takes a lock, after its token.
#[unsafe(no_mangle)]
pub extern "C" fn acquire(ttl: f64) -> i32 {
    with(|shared, input, output| {
        let (token, call) = shared.remote.acquire(key(input)?.as_str(), ttl as u64);
        output.sized(&token);
        write_calls(&[call], output);
        Ok(0)
    })
}

fn read_token(input: &mut Input<'_>) -> [u8; 16] {
    input.bytes(16).try_into().expect("so many were taken")
}

/// The call that lets a lock last for so long; the input says name and token.
#[unsafe(no_mangle)]
pub extern "C" fn extend_shared_lock(ttl: f64) -> i32 {
    with(|shared, input, output| {
        let name = input.text();
        write_calls(&[shared.remote.extend(name, &read_token(input), ttl as u64)], output);
        Ok(0)
    })
}

/// The call that gives a lock back; the input says name and token.
#[unsafe(no_mangle)]
pub extern "C" fn unlock_shared() -> i32 {
    with(|shared, input, output| {
        let name = input.text();
        write_calls(&[shared.remote.unlock(name, &read_token(input))], output);
        Ok(0)
    })
}

/// What the key of a lock is called, with `what` 1 its channel, with 2 a channel of the cache, with 3 the list of what is being swept.
#[unsafe(no_mangle)]
pub extern "C" fn name_of(what: i32) -> i32 {
    with(|shared, input, output| {
        let (names, text) = (shared.remote.names(), input.text());
        output.bytes(&match what {
            0 => names.lock(text),
            1 => names.lock_channel(text),
            2 => names.channel(text),
            _ => names.sweeps_parts().concat(),
        });
        Ok(0)
    })
}

// -- the rest

/// Notes that the store could not be asked.
#[unsafe(no_mangle)]
pub extern "C" fn noticed() -> i32 {
    with(|shared, input, _| {
        if let Err(fault) = read_outcome(input) {
            shared.remote.noticed(&fault);
        }
        Ok(0)
    })
}

/// Switches the cache on or off.
#[unsafe(no_mangle)]
pub extern "C" fn switch_shared(enabled: i32) -> i32 {
    with(|shared, _, _| {
        shared.remote.switch(enabled != 0);
        Ok(0)
    })
}

/// The counters, as [`numbers::stats`] writes them.
#[unsafe(no_mangle)]
pub extern "C" fn shared_stats() -> i32 {
    with(|shared, _, output| {
        let mut stats = shared.remote.stats();
        stats.queued = shared.outbox.batch().targets().len() as u64;
        numbers::stats(&stats, output);
        Ok(0)
    })
}

/// Sets the counters back to zero.
#[unsafe(no_mangle)]
pub extern "C" fn reset_shared_stats() -> i32 {
    with(|shared, _, _| {
        shared.remote.reset_stats();
        Ok(0)
    })
}
