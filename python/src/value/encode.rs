//! Encode: turns a Python object into a master of plain JSON types, or says what in it has none.
//!
//! Owns what is accepted and what becomes of it. Exact builtin types never reach Python code. A dict or list is copied in one step
//! first, so nothing that changes the original meanwhile, be it another thread or a foreign type's own code, can tear it.

use std::mem;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple, PyType};

use super::track::untrack;
use super::weigh::Weigher;
use super::{Kept, Kind, Master, Part, Place};
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
    let mut encoder = Encoder { py, foreign, weigher: Weigher::new(py)?, parts: Vec::new() };
    let item = if let Some(bytes) = encoder.bytes(value) { bytes } else { encoder.value(value, 0) };
    let master = match item {
        Ok(Item::Scalar(object)) => Master::Scalar(object.unbind()),
        Ok(Item::Container) => encoder.master(),
        Err(refusal) => return Err(refusal.raise(py)),
    };
    Ok(Kept::new(master, encoder.weigher.total()))
}

/// What became of an item.
enum Item<'py> {
    Scalar(Bound<'py, PyAny>),
    /// A dict or list: the first of the parts that it added, with its place still to be said.
    Container,
}

impl<'py> Item<'py> {
    fn scalar<T>(object: Bound<'py, T>) -> Self {
        Self::Scalar(object.into_any())
    }
}

struct Encoder<'a, 'py> {
    py: Python<'py>,
    foreign: Option<&'a Bound<'py, PyAny>>,
    weigher: Weigher<'py>,
    /// The dicts and lists so far.
    parts: Vec<Part>,
}

type Encoded<T> = Result<T, Refusal>;

impl<'py> Encoder<'_, 'py> {
    /// The master of a dict or list.
    fn master(&mut self) -> Master {
        if let [_] = *self.parts {
            let only = self.parts.swap_remove(0);
            return Master::Flat(only.kind, only.object);
        }
        Master::Deep(mem::take(&mut self.parts).into_boxed_slice())
    }

    /// `bytes` at the top, or none of our business.
    fn bytes(&mut self, value: &Bound<'py, PyAny>) -> Option<Encoded<Item<'py>>> {
        let bytes = value.cast::<PyBytes>().ok()?;
        let exact = if bytes.is_exact_instance_of::<PyBytes>() {
            bytes.clone()
        } else {
            PyBytes::new(self.py, bytes.as_bytes())
        };
        self.weigher.bytes(&exact);
        Some(Ok(Item::scalar(exact)))
    }

    fn value(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Encoded<Item<'py>> {
        if let Ok(text) = value.cast_exact::<PyString>() {
            self.text(text)?;
            return Ok(Item::scalar(text.clone()));
        }
        if let Ok(integer) = value.cast_exact::<PyInt>() {
            return self.integer(integer);
        }
        if value.is_none() || value.is_exact_instance_of::<PyBool>() {
            return Ok(Item::scalar(value.clone()));
        }
        if let Ok(float) = value.cast_exact::<PyFloat>() {
            return self.float(float);
        }
        if let Ok(dict) = value.cast_exact::<PyDict>() {
            return self.dict(dict.copy()?, depth);
        }
        if let Ok(list) = value.cast_exact::<PyList>() {
            return self.list(&list.get_slice(0, list.len()), depth);
        }
        if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            return self.list(&tuple.to_list(), depth);
        }
        self.other(value, depth)
    }

    /// What is no exact JSON type: a subclass of one, a type with a text form, or foreign.
    #[cold]
    fn other(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Encoded<Item<'py>> {
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
            return Ok(Item::scalar(text));
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
            return self.list(&list.get_slice(0, list.len()), depth);
        }
        if let Ok(tuple) = value.cast::<PyTuple>() {
            return self.list(&tuple.to_list(), depth);
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
    fn deeper(&mut self, value: &Bound<'py, PyAny>, depth: usize) -> Encoded<Item<'py>> {
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

    fn integer(&mut self, integer: &Bound<'py, PyInt>) -> Encoded<Item<'py>> {
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
            return Ok(Item::scalar(integer.clone()));
        }
        let exact = match signed {
            Ok(value) => value.into_pyobject(self.py),
            Err(_) => magnitude.into_pyobject(self.py),
        };
        Ok(Item::scalar(exact.unwrap_or_else(|never| match never {})))
    }

    fn float(&mut self, float: &Bound<'py, PyFloat>) -> Encoded<Item<'py>> {
        let value = float.value();
        if !value.is_finite() {
            return Err(Refusal::new("NaN and infinities have no JSON form"));
        }
        self.weigher.float();
        Ok(Item::scalar(if float.is_exact_instance_of::<PyFloat>() {
            float.clone()
        } else {
            PyFloat::new(self.py, value)
        }))
    }

    /// Adds `dict`, one of our own, and replaces in it what cannot stay as it is.
    fn dict(&mut self, dict: Bound<'py, PyDict>, depth: usize) -> Encoded<Item<'py>> {
        let depth = enter(depth)?;
        let dict = self.text_keys(dict)?;
        let own = self.open(Kind::Dict, dict.as_any());
        for (key, item) in &dict {
            let next = self.parts.len();
            match self.value(&item, depth).map_err(|refusal| refusal.within(Step::Key(key.clone().unbind())))? {
                Item::Scalar(object) if object.is(&item) => {}
                Item::Scalar(object) => dict.set_item(key, object)?,
                Item::Container => {
                    dict.set_item(&key, self.py.None())?;
                    self.put(next, own, Place::Key(key.unbind()));
                }
            }
        }
        self.weigher.dict(&dict)?;
        untrack(&dict);
        Ok(Item::Container)
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
    fn list(&mut self, list: &Bound<'py, PyList>, depth: usize) -> Encoded<Item<'py>> {
        let depth = enter(depth)?;
        let own = self.open(Kind::List, list.as_any());
        for index in 0..list.len() {
            let item = list.get_item(index)?;
            let next = self.parts.len();
            match self.value(&item, depth).map_err(|refusal| refusal.within(Step::Index(index)))? {
                Item::Scalar(object) if object.is(&item) => {}
                Item::Scalar(object) => list.set_item(index, object)?,
                Item::Container => {
                    list.set_item(index, self.py.None())?;
                    self.put(next, own, Place::Index(index.cast_signed()));
                }
            }
        }
        self.weigher.list(list);
        untrack(list);
        Ok(Item::Container)
    }

    /// Adds a part; gives its number.
    fn open(&mut self, kind: Kind, object: &Bound<'py, PyAny>) -> usize {
        self.parts.push(Part { object: object.clone().unbind(), kind, inside: 0, place: Place::Index(0) });
        self.parts.len() - 1
    }

    /// Says where a part belongs in another.
    fn put(&mut self, part: usize, outer: usize, place: Place) {
        self.parts[part].place = place;
        self.parts[outer].inside += 1;
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
