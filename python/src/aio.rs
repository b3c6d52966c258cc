//! Aio: where the futures of the shared tier run when Python waits for them.
//!
//! Two places. An asyncio event loop runs them itself, on its own thread: [`PerLoop`] finds or makes what belongs to the running
//! loop, its connection above all, and [`Here::submit`] turns a future into one of asyncio's. A thread that blocks waits with
//! [`block_on`], while one background thread tends the connections: [`PerProcess`] keeps what belongs to them.
//!
//! ```text
//! struct Shared { engines: PerLoop<Engine<Asyncio>>, … }
//!
//! fn get<'py>(&self, py: Python<'py>, key: Key) -> PyResult<Bound<'py, PyAny>> {
//!     let (here, engine) = self.engines.here(py, |runtime| Engine::new(runtime, …))?;
//!     here.submit(async move { engine.get(&key).await }, |py, found| to_python(py, found))
//! }
//! ```
//!
//! `submit` is for calls that end soon by themselves. Where the asyncio future is cancelled, the Rust future goes on to its end, and
//! its output is dropped in Rust: a lease gives itself up then. `submit_cancellable` is for long waits, and costs a callback more.
//!
//! | to find out | look in |
//! |---|---|
//! | what a call on the running loop looks like | `per_loop` |
//! | when tasks run, and what the loop calls | `reactor` |
//! | how tasks are kept and polled | `executor`, `job` |
//! | how another thread is heard | `inbox` |
//! | how bytes come and go | `socket`, `source` |
//! | what a runtime is asked for | `runtime`, `timers` |
//! | how a thread waits | `blocking` |

mod blocking;
mod event_loop;
mod executor;
mod inbox;
mod job;
mod per_loop;
mod reactor;
mod runtime;
mod socket;
mod source;
mod timers;

pub(crate) use blocking::{PerProcess, block_on};
pub(crate) use per_loop::PerLoop;
pub(crate) use runtime::Asyncio;
