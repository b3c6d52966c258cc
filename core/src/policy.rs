//! Policy: which slots hold a value, which of them leaves first, and which have a load under way.
//!
//! Owns, for each slot, its place in the eviction order, its weight, its deadlines and whether it is being loaded. Must not know
//! where values live, what a key is or how it was hashed: native code puts hash tables and values around it, JavaScript
//! its own `Map`, and both call it with integers.
//!
//! Whoever reads (`&self`) may do so beside other readers; who changes something (`&mut self`) is alone. A hit writes
//! nothing but one byte of its own row, and that only until it says "much used"; it takes no lock and no memory.
//!
//! What leaves for want of room is decided in `order`, what is over is found by the `wheel`.
//!
//! **Work.** A call takes constant time, and where tables grow, constant time over many calls: one [`evict`] moves at
//! most 32 slots and files at most 256 anew, one [`expire`] at most 8. **Memory.** 52 bytes a slot, and 4 to 8.5 for the
//! sketch.
//!
//! Invariants: a slot with a value stands in one queue, and in the wheel if it has a deadline; a slot without stands in
//! neither; a closed slot has no load. Weights and counts are those of the slots that hold a value.
//! [`Policy::validate`] recounts all of it.
//!
//! [`evict`]: Policy::evict
//! [`expire`]: Policy::expire

mod order;
mod queue;
mod row;
mod share;
mod sketch;
mod wheel;

use core::sync::atomic::Ordering;

use crate::blocks::Blocks;
use crate::entry::{Freshness, Life, Removal, Weight};
use crate::moment::Moment;
use order::Order;
use queue::{Link, NONE};
use row::{Place, Row};
use wheel::Wheel;

pub use order::Bounds;

/// The number of an entry or of a load under way. Numbers are dense: a caller keeps a `Vec` beside the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// The slot of this number, as [`Slot::index`] gave it.
    pub const fn from_index(index: u32) -> Self {
        Self(index)
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Its place in a `Vec` beside the policy.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of each slot, and the order in which they leave.
///
/// # Examples
///
/// ```
/// use donjon_core::entry::{Freshness, Life, Removal, Weight};
/// use donjon_core::moment::Moment;
/// use donjon_core::policy::{Bounds, Policy};
///
/// let mut policy = Policy::new(Bounds { max_weight: 1_000, max_entries: None });
/// let (start, end) = (Moment::from_millis(0), Moment::from_millis(500));
/// let slot = policy.open(0x5eed);
/// policy.put(slot, Weight::new(600), Life::new(end, end));
/// assert_eq!(policy.freshness(slot, start), Some(Freshness::Fresh));
/// policy.touch(slot);
///
/// let other = policy.open(0xcafe);
/// policy.put(other, Weight::new(600), Life::FOREVER);
/// assert_eq!(policy.evict(start), Some((other, Removal::Evicted)), "the one that was used stays");
/// assert_eq!(policy.evict(start), None, "the bounds hold again");
/// assert_eq!(policy.expire(Moment::from_millis(502)), Some(slot), "a little late, never early");
/// policy.close(slot);
/// ```
#[derive(Debug)]
pub struct Policy {
    rows: Blocks<Row>,
    /// The last closed slot; each names the one closed before it.
    closed: u32,
    order: Order,
    wheel: Wheel,
    loads: u64,
}

impl Policy {
    /// A policy that holds nothing. It takes memory as slots are opened: 52 bytes each, and 4 to 8.5 for the
    /// sketch.
    pub fn new(bounds: Bounds) -> Self {
        Self { rows: Blocks::new(), closed: NONE, order: Order::new(bounds), wheel: Wheel::new(), loads: 0 }
    }

    /// A slot with neither value nor load, closed ones first.
    ///
    /// `hash` is of its key, the same for the same key; how good it is decides how well the policy tells keys apart.
    ///
    /// # Panics
    ///
    /// When more than four thousand million slots would be open at once.
    pub fn open(&mut self, hash: u32) -> Slot {
        if self.closed == NONE {
            let slot = u32::try_from(self.rows.len()).ok().filter(|&slot| slot != NONE).expect("slots fit 32 bits");
            self.rows.push(Row::open());
            self.order.open(slot, hash);
            return Slot(slot);
        }
        let slot = self.closed;
        self.closed = self.rows[slot as usize].link.next();
        self.rows[slot as usize] = Row::open();
        self.order.open(slot, hash);
        Slot(slot)
    }

    /// Gives a slot back; its number may be handed out again.
    ///
    /// # Panics
    ///
    /// When it holds a value or has a load, or is closed already.
    pub fn close(&mut self, slot: Slot) {
        let row = &mut self.rows[slot.index()];
        assert!(row.place == Place::Empty && !row.is_loading, "only an empty slot without a load can be closed");
        row.place = Place::Closed;
        row.link = Link::before(self.closed);
        self.closed = slot.0;
    }

    /// How many numbers were ever handed out: the length of a `Vec` beside the policy.
    pub fn slots(&self) -> usize {
        self.rows.len()
    }

    /// The hash that the slot was opened with.
    #[inline]
    pub fn hash(&self, slot: Slot) -> u32 {
        self.order.hash(slot.0)
    }

    /// Whether a value of this weight can fit at all. What is not admitted must not be put.
    pub fn admits(&self, weight: Weight) -> bool {
        self.order.admits(weight)
    }

    /// Notes that `slot` now holds a value, in place of the one it may have held: that counts as a use of it.
    ///
    /// The bounds may be exceeded afterwards: call [`Policy::evict`] until it returns `None`, which may name this very
    /// slot.
    pub fn put(&mut self, slot: Slot, weight: Weight, life: Life) {
        let row = &mut self.rows[slot.index()];
        let (place, old) = (row.place, row.weight);
        debug_assert!(place != Place::Closed, "only an open slot can hold a value");
        row.weight = weight.get();
        if !place.is_held() {
            row.life = life;
            self.order.enter(&mut self.rows, slot.0);
            self.wheel.insert(&mut self.rows, slot.0);
            return;
        }
        self.order.reweigh(place, old, weight.get());
        self.touch(slot);
        self.retime(slot, life);
    }

    /// Notes that the value left, for whatever reason; does nothing where there is none. The slot stays open.
    pub fn remove(&mut self, slot: Slot) {
        if self.holds(slot) {
            self.forget(slot.0);
        }
    }

    /// Whether the slot holds a value.
    pub fn holds(&self, slot: Slot) -> bool {
        self.rows[slot.index()].place.is_held()
    }

    /// A slot whose value must leave, while the bounds are exceeded, and whether room or time was why; it is forgotten
    /// already, as after [`Policy::remove`].
    ///
    /// One whose time is over at `now` goes before any other where one is found quickly. A slot without a value is
    /// never named, and a load of the slot named goes on. The work of one call is bounded.
    pub fn evict(&mut self, now: Moment) -> Option<(Slot, Removal)> {
        if !self.order.is_over() {
            return None;
        }
        let leaves = self
            .wheel
            .expire(&mut self.rows, now, REFILED_TO_EVICT)
            .unwrap_or_else(|| self.order.victim(&mut self.rows, now));
        let over = self.rows[leaves as usize].life.at(now) == Freshness::Over;
        self.forget(leaves);
        Some((Slot(leaves), if over { Removal::Expired } else { Removal::Evicted }))
    }

    /// A slot whose value is past its `usable_until` at `now`; it is forgotten already, as after [`Policy::remove`].
    ///
    /// Never early, and late by less than 1.1 ms: the wheel's tick. Call it until it returns `None`; the work of one
    /// call is bounded, and where that bound was met before a due slot was found, [`Policy::next_deadline`] is not
    /// after `now`.
    pub fn expire(&mut self, now: Moment) -> Option<Slot> {
        let due = self.wheel.expire(&mut self.rows, now, REFILED_TO_EXPIRE)?;
        self.forget(due);
        Some(Slot(due))
    }

    /// When [`Policy::expire`] may next have something: nothing is due earlier, and perhaps nothing is due then.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.wheel.next_deadline()
    }

    /// Gives the value another life; does nothing where there is no value.
    pub fn retime(&mut self, slot: Slot, life: Life) {
        if !self.holds(slot) {
            return;
        }
        let moved = self.rows[slot.index()].life.usable_until() != life.usable_until();
        if moved {
            self.wheel.remove(&mut self.rows, slot.0);
        }
        self.rows[slot.index()].life = life;
        if moved {
            self.wheel.insert(&mut self.rows, slot.0);
        }
    }

    /// How the value stands at `now`; `None` without one.
    #[inline]
    pub fn freshness(&self, slot: Slot, now: Moment) -> Option<Freshness> {
        let row = &self.rows[slot.index()];
        row.place.is_held().then(|| row.life.at(now))
    }

    /// Whether the value is fresh at `now`; false without one. With [`Policy::touch`] this is the whole of a hit.
    #[inline(always)]
    pub fn is_fresh(&self, slot: Slot, now: Moment) -> bool {
        let row = self.rows.at(slot.index());
        row.place.is_held() && row.life.is_fresh(now)
    }

    /// Notes a read. Writes the slot's own byte, unless that says already that the value is much used.
    #[inline(always)]
    pub fn touch(&self, slot: Slot) {
        let uses = &self.rows.at(slot.index()).uses;
        // Two readers at once may count as one: an estimate is enough, and a plain store is cheaper than an exact
        // count.
        let seen = uses.load(Ordering::Relaxed);
        if seen < MUCH_USED {
            uses.store(seen + 1, Ordering::Relaxed);
        }
    }

    /// Until when the value lives; `None` without one.
    pub fn life(&self, slot: Slot) -> Option<Life> {
        let row = &self.rows[slot.index()];
        row.place.is_held().then_some(row.life)
    }

    /// What the value weighs; `None` without one.
    pub fn weight_of(&self, slot: Slot) -> Option<Weight> {
        let row = &self.rows[slot.index()];
        row.place.is_held().then(|| Weight::new(row.weight))
    }

    /// Notes that a load is under way for the slot.
    pub fn begin(&mut self, slot: Slot) {
        let row = &mut self.rows[slot.index()];
        debug_assert!(row.place != Place::Closed, "only an open slot can be loaded");
        self.loads += u64::from(!row.is_loading);
        row.is_loading = true;
    }

    /// Whether a load is under way.
    pub fn is_loading(&self, slot: Slot) -> bool {
        self.rows[slot.index()].is_loading
    }

    /// Notes that no load is under way for the slot any more; a value in it stays.
    pub fn end(&mut self, slot: Slot) {
        let row = &mut self.rows[slot.index()];
        self.loads -= u64::from(row.is_loading);
        row.is_loading = false;
    }

    /// How many values are held.
    pub fn entries(&self) -> u64 {
        self.order.entries()
    }

    /// What they weigh together, in bytes.
    pub fn weight(&self) -> u64 {
        u64::try_from(self.order.weight()).unwrap_or(u64::MAX)
    }

    /// How many loads are under way.
    pub fn loads(&self) -> u64 {
        self.loads
    }

    /// Recounts everything. For tests.
    ///
    /// # Panics
    ///
    /// Where a count, a link or a deadline is off.
    pub fn validate(&self) {
        self.order.validate(&self.rows);
        self.wheel.validate(&self.rows);
        let held = self.rows.iter().filter(|row| row.place.is_held()).count() as u64;
        assert_eq!(held, self.entries(), "a slot holds a value that no queue knows");
        let loads = self.rows.iter().filter(|row| row.is_loading).count() as u64;
        assert_eq!(loads, self.loads, "the count of loads is off");
        for (slot, row) in self.rows.iter().enumerate() {
            let timed = row.place.is_held() && row.life.usable_until() != Moment::NEVER;
            assert_eq!(row.node.is_filed(), timed, "slot {slot} is in the wheel without need, or missing there");
            assert!(row.place != Place::Closed || !row.is_loading, "slot {slot} is closed, yet has a load");
        }
        let (mut at, mut closed) = (self.closed, 0);
        while at != NONE {
            let row = &self.rows[at as usize];
            assert_eq!(row.place, Place::Closed, "slot {at} is listed as closed, but is not");
            closed += 1;
            assert!(closed <= self.rows.len(), "the list of closed slots runs in a circle");
            at = row.link.next();
        }
        let all = self.rows.iter().filter(|row| row.place == Place::Closed).count();
        assert_eq!(closed, all, "a closed slot is lost");
    }

    /// Takes the value out of the order and the wheel.
    fn forget(&mut self, slot: u32) {
        self.wheel.remove(&mut self.rows, slot);
        self.order.leave(&mut self.rows, slot);
    }
}

/// How many slots are filed anew at most to find one that is due before another has to leave: some 20 µs.
const REFILED_TO_EVICT: usize = 256;

/// The same where one of many is let go, at once with others.
const REFILED_TO_EXPIRE: usize = 8;

/// Uses are counted this far.
const MUCH_USED: u8 = 3;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Moment = Moment::from_millis(1_000);

    fn bounded(max_weight: u64) -> Policy {
        Policy::new(Bounds { max_weight, max_entries: None })
    }

    fn hash(key: u64) -> u32 {
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
    }

    fn put(policy: &mut Policy, key: u64, weight: u64) -> Slot {
        let slot = policy.open(hash(key));
        policy.put(slot, Weight::new(weight), Life::FOREVER);
        slot
    }

    fn evict_all(policy: &mut Policy) -> Vec<Slot> {
        let gone: Vec<_> = std::iter::from_fn(|| policy.evict(START)).map(|(slot, _)| slot).collect();
        policy.validate();
        gone
    }

    fn close_evicted(policy: &mut Policy) {
        for slot in evict_all(policy) {
            policy.close(slot);
        }
    }

    fn touch_all(policy: &Policy, slots: &[Slot]) {
        for &slot in slots {
            policy.touch(slot);
        }
    }

    #[test]
    fn nothing_leaves_while_the_bounds_hold_and_then_no_more_than_must() {
        let mut policy = Policy::new(Bounds { max_weight: u64::MAX, max_entries: Some(100) });
        for key in 0..1_000 {
            put(&mut policy, key, 1);
            close_evicted(&mut policy);
            assert_eq!(policy.entries(), (key + 1).min(100));
        }
        assert_eq!(policy.slots(), 101, "closed slots are used again");
    }

    #[test]
    fn what_was_used_outlives_a_scan() {
        let mut policy = bounded(100);
        let used: Vec<_> = (0..50).map(|key| put(&mut policy, key, 1)).collect();
        for key in 50..5_000 {
            // Once for every hundred keys that the scan brings.
            if key % 100 == 0 {
                touch_all(&policy, &used);
            }
            put(&mut policy, key, 1);
            close_evicted(&mut policy);
        }
        let kept = used.iter().filter(|slot| policy.hash(**slot) == hash(slot.0.into()));
        assert_eq!(kept.count(), 50);
    }

    #[test]
    fn a_heavy_value_does_not_push_out_many_light_ones() {
        let mut policy = bounded(1_000);
        for key in 0..1_000 {
            put(&mut policy, key, 1);
        }
        let heavy = put(&mut policy, 1_000, 900);
        policy.touch(heavy);
        let gone = evict_all(&mut policy);
        assert!(gone.contains(&heavy));
        assert!(policy.entries() > 970, "only {} of 1000 light values are left", policy.entries());
    }

    #[test]
    fn a_heavy_value_enters_where_it_is_asked_for_more_than_all_it_pushes_out() {
        let mut policy = bounded(1_000);
        for key in 0..10 {
            put(&mut policy, key, 100);
        }
        for _ in 0..15 {
            let slot = put(&mut policy, 10, 300);
            evict_all(&mut policy);
            policy.touch(slot);
            if policy.holds(slot) {
                assert!(policy.entries() <= 8);
                return;
            }
            policy.close(slot);
        }
        panic!("a value asked for fifteen times was never admitted");
    }

    #[test]
    fn a_value_whose_time_is_over_leaves_before_the_others_wherever_it_stands() {
        let mut policy = bounded(100);
        let slots: Vec<_> = (0..101).map(|key| put(&mut policy, key, 1)).collect();
        (0..3).for_each(|_| touch_all(&policy, &slots));
        // Farther back than one call looks.
        policy.retime(slots[70], Life::new(START, START));
        let now = START.after(Duration::from_millis(2));
        assert_eq!(policy.evict(now), Some((slots[70], Removal::Expired)));
        assert_eq!(policy.evict(now), None);
    }

    #[test]
    fn a_value_over_for_less_than_a_tick_is_seen_as_such_where_it_stands_first() {
        let mut policy = bounded(10);
        let slots: Vec<_> = (0..11).map(|key| put(&mut policy, key, 1)).collect();
        touch_all(&policy, &slots);
        policy.retime(slots[0], Life::new(START, START));
        assert_eq!(policy.expire(START), None, "the tick is not over");
        assert_eq!(policy.evict(START), Some((slots[0], Removal::Expired)));
    }

    #[test]
    fn a_read_writes_nothing_once_a_value_is_much_used() {
        let mut policy = bounded(10);
        let slot = put(&mut policy, 0, 1);
        for uses in [1, 2, 3, 3, 3] {
            policy.touch(slot);
            assert_eq!(policy.rows[slot.index()].uses.load(Ordering::Relaxed), uses);
        }
    }

    #[test]
    fn a_load_outlives_the_value_of_its_slot_and_is_itself_never_named() {
        let mut policy = bounded(1);
        let loading = policy.open(0);
        policy.begin(loading);
        policy.put(loading, Weight::new(1), Life::new(START, START));
        assert_eq!(policy.expire(START.after(Duration::from_millis(2))), Some(loading));
        assert_eq!((policy.is_loading(loading), policy.holds(loading), policy.loads()), (true, false, 1));
        for key in 1..10 {
            put(&mut policy, key, 1);
        }
        assert!(!evict_all(&mut policy).contains(&loading));
        policy.begin(loading);
        assert_eq!((policy.is_loading(loading), policy.loads()), (true, 1), "a slot has one load");
        policy.end(loading);
        policy.end(loading);
        assert_eq!((policy.is_loading(loading), policy.loads()), (false, 0));
        policy.close(loading);
        policy.validate();
    }

    #[test]
    fn a_new_value_in_place_of_an_old_one_changes_weight_and_life_and_counts_as_a_use() {
        let mut policy = bounded(100);
        let slot = put(&mut policy, 0, 10);
        let life = Life::new(START, START);
        policy.put(slot, Weight::new(30), life);
        policy.validate();
        assert_eq!((policy.weight(), policy.entries(), policy.life(slot)), (30, 1, Some(life)));
        assert_eq!(policy.rows[slot.index()].uses.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_can_never_fit_is_not_admitted() {
        assert!(bounded(100).admits(Weight::new(100)));
        assert!(!bounded(100).admits(Weight::new(101)));
        assert!(!Policy::new(Bounds { max_weight: 100, max_entries: Some(0) }).admits(Weight::new(1)));
    }

    #[test]
    #[should_panic(expected = "only an empty slot without a load can be closed")]
    fn a_slot_with_a_load_cannot_be_closed() {
        let mut policy = bounded(1);
        let slot = policy.open(0);
        policy.begin(slot);
        policy.close(slot);
    }
}
