//! Clock: where this process reads the time that memory is given.
//!
//! Owns the choice between the cheap clock, the exact one, and one that a test moves. Must not know what a moment is used for.
//! Invariant: no clock goes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use donjon_core::moment::Moment;

/// The time of this process.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The system's monotonic clock.
    #[default]
    System,
    /// One that moves when told to.
    Manual(ManualClock),
}

impl Clock {
    /// Now, at most 4 ms late: 3 ns to read where Linux has it, for hits.
    #[inline]
    pub fn now(&self) -> Moment {
        match self {
            Self::System => system::coarse(),
            Self::Manual(clock) => clock.now(),
        }
    }

    /// Now, to measure how long a load took. Never mixed with [`now`](Self::now) in a subtraction that must not be off by 4 ms.
    pub fn exact(&self) -> Moment {
        match self {
            Self::System => system::exact(),
            Self::Manual(clock) => clock.now(),
        }
    }
}

/// A clock that moves when told to, for tests. Clones show the same time, which begins at 1,000 seconds.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use donjon::{Cache, ManualClock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), donjon::Error> {
/// let clock = ManualClock::default();
/// let cache = Cache::memory().clock(&clock).build()?;
/// cache.set("user:5", "Ada").ttl("5m").await?;
/// clock.advance(Duration::from_secs(299));
/// assert!(cache.exists("user:5").await?);
/// clock.advance(Duration::from_secs(1));
/// assert!(!cache.exists("user:5").await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl Default for ManualClock {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000_000_000)))
    }
}

impl ManualClock {
    /// Moves the clock on, and no further than to the end of time, which is 584 years from its start.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let _always_moved =
            self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| Some(now.saturating_add(by)));
    }

    /// The time that it shows.
    pub fn now(&self) -> Moment {
        Moment::from_nanos(self.0.load(Ordering::Acquire))
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
    use std::time::Instant;

    use donjon_core::moment::Moment;

    /// A day ahead of the first reading: no deadline of a cache lies before the clock's start.
    const START: Moment = Moment::from_millis(86_400_000);

    pub(super) fn exact() -> Moment {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        START.after(FIRST.get_or_init(Instant::now).elapsed())
    }

    pub(super) use exact as coarse;
}
