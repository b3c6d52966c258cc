//! Terms: for how long a value is to be kept, and under which tags.
//!
//! Owns what a caller may say of time, and that all of it is checked before anything is stored or any loader runs.

use std::borrow::Cow;
use std::time::Duration;

use donjon_core::expiry::{Grace, Ttl, TtlClasses};
use donjon_core::remote::Storing;
use donjon_core::tag::check_tags;

use crate::error::Error;

/// For ever: until evicted or invalidated. For `ttl` and `grace`; written out, so that nobody gets it by accident.
pub const FOREVER: Span = Span(Given::Forever);

/// How long something lasts: a [`Duration`], text such as `"5m"` or `"1h30m"`, the name of a ttl class, or [`FOREVER`].
///
/// A time to live is more than zero and at most ten years; what is less than a millisecond is one. A grace may be zero.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use donjon::Cache;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), donjon::Error> {
/// let cache = Cache::memory().build()?;
/// cache.set("a", &1).ttl(Duration::from_secs(60)).await?;
/// cache.set("b", &1).ttl("1h30m").await?;
/// cache.set("c", &1).ttl("stats").await?; // the class that `CACHE_TTL_STATS` sets
/// cache.set("d", &1).ttl(donjon::FOREVER).await?;
/// assert!(cache.set("e", &1).ttl(Duration::ZERO).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span(Given);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Given {
    Duration(Duration),
    Text(Cow<'static, str>),
    Forever,
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(Given::Duration(duration))
    }
}

impl From<&'static str> for Span {
    fn from(text: &'static str) -> Self {
        Self(Given::Text(text.into()))
    }
}

impl From<String> for Span {
    fn from(text: String) -> Self {
        Self(Given::Text(text.into()))
    }
}

impl From<Ttl> for Span {
    fn from(ttl: Ttl) -> Self {
        Self(ttl.as_duration().map_or(Given::Forever, Given::Duration))
    }
}

impl Span {
    pub(crate) fn ttl(&self, classes: &TtlClasses) -> Result<Ttl, Error> {
        Ok(match &self.0 {
            Given::Duration(duration) => Ttl::from_duration(*duration)?,
            Given::Text(text) => classes.resolve(text)?,
            Given::Forever => Ttl::FOREVER,
        })
    }

    fn grace(&self, classes: &TtlClasses) -> Result<Grace, Error> {
        Ok(match &self.0 {
            Given::Duration(duration) => Grace::from_duration(*duration)?,
            Given::Text(text) => classes.resolve_grace(text)?,
            Given::Forever => Grace::FOREVER,
        })
    }
}

/// What a caller says of how a value is to be kept, not looked at yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) ttl: Option<Span>,
    pub(super) grace: Option<Span>,
    pub(super) tags: Vec<String>,
}

impl Wanted {
    /// Checks everything.
    pub(super) fn terms(mut self, classes: &TtlClasses) -> Result<Storing, Error> {
        check_tags(&self.tags)?;
        self.tags.sort_unstable();
        self.tags.dedup();
        Ok(Storing {
            ttl: self.ttl.map_or(Ok(classes.default_ttl()), |ttl| ttl.ttl(classes))?,
            grace: self.grace.map_or(Ok(Grace::NONE), |grace| grace.grace(classes))?,
            tags: self.tags.into_iter().map(String::into_boxed_str).collect(),
        })
    }
}
