//! Queue: slots in the order they came, linked through the rows themselves.
//!
//! The last is linked to the first again, as on a clock, so the first goes behind all others by the hand moving on: no row is written.
//!
//! Owns the order, the count and the total weight of one segment of the cache. Must not know why a slot is in it, nor
//! what a row holds besides its [`Link`] and weight. Nothing here allocates; every call takes constant time.
//!
//! Invariant: a slot is in one queue at most, and each queue's count and weight are those of the rows linked in it.

use crate::blocks::Blocks;

/// The end of a list of slots.
pub(super) const NONE: u32 = u32::MAX;

/// The neighbours of a slot in its queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    prev: u32,
    next: u32,
}

impl Link {
    /// The link of a slot that stands before `next`, and behind nobody.
    pub(super) const fn before(next: u32) -> Self {
        Self { prev: NONE, next }
    }

    /// The slot behind this one, or [`NONE`].
    pub(super) const fn next(self) -> u32 {
        self.next
    }
}

impl Default for Link {
    /// That of a slot beside which nobody stands.
    fn default() -> Self {
        Self::before(NONE)
    }
}

/// A row that can stand in a queue.
pub(super) trait Queued {
    /// Where it stands.
    fn link(&self) -> Link;
    /// Moves it.
    fn set_link(&mut self, link: Link);
    /// What it adds to the queue's weight; must not change while it is queued, except by [`Queue::reweigh`].
    fn queued_weight(&self) -> u64;
}

/// One first-in, first-out queue.
#[derive(Debug)]
pub(super) struct Queue {
    head: u32,
    len: u32,
    weight: u64,
}

impl Queue {
    /// An empty queue.
    pub(super) const fn new() -> Self {
        Self { head: NONE, len: 0, weight: 0 }
    }

    /// How many slots are queued.
    pub(super) const fn len(&self) -> u64 {
        self.len as u64
    }

    /// What they weigh together.
    pub(super) const fn weight(&self) -> u64 {
        self.weight
    }

    /// The slot that came first.
    pub(super) fn front(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// The slot that came last.
    pub(super) fn back<R: Queued>(&self, rows: &Blocks<R>) -> Option<u32> {
        self.front().map(|first| rows[first as usize].link().prev)
    }

    /// Queues `slot` behind all others.
    #[inline]
    pub(super) fn push<R: Queued>(&mut self, rows: &mut Blocks<R>, slot: u32) {
        let (mut prev, mut next) = (slot, slot);
        if self.head == NONE {
            self.head = slot;
        } else {
            next = self.head;
            let first = &mut rows[next as usize];
            prev = first.link().prev;
            first.set_link(Link { prev: slot, ..first.link() });
            let last = &mut rows[prev as usize];
            last.set_link(Link { next: slot, ..last.link() });
        }
        let row = &mut rows[slot as usize];
        row.set_link(Link { prev, next });
        self.len += 1;
        self.weight += row.queued_weight();
    }

    /// Takes `slot`, which stands in this queue, out of it.
    #[inline]
    pub(super) fn remove<R: Queued>(&mut self, rows: &mut Blocks<R>, slot: u32) {
        let row = &rows[slot as usize];
        let Link { prev, next } = row.link();
        self.len -= 1;
        self.weight -= row.queued_weight();
        let before = &mut rows[prev as usize];
        before.set_link(Link { next, ..before.link() });
        let behind = &mut rows[next as usize];
        behind.set_link(Link { prev, ..behind.link() });
        if self.head == slot {
            self.head = if next == slot { NONE } else { next };
        }
    }

    /// Has the first, which there is, stand behind all others.
    pub(super) fn rotate<R: Queued>(&mut self, rows: &Blocks<R>) {
        self.head = rows[self.head as usize].link().next;
    }

    /// Notes that a queued slot now weighs `new` where it weighed `old`.
    pub(super) fn reweigh(&mut self, old: u64, new: u64) {
        self.weight = self.weight - old + new;
    }

    /// The queued slots, first to last. For [`validate`](super::Policy::validate) and tests.
    pub(super) fn iter<'rows, R: Queued>(&self, rows: &'rows Blocks<R>) -> impl Iterator<Item = u32> + 'rows {
        let next = |&slot: &u32| Some(rows[slot as usize].link().next);
        core::iter::successors(self.front(), next).take(self.len as usize)
    }

    /// Recounts, and follows each link both ways.
    ///
    /// # Panics
    ///
    /// Where a count, a weight or a link is off.
    pub(super) fn validate<R: Queued>(&self, rows: &Blocks<R>) {
        let (mut before, mut weight) = (self.back(rows), 0);
        for slot in self.iter(rows) {
            let row = &rows[slot as usize];
            assert_eq!(Some(row.link().prev), before, "slot {slot} does not link back to the one before it");
            before = Some(slot);
            weight += row.queued_weight();
        }
        assert_eq!(
            (before, weight),
            (self.back(rows), self.weight),
            "the end of a queue, its count or its weight is off"
        );
        assert_eq!(self.front().is_none(), self.len == 0, "a queue of {} has no first, or one too many", self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Row(Link, u64);

    impl Queued for Row {
        fn link(&self) -> Link {
            self.0
        }

        fn set_link(&mut self, link: Link) {
            self.0 = link;
        }

        fn queued_weight(&self) -> u64 {
            self.1
        }
    }

    fn queued(weights: &[u64]) -> (Queue, Blocks<Row>) {
        let mut rows: Blocks<_> = weights.iter().map(|&weight| Row(Link::default(), weight)).collect();
        let mut queue = Queue::new();
        for slot in 0..weights.len() as u32 {
            queue.push(&mut rows, slot);
            queue.validate(&rows);
        }
        (queue, rows)
    }

    #[test]
    fn slots_stand_in_the_order_they_came() {
        let (queue, rows) = queued(&[5, 6, 7]);
        assert_eq!(queue.iter(&rows).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!((queue.front(), queue.len(), queue.weight()), (Some(0), 3, 18));
    }

    #[test]
    fn a_slot_may_leave_from_the_front_the_middle_and_the_back() {
        let (mut queue, mut rows) = queued(&[1, 2, 3, 4]);
        for (slot, left) in [(0, &[1, 2, 3][..]), (2, &[1, 3]), (3, &[1]), (1, &[])] {
            queue.remove(&mut rows, slot);
            queue.validate(&rows);
            assert_eq!(queue.iter(&rows).collect::<Vec<_>>(), left);
        }
        assert_eq!((queue.front(), queue.len(), queue.weight()), (None, 0, 0));
    }

    #[test]
    fn a_slot_that_weighs_something_else_leaves_with_that() {
        let (mut queue, mut rows) = queued(&[5, 6]);
        rows[0].1 = 1;
        queue.reweigh(5, 1);
        queue.validate(&rows);
        queue.remove(&mut rows, 0);
        assert_eq!(queue.weight(), 6);
    }
}
