//! donjon: a cache that never serves what was invalidated, in memory or in a Redis that processes share.
//!
//! Waits and speaks; what is decided is decided in `donjon-core`. Imports run downward through the list below.
//!
//! | to find out | look in |
//! |---|---|
//! | what a value is, once it is bytes | [`payload`] |
//! | how one Redis is reached, and what is done when it is not | [`link`] |
//! | how values are shared over Redis | [`engine`] |
//! | where the code that waits runs | [`runtime`] |

pub use donjon_core::payload;

pub mod engine;
pub mod link;
pub mod runtime;
