//! Clock: where this process reads the time that the core is given.
//!
//! Owns the choice between the cheap clock, the exact one, and one that a test moves. Must not know what a moment is used
//! for. Invariant: no clock here goes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use donjon_core::moment::Moment;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The time of this process.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// The system's monotonic clock.
    System,
    /// One that moves when told to: nanoseconds.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The manual clock, or the system's where none is given.
    pub(crate) fn new(manual: Option<&ManualClock>) -> Self {
        manual.map_or(Self::System, |clock| Self::Manual(Arc::clone(&clock.nanos)))
    }

    /// Now, at most 4 ms late: 3 ns to read where Linux has it, for hits.
    #[inline]
    pub(crate) fn now(&self) -> Moment {
        match self {
            Self::System => system::coarse(),
            Self::Manual(nanos) => Moment::from_nanos(nanos.load(Ordering::Acquire)),
        }
    }

    /// Now, to measure how long a load took. Never mixed with [`now`](Self::now) in a subtraction that must not be off by 4 ms.
    pub(crate) fn exact(&self) -> Moment {
        match self {
            Self::System => system::exact(),
            Self::Manual(nanos) => Moment::from_nanos(nanos.load(Ordering::Acquire)),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use donjon_core::moment::Moment;
    use rustix::time::{ClockId, clock_gettime};

    pub(super) fn coarse() -> Moment {
        read(ClockId::MonotonicCoarse)
    }

    pub(super) fn exact() -> Moment {
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
    use std::time::{Duration, Instant};

    use donjon_core::moment::Moment;

    /// A day ahead of the first reading: no deadline of a cache lies before the clock's start.
    const START: Moment = Moment::from_millis(86_400_000);

    pub(super) fn exact() -> Moment {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        START.after(Duration::from(FIRST.get_or_init(Instant::now).elapsed()))
    }

    pub(super) use exact as coarse;
}

/// A clock that moves when told to, for tests. Starts at 1,000 seconds.
#[pyclass(frozen, module = "donjon._donjon")]
pub(crate) struct ManualClock {
    nanos: Arc<AtomicU64>,
}

#[pymethods]
impl ManualClock {
    #[new]
    fn new() -> Self {
        Self { nanos: Arc::new(AtomicU64::new(1_000_000_000_000)) }
    }

    /// Moves the clock on by `seconds`, which may not be negative.
    fn advance(&self, seconds: f64) -> PyResult<()> {
        let by = Duration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|by| u64::try_from(by.as_nanos()).ok())
            .ok_or_else(|| PyValueError::new_err(format!("a clock cannot move on by {seconds} seconds")))?;
        let moved = self.nanos.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| now.checked_add(by));
        moved.map(drop).map_err(|_| PyValueError::new_err(format!("a clock cannot move on by {seconds} seconds")))
    }

    /// Seconds since the clock's start.
    fn now(&self) -> f64 {
        Duration::from_nanos(self.nanos.load(Ordering::Acquire)).as_secs_f64()
    }

    fn __repr__(&self) -> String {
        format!("ManualClock(now={})", self.now())
    }
}
