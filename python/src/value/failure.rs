//! Failure: how a load failed that is remembered, for whoever knows what to make of it.
//!
//! Owns how Python tells one from a value. Must not know what an exception is.

use pyo3::prelude::*;

/// What is kept of a load that failed.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Failure {
    #[pyo3(get)]
    said: Py<PyAny>,
}

impl Failure {
    /// One that says this.
    ///
    /// # Errors
    ///
    /// `MemoryError`.
    pub(crate) fn of(py: Python<'_>, said: Py<PyAny>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, Self { said })?.into_any())
    }
}
