//! Terms: how Python's arguments are read, for the calls of a cache and for those of its leases.

use std::sync::Arc;

use donjon_core::cache::{Cache, Fill};
use donjon_core::expiry::{Grace, Ttl, TtlClasses};
use donjon_core::moment::Moment;
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBool, PyString};

use crate::clock::Clock;
use crate::errors::{InvalidTtl, Refused};
use crate::text;
use crate::value::{Kept, encode};

/// What a loader raised, shared by those who wait.
pub(crate) type Fault = Arc<Py<PyAny>>;

pub(crate) type Store = Cache<Kept, Fault>;

/// How Python's arguments are to be read: shared with the leases.
pub(crate) struct Terms {
    pub(crate) clock: Clock,
    pub(crate) classes: TtlClasses,
    pub(crate) default_ttl: Ttl,
    pub(crate) foreign: Option<Py<PyAny>>,
}

impl Terms {
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

    pub(crate) fn grace(span: Option<&Bound<'_, PyAny>>) -> PyResult<Grace> {
        match span.map(read_span).transpose()? {
            None => Ok(Grace::NONE),
            Some(Span::Text(text)) => Grace::parse(&text).map_err(Refused::raised),
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
        let life = store.life(self.ttl(ttl)?, Self::grace(grace)?, now);
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
