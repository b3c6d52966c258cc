//! Trap: how the module gives up.
//!
//! A panic ends the instance in the midst of a call, and nothing that it held is to be trusted then. It says no more than that: the
//! texts of all panics, and what puts them together, would be a fifth of the module. The host logs the trap and the call it met.

#[cfg(target_family = "wasm")]
#[panic_handler]
fn give_up(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// Traps, in the midst of a call: for tests of those who have to go on.
#[cfg(feature = "trap")]
#[unsafe(no_mangle)]
pub extern "C" fn trap() {
    panic!("a test asked for it");
}
