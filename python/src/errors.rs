//! Errors: turns what the core refuses into the exceptions of `donjon._errors`.
//!
//! Must not decide what is an error. The classes live in Python, where their docs are read; each is imported when first raised.

use pyo3::import_exception;

import_exception!(donjon._errors, UnsupportedValue);
