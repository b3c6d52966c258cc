//! Waiters: who is to be woken when something ends.
//!
//! Owns the wakers of those who wait for one thing. Must not know what they wait for, and never wakes, clones or drops a
//! waker itself: it lives under its owner's lock, and a waker is foreign code. So wakers are handed in already cloned,
//! and handed out to be woken or dropped after unlocking.
//! Invariants: an id names at most one waker for the life of the set, and no id is given twice. Ids rise along the list, of which
//! less than half is of those who left.

use alloc::vec::Vec;
use core::task::Waker;

/// The wakers of those who wait for one thing, first come first.
///
/// Registering, replacing and removing cost O(log n), over many calls. An empty set takes no heap.
///
/// # Examples
///
/// ```
/// use std::task::Waker;
/// use donjon_core::waiters::Waiters;
///
/// let mut waiters = Waiters::default();
/// let first = waiters.add(Waker::noop().clone());
/// let left = waiters.remove(first);
/// assert!(left.is_some() && waiters.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Waiters {
    wakers: Vec<(WaiterId, Option<Waker>)>,
    /// How many of them left.
    left: usize,
    next: u64,
}

/// Names one waiter within its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaiterId(u64);

impl Waiters {
    /// Registers `waker` until it is removed or taken.
    pub fn add(&mut self, waker: Waker) -> WaiterId {
        let id = WaiterId(self.next);
        self.next += 1;
        self.wakers.push((id, Some(waker)));
        id
    }

    /// Puts `waker` in the place of the one that `id` names, as a future does that is polled from another task.
    ///
    /// # Errors
    ///
    /// Gives `waker` back where `id` was removed or taken: its owner was woken already, and adds itself anew if it must
    /// still wait. What comes back either way is to be dropped after unlocking.
    pub fn replace(&mut self, id: WaiterId, waker: Waker) -> Result<Waker, Waker> {
        match self.place(id).and_then(|place| self.wakers[place].1.as_mut()) {
            Some(kept) => Ok(core::mem::replace(kept, waker)),
            None => Err(waker),
        }
    }

    /// Forgets the waiter, who no longer waits. What comes back is to be dropped after unlocking.
    pub fn remove(&mut self, id: WaiterId) -> Option<Waker> {
        let waker = self.place(id).and_then(|place| self.wakers[place].1.take())?;
        self.left += 1;
        if self.left * 2 >= self.wakers.len() {
            self.wakers.retain(|(_, waker)| waker.is_some());
            self.left = 0;
        }
        Some(waker)
    }

    /// Takes all wakers, in the order they came, to be woken after unlocking.
    #[must_use = "those who wait would never be woken"]
    pub fn take(&mut self) -> Vec<Waker> {
        self.left = 0;
        core::mem::take(&mut self.wakers).into_iter().filter_map(|(_, waker)| waker).collect()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.wakers.len() - self.left
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.wakers.is_empty()
    }

    fn place(&self, id: WaiterId) -> Option<usize> {
        self.wakers.binary_search_by_key(&id, |(id, _)| *id).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn bell() -> (Arc<Bell>, Waker) {
        let bell = Arc::new(Bell(AtomicUsize::new(0)));
        (bell.clone(), bell.into())
    }

    #[test]
    fn those_who_wait_are_taken_in_the_order_they_came() {
        let mut waiters = Waiters::default();
        let bells: Vec<_> = (0..20).map(|_| bell()).collect();
        for (_, waker) in &bells {
            waiters.add(waker.clone());
        }
        let taken = waiters.take();
        assert!(waiters.is_empty());
        assert!(taken.iter().zip(&bells).all(|(taken, (_, waker))| taken.will_wake(waker)));
    }

    #[test]
    fn one_who_left_is_not_woken() {
        let mut waiters = Waiters::default();
        let ((stays, stays_waker), (leaves, leaves_waker)) = (bell(), bell());
        waiters.add(stays_waker);
        let id = waiters.add(leaves_waker);
        assert!(waiters.remove(id).is_some());
        assert!(waiters.remove(id).is_none());
        assert_eq!(waiters.len(), 1);
        waiters.take().into_iter().for_each(Waker::wake);
        assert_eq!(stays.0.load(Ordering::Relaxed), 1);
        assert_eq!(leaves.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_waiter_polled_from_another_task_is_woken_there_only() {
        let mut waiters = Waiters::default();
        let ((before, before_waker), (after, after_waker)) = (bell(), bell());
        let id = waiters.add(before_waker.clone());
        let old = waiters.replace(id, after_waker).expect("the waiter is registered");
        assert!(old.will_wake(&before_waker));
        waiters.take().into_iter().for_each(Waker::wake);
        assert_eq!(before.0.load(Ordering::Relaxed), 0);
        assert_eq!(after.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_id_that_was_taken_names_nobody_who_came_later() {
        let mut waiters = Waiters::default();
        let id = waiters.add(Waker::noop().clone());
        drop(waiters.take());
        waiters.add(Waker::noop().clone());
        assert!(waiters.replace(id, Waker::noop().clone()).is_err());
        assert!(waiters.remove(id).is_none());
        assert_eq!(waiters.len(), 1);
    }

    #[test]
    fn those_who_come_and_go_leave_nothing_behind_and_the_others_their_order() {
        let mut waiters = Waiters::default();
        let mut stay = Vec::new();
        for round in 0..1_000 {
            let ids: Vec<_> = (0..3).map(|_| waiters.add(Waker::noop().clone())).collect();
            if round % 100 == 0 {
                let (bell, waker) = bell();
                waiters.add(waker.clone());
                stay.push((bell, waker));
            }
            assert!(ids.into_iter().all(|id| waiters.remove(id).is_some()));
            assert_eq!(waiters.len(), stay.len());
            assert!(waiters.wakers.len() <= 2 * stay.len() + 1, "{} places for {}", waiters.wakers.len(), stay.len());
        }
        assert!(waiters.take().iter().zip(&stay).all(|(taken, (_, waker))| taken.will_wake(waker)));
    }
}
