//! Event loop: the calls of an asyncio event loop that are made from here.
//!
//! Owns the loop and its bound methods. Must not know what is watched, nor when. Whoever holds one shows it to the collector,
//! since the loop holds its holder.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, intern};
use tokio::sync::oneshot;

use super::inbox::Resolved;

pub(super) struct EventLoop {
    itself: Py<PyAny>,
    create_future: Py<PyAny>,
    call_soon: Py<PyAny>,
    turn: Py<PyAny>,
    ring: Py<PyAny>,
}

impl EventLoop {
    /// The loop that runs in this thread.
    ///
    /// # Errors
    ///
    /// A `RuntimeError` that says what to do, where none runs.
    pub(super) fn running(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        static RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        RUNNING.import(py, "asyncio", "get_running_loop")?.call0().map_err(|_| {
            PyRuntimeError::new_err(
                "no running event loop in this thread: await the cache in an `async def`, or use `cache.sync`, which blocks",
            )
        })
    }

    /// `turn` is what is to be called soon, `ring` what is to be called at the time of the alarm.
    pub(super) fn new(itself: &Bound<'_, PyAny>, turn: Py<PyAny>, ring: Py<PyAny>) -> PyResult<Self> {
        Ok(Self {
            create_future: itself.getattr("create_future")?.unbind(),
            call_soon: itself.getattr("call_soon")?.unbind(),
            itself: itself.clone().unbind(),
            turn,
            ring,
        })
    }

    pub(super) fn future(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.create_future.call0(py)
    }

    /// Calls `turn` once whoever may go on now has done so.
    pub(super) fn turn_soon(&self, py: Python<'_>) -> PyResult<()> {
        self.call_soon.call1(py, (&self.turn,)).map(drop)
    }

    /// Calls `ring` after `span`; what it gives can be cancelled.
    pub(super) fn ring_after(&self, py: Python<'_>, span: Duration) -> PyResult<Py<PyAny>> {
        self.itself.call_method1(py, intern!(py, "call_later"), (span.as_secs_f64(), &self.ring))
    }

    pub(super) fn watch_read(&self, descriptor: RawFd, call: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = call.py();
        self.itself.call_method1(py, intern!(py, "add_reader"), (descriptor, call)).map(drop)
    }

    pub(super) fn watch_write(&self, descriptor: RawFd, call: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = call.py();
        self.itself.call_method1(py, intern!(py, "add_writer"), (descriptor, call)).map(drop)
    }

    pub(super) fn leave_read(&self, py: Python<'_>, descriptor: RawFd) -> PyResult<()> {
        self.itself.call_method1(py, intern!(py, "remove_reader"), (descriptor,)).map(drop)
    }

    pub(super) fn leave_write(&self, py: Python<'_>, descriptor: RawFd) -> PyResult<()> {
        self.itself.call_method1(py, intern!(py, "remove_writer"), (descriptor,)).map(drop)
    }

    /// Looks a name up, where the loop does so: never in this thread.
    pub(super) fn look_up(
        &self,
        py: Python<'_>,
        host: &str,
        port: u16,
        answer: oneshot::Sender<Resolved>,
    ) -> PyResult<()> {
        let itself = self.itself.bind(py);
        let options = PyDict::new(py);
        options.set_item(intern!(py, "type"), py.import("socket")?.getattr("SOCK_STREAM")?)?;
        let looking = itself.call_method("getaddrinfo", (host, port), Some(&options))?;
        let looking = itself.call_method1("create_task", (looking,))?;
        looking.call_method1("add_done_callback", (Answer(Mutex::new(Some(answer))),)).map(drop)
    }

    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        [&self.itself, &self.create_future, &self.call_soon, &self.turn, &self.ring]
            .into_iter()
            .try_for_each(|kept| visit.call(kept))
    }
}

/// Hands on what a look-up found.
#[pyclass(frozen, module = "donjon._donjon")]
struct Answer(Mutex<Option<oneshot::Sender<Resolved>>>);

#[pymethods]
impl Answer {
    fn __call__(&self, looking: &Bound<'_, PyAny>) {
        let Some(answer) = self.0.lock().take() else { return };
        let found = looking.call_method0("result").and_then(|found| addresses(&found));
        // Who asked may have given up.
        let _ = answer.send(found.map_err(|error| io::Error::other(error.to_string())));
    }
}

fn addresses(found: &Bound<'_, PyAny>) -> PyResult<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for entry in found.try_iter()? {
        let address = entry?.get_item(4)?;
        let (host, port): (String, u16) = (address.get_item(0)?.extract()?, address.get_item(1)?.extract()?);
        if let Ok(host) = host.parse::<IpAddr>() {
            addresses.push(SocketAddr::new(host, port));
        }
    }
    Ok(addresses)
}
