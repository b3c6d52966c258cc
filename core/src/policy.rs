//! Policy: which slots hold a value, and which of them leaves first.
//!
//! Owns, for each slot, its place in the eviction order, its weight and its deadlines. Must not know what a key is or how it was hashed,
//! nor what its caller keeps beside a slot: it only has room for it, beside what a hit reads and beside the rest, so that a hit finds what
//! it needs in one place, and nothing else.
//!
//! Whoever reads (`&self`) may do so beside other readers; who changes something (`&mut self`) is alone. A hit writes
//! nothing but one byte of its own row, and that only until it says "much used"; it takes no lock and no memory.
//!
//! What leaves for want of room is decided in `order`, what is over is found by the `wheel`.
//!
//! **Work.** A call takes constant time, and where tables grow, constant time over many calls: one [`evict`] moves at
//! most 32 slots and files at most 256 anew, one [`expire`] at most 2. What an insertion calls is marked to
//! stand in the midst of it, as the calls themselves are a part of what it costs. **Memory.** 48 bytes a slot, and 4 to 8.5 for the sketch.
//!
//! Invariants: a slot with a value stands in one queue, and in the wheel if it has a deadline; a slot without stands in
//! neither. Weights and counts are those of the slots that hold a value.
//! [`Policy::validate`] recounts all of it.
//!
//! [`evict`]: Policy::evict
//! [`expire`]: Policy::expire

mod bounds;
mod closed;
mod order;
mod queue;
mod row;
mod share;
mod sketch;
mod wheel;

use core::ops::{Index, IndexMut};
use core::sync::atomic::Ordering;
use core::time::Duration;

use crate::entry::{Freshness, Life, Removal, Weight};
use crate::moment::Moment;
use closed::Closed;
use order::Order;
use row::{Cold, Hot, Place, Rows};
use wheel::{FIRST, Timed, Wheel};

pub use bounds::Bounds;

/// The number of an entry. Numbers are dense: a caller may keep a `Vec` beside the policy.
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

/// What is known of each slot, and the order in which they leave. Beside a slot the caller keeps a `T`, which a hit finds without
/// another look at memory, and a `U`.
///
/// # Examples
///
/// ```
/// use donjon_core::entry::{Freshness, Life, Removal, Weight};
/// use donjon_core::moment::Moment;
/// use donjon_core::policy::{Bounds, Policy};
///
/// let mut policy: Policy = Policy::new(Bounds { max_weight: 1_000, max_entries: None, idle_weight: 0 });
/// let (start, end) = (Moment::from_millis(0), Moment::from_millis(500));
/// let slot = policy.open(0x5eed);
/// policy.put(slot, Weight::new(600), Life::new(end, end));
/// assert_eq!(policy.freshness(slot, start), Some(Freshness::Fresh));
/// policy.line(slot).touch();
///
/// let other = policy.open(0xcafe);
/// policy.put(other, Weight::new(600), Life::FOREVER);
/// assert_eq!(policy.evict(start), Some((other, Removal::Evicted)), "the one that was used stays");
/// assert_eq!(policy.evict(start), None, "the bounds hold again");
/// assert_eq!(policy.expire(Moment::from_millis(502)), Some(slot), "a little late, never early");
/// policy.close(slot);
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct Policy<T = (), U = ()> {
    // First, as every hit reads it.
    rows: Rows<T, U>,
    order: Order,
    wheel: Wheel,
    closed: Closed,
}

impl<T: Default, U: Default> Policy<T, U> {
    /// A policy that holds nothing. It takes memory as slots are opened.
    pub fn new(bounds: Bounds) -> Self {
        Self { rows: Rows::new(), closed: Closed::new(), order: Order::new(bounds), wheel: Wheel::new() }
    }

    /// A slot without a value, closed ones first, and beside it what was kept there when it was closed, or else what is by default.
    ///
    /// `hash` is of its key, the same for the same key; how good it is decides how well the policy tells keys apart.
    ///
    /// # Panics
    ///
    /// When more than four thousand million slots would be open at once.
    #[inline]
    pub fn open(&mut self, hash: u32) -> Slot {
        if let Some(slot) = self.closed.pop(&self.rows.cold) {
            self.rows.hot[slot as usize].reopen(hash);
            return Slot(slot);
        }
        let slot = u32::try_from(self.rows.len()).ok().filter(|&slot| slot < FIRST).expect("slots fit 32 bits");
        self.rows.push(hash);
        self.order.resize(self.rows.len());
        Slot(slot)
    }

    /// Gives a slot back; its number may be handed out again, with what is kept beside it then. What the last slots took is given back, too,
    /// where many of them are closed.
    ///
    /// # Panics
    ///
    /// When it holds a value, or is closed already.
    #[inline]
    pub fn close(&mut self, slot: Slot) {
        let row = &mut self.rows.hot[slot.index()];
        assert!(row.place == Place::Empty, "only an empty slot can be closed");
        row.place = Place::Closed;
        self.closed.push(&mut self.rows.cold, slot.0);
        let left = self.closed.cut(self.rows.len());
        if left < self.rows.len() {
            self.rows.truncate(left);
            self.order.resize(left);
        }
    }

    /// How many slots there are, closed ones among them: the length of a `Vec` beside the policy. It falls where slots at the end are closed.
    pub fn slots(&self) -> usize {
        self.rows.len()
    }

    /// What is kept beside the slot of this number, where there is one.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.rows.hot.get(slot.index()).map(|row| &row.kept)
    }

    /// What is kept beside what hits do not read.
    #[inline]
    pub fn rest(&self, slot: Slot) -> &U {
        &self.rows.cold[slot.index()].kept
    }

    /// All that is kept beside a slot, to be changed, found once for all that is to be done with it.
    #[inline]
    pub fn parts(&mut self, slot: Slot) -> Parts<'_, T, U> {
        let (hot, cold) = self.rows.both(slot.0);
        Parts { hash: hot.hash, kept: &mut hot.kept, rest: &mut cold.kept }
    }

    /// The hash that the slot was opened with.
    #[inline]
    pub fn hash(&self, slot: Slot) -> u32 {
        self.rows.hot[slot.index()].hash
    }

    /// Whether a value of this weight can fit at all. What is not admitted must not be put.
    pub fn admits(&self, weight: Weight) -> bool {
        self.order.admits(weight)
    }

    /// Notes that `slot` now holds a value, in place of the one it may have held: that counts as a use of it.
    ///
    /// The bounds may be exceeded afterwards: call [`Policy::evict`] until it returns `None`, which may name this very
    /// slot.
    #[inline]
    pub fn put(&mut self, slot: Slot, weight: Weight, life: Life) {
        let (hot, cold) = self.rows.both(slot.0);
        let place = hot.place;
        debug_assert!(place != Place::Closed, "only an open slot can hold a value");
        let old = core::mem::replace(&mut cold.weight, weight.get());
        if !place.is_held() {
            self.rows.set_life(slot.0, life);
            self.order.enter(&mut self.rows, slot.0);
            self.wheel.insert(&mut self.rows.cold, slot.0);
            return;
        }
        self.order.reweigh(place, old, weight.get());
        self.line(slot).touch();
        self.retime(slot, life);
    }

    /// Notes that the value left, for whatever reason; does nothing where there is none. The slot stays open.
    pub fn remove(&mut self, slot: Slot) {
        if self.holds(slot) {
            self.forget(slot.0);
        }
    }

    /// Lets memory bring what a call after the next will look at, where that will move or evict a value, and gives the hash of its slot.
    /// Decides nothing.
    #[inline]
    pub(crate) fn foresee(&self) -> Option<u32> {
        self.order.foresee(&self.rows)
    }

    /// Whether the slot holds a value.
    pub fn holds(&self, slot: Slot) -> bool {
        self.rows.hot[slot.index()].place.is_held()
    }

    /// A slot whose value must leave, while the bounds are exceeded, and whether room or time was why; it is forgotten
    /// already, as after [`Policy::remove`].
    ///
    /// One whose time is over at `now` goes before any other where one is found quickly; then, where many slots are idle, one that stands
    /// in the way of giving them back. A slot without a value is never named. The work of one call is bounded.
    #[inline]
    pub fn evict(&mut self, now: Moment) -> Option<(Slot, Removal)> {
        if !self.order.is_over() || self.entries() == 0 {
            return None;
        }
        let over = self.wheel.expire(&mut self.rows.cold, now, REFILED_TO_EVICT);
        let leaves = match over.or_else(|| self.order.straggler(&self.rows)) {
            Some(slot) => self.rows.standing(slot),
            None => self.order.victim(&mut self.rows, now),
        };
        self.forget(leaves.slot);
        Some((Slot(leaves.slot), if leaves.is_over(now) { Removal::Expired } else { Removal::Evicted }))
    }

    /// A slot whose value is past its `usable_until` at `now`; it is forgotten already, as after [`Policy::remove`].
    ///
    /// Never early, and late by less than 1.1 ms: the wheel's tick. Call it until it returns `None`; the work of one
    /// call is bounded, and where that bound was met before a due slot was found, [`Policy::next_deadline`] is not
    /// after `now`.
    #[inline]
    pub fn expire(&mut self, now: Moment) -> Option<Slot> {
        let due = self.wheel.expire(&mut self.rows.cold, now, REFILED_TO_EXPIRE)?;
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
        let moved = self.rows.life(slot.0).usable_until() != life.usable_until();
        if moved {
            self.wheel.remove(&mut self.rows.cold, slot.0);
        }
        self.rows.set_life(slot.0, life);
        if moved {
            self.wheel.insert(&mut self.rows.cold, slot.0);
        }
    }

    /// For so long before it is fresh no longer, and up to twice as long, the value is not [sure](Line::is_sure). That stays so for what
    /// is put in its place, too.
    pub fn doubt(&mut self, slot: Slot, before: Duration) {
        self.rows.hot[slot.index()].set_doubt(before);
    }

    /// How the value stands at `now`; `None` without one.
    pub fn freshness(&self, slot: Slot, now: Moment) -> Option<Freshness> {
        self.life(slot).map(|life| life.at(now))
    }

    /// The slot as a hit sees it, found once for all that a hit asks.
    #[inline(always)]
    pub fn line(&self, slot: Slot) -> Line<'_, T> {
        Line { slot, row: self.rows.hot.at(slot.index()) }
    }

    /// Until when the value lives; `None` without one.
    pub fn life(&self, slot: Slot) -> Option<Life> {
        self.holds(slot).then(|| self.rows.life(slot.0))
    }

    /// What the value weighs; `None` without one.
    pub fn weight_of(&self, slot: Slot) -> Option<Weight> {
        self.holds(slot).then(|| Weight::new(self.rows.cold[slot.index()].weight))
    }

    /// How many values are held.
    pub fn entries(&self) -> u64 {
        self.order.entries()
    }

    /// What they weigh together, in bytes.
    pub fn weight(&self) -> u64 {
        self.order.weight()
    }

    /// Recounts everything. For tests.
    ///
    /// # Panics
    ///
    /// Where a count, a link or a deadline is off.
    pub fn validate(&self) {
        self.order.validate(&self.rows);
        self.wheel.validate(&self.rows.cold);
        let held = self.rows.hot.iter().filter(|row| row.place.is_held()).count() as u64;
        assert_eq!(held, self.entries(), "a slot holds a value that no queue knows");
        for (slot, (hot, cold)) in self.rows.hot.iter().zip(self.rows.cold.iter()).enumerate() {
            let life = hot.place.is_held().then(|| self.rows.life(slot as u32));
            let timed = life.is_some_and(|life| life.usable_until() != Moment::NEVER);
            assert_eq!(cold.node().is_filed(), timed, "slot {slot} is in the wheel without need, or missing there");
            assert!(hot.is_consistent(), "slot {slot} has no value, yet is sure of it");
        }
        for slot in self.closed.iter(&self.rows.cold) {
            assert_eq!(
                self.rows.hot[slot as usize].place,
                Place::Closed,
                "slot {slot} is listed as closed, but is not"
            );
        }
        let closed = self.rows.hot.iter().filter(|row| row.place == Place::Closed).count();
        assert_eq!(self.closed.iter(&self.rows.cold).count(), closed, "a closed slot is lost, or listed twice");
        assert_eq!(
            self.closed.clone().cut(self.rows.len()),
            self.rows.len(),
            "a block stays of which all slots are closed"
        );
    }

    /// Takes the value out of the order and the wheel.
    fn forget(&mut self, slot: u32) {
        self.wheel.remove(&mut self.rows.cold, slot);
        self.order.leave(&mut self.rows, slot);
    }
}

/// What is kept beside a slot.
#[derive(Debug)]
pub struct Parts<'p, T, U> {
    /// The hash that the slot was opened with.
    pub hash: u32,
    /// What hits read.
    pub kept: &'p mut T,
    /// What they do not.
    pub rest: &'p mut U,
}

/// A slot, and what a hit has to know of it.
#[derive(Debug)]
pub struct Line<'p, T> {
    slot: Slot,
    row: &'p Hot<T>,
}

impl<T> Clone for Line<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Line<'_, T> {}

impl<'p, T> Line<'p, T> {
    /// Which slot it is.
    pub const fn slot(self) -> Slot {
        self.slot
    }

    /// What is kept beside it.
    #[inline(always)]
    pub const fn kept(self) -> &'p T {
        &self.row.kept
    }

    /// Whether it holds a value that is fresh at `now` and beyond [doubt](Policy::doubt). With [`Line::touch`] this is the whole of a
    /// hit.
    #[inline(always)]
    pub fn is_sure(self, now: Moment) -> bool {
        self.row.is_sure(now)
    }

    /// Notes a read. Writes the slot's own byte, unless that says already that the value is much used.
    #[inline(always)]
    pub fn touch(self) {
        // Two readers at once may count as one: an estimate is enough, and a plain store is cheaper than an exact
        // count.
        let seen = self.row.uses.load(Ordering::Relaxed);
        if seen < MUCH_USED {
            self.row.uses.store(seen + 1, Ordering::Relaxed);
        }
    }
}

impl<T, U> Index<Slot> for Policy<T, U> {
    type Output = T;

    #[inline(always)]
    fn index(&self, slot: Slot) -> &T {
        &self.rows.hot.at(slot.index()).kept
    }
}

impl<T, U> IndexMut<Slot> for Policy<T, U> {
    #[inline]
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        &mut self.rows.hot[slot.index()].kept
    }
}

/// What a slot takes with what is kept beside it, the sketch left out.
pub(crate) const fn slot_bytes<T, U>() -> usize {
    size_of::<Hot<T>>() + size_of::<Cold<U>>()
}

/// How many slots are filed anew at most to find one that is due before another has to leave: some 20 µs.
const REFILED_TO_EVICT: usize = 256;

/// The same where one of many is let go, at once with others: they take about as long as one that leaves.
const REFILED_TO_EXPIRE: usize = 2;

/// Uses are counted this far.
const MUCH_USED: u8 = 3;

#[cfg(test)]
mod tests;
