//! Sync: the locks that the core takes. A host with threads has real ones; where there is one thread, a cell does.
//!
//! In WebAssembly without threads nobody can wait for a lock, so there is nothing to wait with: a lock that is taken twice is a fault
//! of ours, which a cell shows at once by a panic where a lock would hang.

#[cfg(not(target_family = "wasm"))]
pub(crate) use parking_lot::{Mutex, RwLock};

#[cfg(target_family = "wasm")]
pub(crate) use cell::{Mutex, RwLock};

#[cfg(target_family = "wasm")]
mod cell {
    use core::cell::{Ref, RefCell, RefMut};

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

    /// As `parking_lot`'s, of one thread.
    #[derive(Debug, Default)]
    pub(crate) struct RwLock<T>(RefCell<T>);

    impl<T> RwLock<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(RefCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn read(&self) -> Ref<'_, T> {
            self.0.borrow()
        }

        pub(crate) fn write(&self) -> RefMut<'_, T> {
            self.0.borrow_mut()
        }
    }
}
