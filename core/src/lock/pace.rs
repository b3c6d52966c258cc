//! Pace: when a lock that is held is renewed, how long its holder may be sure of it, and how often those who wait look.
//!
//! All of it is reckoned from when the lock was asked for: whoever grants it reckons from later. Must not know who grants it, nor what
//! time it is.

use core::time::Duration;

/// How a lock of one time to live is kept.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use donjon_core::lock::Pace;
///
/// let pace = Pace::of(Duration::from_secs(30));
/// assert_eq!(pace.renew, Duration::from_secs(10));
/// assert_eq!(pace.sure, Duration::from_secs(29), "it runs out a little later, but who would rely on that?");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// It is sure for so long since it was asked for, or renewed; then it is lost.
    pub sure: Duration,
    /// It is renewed so long after it was asked for: three times before it would run out.
    pub renew: Duration,
    /// Where it is not known whether it was renewed, that is tried again after this, for as long as it is sure.
    pub again: Duration,
}

impl Pace {
    /// That of a lock that lives for `ttl` without being renewed.
    pub fn of(ttl: Duration) -> Self {
        let tenth = ttl / 10;
        Self { sure: ttl.saturating_sub(tenth.min(MOST_MARGIN)), renew: ttl / 3, again: tenth.min(LOOK_AGAIN) }
    }
}

/// Who waits for a lock looks at least so often: not all who hold one live to give it back.
pub const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What is taken off the time of a lock, a tenth of it, is no longer than this.
const MOST_MARGIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_tried_twice_more_before_it_is_no_longer_sure() {
        for millis in [1, 10, 100, 5_000, 60_000, 86_400_000] {
            let Pace { sure, renew, again } = Pace::of(Duration::from_millis(millis));
            assert!(renew + again + again < sure, "{millis} ms: {renew:?} and twice {again:?} are not within {sure:?}");
        }
    }

    #[test]
    fn a_lock_held_for_long_is_sure_for_all_but_a_second_and_asked_for_every_half() {
        let hour = Pace::of(Duration::from_secs(3_600));
        assert_eq!(hour.sure, Duration::from_secs(3_599));
        assert_eq!(hour.again, LOOK_AGAIN);
    }
}
