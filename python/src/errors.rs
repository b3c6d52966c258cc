//! Errors: turns what the core refuses into the exceptions of `donjon._errors`.
//!
//! Must not decide what is an error. The classes live in Python, where their docs are read; each is imported when first raised.

use donjon::engine::WriteError;
use donjon::link::InvalidAuthorities;
use donjon_core::expiry::{EarlyError, InvalidTtl as CoreInvalidTtl, JitterError};
use donjon_core::fault::Fault;
use donjon_core::key::{InvalidKey as CoreInvalidKey, InvalidNamespace as CoreInvalidNamespace};
use donjon_core::pattern::InvalidPattern as CoreInvalidPattern;
use donjon_core::rules::{InvalidRule as CoreInvalidRule, RuleError};
use donjon_core::settings::{InvalidRedisUrl, InvalidSetting};
use donjon_core::tag::InvalidTag as CoreInvalidTag;
use donjon_core::template::{InvalidTemplate as CoreInvalidTemplate, RenderError};
use pyo3::import_exception;
use pyo3::prelude::*;

import_exception!(donjon._errors, BackendUnavailable);
import_exception!(donjon._errors, ConfigError);
import_exception!(donjon._errors, DecodeError);
import_exception!(donjon._errors, InvalidKey);
import_exception!(donjon._errors, InvalidNamespace);
import_exception!(donjon._errors, InvalidPattern);
import_exception!(donjon._errors, InvalidRule);
import_exception!(donjon._errors, InvalidTag);
import_exception!(donjon._errors, InvalidTemplate);
import_exception!(donjon._errors, InvalidTtl);
import_exception!(donjon._errors, NotACounter);
import_exception!(donjon._errors, UnsupportedValue);

/// What the core refuses, as Python raises it: `.map_err(Refused::raised)?`.
pub(crate) trait Refused {
    /// The exception, with the core's own words.
    fn raised(self) -> PyErr;
}

/// Which exception says what the core's error says.
macro_rules! raises {
    ($($error:ty => $exception:ty),* $(,)?) => {
        $(impl Refused for $error {
            #[cold]
            fn raised(self) -> PyErr {
                <$exception>::new_err(self.to_string())
            }
        })*
    };
}

raises! {
    CoreInvalidKey => InvalidKey,
    CoreInvalidNamespace => InvalidNamespace,
    CoreInvalidPattern => InvalidPattern,
    CoreInvalidRule => InvalidRule,
    CoreInvalidTag => InvalidTag,
    CoreInvalidTemplate => InvalidTemplate,
    CoreInvalidTtl => InvalidTtl,
    EarlyError => ConfigError,
    Fault => BackendUnavailable,
    InvalidAuthorities => ConfigError,
    InvalidRedisUrl => ConfigError,
    InvalidSetting => ConfigError,
    JitterError => ConfigError,
    RuleError => InvalidRule,
}

impl Refused for RenderError {
    #[cold]
    fn raised(self) -> PyErr {
        match self {
            Self::Key(error) => error.raised(),
            Self::Pattern(error) => error.raised(),
            missing => InvalidTemplate::new_err(missing.to_string()),
        }
    }
}

impl Refused for WriteError {
    #[cold]
    fn raised(self) -> PyErr {
        match self {
            Self::Fault(fault) => fault.raised(),
            refused => NotACounter::new_err(refused.to_string()),
        }
    }
}
