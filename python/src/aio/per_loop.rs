//! Per loop: what a cache has once for each event loop that it is used in, as a connection belongs to one.
//!
//! Owns which loop has which reactor, and who has what on it. Must not know what is kept. Invariant: nothing here keeps a loop
//! alive; what belongs to a closed one goes when the next comes, and what was inherited by `fork` is left as it is.

use std::future::Future;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use pyo3::prelude::*;

use super::event_loop::EventLoop;
use super::reactor::Reactor;
use super::runtime::Asyncio;

/// The event loop that runs in this thread.
pub(crate) struct Here<'py> {
    py: Python<'py>,
    reactor: Arc<Reactor>,
}

impl<'py> Here<'py> {
    /// Starts `future`, and gives an asyncio future that ends with what `convert` makes of its output: called on this thread, with
    /// no lock held, unless the asyncio future was cancelled. Then the output is dropped, once it is there.
    ///
    /// # Errors
    ///
    /// A `RuntimeError` where the loop is closed.
    pub(crate) fn submit<F, C>(&self, future: F, convert: C) -> PyResult<Bound<'py, PyAny>>
    where
        F: Future<Output: Send> + Send + 'static,
        C: FnOnce(Python<'_>, F::Output) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        Ok(self.reactor.submit(self.py, future, convert)?.into_bound(self.py))
    }

    /// As [`submit`](Self::submit), for what may take long: `future` is dropped as soon as the asyncio future is cancelled.
    ///
    /// # Errors
    ///
    /// A `RuntimeError` where the loop is closed.
    pub(crate) fn submit_cancellable<F, C>(&self, future: F, convert: C) -> PyResult<Bound<'py, PyAny>>
    where
        F: Future<Output: Send> + Send + 'static,
        C: FnOnce(Python<'_>, F::Output) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        Ok(self.reactor.submit_cancellable(self.py, future, convert)?.into_bound(self.py))
    }
}

/// One `T` for each event loop.
pub(crate) struct PerLoop<T>(Mutex<Vec<Kept<T>>>);

struct Kept<T> {
    /// The loop's address: another may come to have it, once this one is closed.
    address: usize,
    reactor: Arc<Reactor>,
    value: T,
}

impl<T: Clone> PerLoop<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The running loop, and what is kept for it: made now, where there is nothing yet.
    ///
    /// # Errors
    ///
    /// A `RuntimeError` where no loop runs in this thread; a `NotImplementedError` where it can watch no sockets, as Windows's.
    pub(crate) fn here<'py>(&self, py: Python<'py>, make: impl FnOnce(Asyncio) -> T) -> PyResult<(Here<'py>, T)> {
        let event_loop = EventLoop::running(py)?;
        let address = event_loop.as_ptr() as usize;
        if let Some((reactor, value)) = self.find(address) {
            return Ok((Here { py, reactor }, value));
        }
        let reactor = reactor_of(&event_loop)?;
        let value = make(reactor.runtime());
        let kept = Kept { address, reactor: Arc::clone(&reactor), value: value.clone() };
        let gone: Vec<_> = {
            let mut all = self.0.lock();
            let gone = all.extract_if(.., |kept| !kept.reactor.is_alive()).collect();
            all.push(kept);
            gone
        };
        gone.into_iter().for_each(Kept::leave);
        Ok((Here { py, reactor }, value))
    }

    fn find(&self, address: usize) -> Option<(Arc<Reactor>, T)> {
        let all = self.0.lock();
        let kept = all.iter().find(|kept| kept.address == address && kept.reactor.is_alive())?;
        Some((Arc::clone(&kept.reactor), kept.value.clone()))
    }
}

impl<T> Kept<T> {
    fn leave(self) {
        if !self.reactor.is_ours() {
            std::mem::forget(self);
        }
    }
}

impl<T> Drop for PerLoop<T> {
    fn drop(&mut self) {
        self.0.get_mut().drain(..).for_each(Kept::leave);
    }
}

/// The reactor of a loop: one for all who use it.
fn reactor_of(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Reactor>> {
    let address = event_loop.as_ptr() as usize;
    let known = REACTORS.lock().iter().filter(|(of, _)| *of == address).find_map(|(_, reactor)| alive(reactor));
    if let Some(reactor) = known {
        return Ok(reactor);
    }
    let reactor = Reactor::new(event_loop)?;
    let mut all = REACTORS.lock();
    all.retain(|(_, reactor)| alive(reactor).is_some());
    all.push((address, Arc::downgrade(&reactor)));
    Ok(reactor)
}

fn alive(reactor: &Weak<Reactor>) -> Option<Arc<Reactor>> {
    reactor.upgrade().filter(|reactor| reactor.is_alive())
}

/// By the address of the loop. Looked at by who is attached to the interpreter, so that no `fork` finds it locked.
static REACTORS: Mutex<Vec<(usize, Weak<Reactor>)>> = Mutex::new(Vec::new());
