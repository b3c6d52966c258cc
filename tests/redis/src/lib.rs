//! Real Redis servers for the tests, and what can go wrong between a program and one of them.
//!
//! Knows nothing of donjon. All is for tests: what cannot be done panics and says why.
//!
//! | to have | take |
//! |---|---|
//! | a server of one's own, to be paused, killed, restarted or filled | [`Server`] |
//! | a server with passwords, TLS, a limit of memory or a log on disk | [`Builder`] |
//! | a foreign client's words to it | [`Server::ask`], [`Client`], [`Reply`] |
//! | servers that share the keys, with slots that move and replicas that take over | [`Cluster`] |
//! | a primary with replicas, and sentinels over them | [`Sentinels`] |
//! | a connection that is cut, held, late or silent | [`Proxy`] |
//! | replies that no server should give, or not now | [`Rogue`], [`Answer`] |

#![allow(clippy::missing_panics_doc, reason = "all of it panics: that is how a test learns that its ground is gone")]

mod certificates;
mod client;
mod cluster;
mod proxy;
mod rogue;
mod sentinels;
mod server;

pub use client::{Client, Reply};
pub use cluster::Cluster;
pub use proxy::{Direction, Proxy};
pub use rogue::{Answer, Rogue};
pub use sentinels::{PRIMARY, Sentinels};
pub use server::{Builder, Server};
