//! Hub: messages between processes, as Python sees them.
//!
//! Converts names and messages; who hears what is Redis's to say, and the core's within the process.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use donjon::payload::Payload;
use donjon::pubsub::Subscription;
use donjon::runtime::Runtime;
use futures_util::future::{Either, select};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::inner::Name;
use super::{Shared, to_python};
use crate::errors::{DecodeError, Refused};
use crate::fork;
use crate::hub::naming;
use crate::value::decode;

/// The channels of a Redis. Where it waits, each call gives an asyncio future, or, of a blocking backend, its outcome.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct RemoteHub(Shared);

impl RemoteHub {
    pub(super) fn new(shared: Shared) -> Self {
        Self(shared)
    }
}

#[pymethods]
impl RemoteHub {
    /// How many processes hear it. What is no value is refused, whether anybody listens or not.
    #[pyo3(signature = (channel, data, _received_at, raw = false, /))]
    fn publish<'py>(
        &self,
        channel: &Bound<'py, PyAny>,
        data: &Bound<'py, PyAny>,
        _received_at: f64,
        raw: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, channel) = (channel.py(), Name::of(channel)?);
        let (_, payload) = self.0.inner.encode(data)?;
        self.0.run(
            py,
            |engine| async move { engine.publish(channel.key(), naming(raw), &payload).await },
            |py, heard| to_python(py, heard.map_err(Refused::raised)?),
        )
    }

    /// Listens from now on, keeping the newest `limit` messages.
    #[pyo3(signature = (channels, limit = 1000, raw = false, /))]
    fn subscribe(
        &self,
        py: Python<'_>,
        channels: Vec<Bound<'_, PyAny>>,
        limit: usize,
        raw: bool,
    ) -> PyResult<RemoteSubscription> {
        let limit = NonZeroUsize::new(limit)
            .ok_or_else(|| PyValueError::new_err("`limit` is how many messages may wait, at least 1"))?;
        let names = Name::all(&channels)?;
        let engine = self.0.engine(py)?;
        let subscription = Arc::new(engine.subscriber().listen(&names.keys(), naming(raw), limit));
        let (shared, generation) = (self.0.again(), fork::generation());
        Ok(RemoteSubscription { subscription, shared, generation })
    }
}

/// One listener. Dropping it ends it.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct RemoteSubscription {
    subscription: Arc<Subscription>,
    shared: Shared,
    generation: u32,
}

#[pymethods]
impl RemoteSubscription {
    /// Messages lost because `limit` were waiting already.
    #[getter]
    fn dropped(&self) -> u64 {
        self.subscription.dropped()
    }

    /// How often the connection was lost.
    #[getter]
    fn gaps(&self) -> u64 {
        self.subscription.gaps()
    }

    /// The oldest message not taken yet: its channel, its data, when it came.
    fn take(&self, py: Python<'_>) -> PyResult<Option<(String, Py<PyAny>, f64)>> {
        let Some(message) = self.subscription.take() else { return Ok(None) };
        let limit = self.shared.inner.options.max_reply_bytes as u64;
        let data = read(py, &message.channel, &message.payload, limit)?;
        let received_at = message.received_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Some((message.channel.to_string(), data, received_at.as_secs_f64())))
    }

    /// Waits until there is a message to take, or there will be none; `at_most` so many seconds.
    #[pyo3(signature = (at_most = None, /))]
    fn arrived<'py>(&self, py: Python<'py>, at_most: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let at_most = at_most.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let subscription = Arc::clone(&self.subscription);
        self.shared.run_long(
            py,
            |engine| async move {
                let late = async {
                    match at_most {
                        Some(at_most) => engine.runtime().sleep(at_most).await,
                        None => std::future::pending().await,
                    }
                };
                let arrived = subscription.arrived();
                let (Either::Left(_) | Either::Right(_)) = select(std::pin::pin!(arrived), std::pin::pin!(late)).await;
            },
            |py, ()| Ok(py.None()),
        )
    }

    /// Waits until Redis has confirmed the channels; false where it cannot, for now.
    fn ready<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let subscription = Arc::clone(&self.subscription);
        self.shared.run_long(
            py,
            |_| async move { subscription.ready().await },
            |py, ready| to_python(py, ready.is_ok()),
        )
    }

    /// Whether no message will come.
    #[getter]
    fn closed(&self) -> bool {
        self.subscription.is_closed()
    }

    /// Listens no more: who waits is woken, and what was not taken is dropped.
    fn close(&self) {
        self.subscription.close();
    }
}

impl Drop for RemoteSubscription {
    fn drop(&mut self) {
        // A parent's has its parent's locks: it is left as it is.
        if self.generation != fork::generation() {
            std::mem::forget(Arc::clone(&self.subscription));
        }
    }
}

/// What a message says. Others may send what is no JSON: that is bytes.
fn read(py: Python<'_>, channel: &str, payload: &Payload, limit: u64) -> PyResult<Py<PyAny>> {
    match decode(py, channel, payload, limit) {
        Err(error) if error.is_instance_of::<DecodeError>(py) => {
            Ok(PyBytes::new(py, &payload.bytes).into_any().unbind())
        }
        read => read,
    }
}
