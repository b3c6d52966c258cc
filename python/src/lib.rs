//! The extension module `donjon._donjon`: converts values and errors between Python and the core, and decides nothing.

#[allow(dead_code, reason = "the memory core takes what is not yet used here")]
mod clock;
mod errors;
#[allow(dead_code, reason = "the memory core takes what is not yet used here")]
mod value;
#[allow(dead_code, reason = "the memory core takes what is not yet used here")]
mod wake;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _donjon {
    #[pymodule_export]
    use super::clock::ManualClock;
    #[pymodule_export]
    use super::value::Value;
}
