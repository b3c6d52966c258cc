//! Executor: polls the tasks of one event loop.
//!
//! Owns the tasks, each in a slot with a waker of its own that the next task in the slot uses again. Must not know when it runs.
//! Invariants: a task is in the queue at most once; what is over is handed out, never dropped here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;

use super::inbox::{Errand, Inbox, Left};
use super::job::Job;

/// A task that is over, to be finished once no lock is held.
pub(super) type Over = Pin<Box<dyn Job>>;

#[derive(Default)]
pub(super) struct Executor {
    slots: Vec<Slot>,
    free: Vec<usize>,
    left: Left,
    awaited: usize,
}

struct Slot {
    waker: Waker,
    flag: Arc<Flag>,
    job: Option<Pin<Box<dyn Job>>>,
}

/// What a slot's waker says.
struct Flag {
    slot: usize,
    queued: AtomicBool,
    inbox: Arc<Inbox>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.inbox.wake(self.slot);
        }
    }
}

impl Executor {
    /// How many tasks somebody in Python waits for.
    pub(super) fn awaited(&self) -> usize {
        self.awaited
    }

    /// Polls a new task, and keeps it where it is not over.
    pub(super) fn start(&mut self, job: Pin<Box<dyn Job>>, inbox: &Arc<Inbox>) -> Option<Over> {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.slots.len();
            let flag = Arc::new(Flag { slot, queued: AtomicBool::new(false), inbox: Arc::clone(inbox) });
            self.slots.push(Slot { waker: Waker::from(Arc::clone(&flag)), flag, job: None });
            slot
        });
        self.awaited += usize::from(job.is_awaited());
        self.slots[slot].job = Some(job);
        self.poll(slot)
    }

    /// Polls what was woken and what is new, until there is no more of either or it was enough for once. What is over goes to
    /// `over`, errands to `errands`. False where it was enough.
    pub(super) fn run(&mut self, inbox: &Arc<Inbox>, over: &mut Vec<Over>, errands: &mut Vec<Errand>) -> bool {
        for _ in 0..ROUNDS {
            let mut left = std::mem::take(&mut self.left);
            inbox.take(&mut left);
            errands.append(&mut left.errands);
            if left.woken.is_empty() && left.jobs.is_empty() {
                self.left = left;
                return true;
            }
            over.extend(left.woken.drain(..).filter_map(|slot| self.poll(slot)));
            over.extend(left.jobs.drain(..).filter_map(|job| self.start(job, inbox)));
            self.left = left;
        }
        false
    }

    /// Shows the collector what the tasks keep.
    pub(super) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.slots.iter().filter_map(|slot| slot.job.as_ref()).try_for_each(|job| job.visit(visit))
    }

    fn poll(&mut self, slot: usize) -> Option<Over> {
        let kept = &mut self.slots[slot];
        // Whatever wakes from here on wants another poll.
        kept.flag.queued.store(false, Ordering::Release);
        let job = kept.job.as_mut()?;
        let mut context = Context::from_waker(&kept.waker);
        // A panic ends the task that had it, and not the others.
        let polled = catch_unwind(AssertUnwindSafe(|| job.as_mut().poll(&mut context)));
        if matches!(polled, Ok(Poll::Pending)) { None } else { self.free(slot) }
    }

    fn free(&mut self, slot: usize) -> Option<Over> {
        let job = self.slots[slot].job.take()?;
        self.free.push(slot);
        self.awaited -= usize::from(job.is_awaited());
        Some(job)
    }
}

/// After how many rounds the loop gets its turn, though tasks keep waking each other.
const ROUNDS: usize = 64;
