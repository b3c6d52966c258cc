//! Job: a future on an event loop, and what is done in Python once it is over.
//!
//! Owns the way from a Rust future to an asyncio future. Must not know who polls. Invariant: `poll` calls no Python, so that it
//! can run under a lock; `finish` does, and must not.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, intern};

pub(super) trait Job: Send {
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()>;

    /// Tells Python how it ended. One that was not polled to its end had a panic.
    ///
    /// # Errors
    ///
    /// What the event loop raises, such as a `KeyboardInterrupt` that came just now.
    fn finish(self: Pin<Box<Self>>, py: Python<'_>) -> PyResult<()>;

    /// Shows the collector what is kept.
    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;

    /// Whether somebody in Python waits for it.
    fn is_awaited(&self) -> bool;
}

pin_project! {
    /// A call: what it gives goes to an asyncio future.
    pub(super) struct Call<F: Future, C> {
        #[pin]
        future: F,
        output: Option<F::Output>,
        convert: Option<C>,
        awaited: Py<PyAny>,
    }
}

impl<F: Future, C> Call<F, C> {
    pub(super) fn new(future: F, convert: C, awaited: Py<PyAny>) -> Self {
        Self { future, output: None, convert: Some(convert), awaited }
    }
}

impl<F, C> Job for Call<F, C>
where
    F: Future + Send,
    F::Output: Send,
    C: FnOnce(Python<'_>, F::Output) -> PyResult<Py<PyAny>> + Send,
{
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        *this.output = Some(ready!(this.future.poll(context)));
        Poll::Ready(())
    }

    fn finish(mut self: Pin<Box<Self>>, py: Python<'_>) -> PyResult<()> {
        let this = self.as_mut().project();
        let awaited = this.awaited.bind(py);
        // Nobody waits for what was cancelled: it is dropped as it is, and gives up what it may hold.
        if is_done(awaited) {
            return Ok(());
        }
        let given = match (this.output.take(), this.convert.take()) {
            (Some(output), Some(convert)) => convert(py, output),
            _ => {
                Err(PyRuntimeError::new_err("donjon met a bug of its own in this call: please report what stderr says"))
            }
        };
        settle(awaited, given)
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.awaited)
    }

    fn is_awaited(&self) -> bool {
        true
    }
}

fn is_done(awaited: &Bound<'_, PyAny>) -> bool {
    awaited.call_method0(intern!(awaited.py(), "done")).and_then(|done| done.is_truthy()).unwrap_or(true)
}

fn settle(awaited: &Bound<'_, PyAny>, given: PyResult<Py<PyAny>>) -> PyResult<()> {
    let py = awaited.py();
    match given {
        Ok(value) => awaited.call_method1(intern!(py, "set_result"), (value,)),
        Err(error) => {
            let set_exception = intern!(py, "set_exception");
            awaited.call_method1(set_exception, (error.value(py),)).or_else(|_| {
                // A future takes no StopIteration, and must not be left waiting.
                awaited.call_method1(set_exception, (PyRuntimeError::new_err(error.to_string()),))
            })
        }
    }
    .map(drop)
}

pin_project! {
    /// A task that nobody waits for.
    pub(super) struct Task<F> {
        #[pin]
        pub(super) future: F,
    }
}

impl<F: Future<Output = ()> + Send> Job for Task<F> {
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.project().future.poll(context)
    }

    fn finish(self: Pin<Box<Self>>, _: Python<'_>) -> PyResult<()> {
        Ok(())
    }

    fn visit(&self, _: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        Ok(())
    }

    fn is_awaited(&self) -> bool {
        false
    }
}
