//! The protocol between processes and Redis, in small: models of which every state is visited, each rule of which can be taken out.
//!
//! Owns what is promised and why each rule is needed. Must not know the core's code: the simulation in `tests/` drives that.
//!
//! | to find out | look in |
//! |---|---|
//! | leases, shared loads, refreshes, sweeps, outages, failovers | [`lease`] |
//! | tags by versions, epochs and floors | [`tags`] |
//! | patterns that are written down before they are swept | [`sweeps`] |
//! | memory in front of Redis | [`near`] |
//! | which worlds there are, and which falls without which rule | [`case`] |
//! | how a model is searched, and how a fall is told | [`search`] |

pub mod case;
pub mod lease;
pub mod near;
pub mod search;
pub mod sweeps;
pub mod tags;
