//! Terms: how Python's arguments are read, for the calls of a cache and for those of its leases.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use donjon::clock::Clock;
use donjon_core::cache::{Cache, Config, Explained, Fill};
use donjon_core::chance::Seed;
use donjon_core::entry::Weight;
use donjon_core::expiry::{Early, Grace, Jitter, Ttl, TtlClasses};
use donjon_core::moment::Moment;
use donjon_core::stats::Stats;
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBool, PyDict, PyMapping, PyString};

use crate::clock::{ManualClock, given};
use crate::errors::{InvalidTtl, Refused};
use crate::text;
use crate::value::{Kept, encode};

/// What a loader raised, shared by those who wait.
pub(crate) type Fault = Arc<Py<PyAny>>;

pub(crate) type Store = Cache<Kept, Fault>;

type Objects<'py> = Vec<Bound<'py, PyAny>>;

/// How Python's arguments are to be read: shared with the leases.
pub(crate) struct Terms {
    pub(crate) clock: Clock,
    pub(crate) classes: TtlClasses,
    pub(crate) default_ttl: Ttl,
    pub(crate) foreign: Option<Py<PyAny>>,
}

impl Terms {
    /// Reads what a cache is made with.
    pub(crate) fn new(
        clock: Option<&ManualClock>,
        ttl_classes: Option<HashMap<String, f64>>,
        default_ttl: Option<&Bound<'_, PyAny>>,
        foreign: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let mut classes = TtlClasses::default();
        for (name, seconds) in ttl_classes.unwrap_or_default() {
            let ttl = if seconds.is_infinite() && seconds > 0.0 {
                Ttl::FOREVER
            } else {
                Ttl::from_secs(seconds).map_err(Refused::raised)?
            };
            classes.define(&name, ttl).map_err(Refused::raised)?;
        }
        let mut terms = Self { clock: given(clock), default_ttl: classes.default_ttl(), classes, foreign };
        terms.default_ttl = terms.ttl(default_ttl)?;
        Ok(terms)
    }

    pub(crate) fn encode(&self, value: &Bound<'_, PyAny>) -> PyResult<Kept> {
        encode(value, self.foreign.as_ref().map(|foreign| foreign.bind(value.py())))
    }

    /// Seconds, text, or none for the default; infinite seconds are for ever.
    pub(crate) fn ttl(&self, span: Option<&Bound<'_, PyAny>>) -> PyResult<Ttl> {
        match span.map(read_span).transpose()? {
            None => Ok(self.default_ttl),
            Some(Span::Text(text)) => self.classes.resolve(&text).map_err(Refused::raised),
            Some(Span::Seconds(f64::INFINITY)) => Ok(Ttl::FOREVER),
            Some(Span::Seconds(seconds)) => Ttl::from_secs(seconds).map_err(Refused::raised),
        }
    }

    pub(crate) fn grace(&self, span: Option<&Bound<'_, PyAny>>) -> PyResult<Grace> {
        match span.map(read_span).transpose()? {
            None => Ok(Grace::NONE),
            Some(Span::Text(text)) => self.classes.resolve_grace(&text).map_err(Refused::raised),
            Some(Span::Seconds(f64::INFINITY)) => Ok(Grace::FOREVER),
            Some(Span::Seconds(seconds)) => Grace::from_secs(seconds).map_err(Refused::raised),
        }
    }

    /// What is to be known of a value before it is stored, but for its weight: see [`weighed`].
    pub(crate) fn fill(
        &self,
        store: &Store,
        ttl: Option<&Bound<'_, PyAny>>,
        grace: Option<&Bound<'_, PyAny>>,
        tags: &[Bound<'_, PyAny>],
        now: Moment,
    ) -> PyResult<Fill> {
        let life = store.life(self.ttl(ttl)?, self.grace(grace)?, now);
        Ok(Fill { life, bytes: 0, tags: store.tags(&tag_names(tags)?).map_err(Refused::raised)? })
    }
}

/// The fill with the weight of its value.
pub(crate) fn weighed(fill: Fill, value: &Kept) -> Fill {
    Fill { bytes: value.weight().get(), ..fill }
}

enum Span {
    Seconds(f64),
    Text(PyBackedStr),
}

fn read_span(span: &Bound<'_, PyAny>) -> PyResult<Span> {
    if span.is_instance_of::<PyBool>() {
        return Err(InvalidTtl::new_err(
            "a ttl is seconds, a timedelta, text such as \"5m\", or FOREVER; a bool is none of them",
        ));
    }
    if span.is_instance_of::<PyString>() {
        return Ok(Span::Text(span.extract()?));
    }
    match span.extract::<f64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(span.py()) => {
            Err(InvalidTtl::new_err("a ttl is at most ten years: write donjon.FOREVER where no end is meant"))
        }
        seconds => seconds.map(Span::Seconds),
    }
}

pub(crate) fn tag_names<'a>(tags: &'a [Bound<'_, PyAny>]) -> PyResult<Vec<&'a str>> {
    tags.iter().map(text::tag).collect()
}

/// How time is treated.
pub(crate) fn config(jitter: f64, early: f64, load_timeout: f64) -> PyResult<Config> {
    Ok(Config {
        jitter: Jitter::new(jitter).map_err(Refused::raised)?,
        early: Early::new(early).map_err(Refused::raised)?,
        load_timeout: Ttl::from_secs(load_timeout).map_err(Refused::raised)?.as_duration().unwrap_or(Duration::MAX),
        ..Config::default()
    })
}

/// Reads all keys before any is used; an error names the place of the bad one.
pub(crate) fn read_keys(keys: &[Bound<'_, PyAny>]) -> PyResult<Vec<PyBackedStr>> {
    let check = |(place, key): (usize, &Bound<'_, PyAny>)| match text::key(key) {
        Ok(_) => key.extract(),
        Err(error) => Err(at_place(key.py(), place, &error)),
    };
    keys.iter().enumerate().map(check).collect()
}

/// The error again, of the same type, with the place in front of its words.
#[cold]
fn at_place(py: Python<'_>, place: usize, error: &PyErr) -> PyErr {
    PyErr::from_type(error.get_type(py), format!("keys[{place}]: {}", error.value(py)))
}

pub(crate) fn texts(given: &[PyBackedStr]) -> Vec<&str> {
    given.iter().map(|text| &**text).collect()
}

/// The keys and the values of a mapping.
pub(crate) fn read_items<'py>(items: &Bound<'py, PyMapping>) -> PyResult<(Objects<'py>, Objects<'py>)> {
    let pairs = items.items()?.try_iter()?.map(|pair| pair?.extract()).collect::<PyResult<Vec<_>>>()?;
    Ok(pairs.into_iter().unzip())
}

/// What memory knows of a key, by the names that Python has for it.
pub(crate) fn explained(py: Python<'_>, explained: Explained, now: Moment) -> PyResult<Bound<'_, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("tier", explained.freshness.map(|_| "memory"))?;
    facts.set_item("state", explained.state())?;
    facts.set_item("why_absent", explained.why_absent())?;
    facts.set_item("age", explained.age.map(|age| age.as_secs_f64()))?;
    facts.set_item("fresh_for", explained.life.map(|life| seconds_until(life.fresh_until(), now)))?;
    facts.set_item("usable_for", explained.life.map(|life| seconds_until(life.usable_until(), now)))?;
    facts.set_item("load_seconds", explained.load_time.map(|time| time.as_secs_f64()))?;
    facts.set_item("bytes", explained.weight.map(Weight::get))?;
    facts.set_item("loading_for", explained.loading.map(|time| time.as_secs_f64()))?;
    facts.set_item("removed_ago", explained.last_removal.map(|(_, ago)| ago.as_secs_f64()))?;
    facts.set_item("tags", explained.tags)?;
    Ok(facts)
}

/// Seconds from `now`; infinite where the moment does not come.
pub(crate) fn seconds_until(moment: Moment, now: Moment) -> f64 {
    if moment == Moment::NEVER { f64::INFINITY } else { (moment - now).as_secs_f64() }
}

/// The counters by their names.
pub(crate) fn figures<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let figures = PyDict::new(py);
    for (name, count) in [
        ("hits", stats.hits),
        ("memory_hits", stats.memory_hits),
        ("stale", stats.stale),
        ("misses", stats.misses),
        ("loads", stats.loads),
        ("load_failures", stats.load_failures),
        ("loads_refused", stats.loads_refused),
        ("stores", stats.stores),
        ("evictions", stats.evictions),
        ("expirations", stats.expirations),
        ("invalidations", stats.invalidations),
        ("replacements", stats.replacements),
        ("too_large", stats.too_large),
        ("takeovers", stats.takeovers),
        ("foreign", stats.foreign),
        ("faults", stats.faults),
        ("queued", stats.queued),
        ("entries", stats.entries),
        ("bytes", stats.bytes),
        ("flights", stats.flights),
    ] {
        figures.set_item(name, count)?;
    }
    figures.set_item("load_seconds", stats.load_time.as_secs_f64())?;
    figures.set_item("hit_rate", stats.hit_rate())?;
    figures.set_item("miss_rate", stats.miss_rate())?;
    Ok(figures)
}

/// What the standard library draws from the operating system for its own hash tables.
pub(crate) fn entropy() -> Seed {
    let draw = || u128::from(RandomState::new().hash_one(0_u8));
    Seed(draw() << 64 | draw())
}
