//! The decisions of the donjon cache, and nothing else: no runtime, no clock, no socket.
//!
//! Every call that depends on time takes `now`; every call that would wait returns what to wait for.
//! Imports run downward through the list below; a lower file does not know a higher one.
//!
//! | to find out | look in |
//! |---|---|
//! | what memory in front of a shared tier may have and serve | [`near`] |
//! | who has which keys where many servers share them | [`cluster`] |
//! | what a tier is asked that processes share, and what its answers mean | [`remote`] |
//! | what a caller can ask of a cache, and under what it loads | [`cache`], [`lease`] |
//! | which loads are under way for a tier that keeps its values elsewhere | `flights` |
//! | who waits for a load, and where it is all kept | [`flight`], `store` |
//! | what tags and load tickets mean | [`version`] |
//! | what is counted, and what left lately | [`stats`], `recent` |
//! | what can be configured | [`settings`] |
//! | what the bytes of a value are, and how they look in Redis | [`payload`], [`envelope`] |
//! | what can go wrong at Redis, when to leave it alone, what it must still be told | [`fault`], [`breaker`], [`outbox`] |
//! | which event invalidates what | [`rules`] |
//! | how a key is made from a text with names in it | [`template`] |
//! | who holds a lock, who hears a message | [`lock`], [`pubsub`] |
//! | what leaves, and when | [`policy`], [`entry`], [`expiry`] |
//! | what a key, a pattern or a tag may be | [`key`], [`pattern`], [`tag`] |
//! | where random numbers come from | [`chance`] |
//! | who is to be woken | [`waiters`] |
//! | what a lock is, with threads and without; how a message shows what was given | `sync`, [`shown`] |
//! | what holds rows that stay in place while their number grows, where they are, their keys, and some in their order; what is asked of memory ahead | `blocks`, `index`, `inline`, `sorted`, `foresee` |

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod blocks;
pub mod breaker;
pub mod cache;
pub mod chance;
pub mod cluster;
pub mod entry;
pub mod envelope;
pub mod expiry;
pub mod fault;
pub mod flight;
mod flights;
mod foresee;
mod index;
mod inline;
pub mod key;
pub mod lock;
pub mod moment;
pub mod near;
pub mod outbox;
pub mod pattern;
pub mod payload;
pub mod policy;
pub mod pubsub;
mod recent;
pub mod remote;
pub mod rules;
pub mod settings;
pub mod shown;
mod sorted;
mod spelling;
pub mod stats;
mod store;
mod sync;
pub mod tag;
pub mod template;
pub mod version;
pub mod waiters;

pub use cache::lease;
