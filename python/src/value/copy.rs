//! Copy: makes what a reader gets of a master.
//!
//! Each container is copied whole by the interpreter's own call, then those inside it are put into their places, which the master
//! names: faster than building them item by item, and than looking for them. Depth is bounded, since `encode` bounds it. Must not call
//! Python code: the items are exact builtin types, whose copying runs none.

#![allow(unsafe_code)]

use std::hint::black_box;
use std::ptr::null_mut;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use super::track::keep_tracked;
use super::{Kind, Master, Part, Place};

/// A copy of `master`, or what it is itself where that cannot be changed.
#[inline]
pub(super) fn of(py: Python<'_>, master: &Master) -> PyResult<Py<PyAny>> {
    // SAFETY: each call gives a new reference, or null with an exception set.
    unsafe {
        let copy = match master {
            Master::Scalar(object) => return Ok(object.clone_ref(py)),
            Master::Flat(kind, object) => flat(py, *kind, object),
            Master::Deep(parts) => Parts::new(parts).copy_next(py),
        };
        Bound::from_owned_ptr_or_err(py, copy).map(Bound::unbind)
    }
}

/// A copy of one container with the same items.
#[inline]
fn flat(py: Python<'_>, kind: Kind, object: &Py<PyAny>) -> *mut PyObject {
    // SAFETY: `encode` said which it is, a master never changes, and `&Py` keeps it alive over the call. The copy is ours alone.
    unsafe {
        match kind {
            Kind::Dict => {
                let copy = ffi::PyDict_Copy(object.as_ptr());
                if !copy.is_null() {
                    keep_tracked(py, copy);
                }
                copy
            }
            Kind::List => ffi::PyList_GetSlice(object.as_ptr(), 0, isize::MAX),
        }
    }
}

/// What of a master is still to be copied.
struct Parts<'a> {
    rest: &'a [Part],
}

impl<'a> Parts<'a> {
    /// How far ahead memory is asked for.
    const AHEAD: usize = 32;

    fn new(parts: &'a [Part]) -> Self {
        parts.iter().take(Self::AHEAD).for_each(foresee);
        Self { rest: parts }
    }

    /// The first of the rest, with all that is in it: a new reference, or null with an exception set.
    fn copy_next(&mut self, py: Python<'_>) -> *mut PyObject {
        let (part, rest) = self.rest.split_first().expect("a part counts those in it");
        self.rest = rest;
        if let Some(later) = rest.get(Self::AHEAD - 1) {
            foresee(later);
        }
        let copy = flat(py, part.kind, &part.object);
        if copy.is_null() {
            return copy;
        }
        for _ in 0..part.inside {
            let place = &self.rest.first().expect("a part counts those in it").place;
            let member = self.copy_next(py);
            // SAFETY: the copy is of the kind that `encode` found the places in, and both references are ours.
            unsafe {
                if member.is_null() || !put(copy, place, member) {
                    ffi::Py_DECREF(copy);
                    return null_mut();
                }
            }
        }
        copy
    }
}

/// Puts `member` into the place of its container and takes the reference over; false with an exception set where that fails.
///
/// # Safety
///
/// The container is of the kind that has such a place; the reference is the caller's.
#[inline]
unsafe fn put(container: *mut PyObject, place: &Place, member: *mut PyObject) -> bool {
    // SAFETY: as above. A list takes the reference over itself, even where it fails.
    unsafe {
        match place {
            Place::Key(key) => {
                let status = ffi::PyDict_SetItem(container, key.as_ptr(), member);
                ffi::Py_DECREF(member);
                status == 0
            }
            Place::Index(index) => ffi::PyList_SetItem(container, *index, member) == 0,
        }
    }
}

/// Lets memory bring a container that is soon to be copied: asked for one by one, each would be waited for. Nothing rests on it.
#[inline]
fn foresee(part: &Part) {
    // SAFETY: the part keeps it alive, and nobody changes the type of a dict or list.
    black_box(unsafe { ffi::Py_TYPE(part.object.as_ptr()) });
}
