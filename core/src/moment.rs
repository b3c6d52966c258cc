//! Moment: a point in time, as the caller's clock counts it.
//!
//! Owns arithmetic that never wraps. Must not know which clock it came from: a host picks one that never goes back, and
//! hands `now` to every call that needs it.

use core::ops::Sub;
use core::time::Duration;

/// Nanoseconds since a start that the host chose. Later is larger; the largest is [`Moment::NEVER`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use donjon_core::moment::Moment;
///
/// let start = Moment::from_millis(1_000);
/// assert_eq!(start.after(Duration::from_millis(500)), Moment::from_millis(1_500));
/// assert_eq!(start.after(Duration::MAX), Moment::NEVER);
/// assert_eq!(start - Moment::NEVER, Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The moment that does not come: the deadline of what has none.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after the start.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `wait` later, or [`Moment::NEVER`] where that is past counting.
    #[inline]
    pub fn after(self, wait: Duration) -> Self {
        Self(u64::try_from(wait.as_nanos()).map_or(u64::MAX, |nanos| self.0.saturating_add(nanos)))
    }

    /// The moment `lead` earlier, or the start.
    pub fn before(self, lead: Duration) -> Self {
        Self(u64::try_from(lead.as_nanos()).map_or(0, |nanos| self.0.saturating_sub(nanos)))
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// How long from `earlier` to `self`; zero where `earlier` is the later one, as after a clock went back.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
