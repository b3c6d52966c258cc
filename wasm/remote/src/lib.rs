//! The tier that processes share, for JavaScript: what the host says over its connection, and what the answers mean.
//!
//! A module of its own, since a page that keeps its values in memory does not need it. It imports nothing, as that of the memory,
//! and holds none of what that holds: texts, rules and local locks are asked there.
//!
//! | to find out | look in |
//! |---|---|
//! | what the tier is asked | `shared` |
//! | how commands and answers cross | `wire` |
//! | how all else does | the crate `donjon-wasm-host`, in `../host/` |

// Names that a host can find need `no_mangle`, which Rust counts as unsafe: two symbols could share one name.
#![allow(unsafe_code)]
#![no_std]

extern crate alloc;
// Where this crate is only checked, it is the standard library that a panic ends in.
#[cfg(not(target_family = "wasm"))]
extern crate std;

mod shared;
mod wire;
