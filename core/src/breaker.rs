//! Breaker: whether a server that failed is to be asked at all.
//!
//! Owns the count of failures, how long to stay away, and who may try whether the server is back. Must not know what is
//! asked, nor what a failure was: each is reported with a weight, and a random share is passed in with it.
//! Invariants: while the breaker is not closed, one caller at a time may ask; one that never says how that went keeps the
//! others away for [`BreakerConfig::probe`] at most. What was asked before the breaker last moved does not move it.

use core::time::Duration;

use crate::moment::Moment;

/// Lets calls through while a server answers, and keeps them away for a growing while once it does not.
///
/// It opens after [`BreakerConfig::in_a_row`] failures without a success between them, or when half of the last 20 calls
/// failed and all of these came within 10 s. It stays open for a random part of a time that doubles from
/// [`BreakerConfig::first_wait`] up to [`BreakerConfig::longest_wait`], so that many processes do not come back at once;
/// then one call tries, and closes it or opens it anew.
///
/// Every call costs O(1), and the breaker takes no heap.
///
/// # Examples
///
/// ```
/// use donjon_core::breaker::{Allowed, Breaker, BreakerConfig};
/// use donjon_core::moment::Moment;
///
/// let mut breaker = Breaker::new(BreakerConfig::default());
/// let at = Moment::from_millis;
/// for call in 0..5 {
///     let Allowed::Go(pass) = breaker.allow(at(call)) else { panic!("it is closed") };
///     breaker.failed(pass, 1, at(call), 0.5);
/// }
/// assert_eq!(breaker.allow(at(28)), Allowed::No { until: at(29) }, "half of 50 ms after the fifth");
/// let Allowed::Probe(pass) = breaker.allow(at(29)) else { panic!("one may try") };
/// breaker.succeeded(pass, at(30));
/// assert!(breaker.is_closed());
/// ```
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: State,
    pass: Pass,
    recent: Recent,
    /// How often it opened since it was last closed.
    openings: u32,
}

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BreakerConfig {
    /// As many failures, with none but failures since the first, open it. At most 20; default 5.
    pub in_a_row: u32,
    /// The longest that it stays open for the first time. Default 50 ms.
    pub first_wait: Duration,
    /// The longest that it ever stays open. Default 2 s.
    pub longest_wait: Duration,
    /// As long has the one who tries before another may. Default 1 s.
    pub probe: Duration,
}

/// Whether a call may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// It may.
    Go(Pass),
    /// It may, alone, to find out whether the server is back.
    Probe(Pass),
    /// It may not.
    No {
        /// Nor may any before this.
        until: Moment,
    },
}

/// What a caller was let through under. Needed to say how it went; may be used for several calls, or for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass(u64);

impl Pass {
    /// The pass that [`number`](Self::number) was taken from: for a host that keeps it as a number.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The pass as a number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Moment },
    Probing { until: Moment },
}

impl Breaker {
    /// A closed breaker.
    pub fn new(config: BreakerConfig) -> Self {
        Self { config, state: State::Closed, pass: Pass(0), recent: Recent::default(), openings: 0 }
    }

    /// Asks whether a call may go out now.
    pub fn allow(&mut self, now: Moment) -> Allowed {
        match self.state {
            State::Closed => Allowed::Go(self.pass),
            State::Open { until } | State::Probing { until } if now < until => Allowed::No { until },
            State::Open { .. } | State::Probing { .. } => {
                self.move_to(State::Probing { until: now.after(self.config.probe) });
                Allowed::Probe(self.pass)
            }
        }
    }

    /// Reports that the server answered; it does not matter what.
    pub fn succeeded(&mut self, pass: Pass, now: Moment) {
        if pass != self.pass {
            return;
        }
        match self.state {
            State::Closed => self.recent.note(Outcome::Answered, now),
            State::Probing { .. } => {
                self.recent = Recent::default();
                self.openings = 0;
                self.move_to(State::Closed);
            }
            State::Open { .. } => {}
        }
    }

    /// Reports a failure that counts as `weight` of them; one of no weight is an answer.
    ///
    /// `share` is a random number from 0 to 1: the part of the wait that is waited if this opens the breaker.
    pub fn failed(&mut self, pass: Pass, weight: u32, now: Moment, share: f64) {
        if weight == 0 {
            return self.succeeded(pass, now);
        }
        if pass != self.pass {
            return;
        }
        let opens = match self.state {
            State::Closed => {
                for _ in 0..weight.min(WINDOW as u32) {
                    self.recent.note(Outcome::Failed, now);
                }
                self.recent.failures_in_a_row() >= self.config.in_a_row.min(WINDOW as u32)
                    || self.recent.half_failed(now)
            }
            State::Probing { .. } => true,
            State::Open { .. } => false,
        };
        if opens {
            let longest =
                self.config.first_wait.saturating_mul(1 << self.openings.min(31)).min(self.config.longest_wait);
            self.openings = self.openings.saturating_add(1);
            let wait = Duration::from_nanos((longest.as_nanos() as f64 * share.min(1.0)) as u64);
            self.move_to(State::Open { until: now.after(wait) });
        }
    }

    /// Whether calls go out freely.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn move_to(&mut self, state: State) {
        self.state = state;
        self.pass.0 += 1;
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            in_a_row: 5,
            first_wait: Duration::from_millis(50),
            longest_wait: Duration::from_secs(2),
            probe: Duration::from_secs(1),
        }
    }
}

/// How the last [`WINDOW`] calls went, and when that was known.
#[derive(Debug, Default)]
struct Recent {
    at: [Moment; WINDOW],
    noted: u64,
    /// A bit for each, the last one lowest, set where it failed.
    failed: u32,
}

#[derive(Clone, Copy)]
enum Outcome {
    Answered,
    Failed,
}

impl Recent {
    fn note(&mut self, outcome: Outcome, now: Moment) {
        self.at[self.next()] = now;
        self.noted += 1;
        self.failed = ((self.failed << 1) | u32::from(matches!(outcome, Outcome::Failed))) & ((1 << WINDOW) - 1);
    }

    fn failures_in_a_row(&self) -> u32 {
        self.failed.trailing_ones()
    }

    fn half_failed(&self, now: Moment) -> bool {
        let oldest = self.at[self.next()];
        self.noted >= WINDOW as u64 && now - oldest <= WITHIN && self.failed.count_ones() * 2 >= WINDOW as u32
    }

    /// Where the next is noted, which is where the oldest stands.
    fn next(&self) -> usize {
        (self.noted % WINDOW as u64) as usize
    }
}

/// As many calls are looked at for the share that failed.
const WINDOW: usize = 20;

/// Within as long must they have come.
const WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn new() -> Breaker {
        Breaker::new(BreakerConfig::default())
    }

    fn pass(breaker: &mut Breaker, now: Moment) -> Pass {
        match breaker.allow(now) {
            Allowed::Go(pass) | Allowed::Probe(pass) => pass,
            Allowed::No { until } => panic!("not before {until:?}"),
        }
    }

    /// A breaker that opened at `now`, for all of its first wait.
    fn open(now: Moment) -> Breaker {
        let mut breaker = new();
        let pass = pass(&mut breaker, now);
        (0..5).for_each(|_| breaker.failed(pass, 1, now, 1.0));
        assert!(!breaker.is_closed());
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let mut breaker = new();
        let pass = pass(&mut breaker, at(0));
        for weight in [1, 1, 1, 1, 0, 1, 1, 1, 1] {
            breaker.failed(pass, weight, at(0), 1.0);
            assert!(breaker.is_closed());
        }
        breaker.failed(pass, 1, at(0), 1.0);
        assert_eq!(breaker.allow(at(49)), Allowed::No { until: at(50) });
    }

    #[test]
    fn a_time_out_counts_for_two() {
        let mut breaker = new();
        let pass = pass(&mut breaker, at(0));
        breaker.failed(pass, 2, at(0), 1.0);
        breaker.failed(pass, 2, at(0), 1.0);
        assert!(breaker.is_closed());
        breaker.failed(pass, 2, at(0), 1.0);
        assert!(!breaker.is_closed());
    }

    /// Twenty calls, every other one failed, the first at 0 and the others at `rest`.
    fn alternating(rest: Moment) -> Breaker {
        let mut breaker = new();
        let pass = pass(&mut breaker, at(0));
        for call in 0..20 {
            assert!(breaker.is_closed());
            breaker.failed(pass, call % 2, if call == 0 { at(0) } else { rest }, 1.0);
        }
        breaker
    }

    #[test]
    fn half_of_twenty_within_ten_seconds_open_it_and_over_a_longer_time_do_not() {
        assert!(!alternating(at(10_000)).is_closed());
        let mut slow = alternating(at(10_001));
        assert!(slow.is_closed());
        let pass = pass(&mut slow, at(10_001));
        slow.succeeded(pass, at(10_001));
        slow.failed(pass, 1, at(10_001), 1.0);
        assert!(!slow.is_closed(), "by now the first has left the window");
    }

    #[test]
    fn less_than_half_does_not_open_it() {
        let mut breaker = new();
        let pass = pass(&mut breaker, at(0));
        for call in 0..1_000 {
            breaker.failed(pass, u32::from(call % 2 == 0 && call % 20 < 18), at(call), 1.0);
            assert!(breaker.is_closed());
        }
    }

    #[test]
    fn most_of_a_few_do_not_open_it() {
        let mut breaker = new();
        let pass = pass(&mut breaker, at(0));
        for call in 0..19 {
            breaker.failed(pass, u32::from(call % 5 > 0), at(0), 1.0);
            assert!(breaker.is_closed());
        }
    }

    #[test]
    fn the_wait_doubles_up_to_its_bound_and_begins_anew_after_a_success() {
        let mut breaker = open(at(0));
        let mut now = at(0);
        for wait in [50, 100, 200, 400, 800, 1_600, 2_000, 2_000] {
            let until = now.after(Duration::from_millis(wait));
            assert_eq!(breaker.allow(now), Allowed::No { until });
            now = until;
            let pass = pass(&mut breaker, now);
            breaker.failed(pass, 1, now, 1.0);
        }
        now = now.after(Duration::from_secs(2));
        let probe = pass(&mut breaker, now);
        breaker.succeeded(probe, now);
        let pass = pass(&mut breaker, now);
        (0..4).for_each(|_| breaker.failed(pass, 1, now, 1.0));
        assert!(breaker.is_closed(), "what was before is forgotten");
        breaker.failed(pass, 1, now, 1.0);
        assert_eq!(breaker.allow(now), Allowed::No { until: now.after(Duration::from_millis(50)) });
    }

    #[test]
    fn one_tries_while_the_others_stay_away_and_one_that_is_silent_gives_way() {
        let mut breaker = open(at(0));
        let Allowed::Probe(silent) = breaker.allow(at(50)) else { panic!("its time has come") };
        for now in [50, 500, 1_049] {
            assert_eq!(breaker.allow(at(now)), Allowed::No { until: at(1_050) });
        }
        let Allowed::Probe(second) = breaker.allow(at(1_050)) else { panic!("the first had its time") };
        breaker.failed(silent, 1, at(1_060), 1.0);
        assert_eq!(breaker.allow(at(1_060)), Allowed::No { until: at(2_050) }, "the first has no more say");
        breaker.succeeded(second, at(1_070));
        assert!(breaker.is_closed());
    }

    #[test]
    fn what_was_asked_before_it_moved_says_nothing_any_more() {
        let mut breaker = new();
        let early = pass(&mut breaker, at(0));
        (0..5).for_each(|_| breaker.failed(early, 1, at(0), 1.0));
        breaker.succeeded(early, at(1));
        breaker.failed(early, 1, at(40), 1.0);
        assert_eq!(breaker.allow(at(40)), Allowed::No { until: at(50) });
        let probe = pass(&mut breaker, at(50));
        breaker.succeeded(early, at(51));
        assert!(!breaker.is_closed());
        breaker.succeeded(probe, at(52));
        (0..5).for_each(|_| breaker.failed(early, 2, at(53), 1.0));
        assert!(breaker.is_closed());
    }

    proptest! {
        #[test]
        fn it_never_stays_away_longer_than_its_bounds_and_always_lets_somebody_try(
            steps in prop::collection::vec((0..4_u32, any::<u32>(), prop::num::f64::ANY, 0..2_000_u64), 1..200)
        ) {
            let config = BreakerConfig::default();
            let bound = config.longest_wait.max(config.probe);
            let (mut breaker, mut now) = (Breaker::new(config), at(0));
            for (step, weight, share, pause) in steps {
                match (breaker.allow(now), step) {
                    (Allowed::Go(pass) | Allowed::Probe(pass), 0) => breaker.succeeded(pass, now),
                    (Allowed::Go(pass) | Allowed::Probe(pass), 1 | 2) => breaker.failed(pass, weight, now, share),
                    (Allowed::Go(_) | Allowed::Probe(_), _) => {}
                    (Allowed::No { until }, _) => {
                        prop_assert!(now < until && until - now <= bound);
                        if step == 0 {
                            now = until;
                            prop_assert!(matches!(breaker.allow(now), Allowed::Probe(_)));
                            prop_assert!(matches!(breaker.allow(now), Allowed::No { .. }), "one at a time");
                        }
                    }
                }
                now = now.after(Duration::from_millis(pause));
            }
        }
    }
}
