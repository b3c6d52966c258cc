//! Core: the memory backend as Python sees it.
//!
//! Converts keys, values, times and errors, and calls the core; what it decides is how Python is to be treated: no Python code
//! runs under a lock of the cache, sweeps run detached from the interpreter, and what they removed is freed in slices.

#![expect(clippy::needless_pass_by_value, reason = "what pyo3 extracts is owned")]

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use donjon_core::cache::{Ask, Cache, Config, EXPIRE_AT_ONCE, Fill, Lookup, Removed, Seen, Step};
use donjon_core::key::{Key, Namespace};
use donjon_core::moment::Moment;
use donjon_core::pattern::Pattern;
use donjon_core::rules::{Rules, Targets};
use donjon_core::version::Ticket;
use parking_lot::{Mutex, RwLock};
use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyMapping};

use crate::clock::ManualClock;
use crate::errors::{NotACounter, Refused};
use crate::lease::{Join, Lease};
use crate::names::{grace_seconds, seconds};
use crate::sentinel::miss;
use crate::terms::{
    Store, Terms, config, entropy, explained, figures, read_items, read_keys, seconds_until, tag_names, texts, weighed,
};
use crate::text;
use crate::value::Kept;

#[pyclass(frozen, weakref, module = "donjon._donjon")]
pub(crate) struct Core {
    store: Store,
    terms: Arc<Terms>,
    rules: RwLock<Rules>,
    /// What sweeps removed and `bury` has still to free.
    graveyard: Mutex<Vec<Kept>>,
    namespace: Namespace,
}

/// A key that [`read_keys`] found good.
fn known(key: &PyBackedStr) -> Key<'_> {
    Key::new(key).expect("checked when it was read")
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(signature = (*, namespace = "app", max_bytes = 256 << 20, max_entries = None, ttl_classes = None, default_ttl = None,
        jitter = 0.0, early = 1.0, load_timeout = 30.0, clock = None, enabled = true, foreign = None))]
    #[expect(clippy::too_many_arguments, reason = "named in Python, each with a default")]
    fn new(
        namespace: &str,
        max_bytes: u64,
        max_entries: Option<u64>,
        ttl_classes: Option<HashMap<String, f64>>,
        default_ttl: Option<&Bound<'_, PyAny>>,
        jitter: f64,
        early: f64,
        load_timeout: f64,
        clock: Option<&ManualClock>,
        enabled: bool,
        foreign: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let terms = Terms::new(clock, ttl_classes, default_ttl, foreign)?;
        let config = Config { max_bytes, max_entries, ..config(jitter, early, load_timeout)? };
        let store = Cache::new(&config, entropy());
        store.switch(enabled);
        Ok(Self {
            store,
            terms: Arc::new(terms),
            rules: RwLock::new(Rules::default()),
            graveyard: Mutex::default(),
            namespace: Namespace::new(namespace).map_err(Refused::raised)?,
        })
    }

    #[getter]
    fn namespace(&self) -> &str {
        self.namespace.as_str()
    }

    #[getter]
    fn get_enabled(&self) -> bool {
        self.store.is_enabled()
    }

    #[setter]
    fn set_enabled(&self, enabled: bool) {
        self.store.switch(enabled);
    }

    // -- reads

    #[pyo3(signature = (key, default = None, reader = None, /))]
    fn get(&self, key: &Bound<'_, PyAny>, default: Option<Py<PyAny>>, reader: Option<u64>) -> PyResult<Py<PyAny>> {
        let py = key.py();
        match self.store.get_as(text::key(key)?, self.terms.clock.now(), Kept::as_value) {
            Lookup::Hit(value) | Lookup::Stale(value) => value.copy_for(py, reader),
            Lookup::Miss => Ok(default.unwrap_or_else(|| py.None())),
        }
    }

    #[pyo3(signature = (key, reader = None, /))]
    fn hit(&self, key: &Bound<'_, PyAny>, reader: Option<u64>) -> PyResult<Py<PyAny>> {
        match self.store.hit_as(text::key(key)?, self.terms.clock.now(), Kept::as_value) {
            Some(value) => value.copy_for(key.py(), reader),
            None => Ok(miss(key.py()).clone().unbind()),
        }
    }

    fn get_many<'py>(&self, py: Python<'py>, keys: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyDict>> {
        let (found, now) = (PyDict::new(py), self.terms.clock.now());
        for (key, object) in read_keys(&keys)?.iter().zip(&keys) {
            if let Lookup::Hit(value) | Lookup::Stale(value) = self.store.get_as(known(key), now, Kept::as_value) {
                found.set_item(object, value.copy(py)?)?;
            }
        }
        Ok(found)
    }

    fn exists(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.seen(text::key(key)?, self.terms.clock.now()).is_some())
    }

    fn ttl(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
        let now = self.terms.clock.exact();
        let seen = self.seen(text::key(key)?, now);
        Ok(seen.map(|seen| seconds_until(seen.life.fresh_until(), now)))
    }

    fn explain<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let now = self.terms.clock.exact();
        explained(key.py(), self.store.explain(text::key(key)?, now), now)
    }

    // -- loads

    fn ticket(&self) -> u64 {
        self.store.ticket().get()
    }

    #[pyo3(signature = (key, since = None, again = false, reader = None, /))]
    fn begin(
        &self,
        key: &Bound<'_, PyAny>,
        since: Option<u64>,
        again: bool,
        reader: Option<u64>,
    ) -> PyResult<Py<PyAny>> {
        let py = key.py();
        let ask = since.map_or_else(Ask::value, |since| Ask::newer_than(Ticket::from_number(since)));
        let ask = if again { ask.again() } else { ask };
        match self.store.begin(text::key(key)?, ask, self.terms.clock.exact()) {
            Step::Done(value) => value.copy_for(py, reader),
            Step::Stale(_, lease) | Step::Load(lease) => {
                let lease = Lease::new(lease, reader, self.store.clone(), Arc::clone(&self.terms));
                Ok(Py::new(py, lease)?.into_any())
            }
            Step::Join(joined, at_most) => Ok(Py::new(py, Join::new(joined, reader, at_most))?.into_any()),
        }
    }

    #[pyo3(signature = (key, reader = None, /))]
    fn bypass(&self, key: &Bound<'_, PyAny>, reader: Option<u64>) -> PyResult<Lease> {
        let lease = self.store.bypass(text::key(key)?, self.terms.clock.exact());
        Ok(Lease::new(lease, reader, self.store.clone(), Arc::clone(&self.terms)))
    }

    fn seconds(&self, ttl: Option<&Bound<'_, PyAny>>) -> PyResult<f64> {
        self.terms.ttl(ttl).map(seconds)
    }

    fn grace_seconds(&self, grace: Option<&Bound<'_, PyAny>>) -> PyResult<f64> {
        self.terms.grace(grace).map(grace_seconds)
    }

    // -- writes: everything that can be refused is refused before anything changes

    #[pyo3(signature = (key, value, ttl = None, grace = None, tags = Vec::new(), made_from = None, /))]
    fn set(
        &self,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: Option<&Bound<'_, PyAny>>,
        grace: Option<&Bound<'_, PyAny>>,
        tags: Vec<Bound<'_, PyAny>>,
        made_from: Option<u64>,
    ) -> PyResult<()> {
        let (name, now) = (text::key(key)?, self.terms.clock.exact());
        let fill = self.terms.fill(&self.store, ttl, grace, &tags, now)?;
        let value = self.terms.encode(value)?.of_type(made_from);
        let fill = weighed(fill, &value);
        self.store.set(name, value, fill, now);
        Ok(())
    }

    #[pyo3(signature = (items, ttl = None, grace = None, tags = Vec::new(), /))]
    fn set_many(
        &self,
        items: &Bound<'_, PyAny>,
        ttl: Option<&Bound<'_, PyAny>>,
        grace: Option<&Bound<'_, PyAny>>,
        tags: Vec<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let now = self.terms.clock.exact();
        let (keys, values) = read_items(items.cast::<PyMapping>()?)?;
        let keys = read_keys(&keys)?;
        let fill = self.terms.fill(&self.store, ttl, grace, &tags, now)?;
        let values = values.iter().map(|value| self.terms.encode(value)).collect::<PyResult<Vec<_>>>()?;
        for (key, value) in keys.iter().zip(values) {
            let fill = weighed(fill.clone(), &value);
            self.store.set(known(key), value, fill, now);
        }
        Ok(())
    }

    #[pyo3(signature = (key, value, ttl = None, /))]
    fn add(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, ttl: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let (name, now) = (text::key(key)?, self.terms.clock.exact());
        let fill = self.terms.fill(&self.store, ttl, None, &[], now)?;
        let value = self.terms.encode(value)?;
        let fill = weighed(fill, &value);
        let failure = self.store.peek(name, now).filter(|seen| seen.value.is_failure()).map(|seen| seen.ticket);
        Ok(self.store.swap(name, failure, value, fill, now) == Some(true))
    }

    #[pyo3(signature = (key, by = 1, ttl = None, /))]
    fn incr(&self, key: &Bound<'_, PyAny>, by: i64, ttl: Option<&Bound<'_, PyAny>>) -> PyResult<i64> {
        let (py, name) = (key.py(), text::key(key)?);
        let now = self.terms.clock.exact();
        let fresh = self.terms.fill(&self.store, ttl, None, &[], now)?;
        loop {
            let seen = self.store.peek(name, now);
            let counted = seen.as_ref().filter(|seen| !seen.value.is_failure());
            let count = match counted {
                None => by,
                Some(seen) => {
                    let count = seen.value.as_integer(py).ok_or_else(|| {
                        NotACounter::new_err(format!(
                            "{} holds no 64-bit integer: delete it, or count elsewhere",
                            name.as_str()
                        ))
                    })?;
                    count
                        .checked_add(by)
                        .ok_or_else(|| NotACounter::new_err(format!("{} would leave 64 bits", name.as_str())))?
                }
            };
            let value = Kept::integer(py, count);
            let life = counted.map_or(fresh.life, |seen| seen.life);
            let fill = weighed(Fill { life, ..fresh.clone() }, &value);
            if self.store.swap(name, seen.map(|seen| seen.ticket), value, fill, now).is_some() {
                return Ok(count);
            }
        }
    }

    fn touch(&self, key: &Bound<'_, PyAny>, ttl: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let (name, ttl, now) = (text::key(key)?, self.terms.ttl(ttl)?, self.terms.clock.exact());
        Ok(self.seen(name, now).is_some() && self.store.retime(name, ttl, now))
    }

    // -- invalidation

    fn delete(&self, key: &Bound<'_, PyAny>) -> PyResult<u64> {
        Ok(self.store.delete(text::key(key)?, self.terms.clock.now()).into())
    }

    fn delete_many(&self, keys: Vec<Bound<'_, PyAny>>) -> PyResult<u64> {
        let now = self.terms.clock.now();
        Ok(read_keys(&keys)?.iter().map(|key| u64::from(self.store.delete(known(key), now))).sum())
    }

    fn invalidate_pattern(&self, py: Python<'_>, pattern: &Bound<'_, PyAny>) -> PyResult<u64> {
        let pattern = Pattern::new(text::pattern(pattern)?).map_err(Refused::raised)?;
        let now = self.terms.clock.now();
        let removed = py.detach(|| self.store.invalidate_pattern(&pattern, now));
        Ok(self.removed(removed))
    }

    fn invalidate_tags(&self, tags: Vec<Bound<'_, PyAny>>) -> PyResult<u64> {
        self.store.invalidate_tags(&tag_names(&tags)?).map_err(Refused::raised)
    }

    fn clear(&self, py: Python<'_>) -> u64 {
        let now = self.terms.clock.now();
        let removed = py.detach(|| self.store.clear(now));
        self.removed(removed)
    }

    #[pyo3(signature = (limit = 2_000, /))]
    fn bury(&self, limit: usize) -> bool {
        let mut graveyard = self.graveyard.lock();
        let kept = graveyard.len().saturating_sub(limit);
        let freed = graveyard.split_off(kept);
        let more = !graveyard.is_empty();
        if !more {
            *graveyard = Vec::new();
        }
        drop(graveyard);
        drop(freed);
        more
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
        self.rules.write().on(event, targets).map_err(Refused::raised)
    }

    fn emit(&self, py: Python<'_>, event: &str, params: HashMap<String, String>) -> PyResult<u64> {
        let value = |name: &str| params.get(name).map(|value| Cow::Borrowed(value.as_str()));
        let plan = self.rules.read().plan(event, value).map_err(Refused::raised)?;
        let now = self.terms.clock.now();
        let removed = py.detach(|| self.store.carry_out(&plan, now));
        Ok(self.removed(removed))
    }

    // -- the rest

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        figures(py, &self.store.stats())
    }

    fn reset_stats(&self) {
        self.store.reset_stats();
    }

    fn expire(&self) -> bool {
        self.store.expire(EXPIRE_AT_ONCE, self.terms.clock.now())
    }

    fn validate(&self) -> PyResult<()> {
        catch_unwind(AssertUnwindSafe(|| self.store.validate()))
            .map_err(|_| PyAssertionError::new_err("the cache's counts do not add up: see the message on stderr"))
    }
}

impl Core {
    /// What is there, where it is a value.
    fn seen(&self, name: Key<'_>, now: Moment) -> Option<Seen<Kept>> {
        self.store.peek(name, now).filter(|seen| !seen.value.is_failure())
    }

    /// Lays aside what a sweep removed.
    fn removed(&self, removed: Removed<Kept>) -> u64 {
        self.graveyard.lock().extend(removed.values);
        removed.count
    }
}
