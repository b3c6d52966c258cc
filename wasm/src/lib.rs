//! The core for JavaScript: calls that a host makes with numbers, and texts and bytes in a buffer.
//!
//! The module imports nothing, so that any host can start it, as often as it likes: each cache has an instance of its own, and what
//! it held goes with it. It converts, and decides nothing. The host is the TypeScript beside it, in `ts/`.
//!
//! | to find out | look in |
//! |---|---|
//! | how texts and lists cross | `bridge`, `numbers` |
//! | what stays between calls, and in which memory | `kept`, `heap` |
//! | what becomes of a panic | `trap` |
//! | who is told that a wait is over | `waits` |
//! | what the memory of one process is asked | `memory` |
//! | what the tier that processes share is asked | `shared`, `wire` |
//! | what events invalidate | `events` |
//! | what keys, patterns, tags and times may be | `text` |

// Names that a host can find need `no_mangle`, which Rust counts as unsafe: two symbols could share one name. The only other
// is what `kept` says of threads.
#![allow(unsafe_code)]
#![no_std]

extern crate alloc;
// Where this crate is only checked, it is the standard library that a panic ends in.
#[cfg(not(target_family = "wasm"))]
extern crate std;

mod bridge;
mod events;
mod heap;
mod kept;
mod locks;
mod memory;
mod numbers;
mod shared;
mod text;
mod trap;
mod waits;
mod wire;
