//! Copy: makes what a reader gets of a master.
//!
//! Each container is copied whole by the interpreter's own call, then those inside it are replaced by copies of their own: faster
//! than building them item by item. Depth is bounded, since `encode` bounds it. Must not call Python code: the items are exact
//! builtin types, whose copying runs none.

#![allow(unsafe_code)]

use std::ptr::{addr_of_mut, null_mut};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use super::Shape;
use super::track::keep_tracked;

/// A copy of `master`, or `master` itself where it cannot be changed.
#[inline]
pub(super) fn of(py: Python<'_>, master: &Py<PyAny>, shape: Shape) -> PyResult<Py<PyAny>> {
    let master = master.as_ptr();
    // SAFETY: `encode` said what the shape is, a master never changes, and `&Py` keeps it alive over the call. Each call
    // gives a new reference, or null with an exception set.
    unsafe {
        let copy = match shape {
            Shape::Scalar => {
                ffi::Py_INCREF(master);
                master
            }
            Shape::FlatDict => flat_dict(py, master),
            Shape::FlatList => ffi::PyList_GetSlice(master, 0, ffi::PyList_Size(master)),
            Shape::Deep => deep(py, master),
        };
        Bound::from_owned_ptr_or_err(py, copy).map(Bound::unbind)
    }
}

/// # Safety
///
/// `master` is an exact dict or list of a master.
unsafe fn deep(py: Python<'_>, master: *mut PyObject) -> *mut PyObject {
    // SAFETY: one of the two, as the caller says.
    unsafe { if is_dict(master) { deep_dict(py, master) } else { deep_list(py, master) } }
}

/// # Safety
///
/// `master` is an exact dict of a master.
unsafe fn flat_dict(py: Python<'_>, master: *mut PyObject) -> *mut PyObject {
    // SAFETY: a dict; the copy is ours alone.
    unsafe {
        let copy = ffi::PyDict_Copy(master);
        if !copy.is_null() {
            keep_tracked(py, copy);
        }
        copy
    }
}

/// # Safety
///
/// `master` is an exact dict of a master.
unsafe fn deep_dict(py: Python<'_>, master: *mut PyObject) -> *mut PyObject {
    // SAFETY: the master does not change, so its items stay alive and in place while they are visited. Its keys are exact strings.
    unsafe {
        let copy = flat_dict(py, master);
        if copy.is_null() {
            return copy;
        }
        let (mut place, mut key, mut item) = (0, null_mut(), null_mut());
        while ffi::PyDict_Next(master, &raw mut place, addr_of_mut!(key), addr_of_mut!(item)) != 0 {
            if is_dict(item) || is_list(item) {
                let part = deep(py, item);
                if part.is_null() || ffi::PyDict_SetItem(copy, key, part) != 0 {
                    ffi::Py_XDECREF(part);
                    ffi::Py_DECREF(copy);
                    return null_mut();
                }
                ffi::Py_DECREF(part);
            }
        }
        copy
    }
}

/// # Safety
///
/// `master` is an exact list of a master.
unsafe fn deep_list(py: Python<'_>, master: *mut PyObject) -> *mut PyObject {
    // SAFETY: the master does not change, so its items stay alive; each index is below its length, which the copy shares.
    unsafe {
        let length = ffi::PyList_Size(master);
        let copy = ffi::PyList_GetSlice(master, 0, length);
        if copy.is_null() {
            return copy;
        }
        for index in 0..length {
            let item = list_item(master, index);
            if is_dict(item) || is_list(item) {
                let part = deep(py, item);
                // The copy takes the part over, even where it fails.
                if part.is_null() || ffi::PyList_SetItem(copy, index, part) != 0 {
                    ffi::Py_DECREF(copy);
                    return null_mut();
                }
            }
        }
        copy
    }
}

/// # Safety
///
/// `list` is an exact list that nobody changes, and `index` lies within it.
#[inline]
unsafe fn list_item(list: *mut PyObject, index: ffi::Py_ssize_t) -> *mut PyObject {
    // SAFETY: as above.
    unsafe {
        #[cfg(not(Py_LIMITED_API))]
        return ffi::PyList_GET_ITEM(list, index);
        #[cfg(Py_LIMITED_API)]
        return ffi::PyList_GetItem(list, index);
    }
}

/// # Safety
///
/// `object` is alive.
#[inline]
unsafe fn is_dict(object: *mut PyObject) -> bool {
    // SAFETY: as above.
    unsafe { ffi::PyDict_CheckExact(object) != 0 }
}

/// # Safety
///
/// `object` is alive.
#[inline]
unsafe fn is_list(object: *mut PyObject) -> bool {
    // SAFETY: as above.
    unsafe { ffi::PyList_CheckExact(object) != 0 }
}
