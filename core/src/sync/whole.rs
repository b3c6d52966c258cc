//! Whole: the lock as one step, where each order of steps is tried.

use core::ops::Deref;
use core::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLockReadGuard, RwLockWriteGuard};

/// As that in `lock`.
#[derive(Debug)]
pub(crate) struct RwLock<T> {
    value: parking_lot::RwLock<T>,
    counted: AtomicU64,
}

pub(crate) struct Reading<'l, T> {
    value: RwLockReadGuard<'l, T>,
    counted: &'l AtomicU64,
}

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: parking_lot::RwLock::new(value), counted: AtomicU64::new(0) }
    }

    pub(crate) fn read(&self) -> Reading<'_, T> {
        Reading { value: self.value.read(), counted: &self.counted }
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.value.write()
    }

    pub(crate) fn counted(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    pub(crate) fn reset_counted(&self) {
        self.counted.store(0, Ordering::Relaxed);
    }
}

impl<T> Reading<'_, T> {
    pub(crate) fn counted(self) {
        self.counted.fetch_add(1, Ordering::Relaxed);
    }
}

impl<T> Deref for Reading<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
