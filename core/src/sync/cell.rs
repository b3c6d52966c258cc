//! Cell: locks of one thread.

use alloc::boxed::Box;
use core::cell::{Cell, RefCell, RefMut};
use core::fmt::{self, Debug, Formatter};
use core::mem::{ManuallyDrop, forget};
use core::ops::{Deref, DerefMut};

/// As `parking_lot`'s, of one thread.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(RefCell<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    pub(crate) fn lock(&self) -> RefMut<'_, T> {
        self.0.borrow_mut()
    }
}

/// As that in `lock`, of one thread: whoever locks it has it alone, also to read. That costs a hit less than counting those who read.
pub(crate) struct RwLock<T> {
    value: Cell<Option<Box<T>>>,
    counted: Cell<u64>,
}

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: Cell::new(Some(Box::new(value))), counted: Cell::new(0) }
    }

    #[inline(always)]
    pub(crate) fn read(&self) -> Lent<'_, T> {
        let value = self.value.take();
        assert!(value.is_some(), "it is locked already");
        Lent { lock: self, value: ManuallyDrop::new(value) }
    }

    pub(crate) fn write(&self) -> Lent<'_, T> {
        self.read()
    }

    pub(crate) fn counted(&self) -> u64 {
        self.counted.get()
    }

    pub(crate) fn reset_counted(&self) {
        self.counted.set(0);
    }
}

impl<T> Debug for RwLock<T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str("RwLock")
    }
}

/// What a lock holds, until this is dropped.
pub(crate) struct Lent<'l, T> {
    lock: &'l RwLock<T>,
    /// Given back, and so never dropped here: to know how costs every hit a call.
    value: ManuallyDrop<Option<Box<T>>>,
}

impl<T> Lent<'_, T> {
    /// Gives it back, and is counted.
    #[inline(always)]
    pub(crate) fn counted(self) {
        self.lock.counted.set(self.lock.counted.get() + 1);
    }
}

impl<T> Deref for Lent<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        match &*self.value {
            Some(value) => value,
            None => unreachable!("it is given back when this is dropped"),
        }
    }
}

impl<T> DerefMut for Lent<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut *self.value {
            Some(value) => value,
            None => unreachable!("it is given back when this is dropped"),
        }
    }
}

impl<T> Drop for Lent<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // As above: nothing is in its place.
        forget(self.lock.value.replace(self.value.take()));
    }
}
