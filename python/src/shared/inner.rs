//! Inner: what both faces of the Redis backend share: the tier, and an engine for each place that it is used in.
//!
//! Owns which engine a call runs on, and what Python is told of its outcome. A connection belongs to one event loop, or to the
//! background thread.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use donjon::engine::{Engine, Front, Looked, Peeked, Removed, Tier, Watches};
use donjon::link::{Authorities, Options};
use donjon::payload::Payload;
use donjon::runtime::now;
use donjon_core::cache::Config;
use donjon_core::fault::Fault;
use donjon_core::key::{Key, Namespace};
use donjon_core::near::{self, Near};
use donjon_core::remote::Storing;
use donjon_core::remote::name;
use donjon_core::rules::Rules;
use donjon_core::settings::RedisTarget;
use donjon_core::tag::check_tags;
use parking_lot::RwLock;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::held::{Copied, Held};
use super::{Failed, RemoteLease, Shared, seconds_of};
use crate::aio::{PerLoop, PerProcess, block_on};
use crate::errors::{ConfigError, DecodeError, Refused};
use crate::notices;
use crate::place::Place;
use crate::sentinel::miss;
use crate::terms::{self, Terms, read_keys, tag_names};
use crate::text;
use crate::value::{Failure, Kept, decode, for_reader};

pub(super) type Tended = Engine<Place, terms::Fault>;

/// What is known of a key.
pub(super) type Named = Result<Option<Peeked>, Fault>;

/// How the caller waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Face {
    Awaiting,
    Blocking,
}

pub(super) struct Inner {
    pub(super) tier: Arc<Tier<terms::Fault>>,
    pub(super) options: Options,
    pub(super) terms: Terms,
    pub(super) rules: RwLock<Rules>,
    loops: PerLoop<Tended>,
    background: PerProcess<Tended>,
    /// Memory in front.
    near: Option<Near<Held>>,
    /// What is told in Python what came of a call.
    told: Py<PyAny>,
}

impl Inner {
    pub(super) fn new(
        namespace: &str,
        config: &Config,
        max_value_bytes: u64,
        options: Options,
        terms: Terms,
        told: Py<PyAny>,
        near: Option<(near::Config, Watches)>,
    ) -> PyResult<Self> {
        let namespace = Namespace::new(namespace).map_err(Refused::raised)?;
        let near = near.map(|(config, watches)| {
            let near = Near::<Held>::new(name::Names::new(namespace.clone()), &config, terms::entropy());
            (near.clone(), Front { memory: Arc::new(near), watches })
        });
        let (near, front) = near.unzip();
        Ok(Self {
            tier: Tier::behind(front, namespace, config, max_value_bytes, terms::entropy()),
            near,
            options,
            terms,
            rules: RwLock::default(),
            loops: PerLoop::new(),
            background: PerProcess::new(),
            told,
        })
    }

    fn engine(&self, place: Place) -> Tended {
        Engine::new(Arc::clone(&self.tier), place, self.options.clone())
    }

    // -- going in

    pub(super) fn encode(&self, value: &Bound<'_, PyAny>) -> PyResult<(Kept, Payload)> {
        let kept = self.terms.encode(value)?;
        let payload = kept.payload(value.py())?;
        Ok((kept, payload))
    }

    pub(super) fn storing(
        &self,
        ttl: Option<&Bound<'_, PyAny>>,
        grace: Option<&Bound<'_, PyAny>>,
        given: &[Bound<'_, PyAny>],
    ) -> PyResult<Storing> {
        Ok(Storing { ttl: self.terms.ttl(ttl)?, grace: self.terms.grace(grace)?, tags: tags(given)? })
    }

    // -- coming out

    /// What memory in front has of a key; MISS where that is nothing, or nothing that can be read.
    #[inline]
    pub(super) fn hit(&self, py: Python<'_>, key: Key<'_>, reader: Option<u64>) -> PyResult<Py<PyAny>> {
        let Some((near, held)) = self.near.as_ref().and_then(|near| Some((near, near.hit(key, now())?))) else {
            return Ok(miss(py).clone().unbind());
        };
        match held.copy(py, key.as_str(), reader, self.tier.remote().max_value_bytes()) {
            Ok(Copied::Value(value)) => Ok(value),
            Ok(Copied::First(value, weight)) => {
                near.reweigh(key, weight, now(), |there| there.is(&held));
                Ok(value)
            }
            Err(error) if error.is_instance_of::<DecodeError>(py) => {
                // Whoever asks Redis hears of it.
                near.forget(key, now());
                Ok(miss(py).clone().unbind())
            }
            Err(error) => Err(error),
        }
    }

    /// Adds what memory in front is worth.
    pub(super) fn show_coherence(&self, facts: &Bound<'_, PyDict>) -> PyResult<()> {
        let now = now();
        let near = self.near.as_ref();
        facts.set_item("coherence", near.map(|near| near.state(now).word()))?;
        facts.set_item("last_push", near.and_then(|near| near.last_push(now)).map(|ago| ago.as_secs_f64()))
    }

    /// The value of a payload, where there is one that can be read.
    pub(super) fn found(
        &self,
        py: Python<'_>,
        name: &Name,
        payload: Option<Payload>,
        reader: Option<u64>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let Some(payload) = payload else { return Ok(None) };
        match self.value(py, name, &payload, reader) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_instance_of::<DecodeError>(py) => {
                self.told.call_method1(py, intern!(py, "undecodable"), (&*name.0, error))?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn value(
        &self,
        py: Python<'_>,
        name: &Name,
        payload: &Payload,
        reader: Option<u64>,
    ) -> PyResult<Py<PyAny>> {
        let value = decode(py, &name.0, payload, self.tier.remote().max_value_bytes())?;
        if payload.is_failure {
            return Failure::of(py, value);
        }
        for_reader(py, value, payload.fingerprint, reader)
    }

    /// A value, a remembered failure, a lease, another's error, or MISS for who would have to wait.
    ///
    /// # Errors
    ///
    /// `DecodeError` where there is a value that cannot be read.
    pub(super) fn begun(
        self: &Arc<Self>,
        py: Python<'_>,
        name: &Name,
        looked: Looked<Place, terms::Fault>,
        reader: Option<u64>,
    ) -> PyResult<Py<PyAny>> {
        Ok(match looked {
            Looked::Value(payload) => self.value(py, name, &payload, reader)?,
            Looked::Load(right) => Py::new(py, RemoteLease::new(right, reader, Arc::clone(self)))?.into_any(),
            Looked::Failed(error) => Py::new(py, Failed::new(error))?.into_any(),
            Looked::Later => miss(py).clone().unbind(),
        })
    }

    /// What an invalidation gives.
    pub(super) fn removed(&self, py: Python<'_>, removed: Removed) -> PyResult<Py<PyAny>> {
        self.told.call_method1(py, intern!(py, "removed"), (removed.count, removed.queued))
    }

    /// What storing gives: none, unless Python makes an error of a value that did not arrive.
    pub(super) fn stored(&self, py: Python<'_>, arrived: bool, fits: bool) -> PyResult<Py<PyAny>> {
        if !arrived && self.tier.remote().is_enabled() {
            return self.told.call_method1(py, intern!(py, "not_stored"), (fits,));
        }
        Ok(py.None())
    }
}

impl Shared {
    /// Another view of the same.
    pub(super) fn again(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), face: self.face }
    }

    /// The engine of the running loop, or of those who block.
    pub(super) fn engine(&self, py: Python<'_>) -> PyResult<Tended> {
        match self.face {
            Face::Awaiting => Ok(self.inner.loops.here(py, |runtime| self.inner.engine(Place::Loop(runtime)))?.1),
            Face::Blocking => self.inner.background.here(py, |runtime| self.inner.engine(Place::Background(runtime))),
        }
    }

    /// Runs `work` where the caller waits for it.
    pub(super) fn run<'py, F, C>(
        &self,
        py: Python<'py>,
        work: impl FnOnce(Tended) -> F,
        convert: C,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        F: Future<Output: Send> + Send + 'static,
        C: FnOnce(Python<'_>, F::Output) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        let convert = announcing(convert);
        match self.face {
            Face::Awaiting => {
                let (here, engine) = self.inner.loops.here(py, |runtime| self.inner.engine(Place::Loop(runtime)))?;
                here.submit(work(engine), convert)
            }
            Face::Blocking => self.block(py, work, convert),
        }
    }

    /// As [`run`](Self::run), for what may take long.
    pub(super) fn run_long<'py, F, C>(
        &self,
        py: Python<'py>,
        work: impl FnOnce(Tended) -> F,
        convert: C,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        F: Future<Output: Send> + Send + 'static,
        C: FnOnce(Python<'_>, F::Output) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        let convert = announcing(convert);
        match self.face {
            Face::Awaiting => {
                let (here, engine) = self.inner.loops.here(py, |runtime| self.inner.engine(Place::Loop(runtime)))?;
                here.submit_cancellable(work(engine), convert)
            }
            Face::Blocking => self.block(py, work, convert),
        }
    }

    fn block<'py, F, C>(
        &self,
        py: Python<'py>,
        work: impl FnOnce(Tended) -> F,
        convert: C,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        F: Future<Output: Send> + Send,
        C: FnOnce(Python<'_>, F::Output) -> PyResult<Py<PyAny>>,
    {
        let engine = self.inner.background.here(py, |runtime| self.inner.engine(Place::Background(runtime)))?;
        let output = block_on(py, work(engine))?;
        convert(py, output).map(|given| given.into_bound(py))
    }
}

/// As `convert`, once what was said meanwhile is handed on.
fn announcing<T>(
    convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
) -> impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static {
    move |py, output| {
        notices::hand_on(py);
        convert(py, output)
    }
}

/// A key that was found good, to be kept.
pub(super) struct Name(pub(super) Box<str>);

/// Some of them.
pub(super) struct Names(pub(super) Vec<Name>);

impl Name {
    pub(super) fn of(given: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(text::key(given)?.as_str().into()))
    }

    /// Reads all before any is used; an error names the place of the bad one.
    pub(super) fn all(given: &[Bound<'_, PyAny>]) -> PyResult<Names> {
        Ok(Names(read_keys(given)?.iter().map(|key| Self((**key).into())).collect()))
    }

    pub(super) fn key(&self) -> Key<'_> {
        Key::new(&self.0).expect("checked when it was read")
    }
}

impl Names {
    pub(super) fn keys(&self) -> Vec<Key<'_>> {
        self.0.iter().map(Name::key).collect()
    }
}

/// Tags, checked, each once.
pub(super) fn tags(given: &[Bound<'_, PyAny>]) -> PyResult<Arc<[Box<str>]>> {
    let names = tag_names(given)?;
    check_tags(&names).map_err(Refused::raised)?;
    let mut tags: Vec<Box<str>> = Vec::with_capacity(names.len());
    for name in names {
        if !tags.iter().any(|tag| **tag == *name) {
            tags.push(name.into());
        }
    }
    Ok(tags.into())
}

/// What is known of a key, as Python shows it.
pub(super) fn explained(py: Python<'_>, peeked: Named) -> PyResult<Bound<'_, PyDict>> {
    let facts = PyDict::new(py);
    let (peeked, fault) = match peeked {
        Ok(peeked) => (peeked, None),
        Err(fault) => (None, Some(fault.to_string())),
    };
    let state = match (&peeked, &fault) {
        (None, Some(_)) => "unknown",
        (None, None) => "absent",
        (Some(peeked), _) if peeked.stale => "stale",
        (Some(_), _) => "fresh",
    };
    let peeked = peeked.as_ref();
    facts.set_item("tier", peeked.map(|_| "redis"))?;
    facts.set_item("state", state)?;
    facts.set_item("why_absent", fault)?;
    facts.set_item("age", py.None())?;
    facts.set_item("fresh_for", peeked.map(|peeked| seconds_of(peeked.fresh_for)))?;
    facts.set_item("usable_for", peeked.map(|peeked| seconds_of(peeked.usable_for)))?;
    facts.set_item("load_seconds", peeked.map(|peeked| peeked.load_time.as_secs_f64()))?;
    facts.set_item("bytes", peeked.map(|peeked| peeked.bytes))?;
    facts.set_item("loading_for", py.None())?;
    facts.set_item("removed_ago", py.None())?;
    facts.set_item("tags", peeked.map_or(Vec::new(), |peeked| peeked.tags.iter().map(|tag| &**tag).collect()))?;
    Ok(facts)
}

/// How much memory there is in front, and what Redis is to tell it.
pub(super) fn near(
    broadcast: bool,
    max_stale: f64,
    max_bytes: u64,
    max_entries: Option<u64>,
) -> PyResult<(near::Config, Watches)> {
    let max_stale = Duration::try_from_secs_f64(max_stale).map_err(|_| {
        ConfigError::new_err(format!("`near_max_stale` is a number of seconds from 0 on, not {max_stale}"))
    })?;
    let config = near::Config { max_bytes, max_entries, max_stale, ..near::Config::default() };
    Ok((config, if broadcast { Watches::Everything } else { Watches::Reads }))
}

/// How to connect.
pub(super) fn options(
    url: &str,
    ca: Option<Vec<u8>>,
    connect_timeout: f64,
    command_timeout: f64,
    max_value_bytes: u64,
) -> PyResult<Options> {
    let mut options = Options::new(RedisTarget::parse(url).map_err(Refused::raised)?);
    options.ca = ca.map(|pem| Authorities::from_pem(&pem).map_err(Refused::raised)).transpose()?;
    options.connect_budget = span("connect_timeout", connect_timeout)?;
    options.command_budget = span("command_timeout", command_timeout)?;
    // Many values may come in one reply.
    let most = usize::try_from(max_value_bytes).unwrap_or(usize::MAX);
    options.max_reply_bytes = options.max_reply_bytes.max(most.saturating_mul(4));
    Ok(options)
}

fn span(name: &str, seconds: f64) -> PyResult<Duration> {
    let span = Duration::try_from_secs_f64(seconds).ok().filter(|span| !span.is_zero());
    span.ok_or_else(|| ConfigError::new_err(format!("`{name}` is a number of seconds above 0, not {seconds}")))
}
