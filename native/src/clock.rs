//! Clock: where this process reads the time that the memory backend is given.
//!
//! Owns the choice between the cheap clock and the exact one. Must not know what a moment is used for.
//! Invariant: neither clock goes back.

pub(crate) use system::{coarse, exact};

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use donjon_core::moment::Moment;
    use rustix::time::{ClockId, clock_gettime};

    /// Now, at most 4 ms late: 3 ns to read, for hits.
    pub(crate) fn coarse() -> Moment {
        read(ClockId::MonotonicCoarse)
    }

    /// Now, to measure how long a load took.
    pub(crate) fn exact() -> Moment {
        read(ClockId::Monotonic)
    }

    fn read(clock: ClockId) -> Moment {
        let time = clock_gettime(clock);
        Moment::from_nanos(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::sync::OnceLock;
    use std::time::Instant;

    use donjon_core::moment::Moment;

    /// Now, to measure how long a load took.
    pub(crate) fn exact() -> Moment {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        Moment::from_nanos(FIRST.get_or_init(Instant::now).elapsed().as_nanos() as u64)
    }

    pub(crate) use exact as coarse;
}
