//! Held: what memory in front of Redis keeps of a value: the bytes that came, and from the first reader on what the memory backend
//! keeps of one.
//!
//! Most of what is read is read once: that costs no second copy. Must not know when a value may be served.
//! Invariant: no lock is held while Python is called.

use std::sync::{Arc, OnceLock};

use donjon::engine::Keep;
use donjon::payload::Payload;
use donjon_core::envelope::Codec;
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::value::{Kept, decode, encode, for_reader};

/// A value in front of Redis. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Held(Arc<Forms>);

#[derive(Debug)]
struct Forms {
    kept: OnceLock<Kept>,
    /// Gone once it is kept in the other form.
    payload: Mutex<Option<Payload>>,
}

/// What a reader gets.
pub(super) enum Copied {
    /// A value of its own.
    Value(Py<PyAny>),
    /// The same, of one that weighs so many bytes from now on.
    First(Py<PyAny>, u64),
}

impl Keep for Held {
    fn keep(payload: &Payload) -> (Self, u64) {
        let (payload, bytes) = Payload::keep(payload);
        // Until somebody reads it, what that will come to is guessed.
        let bytes = if payload.codec == Codec::Json { bytes * OBJECTS_OF_JSON } else { bytes };
        (Self(Arc::new(Forms { kept: OnceLock::new(), payload: Mutex::new(Some(payload)) })), bytes)
    }
}

impl Held {
    /// What a reader of the type of this fingerprint gets of the value under `key`.
    ///
    /// # Errors
    ///
    /// `DecodeError` as [`decode`].
    #[inline]
    pub(super) fn copy(&self, py: Python<'_>, key: &str, reader: Option<u64>, limit: u64) -> PyResult<Copied> {
        match self.0.kept.get() {
            Some(kept) => kept.copy_for(py, reader).map(Copied::Value),
            None => self.first(py, key, reader, limit),
        }
    }

    #[cold]
    fn first(&self, py: Python<'_>, key: &str, reader: Option<u64>, limit: u64) -> PyResult<Copied> {
        let payload = self.0.payload.lock().clone();
        let Some(payload) = payload else {
            // Another thread was first just now.
            let kept = self.0.kept.get().expect("it is kept before its bytes go");
            return kept.copy_for(py, reader).map(Copied::Value);
        };
        let value = decode(py, key, &payload, limit)?;
        // What has no such form stays bytes, which it can be read from as well.
        let kept = encode(value.bind(py), None);
        let value = for_reader(py, value, payload.fingerprint, reader)?;
        let Ok(kept) = kept else { return Ok(Copied::Value(value)) };
        let kept = kept.of_type(payload.fingerprint);
        let weight = kept.weight().get();
        let _of_whoever_was_first = self.0.kept.set(kept);
        let bytes = self.0.payload.lock().take();
        drop(bytes);
        Ok(Copied::First(value, weight))
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Python's objects take five to six times the bytes of their JSON.
const OBJECTS_OF_JSON: u64 = 5;
