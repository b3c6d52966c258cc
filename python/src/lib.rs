//! The extension module `donjon._donjon`: converts values and errors between Python and the core, and decides nothing.

use pyo3::prelude::*;

#[pymodule]
fn _donjon(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
