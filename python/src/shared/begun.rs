//! Begun: what a look-up that may load gives besides a value: the right to load, or another's error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use donjon::engine::Lease;
use donjon_core::lease::Filled;
use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::inner::{Inner, Name};
use crate::place::Place;
use crate::sentinel::miss;
use crate::terms::Fault;

type Right = Lease<Place, Fault>;

/// The right to load a key for all processes. Given up when dropped, but callers give it up themselves.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct RemoteLease {
    right: Mutex<Option<Right>>,
    name: Name,
    ticket: u64,
    stored: Stored,
    /// Of the type that whoever loads reads and stores.
    reader: Option<u64>,
    inner: Arc<Inner>,
}

/// Whether a value was stored.
#[derive(Clone)]
pub(super) struct Stored(Arc<AtomicBool>);

impl Stored {
    pub(super) fn note(&self, filled: Filled) {
        self.0.store(filled == Filled::Stored, Ordering::Relaxed);
    }
}

impl RemoteLease {
    pub(super) fn new(right: Right, reader: Option<u64>, inner: Arc<Inner>) -> Self {
        Self {
            name: Name(right.key().into()),
            ticket: right.ticket().get(),
            right: Mutex::new(Some(right)),
            stored: Stored(Arc::default()),
            reader,
            inner,
        }
    }

    /// Of the type that whoever loads reads and stores.
    pub(super) fn reader(&self) -> Option<u64> {
        self.reader
    }

    /// The right, and where to note what became of it.
    pub(super) fn take_to_fill(&self) -> PyResult<(Right, Stored)> {
        let right = self.take().ok_or_else(|| PyRuntimeError::new_err("this lease was filled or given up already"))?;
        Ok((right, self.stored.clone()))
    }

    fn take(&self) -> Option<Right> {
        self.right.lock().take()
    }
}

#[pymethods]
impl RemoteLease {
    #[getter]
    fn key(&self) -> &str {
        &self.name.0
    }

    #[getter]
    fn ticket(&self) -> u64 {
        self.ticket
    }

    #[getter]
    fn stored(&self) -> bool {
        self.stored.0.load(Ordering::Relaxed)
    }

    /// The value to serve should the load fail; MISS where there is none that can be read.
    #[getter]
    fn stale(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let stale = self.right.lock().as_ref().and_then(|right| right.stale().cloned());
        Ok(self.inner.found(py, &self.name, stale, self.reader)?.unwrap_or_else(|| miss(py).clone().unbind()))
    }

    /// Passes the loader's error to those who wait.
    fn fail(&self, error: Py<PyAny>) {
        if let Some(right) = self.take() {
            drop(right.fail(Arc::new(error)));
        }
    }

    /// Gives the load up: those who wait look up anew.
    fn abandon(&self) {
        drop(self.take());
    }
}

/// Another's load failed.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Failed(Mutex<Option<Fault>>);

impl Failed {
    pub(super) fn new(error: Fault) -> Self {
        Self(Mutex::new(Some(error)))
    }
}

#[pymethods]
impl Failed {
    /// The loader's error, once: its traceback may lead to the frame that has this, and the collector does not see in here.
    fn take(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.0.lock().take().map(|error| error.clone_ref(py))
    }
}
