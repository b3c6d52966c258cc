//! Wake: lets the core wake somebody who waits in Python.
//!
//! Owns the way from a [`Waker`] to a Python callable. Must not know what was waited for, nor which loop or thread waits.
//! Invariant: the callable is called at most once, and no lock is held while it runs.

use std::sync::Arc;
use std::task::{Wake, Waker};

use parking_lot::Mutex;
use pyo3::prelude::*;

/// A waker that calls `callable`, without arguments, in the thread that wakes.
///
/// What the callable raises is handed to `sys.unraisablehook` and changes nothing for who wakes: the loop of one waiter may be
/// closed while the others' run on. Once the interpreter is shutting down, nothing is called.
pub(crate) fn waker(callable: Bound<'_, PyAny>) -> Waker {
    Waker::from(Arc::new(Call(Mutex::new(Some(callable.unbind())))))
}

struct Call(Mutex<Option<Py<PyAny>>>);

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(callable) = self.0.lock().take() else {
            return;
        };
        Python::try_attach(|py| {
            // A lease may be freed, and so those who wait be woken, while an exception is on its way.
            let underway = PyErr::take(py);
            let callable = callable.into_bound(py);
            if let Err(error) = callable.call0() {
                error.write_unraisable(py, Some(&callable));
            }
            drop(callable);
            if let Some(underway) = underway {
                underway.restore(py);
            }
        });
    }
}
