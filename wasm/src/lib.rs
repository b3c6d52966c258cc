//! The core for JavaScript: calls that a host makes with numbers, and texts and bytes in a buffer.
//!
//! The module imports nothing, so that any host can start it, as often as it likes: each cache has an instance of its own, and what
//! it held goes with it. It converts, and decides nothing. The host is the TypeScript beside it, in `ts/`.
//!
//! | to find out | look in |
//! |---|---|
//! | what the memory of one process is asked | `memory` |
//! | who holds a lock of this process | `locks` |
//! | what events invalidate | `events` |
//! | what keys, patterns, tags and times may be | `text` |
//! | how all this crosses | the crate `donjon-wasm-host`, in `host/` |
//! | what the tier that processes share is asked | the module beside this one, in `remote/` |
//! | what memory in front of that is asked | the third, in `near/` |

// Names that a host can find need `no_mangle`, which Rust counts as unsafe: two symbols could share one name.
#![allow(unsafe_code)]
#![no_std]

extern crate alloc;
// Where this crate is only checked, it is the standard library that a panic ends in.
#[cfg(not(target_family = "wasm"))]
extern crate std;

mod events;
mod locks;
mod memory;
mod text;
