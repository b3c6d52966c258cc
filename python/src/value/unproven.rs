//! Unproven: a value for a reader whose type is another than the one that it was made from.
//!
//! Owns how Python tells one that has to be checked from one that need not be. Must not know what a type is: a fingerprint names it.

use pyo3::prelude::*;

/// A value that may be none of the reader's type.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Unproven {
    #[pyo3(get)]
    value: Py<PyAny>,
}

/// The value itself where the reader asks for no type or for that which it was made from, else wrapped in [`Unproven`].
///
/// # Errors
///
/// `MemoryError`.
#[inline]
pub(crate) fn for_reader(
    py: Python<'_>,
    value: Py<PyAny>,
    made_from: Option<u64>,
    reader: Option<u64>,
) -> PyResult<Py<PyAny>> {
    if reader.is_none() || reader == made_from {
        return Ok(value);
    }
    Ok(Py::new(py, Unproven { value })?.into_any())
}
