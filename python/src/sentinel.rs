//! Sentinel: objects that stand for themselves, where `None` is a value.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// An object with a name of its own. There is one of each: copied or unpickled, it is still the same.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Sentinel(&'static str);

#[pymethods]
impl Sentinel {
    fn __repr__(&self) -> &'static str {
        self.0
    }

    /// Where `pickle` and `copy` find it: by name.
    fn __reduce__(&self) -> &'static str {
        self.0
    }
}

/// Stands for "nothing here".
pub(crate) fn miss(py: Python<'_>) -> &Bound<'_, PyAny> {
    static MISS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    only(py, &MISS, "MISS")
}

/// Stands for "anything" in a pattern.
pub(crate) fn any(py: Python<'_>) -> &Bound<'_, PyAny> {
    static ANY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    only(py, &ANY, "ANY")
}

fn only<'py>(py: Python<'py>, place: &'static PyOnceLock<Py<PyAny>>, name: &'static str) -> &'py Bound<'py, PyAny> {
    place.get_or_init(py, || Py::new(py, Sentinel(name)).expect("one small object can be made").into_any()).bind(py)
}
