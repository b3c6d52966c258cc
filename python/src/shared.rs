//! Shared: the Redis backend as Python sees it, awaiting or blocking.
//!
//! Converts keys, values, times and errors. What is wrong with an argument is raised by the call itself, before anything is sent;
//! what comes of it is converted on the thread that waits, with nothing locked. Must not know how Redis is asked.

#![expect(clippy::needless_pass_by_value, reason = "what pyo3 extracts is owned")]

mod begun;
mod held;
mod hub;
mod inner;
mod locks;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use donjon::engine::Looked;
use donjon::runtime::now;
use donjon_core::pattern::Pattern;
use donjon_core::remote::look::Want;
use donjon_core::remote::sight::Header;
use donjon_core::rules::Targets;
use donjon_core::version::Ticket;
use futures_util::future::join_all;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyList, PyMapping};

use crate::errors::Refused;
use crate::names::{grace_seconds, seconds};
use crate::sentinel::miss;
use crate::terms::{read_items, texts};
use crate::text;
use crate::value::Kept;

pub(crate) use begun::{Failed, RemoteLease};
pub(crate) use hub::{RemoteHub, RemoteSubscription};
use inner::{Face, Inner, Name, Named};
pub(crate) use locks::RemoteLocks;

/// The Redis backend. Each call gives an asyncio future, or, of what `blocking` gives, its outcome.
#[pyclass(frozen, weakref, module = "donjon._donjon")]
pub(crate) struct Shared {
    inner: Arc<Inner>,
    face: Face,
}

#[pymethods]
impl Shared {
    #[new]
    #[pyo3(signature = (url, told, *, namespace = "app", max_value_bytes = 16 << 20, ttl_classes = None, default_ttl = None,
        jitter = 0.0, early = 1.0, load_timeout = 30.0, enabled = true, foreign = None, ca = None, connect_timeout = 0.25,
        command_timeout = 0.1, near = false, near_broadcast = false, near_max_stale = 0.0, max_bytes = 256 << 20,
        max_entries = None))]
    #[expect(clippy::too_many_arguments, reason = "named in Python, each with a default")]
    fn new(
        url: &str,
        told: Py<PyAny>,
        namespace: &str,
        max_value_bytes: u64,
        ttl_classes: Option<HashMap<String, f64>>,
        default_ttl: Option<&Bound<'_, PyAny>>,
        jitter: f64,
        early: f64,
        load_timeout: f64,
        enabled: bool,
        foreign: Option<Py<PyAny>>,
        ca: Option<Vec<u8>>,
        connect_timeout: f64,
        command_timeout: f64,
        near: bool,
        near_broadcast: bool,
        near_max_stale: f64,
        max_bytes: u64,
        max_entries: Option<u64>,
    ) -> PyResult<Self> {
        let options = inner::options(url, ca, connect_timeout, command_timeout, max_value_bytes)?;
        let terms = crate::terms::Terms::new(None, ttl_classes, default_ttl, foreign)?;
        let config = crate::terms::config(jitter, early, load_timeout)?;
        let near = near.then(|| inner::near(near_broadcast, near_max_stale, max_bytes, max_entries)).transpose()?;
        let inner = Inner::new(namespace, &config, max_value_bytes, options, terms, told, near)?;
        inner.tier.switch(enabled);
        Ok(Self { inner: Arc::new(inner), face: Face::Awaiting })
    }

    /// The same, for threads that block.
    fn blocking(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), face: Face::Blocking }
    }

    #[getter]
    fn locks(&self) -> RemoteLocks {
        RemoteLocks::new(self.again())
    }

    #[getter]
    fn hub(&self) -> RemoteHub {
        RemoteHub::new(self.again())
    }

    #[getter]
    fn namespace(&self) -> &str {
        self.inner.tier.remote().names().namespace().as_str()
    }

    /// Where it is, without a password.
    #[getter]
    fn url(&self) -> String {
        self.inner.options.target.to_string()
    }

    #[getter]
    fn get_enabled(&self) -> bool {
        self.inner.tier.remote().is_enabled()
    }

    #[setter]
    fn set_enabled(&self, enabled: bool) {
        self.inner.tier.switch(enabled);
    }

    fn ping<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, |engine| async move { engine.ping().await }, |py, asked| to_python(py, asked.is_ok()))
    }

    /// Says what is owed, and closes.
    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let inner = Arc::clone(&self.inner);
        let closed = move |py: Python<'_>, ()| to_python(py, inner.tier.stats().queued);
        self.run(py, |engine| async move { engine.close(LAST_WORDS).await }, closed)
    }

    // -- reads

    /// What memory in front has: a value, counted as a hit, or MISS, counted as nothing.
    #[pyo3(signature = (key, reader = None, /))]
    fn hit(&self, key: &Bound<'_, PyAny>, reader: Option<u64>) -> PyResult<Py<PyAny>> {
        self.inner.hit(key.py(), text::key(key)?, reader)
    }

    #[pyo3(signature = (key, default = None, reader = None, /))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Py<PyAny>>,
        reader: Option<u64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, name, inner) = (key.py(), Name::of(key)?, Arc::clone(&self.inner));
        self.run(
            py,
            |engine| async move { (engine.get(name.key()).await, name) },
            move |py, (found, name)| {
                let value = inner.found(py, &name, found, reader)?;
                Ok(value.or(default).unwrap_or_else(|| py.None()))
            },
        )
    }

    fn get_many<'py>(&self, py: Python<'py>, keys: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let (names, inner) = (Name::all(&keys)?, Arc::clone(&self.inner));
        let keys: Vec<Py<PyAny>> = keys.into_iter().map(Bound::unbind).collect();
        self.run(
            py,
            |engine| async move {
                let found = engine.get_many(&names.keys()).await;
                (found, names)
            },
            move |py, (found, names)| {
                let values = PyDict::new(py);
                for ((payload, name), key) in found.into_iter().zip(names.0).zip(keys) {
                    if let Some(value) = inner.found(py, &name, payload, None)? {
                        values.set_item(key, value)?;
                    }
                }
                Ok(values.into_any().unbind())
            },
        )
    }

    fn exists<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.peek(key, |py, peeked| to_python(py, matches!(peeked, Ok(Some(_)))))
    }

    fn ttl<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.peek(key, |py, peeked| {
            let fresh_for = peeked.ok().flatten().map(|peeked| seconds_of(peeked.fresh_for));
            to_python(py, fresh_for)
        })
    }

    fn explain<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (py, name, inner) = (key.py(), Name::of(key)?, Arc::clone(&self.inner));
        self.run(
            py,
            |engine| async move {
                let known = engine.tier().front().and_then(|front| front.memory.explain(name.key(), now()));
                let peeked = if known.is_none() { engine.peek(name.key()).await } else { Ok(None) };
                (known, peeked, engine.is_left_alone())
            },
            move |py, (known, peeked, is_left_alone)| {
                if let Err(fault) = &peeked {
                    inner.tier.remote().noticed(fault);
                }
                let facts = match known {
                    Some(known) => crate::terms::explained(py, known, now())?,
                    None => inner::explained(py, peeked)?,
                };
                inner.show_coherence(&facts)?;
                facts.set_item("redis_left_alone", is_left_alone)?;
                Ok(facts.into_any().unbind())
            },
        )
    }

    // -- loads

    fn ticket(&self) -> u64 {
        self.inner.tier.remote().ticket().get()
    }

    #[pyo3(signature = (key, since, own, tags, impatient, counted, reader, failures, /))]
    #[expect(clippy::too_many_arguments, reason = "what a look-up that may load depends on")]
    fn begin<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        since: Option<u64>,
        own: Vec<u64>,
        tags: Option<Vec<Bound<'py, PyAny>>>,
        impatient: bool,
        counted: bool,
        reader: Option<u64>,
        failures: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, name, inner) = (key.py(), Name::of(key)?, Arc::clone(&self.inner));
        let want = Want { impatient, counted, failures, ..want(since, &own, tags.as_deref())? };
        self.run_long(
            py,
            |engine| async move { (engine.look(name.key(), want).await, name) },
            move |py, (looked, name)| inner.begun(py, &name, looked, reader),
        )
    }

    /// As `begin` for each of these, none of which waits; MISS where one would have to, or cannot be read.
    fn begin_many<'py>(
        &self,
        py: Python<'py>,
        keys: Vec<Bound<'py, PyAny>>,
        own: Vec<u64>,
        tags: Vec<Bound<'py, PyAny>>,
        reader: Option<u64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (names, inner) = (Name::all(&keys)?, Arc::clone(&self.inner));
        let want = Want { impatient: true, ..want(None, &own, Some(&tags))? };
        self.run(
            py,
            |engine| async move {
                let looks = names.0.iter().map(|name| engine.look(name.key(), want.clone()));
                let looked = join_all(looks).await;
                (looked, names)
            },
            move |py, (looked, names)| {
                let steps = PyList::empty(py);
                for (looked, name) in looked.into_iter().zip(&names.0) {
                    match looked {
                        Looked::Value(payload) => {
                            let value = inner.found(py, name, Some(payload), reader)?;
                            steps.append(value.unwrap_or_else(|| miss(py).clone().unbind()))?;
                        }
                        looked => steps.append(inner.begun(py, name, looked, reader)?)?,
                    }
                }
                Ok(steps.into_any().unbind())
            },
        )
    }

    #[pyo3(signature = (key, reader = None, /))]
    fn bypass<'py>(&self, key: &Bound<'py, PyAny>, reader: Option<u64>) -> PyResult<Bound<'py, PyAny>> {
        let (py, name, inner) = (key.py(), Name::of(key)?, Arc::clone(&self.inner));
        self.run(
            py,
            |engine| async move { (engine.bypass(name.key()).await, name) },
            move |py, (looked, name)| inner.begun(py, &name, looked, reader),
        )
    }

    /// Stores `value` unless something was invalidated since; gives the copy a reader would get.
    #[pyo3(signature = (lease, value, ttl = None, grace = None, tags = Vec::new(), /))]
    fn fill<'py>(
        &self,
        py: Python<'py>,
        lease: &Bound<'py, RemoteLease>,
        value: &Bound<'py, PyAny>,
        ttl: Option<&Bound<'py, PyAny>>,
        grace: Option<&Bound<'py, PyAny>>,
        tags: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let storing = self.inner.storing(ttl, grace, &tags)?;
        let (kept, payload) = self.inner.encode(value)?;
        let payload = payload.of_type(lease.get().reader());
        let (right, stored) = lease.get().take_to_fill()?;
        self.run(py, |_| async move { stored.note(right.fill(payload, &storing).await) }, move |py, ()| kept.copy(py))
    }

    /// Gives `value` to those who wait and stores nothing; gives back a copy.
    #[pyo3(signature = (lease, value, tags = Vec::new(), /))]
    fn pass_on<'py>(
        &self,
        py: Python<'py>,
        lease: &Bound<'py, RemoteLease>,
        value: &Bound<'py, PyAny>,
        tags: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let storing = self.inner.storing(None, None, &tags)?;
        let (kept, payload) = self.inner.encode(value)?;
        let payload = payload.of_type(lease.get().reader());
        let (right, stored) = lease.get().take_to_fill()?;
        self.run(py, |_| async move { stored.note(right.pass(payload, &storing).await) }, move |py, ()| kept.copy(py))
    }

    /// Stores how the load failed, unless something was invalidated since; those who wait get it as well.
    #[pyo3(signature = (lease, said, ttl, tags, /))]
    fn remember<'py>(
        &self,
        py: Python<'py>,
        lease: &Bound<'py, RemoteLease>,
        said: &Bound<'py, PyAny>,
        ttl: Option<&Bound<'py, PyAny>>,
        tags: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let storing = self.inner.storing(ttl, None, &tags)?;
        let payload = self.inner.encode(said)?.1.of_failure();
        let (right, stored) = lease.get().take_to_fill()?;
        self.run(py, |_| async move { stored.note(right.fill(payload, &storing).await) }, |py, ()| Ok(py.None()))
    }

    /// As `fill` for each of these pairs, in one go; gives the list of copies.
    #[pyo3(signature = (pairs, ttl = None, grace = None, tags = Vec::new(), /))]
    fn fill_many<'py>(
        &self,
        py: Python<'py>,
        pairs: Vec<(Bound<'py, RemoteLease>, Bound<'py, PyAny>)>,
        ttl: Option<&Bound<'py, PyAny>>,
        grace: Option<&Bound<'py, PyAny>>,
        tags: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let storing = self.inner.storing(ttl, grace, &tags)?;
        let encode = |(lease, value): &(Bound<'_, RemoteLease>, _)| {
            let (kept, payload) = self.inner.encode(value)?;
            Ok((kept, payload.of_type(lease.get().reader())))
        };
        let encoded = pairs.iter().map(encode).collect::<PyResult<Vec<_>>>()?;
        let (kept, payloads): (Vec<Kept>, Vec<_>) = encoded.into_iter().unzip();
        let rights = pairs.iter().map(|(lease, _)| lease.get().take_to_fill()).collect::<PyResult<Vec<_>>>()?;
        self.run(
            py,
            |_| async move {
                let fills = rights.into_iter().zip(payloads).map(|((right, stored), payload)| {
                    let storing = &storing;
                    async move { stored.note(right.fill(payload, storing).await) }
                });
                join_all(fills).await;
            },
            move |py, ()| {
                let copies = kept.iter().map(|kept| kept.copy(py)).collect::<PyResult<Vec<_>>>()?;
                Ok(PyList::new(py, copies)?.into_any().unbind())
            },
        )
    }

    fn seconds(&self, ttl: Option<&Bound<'_, PyAny>>) -> PyResult<f64> {
        self.inner.terms.ttl(ttl).map(seconds)
    }

    fn grace_seconds(&self, grace: Option<&Bound<'_, PyAny>>) -> PyResult<f64> {
        self.inner.terms.grace(grace).map(grace_seconds)
    }

    // -- writes

    #[pyo3(signature = (key, value, ttl = None, grace = None, tags = Vec::new(), made_from = None, /))]
    fn set<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        ttl: Option<&Bound<'py, PyAny>>,
        grace: Option<&Bound<'py, PyAny>>,
        tags: Vec<Bound<'py, PyAny>>,
        made_from: Option<u64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, name, inner) = (key.py(), Name::of(key)?, Arc::clone(&self.inner));
        let storing = self.inner.storing(ttl, grace, &tags)?;
        let payload = self.inner.encode(value)?.1.of_type(made_from);
        let fits = self.inner.tier.remote().fits(&payload);
        self.run(
            py,
            |engine| async move { engine.set(name.key(), &payload, &storing).await },
            move |py, arrived| inner.stored(py, arrived, fits),
        )
    }

    #[pyo3(signature = (items, ttl = None, grace = None, tags = Vec::new(), /))]
    fn set_many<'py>(
        &self,
        items: &Bound<'py, PyAny>,
        ttl: Option<&Bound<'py, PyAny>>,
        grace: Option<&Bound<'py, PyAny>>,
        tags: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, inner) = (items.py(), Arc::clone(&self.inner));
        let (keys, values) = read_items(items.cast::<PyMapping>()?)?;
        let names = Name::all(&keys)?;
        let storing = self.inner.storing(ttl, grace, &tags)?;
        let payloads = values.iter().map(|value| Ok(self.inner.encode(value)?.1)).collect::<PyResult<Vec<_>>>()?;
        let fits = payloads.iter().all(|payload| self.inner.tier.remote().fits(payload));
        self.run(
            py,
            |engine| async move {
                let items: Vec<_> = names.keys().into_iter().zip(payloads).collect();
                engine.set_many(&items, &storing).await
            },
            move |py, arrived| inner.stored(py, arrived, fits),
        )
    }

    #[pyo3(signature = (key, value, ttl = None, /))]
    fn add<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        ttl: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, name) = (key.py(), Name::of(key)?);
        let storing = self.inner.storing(ttl, None, &[])?;
        let (_, payload) = self.inner.encode(value)?;
        self.run(
            py,
            |engine| async move { engine.add(name.key(), &payload, &storing).await },
            |py, added| to_python(py, added.map_err(Refused::raised)?),
        )
    }

    #[pyo3(signature = (key, by = 1, ttl = None, /))]
    fn incr<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        by: i64,
        ttl: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, name, ttl) = (key.py(), Name::of(key)?, self.inner.terms.ttl(ttl)?);
        self.run(
            py,
            |engine| async move { engine.increment(name.key(), by, ttl).await },
            |py, sum| to_python(py, sum.map_err(Refused::raised)?),
        )
    }

    fn touch<'py>(&self, key: &Bound<'py, PyAny>, ttl: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let (py, name, ttl) = (key.py(), Name::of(key)?, self.inner.terms.ttl(ttl)?);
        self.run(
            py,
            |engine| async move { engine.touch(name.key(), ttl).await },
            |py, touched| to_python(py, touched.map_err(Refused::raised)?),
        )
    }

    // -- invalidation

    fn delete<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (py, name, inner) = (key.py(), Name::of(key)?, Arc::clone(&self.inner));
        self.run(
            py,
            |engine| async move { engine.delete(name.key()).await },
            move |py, removed| inner.removed(py, removed),
        )
    }

    fn delete_many<'py>(&self, py: Python<'py>, keys: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let (names, inner) = (Name::all(&keys)?, Arc::clone(&self.inner));
        self.run(
            py,
            |engine| async move { engine.delete_many(&names.keys()).await },
            move |py, removed| inner.removed(py, removed),
        )
    }

    fn invalidate_pattern<'py>(&self, pattern: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (py, inner) = (pattern.py(), Arc::clone(&self.inner));
        let pattern = Pattern::new(text::pattern(pattern)?).map_err(Refused::raised)?;
        self.run(
            py,
            |engine| async move { engine.invalidate_pattern(&pattern).await },
            move |py, removed| inner.removed(py, removed),
        )
    }

    fn invalidate_tags<'py>(&self, py: Python<'py>, tags: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let inner = Arc::clone(&self.inner);
        let tags = inner::tags(&tags)?;
        self.run(
            py,
            |engine| async move { engine.invalidate_tags(&tags).await },
            move |py, removed| inner.removed(py, removed.map_err(Refused::raised)?),
        )
    }

    fn clear<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let inner = Arc::clone(&self.inner);
        self.run(py, |engine| async move { engine.clear().await }, move |py, removed| inner.removed(py, removed))
    }

    /// Marks keys that are about to change; gives for each what `lift` takes.
    fn hold_down<'py>(
        &self,
        py: Python<'py>,
        keys: Vec<Bound<'py, PyAny>>,
        seconds: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (names, span) = (Name::all(&keys)?, lasting(seconds));
        self.run(
            py,
            |engine| async move { engine.hold_down(&names.keys(), span).await },
            |py, held| {
                let marks = held.map_err(Refused::raised)?.into_iter().map(|header| header.map(Mark));
                Ok(PyList::new(py, marks.collect::<Vec<_>>())?.into_any().unbind())
            },
        )
    }

    /// Invalidates keys that were marked.
    fn lift<'py>(
        &self,
        py: Python<'py>,
        held: Vec<(Bound<'py, PyAny>, Option<Bound<'py, Mark>>)>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (keys, marks): (Vec<_>, Vec<_>) = held.into_iter().unzip();
        let (names, inner) = (Name::all(&keys)?, Arc::clone(&self.inner));
        let headers: Vec<_> = marks.iter().map(|mark| mark.as_ref().map(|mark| mark.get().0)).collect();
        self.run(
            py,
            |engine| async move {
                let held: Vec<_> = names.keys().into_iter().zip(headers).collect();
                engine.lift(&held).await
            },
            move |py, removed| inner.removed(py, removed),
        )
    }

    /// Waits until Redis was told all that it was to be; false where that takes longer.
    #[expect(clippy::redundant_closure, reason = "the function itself is for one lifetime of the interpreter")]
    fn owes_nothing<'py>(&self, py: Python<'py>, at_most: f64) -> PyResult<Bound<'py, PyAny>> {
        let at_most = lasting(at_most);
        self.run_long(py, |engine| async move { engine.owes_nothing(at_most).await }, |py, is_so| to_python(py, is_so))
    }

    // -- events

    fn on(
        &self,
        event: &str,
        keys: Vec<PyBackedStr>,
        patterns: Vec<PyBackedStr>,
        tags: Vec<PyBackedStr>,
    ) -> PyResult<()> {
        let (keys, patterns, tags) = (texts(&keys), texts(&patterns), texts(&tags));
        let targets = Targets { keys: &keys, patterns: &patterns, tags: &tags };
        self.inner.rules.write().on(event, targets).map_err(Refused::raised)
    }

    fn emit<'py>(&self, py: Python<'py>, event: &str, params: HashMap<String, String>) -> PyResult<Bound<'py, PyAny>> {
        let value = |name: &str| params.get(name).map(|value| Cow::Borrowed(value.as_str()));
        let plan = self.inner.rules.read().plan(event, value).map_err(Refused::raised)?;
        let inner = Arc::clone(&self.inner);
        self.run(
            py,
            |engine| async move { engine.carry_out(&plan).await },
            move |py, removed| inner.removed(py, removed),
        )
    }

    // -- the rest

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let figures = crate::terms::figures(py, &self.inner.tier.stats())?;
        self.inner.show_coherence(&figures)?;
        Ok(figures)
    }

    fn reset_stats(&self) {
        self.inner.tier.reset_stats();
    }
}

impl Shared {
    fn peek<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        show: impl FnOnce(Python<'_>, Named) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, name, inner) = (key.py(), Name::of(key)?, Arc::clone(&self.inner));
        self.run(
            py,
            |engine| async move { engine.peek(name.key()).await },
            move |py, peeked| {
                if let Err(fault) = &peeked {
                    inner.tier.remote().noticed(fault);
                }
                show(py, peeked)
            },
        )
    }
}

/// That `hold_down` marked a key, and for whom.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Mark(Header);

/// A time that ends, if only in years.
fn lasting(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(A_YEAR).min(A_YEAR)
}

fn want(since: Option<u64>, own: &[u64], tags: Option<&[Bound<'_, PyAny>]>) -> PyResult<Want> {
    Ok(Want {
        since: since.map(Ticket::from_number),
        own: own.iter().copied().map(Ticket::from_number).collect(),
        tags: tags.map(inner::tags).transpose()?,
        ..Want::default()
    })
}

fn to_python<'py, T: IntoPyObject<'py>>(py: Python<'py>, value: T) -> PyResult<Py<PyAny>> {
    use pyo3::BoundObject;
    Ok(value.into_pyobject(py).map_err(Into::into)?.into_any().unbind())
}

/// Seconds; infinite for ever.
fn seconds_of(span: Option<Duration>) -> f64 {
    span.map_or(f64::INFINITY, |span| span.as_secs_f64())
}

/// How long to wait at the end for what is owed to be said.
const LAST_WORDS: Duration = Duration::from_secs(1);

const A_YEAR: Duration = Duration::from_secs(31_557_600);
