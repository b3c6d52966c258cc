//! Encode: turns a Python object into a master of plain JSON types, or says what in it has none.
//!
//! Owns what is accepted and what becomes of it. Exact builtin types never reach Python code. A dict or list is copied in one step
//! first, so nothing that changes the original meanwhile, be it another thread or a foreign type's own code, can tear it.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple, PyType};

use super::track::untrack;
use super::weigh::Weigher;
use super::{Kept, Shape};
use crate::errors::UnsupportedValue;

/// How deep containers may lie in each other: as deep as the JSON readers of all three runtimes go. Ends cycles as well.
const DEPTH: usize = 127;

/// The master of `value`: equal to what a round trip through JSON gives, but for `bytes`, which are kept as they are.
///
/// | goes in | comes out |
/// |---|---|
/// | `dict` with text keys, `list`, `str`, `int` of 64 bits, finite `float`, `bool`, `None` | the same |
/// | `tuple`; a subclass of any of these | `list`; the type itself |
/// | `datetime`, `date`, `time` | ISO 8601 text |
/// | `UUID`, `Decimal` | text |
/// | `Enum` | its value |
/// | `bytes`, not inside anything | the same |
/// | anything else | what `foreign` makes of it |
///
/// # Errors
///
/// `UnsupportedValue` names the place, never the value: other keys and types, integers over 64 bits, NaN and infinities,
/// text with lone surrogates, more than 127 containers in each other. What `foreign` raises passes through.
pub(crate) fn encode<'py>(value: &Bound<'py, PyAny>, foreign: Option<&Bound<'py, PyAny>>) -> PyResult<Kept> {
    let py = value.py();
    let mut encoder = Encoder { py, foreign, weigher: Weigher::new(py)? };
    let part = if let Some(bytes) = encoder.bytes(value) { bytes } else { encoder.value(value, 0) };
    match part {
        Ok(part) => Ok(Kept::new(part.object.unbind(), part.shape, encoder.weigher.total())),
        Err(refusal) => Err(refusal.raise(py)),
    }
}

/// One part of a master.
struct Part<'py> {
    object: Bound<'py, PyAny>,
    shape: Shape,
}

impl<'py> Part<'py> {
    fn scalar<T>(object: Bound<'py, T>) -> Self {
        Self { object: object.into_any(), shape: Shape::Scalar }
    }
}

struct Encoder<'a, 'py> {
    py: Python<'py>,
    foreign: Option<&'a Bound<'py, PyAny>>,
    weigher: Weigher<'py>,
}

type Encoded<T> = Result<T, Refusal>;

impl<'py> Encoder<'_, 'py> {
    /// `bytes` at the top, or none of our business.
    fn bytes(&mut self, value: &Bound<'py, PyAny>) -> Option<Encoded<Part<'py>>> {
        let bytes = value.cast::<PyBytes>().ok()?;
        let exact = if bytes.is_exact_instance_of::<PyBytes>() {
            bytes.clone()
        } else {
            PyBytes::new(self.py, bytes.as_bytes())
        };
        self.weigher.bytes(&exact);
        Some(Ok(Part::scalar(exact)))
    }

    fn value(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Encoded<Part<'py>> {
        if let Ok(text) = value.cast_exact::<PyString>() {
            self.text(text)?;
            return Ok(Part::scalar(text.clone()));
        }
        if let Ok(integer) = value.cast_exact::<PyInt>() {
            return self.integer(integer);
        }
        if value.is_none() || value.is_exact_instance_of::<PyBool>() {
            return Ok(Part::scalar(value.clone()));
        }
        if let Ok(float) = value.cast_exact::<PyFloat>() {
            return self.float(float);
        }
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            return self.dict(dict.copy()?, depth);
        }
        if let Ok(list) = value.cast_exact::<PyList>() {
            return self.list(list.get_slice(0, list.len()), depth);
        }
        if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            return self.list(tuple.to_list(), depth);
        }
        self.other(value, depth)
    }

    /// What is no exact JSON type: a subclass of one, a type with a text form, or foreign.
    #[cold]
    fn other(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Encoded<Part<'py>> {
        let types = Types::of(self.py)?;
        let kind = value.get_type();
        let is = |class: &Py<PyType>| kind.is_subclass(class.bind(self.py));
        // First, as an enumeration may be an integer or a text besides.
        if is(&types.enumeration)? {
            let inner = value.getattr(intern!(self.py, "value"))?;
            return self.deeper(&inner, depth);
        }
        if let Ok(text) = value.cast::<PyString>() {
            let text = exact_text(text)?;
            self.text(&text)?;
            return Ok(Part::scalar(text));
        }
        if let Ok(integer) = value.cast::<PyInt>() {
            return self.integer(integer);
        }
        if let Ok(float) = value.cast::<PyFloat>() {
            return self.float(float);
        }
        if value.is_instance_of::<PyDict>() {
            // As json does: a subclass may have an order or a content of its own.
            let items = value.cast::<PyMapping>().map_err(PyErr::from)?.items()?;
            return self.dict(PyDict::from_sequence(&items)?, depth);
        }
        if let Ok(list) = value.cast::<PyList>() {
            return self.list(list.get_slice(0, list.len()), depth);
        }
        if let Ok(tuple) = value.cast::<PyTuple>() {
            return self.list(tuple.to_list(), depth);
        }
        if is(&types.date)? || is(&types.time)? {
            let text = value.call_method0(intern!(self.py, "isoformat"))?;
            return self.deeper(&text, depth);
        }
        if is(&types.uuid)? || is(&types.decimal)? {
            return self.deeper(value.str()?.as_any(), depth);
        }
        if value.is_instance_of::<PyBytes>() {
            return Err(Refusal::new("bytes are kept only as a whole value: encode them as text inside others"));
        }
        let Some(foreign) = self.foreign else {
            return Err(Refusal::of_type(&kind));
        };
        let simpler = foreign.call1((value,))?;
        self.deeper(&simpler, depth)
    }

    /// What something turned itself into. One level deeper, or a hook that gives back what it got would never end.
    fn deeper(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Encoded<Part<'py>> {
        let depth = enter(depth)?;
        self.value(value, depth)
    }

    fn text(&mut self, text: &Bound<'py, PyString>) -> Encoded<()> {
        if self.weigher.met(text) {
            return Ok(());
        }
        // Into bytes that are dropped: a string keeps the UTF-8 form that it is asked for itself.
        let Ok(utf8) = text.encode_utf8() else {
            return Err(Refusal::new("text with a lone surrogate is not valid Unicode"));
        };
        self.weigher.text(text.len()?, utf8.as_bytes());
        Ok(())
    }

    fn integer(&mut self, integer: &Bound<'py, PyInt>) -> Encoded<Part<'py>> {
        let signed = integer.extract::<i64>();
        let magnitude = match &signed {
            Ok(value) => value.unsigned_abs(),
            Err(_) => integer.extract::<u64>().map_err(|_| {
                Refusal::new("an integer outside -2**63 to 2**64 - 1 does not survive; store it as text")
            })?,
        };
        let small = matches!(signed, Ok(-5..=256));
        if !small {
            self.weigher.integer(magnitude);
        }
        if integer.is_exact_instance_of::<PyInt>() {
            return Ok(Part::scalar(integer.clone()));
        }
        let exact = match signed {
            Ok(value) => value.into_pyobject(self.py),
            Err(_) => magnitude.into_pyobject(self.py),
        };
        Ok(Part::scalar(exact.unwrap_or_else(|never| match never {})))
    }

    fn float(&mut self, float: &Bound<'py, PyFloat>) -> Encoded<Part<'py>> {
        let value = float.value();
        if !value.is_finite() {
            return Err(Refusal::new("NaN and infinities have no JSON form"));
        }
        self.weigher.float();
        Ok(Part::scalar(if float.is_exact_instance_of::<PyFloat>() {
            float.clone()
        } else {
            PyFloat::new(self.py, value)
        }))
    }

    /// Makes `master`, a dict of our own, into one by replacing what cannot stay as it is.
    fn dict(&mut self, master: Bound<'py, PyDict>, depth: usize) -> Encoded<Part<'py>> {
        let depth = enter(depth)?;
        let master = self.text_keys(master)?;
        let mut shape = Shape::FlatDict;
        for (key, item) in &master {
            let part = self.value(&item, depth).map_err(|refusal| refusal.within(Step::Key(key.clone().unbind())))?;
            if part.shape != Shape::Scalar {
                shape = Shape::Deep;
            }
            if !part.object.is(&item) {
                master.set_item(key, part.object)?;
            }
        }
        self.weigher.dict(&master)?;
        untrack(&master);
        Ok(Part { object: master.into_any(), shape })
    }

    /// The same dict with every key an exact text.
    fn text_keys(&mut self, dict: Bound<'py, PyDict>) -> Encoded<Bound<'py, PyDict>> {
        let mut exact = true;
        for (key, _) in &dict {
            if let Ok(key) = key.cast_exact::<PyString>() {
                self.text(key)?;
            } else if key.is_instance_of::<PyString>() {
                exact = false;
            } else {
                let kind = type_name(&key.get_type());
                return Err(Refusal::new(format!("a key of type {kind} has no JSON form: keys are text")));
            }
        }
        if exact {
            return Ok(dict);
        }
        let renamed = PyDict::new(self.py);
        for (key, item) in &dict {
            let key = exact_text(key.cast::<PyString>().map_err(PyErr::from)?)?;
            self.text(&key)?;
            renamed.set_item(key, item)?;
        }
        if renamed.len() != dict.len() {
            return Err(Refusal::new("two keys are the same text"));
        }
        Ok(renamed)
    }

    /// As [`dict`](Self::dict), for a list.
    fn list(&mut self, master: Bound<'py, PyList>, depth: usize) -> Encoded<Part<'py>> {
        let depth = enter(depth)?;
        let mut shape = Shape::FlatList;
        for index in 0..master.len() {
            let item = master.get_item(index)?;
            let part = self.value(&item, depth).map_err(|refusal| refusal.within(Step::Index(index)))?;
            if part.shape != Shape::Scalar {
                shape = Shape::Deep;
            }
            if !part.object.is(&item) {
                master.set_item(index, part.object)?;
            }
        }
        self.weigher.list(&master);
        untrack(&master);
        Ok(Part { object: master.into_any(), shape })
    }
}

/// One container deeper.
fn enter(depth: usize) -> Encoded<usize> {
    if depth < DEPTH {
        Ok(depth + 1)
    } else {
        Err(Refusal::new(format!("values lie more than {DEPTH} deep in each other, or in themselves")))
    }
}

/// The text of a subclass, without a call to its own code.
#[allow(unsafe_code)]
fn exact_text<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: given a string, it gives a new reference to an exact one, or null with an exception set.
    unsafe {
        let exact = pyo3::ffi::PyUnicode_FromObject(text.as_ptr());
        Ok(Bound::from_owned_ptr_or_err(text.py(), exact)?.cast_into_unchecked())
    }
}

/// Classes outside the builtins that have a JSON form, imported when the first such value comes.
struct Types {
    enumeration: Py<PyType>,
    date: Py<PyType>,
    time: Py<PyType>,
    uuid: Py<PyType>,
    decimal: Py<PyType>,
}

impl Types {
    fn of(py: Python<'_>) -> PyResult<&Self> {
        static TYPES: PyOnceLock<Types> = PyOnceLock::new();
        TYPES.get_or_try_init(py, || {
            let class = |module: &str, name: &str| -> PyResult<Py<PyType>> {
                Ok(py.import(module)?.getattr(name)?.cast_into::<PyType>().map_err(PyErr::from)?.unbind())
            };
            Ok(Self {
                enumeration: class("enum", "Enum")?,
                // A datetime is a date.
                date: class("datetime", "date")?,
                time: class("datetime", "time")?,
                uuid: class("uuid", "UUID")?,
                decimal: class("decimal", "Decimal")?,
            })
        })
    }
}

/// Why a value cannot be kept, and where in it: the innermost step first, as it is noted on the way out.
struct Refusal(Box<(Why, Vec<Step>)>);

enum Why {
    /// It has no JSON form.
    Unsupported(String),
    /// Python code raised.
    Raised(PyErr),
}

enum Step {
    Key(Py<PyAny>),
    Index(usize),
}

impl Refusal {
    fn new(reason: impl Into<String>) -> Self {
        Self(Box::new((Why::Unsupported(reason.into()), Vec::new())))
    }

    fn of_type(kind: &Bound<'_, PyType>) -> Self {
        Self::new(format!("type {} has no JSON form", type_name(kind)))
    }

    fn within(mut self, step: Step) -> Self {
        self.0.1.push(step);
        self
    }

    fn raise(self, py: Python<'_>) -> PyErr {
        let (why, path) = *self.0;
        match why {
            Why::Unsupported(reason) => UnsupportedValue::new_err(format!("{}: {reason}", place(py, &path))),
            Why::Raised(error) if !path.is_empty() && error.is_instance_of::<UnsupportedValue>(py) => {
                let placed = UnsupportedValue::new_err(format!("{}: {}", place(py, &path), error.value(py)));
                placed.set_cause(py, Some(error));
                placed
            }
            Why::Raised(error) => error,
        }
    }
}

impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Self {
        Self(Box::new((Why::Raised(error), Vec::new())))
    }
}

/// The place in Python's own notation: `value['a'][3]`, its middle left out where it is long.
fn place(py: Python<'_>, path: &[Step]) -> String {
    const SHOWN: usize = 8;
    let mut place = String::from("value");
    for (at, step) in path.iter().rev().enumerate() {
        if at == SHOWN && path.len() > 2 * SHOWN {
            place.push_str("[…]");
        }
        if at < SHOWN || at + SHOWN >= path.len() {
            match step {
                Step::Key(key) => place.extend(["[", &shortened(py, key), "]"]),
                Step::Index(index) => place.extend(["[", &index.to_string(), "]"]),
            }
        }
    }
    place
}

/// A key as Python shows it, cut after 40 characters.
fn shortened(py: Python<'_>, key: &Py<PyAny>) -> String {
    let shown = key.bind(py).repr().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    if shown.chars().count() <= 40 { shown } else { shown.chars().take(38).chain("…'".chars()).collect() }
}

fn type_name(kind: &Bound<'_, PyType>) -> String {
    kind.fully_qualified_name().map(|name| name.to_string()).unwrap_or_default()
}
