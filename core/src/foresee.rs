//! Foresee: lets memory bring what will be looked at soon, without waiting for it.
//!
//! A look that nobody needs the outcome of is not enough: a processor goes on past it, but not far. Decides nothing, and changes nothing
//! that could be seen.

/// Lets memory bring the first cache line of it, where a processor can be told so.
#[inline(always)]
#[cfg_attr(any(target_arch = "x86_64", target_arch = "aarch64"), expect(unsafe_code, reason = "no safe name for it"))]
pub(crate) fn foresee<T>(what: &T) {
    let at: *const T = what;
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every such processor has it, and it may be given any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: every such processor has it, and it may be given any address.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) at, options(readonly, nostack, preserves_flags));
    }
    let _ = at;
}
