//! Locks: the locks that processes share, as Python sees them.
//!
//! Converts names, times and tokens; who holds a lock is Redis's to say.

use std::time::Duration;

use donjon::runtime::Runtime;
use donjon_core::expiry::Ttl;
use donjon_core::moment::Moment;
use futures_util::future::{Either, select};
use pyo3::prelude::*;

use super::inner::Name;
use super::{Shared, to_python};
use crate::errors::Refused;

/// The locks of a Redis. Each call gives an asyncio future, or, of a blocking backend, its outcome.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct RemoteLocks(Shared);

impl RemoteLocks {
    pub(super) fn new(shared: Shared) -> Self {
        Self(shared)
    }
}

#[pymethods]
impl RemoteLocks {
    /// (token, fence), or None where another holds it.
    #[pyo3(signature = (name, ttl, /))]
    fn acquire<'py>(&self, name: &Bound<'py, PyAny>, ttl: f64) -> PyResult<Bound<'py, PyAny>> {
        let (py, name, millis) = (name.py(), Name::of(name)?, millis(ttl)?);
        self.0.run(
            py,
            |engine| async move { engine.acquire(&name.0, millis).await },
            |py, held| {
                let held = held.map_err(Refused::raised)?;
                to_python(py, held.map(|held| (u128::from_be_bytes(held.token), held.fence)))
            },
        )
    }

    /// Waits until it may be free, `at_most` so many seconds.
    #[pyo3(signature = (name, at_most, /))]
    fn wait<'py>(&self, name: &Bound<'py, PyAny>, at_most: f64) -> PyResult<Bound<'py, PyAny>> {
        let (py, name) = (name.py(), Name::of(name)?);
        let at_most = Duration::try_from_secs_f64(at_most).unwrap_or_default();
        self.0.run_long(
            py,
            |engine| async move {
                let late = engine.runtime().sleep(at_most);
                let free = engine.lock_may_be_free(name.key());
                let (Either::Left(_) | Either::Right(_)) = select(std::pin::pin!(free), std::pin::pin!(late)).await;
            },
            |py, ()| Ok(py.None()),
        )
    }

    /// Renews it at a third of its time, and ends when it is lost. It was last asked for `age` seconds ago.
    #[pyo3(signature = (name, token, ttl, age, /))]
    fn keep<'py>(&self, name: &Bound<'py, PyAny>, token: u128, ttl: f64, age: f64) -> PyResult<Bound<'py, PyAny>> {
        let (py, name, millis) = (name.py(), Name::of(name)?, millis(ttl)?);
        let age = Duration::try_from_secs_f64(age).unwrap_or_default();
        self.0.run_long(
            py,
            |engine| async move {
                let since: Moment = engine.runtime().now().before(age);
                engine.keep(&name.0, &token.to_be_bytes(), millis, since).await;
            },
            |py, ()| Ok(py.None()),
        )
    }

    /// Holds the lock for `ttl` from now; false where it was lost.
    #[pyo3(signature = (name, token, ttl, /))]
    fn renew<'py>(&self, name: &Bound<'py, PyAny>, token: u128, ttl: f64) -> PyResult<Bound<'py, PyAny>> {
        let (py, name, millis) = (name.py(), Name::of(name)?, millis(ttl)?);
        self.0.run(
            py,
            |engine| async move { engine.extend(&name.0, &token.to_be_bytes(), millis).await },
            |py, held| to_python(py, held.map_err(Refused::raised)?),
        )
    }

    /// Gives the lock back; false where it was lost, and another's is left alone.
    #[pyo3(signature = (name, token, /))]
    fn release<'py>(&self, name: &Bound<'py, PyAny>, token: u128) -> PyResult<Bound<'py, PyAny>> {
        let (py, name) = (name.py(), Name::of(name)?);
        self.0.run(
            py,
            |engine| async move { engine.unlock(&name.0, &token.to_be_bytes()).await },
            |py, held| to_python(py, held.map_err(Refused::raised)?),
        )
    }
}

/// At least one: a lock of no time would never be held.
fn millis(ttl: f64) -> PyResult<u64> {
    let ttl = Ttl::from_secs(ttl).map_err(Refused::raised)?;
    let millis = ttl.as_duration().map_or(u128::MAX, |ttl| ttl.as_millis());
    Ok(u64::try_from(millis).unwrap_or(u64::MAX).max(1))
}
