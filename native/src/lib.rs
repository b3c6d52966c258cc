//! donjon: a cache that never serves what was invalidated, in memory or in a Redis that processes share.
//!
//! Waits and speaks; what is decided is decided in `donjon-core`. Imports run downward through the list below.
//!
//! | to find out | look in |
//! |---|---|
//! | what a Rust program calls | [`Cache`] |
//! | what can go wrong | [`Error`], [`LoadError`] |
//! | how a value becomes bytes | [`Encode`], [`Decode`], [`Raw`] |
//! | what a value is, once it is bytes | [`payload`] |
//! | how one Redis is reached, and what is done when it is not | [`link`] |
//! | how values are shared over Redis | [`engine`] |
//! | how messages come from Redis | [`pubsub`] |
//! | where the code that waits runs | [`runtime`] |

#[cfg(feature = "tokio")]
mod cache;
#[cfg(feature = "tokio")]
mod clock;
pub mod engine;
#[cfg(feature = "tokio")]
mod error;
pub mod link;
pub mod pubsub;
pub mod runtime;
#[cfg(feature = "tokio")]
mod value;

pub use donjon_core::payload;

#[cfg(feature = "tokio")]
pub use self::{
    cache::{
        Add, Builder, Cache, Call, Explained, FOREVER, Fill, Found, GetOrSet, GetOrSetMany, Getting, Incr, Lock,
        LockGuard, Message, Miss, Remaining, Removed, Rules, Set, SetMany, Span, Stats, Subscribe, Subscription, Warm,
        WarmReport,
    },
    error::{Error, LoadError},
    value::{Decode, Encode, Raw, Uncodable},
};
#[cfg(feature = "tokio")]
pub use donjon_core::{
    envelope::Codec,
    key::{Part, build as key, build_pattern as pattern},
    payload::Payload,
    rules::Targets,
};
