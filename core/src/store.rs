//! Store: where entries and flights are kept, in shards that lock apart.
//!
//! A row holds a key and, for it, a value, a flight, or both: one probe finds either, and one pass over the rows invalidates
//! both. Rows keep their index while they live, so a pass by index misses nothing that was there when it began.
//!
//! Must not decide who loads or what is served; that is `cache`. No foreign code runs under a shard's lock: what leaves is
//! collected in [`Leaving`], and dropped, ended and woken after the lock is released. Cloning a value does happen under the
//! shared lock, which is why values have to be handles (an `Arc`) whose clone calls nobody.
//!
//! Invariants: a row is in the table, and has a key, exactly while it has a value or a flight; the policy holds a value for exactly the
//! slots whose rows have one.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use crate::entry::{Freshness, Life, Removal, Weight};
use crate::expiry::Early;
use crate::flight::{Ending, Flight};
use crate::index::Index;
use crate::inline::Inline;
use crate::moment::Moment;
use crate::policy::{Bounds, Line, Parts, Policy, Slot, slot_bytes};
use crate::recent::Recent;
use crate::stats::Counters;
use crate::sync::RwLock;
use crate::version::{TagSet, Ticket};

/// The counters first, as they fill cache lines: so the lock begins one.
///
/// Two threads that insert in turn hand over each line that insertions write, and wait for it. So what is in here and in its parts stands
/// in a given order (`repr(C)`): what insertions write in as few lines as it fits in, what they only read behind that.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Shard<V, E> {
    pub(crate) counters: Counters,
    pub(crate) rows: RwLock<Rows<V, E>>,
}

/// What a hit reads comes first, behind the word of the lock: in one cache line with that.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Rows<V, E> {
    index: Index,
    slots: Policy<Row<V>, Rest<V, E>>,
    flights: u64,
    recent: Recent,
}

/// What a hit reads.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Row<V> {
    key: Inline,
    held: Option<Held<V>>,
}

impl<V> Default for Row<V> {
    fn default() -> Self {
        Self { key: Inline::NONE, held: None }
    }
}

/// A value, and what can make it dead.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Held<V> {
    pub(crate) value: V,
    pub(crate) tags: TagSet,
}

/// Of a row what hits do not read.
#[derive(Debug)]
struct Rest<V, E> {
    /// Under which ticket the value came, and when.
    ticket: Ticket,
    stored: Moment,
    flight: Option<Arc<Flight<V, E>>>,
    /// How long the loader of the value took, in microseconds; zero for what was set by hand.
    load_micros: u32,
}

impl<V, E> Default for Rest<V, E> {
    fn default() -> Self {
        Self { ticket: Ticket::from_number(0), stored: Moment::default(), flight: None, load_micros: 0 }
    }
}

/// A value that is to be kept.
pub(crate) struct Coming<V> {
    pub(crate) held: Held<V>,
    pub(crate) ticket: Ticket,
    /// How long its loader took, in microseconds; zero for what was set by hand.
    pub(crate) load_micros: u32,
    pub(crate) weight: Weight,
    pub(crate) life: Life,
}

/// What an operation removes under a lock, kept until the lock is released.
pub(crate) struct Leaving<'a, V: Clone, E: Clone> {
    counters: &'a Counters,
    now: Moment,
    /// Most operations remove one value at most, for which nothing is allocated.
    first: Option<V>,
    others: Vec<V>,
    flights: Vec<Arc<Flight<V, E>>>,
}

impl<'a, V: Clone, E: Clone> Leaving<'a, V, E> {
    pub(crate) fn new(counters: &'a Counters, now: Moment) -> Self {
        Self { counters, now, first: None, others: Vec::new(), flights: Vec::new() }
    }

    /// Sends those who wait for a removed flight to look up anew; hands over the values that left.
    #[inline]
    pub(crate) fn settle(self) -> (Option<V>, Vec<V>) {
        for flight in &self.flights {
            flight.end(Ending::Again);
        }
        (self.first, self.others)
    }

    fn value(&mut self, value: V) {
        match self.first {
            None => self.first = Some(value),
            Some(_) => self.others.push(value),
        }
    }
}

impl<V: Clone, E: Clone> Shard<V, E> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let rows = Rows { index: Index::default(), slots: Policy::new(bounds), flights: 0, recent: Recent::default() };
        Self { rows: RwLock::new(rows), counters: Counters::default() }
    }
}

impl<V: Clone, E: Clone> Rows<V, E> {
    /// The row of a key.
    #[inline(always)]
    pub(crate) fn row(&self, hash: u64, key: &str) -> Option<Line<'_, Row<V>>> {
        self.index.find(hash as u32, |row| {
            let row = self.line(Slot::from_index(row));
            row.kept().key.is(key.as_bytes()).then_some(row)
        })
    }

    /// The row of a slot.
    #[inline(always)]
    pub(crate) fn line(&self, slot: Slot) -> Line<'_, Row<V>> {
        self.slots.line(slot)
    }

    #[cfg_attr(not(target_family = "wasm"), inline)]
    pub(crate) fn find(&self, hash: u64, key: &str) -> Option<Slot> {
        self.row(hash, key).map(Line::slot)
    }

    /// The value of `slot` and how it stands, unless its time is over or one of its tags was invalidated.
    #[inline]
    pub(crate) fn usable(&self, slot: Slot, now: Moment) -> Option<(Freshness, &Held<V>)> {
        let freshness = self.slots.freshness(slot, now)?;
        let held = self.slots[slot].held.as_ref()?;
        (freshness != Freshness::Over && !self.is_dead(slot, held)).then_some((freshness, held))
    }

    /// The value of a row, where it is fresh, none of its tags was invalidated, and it need not be loaded anew early.
    #[inline(always)]
    pub(crate) fn sure<'r>(&self, row: Line<'r, Row<V>>, now: Moment) -> Option<&'r Held<V>> {
        let held = row.kept().held.as_ref().filter(|_| row.is_sure(now))?;
        (!self.is_dead(row.slot(), held)).then_some(held)
    }

    /// Whether one of the tags of the value of `slot` was invalidated. Only what has tags takes another look at memory.
    #[inline(always)]
    fn is_dead(&self, slot: Slot, held: &Held<V>) -> bool {
        held.tags.moved_since(|| self.ticket(slot))
    }

    /// Lets memory bring what makes room for the value after the one that comes now, while the place of this one is still on its way.
    /// Not where code is to be small.
    #[inline]
    pub(crate) fn foresee(&self) {
        if cfg!(not(target_family = "wasm"))
            && let Some(hash) = self.slots.foresee()
        {
            self.index.foresee(hash);
        }
    }

    pub(crate) fn flight(&self, slot: Slot) -> Option<&Arc<Flight<V, E>>> {
        self.slots.rest(slot).flight.as_ref()
    }

    /// Whether `flight` is still the one that `slot` waits for: nothing was invalidated or set, and nobody took over.
    pub(crate) fn flies(&self, slot: Slot, flight: &Flight<V, E>) -> bool {
        slot.index() < self.len() && self.flight(slot).is_some_and(|own| own.ticket == flight.ticket)
    }

    /// Whether `slot` holds a value that only a tag makes dead.
    pub(crate) fn tag_invalidated(&self, slot: Slot) -> bool {
        self.slots[slot].held.as_ref().is_some_and(|held| self.is_dead(slot, held))
    }

    /// Since when the time of a value is over that has not left yet.
    pub(crate) fn over(&self, slot: Slot, now: Moment) -> Option<Moment> {
        let over = self.slots.freshness(slot, now)? == Freshness::Over;
        self.slots.life(slot).filter(|_| over).map(Life::usable_until)
    }

    pub(crate) fn life(&self, slot: Slot) -> Option<Life> {
        self.slots.life(slot)
    }

    /// Under which ticket the value came.
    pub(crate) fn ticket(&self, slot: Slot) -> Ticket {
        self.slots.rest(slot).ticket
    }

    /// When the value came.
    pub(crate) fn stored(&self, slot: Slot) -> Moment {
        self.slots.rest(slot).stored
    }

    /// How long the loader of the value took; zero for what was set by hand.
    pub(crate) fn load_time(&self, slot: Slot) -> Duration {
        Duration::from_micros(self.slots.rest(slot).load_micros.into())
    }

    pub(crate) fn weight(&self, slot: Slot) -> Option<Weight> {
        self.slots.weight_of(slot)
    }

    pub(crate) fn admits(&self, weight: Weight) -> bool {
        self.slots.admits(weight)
    }

    pub(crate) fn flights(&self) -> u64 {
        self.flights
    }

    pub(crate) fn entries(&self) -> u64 {
        self.slots.entries()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.slots.weight()
    }

    /// How many rows a pass by index has to visit.
    pub(crate) fn len(&self) -> usize {
        self.slots.slots()
    }

    /// The key of the row at `index`, where it is in use.
    pub(crate) fn at(&self, index: usize) -> Option<(Slot, &[u8])> {
        let slot = Slot::from_index(index as u32);
        let key = &*self.slots.get(slot)?.key;
        (!key.is_empty()).then_some((slot, key))
    }

    /// Whether a key of these rows matches.
    pub(crate) fn any(&self, mut rows: Range<usize>, matches: impl Fn(&[u8]) -> bool) -> bool {
        rows.any(|index| self.at(index).is_some_and(|(_, key)| matches(key)))
    }

    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.slots.next_deadline()
    }

    /// Why and when the last value with this hash left, where that is not too many removals ago.
    pub(crate) fn last_removal(&self, hash: u64) -> Option<(Removal, Moment)> {
        self.recent.last(hash as u32)
    }

    /// Finds the row of `key` or makes one. A new row must be given a value or a flight before the lock is released.
    pub(crate) fn open(&mut self, hash: u64, key: &str) -> Slot {
        self.find(hash, key).unwrap_or_else(|| self.open_new(hash, key))
    }

    /// As [`Rows::open`], of a key that has no row.
    #[inline]
    pub(crate) fn open_new(&mut self, hash: u64, key: &str) -> Slot {
        let slot = self.slots.open(hash as u32);
        self.slots[slot].key = Inline::new(key.as_bytes());
        self.index.add(hash as u32, slot.number());
        slot
    }

    /// Begins a load. A flight that is there already is detached, a value that is of no use leaves; a usable one stays.
    pub(crate) fn take_off(
        &mut self,
        slot: Slot,
        ticket: Ticket,
        leaving: &mut Leaving<'_, V, E>,
    ) -> Arc<Flight<V, E>> {
        self.detach(slot, leaving);
        if self.usable(slot, leaving.now).is_none() {
            self.lose(slot, leaving);
        }
        let flight = Arc::new(Flight::new(ticket, leaving.now));
        self.flights += 1;
        self.slots.parts(slot).rest.flight = Some(Arc::clone(&flight));
        flight
    }

    /// Ends the load of `slot`, whose flight the caller ends itself. The row goes unless it has a value.
    pub(crate) fn land(&mut self, slot: Slot) {
        drop(self.take_flight(slot));
        self.release(slot);
    }

    /// Sends the load of `slot` away: its fill will be refused, and those who wait look up anew.
    pub(crate) fn detach(&mut self, slot: Slot, leaving: &mut Leaving<'_, V, E>) {
        if let Some(flight) = self.take_flight(slot) {
            leaving.flights.push(flight);
        }
    }

    /// Puts a value into `slot`, then lets leave what there is no room for, and a few of those whose time is over.
    #[inline]
    pub(crate) fn store(&mut self, slot: Slot, coming: Coming<V>, early: Early, leaving: &mut Leaving<'_, V, E>) {
        let Coming { held, ticket, load_micros, weight, life } = coming;
        let Parts { kept: row, rest, .. } = self.slots.parts(slot);
        if let Some(old) = row.held.replace(held) {
            leaving.counters.left(Removal::Replaced);
            leaving.value(old.value);
        }
        (rest.ticket, rest.stored, rest.load_micros) = (ticket, leaving.now, load_micros);
        self.slots.put(slot, weight, life);
        // What was set by hand took no time to load, and there is nothing to work out.
        let reach =
            if load_micros == 0 { Duration::ZERO } else { early.reach(Duration::from_micros(load_micros.into())) };
        self.slots.doubt(slot, reach);
        leaving.counters.stores.one_alone();
        let mut limit = EXPIRE_PER_STORE;
        self.expire(&mut limit, leaving);
        while let Some((victim, why)) = self.slots.evict(leaving.now) {
            self.left(victim, why, leaving);
        }
    }

    /// The value of `slot`, if it `is` the one meant, takes so many bytes, key and row included, from now on.
    pub(crate) fn reweigh(
        &mut self,
        slot: Slot,
        is: impl FnOnce(&V) -> bool,
        bytes: u64,
        leaving: &mut Leaving<'_, V, E>,
    ) {
        let (Some(held), Some(life)) = (&self.slots[slot].held, self.slots.life(slot)) else { return };
        if !is(&held.value) {
            return;
        }
        let weight = Weight::new(bytes.saturating_add(held.tags.weight()));
        self.slots.put(slot, weight, life);
        while let Some((victim, why)) = self.slots.evict(leaving.now) {
            self.left(victim, why, leaving);
        }
    }

    /// Lets up to `limit` entries whose time is over leave, which is less afterwards; true where more may be due. Where many are filed
    /// anew before one is found, fewer leave.
    #[inline]
    pub(crate) fn expire(&mut self, limit: &mut usize, leaving: &mut Leaving<'_, V, E>) -> bool {
        let now = leaving.now;
        let is_due = |rows: &Self| rows.next_deadline().is_some_and(|due| due <= now);
        while *limit > 0 {
            *limit -= 1;
            match self.slots.expire(now) {
                Some(slot) => self.left(slot, Removal::Expired, leaving),
                // Others had to be filed anew first.
                None if is_due(self) => {}
                None => return false,
            }
        }
        is_due(self)
    }

    /// Removes value and flight of `slot`, and the row. True where the value could still be served.
    pub(crate) fn invalidate(&mut self, slot: Slot, leaving: &mut Leaving<'_, V, E>) -> bool {
        let served = self.usable(slot, leaving.now).is_some();
        self.detach(slot, leaving);
        self.lose(slot, leaving);
        self.release(slot);
        served
    }

    pub(crate) fn retime(&mut self, slot: Slot, life: Life) {
        self.slots.retime(slot, life);
    }

    fn take_flight(&mut self, slot: Slot) -> Option<Arc<Flight<V, E>>> {
        let flight = self.slots.parts(slot).rest.flight.take();
        self.flights -= u64::from(flight.is_some());
        flight
    }

    /// Forgets the row of `slot` where it has neither value nor flight.
    #[inline]
    pub(crate) fn release(&mut self, slot: Slot) {
        let Parts { hash, kept: row, rest } = self.slots.parts(slot);
        if row.held.is_none() && rest.flight.is_none() {
            row.key = Inline::NONE;
            self.index.take_out(hash, slot.number());
            self.slots.close(slot);
        }
    }

    /// The value of `slot` leaves, for the reason that shows on it.
    fn lose(&mut self, slot: Slot, leaving: &mut Leaving<'_, V, E>) {
        if let Some(freshness) = self.slots.freshness(slot, leaving.now) {
            self.slots.remove(slot);
            let why = if freshness == Freshness::Over { Removal::Expired } else { Removal::Invalidated };
            self.take_value(slot, why, leaving);
        }
    }

    /// The policy let the value of `slot` go.
    #[inline]
    fn left(&mut self, slot: Slot, why: Removal, leaving: &mut Leaving<'_, V, E>) {
        self.take_value(slot, why, leaving);
        self.release(slot);
    }

    #[inline]
    fn take_value(&mut self, slot: Slot, why: Removal, leaving: &mut Leaving<'_, V, E>) {
        let Parts { hash, kept: row, .. } = self.slots.parts(slot);
        if let Some(held) = row.held.take() {
            leaving.counters.left(why);
            self.recent.note(hash, why, leaving.now);
            leaving.value(held.value);
        }
    }

    /// Recounts everything.
    ///
    /// # Panics
    ///
    /// Where a row is in the table without being in use, or the policy and the rows differ.
    pub(crate) fn validate(&self) {
        self.slots.validate();
        let (mut in_use, mut flights) = (0, 0);
        for index in 0..self.len() {
            let slot = Slot::from_index(index as u32);
            let (row, flies) = (&self.slots[slot], self.flight(slot).is_some());
            flights += u64::from(flies);
            assert_eq!(row.held.is_some(), self.slots.holds(slot), "value of row {index}");
            assert_eq!(row.key.is_empty(), row.held.is_none() && !flies, "key of row {index}");
            if let Some((slot, key)) = self.at(index) {
                in_use += 1;
                let key = core::str::from_utf8(key).expect("a key is a text");
                let found = self.find(self.slots.hash(slot).into(), key);
                assert_eq!(found, Some(slot), "row {index} is found by its key");
            }
        }
        assert_eq!((self.index.len(), self.flights), (in_use, flights), "rows in the table, and loads under way");
    }
}

/// What an entry takes besides its value and tags: its row, a key too long for that, and its share of the tables that grow with the rows.
pub(crate) const fn row_weight<V, E>(key: &str) -> u64 {
    idle_weight::<V, E>() + Inline::weight(key.len()) + TABLES
}

/// What a row takes that has no value.
pub(crate) const fn idle_weight<V, E>() -> u64 {
    slot_bytes::<Row<V>, Rest<V, E>>() as u64
}

/// Beside a pointer of 8 bytes each part is a cache line, for a value behind two of them.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(idle_weight::<Arc<[u8]>, ()>() == 2 * 64);

/// What a hit reads of a shard stands in the line of the lock: its word, the index, and where the rows are. A shard is ten lines.
#[cfg(all(target_pointer_width = "64", not(shuttle)))]
const _: () = {
    assert!(size_of::<u64>() + size_of::<Index>() + size_of::<Vec<()>>() + size_of::<usize>() == 64);
    assert!(size_of::<Shard<Arc<[u8]>, ()>>() == 10 * 64);
};

/// What a row takes of the index, 12.8 to 19.2, and of the policy's sketch, 4.3 to 8.5, about: both have places to spare.
const TABLES: u64 = 22;

/// Bounds what one store pays for others: many more leave, or are filed anew, than come, so none pile up.
const EXPIRE_PER_STORE: usize = 16;
