//! Trap: how the module gives up.
//!
//! A panic ends the instance in the midst of a call, and nothing that it held is to be trusted then. It says no more than that: the
//! texts of all panics, and what puts them together, would be a fifth of the module. The host logs the trap and the call it met.

#[cfg(feature = "trap")]
use core::cell::Cell;

#[cfg(feature = "trap")]
use crate::kept::Kept;

#[cfg(target_family = "wasm")]
#[panic_handler]
fn give_up(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(feature = "trap")]
static IS_SET: Kept<Cell<bool>> = Kept::new(Cell::new(false));

/// Has the next call trap in the midst of it: for tests of those who have to go on.
#[cfg(feature = "trap")]
#[unsafe(no_mangle)]
pub extern "C" fn trap() {
    IS_SET.with(|is_set| is_set.set(true));
}

/// Where calls trap that are to.
pub fn spring() {
    #[cfg(feature = "trap")]
    assert!(!IS_SET.with(Cell::take), "a test asked for it");
}
