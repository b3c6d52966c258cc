//! Removed: what an invalidation came to.

/// What an invalidation came to. It has taken effect, unless it is `queued`.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), donjon::Error> {
/// let cache = donjon::Cache::memory().build()?;
/// cache.set("user:5", "Ada").await?;
/// let removed = cache.delete("user:5").await?;
/// assert_eq!((removed.count, removed.queued), (1, false));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// How many values left that could still have been served; for tags, how many were named.
    pub count: u64,
    /// Whether the place that others read could not be reached: then the invalidation is sent before this process reads from
    /// there again. The memory backend never queues.
    pub queued: bool,
}

impl From<u64> for Removed {
    fn from(count: u64) -> Self {
        Self { count, queued: false }
    }
}
