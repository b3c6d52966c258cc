//! Queue: slots in the order they came, linked through the rows themselves.
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
    tail: u32,
    len: u64,
    weight: u64,
}

impl Queue {
    /// An empty queue.
    pub(super) const fn new() -> Self {
        Self { head: NONE, tail: NONE, len: 0, weight: 0 }
    }

    /// How many slots are queued.
    pub(super) const fn len(&self) -> u64 {
        self.len
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
    pub(super) fn back(&self) -> Option<u32> {
        (self.tail != NONE).then_some(self.tail)
    }

    /// Queues `slot` behind all others.
    pub(super) fn push<R: Queued>(&mut self, rows: &mut Blocks<R>, slot: u32) {
        let row = &mut rows[slot as usize];
        row.set_link(Link { prev: self.tail, next: NONE });
        self.len += 1;
        self.weight += row.queued_weight();
        match self.tail {
            NONE => self.head = slot,
            tail => {
                let tail = &mut rows[tail as usize];
                tail.set_link(Link { next: slot, ..tail.link() });
            }
        }
        self.tail = slot;
    }

    /// Takes `slot`, which stands in this queue, out of it.
    pub(super) fn remove<R: Queued>(&mut self, rows: &mut Blocks<R>, slot: u32) {
        let row = &mut rows[slot as usize];
        let Link { prev, next } = row.link();
        row.set_link(Link::before(NONE));
        self.len -= 1;
        self.weight -= row.queued_weight();
        match prev {
            NONE => self.head = next,
            prev => {
                let prev = &mut rows[prev as usize];
                prev.set_link(Link { next, ..prev.link() });
            }
        }
        match next {
            NONE => self.tail = prev,
            next => {
                let next = &mut rows[next as usize];
                next.set_link(Link { prev, ..next.link() });
            }
        }
    }

    /// Notes that a queued slot now weighs `new` where it weighed `old`.
    pub(super) fn reweigh(&mut self, old: u64, new: u64) {
        self.weight = self.weight - old + new;
    }

    /// The queued slots, first to last. For [`validate`](super::Policy::validate) and tests.
    pub(super) fn iter<'rows, R: Queued>(&self, rows: &'rows Blocks<R>) -> impl Iterator<Item = u32> + 'rows {
        let mut at = self.head;
        core::iter::from_fn(move || {
            let slot = at;
            (slot != NONE).then(|| {
                at = rows[slot as usize].link().next;
                slot
            })
        })
    }

    /// Recounts, and follows each link both ways.
    ///
    /// # Panics
    ///
    /// Where a count, a weight or a link is off.
    pub(super) fn validate<R: Queued>(&self, rows: &Blocks<R>) {
        let (mut before, mut len, mut weight) = (NONE, 0, 0);
        for slot in self.iter(rows) {
            let row = &rows[slot as usize];
            assert_eq!(row.link().prev, before, "slot {slot} does not link back to the one before it");
            before = slot;
            len += 1;
            weight += row.queued_weight();
            assert!(len <= self.len, "the queue holds more slots than it counts, or runs in a circle");
        }
        assert_eq!(
            (before, len, weight),
            (self.tail, self.len, self.weight),
            "tail, count or weight of a queue is off"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut rows: Blocks<_> = weights.iter().map(|&weight| Row(Link::before(NONE), weight)).collect();
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
