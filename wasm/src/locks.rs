//! Locks: of one process, by name.

use core::cell::RefCell;

use donjon_core::lock::{Locks, Token, Waiting};
use donjon_wasm_host::bridge::{cross, register};
use donjon_wasm_host::given::key;
use donjon_wasm_host::kept::{Kept, Later};
use donjon_wasm_host::numbers::{moment, span, until};
use donjon_wasm_host::waits::bell;
use slab::Slab;

static LOCKS: Later<Locks> = Later::later();
static WAITING: Kept<RefCell<Slab<Waiting>>> = Kept::new(RefCell::new(Slab::new()));

/// Takes a lock that is free: 1, its token into register 0 and its fence into 1. 0 where another holds it.
#[unsafe(no_mangle)]
pub extern "C" fn lock(ttl: f64, now: f64) -> i32 {
    cross(|input, _| {
        let (name, ttl) = (key(input)?, span(ttl)?);
        Ok(LOCKS
            .made()
            .acquire(name, ttl, moment(now))
            .is_ok_and(|granted| {
                register(0, granted.token.as_u64() as f64);
                register(1, granted.fence as f64);
                true
            })
            .into())
    })
}

/// Holds a lock for so long from now; 0 where it was lost.
#[unsafe(no_mangle)]
pub extern "C" fn extend_lock(token: f64, ttl: f64, now: f64) -> i32 {
    cross(|input, _| {
        let (name, ttl) = (key(input)?, span(ttl)?);
        Ok(LOCKS.made().renew(name, Token::from_u64(token as u64), ttl, moment(now)).into())
    })
}

/// Frees a lock; 0 where it was lost.
#[unsafe(no_mangle)]
pub extern "C" fn unlock(token: f64, now: f64) -> i32 {
    cross(|input, _| {
        let name = key(input)?;
        Ok(LOCKS.made().release(name, Token::from_u64(token as u64), moment(now)).into())
    })
}

/// Has a wait woken when a lock is given back: 1, a number to leave by into register 0, and when the holder's time is over at last into
/// register 1. 0 where it is free now.
#[unsafe(no_mangle)]
pub extern "C" fn await_lock(wait: u32, now: f64) -> i32 {
    cross(|input, _| {
        let (name, now) = (key(input)?, moment(now));
        let Some(waiting) = LOCKS.made().wait(name, bell(wait), now) else { return Ok(0) };
        register(1, until(waiting.until, now));
        register(0, WAITING.with_borrow_mut(|all| all.insert(waiting)) as f64);
        Ok(1)
    })
}

/// Ends a wait for a lock, whether or not it was woken.
#[unsafe(no_mangle)]
pub extern "C" fn leave_lock(number: u32) {
    let left = WAITING.with_borrow_mut(|all| all.try_remove(number as usize));
    if let Some(waiting) = &left {
        LOCKS.made().leave(waiting);
    }
}
