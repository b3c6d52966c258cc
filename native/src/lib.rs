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
//! | where memory's time comes from | [`clock`] |
//!
//! # A screenful of it
//!
//! ```
//! use std::time::Duration;
//!
//! use donjon::{Cache, Found, Targets};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
//! struct User {
//!     name: String,
//! }
//!
//! async fn query(id: u64) -> Result<User, std::io::Error> {
//!     Ok(User { name: format!("user {id}") })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Or Cache::redis("redis://localhost:6379/0"), shared with whoever names the same Redis and namespace.
//! let cache = Cache::memory().namespace("app").default_ttl(Duration::from_secs(300)).build()?;
//!
//! // One load, however many ask at once; whatever is invalidated while it runs is not stored.
//! let user = cache.get_or_set("user:5", || query(5)).ttl("5m").grace("1m").tags(["users"]).await?;
//! assert_eq!(cache.get("user:5").await?, Some(user.clone()));
//!
//! // After the commit: by key, by pattern, by tag, or everything.
//! cache.delete("user:5").await?;
//! cache.invalidate_pattern("user:*:profile").await?;
//! cache.invalidate_tags(["users"]).await?;
//!
//! // By hand, and still safe: a miss holds a lease, and a lease is void once something was invalidated.
//! if let Found::Miss(miss) = cache.lookup::<User>("user:6").await? {
//!     miss.fill(&query(6).await?).ttl("5m").await?;
//! }
//!
//! // What happened, turned into what to invalidate.
//! cache.rules().on("user.updated", Targets { keys: &["user:{id}"], ..Targets::default() })?;
//! cache.emit("user.updated", [("id", 6)]).await?;
//!
//! let held = cache.lock("reindex", "5m").wait(Duration::from_secs(10)).await?;
//! println!("one at a time, holder number {}", held.fence());
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "tokio")]
mod cache;
pub mod clock;
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
        LockGuard, Message, Miss, Mode, Publish, Remaining, Removed, Rules, Set, SetMany, Span, Stats, Subscribe,
        Subscription, Warm, WarmReport,
    },
    clock::ManualClock,
    error::{Error, LoadError},
    value::{Decode, Encode, Raw, Uncodable},
};
#[cfg(feature = "tokio")]
pub use donjon_core::{
    envelope::Codec,
    key::{Part, build as key, build_pattern as pattern},
    near::State as Coherence,
    payload::Payload,
    rules::Targets,
};

/// The Rust on the front page is run, too.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../../README.md")]
struct Readme;
