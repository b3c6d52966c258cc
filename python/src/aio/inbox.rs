//! Inbox: what is left for the thread of an event loop, by itself and by others.
//!
//! Owns the queue of woken tasks, new tasks and errands, the sleepers, and the bell that calls the loop. Must not know Python.
//! Invariants: whoever leaves something from outside of a turn rings, unless it rang already; nothing foreign is dropped or
//! woken under a lock; in a child of `fork`, nothing here is touched.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use donjon_core::moment::Moment;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::job::Job;
use super::source::Source;
use super::timers::{Sleeper, Timers};
use crate::fork;

/// The addresses of a name, or why there are none.
pub(super) type Resolved = io::Result<Vec<SocketAddr>>;

/// What only the loop's thread can do, as it takes a call of the loop.
#[derive(Debug)]
pub(super) enum Errand {
    /// Watch for something to read, from now on.
    WatchRead(Arc<Source>),
    /// Watch for room to write, once.
    WatchWrite(Arc<Source>),
    /// Watch for something to read no longer.
    LeaveRead(Arc<Source>),
    /// Watch for room to write no longer.
    LeaveWrite(Arc<Source>),
    /// Watch no longer at all, and let go of the socket.
    Close(Arc<Source>),
    /// Look a name up.
    Resolve(String, u16, oneshot::Sender<Resolved>),
    /// Set the alarm for the earliest sleeper.
    Alarm,
}

/// What was left.
#[derive(Default)]
pub(super) struct Left {
    pub(super) woken: Vec<usize>,
    pub(super) jobs: Vec<Pin<Box<dyn Job>>>,
    pub(super) errands: Vec<Errand>,
}

pub(super) struct Inbox {
    generation: u32,
    /// None once the loop is closed.
    left: Mutex<Option<Left>>,
    timers: Mutex<Timers>,
    /// None once the loop is closed.
    bell: Mutex<Option<Bell>>,
    rung: AtomicBool,
}

/// What is written to at one end wakes a loop that watches the other.
struct Bell {
    rope: UnixStream,
    ear: UnixStream,
}

impl Inbox {
    pub(super) fn new() -> io::Result<Self> {
        let (rope, ear) = UnixStream::pair()?;
        rope.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Self {
            generation: fork::generation(),
            left: Mutex::new(Some(Left::default())),
            timers: Mutex::default(),
            bell: Mutex::new(Some(Bell { rope, ear })),
            rung: AtomicBool::new(false),
        })
    }

    /// Whether it was made in this process, not before a `fork`.
    pub(super) fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    /// What the loop watches, to hear the bell.
    pub(super) fn ear(&self) -> Option<RawFd> {
        self.bell.lock().as_ref().map(|bell| bell.ear.as_raw_fd())
    }

    /// The loop heard the bell: from now on it rings anew.
    pub(super) fn heard(&self) {
        if let Some(bell) = &*self.bell.lock() {
            // At most one ring is under way; without any, this would block and so says.
            let _ = (&bell.ear).read(&mut [0; 8]);
        }
        self.rung.store(false, Ordering::SeqCst);
    }

    /// From here until the guard is dropped, this thread looks into the inbox before it goes: no ring is needed.
    pub(super) fn enter(&self) -> Inside {
        Inside(INSIDE.replace(ptr::from_ref(self).cast()))
    }

    /// Leaves a task that is to be polled.
    pub(super) fn wake(&self, task: usize) {
        self.leave(task, |left, task| left.woken.push(task));
    }

    /// Leaves a task that is to be run.
    pub(super) fn start(&self, job: Pin<Box<dyn Job>>) {
        self.leave(job, |left, job| left.jobs.push(job));
    }

    /// Leaves an errand.
    pub(super) fn send(&self, errand: Errand) {
        self.leave(errand, |left, errand| left.errands.push(errand));
    }

    fn leave<T>(&self, what: T, put: impl FnOnce(&mut Left, T)) {
        if !self.is_ours() {
            // It may own a socket or a lock of the parent's.
            std::mem::forget(what);
            return;
        }
        {
            let mut left = self.left.lock();
            let Some(open) = &mut *left else {
                drop(left);
                drop(what);
                return;
            };
            put(open, what);
        }
        self.ring();
    }

    fn ring(&self) {
        if INSIDE.get() != ptr::from_ref(self).cast()
            && !self.rung.swap(true, Ordering::SeqCst)
            && let Some(bell) = &*self.bell.lock()
        {
            // There is room: what was written before was heard.
            let _ = (&bell.rope).write(&[1]);
        }
    }

    /// Whether anything was left.
    pub(super) fn is_empty(&self) -> bool {
        let left = self.left.lock();
        left.as_ref().is_none_or(|left| left.woken.is_empty() && left.jobs.is_empty() && left.errands.is_empty())
    }

    /// Takes what was left, and leaves `empty`, whose room is used again.
    pub(super) fn take(&self, empty: &mut Left) {
        if let Some(left) = &mut *self.left.lock() {
            std::mem::swap(left, empty);
        }
    }

    /// Wakes `waker` at `end`.
    pub(super) fn sleep(&self, end: Moment, waker: Waker) -> Sleeper {
        let (sleeper, earlier) = self.timers.lock().add(end, waker);
        if earlier {
            self.send(Errand::Alarm);
        }
        sleeper
    }

    /// Wakes another than before.
    pub(super) fn sleep_on(&self, sleeper: Sleeper, waker: Waker) {
        let former = self.timers.lock().replace(sleeper, waker);
        drop(former);
    }

    /// Forgets a sleeper.
    pub(super) fn rise(&self, sleeper: Sleeper) {
        if self.is_ours() {
            let waker = self.timers.lock().remove(sleeper);
            drop(waker);
        }
    }

    /// The alarm rang: wakes who has slept enough, and says for when it is to be set next.
    pub(super) fn alarm(&self, now: Moment) -> Option<Moment> {
        let (over, next) = self.timers.lock().ring(now);
        for waker in over {
            waker.wake();
        }
        next
    }

    /// For when the alarm is to be set.
    pub(super) fn next_alarm(&self) -> Moment {
        self.timers.lock().alarm()
    }

    /// The loop is closed: nothing is taken any longer. What was left is the caller's to drop.
    pub(super) fn close(&self) -> (Option<Left>, Timers) {
        let left = self.left.lock().take();
        *self.bell.lock() = None;
        (left, std::mem::take(&mut *self.timers.lock()))
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// While this thread works for an inbox.
pub(super) struct Inside(*const ());

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

thread_local! {
    /// The inbox that this thread works for, by its address.
    static INSIDE: Cell<*const ()> = const { Cell::new(ptr::null()) };
}
