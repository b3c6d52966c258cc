//! Waiting: a place among those who wait, in Python's hands.

use pyo3::prelude::*;

/// A place among those who wait for a lock or a message. Kept until it is woken or given up, whether or not this is.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Waiting {
    at_most: f64,
    leave: Box<dyn Fn() + Send + Sync>,
}

impl Waiting {
    /// A place that is worth keeping for `at_most` seconds and given up by `leave`, which may come more than once.
    pub(crate) fn new(at_most: f64, leave: impl Fn() + Send + Sync + 'static) -> Self {
        Self { at_most, leave: Box::new(leave) }
    }
}

#[pymethods]
impl Waiting {
    /// Seconds after which one is to look again, as nobody wakes then; infinite where there is no such time.
    #[getter]
    fn at_most(&self) -> f64 {
        self.at_most
    }

    /// Gives the place up; harmless where it was woken.
    fn leave(&self) {
        (self.leave)();
    }
}
