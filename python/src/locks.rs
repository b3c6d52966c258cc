//! Locks: the locks of this process as Python sees them.
//!
//! Converts names, times and wakers; who holds a lock is the core's to say.

use std::sync::Arc;
use std::time::Duration;

use donjon::clock::Clock;
use donjon_core::expiry::Ttl;
use donjon_core::lock::{Locks as CoreLocks, Pace, Token};
use pyo3::prelude::*;

use crate::clock::{ManualClock, given};
use crate::errors::Refused;
use crate::text;
use crate::waiting::Waiting;
use crate::wake::waker;

#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Locks {
    locks: Arc<CoreLocks>,
    clock: Clock,
}

#[pymethods]
impl Locks {
    #[new]
    #[pyo3(signature = (clock = None))]
    fn new(clock: Option<&Bound<'_, ManualClock>>) -> Self {
        Self { locks: Arc::default(), clock: given(clock.map(Bound::get)) }
    }

    /// (token, fence), or None where another holds it.
    #[pyo3(signature = (name, ttl, /))]
    fn acquire(&self, name: &Bound<'_, PyAny>, ttl: f64) -> PyResult<Option<(u64, u64)>> {
        let (name, ttl) = (text::key(name)?, Ttl::from_secs(ttl).map_err(Refused::raised)?);
        let granted = self.locks.acquire(name, ttl, self.clock.exact());
        Ok(granted.ok().map(|granted| (granted.token.as_u64(), granted.fence)))
    }

    /// Calls `wake` when the lock is given back. None, and no call, where it is free now.
    #[pyo3(signature = (name, wake, /))]
    fn notify(&self, name: &Bound<'_, PyAny>, wake: Bound<'_, PyAny>) -> PyResult<Option<Waiting>> {
        let now = self.clock.exact();
        let Some(place) = self.locks.wait(text::key(name)?, waker(wake), now) else { return Ok(None) };
        let locks = Arc::clone(&self.locks);
        Ok(Some(Waiting::new((place.until - now).as_secs_f64(), move || locks.leave(&place))))
    }

    /// After how many seconds a lock that lives for `ttl` is to be renewed.
    #[staticmethod]
    #[pyo3(signature = (ttl, /))]
    fn renew_after(ttl: f64) -> PyResult<f64> {
        let ttl = Ttl::from_secs(ttl).map_err(Refused::raised)?;
        Ok(Pace::of(ttl.as_duration().unwrap_or(Duration::MAX)).renew.as_secs_f64())
    }

    /// Holds the lock for `ttl` from now; false where it was lost.
    #[pyo3(signature = (name, token, ttl, /))]
    fn renew(&self, name: &Bound<'_, PyAny>, token: u64, ttl: f64) -> PyResult<bool> {
        let (name, ttl) = (text::key(name)?, Ttl::from_secs(ttl).map_err(Refused::raised)?);
        Ok(self.locks.renew(name, Token::from_u64(token), ttl, self.clock.exact()))
    }

    /// Gives the lock back; false where it was lost, and another's is left alone.
    #[pyo3(signature = (name, token, /))]
    fn release(&self, name: &Bound<'_, PyAny>, token: u64) -> PyResult<bool> {
        Ok(self.locks.release(text::key(name)?, Token::from_u64(token), self.clock.exact()))
    }
}
