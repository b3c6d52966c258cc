//! Sync: the locks that the core takes, and the atomics by which threads agree. A host with threads has real ones; where there is one
//! thread, a cell does for a lock.
//!
//! Which thread comes first at one of these is what can make one run differ from another. `tests/schedules` builds the core with
//! those of `shuttle` in their place, which decides that, and `lock` once more by itself. What is only counted, estimated or drawn has
//! atomics of its own.
//!
//! In WebAssembly without threads nobody can wait for a lock, so there is nothing to wait with: a lock that is taken twice is a fault
//! of ours, which a cell shows at once by a panic where a lock would hang.

#[cfg(not(shuttle))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[cfg(not(any(shuttle, target_family = "wasm")))]
mod bell;
#[cfg(target_family = "wasm")]
mod cell;
#[cfg(not(any(shuttle, target_family = "wasm")))]
mod lock;
#[cfg(shuttle)]
mod whole;

#[cfg(target_family = "wasm")]
pub(crate) use cell::{Mutex, RwLock};
#[cfg(not(any(shuttle, target_family = "wasm")))]
pub(crate) use lock::RwLock;
#[cfg(not(target_family = "wasm"))]
pub(crate) use parking_lot::Mutex;
#[cfg(shuttle)]
pub(crate) use whole::RwLock;
