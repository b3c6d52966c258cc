//! Settings: what the `CACHE_` variables say, as Python reads it.
//!
//! Must not read the environment: the package hands over pairs. Invariant: `repr` shows no password.

use std::collections::BTreeMap;

use donjon_core::settings::{Backend, Settings as CoreSettings};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::errors::{ConfigError, Refused};
use crate::names::seconds;

/// What the `CACHE_` variables say.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Settings(CoreSettings);

/// Reads pairs of name and value. Names that are not the cache's are not looked at, whatever is in them.
#[pyfunction]
pub(crate) fn parse_settings(pairs: &Bound<'_, PyAny>) -> PyResult<Settings> {
    let mut ours = Vec::new();
    for pair in pairs.try_iter()? {
        let (name, value): (Bound<'_, PyString>, Bound<'_, PyString>) = pair?.extract()?;
        let name = name.to_string_lossy();
        if name.starts_with("CACHE_") {
            // Bytes of an environment that are no UTF-8 come as lone surrogates.
            let value = value.to_str().map_err(|_| ConfigError::new_err(format!("`{name}` is not valid UTF-8")))?;
            ours.push((name.into_owned(), value.to_owned()));
        }
    }
    CoreSettings::parse(ours).map(Settings).map_err(Refused::raised)
}

#[pymethods]
impl Settings {
    #[getter]
    fn backend(&self) -> &'static str {
        match self.0.backend {
            Backend::Memory => "memory",
            Backend::Redis(_) => "redis",
        }
    }

    #[getter]
    fn enabled(&self) -> bool {
        self.0.enabled
    }

    #[getter]
    fn namespace(&self) -> &str {
        self.0.namespace.as_str()
    }

    #[getter]
    fn near(&self) -> bool {
        self.0.near
    }

    #[getter]
    fn max_bytes(&self) -> u64 {
        self.0.max_bytes
    }

    #[getter]
    fn max_entries(&self) -> Option<u64> {
        self.0.max_entries
    }

    /// With the password: to connect by, not to show.
    #[getter]
    fn redis_url(&self) -> Option<String> {
        match &self.0.backend {
            Backend::Memory => None,
            Backend::Redis(target) => Some(target.url().expose().to_owned()),
        }
    }

    #[getter]
    fn ttl_classes(&self) -> BTreeMap<String, f64> {
        self.0.ttl_classes.iter().map(|(name, ttl)| (name.to_owned(), seconds(ttl))).collect()
    }

    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.0.warnings.iter().map(ToString::to_string).collect()
    }

    fn __repr__(&self) -> String {
        let backend = match &self.0.backend {
            Backend::Memory => "memory".to_owned(),
            Backend::Redis(target) => target.to_string(),
        };
        let Self(CoreSettings { enabled, namespace, near, max_bytes, .. }) = self;
        format!("Settings({backend}, {namespace:?}, enabled={enabled}, near={near}, max_bytes={max_bytes})")
    }
}
