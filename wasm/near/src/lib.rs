//! Memory in front of Redis, and of other stores, for JavaScript: what of what was answered may be kept, and what of it may be served.
//!
//! A module of its own, since most who share values over a store have no memory in front of it: no edge keeps a connection on which a
//! store could tell of changes. The values are the host's, each under a number that it chose, and so is the connection. It imports nothing, as the others.
//!
//! | to find out | look in |
//! |---|---|
//! | what is asked of it | `front` |
//! | how all else crosses | the crate `donjon-wasm-host`, in `../host/` |

// Names that a host can find need `no_mangle`, which Rust counts as unsafe: two symbols could share one name.
#![allow(unsafe_code)]
#![no_std]

extern crate alloc;
// Where this crate is only checked, it is the standard library that a panic ends in.
#[cfg(not(target_family = "wasm"))]
extern crate std;

mod front;
