//! Trap: what the module says of itself when it gives up.
//!
//! A panic ends the instance in the midst of a call. Nothing that it held is to be trusted then but this text, which the host logs.

#[cfg(feature = "trap")]
use std::cell::Cell;
use std::cell::RefCell;

thread_local! {
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has panics leave their text. To be called first.
#[unsafe(no_mangle)]
pub extern "C" fn start() {
    std::panic::set_hook(Box::new(|info| TEXT.with_borrow_mut(|text| *text = info.to_string())));
}

/// Where the text is.
#[unsafe(no_mangle)]
pub extern "C" fn panic_text() -> *const u8 {
    TEXT.with_borrow(|text| text.as_ptr())
}

/// How long it is.
#[unsafe(no_mangle)]
pub extern "C" fn panic_bytes() -> usize {
    TEXT.with_borrow(String::len)
}

#[cfg(feature = "trap")]
thread_local! {
    static IS_SET: Cell<bool> = const { Cell::new(false) };
}

/// Has the next call trap in the midst of it: for tests of those who have to go on.
#[cfg(feature = "trap")]
#[unsafe(no_mangle)]
pub extern "C" fn trap() {
    IS_SET.set(true);
}

/// Where calls trap that are to.
pub(crate) fn spring() {
    #[cfg(feature = "trap")]
    assert!(!IS_SET.take(), "a test asked for it");
}
