//! What both modules have in common: how they and their host talk to each other. It converts, and decides nothing.
//!
//! | to find out | look in |
//! |---|---|
//! | how texts and lists cross | [`bridge`], [`numbers`], [`given`] |
//! | what stays between calls, and in which memory | [`kept`], `heap` |
//! | what becomes of a panic | [`trap`] |
//! | who is told that a wait is over | [`waits`] |

// Names that a host can find need `no_mangle`, which Rust counts as unsafe: two symbols could share one name. The only other
// is what `kept` says of threads.
#![allow(unsafe_code)]
#![no_std]

extern crate alloc;

pub mod bridge;
pub mod given;
mod heap;
pub mod kept;
pub mod numbers;
pub mod trap;
pub mod waits;
