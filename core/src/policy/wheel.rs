//! Wheel: finds the slots whose time is over, without looking at the others.
//!
//! A hierarchical timer wheel (G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987), linked
//! through the rows: nothing is allocated an entry, entering and leaving take constant time. Eight levels of 64
//! buckets, a bucket of each level as wide as the level below, the finest one [`TICK`]: together they span all that a
//! [`Moment`] can say, so no deadline is special but [`Moment::NEVER`], which is not kept here. A bit for each bucket
//! lets the wheel step over empty ones, however far the clock jumped.
//!
//! Owns where a deadline is filed. Must not know what a deadline is for, nor read a clock.
//!
//! A coarse bucket whose time has come is filed anew into finer ones. It may hold every slot there is, so its slots are
//! set aside in one move and filed a bounded number at a time; those already due leave at once.
//!
//! Invariants: `cursor` never goes back, and no filed slot is due before it; a slot of level n differs from `cursor` in
//! its n-th digit first, so a lower level is always due before a higher one.

use alloc::boxed::Box;

use crate::blocks::Blocks;
use crate::moment::Moment;

/// The wheel's finest step, in nanoseconds as a power of two: 2^20, or 1.05 ms. A slot leaves at most this late.
const TICK_BITS: u32 = 20;
/// Bits of one level's digit: 64 buckets, whose occupancy is one `u64`.
const DIGIT_BITS: u32 = 6;
/// Enough digits for every tick of a 64-bit moment.
const LEVELS: usize = 8;
/// Buckets a level.
const BUCKETS: usize = 1 << DIGIT_BITS;

/// No slot.
const NONE: u32 = u32::MAX;
/// The list of the slots set aside, to be filed anew, behind those of the buckets.
const ASIDE: u32 = (LEVELS * BUCKETS) as u32;
/// What the first slot of bucket 0 has before it, that of bucket 1 one more: so it says where it is filed. Slots are numbered below.
pub(super) const FIRST: u32 = NONE - ASIDE;

/// Where a slot is filed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// The slot before it, or from [`FIRST`] on the bucket that it is the first of.
    prev: u32,
    next: u32,
}

impl Node {
    /// Not in the wheel.
    pub(super) const OUT: Self = Self { prev: NONE, next: NONE };

    /// Whether it is in the wheel.
    pub(super) const fn is_filed(self) -> bool {
        self.prev != NONE
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::OUT
    }
}

/// A row that can be filed by its deadline.
pub(super) trait Timed {
    /// Where it is filed.
    fn node(&self) -> Node;
    /// Files it elsewhere.
    fn set_node(&mut self, node: Node);
    /// When it is due; must not change while it is filed.
    fn deadline(&self) -> Moment;
}

/// Slots filed by deadline.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Wheel {
    len: u64,
    cursor: u64,
    /// The first slot of each bucket; the last one is of those set aside.
    heads: Box<[u32; LEVELS * BUCKETS + 1]>,
    occupied: [u64; LEVELS],
}

impl Wheel {
    /// An empty wheel.
    pub(super) fn new() -> Self {
        Self { cursor: 0, occupied: [0; LEVELS], heads: Box::new([NONE; LEVELS * BUCKETS + 1]), len: 0 }
    }

    /// Files `slot`, which is not in the wheel, under its deadline; [`Moment::NEVER`] stays out.
    pub(super) fn insert<R: Timed>(&mut self, rows: &mut Blocks<R>, slot: u32) {
        let deadline = rows[slot as usize].deadline();
        if deadline != Moment::NEVER {
            self.len += 1;
            self.file(rows, slot, due_tick(deadline));
        }
    }

    /// Takes `slot` out of the wheel, if it is in.
    pub(super) fn remove<R: Timed>(&mut self, rows: &mut Blocks<R>, slot: u32) {
        if rows[slot as usize].node().is_filed() {
            self.len -= 1;
            self.unlink(rows, slot);
        }
    }

    /// Takes out one slot that is due at `now`: never early, late by less than a tick.
    ///
    /// One call files at most so many slots anew. Where that did not suffice it returns `None` although more may be due,
    /// and
    /// [`Wheel::next_deadline`] is not after `now`.
    #[cfg_attr(not(target_family = "wasm"), inline)]
    pub(super) fn expire<R: Timed>(&mut self, rows: &mut Blocks<R>, now: Moment, refiled: usize) -> Option<u32> {
        let now = now.as_nanos() >> TICK_BITS;
        if self.len == 0 {
            // Written where it changes only, which it seldom does from one call to the next.
            if self.cursor < now {
                self.cursor = now;
            }
            return None;
        }
        self.take_due(rows, now, refiled)
    }

    fn take_due<R: Timed>(&mut self, rows: &mut Blocks<R>, now: u64, refiled: usize) -> Option<u32> {
        for _ in 0..refiled {
            let aside = self.heads[ASIDE as usize];
            if aside != NONE {
                self.unlink(rows, aside);
                let due = due_tick(rows[aside as usize].deadline());
                if due <= now {
                    self.len -= 1;
                    return Some(aside);
                }
                self.file(rows, aside, due);
                continue;
            }
            let next = self.earliest().filter(|next| next.start <= now);
            let Some(next) = next else {
                self.cursor = self.cursor.max(now);
                return None;
            };
            self.cursor = next.start;
            if next.level == 0 {
                let slot = self.heads[next.bucket as usize];
                self.unlink(rows, slot);
                self.len -= 1;
                return Some(slot);
            }
            self.set_aside(next);
        }
        None
    }

    /// No slot is due earlier; it may be that none is due then either.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        // Each store asks.
        if self.len == 0 {
            return None;
        }
        let tick = if self.heads[ASIDE as usize] == NONE { self.earliest()?.start } else { self.cursor };
        Some(Moment::from_nanos(tick.saturating_mul(1 << TICK_BITS)))
    }

    fn file<R: Timed>(&mut self, rows: &mut Blocks<R>, slot: u32, due: u64) {
        let due = due.max(self.cursor);
        let level = (64 - (due ^ self.cursor).leading_zeros()).saturating_sub(1) / DIGIT_BITS;
        let digit = due >> (level * DIGIT_BITS) & (BUCKETS as u64 - 1);
        let bucket = level * BUCKETS as u32 + digit as u32;
        let next = self.heads[bucket as usize];
        rows[slot as usize].set_node(Node { prev: FIRST + bucket, next });
        if next != NONE {
            let next = &mut rows[next as usize];
            next.set_node(Node { prev: slot, ..next.node() });
        }
        self.heads[bucket as usize] = slot;
        self.occupied[level as usize] |= 1 << digit;
    }

    fn unlink<R: Timed>(&mut self, rows: &mut Blocks<R>, slot: u32) {
        let Node { prev, next } = rows[slot as usize].node();
        rows[slot as usize].set_node(Node::OUT);
        if next != NONE {
            let next = &mut rows[next as usize];
            next.set_node(Node { prev, ..next.node() });
        }
        if prev < FIRST {
            let prev = &mut rows[prev as usize];
            prev.set_node(Node { next, ..prev.node() });
            return;
        }
        let mut bucket = prev - FIRST;
        // Those set aside still name the bucket they came from: only the first one's number tells.
        if self.heads[bucket as usize] != slot {
            bucket = ASIDE;
        }
        self.heads[bucket as usize] = next;
        if next == NONE && bucket != ASIDE {
            self.occupied[bucket as usize / BUCKETS] &= !(1 << (bucket as usize % BUCKETS));
        }
    }

    /// Sets a whole bucket aside in one move; nothing else is aside.
    fn set_aside(&mut self, from: Earliest) {
        let head = core::mem::replace(&mut self.heads[from.bucket as usize], NONE);
        self.occupied[from.level] &= !(1 << (from.bucket as usize % BUCKETS));
        self.heads[ASIDE as usize] = head;
    }

    fn earliest(&self) -> Option<Earliest> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        let digit = u64::from(self.occupied[level].trailing_zeros());
        let shift = level as u32 * DIGIT_BITS;
        let above = self.cursor >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        Some(Earliest { level, bucket: (level * BUCKETS) as u32 + digit as u32, start: above | digit << shift })
    }

    /// Recounts, and checks that each slot is filed where its deadline belongs.
    ///
    /// # Panics
    ///
    /// Where a count, a link, a bit or a place is off.
    pub(super) fn validate<R: Timed>(&self, rows: &Blocks<R>) {
        let mut len = 0;
        for (bucket, &head) in self.heads.iter().enumerate() {
            let (level, digit) = (bucket / BUCKETS, bucket % BUCKETS);
            if level < LEVELS {
                assert_eq!(self.occupied[level] >> digit & 1 == 1, head != NONE, "the bit of bucket {bucket} is off");
            }
            let (mut before, mut at) = (FIRST + bucket as u32, head);
            while at != NONE {
                let row = &rows[at as usize];
                let node = row.node();
                let is_first_aside = level == LEVELS && at == head && (FIRST..before).contains(&node.prev);
                assert!(node.prev == before || is_first_aside, "slot {at} of the wheel does not link back");
                assert_ne!(row.deadline(), Moment::NEVER, "slot {at} has no deadline, yet is in the wheel");
                if level < LEVELS {
                    let due = due_tick(row.deadline()).max(self.cursor);
                    let differ = (64 - (due ^ self.cursor).leading_zeros()).saturating_sub(1) / DIGIT_BITS;
                    let place = (due >> (level as u32 * DIGIT_BITS)) as usize % BUCKETS;
                    assert_eq!((differ as usize, place), (level, digit), "slot {at} is filed under a wrong deadline");
                }
                len += 1;
                assert!(len <= self.len, "the wheel holds more slots than it counts, or runs in a circle");
                before = at;
                at = node.next;
            }
        }
        assert_eq!(len, self.len, "the wheel counts slots it does not hold");
    }
}

/// The bucket that is due first.
#[derive(Clone, Copy)]
struct Earliest {
    level: usize,
    bucket: u32,
    /// Its first tick.
    start: u64,
}

/// The first tick at which `deadline` has passed.
const fn due_tick(deadline: Moment) -> u64 {
    deadline.as_nanos().div_ceil(1 << TICK_BITS)
}

#[cfg(test)]
mod work;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Row(Node, Moment);

    impl Timed for Row {
        fn node(&self) -> Node {
            self.0
        }

        fn set_node(&mut self, node: Node) {
            self.0 = node;
        }

        fn deadline(&self) -> Moment {
            self.1
        }
    }

    const TICK: u64 = 1 << TICK_BITS;
    /// How many slots a call files anew at most.
    const REFILED: usize = 256;

    fn filed(deadlines: impl IntoIterator<Item = Moment>) -> (Wheel, Blocks<Row>) {
        let mut rows: Blocks<_> = deadlines.into_iter().map(|deadline| Row(Node::OUT, deadline)).collect();
        let mut wheel = Wheel::new();
        (0..rows.len() as u32).for_each(|slot| wheel.insert(&mut rows, slot));
        wheel.validate(&rows);
        (wheel, rows)
    }

    fn ticks(ticks: u64) -> Moment {
        Moment::from_nanos(ticks * TICK)
    }

    #[test]
    fn a_slot_is_due_at_the_first_tick_after_its_deadline_and_not_before() {
        for tick in (0..LEVELS as u32 - 1).flat_map(|level| [1_u64, 63, 64].map(|digit| digit << (level * DIGIT_BITS)))
        {
            let (mut wheel, mut rows) = filed([Moment::from_nanos(tick * TICK - 1)]);
            assert_eq!(wheel.expire(&mut rows, Moment::from_nanos(tick * TICK - 1), REFILED), None);
            assert_eq!(wheel.next_deadline(), Some(ticks(tick)));
            assert_eq!(wheel.expire(&mut rows, ticks(tick), REFILED), Some(0));
            assert_eq!((wheel.expire(&mut rows, ticks(tick), REFILED), wheel.next_deadline()), (None, None));
            wheel.validate(&rows);
        }
    }

    #[test]
    fn what_has_no_end_is_not_filed_and_the_last_moment_is() {
        let (mut wheel, mut rows) = filed([Moment::NEVER, Moment::from_nanos(u64::MAX - 1)]);
        assert_eq!(wheel.expire(&mut rows, Moment::NEVER, REFILED), None, "its tick is not over");
        wheel.remove(&mut rows, 0);
        wheel.remove(&mut rows, 1);
        wheel.validate(&rows);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn a_jump_of_ten_years_finds_all_that_is_due_in_it() {
        let year = 365 * 24 * 3_600_000;
        let (mut wheel, mut rows) = filed((0..200).map(|n| Moment::from_millis(n * n * year / 3_000)));
        let now = Moment::from_millis(10 * year);
        let mut left = Vec::new();
        while wheel.next_deadline().is_some_and(|next| next <= now) {
            left.extend(wheel.expire(&mut rows, now, REFILED));
            wheel.validate(&rows);
        }
        left.sort_unstable();
        let due: Vec<_> = (0..200).filter(|&slot| rows[slot as usize].1 <= now).collect();
        assert_eq!(left, due);
        assert!(!due.is_empty() && due.len() < 200);
    }

    #[test]
    fn an_empty_wheel_goes_with_the_clock_and_never_back() {
        let (mut wheel, mut rows) = filed([ticks(5_001)]);
        wheel.remove(&mut rows, 0);
        for (now, cursor) in [(5_000, 5_000), (5_000, 5_000), (60, 5_000)] {
            assert_eq!(wheel.expire(&mut rows, ticks(now), REFILED), None);
            assert_eq!(wheel.cursor, cursor);
        }
        wheel.insert(&mut rows, 0);
        assert_eq!(wheel.expire(&mut rows, ticks(5_001), 1), Some(0), "it is filed once, in the finest buckets");
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_loses_nothing() {
        let (mut wheel, mut rows) = filed([ticks(100), ticks(5_000)]);
        assert_eq!(wheel.expire(&mut rows, ticks(4_999), REFILED), Some(0));
        for now in [4_999, 4_999, 50, 0] {
            assert_eq!(wheel.expire(&mut rows, ticks(now), REFILED), None);
        }
        rows[0].1 = ticks(60);
        wheel.insert(&mut rows, 0);
        wheel.validate(&rows);
        assert_eq!(wheel.expire(&mut rows, ticks(59), REFILED), None);
        assert_eq!(wheel.expire(&mut rows, ticks(4_999), REFILED), Some(0));
        assert_eq!(wheel.expire(&mut rows, ticks(5_000), REFILED), Some(1));
    }

    #[test]
    fn a_slot_may_leave_from_any_place_also_while_its_bucket_is_filed_anew() {
        let all = 3 * REFILED as u32;
        let (mut wheel, mut rows) = filed((0..all).map(|n| ticks(64 * 64 + 64 + u64::from(n))));
        assert_eq!(wheel.expire(&mut rows, ticks(64 * 64), REFILED), None);
        assert_ne!(wheel.heads[ASIDE as usize], NONE, "one call did not file them all");
        for slot in (0..all).filter(|slot| slot % 3 > 0) {
            wheel.remove(&mut rows, slot);
            wheel.validate(&rows);
        }
        wheel.remove(&mut rows, wheel.heads[ASIDE as usize]);
        wheel.validate(&rows);
        assert_eq!(wheel.len, u64::from(all / 3) - 1);
    }

    #[test]
    fn one_call_files_a_bounded_number_anew_and_says_that_there_is_more() {
        let all = 10 * REFILED;
        let now = ticks(64 * 64);
        let (mut wheel, mut rows) = filed((0..all).map(|_| now.after(Duration::from_secs(1))));
        let mut calls = 0;
        while wheel.next_deadline().is_some_and(|next| next <= now) {
            assert_eq!(wheel.expire(&mut rows, now, REFILED), None);
            wheel.validate(&rows);
            calls += 1;
        }
        assert!((10..=12).contains(&calls), "{calls} calls");
        assert!(wheel.expire(&mut rows, now.after(Duration::from_secs(2)), REFILED).is_some());
    }
}
