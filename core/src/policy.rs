//! Policy: which slots hold a value, which of them leaves first, and which have a load under way.
//!
//! Owns, for each slot, its place in the eviction order, its weight, its deadlines and its load ticket. Must not know where
//! values live, what a key is or how it was hashed: native code puts hash tables and values around it, JavaScript its own
//! `Map`, and both call it with integers.
//!
//! Whoever reads (`&self`) may do so beside other readers; who changes something (`&mut self`) is alone. A hit writes
//! nothing but one byte of its own entry, and that only until it says "three times".
//!
//! Invariants: a slot with a value stands in one queue, and in the wheel if it has a deadline; a slot without stands in
//! neither; a closed slot has no ticket. Weights and counts are those of the slots that hold a value. [`Policy::validate`]
//! recounts all of it.

mod queue;
mod sketch;
mod wheel;

use std::sync::atomic::{AtomicU8, Ordering};

use crate::entry::{Freshness, Life, Weight};
use crate::moment::Moment;
use queue::{Link, NONE, Queue, Queued};
use sketch::Sketch;
use wheel::{Node, Timed, Wheel};

/// How much may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most that all values may weigh together, in bytes.
    pub max_weight: u64,
    /// The most values, or `None` for as many as their weight allows.
    pub max_entries: Option<u64>,
}

/// The number of an entry or of a load under way. Numbers are dense: a caller keeps a `Vec` beside the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// The slot of this number, as [`Slot::index`] gave it.
    pub const fn from_index(index: u32) -> Self {
        Self(index)
    }

    /// Its place in a `Vec` beside the policy.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of each slot, and the order in which they leave.
#[derive(Debug)]
pub struct Policy {
    bounds: Bounds,
    rows: Vec<Row>,
    /// The last closed slot; each names the one closed before it.
    closed: u32,
    window: Queue,
    main: Queue,
    sketch: Sketch,
    wheel: Wheel,
    loads: u64,
}

impl Policy {
    /// A policy that holds nothing. It takes memory as slots are opened: 64 bytes each and four to eight for the sketch.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            rows: Vec::new(),
            closed: NONE,
            window: Queue::new(),
            main: Queue::new(),
            sketch: Sketch::new(),
            wheel: Wheel::new(),
            loads: 0,
        }
    }

    /// A slot with neither value nor load, closed ones first.
    ///
    /// # Panics
    ///
    /// When more than four thousand million slots would be open at once.
    pub fn open(&mut self) -> Slot {
        if self.closed == NONE {
            let slot = u32::try_from(self.rows.len()).ok().filter(|&slot| slot != NONE).expect("slots fit 32 bits");
            self.rows.push(Row::open());
            self.sketch.grow_for(self.rows.len());
            return Slot(slot);
        }
        let slot = self.closed;
        self.closed = self.rows[slot as usize].link.next();
        self.rows[slot as usize] = Row::open();
        Slot(slot)
    }

    /// Gives a slot back; its number may be handed out again.
    ///
    /// # Panics
    ///
    /// When it holds a value or has a load, or is closed already.
    pub fn close(&mut self, slot: Slot) {
        let row = &mut self.rows[slot.index()];
        assert!(row.place == Place::Empty && row.ticket == 0, "only an empty slot without a load can be closed");
        row.place = Place::Closed;
        row.link = Link::before(self.closed);
        self.closed = slot.0;
    }

    /// How many numbers were ever handed out: the length of a `Vec` beside the policy.
    pub fn slots(&self) -> usize {
        self.rows.len()
    }

    /// Whether a value of this weight can fit at all. What is not admitted must not be put.
    pub fn admits(&self, weight: Weight) -> bool {
        weight.get() <= self.bounds.max_weight && self.bounds.max_entries != Some(0)
    }

    /// Notes that `slot` now holds a value, in place of the one it may have held: that counts as a use of it.
    ///
    /// `hash` is of the key, the same for the same key; how good it is decides how well the policy tells keys apart. The
    /// bounds may be exceeded afterwards: call [`Policy::evict`] until it returns `None`, which may name this very slot.
    pub fn put(&mut self, slot: Slot, hash: u64, weight: Weight, life: Life) {
        let row = &mut self.rows[slot.index()];
        let (place, old) = (row.place, row.weight);
        debug_assert!(place != Place::Closed, "only an open slot can hold a value");
        row.hash = hash;
        row.weight = weight.get();
        match place {
            Place::Window => self.window.reweigh(old, weight.get()),
            Place::Main => self.main.reweigh(old, weight.get()),
            Place::Empty | Place::Closed => return self.enter(slot, life),
        }
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

    /// A slot whose value must leave, while the bounds are exceeded; it is forgotten already, as after [`Policy::remove`].
    ///
    /// One whose time is over at `now` goes before any other where one is found quickly. A slot without a value is never
    /// named, and a load of the slot named goes on. The work of one call is bounded.
    pub fn evict(&mut self, now: Moment) -> Option<Slot> {
        if !self.is_over() {
            return None;
        }
        let leaves = self.wheel.expire(&mut self.rows, now).unwrap_or_else(|| self.victim(now));
        self.forget(leaves);
        Some(Slot(leaves))
    }

    /// A slot whose value is past its `usable_until` at `now`; it is forgotten already, as after [`Policy::remove`].
    ///
    /// Never early, and late by less than 1.1 ms: the wheel's tick. Call it until it returns `None`; the work of one call
    /// is bounded, and where that bound was met before a due slot was found, [`Policy::next_deadline`] is not after `now`.
    pub fn expire(&mut self, now: Moment) -> Option<Slot> {
        let due = self.wheel.expire(&mut self.rows, now)?;
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

    /// How the value stands at `now`; `None` without one. With [`Policy::touch`] this is the whole of a hit.
    #[inline]
    pub fn freshness(&self, slot: Slot, now: Moment) -> Option<Freshness> {
        let row = &self.rows[slot.index()];
        row.place.is_held().then(|| row.life.at(now))
    }

    /// Notes a read. Writes the slot's own byte, unless that says already that the value is much used.
    #[inline]
    pub fn touch(&self, slot: Slot) {
        let uses = &self.rows[slot.index()].uses;
        // Two readers at once may count as one: an estimate is enough, and a plain store is cheaper than an exact count.
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

    /// Notes that a load is under way for the slot; the ticket of an earlier one is void from here on.
    ///
    /// # Panics
    ///
    /// When `ticket` is zero.
    pub fn begin(&mut self, slot: Slot, ticket: u64) {
        assert_ne!(ticket, 0, "zero stands for no load");
        let row = &mut self.rows[slot.index()];
        debug_assert!(row.place != Place::Closed, "only an open slot can be loaded");
        self.loads += u64::from(row.ticket == 0);
        row.ticket = ticket;
    }

    /// The ticket of the load under way.
    pub fn ticket(&self, slot: Slot) -> Option<u64> {
        Some(self.rows[slot.index()].ticket).filter(|&ticket| ticket != 0)
    }

    /// Notes that no load is under way for the slot any more; a value in it stays.
    pub fn end(&mut self, slot: Slot) {
        let row = &mut self.rows[slot.index()];
        self.loads -= u64::from(row.ticket != 0);
        row.ticket = 0;
    }

    /// How many values are held.
    pub fn entries(&self) -> u64 {
        self.window.len() + self.main.len()
    }

    /// What they weigh together, in bytes.
    pub fn weight(&self) -> u64 {
        u64::try_from(self.held_weight()).unwrap_or(u64::MAX)
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
        self.window.validate(&self.rows);
        self.main.validate(&self.rows);
        self.wheel.validate(&self.rows);
        for (queue, place) in [(&self.window, Place::Window), (&self.main, Place::Main)] {
            for slot in queue.iter(&self.rows) {
                assert_eq!(self.rows[slot as usize].place, place, "slot {slot} stands in another queue than it says");
            }
        }
        let held = self.rows.iter().filter(|row| row.place.is_held()).count() as u64;
        assert_eq!(held, self.entries(), "a slot holds a value that no queue knows");
        let loads = self.rows.iter().filter(|row| row.ticket != 0).count() as u64;
        assert_eq!(loads, self.loads, "the count of loads is off");
        for (slot, row) in self.rows.iter().enumerate() {
            let timed = row.place.is_held() && row.life.usable_until() != Moment::NEVER;
            assert_eq!(row.node.is_filed(), timed, "slot {slot} is in the wheel without need, or missing there");
            assert!(row.place != Place::Closed || row.ticket == 0, "slot {slot} is closed, yet has a load");
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

    /// Lets a new value in: at the back of the window, whose first go on to main while there is room.
    fn enter(&mut self, slot: Slot, life: Life) {
        let row = &mut self.rows[slot.index()];
        self.sketch.add(row.hash);
        row.life = life;
        *row.uses.get_mut() = 0;
        row.place = Place::Window;
        self.window.push(&mut self.rows, slot.0);
        self.wheel.insert(&mut self.rows, slot.0);
        for _ in 0..SETTLED {
            if !self.window_is_over() || self.is_over() {
                break;
            }
            self.promote(self.window.front().expect("a window that is over its share is not empty"));
        }
    }

    fn is_over(&self) -> bool {
        self.held_weight() > u128::from(self.bounds.max_weight)
            || self.bounds.max_entries.is_some_and(|most| self.entries() > most)
    }

    fn held_weight(&self) -> u128 {
        self.window.weight() + self.main.weight()
    }

    fn window_is_over(&self) -> bool {
        self.window.weight() > u128::from(self.bounds.max_weight / WINDOW_SHARE)
            || self.bounds.max_entries.is_some_and(|most| self.window.len() > (most / WINDOW_SHARE).max(1))
    }

    /// The slot that is to leave for want of room.
    fn victim(&mut self, now: Moment) -> u32 {
        for _ in 0..CHANCES {
            if !self.window_is_over() {
                break;
            }
            let candidate = self.window.front().expect("a window that is over its share is not empty");
            if self.is_past(candidate, now) {
                return candidate;
            }
            let used = *self.rows[candidate as usize].uses.get_mut() > 0;
            let Some(oldest) = self.oldest_of_main(now) else {
                self.promote(candidate);
                continue;
            };
            if !used {
                let (new, old) = (&self.rows[candidate as usize], &self.rows[oldest as usize]);
                let worth =
                    |row: &Row, other: &Row| u128::from(self.sketch.estimate(row.hash)) * u128::from(other.weight);
                return if worth(new, old) > worth(old, new) {
                    self.promote(candidate);
                    oldest
                } else {
                    candidate
                };
            }
            self.promote(candidate);
        }
        self.oldest_of_main(now).or_else(|| self.window.front()).expect("what exceeds the bounds holds a value")
    }

    /// The slot that main would lose next, once those used since they last stood first have gone to the back.
    fn oldest_of_main(&mut self, now: Moment) -> Option<u32> {
        for _ in 0..CHANCES {
            let slot = self.main.front()?;
            if self.is_past(slot, now) {
                break;
            }
            let row = &mut self.rows[slot as usize];
            let uses = row.uses.get_mut();
            if *uses == 0 {
                break;
            }
            *uses -= 1;
            self.sketch.add(row.hash);
            self.main.remove(&mut self.rows, slot);
            self.main.push(&mut self.rows, slot);
        }
        self.main.front()
    }

    fn is_past(&self, slot: u32, now: Moment) -> bool {
        self.rows[slot as usize].life.at(now) == Freshness::Over
    }

    /// Moves a slot from the window to the back of main.
    fn promote(&mut self, slot: u32) {
        self.window.remove(&mut self.rows, slot);
        let row = &mut self.rows[slot as usize];
        row.place = Place::Main;
        *row.uses.get_mut() = 0;
        self.main.push(&mut self.rows, slot);
    }

    /// Takes the value out of its queue and the wheel.
    fn forget(&mut self, slot: u32) {
        self.wheel.remove(&mut self.rows, slot);
        match self.rows[slot as usize].place {
            Place::Window => self.window.remove(&mut self.rows, slot),
            Place::Main => self.main.remove(&mut self.rows, slot),
            Place::Empty | Place::Closed => unreachable!("only a held value is forgotten"),
        }
        self.rows[slot as usize].place = Place::Empty;
    }
}

/// The window's part of each bound, as its reciprocal.
const WINDOW_SHARE: u64 = 100;
/// How many slots one call moves on at most, before it takes what stands first.
const CHANCES: usize = 16;
/// How many slots one put moves from window to main at most, while there is room.
const SETTLED: usize = 4;
/// Uses are counted this far.
const MUCH_USED: u8 = 3;

/// One cache line a slot. What a hit reads comes first.
#[derive(Debug)]
#[repr(C, align(64))]
struct Row {
    life: Life,
    place: Place,
    uses: AtomicU8,
    node: Node,
    link: Link,
    weight: u64,
    hash: u64,
    /// Zero without a load.
    ticket: u64,
}

const _: () = assert!(size_of::<Row>() == 64);

impl Row {
    const fn open() -> Self {
        Self {
            life: Life::FOREVER,
            place: Place::Empty,
            uses: AtomicU8::new(0),
            node: Node::OUT,
            link: Link::before(NONE),
            weight: 0,
            hash: 0,
            ticket: 0,
        }
    }
}

impl Queued for Row {
    fn link(&self) -> Link {
        self.link
    }

    fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    fn queued_weight(&self) -> u64 {
        self.weight
    }
}

impl Timed for Row {
    fn node(&self) -> Node {
        self.node
    }

    fn set_node(&mut self, node: Node) {
        self.node = node;
    }

    fn deadline(&self) -> Moment {
        self.life.usable_until()
    }
}

/// Where a slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Given back; its link names the slot closed before it.
    Closed,
    /// Open, without a value.
    Empty,
    /// Its value came lately.
    Window,
    /// Its value was admitted.
    Main,
}

impl Place {
    const fn is_held(self) -> bool {
        matches!(self, Self::Window | Self::Main)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_the_bounds_leaves_and_nothing_else() {
        let mut policy = Policy::new(Bounds { max_weight: u64::MAX, max_entries: Some(100) });
        for n in 0..1000 {
            let slot = policy.open();
            policy.put(slot, n, Weight::new(1), Life::FOREVER);
            while let Some(gone) = policy.evict(Moment::default()) {
                policy.close(gone);
            }
            policy.validate();
            assert_eq!(policy.entries(), (n + 1).min(100));
        }
        assert_eq!(policy.slots(), 101);
    }
}
