//! Lease and Join as Python sees them: the right to load, and a place among those who wait.
//!
//! Converts values and errors; owns when a Python copy is made: never with anything locked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use donjon_core::flight::{Ending, Joined};
use donjon_core::lease::{Filled, Lease as CoreLease};
use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::sentinel::miss;
use crate::terms::{Fault, Store, Terms, weighed};
use crate::value::Kept;
use crate::wake::waker;

/// The right to load a key. Given up when dropped, but callers give it up themselves.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Lease {
    right: Mutex<Option<CoreLease<Kept, Fault>>>,
    key: Box<str>,
    ticket: u64,
    stored: AtomicBool,
    /// Of the type that whoever loads reads and stores.
    reader: Option<u64>,
    store: Store,
    terms: Arc<Terms>,
}

impl Lease {
    pub(crate) fn new(lease: CoreLease<Kept, Fault>, reader: Option<u64>, store: Store, terms: Arc<Terms>) -> Self {
        Self {
            key: lease.key().into(),
            ticket: lease.ticket().get(),
            right: Mutex::new(Some(lease)),
            stored: AtomicBool::new(false),
            reader,
            store,
            terms,
        }
    }

    fn take(&self) -> Option<CoreLease<Kept, Fault>> {
        self.right.lock().take()
    }
}

#[pymethods]
impl Lease {
    #[getter]
    fn key(&self) -> &str {
        &self.key
    }

    #[getter]
    fn ticket(&self) -> u64 {
        self.ticket
    }

    #[getter]
    fn stored(&self) -> bool {
        self.stored.load(Ordering::Relaxed)
    }

    /// The copy of a value that is still usable, to serve should the load fail; MISS where there is none.
    #[getter]
    fn stale(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let now = self.terms.clock.now();
        let stale = self.right.lock().as_ref().and_then(|lease| lease.stale(now));
        let stale = stale.filter(|stale| !stale.is_failure());
        stale.map_or_else(|| Ok(miss(py).clone().unbind()), |value| value.copy_for(py, self.reader))
    }

    /// Stores `value` unless something was invalidated since; gives back the copy a reader would get.
    #[pyo3(signature = (value, ttl = None, grace = None, tags = Vec::new(), /))]
    #[expect(clippy::needless_pass_by_value, reason = "what pyo3 extracts is owned")]
    fn fill(
        &self,
        value: &Bound<'_, PyAny>,
        ttl: Option<&Bound<'_, PyAny>>,
        grace: Option<&Bound<'_, PyAny>>,
        tags: Vec<Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let now = self.terms.clock.exact();
        let fill = self.terms.fill(&self.store, ttl, grace, &tags, now)?;
        let kept = self.terms.encode(value)?.of_type(self.reader);
        let copy = kept.copy(value.py())?;
        let lease = self.take().ok_or_else(|| PyRuntimeError::new_err("this lease was filled or given up already"))?;
        let fill = weighed(fill, &kept);
        self.stored.store(lease.fill(kept, fill, now) == Filled::Stored, Ordering::Relaxed);
        Ok(copy)
    }

    /// Gives `value` to those who wait and stores nothing; gives back a copy.
    fn pass_on(&self, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let kept = self.terms.encode(value)?.of_type(self.reader);
        let copy = kept.copy(value.py())?;
        let lease = self.take().ok_or_else(|| PyRuntimeError::new_err("this lease was filled or given up already"))?;
        lease.pass(kept, self.terms.clock.exact());
        Ok(copy)
    }

    /// Stores how the load failed, unless something was invalidated since; those who wait get it as well.
    #[pyo3(signature = (said, ttl, tags, /))]
    #[expect(clippy::needless_pass_by_value, reason = "what pyo3 extracts is owned")]
    fn remember(
        &self,
        said: &Bound<'_, PyAny>,
        ttl: Option<&Bound<'_, PyAny>>,
        tags: Vec<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let now = self.terms.clock.exact();
        let fill = self.terms.fill(&self.store, ttl, None, &tags, now)?;
        let kept = self.terms.encode(said)?.of_failure();
        let lease = self.take().ok_or_else(|| PyRuntimeError::new_err("this lease was filled or given up already"))?;
        let fill = weighed(fill, &kept);
        lease.fill(kept, fill, now);
        Ok(())
    }

    /// Passes the loader's error to those who wait.
    fn fail(&self, error: Py<PyAny>) {
        if let Some(lease) = self.take() {
            drop(lease.fail(Arc::new(error), self.terms.clock.exact()));
        }
    }

    /// Gives the load up: those who wait look up anew.
    fn abandon(&self) {
        drop(self.take());
    }
}

/// A place in the queue for somebody else's load.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Join {
    state: Mutex<State>,
    ticket: u64,
    reader: Option<u64>,
    at_most: Duration,
}

enum State {
    Waiting(Joined<Kept, Fault>),
    Ended(Ending<Kept, Fault>),
}

impl Join {
    pub(crate) fn new(joined: Joined<Kept, Fault>, reader: Option<u64>, at_most: Duration) -> Self {
        Self { ticket: joined.ticket().get(), state: Mutex::new(State::Waiting(joined)), reader, at_most }
    }

    /// Asks whether the load has ended, to be told by `waker` where it has not.
    fn poll(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        let State::Waiting(joined) = &mut *state else { return true };
        let Poll::Ready(ending) = Pin::new(joined).poll(&mut Context::from_waker(waker)) else { return false };
        let waited = std::mem::replace(&mut *state, State::Ended(ending));
        drop(state);
        drop(waited);
        true
    }
}

#[pymethods]
impl Join {
    #[getter]
    fn ticket(&self) -> u64 {
        self.ticket
    }

    #[getter]
    fn at_most(&self) -> f64 {
        self.at_most.as_secs_f64()
    }

    /// Calls `wake` when the load ends; false, and no call, where it has ended.
    fn notify(&self, wake: Bound<'_, PyAny>) -> bool {
        !self.poll(&waker(wake))
    }

    /// (0, the value's copy), (1, the loader's error) or (2, None): look up anew. The first two are given once.
    fn outcome(&self, py: Python<'_>) -> PyResult<(u8, Py<PyAny>)> {
        self.poll(Waker::noop());
        // Taken, not shared: an error's traceback leads to the frame that has this, and the collector does not see in here.
        let state = std::mem::replace(&mut *self.state.lock(), State::Ended(Ending::Again));
        let ending = match state {
            State::Waiting(_) => Ending::Again,
            State::Ended(ending) => ending,
        };
        Ok(match ending {
            Ending::Value(value) => (0, value.copy_for(py, self.reader)?),
            Ending::Failed(error) => (1, error.clone_ref(py)),
            Ending::Again => (2, py.None()),
        })
    }

    /// Leaves the queue.
    fn leave(&self) {
        let waited = std::mem::replace(&mut *self.state.lock(), State::Ended(Ending::Again));
        drop(waited);
    }
}
