//! Vitals: whether one connection lives, and since when it has kept somebody waiting.
//!
//! Owns the signs of life that the wire sees, the count of replies owed, and the end of the connection, which comes once. Must
//! not know what is asked or answered, nor run anything. Nothing here allocates or waits.
//!
//! Replies are owed to the connection, whatever becomes of the callers: one who goes away does not stop the wait, and one who
//! is slow to take a reply that came does not prolong it. Bytes that the socket takes say little: the buffers before a frozen
//! server take megabytes. They count when the socket had been full, or when nothing was owed, as the wait begins then; else
//! a steady trickle of new requests would keep a dead server alive.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use donjon_core::fault::Fault;
use donjon_core::moment::Moment;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A clock that never goes back.
pub(super) type Clock = Box<dyn Fn() -> Moment + Send + Sync>;

/// Why a connection is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum End {
    /// It kept somebody waiting for too long.
    TimedOut = 1,
    /// The other side closed it, or the network did.
    Lost,
    /// What came was no reply.
    Protocol,
    /// It was given up on this side.
    Closed,
}

impl End {
    /// What those hear who still waited for a reply.
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::TimedOut => Fault::TimedOut,
            Self::Lost | Self::Closed => Fault::Lost,
            Self::Protocol => Fault::Protocol,
        }
    }
}

pub(super) struct Vitals {
    clock: Clock,
    /// How many replies are to come.
    owed: AtomicU64,
    /// Bytes sent since the last byte came.
    sent: AtomicU64,
    /// Whether the last bytes sent left more than one reply owed.
    is_crowded: AtomicBool,
    /// The last sign of life, in nanoseconds.
    life: AtomicU64,
    end: AtomicU8,
    /// Whether the driver is to see for itself if an answer is overdue.
    is_suspect: AtomicBool,
    driver: Mutex<Option<Waker>>,
    /// The error that the server began with, as far as it came at once.
    farewell: Mutex<Option<String>>,
    /// Whether the watch waits for `bell` instead of the time.
    parked: AtomicBool,
    bell: Notify,
    over: Notify,
}

impl Vitals {
    /// The vitals of a new connection.
    pub(super) fn new(clock: Clock) -> Self {
        let now = clock().as_nanos();
        Self {
            clock,
            owed: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            is_crowded: AtomicBool::new(false),
            life: AtomicU64::new(now),
            end: AtomicU8::new(ALIVE),
            is_suspect: AtomicBool::new(false),
            driver: Mutex::new(None),
            farewell: Mutex::new(None),
            parked: AtomicBool::new(false),
            bell: Notify::new(),
            over: Notify::new(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        (self.clock)()
    }

    /// Bytes came, after which so many replies are `owed`.
    pub(super) fn heard(&self, owed: u64) {
        self.owed.store(owed, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
        self.life.store(self.now().as_nanos(), Ordering::Relaxed);
    }

    /// The socket took `bytes`, after which so many replies are `owed`; `was_full` where it had taken none just before.
    pub(super) fn said(&self, bytes: usize, owed: u64, was_full: bool) {
        let sent = self.sent.load(Ordering::Relaxed);
        self.sent.store(sent.saturating_add(bytes as u64), Ordering::Relaxed);
        if was_full || self.owed.load(Ordering::Relaxed) == 0 {
            self.life.store(self.now().as_nanos(), Ordering::Relaxed);
        }
        self.is_crowded.store(owed > 1, Ordering::Relaxed);
        self.owed.store(owed, Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) && self.parked.swap(false, Ordering::SeqCst) {
            self.bell.notify_one();
        }
    }

    /// Until when there has to be a sign of life, given the budget for a command; `None` while nothing is owed.
    pub(super) fn deadline(&self, budget: Duration) -> Option<Moment> {
        if !self.is_owing() {
            return None;
        }
        let more = self.sent.load(Ordering::Relaxed).saturating_mul(NANOS_A_BYTE);
        Some(self.last_use().after(budget).after(Duration::from_nanos(more)))
    }

    /// When the connection last did anything.
    pub(super) fn last_use(&self) -> Moment {
        Moment::from_nanos(self.life.load(Ordering::Relaxed))
    }

    /// Whether a reply is to come.
    pub(super) fn is_owing(&self) -> bool {
        self.owed.load(Ordering::SeqCst) > 0
    }

    /// Keeps the error line that `come` begins with. A server that lets nobody in says why, and goes.
    pub(super) fn set_farewell(&self, come: &[u8]) {
        let line = come.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(&line[1..line.len().min(MAX_FAREWELL_BYTES)]).into_owned();
        *self.farewell.lock() = Some(line);
    }

    /// What the server said instead of a first reply, where that was an error.
    pub(super) fn farewell(&self) -> Option<Fault> {
        let line = self.farewell.lock().clone()?;
        let (code, detail) = line.split_once(' ').unwrap_or((&line, ""));
        Some(Fault::server(code, detail))
    }

    /// Whether several commands were under way when the last one was sent, so that more are likely to come together.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_crowded.load(Ordering::Relaxed)
    }

    /// Waits, at no cost, until there is something to watch or the connection has ended.
    pub(super) async fn parked(&self) {
        self.parked.store(true, Ordering::SeqCst);
        if self.is_owing() || self.end().is_some() {
            self.parked.store(false, Ordering::SeqCst);
            return;
        }
        self.bell.notified().await;
        self.parked.store(false, Ordering::SeqCst);
    }

    /// Says who moves the bytes, and is woken when there is something to know.
    pub(super) fn driven_by(&self, driver: &Waker) {
        let mut known = self.driver.lock();
        let before = match &mut *known {
            Some(known) if known.will_wake(driver) => None,
            known => known.replace(driver.clone()),
        };
        drop(known);
        drop(before);
    }

    /// Has the driver look whether an answer is overdue. It reads first: where it was held up itself, nothing is.
    pub(super) fn suspect(&self) {
        self.is_suspect.store(true, Ordering::SeqCst);
        self.wake_driver();
    }

    /// Whether somebody thinks that an answer is overdue. Once it was asked, nobody does.
    pub(super) fn is_suspect(&self) -> bool {
        self.is_suspect.load(Ordering::Relaxed) && self.is_suspect.swap(false, Ordering::SeqCst)
    }

    /// Ends the connection, unless it has ended: the first reason stays.
    pub(super) fn finish(&self, end: End) {
        if self.end.compare_exchange(ALIVE, end as u8, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.wake_driver();
            self.bell.notify_one();
            self.over.notify_waiters();
        }
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) {
        let mut over = std::pin::pin!(self.over.notified());
        over.as_mut().enable();
        if self.end().is_none() {
            over.await;
        }
    }

    fn wake_driver(&self) {
        let driver = self.driver.lock().clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Why the connection is no more, where it is no more.
    pub(super) fn end(&self) -> Option<End> {
        match self.end.load(Ordering::Acquire) {
            ALIVE => None,
            end if end == End::TimedOut as u8 => Some(End::TimedOut),
            end if end == End::Lost as u8 => Some(End::Lost),
            end if end == End::Protocol as u8 => Some(End::Protocol),
            _ => Some(End::Closed),
        }
    }
}

const ALIVE: u8 = 0;

/// A request may take a millisecond more for every 10 kB of it.
const NANOS_A_BYTE: u64 = 100;

const MAX_FAREWELL_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const BUDGET: Duration = Duration::from_millis(100);

    fn at_will() -> (Arc<AtomicU64>, Vitals) {
        let time = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&time);
        let vitals = Vitals::new(Box::new(move || Moment::from_millis(clock.load(Ordering::Relaxed))));
        (time, vitals)
    }

    #[test]
    fn an_idle_connection_has_no_deadline_and_the_wait_begins_with_the_request() {
        let (time, vitals) = at_will();
        time.store(5_000, Ordering::Relaxed);
        assert_eq!(vitals.deadline(BUDGET), None);
        vitals.said(20, 1, false);
        assert_eq!(vitals.deadline(BUDGET), Some(Moment::from_millis(5_100).after(Duration::from_micros(2))));
        time.store(5_001, Ordering::Relaxed);
        vitals.heard(0);
        assert_eq!(vitals.deadline(BUDGET), None);
    }

    #[test]
    fn one_reply_of_two_leaves_the_other_owed() {
        let (time, vitals) = at_will();
        vitals.said(40, 2, false);
        time.store(7, Ordering::Relaxed);
        vitals.heard(1);
        assert_eq!(vitals.deadline(BUDGET), Some(Moment::from_millis(107)));
    }

    #[test]
    fn requests_that_a_frozen_server_is_sent_do_not_put_the_deadline_off() {
        let (time, vitals) = at_will();
        for now in 0..50 {
            time.store(now, Ordering::Relaxed);
            vitals.said(20, now + 1, false);
        }
        let more = Duration::from_nanos(50 * 20 * NANOS_A_BYTE);
        assert_eq!(vitals.deadline(BUDGET), Some(Moment::from_millis(100).after(more)));
    }

    #[test]
    fn a_long_request_has_time_while_the_socket_takes_it_and_a_millisecond_more_for_10_kb() {
        let (time, vitals) = at_will();
        vitals.said(1_000_000, 1, false);
        assert_eq!(vitals.deadline(BUDGET), Some(Moment::from_millis(200)));
        time.store(150, Ordering::Relaxed);
        vitals.said(1_000_000, 1, true);
        assert_eq!(vitals.deadline(BUDGET), Some(Moment::from_millis(450)));
    }

    #[test]
    fn a_connection_ends_once_and_the_first_reason_stays() {
        let (_time, vitals) = at_will();
        vitals.finish(End::TimedOut);
        vitals.finish(End::Lost);
        assert_eq!(vitals.end(), Some(End::TimedOut));
    }
}
