//! What callers of a cache see: one test a sentence, on a clock that is moved by hand.

mod bounds;
mod caller;
mod expiry;
mod flights;
mod hosted;
mod invalidation;
mod reads;
mod reentry;
mod refresh;
mod threads;
