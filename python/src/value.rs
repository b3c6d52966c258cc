//! Value: what the cache keeps of a Python object, and what a reader gets of it.
//!
//! Owns the way in ([`encode`]: checked, turned into plain JSON types, weighed), the master that is kept ([`Kept`]), and the way
//! out ([`Kept::copy`]). Must not know keys, time, or where masters are stored.
//! Invariants: a master consists of exact builtin types only and has no cycle; no container of it is ever handed out or changes.
//!
//! | to find out | look in |
//! |---|---|
//! | what is accepted, and what becomes of it | `encode` |
//! | how a reader's copy is made | `copy` |
//! | what a value is said to weigh | `weigh` |
//! | how other processes read it | `payload` |
//! | what the garbage collector sees | `track` |
//! | what a reader of another type gets | `unproven` |
//! | what a reader gets where a load failed | `failure` |

mod copy;
mod encode;
mod failure;
mod payload;
mod track;
mod unproven;
mod weigh;

use std::sync::Arc;

use donjon_core::entry::Weight;
use pyo3::prelude::*;
use pyo3::types::PyInt;

pub(crate) use encode::encode;
pub(crate) use failure::Failure;
pub(crate) use payload::decode;
pub(crate) use unproven::{Unproven, for_reader};

/// A value as the cache keeps it. A clone costs one atomic count, so it may be taken under a lock.
///
/// The last clone frees the objects, which runs no Python code: they are plain data. Where that happens in a thread that is not
/// attached to the interpreter, they wait in pyo3's pool until some thread attaches.
#[derive(Clone, Debug)]
pub(crate) struct Kept(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    master: Master,
    weight: Weight,
    fingerprint: Option<u64>,
    is_failure: bool,
}

/// What copies are made from.
#[derive(Debug)]
enum Master {
    /// Cannot be changed by who gets it: handed out as it is.
    Scalar(Py<PyAny>),
    /// A dict or list of scalars.
    Flat(Kind, Py<PyAny>),
    /// A dict or list with others in it: each before those in it, which follow in their order.
    Deep(Box<[Part]>),
}

/// One dict or list of several.
#[derive(Debug)]
struct Part {
    /// Itself, with `None` in the place of each that is in it.
    object: Py<PyAny>,
    kind: Kind,
    /// How many are in it, those in them not counted.
    inside: u32,
    /// Where it belongs in the one that it is in; means nothing for the outermost.
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Dict,
    List,
}

#[derive(Debug)]
enum Place {
    Key(Py<PyAny>),
    Index(isize),
}

impl Kept {
    /// The value of a counter.
    pub(crate) fn integer(py: Python<'_>, value: i64) -> Self {
        let object = value.into_pyobject(py).unwrap_or_else(|never| match never {});
        let weight = weigh::integer(value.unsigned_abs());
        Self::new(Master::Scalar(object.into_any().unbind()), weight)
    }

    fn new(master: Master, weight: usize) -> Self {
        let weight = Weight::new(weight as u64);
        Self(Arc::new(Inner { master, weight, fingerprint: None, is_failure: false }))
    }

    /// The same, made from the type of this fingerprint. Of what nobody else has a clone of yet.
    pub(crate) fn of_type(mut self, fingerprint: Option<u64>) -> Self {
        Arc::get_mut(&mut self.0).expect("it was just made").fingerprint = fingerprint;
        self
    }

    /// The same, saying how a load failed. Of what nobody else has a clone of yet.
    pub(crate) fn of_failure(mut self) -> Self {
        Arc::get_mut(&mut self.0).expect("it was just made").is_failure = true;
        self
    }

    /// Whether it says how a load failed, and is no value.
    #[inline]
    pub(crate) fn is_failure(&self) -> bool {
        self.0.is_failure
    }

    /// Itself, where it is a value.
    #[inline]
    pub(crate) fn as_value(&self) -> Option<Self> {
        (!self.is_failure()).then(|| self.clone())
    }

    /// What a reader gets: a value of its own, or the object itself where nobody can change it.
    ///
    /// Allocates, so the collector and with it any Python code may run: never called under a lock.
    ///
    /// # Errors
    ///
    /// `MemoryError`.
    #[inline]
    pub(crate) fn copy(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        copy::of(py, &self.0.master)
    }

    /// As [`copy`](Self::copy), for a reader of the type of this fingerprint: see [`for_reader`]. A [`Failure`] is for all readers.
    ///
    /// # Errors
    ///
    /// `MemoryError`.
    #[inline]
    pub(crate) fn copy_for(&self, py: Python<'_>, reader: Option<u64>) -> PyResult<Py<PyAny>> {
        let copy = self.copy(py)?;
        if self.is_failure() { Failure::of(py, copy) } else { for_reader(py, copy, self.0.fingerprint, reader) }
    }

    /// The integer, where it is one that a counter can hold; a bool is none.
    pub(crate) fn as_integer(&self, py: Python<'_>) -> Option<i64> {
        let Master::Scalar(object) = &self.0.master else { return None };
        object.bind(py).cast_exact::<PyInt>().ok()?.extract().ok()
    }

    /// What the value takes of this process's memory, in bytes: within a few percent of what `sys.getsizeof` sums up to over
    /// its parts. A string met several times counts once (names of fields are mostly shared); what the cache itself adds
    /// to an entry is not in it.
    pub(crate) fn weight(&self) -> Weight {
        self.0.weight
    }
}

/// A value as the cache keeps it. `copy()` is what a reader gets.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct Value(Kept);

#[pymethods]
impl Value {
    #[new]
    #[pyo3(signature = (value, foreign = None))]
    fn new(value: &Bound<'_, PyAny>, foreign: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        encode(value, foreign).map(Self)
    }

    /// What a reader gets.
    fn copy(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.0.copy(py)
    }

    /// Bytes of memory.
    #[getter]
    fn weight(&self) -> u64 {
        self.0.weight().get()
    }
}
