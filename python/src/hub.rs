//! Hub: the channels of this process as Python sees them.
//!
//! Converts names, messages and wakers; who hears what is the core's to say. A message is kept as the cache keeps a value:
//! each listener gets a copy of its own.

use std::num::NonZeroUsize;
use std::sync::Arc;

use donjon::pubsub::Naming;
use donjon_core::pubsub::{Hub as CoreHub, Subscription as CoreSubscription};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::text;
use crate::value::{Kept, encode};
use crate::waiting::Waiting;
use crate::wake::waker;

#[derive(Debug)]
struct Message {
    data: Kept,
    received_at: f64,
}

#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Hub {
    own: CoreHub<Message>,
    /// Apart from the cache's own, as over Redis, where the names differ.
    literal: CoreHub<Message>,
    foreign: Option<Py<PyAny>>,
}

#[pymethods]
impl Hub {
    #[new]
    #[pyo3(signature = (foreign = None))]
    fn new(foreign: Option<Py<PyAny>>) -> Self {
        Self { own: CoreHub::default(), literal: CoreHub::default(), foreign }
    }

    /// How many hear it. What is no value is refused, whether anybody listens or not.
    #[pyo3(signature = (channel, data, received_at, raw = false, /))]
    fn publish(
        &self,
        channel: &Bound<'_, PyAny>,
        data: &Bound<'_, PyAny>,
        received_at: f64,
        raw: bool,
    ) -> PyResult<usize> {
        let channel = text::key(channel)?;
        let data = encode(data, self.foreign.as_ref().map(|foreign| foreign.bind(data.py())))?;
        Ok(self.named(naming(raw)).publish(channel, Message { data, received_at }))
    }

    /// Listens from now on, keeping the newest `limit` messages.
    #[pyo3(signature = (channels, limit = 1000, raw = false, /))]
    #[expect(clippy::needless_pass_by_value, reason = "what pyo3 extracts is owned")]
    fn subscribe(&self, channels: Vec<Bound<'_, PyAny>>, limit: usize, raw: bool) -> PyResult<Subscription> {
        let limit = NonZeroUsize::new(limit)
            .ok_or_else(|| PyValueError::new_err("`limit` is how many messages may wait, at least 1"))?;
        let channels = channels.iter().map(text::key).collect::<PyResult<Vec<_>>>()?;
        Ok(Subscription(Arc::new(self.named(naming(raw)).subscribe(&channels, limit))))
    }
}

impl Hub {
    fn named(&self, naming: Naming) -> &CoreHub<Message> {
        match naming {
            Naming::Own => &self.own,
            Naming::Literal => &self.literal,
        }
    }
}

/// What `raw` says of a channel's name.
pub(crate) fn naming(raw: bool) -> Naming {
    if raw { Naming::Literal } else { Naming::Own }
}

/// One listener. Dropping it ends it.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Subscription(Arc<CoreSubscription<Message>>);

#[pymethods]
impl Subscription {
    /// Messages lost because `limit` were waiting already.
    #[getter]
    fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    /// The oldest message not taken yet: its channel, a copy of its data, when it came.
    fn take(&self, py: Python<'_>) -> PyResult<Option<(String, Py<PyAny>, f64)>> {
        let Some(heard) = self.0.take() else { return Ok(None) };
        Ok(Some((heard.channel.to_string(), heard.message.data.copy(py)?, heard.message.received_at)))
    }

    /// Calls `wake` at the next message or at the end. None, and no call, where a message is waiting or it is closed.
    #[pyo3(signature = (wake, /))]
    fn notify(&self, wake: Bound<'_, PyAny>) -> Option<Waiting> {
        let place = self.0.wait(waker(wake))?;
        let listener = Arc::downgrade(&self.0);
        Some(Waiting::new(f64::INFINITY, move || {
            if let Some(listener) = listener.upgrade() {
                listener.leave(place);
            }
        }))
    }

    /// Listens no more: who waits is woken, and what was not taken is dropped.
    fn close(&self) {
        self.0.close();
    }
}
