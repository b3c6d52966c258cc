//! Share: how much of the room the window has, where values are that came lately.
//!
//! A tenth is a good share for most that is asked of caches, and a hundredth for what goes round in loops or is read in scans: there a
//! new value is not asked for again until long after any window has lost it, so that all of the window is wasted. Which it is shows in
//! how often values are used before they come to the end of the window, beside how often those of main are. A wide window that is used
//! less than its part gets narrow; a narrow one gets wide as soon as it is used all the same, or else after a while, to see.
//!
//! Owns the share and the counts behind it, which only misses write. Must not know slots.

/// The window's share, and what speaks for another.
#[derive(Debug)]
pub(super) struct Share {
    /// How many values came to the window's end since the counts began.
    ended: u32,
    /// How many of them had been used.
    used: u32,
    /// How many values of main got another chance, as they had been used.
    chances: u32,
    /// For how many counts the window stays narrow; zero where it is wide.
    narrow_for: u32,
}

impl Share {
    /// The share to begin with: wide, as that costs less where it is wrong.
    pub(super) const fn new() -> Self {
        Self { ended: 0, used: 0, chances: 0, narrow_for: 0 }
    }

    /// The window's part of a bound.
    pub(super) const fn of(&self, bound: u64) -> u64 {
        if self.is_narrow() { bound / NARROW } else { bound / WIDE }
    }

    /// Whether the window is narrow.
    #[inline]
    pub(super) const fn is_narrow(&self) -> bool {
        self.narrow_for > 0
    }

    /// Notes that a value of main was used since it last stood first.
    pub(super) const fn chance(&mut self) {
        // Nobody says how many there may be before the next value comes to the window's end.
        self.chances = self.chances.saturating_add(1);
    }

    /// Notes that one of `entries` values came to the window's end, and whether it had been used there. True where the share may be
    /// another one now.
    pub(super) const fn end(&mut self, is_used: bool, entries: u64) -> bool {
        self.ended += 1;
        self.used += is_used as u32;
        let (ended, used, chances) = (self.ended as u64, self.used as u64, self.chances as u64);
        if ended < entries / 4 + LEAST_COUNT {
            return false;
        }
        // Where main is hardly used either, nothing speaks against a wide window.
        let is_main_used = chances * 16 >= ended;
        self.narrow_for = match self.narrow_for {
            0 if is_main_used && chances > used * NARROWED => STAYS_NARROW,
            0 => 0,
            _ if is_main_used && used * WIDENED > chances => 0,
            left => left - 1,
        };
        (self.ended, self.used, self.chances) = (0, 0, 0);
        true
    }
}

/// The parts that the window may have, as their reciprocals.
const WIDE: u64 = 10;
const NARROW: u64 = 100;
/// A wide window gets narrow where main is used more than so many times as often.
const NARROWED: u64 = 16;
/// A narrow one gets wide where main is not used so many times as often.
const WIDENED: u64 = 24;
/// For how many counts it stays narrow: until some 25 times as many values came as the cache holds.
const STAYS_NARROW: u32 = 100;
/// How many values have to come to the window's end in the smallest of caches, or chance decides.
const LEAST_COUNT: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// One count of a cache of a hundred values.
    fn count(share: &mut Share, used: u64, chances: u64) {
        (0..chances).for_each(|_| share.chance());
        let ended = (0..89).map(|nth| share.end(nth < used, 100)).collect::<Vec<_>>();
        assert_eq!(ended.iter().position(|&ended| ended), Some(88), "a count ends after 89 values");
    }

    #[test]
    fn a_window_gets_narrow_where_main_is_used_and_it_is_not() {
        for (used, chances, part) in [(0, 6, 1), (2, 33, 1), (2, 32, 10), (0, 5, 10), (0, 0, 10)] {
            let mut share = Share::new();
            count(&mut share, used, chances);
            assert_eq!(share.of(100), part, "{used} used, {chances} chances");
        }
    }

    #[test]
    fn a_narrow_window_gets_wide_where_it_is_used_all_the_same() {
        for (used, chances, part) in [(2, 47, 10), (2, 48, 1), (1, 0, 1)] {
            let mut share = Share::new();
            count(&mut share, 0, 89);
            count(&mut share, used, chances);
            assert_eq!(share.of(100), part, "{used} used, {chances} chances");
        }
    }

    #[test]
    fn a_narrow_window_gets_wide_after_a_while_to_see_whether_it_is_used_now() {
        let mut share = Share::new();
        count(&mut share, 0, 89);
        let counts = (0..).take_while(|_| {
            count(&mut share, 0, 89);
            share.is_narrow()
        });
        assert_eq!(counts.count(), STAYS_NARROW as usize - 1);
        count(&mut share, 0, 89);
        assert!(share.is_narrow(), "it is not");
    }
}
