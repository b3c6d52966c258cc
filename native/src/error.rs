//! Errors: what can go wrong, and what to do about it.
//!
//! Owns the one error type of the public API, and what a load that failed hands to everybody who waited for it.
//! Invariant: a message may show a key, never a value and never a password.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use donjon_core::expiry::InvalidTtl;
use donjon_core::fault::Fault;
use donjon_core::key::{InvalidKey, InvalidNamespace};
use donjon_core::pattern::InvalidPattern;
use donjon_core::rules::{InvalidRule, RuleError};
use donjon_core::settings::InvalidSetting;
use donjon_core::tag::InvalidTag;

/// What a cache refuses, or could not do. Nothing was stored or changed, unless the variant says otherwise.
///
/// A fault of the cache itself never fails a read whose loader works: it is counted and logged instead.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key is empty or over 1 KiB.
    #[error("{}{why}", place(*index))]
    InvalidKey {
        /// Which one it is, where several were given.
        index: Option<usize>,
        /// What is wrong with it.
        why: InvalidKey,
    },
    /// A pattern is empty or past its limits.
    #[error(transparent)]
    InvalidPattern(#[from] InvalidPattern),
    /// A tag is empty or reserved, or there are too many.
    #[error(transparent)]
    InvalidTag(#[from] InvalidTag),
    /// A time to live is zero or over ten years, or names a class that nobody defined.
    #[error(transparent)]
    InvalidTtl(#[from] InvalidTtl),
    /// A lock was to be held for ever.
    #[error("the lock {name} needs an end: give it a ttl, which is renewed while its holder lives")]
    LockWithoutEnd {
        /// The lock's name.
        name: Box<str>,
    },
    /// A namespace has other characters than letters, digits, `.`, `_` and `-`, or too many.
    #[error(transparent)]
    InvalidNamespace(#[from] InvalidNamespace),
    /// An environment variable has a value that it cannot have.
    #[error(transparent)]
    InvalidSetting(#[from] InvalidSetting),
    /// An option of a builder has a value that it cannot have, or means nothing to the backend.
    #[error("{why}")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// What is accepted.
        why: Box<str>,
    },
    /// A value has no JSON form.
    #[error("the value for {key} has no JSON form: {why}")]
    UnsupportedValue {
        /// The key it was meant for.
        key: Box<str>,
        /// What is in the way.
        why: Box<str>,
    },
    /// A message is none of the type asked for.
    #[error("the message on {channel} is no {wanted}: {why}")]
    UndecodableMessage {
        /// The channel it came on.
        channel: Arc<str>,
        /// The type asked for.
        wanted: &'static str,
        /// What is wrong with it.
        why: Box<str>,
    },
    /// A value is larger than the cache takes. What was there is older than it, and was invalidated.
    #[error(
        "the value for {key} takes {bytes} bytes, more than this cache keeps for one key; raise `max_value_bytes` or `max_bytes`"
    )]
    ValueTooLarge {
        /// The key it was meant for.
        key: Box<str>,
        /// How large it is.
        bytes: usize,
    },
    /// `incr` met a value that is no integer, or the sum would leave 64 bits.
    #[error("{0}")]
    NotACounter(Box<str>),
    /// An invalidation rule is wrong.
    #[error(transparent)]
    InvalidRule(#[from] InvalidRule),
    /// An event meets a rule that cannot be carried out.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A lock was not free in time.
    #[error("the lock {name} was not free within {waited:?}; try again later, or raise `wait`")]
    LockTimeout {
        /// The lock's name.
        name: Box<str>,
        /// For how long it was waited for.
        waited: Duration,
    },
    /// A lock was released or lost already: its time ran out, and another may hold it.
    #[error("the lock {name} is not held any more; its holder took longer than its ttl, or released it")]
    LockLost {
        /// The lock's name.
        name: Box<str>,
    },
    /// Redis could not be asked, for what has no meaning without it: reads, loads, stores and invalidations do not fail by it.
    #[error(transparent)]
    Redis(#[from] Fault),
    /// The cache was closed.
    #[error("the cache is closed; make another")]
    Closed,
}

fn place(index: Option<usize>) -> String {
    index.map_or_else(String::new, |index| format!("keys[{index}]: "))
}

impl From<InvalidKey> for Error {
    fn from(why: InvalidKey) -> Self {
        Self::InvalidKey { index: None, why }
    }
}

/// Why a value could not be had: its loader failed, or the call was wrong.
///
/// Everybody who waited for one load shares its error, so it comes in an [`Arc`]; [`LoadError::loader`] looks at it.
///
/// # Examples
///
/// ```
/// use donjon::{Cache, LoadError};
///
/// #[derive(Debug, PartialEq, thiserror::Error)]
/// #[error("no such user")]
/// struct NoSuchUser;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), donjon::Error> {
/// let cache = Cache::memory().build()?;
/// let failed = cache.get_or_set("user:5", || async { Err::<String, _>(NoSuchUser) }).await.unwrap_err();
/// assert_eq!(failed.loader(), Some(&NoSuchUser));
/// assert_eq!(failed.to_string(), "no such user");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub enum LoadError<E> {
    /// What the loader gave, its own or that of another caller which was waited for.
    Loader(Arc<E>),
    /// What the cache refuses: a key, a tag, a value without a JSON form.
    Cache(Error),
}

impl<E> LoadError<E> {
    /// The loader's error, unless the cache refused the call.
    pub fn loader(&self) -> Option<&E> {
        match self {
            Self::Loader(error) => Some(error),
            Self::Cache(_) => None,
        }
    }
}

impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Loader(error) => Self::Loader(Arc::clone(error)),
            Self::Cache(error) => Self::Cache(error.clone()),
        }
    }
}

impl<E> From<Error> for LoadError<E> {
    fn from(error: Error) -> Self {
        Self::Cache(error)
    }
}

impl<E: fmt::Display> fmt::Display for LoadError<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loader(error) => error.fmt(out),
            Self::Cache(error) => error.fmt(out),
        }
    }
}

impl<E: std::error::Error> std::error::Error for LoadError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Loader(error) => error.source(),
            Self::Cache(error) => error.source(),
        }
    }
}

/// How a load failed, for those who waited for it whatever type of error they expect.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The loader's own error.
    Loader(Arc<dyn Any + Send + Sync>),
    /// What it loaded was refused.
    Cache(Error),
}

impl Failure {
    /// The error as a caller that expects `E` sees it; `None` where the loader's is of another type.
    pub(crate) fn of<E: Send + Sync + 'static>(self) -> Option<LoadError<E>> {
        match self {
            Self::Loader(error) => error.downcast().ok().map(LoadError::Loader),
            Self::Cache(error) => Some(LoadError::Cache(error)),
        }
    }
}
