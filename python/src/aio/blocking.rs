//! Blocking: runs a future to its end for a thread that waits.
//!
//! Owns one tokio runtime a process, in a thread of its own, which is made when first needed, and what is kept on it. Connections live there; a future
//! is polled by the thread that waits for it, so that a reply costs one change of threads. Must not know what is waited for.
//! Invariant: who waits has left the interpreter to others, and looks for Ctrl-C again and again.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use donjon::runtime::Tokio;
use parking_lot::Mutex;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle};

use crate::fork;

/// Waits for `future`, with the interpreter left to other threads.
///
/// # Errors
///
/// `KeyboardInterrupt`, or whatever else a signal's handler raises: then the future is dropped. An `OSError` where no thread can
/// be started.
pub(crate) fn block_on<F>(py: Python<'_>, future: F) -> PyResult<F::Output>
where
    F: Future<Output: Send> + Send,
{
    let handle = handle(py)?;
    let mut future = pin!(future);
    loop {
        let polled = py.detach(|| {
            let _runtime = handle.enter();
            poll_until(future.as_mut(), Instant::now() + SIGNALS)
        });
        if let Some(output) = polled {
            return Ok(output);
        }
        py.check_signals()?;
    }
}

/// One `T` for the blocking calls of this process; a child of `fork` makes its own.
pub(crate) struct PerProcess<T>(Mutex<Option<(u32, T)>>);

impl<T: Clone> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// What is kept: made now, on the runtime of the blocking calls, where there is nothing yet.
    ///
    /// # Errors
    ///
    /// An `OSError` where no thread can be started.
    pub(crate) fn here(&self, py: Python<'_>, make: impl FnOnce(Tokio) -> T) -> PyResult<T> {
        if let Some((generation, value)) = &*self.0.lock()
            && *generation == fork::generation()
        {
            return Ok(value.clone());
        }
        let value = make(Tokio::new(handle(py)?));
        let mut kept = self.0.lock();
        match &*kept {
            // Another thread came first, and this one's is dropped once the lock is free.
            Some((generation, first)) if *generation == fork::generation() => Ok(first.clone()),
            // A parent's has its parent's sockets and locks.
            _ => {
                std::mem::forget(kept.replace((fork::generation(), value.clone())));
                Ok(value)
            }
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if let Some(kept) = self.0.get_mut().take_if(|(generation, _)| *generation != fork::generation()) {
            std::mem::forget(kept);
        }
    }
}

fn handle(_: Python<'_>) -> PyResult<Handle> {
    let mut kept = HANDLE.lock();
    if let Some((generation, handle)) = &*kept
        && *generation == fork::generation()
    {
        return Ok(handle.clone());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name("donjon".to_owned()).spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    // A parent's has sockets that are not this process's, and a thread that is not here.
    std::mem::forget(kept.replace((fork::generation(), handle.clone())));
    Ok(handle)
}

fn poll_until<F: Future>(mut future: Pin<&mut F>, end: Instant) -> Option<F::Output> {
    let me = Arc::new(Parked { thread: thread::current(), woken: AtomicBool::new(true) });
    let waker = Waker::from(Arc::clone(&me));
    let mut context = Context::from_waker(&waker);
    loop {
        if me.woken.swap(false, Ordering::AcqRel)
            && let Poll::Ready(output) = future.as_mut().poll(&mut context)
        {
            return Some(output);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        if !me.woken.load(Ordering::Acquire) {
            thread::park_timeout(left);
        }
    }
}

/// A thread that waits.
struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

/// Taken by who is attached to the interpreter, so that no `fork` finds it locked.
static HANDLE: Mutex<Option<(u32, Handle)>> = Mutex::new(None);

/// How often a thread that waits looks whether a signal came.
const SIGNALS: Duration = Duration::from_millis(50);
