//! Clock: the clock that a Python test moves.

use std::time::Duration;

use donjon::clock::{self, Clock};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A clock that moves when told to, for tests. Starts at 1,000 seconds.
#[pyclass(frozen, module = "donjon._donjon")]
#[derive(Default)]
pub(crate) struct ManualClock(clock::ManualClock);

/// The manual clock, or the system's where none is given.
pub(crate) fn given(manual: Option<&ManualClock>) -> Clock {
    manual.map_or(Clock::System, |clock| Clock::Manual(clock.0.clone()))
}

#[pymethods]
impl ManualClock {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Moves the clock on by `seconds`, which may not be negative.
    fn advance(&self, seconds: f64) -> PyResult<()> {
        let by = Duration::try_from_secs_f64(seconds)
            .map_err(|_| PyValueError::new_err(format!("a clock cannot move on by {seconds} seconds")))?;
        self.0.advance(by);
        Ok(())
    }

    /// Seconds since the clock's start.
    fn now(&self) -> f64 {
        Duration::from_nanos(self.0.now().as_nanos()).as_secs_f64()
    }

    fn __repr__(&self) -> String {
        format!("ManualClock(now={})", self.now())
    }
}
