//! Row: all that is kept of one slot, in two parts: what a hit reads, and the rest.
//!
//! Each part of all slots stands by itself, so that what a hit brings into the processor's caches is only what hits read, and more of that
//! finds room there.
//!
//! Must not know what the queues and the wheel do with their links, nor what the caller keeps.

use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;

use super::queue::{Link, Queued};
use super::wheel::{Node, Timed};
use crate::blocks::Blocks;
use crate::entry::Life;
use crate::foresee::foresee;
use crate::moment::Moment;

/// The rows of all slots.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Rows<T, U> {
    // First, as every hit reads it.
    pub(super) hot: Blocks<Hot<T>>,
    pub(super) cold: Blocks<Cold<U>>,
}

/// What a hit reads, what the caller keeps of that behind the rest: one cache line where a pointer takes 8 bytes and the caller keeps 48. By
/// default that of a slot without a value.
#[derive(Debug, Default)]
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
pub(super) struct Hot<T> {
    /// Until when its value is fresh; the first of all moments where there is none.
    fresh_until: Moment,
    pub(super) hash: u32,
    pub(super) place: Place,
    pub(super) uses: AtomicU8,
    /// For how many nanoseconds before its end the value is in doubt, as a power of two that is larger; so it fits beside the others.
    doubt: u8,
    pub(super) kept: T,
}

/// The rest.
#[derive(Debug, Default)]
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
pub(super) struct Cold<U> {
    usable_until: Moment,
    pub(super) weight: u64,
    link: Link,
    node: Node,
    pub(super) kept: U,
}

impl<T: Default, U: Default> Rows<T, U> {
    /// One of a slot that was opened just now.
    pub(super) fn push(&mut self, hash: u32) {
        self.hot.push(Hot { hash, ..Hot::default() });
        self.cold.push(Cold::default());
    }
}

impl<T, U> Rows<T, U> {
    /// Of no slot.
    pub(super) const fn new() -> Self {
        Self { hot: Blocks::new(), cold: Blocks::new() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.hot.len()
    }

    /// Drops what is behind the first `len`, which are whole blocks.
    pub(super) fn truncate(&mut self, len: usize) {
        self.hot.truncate(len);
        self.cold.truncate(len);
    }

    /// Both parts of a slot.
    #[inline]
    pub(super) fn both(&mut self, slot: u32) -> (&mut Hot<T>, &mut Cold<U>) {
        (&mut self.hot[slot as usize], &mut self.cold[slot as usize])
    }

    /// Lets memory bring both parts of a slot.
    #[inline]
    pub(super) fn foresee(&self, slot: u32) {
        foresee(self.hot.at(slot as usize));
        foresee(self.cold.at(slot as usize));
    }

    /// Until when the value of a slot lives.
    pub(super) fn life(&self, slot: u32) -> Life {
        Life::new(self.hot[slot as usize].fresh_until, self.cold[slot as usize].usable_until)
    }

    /// How the value of a slot stands where one has to leave.
    #[inline]
    pub(super) fn standing(&self, slot: u32) -> Standing {
        let (hot, cold) = (self.hot.at(slot as usize), self.cold.at(slot as usize));
        let uses = hot.uses.load(Ordering::Relaxed);
        Standing { slot, hash: hot.hash, uses, weight: cold.weight, usable_until: cold.usable_until }
    }

    /// Says until when the value of a slot lives.
    #[inline]
    pub(super) fn set_life(&mut self, slot: u32, life: Life) {
        let (hot, cold) = self.both(slot);
        (hot.fresh_until, cold.usable_until) = (life.fresh_until(), life.usable_until());
    }
}

/// What counts for a value and against it where one has to leave, read at once.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub(super) slot: u32,
    pub(super) hash: u32,
    pub(super) uses: u8,
    pub(super) weight: u64,
    usable_until: Moment,
}

impl Standing {
    /// Whether its time is over.
    #[inline]
    pub(super) fn is_over(self, now: Moment) -> bool {
        self.usable_until <= now && self.usable_until != Moment::NEVER
    }
}

impl<T> Hot<T> {
    /// Of a slot that was closed and is opened once more. What else is known of a value is said anew where one comes.
    pub(super) const fn reopen(&mut self, hash: u32) {
        self.hash = hash;
        self.place = Place::Empty;
        self.doubt = 0;
    }

    /// The value leaves; its place is given.
    pub(super) fn empty(&mut self) -> Place {
        self.fresh_until = NEVER_YET;
        core::mem::replace(&mut self.place, Place::Empty)
    }

    /// Has the value be in doubt for so long before it is fresh no longer: a little longer, up to twice.
    #[inline]
    pub(super) fn set_doubt(&mut self, before: Duration) {
        let nanos = NEVER_YET.after(before).as_nanos();
        self.doubt = (u64::BITS - nanos.leading_zeros()).min(u64::BITS - 1) as u8;
    }

    /// Whether there is a value that is fresh beyond doubt at `now`.
    #[inline(always)]
    pub(super) fn is_sure(&self, now: Moment) -> bool {
        now.as_nanos().saturating_add(1 << self.doubt) <= self.fresh_until.as_nanos()
    }

    /// Whether there is a value, or at least none that could be fresh.
    pub(super) fn is_consistent(&self) -> bool {
        self.place.is_held() || self.fresh_until == NEVER_YET
    }
}

impl<U> Queued for Cold<U> {
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

impl<U> Timed for Cold<U> {
    fn node(&self) -> Node {
        self.node
    }

    fn set_node(&mut self, node: Node) {
        self.node = node;
    }

    fn deadline(&self) -> Moment {
        self.usable_until
    }
}

/// At no moment is it before this.
const NEVER_YET: Moment = Moment::from_nanos(0);

/// Where a slot stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Given back; its link names another closed one.
    Closed,
    /// Open, without a value.
    #[default]
    Empty,
    /// Its value came lately.
    Window,
    /// Its value was admitted.
    Main,
}

impl Place {
    pub(super) const fn is_held(self) -> bool {
        matches!(self, Self::Window | Self::Main)
    }
}
