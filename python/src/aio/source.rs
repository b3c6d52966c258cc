//! Source: a socket as the event loop watches it.
//!
//! Owns the descriptor, whether it may be read and written as far as is known, and whom to wake when that changes. Must not know
//! the loop. Invariant: the descriptor is open as long as the loop may be watching it, or its number could come to mean another.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use parking_lot::Mutex;

#[derive(Debug)]
pub(super) struct Source {
    /// Any stream socket: reading and writing are the same system calls for all, and std has no name for what they share.
    pub(super) stream: TcpStream,
    pub(super) read: Side,
    pub(super) write: Side,
}

/// Reading, or writing.
#[derive(Debug)]
pub(super) struct Side {
    ready: AtomicBool,
    watched: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    waker: Option<Waker>,
    /// Why the loop cannot watch.
    failed: Option<String>,
}

impl Source {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, read: Side::new(false), write: Side::new(true) }
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Side {
    fn new(ready: bool) -> Self {
        Self { ready: AtomicBool::new(ready), watched: AtomicBool::new(false), waiting: Mutex::default() }
    }

    /// Whether it may go on, as far as is known. Who is told otherwise will be woken.
    pub(super) fn ready(&self, context: &Context<'_>) -> io::Result<bool> {
        if self.ready.load(Ordering::Acquire) {
            return Ok(true);
        }
        let former = {
            let mut waiting = self.waiting.lock();
            if let Some(why) = &waiting.failed {
                return Err(io::Error::other(why.clone()));
            }
            match &waiting.waker {
                Some(known) if known.will_wake(context.waker()) => None,
                _ => waiting.waker.replace(context.waker().clone()),
            }
        };
        drop(former);
        // It may have become so on another thread meanwhile.
        Ok(self.ready.load(Ordering::Acquire))
    }

    /// It was found that it may not go on.
    pub(super) fn exhausted(&self) {
        self.ready.store(false, Ordering::Release);
    }

    /// The loop says that it may go on. False where nobody waited for that: the loop is to watch no longer, or it says so for ever.
    pub(super) fn reached(&self) -> bool {
        self.ready.store(true, Ordering::Release);
        self.wake()
    }

    /// The loop cannot watch it: who waits, or comes to, is told `why`.
    pub(super) fn fail(&self, why: String) {
        self.waiting.lock().failed = Some(why);
        self.wake();
    }

    /// Notes that the loop is to watch, or not; true where it was the other way round.
    pub(super) fn watch(&self, watched: bool) -> bool {
        self.watched.swap(watched, Ordering::AcqRel) != watched
    }

    fn wake(&self) -> bool {
        let waker = self.waiting.lock().waker.take();
        waker.map(Waker::wake).is_some()
    }
}
