//! Weigh: sums up what a value takes of this process's memory while it is encoded.
//!
//! Decoded objects take five to six times their JSON, so bytes of JSON would not do. What every process has anyway (small
//! integers, `True`, `None`) counts nothing, and a string met again counts once, as far as a small table remembers it.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use pyo3::{PyTypeInfo, intern};

const WORD: usize = size_of::<usize>();
/// A reference count and a type.
const HEAD: usize = size_of::<pyo3::ffi::PyObject>();
/// What the collector keeps in front of each container; free-threaded builds keep it in the head.
const LINKS: usize = if cfg!(Py_GIL_DISABLED) { 0 } else { 2 * WORD };
/// How many pairs of strings are remembered.
const SETS: usize = 64;

/// The sum so far, and whom it met.
pub(super) struct Weigher<'py> {
    total: usize,
    seen: [[usize; 2]; SETS],
    sizes: &'py Sizes,
}

/// What the interpreter says, asked once.
struct Sizes {
    /// How large a dict is: it alone knows its room for growth.
    dict: Py<PyAny>,
    /// Of an empty string: differs between versions.
    ascii: usize,
    /// Of what a string beyond ASCII has before its characters.
    wide: usize,
}

impl<'py> Weigher<'py> {
    pub(super) fn new(py: Python<'py>) -> PyResult<Self> {
        static SIZES: PyOnceLock<Sizes> = PyOnceLock::new();
        let sizes = SIZES.get_or_try_init(py, || {
            let name = intern!(py, "__sizeof__");
            let dict = PyDict::type_object(py).getattr(name)?.unbind();
            let size_of = |text| PyString::new(py, text).call_method0(name)?.extract::<usize>();
            // One character and the zero at its end, of two bytes each.
            PyResult::Ok(Sizes { dict, ascii: size_of("")?, wide: size_of("\u{100}")? - 4 })
        })?;
        Ok(Self { total: 0, seen: [[0; 2]; SETS], sizes })
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Whether a string was met before; remembers it. The two last met of each set are remembered, so the few names of
    /// fields that come again and again stay, whatever passes by between.
    pub(super) fn met(&mut self, text: &Bound<'py, PyString>) -> bool {
        let address = text.as_ptr() as usize;
        // Fibonacci hashing: what the addresses of small objects differ in lies in the middle.
        let set = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SETS.ilog2());
        let [latest, earlier] = &mut self.seen[set as usize];
        if *latest == address {
            return true;
        }
        let known = *earlier == address;
        *earlier = std::mem::replace(latest, address);
        known
    }

    /// Counts a string of `length` characters that is `utf8` in UTF-8.
    pub(super) fn text(&mut self, length: usize, utf8: &[u8]) {
        self.total += if length == utf8.len() {
            self.sizes.ascii + length
        } else {
            // The widest character decides on the width of all.
            let width = match utf8.iter().max() {
                Some(0xf0..) => 4,
                Some(0xc4..) => 2,
                _ => 1,
            };
            self.sizes.wide + (length + 1) * width
        };
    }

    pub(super) fn integer(&mut self, magnitude: u64) {
        self.total += integer(magnitude);
    }

    pub(super) fn float(&mut self) {
        self.total += HEAD + size_of::<f64>();
    }

    pub(super) fn bytes(&mut self, bytes: &Bound<'py, PyBytes>) {
        // A length, a hash, the bytes, and a zero at their end.
        self.total += HEAD + 2 * WORD + bytes.as_bytes().len() + 1;
    }

    pub(super) fn list(&mut self, list: &Bound<'py, PyList>) {
        // A length, a pointer to the items, and how many there is room for.
        self.total += LINKS + HEAD + 3 * WORD + list.len() * WORD;
    }

    pub(super) fn dict(&mut self, dict: &Bound<'py, PyDict>) -> PyResult<()> {
        let size: usize = self.sizes.dict.bind(dict.py()).call1((dict,))?.extract()?;
        self.total += LINKS + size;
        Ok(())
    }
}

/// What an integer takes: digits of 30 bits behind its head; nothing where the interpreter keeps it anyway.
pub(super) fn integer(magnitude: u64) -> usize {
    if magnitude <= 5 {
        return 0;
    }
    let digits = (u64::BITS - magnitude.leading_zeros()).div_ceil(30) as usize;
    HEAD + WORD + digits * size_of::<u32>()
}
