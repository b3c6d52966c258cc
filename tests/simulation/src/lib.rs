//! Processes with the core's own code and a Redis in memory, in an order drawn from a seed.
//!
//! | to find out | look in |
//! |---|---|
//! | what the server does | [`redis`] |

pub mod redis;
