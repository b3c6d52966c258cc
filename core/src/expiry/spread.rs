//! Spread: keeps entries that were written together from ending together.
//!
//! Owns jitter and early refresh. Must not know where chance comes from: a random number is an argument.

use core::num::NonZeroU64;
use core::time::Duration;

use super::Ttl;
use crate::moment::Moment;
use crate::shown::Number;

/// Cuts each time to live by a random part, so that entries written together part company.
///
/// `share` is the largest part cut, as a fraction: `0.1` on 60 s gives 54 to 60 s. The default cuts nothing.
///
/// # Examples
///
/// ```
/// use donjon_core::expiry::{Jitter, JitterError, Ttl};
///
/// let jitter = Jitter::new(0.1)?;
/// let minute = Ttl::from_secs(60.0).expect("a minute is a ttl");
/// assert_eq!(jitter.apply(minute, 0.0), minute);
/// assert_eq!(Ok(jitter.apply(minute, 0.5)), Ttl::from_secs(57.0));
/// assert_eq!(Jitter::new(1.5), Err(JitterError::OutOfRange(1.5)));
/// # Ok::<(), JitterError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Jitter(f64);

impl Jitter {
    /// Cuts nothing.
    pub const NONE: Self = Self(0.0);

    /// Cuts up to `share` of each time to live.
    ///
    /// # Errors
    ///
    /// [`JitterError::OutOfRange`] unless `0.0 <= share <= 1.0`.
    pub fn new(share: f64) -> Result<Self, JitterError> {
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err(JitterError::OutOfRange(share)) }
    }

    /// `ttl`, cut by `chance` times the share; never below 1 ms, and for ever stays for ever.
    ///
    /// `chance` is a random number of `0.0 <= chance < 1.0`; what lies outside counts as the nearer end.
    pub fn apply(self, ttl: Ttl, chance: f64) -> Ttl {
        if ttl == Ttl::FOREVER {
            return ttl;
        }
        let kept = 1.0 - self.0 * chance.clamp(0.0, 1.0);
        let millis = (ttl.0.get() as f64 * kept + 0.5) as u64;
        Ttl(NonZeroU64::new(millis).unwrap_or(NonZeroU64::MIN))
    }
}

/// Why a jitter is refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JitterError {
    /// The share is no fraction.
    #[error("`jitter` is the largest part of a ttl to cut, from 0.0 to 1.0, got {}", Number(*.0))]
    OutOfRange(f64),
}

/// Decides by chance to load a value anew while it is still fresh, so that no crowd meets its end.
///
/// The chance grows as the end comes near and with the time that the load takes; `beta` above 1.0 (the default) starts
/// earlier, below it later, and 0.0 turns it off. This is `XFetch` of Vattani, Chierichetti and Lowenstein, "Optimal
/// Probabilistic Cache Stampede Prevention", VLDB 2015. It says *when* to refresh; one flight sees to it that only one does.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use donjon_core::expiry::Early;
/// use donjon_core::moment::Moment;
///
/// let (early, load_time, end) = (Early::default(), Duration::from_secs(1), Moment::from_millis(60_000));
/// assert!(!early.possible(Moment::from_millis(30_000), end, load_time), "too far off: no need to draw a number");
/// assert!(early.due(Moment::from_millis(59_500), end, load_time, 0.5));
/// assert!(!early.due(Moment::from_millis(59_000), end, load_time, 0.5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Early(f64);

impl Early {
    /// Refreshes nothing before its time.
    pub const OFF: Self = Self(0.0);

    /// Refreshes early, `beta` times as early as the paper's optimum.
    ///
    /// # Errors
    ///
    /// [`EarlyError::OutOfRange`] unless `0.0 <= beta <= 100.0`.
    pub fn new(beta: f64) -> Result<Self, EarlyError> {
        if (0.0..=100.0).contains(&beta) { Ok(Self(beta)) } else { Err(EarlyError::OutOfRange(beta)) }
    }

    /// Whether [`Early::due`] could say yes: so near to the end that the odds are better than one in a million.
    ///
    /// Costs a multiplication. Ask it first: nearly every hit is spared the random number and the logarithm.
    #[inline]
    pub fn possible(self, now: Moment, fresh_until: Moment, load_time: Duration) -> bool {
        self.within(now, fresh_until, load_time, REACH)
    }

    /// For how long before the end that is possible, for what took `load_time` to load.
    pub fn reach(self, load_time: Duration) -> Duration {
        Duration::from_nanos(self.nanos(load_time, REACH) as u64)
    }

    /// Whether to load anew at `now` what is fresh until `fresh_until` and took `load_time` to load.
    ///
    /// `chance` is a random number of `0.0 < chance <= 1.0`. True from `fresh_until` on, and only where
    /// [`Early::possible`] is; never for what is fresh for ever.
    pub fn due(self, now: Moment, fresh_until: Moment, load_time: Duration, chance: f64) -> bool {
        self.within(now, fresh_until, load_time, (-ln(chance)).clamp(0.0, REACH))
    }

    #[inline]
    fn within(self, now: Moment, fresh_until: Moment, load_time: Duration, loads: f64) -> bool {
        let left = fresh_until.as_nanos().saturating_sub(now.as_nanos()) as f64;
        fresh_until != Moment::NEVER && left <= self.nanos(load_time, loads)
    }

    #[inline]
    fn nanos(self, load_time: Duration, loads: f64) -> f64 {
        load_time.as_secs_f64() * 1e9 * self.0 * loads
    }
}

impl Default for Early {
    fn default() -> Self {
        Self(1.0)
    }
}

/// Why an early refresh is refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EarlyError {
    /// `beta` is negative, no number, or so large that everything would be refreshed all the time.
    #[error("`early` is a factor from 0.0 (never refresh early) to 100.0, 1.0 being the default, got {}", Number(*.0))]
    OutOfRange(f64),
}

/// The natural logarithm of a number above zero, to ten digits. `core` has none, and this one gives the same on every host.
fn ln(number: f64) -> f64 {
    // number = mantissa * 2^exponent with a mantissa from 1 to 2; then ln m = 2 artanh t = 2 (t + t^3/3 + ...), t at most 1/3.
    let bits = number.to_bits();
    let exponent = (bits >> 52) as f64 - 1_023.0;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1_023 << 52));
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let series = (0..10).rev().fold(0.0, |rest, n| rest * t * t + 1.0 / f64::from(2 * n + 1));
    exponent * core::f64::consts::LN_2 + 2.0 * t * series
}

/// -ln(1e-6): draws that reach further are rarer than one in a million, and count as this far.
const REACH: f64 = 13.815_510_557_964_274;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn jitter_leaves_for_ever_alone_and_never_cuts_to_nothing() {
        let all = Jitter::new(1.0).unwrap();
        assert_eq!(all.apply(Ttl::FOREVER, 0.9), Ttl::FOREVER);
        assert_eq!(all.apply(Ttl::from_millis(1.0).unwrap(), 0.999), Ttl::from_millis(1.0).unwrap());
        assert_eq!(all.apply(Ttl::from_secs(9.0).unwrap(), 1.0), Ttl::from_millis(1.0).unwrap());
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Jitter::new(share).is_err());
        }
    }

    #[test]
    fn early_refresh_can_be_turned_off_and_spares_what_has_no_end() {
        let (end, load) = (Moment::from_millis(1_000), Duration::from_secs(100));
        assert!(!Early::OFF.due(Moment::from_millis(999), end, load, 1e-9));
        assert!(!Early::default().possible(Moment::from_millis(1), Moment::NEVER, Duration::MAX));
        assert!(!Early::default().due(Moment::NEVER, Moment::NEVER, load, 1e-9));
        for beta in [-1.0, f64::NAN, f64::INFINITY, 101.0] {
            assert!(Early::new(beta).is_err());
        }
    }

    #[test]
    fn a_chance_that_is_no_chance_decides_something_all_the_same() {
        let (now, end, load) = (Moment::from_millis(0), Moment::from_millis(1_000), Duration::from_secs(1));
        assert!(Early::default().due(now, end, load, 0.0), "as unlikely as can be: due wherever possible");
        assert!(
            !Early::default().due(now, end.after(load * 14), load, 1e-9),
            "rarer than one in a million never happens"
        );
        assert!(!Early::default().due(now, end, load, 2.0));
        assert!(!Early::default().due(now, end, load, f64::NAN));
        assert!(!Early::default().due(now, end, Duration::ZERO, 0.0));
    }

    #[test]
    fn early_refreshes_come_as_often_as_the_paper_says() {
        // P(due) at a distance of `left` is P(-ln u >= left / load) = exp(-left / load).
        let (early, end, load) = (Early::default(), Moment::from_millis(100_000), Duration::from_secs(1));
        for left in [0.1_f64, 0.5, 1.0, 2.0, 4.0] {
            let now = end.before(Duration::from_secs_f64(left));
            let draws = 10_000;
            let due = (1..=draws).filter(|&draw| early.due(now, end, load, f64::from(draw) / f64::from(draws))).count();
            let odds = due as f64 / f64::from(draws);
            assert!((odds - (-left).exp()).abs() < 0.001, "{left} s before the end: {odds}");
        }
    }

    proptest! {
        #[test]
        fn jitter_cuts_at_most_its_share(millis in 1_u64..1_000_000_000, share in 0.0..=1.0, chance in 0.0..1.0) {
            let cut = Jitter::new(share).unwrap().apply(Ttl::from_millis(millis as f64).unwrap(), chance);
            let cut = cut.as_duration().unwrap().as_millis() as f64;
            let meant = (millis as f64 * (1.0 - share * chance)).max(1.0);
            prop_assert!((cut - meant).abs() <= 0.5 + 1e-6, "{cut} for {meant}");
        }

        #[test]
        fn early_is_the_inequality_of_the_paper_and_possible_never_hides_it(
            now in 0_u64..100_000, left in 0_u64..100_000, load in 0_u64..10_000, beta in 0.0..10.0, chance in 1e-6..=1.0,
        ) {
            let (early, load_time) = (Early::new(beta).unwrap(), Duration::from_millis(load));
            let (at, end) = (Moment::from_millis(now), Moment::from_millis(now + left));
            let due = early.due(at, end, load_time, chance);
            let (reach, left) = (load as f64 * beta * -f64::ln(chance), left as f64);
            if (reach - left).abs() > 1e-3 {
                prop_assert_eq!(due, reach >= left);
            }
            prop_assert!(!due || early.possible(at, end, load_time));
        }
    }

    #[test]
    fn the_logarithm_is_the_one_of_the_standard_library_to_ten_digits() {
        for n in 1..=100_000 {
            let number = f64::from(n) / 100_000.0;
            assert!((ln(number) - number.ln()).abs() < 1e-10, "of {number}");
        }
        let least = 1.0 / (1_u64 << 53) as f64;
        assert!((ln(least) - least.ln()).abs() < 1e-10);
    }
}
