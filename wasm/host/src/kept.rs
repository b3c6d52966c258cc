//! Kept: what stays from one call of the host to the next.
//!
//! Without the standard library there is no `thread_local!`; and a module has one thread, so what it keeps needs no more than a cell.

use alloc::boxed::Box;
use core::cell::{Cell, OnceCell, RefCell};
use core::mem::forget;

/// A value in a `static`.
pub struct Kept<T>(T);

// SAFETY: an instance runs on the one thread that calls it. Built for a host that has more, this crate is checked and never run.
unsafe impl<T> Sync for Kept<T> {}

/// What is kept, empty at first, of a type that has to be made when it is first asked for.
pub type Later<T> = Kept<OnceCell<T>>;

impl<T> Kept<T> {
    /// What is kept from the start.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Asks it.
    pub fn with<R>(&'static self, ask: impl FnOnce(&'static T) -> R) -> R {
        ask(&self.0)
    }
}

impl<T> Kept<RefCell<T>> {
    /// Reads it.
    pub fn with_borrow<R>(&'static self, ask: impl FnOnce(&T) -> R) -> R {
        ask(&self.0.borrow())
    }

    /// Changes it.
    pub fn with_borrow_mut<R>(&'static self, ask: impl FnOnce(&mut T) -> R) -> R {
        ask(&mut self.0.borrow_mut())
    }

    /// Keeps another instead.
    pub fn set(&'static self, value: T) {
        self.0.replace(value);
    }

    /// Takes it out.
    pub fn take(&'static self) -> T
    where
        T: Default,
    {
        self.0.take()
    }
}

impl<T> Kept<Cell<Option<Box<T>>>> {
    /// Keeps another instead.
    pub fn fill(&'static self, value: T) {
        self.0.set(Some(Box::new(value)));
    }

    /// Lends it out for one call, in the midst of which nobody else has it. Costs less than a cell that counts who borrows.
    ///
    /// # Panics
    ///
    /// Where there is nothing, or it is lent out.
    #[inline(always)]
    pub fn lend<R>(&'static self, ask: impl FnOnce(&mut T) -> R) -> R {
        let Some(mut value) = self.0.take() else { panic!("the host opens it first") };
        let given = ask(&mut value);
        // Nothing is dropped by that, of which the compiler need not know how.
        forget(self.0.replace(Some(value)));
        given
    }
}

impl<T: Default> Later<T> {
    /// What is made later.
    pub const fn later() -> Self {
        Self(OnceCell::new())
    }

    /// It, made by now.
    pub fn made(&'static self) -> &'static T {
        self.0.get_or_init(T::default)
    }
}
