//! Text: reads the names that Python gives, without taking anything else for one.
//!
//! Owns what is no text: other types, which are never turned into it (`1` is not `"1"`), and lone surrogates, which have no
//! UTF-8 form, so that two keys could become one. Must not know the limits of keys, patterns and tags: the core does.

use donjon_core::key::Key;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::errors::{InvalidKey, InvalidPattern, InvalidTag, Refused};

/// A key, checked. 10 ns.
///
/// # Errors
///
/// `TypeError` for what is no str, `InvalidKey` for what is no key.
#[inline]
pub(crate) fn key<'a>(given: &'a Bound<'_, PyAny>) -> PyResult<Key<'a>> {
    Key::new(read(given, "key", InvalidKey::new_err)?).map_err(Refused::raised)
}

/// The text of a pattern, not yet read as one.
pub(crate) fn pattern<'a>(given: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    read(given, "pattern", InvalidPattern::new_err)
}

/// The name of a tag, not yet checked.
pub(crate) fn tag<'a>(given: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    read(given, "tag", InvalidTag::new_err)
}

/// A part of a key.
pub(crate) fn part<'a>(given: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    read(given, "part of a key", InvalidKey::new_err)
}

/// The text of `given`, which is called `what` where it is none.
#[inline]
pub(crate) fn read<'a>(
    given: &'a Bound<'_, PyAny>,
    what: &str,
    refuse: impl FnOnce(String) -> PyErr,
) -> PyResult<&'a str> {
    let Ok(text) = given.cast::<PyString>() else {
        return Err(no_text(given, what));
    };
    text.to_str().map_err(|_| refuse(format!("a {what} with a lone surrogate is not valid Unicode")))
}

#[cold]
fn no_text(given: &Bound<'_, PyAny>, what: &str) -> PyErr {
    match given.get_type().name() {
        Ok(kind) => PyTypeError::new_err(format!("a {what} is a str, not {kind}")),
        Err(error) => error,
    }
}
