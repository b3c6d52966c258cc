//! Processes with the core's own code and a Redis in memory, in an order drawn from a seed.
//!
//! | to find out | look in |
//! |---|---|
//! | what happens, and what is checked | [`world`], [`promises`] |
//! | what a process says when | [`process`] |
//! | how what is said arrives, or not | [`network`] |
//! | what the server does | [`redis`] |
//! | how tasks take turns, and time passes | [`machine`] |

#![allow(clippy::missing_panics_doc, reason = "all of it is a test: what cannot be panics")]

pub mod machine;
pub mod network;
pub mod process;
pub mod promises;
pub mod redis;
pub mod world;
