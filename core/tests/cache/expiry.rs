//! Entries that nobody reads leave when their time is over.

use donjon_core::cache::{Config, Fill, Tags};
use donjon_core::entry::Life;

use crate::caller::*;

#[test]
fn a_million_entries_of_mixed_lives_leave_on_time_without_being_read() {
    const ENTRIES: u64 = 1_000_000;
    const LIMIT: usize = 100;
    let cache = cache_of(&Config { max_bytes: 1 << 30, ..config() });
    // From one to sixty seconds, in no order.
    let ends = |number: u64| 1_000 + number * 7_919 % 59_000;
    for number in 0..ENTRIES {
        let life = Life::new(at(ends(number)), at(ends(number)));
        let fill = Fill { life, bytes: 1, tags: Tags::default() };
        assert!(cache.set(key(&format!("k{number}")), text("v"), fill, at(0)));
    }
    assert_eq!(cache.stats().entries, ENTRIES);
    let mut ended = vec![0; 61];
    (0..ENTRIES).for_each(|number| ended[ends(number).div_ceil(1_000) as usize] += 1);
    let mut left = ENTRIES;
    for second in 1..=60 {
        // A little late, never early.
        let now = at(second * 1_000 + 2);
        let mut before = cache.stats().expirations;
        while cache.expire(LIMIT, now) {
            let after = cache.stats().expirations;
            assert!(after - before <= LIMIT as u64, "{} left in one call", after - before);
            before = after;
        }
        left -= ended[second as usize];
        let stats = cache.stats();
        // Those that end within the two milliseconds.
        assert!((left - left.min(60)..=left).contains(&stats.entries), "{} at {second} s, not {left}", stats.entries);
    }
    cache.expire(LIMIT, at(61_000));
    assert_eq!((cache.stats().entries, cache.stats().bytes, cache.next_deadline()), (0, 0, None));
    cache.validate();
}

#[test]
fn where_nobody_asks_for_it_they_leave_as_others_come() {
    const LIFE: u64 = 300_000;
    const EVERY: u64 = 2;
    let cache = cache_of(&Config { max_bytes: 1 << 30, ..config() });
    for number in 0..3 * LIFE / EVERY {
        let now = number * EVERY;
        let life = Life::new(at(now + LIFE), at(now + LIFE));
        let fill = Fill { life, bytes: 1, tags: Tags::default() };
        assert!(cache.set(key(&format!("k{number}")), text("v"), fill, at(now)));
        // Where a coarse bucket of the wheel is due, most of what is held has to be filed anew before any of it leaves.
        if number % 1_000 == 0 {
            let (held, living) = (cache.stats().entries, (number + 1).min(LIFE / EVERY));
            assert!(held * 100 <= living * 104, "{held} are held of which {living} live, {now} ms on");
        }
    }
    cache.validate();
}
