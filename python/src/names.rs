//! Names: keys, patterns, templates and times as Python writes them.
//!
//! Must not decide what any of them may be: the core does.

use std::borrow::Cow;

use donjon_core::expiry::{Grace, Ttl};
use donjon_core::key::{self as core_key, Part};
use donjon_core::pattern::Pattern;
use donjon_core::template::Template as CoreTemplate;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyTuple};

use crate::errors::{InvalidTemplate, InvalidTtl, Refused};
use crate::{sentinel, text};

/// The key made of `parts`, each escaped.
#[pyfunction]
#[pyo3(signature = (*parts))]
pub(crate) fn key(parts: &Bound<'_, PyTuple>) -> PyResult<String> {
    let parts: Vec<_> = parts.iter().collect();
    let parts = parts.iter().map(text::part).collect::<PyResult<Vec<_>>>()?;
    core_key::build(parts).map_err(Refused::raised)
}

/// The pattern that covers each key made of such parts; `ANY` is any one of them.
#[pyfunction]
#[pyo3(signature = (*parts))]
pub(crate) fn pattern(parts: &Bound<'_, PyTuple>) -> PyResult<String> {
    let any = sentinel::any(parts.py());
    let parts: Vec<_> = parts.iter().collect();
    let parts = parts
        .iter()
        .map(|part| if part.is(any) { Ok(Part::Any) } else { text::part(part).map(Part::Is) })
        .collect::<PyResult<Vec<_>>>()?;
    Ok(core_key::build_pattern(parts).map_err(Refused::raised)?.as_str().to_owned())
}

/// Whether `pattern` covers all of `text`.
#[pyfunction]
pub(crate) fn glob_matches(pattern: &Bound<'_, PyAny>, text: &Bound<'_, PyAny>) -> PyResult<bool> {
    let pattern = Pattern::new(text::pattern(pattern)?).map_err(Refused::raised)?;
    match text.cast::<PyBytes>() {
        Ok(bytes) => Ok(pattern.matches(bytes.as_bytes())),
        Err(_) => Ok(pattern.matches(text::part(text)?.as_bytes())),
    }
}

/// `text` as it stands for itself within a pattern.
#[pyfunction]
pub(crate) fn glob_escape(text: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(donjon_core::pattern::glob_escape(text::pattern(text)?).into_owned())
}

/// Raises unless `key` is one.
#[pyfunction]
pub(crate) fn check_key(key: &Bound<'_, PyAny>) -> PyResult<()> {
    text::key(key).map(drop)
}

/// Raises unless a value may carry these tags.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "what pyo3 extracts is owned")]
pub(crate) fn check_tags(tags: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
    let names = tags.iter().map(text::tag).collect::<PyResult<Vec<_>>>()?;
    donjon_core::tag::check_tags(&names).map_err(Refused::raised)
}

/// Seconds, from text such as `300`, `5m` or `1h30m`.
#[pyfunction]
pub(crate) fn parse_ttl(text: &Bound<'_, PyAny>) -> PyResult<f64> {
    let ttl = Ttl::parse(text::read(text, "ttl", InvalidTtl::new_err)?).map_err(Refused::raised)?;
    Ok(seconds(ttl))
}

/// Seconds, infinite for ever.
pub(crate) fn seconds(ttl: Ttl) -> f64 {
    ttl.as_duration().map_or(f64::INFINITY, |ttl| ttl.as_secs_f64())
}

/// The same of a grace.
pub(crate) fn grace_seconds(grace: Grace) -> f64 {
    grace.as_duration().map_or(f64::INFINITY, |grace| grace.as_secs_f64())
}

/// A text with names to be filled in, such as `user:{user_id}`.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Template {
    text: String,
    template: CoreTemplate,
}

#[pymethods]
impl Template {
    #[new]
    fn new(text: &Bound<'_, PyAny>) -> PyResult<Self> {
        let text = text::read(text, "template", InvalidTemplate::new_err)?;
        Ok(Self { text: text.to_owned(), template: CoreTemplate::new(text).map_err(Refused::raised)? })
    }

    /// The names, each once, in the order they first appear.
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.template.names()
    }

    /// The key with `parts` put in, each escaped.
    #[pyo3(signature = (parts, /))]
    fn render(&self, parts: &Bound<'_, PyMapping>) -> PyResult<String> {
        let parts = Parts::of(parts)?;
        parts.checked(self.template.render(|name| parts.get(name)))
    }

    /// The pattern that covers each key with these parts; a name that `parts` lacks may be anything.
    #[pyo3(signature = (parts, /))]
    fn pattern(&self, parts: &Bound<'_, PyMapping>) -> PyResult<String> {
        let parts = Parts::of(parts)?;
        Ok(parts.checked(self.template.pattern(|name| parts.get(name)))?.as_str().to_owned())
    }

    fn __repr__(&self) -> String {
        format!("Template({:?})", self.text)
    }
}

/// What is put into a template. The core asks for each by name and cannot be told of a part that is no text, so the first
/// such error waits here.
struct Parts<'py> {
    given: Bound<'py, PyDict>,
    error: std::cell::Cell<Option<PyErr>>,
}

impl<'py> Parts<'py> {
    fn of(given: &Bound<'py, PyMapping>) -> PyResult<Self> {
        let given = match given.cast_exact::<PyDict>() {
            Ok(dict) => dict.clone(),
            Err(_) => PyDict::from_sequence(given.items()?.as_any())?,
        };
        Ok(Self { given, error: std::cell::Cell::new(None) })
    }

    fn get(&self, name: &str) -> Option<Cow<'static, str>> {
        let read = || match self.given.get_item(name)? {
            Some(part) => text::part(&part).map(|part| Some(Cow::Owned(part.to_owned()))),
            None => Ok(None),
        };
        read().unwrap_or_else(|error| {
            self.error.set(Some(error));
            None
        })
    }

    fn checked<T>(&self, outcome: Result<T, impl Refused>) -> PyResult<T> {
        match self.error.take() {
            Some(error) => Err(error),
            None => outcome.map_err(Refused::raised),
        }
    }
}
