//! Payload: a value as bytes that other processes read, and back.
//!
//! Text is JSON as orjson writes and reads it; `bytes` stay as they are. Nothing else is ever read: no bytes from outside are
//! given to anything that could run them.

use donjon::payload::Payload;
use donjon_core::envelope::Codec;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

use super::Kept;
use crate::errors::DecodeError;

impl Kept {
    /// The value as bytes.
    ///
    /// # Errors
    ///
    /// `MemoryError`; a master is JSON.
    pub(crate) fn payload(&self, py: Python<'_>) -> PyResult<Payload> {
        static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let object = self.copy(py)?;
        if let Ok(bytes) = object.bind(py).cast::<PyBytes>() {
            return Ok(Payload::bytes(bytes.as_bytes().to_vec()));
        }
        let text = DUMPS.import(py, "orjson", "dumps")?.call1((object,))?;
        Ok(Payload::json(text.cast::<PyBytes>()?.as_bytes().to_vec()))
    }
}

/// The value that the bytes under `key` are: the caller's own.
///
/// # Errors
///
/// `DecodeError` where they are no JSON, or more than `limit` of them.
pub(crate) fn decode(py: Python<'_>, key: &str, payload: &Payload, limit: u64) -> PyResult<Py<PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static ERROR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if payload.bytes.len() as u64 > limit {
        return Err(DecodeError::new_err(format!("what is stored under {key} is over the limit for one value")));
    }
    let bytes = PyBytes::new(py, &payload.bytes);
    match payload.codec {
        Codec::Bytes => Ok(bytes.into_any().unbind()),
        Codec::Json => match LOADS.import(py, "orjson", "loads")?.call1((bytes,)) {
            Ok(value) => Ok(value.unbind()),
            // Not as its cause: that has the text.
            Err(error) if error.matches(py, ERROR.import(py, "orjson", "JSONDecodeError")?)? => {
                Err(DecodeError::new_err(format!("what is stored under {key} is no JSON")))
            }
            Err(error) => Err(error),
        },
    }
}
