//! Fork: tells what belongs to this process from what it inherited.
//!
//! Owns the count of forks that lie between this process and the one that loaded the module. A child has its parent's memory, but
//! neither its threads nor a right to its sockets: what keeps either notes the count, and is left alone where it differs.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::prelude::*;

/// Which process this is. Costs a load; asking for the process id costs a system call.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Counts the forks from now on.
pub(crate) fn count(py: Python<'_>) -> PyResult<()> {
    let os = py.import("os")?;
    // Where there is no fork, there is nothing to count.
    let Ok(register) = os.getattr("register_at_fork") else { return Ok(()) };
    let after = pyo3::types::PyDict::new(py);
    after.set_item("after_in_child", wrap_pyfunction!(forked, py)?)?;
    register.call((), Some(&after))?;
    Ok(())
}

#[pyfunction]
fn forked() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

static GENERATION: AtomicU32 = AtomicU32::new(0);
