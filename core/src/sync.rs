//! Sync: the locks that the core takes, and the atomics by which threads agree. A host with threads has real ones; where there is one
//! thread, a cell does for a lock.
//!
//! Which thread comes first at one of these is what can make one run differ from another. `tests/schedules` builds the core with
//! those of `shuttle` in their place, which decides that. What is only counted, estimated or drawn has atomics of its own.
//!
//! In WebAssembly without threads nobody can wait for a lock, so there is nothing to wait with: a lock that is taken twice is a fault
//! of ours, which a cell shows at once by a panic where a lock would hang.

#[cfg(not(shuttle))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[cfg(not(target_family = "wasm"))]
pub(crate) use parking_lot::{Mutex, RwLock};

#[cfg(target_family = "wasm")]
pub(crate) use cell::{Mutex, RwLock};

#[cfg(target_family = "wasm")]
mod cell {
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

    /// As `parking_lot`'s, of one thread: whoever locks it has it alone, also to read. That costs a hit less than counting those who read.
    pub(crate) struct RwLock<T>(Cell<Option<Box<T>>>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Cell::new(Some(Box::new(value))))
        }

        #[inline(always)]
        pub(crate) fn read(&self) -> Lent<'_, T> {
            let value = self.0.take();
            assert!(value.is_some(), "it is locked already");
            Lent { lock: self, value: ManuallyDrop::new(value) }
        }

        pub(crate) fn write(&self) -> Lent<'_, T> {
            self.read()
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
            forget(self.lock.0.replace(self.value.take()));
        }
    }
}
