//! Stats: what a cache has done so far.

use std::ops::Deref;
use std::time::Duration;

use donjon_core::near::State;
use donjon_core::stats::Stats as Counted;

/// A reading of the counters of this process: those of [`donjon_core::stats::Stats`], and what only this layer sees.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), donjon::Error> {
/// let cache = donjon::Cache::memory().build()?;
/// cache.set("a", &1).await?;
/// cache.get::<i32>("a").await?;
/// cache.get::<i32>("b").await?;
/// let stats = cache.stats();
/// assert_eq!((stats.hits, stats.misses, stats.entries), (1, 1, 1));
/// assert_eq!(stats.hit_rate(), 0.5);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    pub(super) counted: Counted,
    /// Stored values that were none of the type asked for, and counted as misses.
    pub undecodable: u64,
    /// Failed loads whose caller got a stale value instead of the error.
    pub stale_on_error: u64,
    /// What memory in front of Redis is worth, where there is such.
    pub coherence: Option<State>,
    /// How long ago Redis last told this process of a change.
    pub last_push: Option<Duration>,
}

impl Deref for Stats {
    type Target = Counted;

    fn deref(&self) -> &Counted {
        &self.counted
    }
}
