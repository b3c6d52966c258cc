//! The core as a WebAssembly module: a few calls that a host without Rust can make and check.
//!
//! `probe.mjs` beside it sees to it that the module imports nothing and that what it answers is right.

// Names that a host can find need `no_mangle`, which Rust counts as unsafe: two symbols could share one name.
#![allow(unsafe_code)]

use donjon_core::entry::Freshness;
use donjon_core::expiry::{Grace, Ttl};
use donjon_core::moment::Moment;

/// How a value written at `written` stands at `read`: 0 fresh, 1 stale, 2 over, 3 a life that is refused. Milliseconds.
#[unsafe(no_mangle)]
pub extern "C" fn freshness(ttl: f64, grace: f64, written: f64, read: f64) -> u32 {
    let (Ok(ttl), Ok(grace)) = (Ttl::from_millis(ttl), Grace::from_millis(grace)) else { return 3 };
    let life = ttl.life(grace, Moment::from_millis(written as u64));
    match life.at(Moment::from_millis(read as u64)) {
        Freshness::Fresh => 0,
        Freshness::Stale => 1,
        Freshness::Over => 2,
    }
}
