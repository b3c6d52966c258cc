//! What is said of settings that are wrong, or look it.
//!
//! Owns the words. Invariant: a warning shows no value, and an error none that may have a password in it.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

use super::{InvalidRedisUrl, TTL_PREFIX};

/// What looks like a mistake in the settings. Shows names of variables, never their values.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A `CACHE_` variable that nothing reads.
    Unknown {
        /// The variable.
        name: String,
        /// The variable with the most similar name.
        nearest: &'static str,
    },
    /// A new class of times to live whose name is all but that of a built-in one.
    NearBuiltIn {
        /// The variable.
        name: String,
        /// The class that may have been meant.
        built_in: &'static str,
    },
    /// A part of the Redis connection that differs from what the URL says.
    UrlWins {
        /// The variable.
        name: &'static str,
    },
    /// A variable that means nothing to the memory backend.
    MemoryIgnores {
        /// The variable.
        name: &'static str,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, nearest } => write!(out, "`{name}` is not read; did you mean `{nearest}`?"),
            Self::NearBuiltIn { name, built_in } => write!(
                out,
                "`{name}` defines a new ttl class; did you mean `{TTL_PREFIX}{}`?",
                built_in.to_ascii_uppercase()
            ),
            Self::UrlWins { name } => write!(out, "`{name}` is ignored: `CACHE_REDIS_URL` says otherwise and wins"),
            Self::MemoryIgnores { name } => {
                write!(out, "`{name}` is ignored by the memory backend; set `CACHE_BACKEND=redis` to use Redis")
            }
        }
    }
}

/// A variable with a value that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{variable}` must be {accepted}, got {given}")]
pub struct InvalidSetting {
    /// The variable.
    pub variable: String,
    /// Its value in quotes, cut short where it is long; `***` where it may have a password in it.
    pub given: String,
    /// What is accepted.
    pub accepted: String,
}

impl InvalidSetting {
    pub(super) fn new(variable: &str, value: &str, accepted: &str) -> Self {
        // A URL may have ended up in any variable.
        let given = if value.contains('@') || value.contains("://") {
            "***".to_owned()
        } else {
            format!("{:?}", value.chars().take(LONGEST_SHOWN).collect::<String>())
        };
        Self { variable: variable.chars().take(LONGEST_SHOWN).collect(), given, accepted: accepted.to_owned() }
    }

    pub(super) fn url(variable: &str, why: InvalidRedisUrl) -> Self {
        Self { variable: variable.to_owned(), given: "***".to_owned(), accepted: format!("a Redis URL ({why})") }
    }
}

/// As many letters of a name or a value as a message shows.
pub(super) const LONGEST_SHOWN: usize = 64;
