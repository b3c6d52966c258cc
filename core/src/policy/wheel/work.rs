//! A million slots leave on time, and no call touches more than a bounded number of them: counted, not timed.

use std::cell::Cell;

use super::*;
use crate::policy::REFILED_TO_EXPIRE as REFILED;

thread_local! {
    /// How many links were written.
    static WRITTEN: Cell<usize> = const { Cell::new(0) };
}

#[derive(Default)]
struct Row(Node, Moment);

impl Timed for Row {
    fn node(&self) -> Node {
        self.0
    }

    fn set_node(&mut self, node: Node) {
        WRITTEN.set(WRITTEN.get() + 1);
        self.0 = node;
    }

    fn deadline(&self) -> Moment {
        self.1
    }
}

const SLOTS: u64 = 1_000_000;
/// Links that are written to file one anew: its own and those beside it as it is taken out, its own and another as it is put in.
const A_SLOT: usize = 5;

/// Lets all leave at the moments at which a host comes by. `deadline` says of each slot when it is over.
fn leave_on_time(deadline: impl Fn(u64) -> Moment, moments: impl Iterator<Item = Moment>) {
    let mut rows: Blocks<_> = (0..SLOTS).map(|slot| Row(Node::OUT, deadline(slot))).collect();
    let mut wheel = Wheel::new();
    (0..SLOTS as u32).for_each(|slot| wheel.insert(&mut rows, slot));
    let mut due: Vec<u64> = (0..SLOTS).map(|slot| due_tick(deadline(slot))).collect();
    due.sort_unstable();
    let (mut left, mut all) = (0, 0);
    for now in moments {
        while wheel.next_deadline().is_some_and(|next| next <= now) {
            WRITTEN.set(0);
            if let Some(slot) = wheel.expire(&mut rows, now, REFILED) {
                assert!(rows[slot as usize].1 <= now, "slot {slot} left early");
                left += 1;
            }
            assert!(WRITTEN.get() <= A_SLOT * REFILED, "{} links in one call", WRITTEN.get());
            all += WRITTEN.get();
        }
        assert_eq!(left, due.partition_point(|tick| *tick <= now.as_nanos() >> TICK_BITS), "what is over at {now:?}");
    }
    assert_eq!(left, SLOTS as usize);
    assert!(all <= A_SLOT * LEVELS * left, "{all} links in all");
}

fn second(second: u64) -> Moment {
    Moment::from_millis(second * 1_000)
}

/// Any number, the same each time.
fn any(slot: u64) -> u64 {
    (slot + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

#[test]
fn a_million_of_mixed_lives_leave_on_time() {
    leave_on_time(|slot| Moment::from_millis(1_000 + any(slot) % 3_600_000), (1..=3_602).map(second));
}

#[test]
fn a_million_that_end_within_a_minute_leave_on_time() {
    leave_on_time(|slot| Moment::from_millis(3_600_000 + any(slot) % 60_000), (3_599..=3_661).map(second));
}

#[test]
fn a_few_that_are_due_are_found_among_a_million_that_are_not() {
    // All in one coarse bucket, whose time has come.
    let tick = |tick: u64| Moment::from_nanos(tick << TICK_BITS);
    let start = 64 * 64 * 64;
    let deadline = move |slot: u64| tick(start + if slot.is_multiple_of(200) { 0 } else { 64 * 63 });
    leave_on_time(deadline, [tick(start), tick(start + 64 * 64)].into_iter());
}
