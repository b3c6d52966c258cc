//! Host: how a host of one thread asks that keeps the values itself, each under a number that it chose.
//!
//! As the memory of such a host does, it finds a key in a table of its own, reads by row, and lets go of what left before it reads
//! again. What it asks of a connection it asks under the number of a guard.

use alloc::vec::Vec;

use crate::key::Key;
use crate::moment::Moment;
use crate::near::Near;
use crate::policy::Slot;

impl Near<u32> {
    /// The row of a key that has a value.
    pub fn slot(&self, key: Key<'_>) -> Option<Slot> {
        self.shared.store.slot(key)
    }

    /// As [`Near::hit`], of a row, and of a fresh value only.
    #[inline(always)]
    pub fn hit_at(&self, slot: Slot, now: Moment) -> bool {
        self.shared.store.hit_at_where(slot, now, |placed| placed.spells.is_trusted(now))
    }

    /// The numbers of what left since this was last called: the host lets go of them.
    pub fn take_left(&self) -> Vec<u32> {
        let mut left = self.shared.store.take_left();
        left.append(&mut self.shared.left.lock());
        left.into_iter().map(|placed| placed.value).collect()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::cache::Holder;
    use crate::chance::Seed;
    use crate::entry::Life;
    use crate::key::Namespace;
    use crate::near::{Answer, Config, Told, Track};
    use crate::pattern::Pattern;
    use crate::remote::name::Names;
    use crate::remote::sight::Outline;

    const START: Moment = Moment::from_millis(1_000_000);

    fn near() -> (Near<u32>, Track) {
        let config = Config { holder: Holder::Host, ..Config::default() };
        let near = Near::new(Names::new(Namespace::new("app").unwrap()), &config, Seed(7));
        let track = near.track(Told::Itself);
        track.answered(START);
        (near, track)
    }

    fn key(text: &str) -> Key<'_> {
        Key::new(text).unwrap()
    }

    fn admit(near: &Near<u32>, track: &Track, number: u64, name: &str, value: u32) -> bool {
        let Some(guard) = track.guard_of(number) else { return false };
        let outline = Outline::of_parts(Life::FOREVER, Vec::new());
        near.admit(&guard, key(name), Answer { value, bytes: 4, outline: &outline }, START, START)
    }

    #[test]
    fn a_row_is_a_hit_while_its_connection_is_believed() {
        let (near, track) = near();
        assert!(admit(&near, &track, track.guard().number(), "k", 5));
        let slot = near.slot(key("k")).unwrap();
        assert!(near.hit_at(slot, START));
        assert!(!near.hit_at(slot, START.after(Duration::from_secs(2))));
        track.answered(START.after(Duration::from_secs(1)));
        assert!(near.hit_at(slot, START.after(Duration::from_secs(2))));
        drop(track);
        assert!(!near.hit_at(slot, START));
    }

    #[test]
    fn a_guard_is_found_by_its_number_until_what_it_is_of_is_over() {
        let (near, track) = near();
        let before = track.guard().number();
        assert!(track.guard_of(before).is_some());
        track.flushed(START);
        assert!(track.guard_of(before).is_none(), "the server forgot what it was to tell of that");
        let after = track.guard().number();
        assert!(admit(&near, &track, after, "k", 1));
        near.forget(key("k"), START);
        assert!(!admit(&near, &track, after, "k", 2), "the key changed meanwhile");
        let next = near.track(Told::Itself);
        assert!(next.guard_of(after).is_none(), "that was another connection");
    }

    #[test]
    fn what_leaves_is_handed_over_once() {
        let (near, track) = near();
        for (name, value) in [("a", 1), ("b", 2), ("c", 3)] {
            assert!(admit(&near, &track, track.guard().number(), name, value));
        }
        near.forget(key("a"), START);
        near.forget_matching(&Pattern::new("b*").unwrap(), START);
        assert!(admit(&near, &track, track.guard().number(), "c", 4), "one value takes the place of another");
        let mut left = near.take_left();
        left.sort_unstable();
        assert_eq!(left, [1, 2, 3]);
        assert!(near.take_left().is_empty());
    }
}
