//! Order: which value leaves for want of room.
//!
//! W-TinyLFU (G. Einziger, R. Friedman, B. Manes, "`TinyLFU`: A Highly Efficient Cache Admission Policy", ACM
//! Transactions on Storage 2017), kept on clocks instead of lists that each hit would have to reorder. A value enters a
//! window, a tenth of the room or a hundredth (`share`), first in, first out. If it was used there, it goes on to main; if not, it has to be
//! asked for more often than the one that main would lose, or it leaves. Main is a second-chance queue (F. Corbató, "A
//! Paging Experiment with the Multics System", 1968). The sketch counts what comes to the window's end, when it is looked at anyway, and
//! what gets a second chance; hits never write it.
//!
//! So a scan passes through the window alone, and of a loop larger than the cache main keeps what it holds. What else was
//! tried, and what each kept of recorded requests, is in `docs/hit-ratio.md`.
//!
//! Owns the two queues, the sketch and the bounds. Must not know deadlines but to see that a value is over, nor loads.
//!
//! Invariant: a row says of itself in which queue it stands.

use core::cmp::Ordering;

use super::bounds::{Bounds, Most};
use super::queue::{Queue, Queued as _};
use super::row::{Place, Rows, Standing};
use super::share::Share;
use super::sketch::Sketch;
use crate::blocks::BLOCK;
use crate::entry::Weight;
use crate::moment::Moment;

/// The values held, in the order in which they would leave.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Order {
    window: Queue,
    main: Queue,
    share: Share,
    sketch: Sketch,
    most: Most,
    /// The window's part of that, kept as each insertion asks for it several times.
    most_in_window: Most,
    idle_weight: u64,
    slots: usize,
    /// Behind the slot that [`Order::straggler`] looks at next.
    searched: usize,
}

impl Order {
    /// An order of nothing.
    pub(super) fn new(bounds: Bounds) -> Self {
        let (most, share) = (Most::of(bounds), Share::new());
        Self {
            most,
            most_in_window: most.in_window(&share),
            idle_weight: bounds.idle_weight,
            window: Queue::new(),
            main: Queue::new(),
            slots: 0,
            sketch: Sketch::new(),
            share,
            searched: 0,
        }
    }

    /// Notes how many slots there are.
    pub(super) fn resize(&mut self, slots: usize) {
        self.slots = slots;
        self.sketch.grow_for(slots);
    }

    /// Whether a value of this weight can fit at all.
    pub(super) fn admits(&self, weight: Weight) -> bool {
        !self.most.is_less_than(1, weight.get())
    }

    /// Whether something has to leave.
    pub(super) fn is_over(&self) -> bool {
        self.exceeds(self.entries(), self.weight())
    }

    /// How many values are held.
    pub(super) const fn entries(&self) -> u64 {
        self.window.len() + self.main.len()
    }

    /// What they weigh together.
    pub(super) const fn weight(&self) -> u64 {
        self.window.weight() + self.main.weight()
    }

    /// Where one more value is too much for the window: lets memory bring the row of the slot that stands third in it, that of one of main
    /// that soon comes first, and what else there is to know of the second of the window, whose hash it gives.
    ///
    /// The first has to go on or leave for the value that comes now, the others for those after that. None of it is at hand, and who
    /// chooses asks for one thing after another and waits for each. Asked for as early as this it comes meanwhile, all at once. Nothing
    /// rests on it.
    #[inline]
    pub(super) fn foresee<T, U>(&self, rows: &Rows<T, U>) -> Option<u32> {
        let first = rows.cold.at(self.window.front()? as usize);
        if !self.most_in_window.is_less_than(self.window.len() + 1, self.window.weight() + first.weight) {
            return None;
        }
        let second = first.link().next();
        let hash = rows.hot.at(second as usize).hash;
        self.sketch.foresee(hash);
        rows.foresee(rows.cold.at(second as usize).link().next());
        self.foresee_of_main(rows);
        Some(hash)
    }

    /// The same for the row [`AHEAD`] places behind main's first. To be called for each that becomes the first, or one would be left out.
    #[inline]
    fn foresee_of_main<T, U>(&self, rows: &Rows<T, U>) {
        if let Some(mut slot) = self.main.front() {
            for _ in 0..AHEAD {
                slot = rows.cold.at(slot as usize).link().next();
            }
            rows.foresee(slot);
        }
    }

    /// Lets a new value in: at the back of the window, whose first go on to main while there is room.
    #[inline]
    pub(super) fn enter<T, U>(&mut self, rows: &mut Rows<T, U>, slot: u32) {
        let row = &mut rows.hot[slot as usize];
        *row.uses.get_mut() = 0;
        row.place = Place::Window;
        self.window.push(&mut rows.cold, slot);
        for _ in 0..SETTLED {
            if !self.window_is_over() || self.is_over() {
                break;
            }
            self.promote(rows, self.window.front().expect("a window over its share holds a value"));
        }
    }

    /// Notes that a value held at `place` now weighs `new` where it weighed `old`.
    pub(super) fn reweigh(&mut self, place: Place, old: u64, new: u64) {
        self.queue(place).reweigh(old, new);
    }

    /// Takes the value out; its slot is empty.
    #[inline]
    pub(super) fn leave<T, U>(&mut self, rows: &mut Rows<T, U>, slot: u32) {
        let place = rows.hot[slot as usize].empty();
        self.queue(place).remove(&mut rows.cold, slot);
    }

    /// The value that is to leave; it is still held. Moves at most [`CHANCES`] others, and one that is over at
    /// `now` goes at once where it is met.
    #[inline]
    pub(super) fn victim<T, U>(&mut self, rows: &mut Rows<T, U>, now: Moment) -> Standing {
        let mut chances = CHANCES;
        while chances > 0 && self.window_is_over() {
            let new = self.candidate(rows);
            if new.is_over(now) {
                return new;
            }
            let Some(old) = self.oldest_of_main(rows, &mut chances, now) else {
                self.promote(rows, new.slot);
                continue;
            };
            if old.is_over(now) {
                return old;
            }
            let is_used = new.uses > 0;
            self.came_to_the_end(is_used, self.entries());
            if is_used && new.weight <= old.weight {
                chances = chances.saturating_sub(1);
                self.promote(rows, new.slot);
                continue;
            }
            let worth = self.compare(new, old);
            // A window that has become narrow hands over what is worth no less, and that for nothing: one that is worth less leaves.
            if worth.is_ge() && chances > 0 && self.is_narrowing(new) {
                chances -= 1;
                self.promote(rows, new.slot);
                continue;
            }
            if worth.is_le() {
                self.sketch.add(new.hash);
                return new;
            }
            // A heavy candidate stays one until it has won against each value that has to leave for it.
            if !self.exceeds(self.entries() - 1, self.weight() - old.weight) {
                self.promote(rows, new.slot);
            }
            return old;
        }
        let oldest = self.oldest_of_main(rows, &mut chances, now);
        let first = |order: &Self| order.window.front().map(|slot| rows.standing(slot));
        oldest.or_else(|| first(self)).expect("what exceeds the bounds holds a value")
    }

    /// Where many slots are idle, a slot of the last block that holds a value: the block goes once all of them have left. What comes next
    /// has a place in a lower one. Looks at [`LOOKED_AT`] at most.
    pub(super) fn straggler<T, U>(&mut self, rows: &Rows<T, U>) -> Option<u32> {
        if self.idle(self.entries()) <= self.most.weight / IDLE {
            return None;
        }
        let first = rows.len().saturating_sub(1) / BLOCK * BLOCK;
        if first == 0 {
            return None;
        }
        if !(first + 1..=rows.len()).contains(&self.searched) {
            self.searched = rows.len();
        }
        let from = self.searched.saturating_sub(LOOKED_AT).max(first);
        let found = (from..self.searched).rev().find(|&slot| rows.hot[slot].place.is_held());
        self.searched = found.unwrap_or(from);
        found.map(|slot| slot as u32)
    }

    /// Recounts both queues.
    ///
    /// # Panics
    ///
    /// Where a count, a weight or a link is off.
    pub(super) fn validate<T, U>(&self, rows: &Rows<T, U>) {
        for (queue, place) in [(&self.window, Place::Window), (&self.main, Place::Main)] {
            queue.validate(&rows.cold);
            for slot in queue.iter(&rows.cold) {
                assert_eq!(rows.hot[slot as usize].place, place, "slot {slot} stands in another queue than it says");
            }
        }
    }

    fn queue(&mut self, place: Place) -> &mut Queue {
        match place {
            Place::Window => &mut self.window,
            Place::Main => &mut self.main,
            Place::Empty | Place::Closed => unreachable!("only what is held stands in a queue"),
        }
    }

    /// What the slots weigh that there would be without a value, with so many values.
    fn idle(&self, entries: u64) -> u64 {
        (self.slots as u64 - entries) * self.idle_weight
    }

    fn exceeds(&self, entries: u64, weight: u64) -> bool {
        self.most.is_less_than(entries, weight + self.idle(entries))
    }

    fn window_is_over(&self) -> bool {
        self.most_in_window.is_less_than(self.window.len(), self.window.weight())
    }

    /// Notes that one of so many values came to the window's end, which may have another share then.
    fn came_to_the_end(&mut self, is_used: bool, entries: u64) {
        if self.share.end(is_used, entries) {
            self.most_in_window = self.most.in_window(&self.share);
        }
    }

    /// What the window would lose next: its first, unless what came last is too heavy for any window.
    #[inline]
    fn candidate<T, U>(&self, rows: &Rows<T, U>) -> Standing {
        let last =
            self.window.back(&rows.cold).filter(|&slot| rows.cold[slot as usize].weight > self.most_in_window.weight);
        rows.standing(last.or_else(|| self.window.front()).expect("a window over its share holds a value"))
    }

    /// What main would lose next, once those used since they last stood first have gone to the back.
    #[inline]
    fn oldest_of_main<T, U>(&mut self, rows: &mut Rows<T, U>, chances: &mut u32, now: Moment) -> Option<Standing> {
        loop {
            let oldest = rows.standing(self.main.front()?);
            if oldest.is_over(now) || oldest.uses == 0 || *chances == 0 {
                return Some(oldest);
            }
            *chances -= 1;
            *rows.hot[oldest.slot as usize].uses.get_mut() = oldest.uses - 1;
            self.share.chance();
            // Hits do not write the sketch: what they left in the row is carried over here.
            self.sketch.add(oldest.hash);
            self.main.rotate(&rows.cold);
            if cfg!(not(target_family = "wasm")) {
                self.foresee_of_main(rows);
            }
        }
    }

    /// Whether a narrow window is over its share even without its candidate, as one is that was wide lately.
    fn is_narrowing(&self, candidate: Standing) -> bool {
        let weight = self.window.weight() - candidate.weight;
        self.share.is_narrow() && self.most_in_window.is_less_than(self.window.len() - 1, weight)
    }

    /// Which of the two is asked for more often, each for its weight; the candidate once more than is counted yet. A difference in weight
    /// counts [`OUTWEIGHED`] times at most: the sketch cannot tell by how much more a very heavy value is asked for.
    #[inline]
    fn compare(&self, candidate: Standing, other: Standing) -> Ordering {
        let weight = |of: Standing| of.weight.min(u64::MAX / u64::from(MOST_USES));
        let most = weight(candidate).min(weight(other)).saturating_mul(OUTWEIGHED);
        let uses = |of: Standing| u64::from(self.sketch.estimate(of.hash) + of.uses);
        // By cross-multiplying, for it does not round.
        ((uses(candidate) + 1) * weight(other).min(most)).cmp(&(uses(other) * weight(candidate).min(most)))
    }

    /// Moves a slot from the window to the back of main.
    fn promote<T, U>(&mut self, rows: &mut Rows<T, U>, slot: u32) {
        self.window.remove(&mut rows.cold, slot);
        let row = &mut rows.hot[slot as usize];
        row.place = Place::Main;
        *row.uses.get_mut() = 0;
        self.sketch.add(row.hash);
        self.main.push(&mut rows.cold, slot);
    }
}

/// More than the sketch and a row can say together.
const MOST_USES: u8 = 32;
/// How many times the weight of a value can count against it.
const OUTWEIGHED: u64 = 8;
/// How many slots one call moves on at most, before it takes what stands first.
const CHANCES: u32 = 32;
/// Many slots are idle where they weigh this part of the room, as a reciprocal.
const IDLE: u64 = 8;
/// How many slots one call looks at for a straggler.
const LOOKED_AT: usize = 64;
/// How far behind main's first a slot is foreseen: those that were used get another chance, and the next is looked at.
const AHEAD: usize = 3;
/// How many slots one entry moves from window to main at most, while there is room.
const SETTLED: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Life;

    const NOW: Moment = Moment::from_millis(1_000);

    struct Cache {
        order: Order,
        rows: Rows<(), ()>,
    }

    impl Cache {
        fn of(max_weight: u64) -> Self {
            Self { order: Order::new(Bounds { max_weight, max_entries: None, idle_weight: 0 }), rows: Rows::new() }
        }

        fn of_entries(most: u64) -> Self {
            let bounds = Bounds { max_weight: u64::MAX, max_entries: Some(most), idle_weight: 0 };
            Self { order: Order::new(bounds), rows: Rows::new() }
        }

        /// Has main be used much more than the window.
        fn narrow(&mut self, entries: u64) {
            for _ in 0..entries {
                self.order.share.chance();
                self.order.came_to_the_end(false, entries);
            }
            assert!(self.order.share.is_narrow());
        }

        fn enter(&mut self, weight: u64) -> u32 {
            let slot = self.rows.len() as u32;
            self.rows.push((slot + 1).wrapping_mul(0x9E37_79B9));
            self.rows.cold[slot as usize].weight = weight;
            self.rows.set_life(slot, Life::FOREVER);
            self.order.resize(self.rows.len());
            self.order.sketch.grow_for(1_000);
            self.order.enter(&mut self.rows, slot);
            slot
        }

        /// Notes that the key was asked for so many times more, before its value came.
        fn ask(&mut self, slot: u32, times: usize) {
            (0..times).for_each(|_| self.order.sketch.add(self.rows.hot[slot as usize].hash));
        }

        fn touch(&mut self, slot: u32, uses: u8) {
            *self.rows.hot[slot as usize].uses.get_mut() = uses;
        }

        fn evict(&mut self) -> Vec<u32> {
            let mut gone = Vec::new();
            while self.order.is_over() {
                let slot = self.order.victim(&mut self.rows, NOW).slot;
                self.order.leave(&mut self.rows, slot);
                self.order.validate(&self.rows);
                gone.push(slot);
            }
            gone
        }

        fn place(&self, slot: u32) -> Place {
            self.rows.hot[slot as usize].place
        }
    }

    /// A full cache of a hundred values, ten of them in the window, and one more.
    fn full() -> Cache {
        let mut cache = Cache::of(100);
        (0..101).for_each(|_| _ = cache.enter(1));
        assert_eq!((cache.place(89), cache.place(90), cache.order.entries()), (Place::Main, Place::Window, 101));
        cache
    }

    #[test]
    fn of_heavy_values_too_that_is_worth_more_which_is_asked_for_more_often_for_its_weight() {
        let mut cache = Cache::of(u64::MAX);
        let (heavy, light) = (cache.enter(4_000), cache.enter(1_000));
        cache.touch(heavy, 3);
        cache.touch(light, 2);
        let compare = |one, other| cache.order.compare(cache.rows.standing(one), cache.rows.standing(other));
        assert_eq!((compare(heavy, light), compare(light, heavy)), (Ordering::Less, Ordering::Greater));
    }

    #[test]
    fn the_window_has_its_share_of_as_many_values_as_there_may_be() {
        let mut cache = Cache::of_entries(100);
        (0..101).for_each(|_| _ = cache.enter(1));
        assert_eq!((cache.place(89), cache.place(90), cache.order.entries()), (Place::Main, Place::Window, 101));
        cache.ask(90, 1);
        assert_eq!(cache.evict(), [0]);
        assert_eq!(cache.place(90), Place::Main, "no more have to leave for it");
    }

    #[test]
    fn a_narrow_window_that_is_over_by_its_candidate_alone_hands_over_nothing() {
        for mut cache in [Cache::of(100), Cache::of_entries(100)] {
            cache.narrow(100);
            (0..101).for_each(|_| _ = cache.enter(1));
            assert_eq!((cache.place(98), cache.place(99)), (Place::Main, Place::Window));
            assert_eq!(cache.evict(), [99], "it is worth as much as the oldest of main, and no more");
        }
    }

    #[test]
    fn one_call_hands_over_a_bounded_number_of_slots() {
        let mut cache = Cache::of(1_000);
        (0..1_001).for_each(|_| _ = cache.enter(1));
        cache.narrow(1_001);
        let before = cache.order.window.len();
        cache.order.victim(&mut cache.rows, NOW);
        assert_eq!(before - cache.order.window.len(), u64::from(CHANCES));
    }

    #[test]
    fn the_second_of_the_window_is_foreseen_where_one_more_is_too_much_for_it() {
        for mut cache in [Cache::of(100), Cache::of_entries(100)] {
            assert_eq!(cache.order.foresee(&cache.rows), None);
            for number in 1..=11 {
                cache.enter(1);
                let second = (number >= 10).then(|| cache.rows.hot[number - 9].hash);
                assert_eq!(cache.order.foresee(&cache.rows), second, "with {number} entered");
            }
        }
    }

    #[test]
    fn what_was_not_used_leaves_unless_it_is_asked_for_more_than_the_oldest_of_main() {
        let mut cache = full();
        assert_eq!(cache.evict(), [90]);
        let mut cache = full();
        cache.ask(90, 1);
        assert_eq!(cache.evict(), [0]);
        assert_eq!(cache.place(90), Place::Main);
    }

    #[test]
    fn what_was_used_in_the_window_goes_on_to_main_however_popular_its_oldest_is() {
        let mut cache = full();
        cache.ask(0, 15);
        cache.touch(90, 1);
        assert_eq!(cache.evict(), [0]);
        assert_eq!(cache.place(90), Place::Main);
    }

    #[test]
    fn what_was_used_in_main_goes_to_its_back_once_for_each_use() {
        let mut cache = full();
        cache.ask(90, 15);
        cache.touch(0, 2);
        cache.touch(1, 1);
        assert_eq!(cache.evict(), [2]);
        assert_eq!([0, 1].map(|slot| *cache.rows.hot[slot].uses.get_mut()), [1, 0]);
        assert_eq!(cache.order.main.iter(&cache.rows.cold).skip(87).collect::<Vec<_>>(), [0, 1, 90]);
    }

    #[test]
    fn a_window_that_gets_narrow_hands_over_what_is_worth_no_less_and_main_loses_nothing_for_it() {
        let mut cache = full();
        cache.narrow(101);
        cache.ask(0, 1);
        cache.ask(93, 1);
        cache.ask(95, 1);
        // 90 to 92 are worth less than the oldest of main; 93 is worth as much.
        assert_eq!(cache.evict(), [90]);
        for (leaves, place) in [(91, Place::Window), (92, Place::Window), (94, Place::Main)] {
            cache.enter(1);
            assert_eq!(cache.evict(), [leaves]);
            assert_eq!(cache.place(93), place);
        }
        assert_eq!(cache.place(0), Place::Main);
    }

    #[test]
    fn what_is_over_leaves_first_from_window_and_main_however_much_it_was_used() {
        for over in [0, 90] {
            let mut cache = full();
            (0..90).for_each(|slot| cache.touch(slot, 3));
            cache.touch(over, 3);
            cache.rows.set_life(over, Life::new(NOW, NOW));
            assert_eq!(cache.evict(), [over]);
        }
    }

    #[test]
    fn what_is_stale_and_not_over_yet_leaves_in_its_turn() {
        let mut cache = full();
        cache.rows.set_life(0, Life::new(NOW, NOW.after(core::time::Duration::from_nanos(1))));
        assert_eq!(cache.evict(), [90]);
    }

    #[test]
    fn one_call_moves_a_bounded_number_of_slots() {
        let mut cache = Cache::of(1_000);
        (0..1_000).for_each(|_| _ = cache.enter(1));
        // It makes the window too heavy by 99 light values at once.
        let heavy = cache.enter(99);
        let in_window = cache.order.window.len();
        (heavy - 100..=heavy).for_each(|slot| cache.touch(slot, 1));
        cache.order.victim(&mut cache.rows, NOW);
        assert_eq!(in_window - cache.order.window.len(), u64::from(CHANCES), "promoted");
        // Now all of main is used, and what is first is no better than the others.
        (0..=heavy).for_each(|slot| cache.touch(slot, 3));
        let main: Vec<_> = cache.order.main.iter(&cache.rows.cold).collect();
        let victim = cache.order.victim(&mut cache.rows, NOW).slot;
        assert_eq!(victim, main[CHANCES as usize]);
    }

    #[test]
    fn where_many_slots_are_idle_the_values_of_the_last_block_are_named_some_slots_at_a_time() {
        let bounds = Bounds { max_weight: 80 * BLOCK as u64, max_entries: None, idle_weight: 10 };
        let mut cache = Cache { order: Order::new(bounds), rows: Rows::new() };
        let last = 2 * BLOCK as u32;
        (0..3 * BLOCK).for_each(|_| _ = cache.enter(1));
        (0..BLOCK as u32).for_each(|slot| cache.order.leave(&mut cache.rows, slot));
        assert_eq!(cache.order.straggler(&cache.rows), None, "an eighth of the room is not many");
        let kept = [last, last + 5];
        (last..last + BLOCK as u32)
            .filter(|slot| !kept.contains(slot))
            .for_each(|slot| cache.order.leave(&mut cache.rows, slot));
        let search = |cache: &mut Cache| {
            (1..=2 * BLOCK / LOOKED_AT).find_map(|calls| Some((calls, cache.order.straggler(&cache.rows)?)))
        };
        for slot in [last + 5, last] {
            let (calls, found) = search(&mut cache).expect("it is there");
            assert_eq!((found, calls), (slot, if slot == last { 1 } else { BLOCK / LOOKED_AT }));
            cache.order.leave(&mut cache.rows, slot);
        }
        assert_eq!(search(&mut cache), None, "those of other blocks stay");
        cache.order.enter(&mut cache.rows, last + BLOCK as u32 - 1);
        let again = search(&mut cache).map(|(_, slot)| slot);
        assert_eq!(again, Some(last + BLOCK as u32 - 1), "it starts again once it has come to the end");
    }

    #[test]
    #[should_panic(expected = "its count or its weight is off")]
    fn a_queue_that_weighs_what_its_slots_do_not_is_found() {
        let mut cache = full();
        cache.order.main.reweigh(1, 2);
        cache.order.validate(&cache.rows);
    }

    #[test]
    #[should_panic(expected = "stands in another queue than it says")]
    fn a_slot_in_a_queue_that_it_does_not_name_is_found() {
        let mut cache = full();
        cache.rows.hot[0].place = Place::Window;
        cache.order.validate(&cache.rows);
    }

    #[test]
    fn a_heavy_value_stops_pushing_out_where_it_meets_one_worth_more() {
        let mut cache = Cache::of(10_000);
        (0..10).for_each(|_| _ = cache.enter(1_000));
        (1..10).for_each(|slot| cache.ask(slot, 14));
        let heavy = cache.enter(3_000);
        cache.ask(heavy, 5);
        assert_eq!(cache.evict(), [0, heavy]);
    }

    #[test]
    fn a_very_heavy_value_enters_where_it_is_asked_for_much_more() {
        let mut cache = full();
        let heavy = cache.enter(50);
        assert_eq!(cache.evict(), [heavy, 90]);
        cache = full();
        let heavy = cache.enter(50);
        cache.ask(heavy, 14);
        assert_eq!(cache.evict(), (0..51).collect::<Vec<_>>());
    }
}
