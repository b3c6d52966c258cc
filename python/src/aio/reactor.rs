//! Reactor: what makes an asyncio event loop run Rust futures, on its own thread and with no other.
//!
//! Owns the executor, and when it has its turn: at once where nothing is in flight, else after everything that the loop has ready,
//! so that what many tasks ask in one iteration of the loop goes out in one write. Must not know what the futures are about.
//! Invariants: Python is called with no lock held; the executor is entered by `try_lock` only, as any call of Python's may come
//! back here; what belongs to a parent process or a closed loop is not touched.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use donjon::runtime::Runtime;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, intern};
use tokio::sync::oneshot;

use super::event_loop::EventLoop;
use super::executor::Executor;
use super::inbox::{Errand, Inbox};
use super::job::Call;
use super::runtime::Asyncio;
use super::source::Source;

pub(super) struct Reactor {
    inbox: Arc<Inbox>,
    executor: Mutex<Executor>,
    /// None once the loop is closed.
    event_loop: Mutex<Option<Arc<EventLoop>>>,
    alarm: Mutex<Option<Py<PyAny>>>,
    /// Whether the loop will call for a turn.
    expected: AtomicBool,
    /// Whether many were in flight lately, so that more are likely to come in this iteration of the loop.
    crowded: AtomicBool,
}

impl Reactor {
    /// A reactor that the loop keeps alive, and that ends with it.
    pub(super) fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let py = event_loop.py();
        let reactor = Arc::new(Self {
            inbox: Arc::new(Inbox::new()?),
            executor: Mutex::default(),
            event_loop: Mutex::default(),
            alarm: Mutex::default(),
            expected: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
        });
        let turn = Bound::new(py, Turn(Arc::clone(&reactor)))?;
        let kept = EventLoop::new(event_loop, turn.getattr("turn")?.unbind(), turn.getattr("ring")?.unbind())?;
        let kept = Arc::new(kept);
        *reactor.event_loop.lock() = Some(Arc::clone(&kept));
        let ear = Bound::new(py, Ear(Arc::clone(&reactor)))?;
        if let Some(descriptor) = reactor.inbox.ear() {
            kept.watch_read(descriptor, &ear.getattr("hear")?)?;
        }
        Ok(reactor)
    }

    /// Whether it is of this process, and its loop is not closed.
    pub(super) fn is_alive(&self) -> bool {
        self.is_ours() && self.event_loop.lock().is_some()
    }

    /// Whether it was made in this process, not before a `fork`.
    pub(super) fn is_ours(&self) -> bool {
        self.inbox.is_ours()
    }

    pub(super) fn runtime(&self) -> Asyncio {
        Asyncio(Arc::clone(&self.inbox))
    }

    /// Starts a future; the asyncio future given back ends with what `convert` makes of its output.
    pub(super) fn submit<F, C>(self: &Arc<Self>, py: Python<'_>, future: F, convert: C) -> PyResult<Py<PyAny>>
    where
        F: Future<Output: Send> + Send + 'static,
        C: FnOnce(Python<'_>, F::Output) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        let event_loop = self.event_loop()?;
        let awaited = event_loop.future(py)?;
        let job = Box::pin(Call::new(future, convert, awaited.clone_ref(py)));
        let _inside = self.inbox.enter();
        let Some(mut executor) = self.executor.try_lock() else {
            // Whoever is at it further up in this thread finds it.
            self.inbox.start(job);
            return Ok(awaited);
        };
        let over = executor.start(job, &self.inbox);
        let alone = executor.awaited() <= 1;
        drop(executor);
        if let Some(job) = over {
            job.finish(py)?;
        }
        if !self.expected.load(Ordering::Relaxed) && !self.inbox.is_empty() {
            if alone && !self.crowded.load(Ordering::Relaxed) {
                self.run(py)?;
            } else {
                self.expect(py, &event_loop)?;
            }
        }
        Ok(awaited)
    }

    /// As `submit`, for what may take long: the future is dropped as soon as the asyncio future is cancelled.
    pub(super) fn submit_cancellable<F, C>(
        self: &Arc<Self>,
        py: Python<'_>,
        future: F,
        convert: C,
    ) -> PyResult<Py<PyAny>>
    where
        F: Future<Output: Send> + Send + 'static,
        C: FnOnce(Python<'_>, F::Output) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        let (wanted, unwanted) = oneshot::channel();
        let until_unwanted = UntilUnwanted { future, unwanted };
        let awaited = self.submit(py, until_unwanted, |py, output| match output {
            Some(output) => convert(py, output),
            None => Err(PyRuntimeError::new_err("the call was given up")),
        })?;
        let end = End { reactor: Arc::clone(self), wanted: Mutex::new(Some(wanted)) };
        awaited.call_method1(py, intern!(py, "add_done_callback"), (end,))?;
        Ok(awaited)
    }

    fn event_loop(&self) -> PyResult<Arc<EventLoop>> {
        let kept = self.event_loop.lock().clone();
        kept.ok_or_else(|| PyRuntimeError::new_err("the event loop is closed"))
    }

    /// Lets the loop call for a turn; takes it now, where the loop could not be asked.
    fn expect(self: &Arc<Self>, py: Python<'_>, event_loop: &EventLoop) -> PyResult<()> {
        if self.expected.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        event_loop.turn_soon(py).or_else(|error| {
            self.expected.store(false, Ordering::Relaxed);
            self.run(py)?;
            Err(error)
        })
    }

    /// Lets everybody go on who can.
    ///
    /// # Errors
    ///
    /// What is to end the loop, such as a `KeyboardInterrupt`. Everybody has gone on nevertheless.
    fn run(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let _inside = self.inbox.enter();
        let (mut over, mut errands, mut finished) = (Vec::new(), Vec::new(), 0);
        let mut ended = Ok(());
        let mut note = |done: PyResult<()>| match done {
            Ok(()) => {}
            Err(error) if error.is_instance_of::<PyException>(py) => error.write_unraisable(py, None),
            fatal => ended = fatal,
        };
        loop {
            // Whoever is at it further up in this thread goes on until nothing is left.
            let Some(mut executor) = self.executor.try_lock() else { break };
            let all = executor.run(&self.inbox, &mut over, &mut errands);
            let awaited = executor.awaited();
            drop(executor);
            for errand in errands.drain(..) {
                note(self.run_errand(py, errand));
            }
            for job in over.drain(..) {
                finished += usize::from(job.is_awaited());
                note(job.finish(py));
            }
            if finished > 0 {
                self.crowded.store(finished > 1 || awaited > 0, Ordering::Relaxed);
            }
            if !all {
                // The loop and its other callbacks come first, for once.
                note(self.event_loop().and_then(|event_loop| self.expect(py, &event_loop)));
                break;
            }
            if self.inbox.is_empty() {
                break;
            }
        }
        ended
    }

    fn run_errand(self: &Arc<Self>, py: Python<'_>, errand: Errand) -> PyResult<()> {
        let event_loop = self.event_loop()?;
        match errand {
            Errand::WatchRead(source) => {
                let watched = self.watch(py, &source).and_then(|watch| {
                    event_loop.watch_read(source.descriptor(), &watch.getattr(intern!(py, "readable"))?)
                });
                watched.inspect_err(|error| source.read.fail(error.to_string()))
            }
            Errand::WatchWrite(source) => {
                let watched = self.watch(py, &source).and_then(|watch| {
                    event_loop.watch_write(source.descriptor(), &watch.getattr(intern!(py, "writable"))?)
                });
                watched.inspect_err(|error| source.write.fail(error.to_string()))
            }
            Errand::LeaveRead(source) => event_loop.leave_read(py, source.descriptor()),
            Errand::LeaveWrite(source) => event_loop.leave_write(py, source.descriptor()),
            Errand::Close(source) => {
                let read =
                    if source.read.watch(false) { event_loop.leave_read(py, source.descriptor()) } else { Ok(()) };
                let write =
                    if source.write.watch(false) { event_loop.leave_write(py, source.descriptor()) } else { Ok(()) };
                read.and(write)
            }
            Errand::Resolve(host, port, answer) => event_loop.look_up(py, &host, port, answer),
            Errand::Alarm => self.set_alarm(py, &event_loop),
        }
    }

    fn watch<'py>(self: &Arc<Self>, py: Python<'py>, source: &Arc<Source>) -> PyResult<Bound<'py, Watch>> {
        Bound::new(py, Watch { reactor: Arc::clone(self), source: Arc::clone(source) })
    }

    fn set_alarm(&self, py: Python<'_>, event_loop: &EventLoop) -> PyResult<()> {
        // A loop may be a little early, by its own clock: then the rest of the time is waited for, but not in circles.
        let span = (self.inbox.next_alarm() - self.runtime().now()).max(Duration::from_millis(1));
        let alarm = event_loop.ring_after(py, span)?;
        let former = self.alarm.lock().replace(alarm);
        if let Some(former) = former {
            former.call_method0(py, intern!(py, "cancel"))?;
        }
        Ok(())
    }

    fn ring(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let _inside = self.inbox.enter();
        let rung = self.alarm.lock().take();
        drop(rung);
        if self.inbox.alarm(self.runtime().now()).is_some() {
            self.inbox.send(Errand::Alarm);
        }
        self.run(py)
    }

    /// The loop is closed or gone: everything that runs or waits here is dropped, and with it the sockets.
    fn close(&self) {
        let left = self.inbox.close();
        // It is free: a loop that is closed does not run.
        let executor = self.executor.try_lock().map(|mut executor| std::mem::take(&mut *executor));
        let (event_loop, alarm) = (self.event_loop.lock().take(), self.alarm.lock().take());
        drop((executor, left, alarm, event_loop));
    }

    /// Shows the collector what is kept here; what is in use shows that it is.
    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let (Some(executor), Some(event_loop), Some(alarm)) =
            (self.executor.try_lock(), self.event_loop.try_lock(), self.alarm.try_lock())
        {
            executor.visit(visit)?;
            event_loop.iter().try_for_each(|kept| kept.visit(visit))?;
            alarm.iter().try_for_each(|kept| visit.call(kept))?;
        }
        Ok(())
    }
}

/// What the loop calls when the bell rings. Only the loop holds it: once it lets go, it is closed.
#[pyclass(frozen, module = "donjon._donjon")]
struct Ear(Arc<Reactor>);

#[pymethods]
impl Ear {
    fn hear(&self, py: Python<'_>) -> PyResult<()> {
        self.0.inbox.heard();
        self.0.run(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if self.0.is_ours() { self.0.visit(&visit) } else { Ok(()) }
    }

    fn __clear__(&self) {
        if self.0.is_ours() {
            self.0.close();
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if self.0.is_ours() {
            self.0.close();
        } else {
            // The parent's sockets and locks are left alone, and so is what has them.
            std::mem::forget(Arc::clone(&self.0));
        }
    }
}

/// What the loop calls soon, and at the time of the alarm.
#[pyclass(frozen, module = "donjon._donjon")]
struct Turn(Arc<Reactor>);

#[pymethods]
impl Turn {
    fn turn(&self, py: Python<'_>) -> PyResult<()> {
        self.0.expected.store(false, Ordering::Relaxed);
        self.0.run(py)
    }

    fn ring(&self, py: Python<'_>) -> PyResult<()> {
        self.0.ring(py)
    }
}

/// What the loop calls when a socket may be read or written.
#[pyclass(frozen, module = "donjon._donjon")]
struct Watch {
    reactor: Arc<Reactor>,
    source: Arc<Source>,
}

#[pymethods]
impl Watch {
    fn readable(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = self.reactor.inbox.enter();
        if !self.source.read.reached() && self.source.read.watch(false) {
            self.reactor.inbox.send(Errand::LeaveRead(Arc::clone(&self.source)));
        }
        self.reactor.run(py)
    }

    fn writable(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = self.reactor.inbox.enter();
        if self.source.write.watch(false) {
            self.reactor.inbox.send(Errand::LeaveWrite(Arc::clone(&self.source)));
        }
        self.source.write.reached();
        self.reactor.run(py)
    }
}

pin_project! {
    /// A future with an end before its own. As a type of its own: an `async` block would have room for the future twice.
    struct UntilUnwanted<F> {
        #[pin]
        future: F,
        unwanted: oneshot::Receiver<()>,
    }
}

impl<F: Future> Future for UntilUnwanted<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match Pin::new(this.unwanted).poll(context) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => this.future.poll(context).map(Some),
        }
    }
}

/// What is called at the end of a future that may be cancelled.
#[pyclass(frozen, module = "donjon._donjon")]
struct End {
    reactor: Arc<Reactor>,
    wanted: Mutex<Option<oneshot::Sender<()>>>,
}

#[pymethods]
impl End {
    #[pyo3(signature = (_ended, /))]
    fn __call__(&self, py: Python<'_>, _ended: &Bound<'_, PyAny>) -> PyResult<()> {
        let wanted = self.wanted.lock().take();
        match wanted {
            Some(wanted) if !wanted.is_closed() => {
                let _inside = self.reactor.inbox.enter();
                drop(wanted);
                self.reactor.run(py)
            }
            // It is over, and no reason to part what others ask just now.
            _ => Ok(()),
        }
    }
}
