//! Threads at one cache, in every order that there is or in many that are drawn: `shuttle` decides who goes on at each lock and atomic.
//!
//! `docs/simulation.md` says what must hold, how a schedule is replayed, and which rules were taken out to see it fail.

mod every;
mod many;
mod scene;
