//! Vitals: whether one connection lives, and since when it has kept somebody waiting.
//!
//! Owns the signs of life that the wire sees, the count of requests in flight, and the end of the connection, which comes once.
//! Must not know what is asked or answered, nor run anything. Nothing here allocates or waits.
//!
//! Bytes that the socket takes say little: a frozen server's buffers take megabytes. They count when the socket had been full,
//! or when nothing was owed, as the wait begins then; else a steady trickle of new requests would keep a dead server alive.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
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
    in_flight: AtomicUsize,
    /// Bytes sent since the last byte came: where there are any, an answer is owed.
    owed: AtomicU64,
    /// The last sign of life, in nanoseconds.
    life: AtomicU64,
    /// When a request last found none in flight, in nanoseconds.
    asked: AtomicU64,
    end: AtomicU8,
    /// Whether the driver is to see for itself if an answer is overdue.
    is_suspect: AtomicBool,
    driver: Mutex<Option<Waker>>,
    /// Whether the watch waits for `bell` instead of the time.
    parked: AtomicBool,
    bell: Notify,
}

impl Vitals {
    /// The vitals of a new connection.
    pub(super) fn new(clock: Clock) -> Self {
        let now = clock().as_nanos();
        Self {
            clock,
            in_flight: AtomicUsize::new(0),
            owed: AtomicU64::new(0),
            life: AtomicU64::new(now),
            asked: AtomicU64::new(now),
            end: AtomicU8::new(ALIVE),
            is_suspect: AtomicBool::new(false),
            driver: Mutex::new(None),
            parked: AtomicBool::new(false),
            bell: Notify::new(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        (self.clock)()
    }

    /// Counts a request, until what is returned is dropped. `None` where the connection has ended and nothing can be sent.
    pub(super) fn begin(&self) -> Option<Turn<'_>> {
        if self.end().is_some() {
            return None;
        }
        if self.in_flight.fetch_add(1, Ordering::SeqCst) == 0 {
            self.asked.store(self.now().as_nanos(), Ordering::Relaxed);
            if self.parked.swap(false, Ordering::SeqCst) {
                self.bell.notify_one();
            }
        }
        Some(Turn(self))
    }

    /// Bytes came.
    pub(super) fn heard(&self) {
        self.owed.store(0, Ordering::Relaxed);
        self.life.store(self.now().as_nanos(), Ordering::Relaxed);
    }

    /// The socket took `bytes`; `was_full` where it had taken none just before.
    pub(super) fn said(&self, bytes: usize, was_full: bool) {
        if self.owed.fetch_add(bytes as u64, Ordering::Relaxed) == 0 || was_full {
            self.life.store(self.now().as_nanos(), Ordering::Relaxed);
        }
    }

    /// Until when there has to be a sign of life, given the budget for a command; `None` while nobody waits.
    pub(super) fn deadline(&self, budget: Duration) -> Option<Moment> {
        let owed = self.owed.load(Ordering::Relaxed);
        let life = self.life.load(Ordering::Relaxed);
        let since = match (owed, self.in_flight.load(Ordering::SeqCst)) {
            (0, 0) => return None,
            (0, _) => life.max(self.asked.load(Ordering::Relaxed)),
            _ => life,
        };
        Some(Moment::from_nanos(since).after(budget).after(Duration::from_nanos(owed.saturating_mul(NANOS_A_BYTE))))
    }

    /// When the connection last did anything.
    pub(super) fn last_use(&self) -> Moment {
        Moment::from_nanos(self.life.load(Ordering::Relaxed).max(self.asked.load(Ordering::Relaxed)))
    }

    /// Whether a caller waits for a reply.
    pub(super) fn is_awaited(&self) -> bool {
        self.in_flight.load(Ordering::SeqCst) > 0
    }

    /// Waits, at no cost, until there is something to watch or the connection has ended.
    pub(super) async fn parked(&self) {
        self.parked.store(true, Ordering::SeqCst);
        if self.is_awaited() || self.end().is_some() {
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

/// A request in flight.
pub(super) struct Turn<'a>(&'a Vitals);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

const ALIVE: u8 = 0;

/// A request may take a millisecond more for every 10 kB of it.
const NANOS_A_BYTE: u64 = 100;

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
        let turn = vitals.begin().unwrap();
        assert_eq!(vitals.deadline(BUDGET), Some(Moment::from_millis(5_100)));
        time.store(5_001, Ordering::Relaxed);
        vitals.said(20, false);
        vitals.heard();
        drop(turn);
        assert_eq!(vitals.deadline(BUDGET), None);
    }

    #[test]
    fn requests_that_a_frozen_server_is_sent_do_not_put_the_deadline_off() {
        let (time, vitals) = at_will();
        for now in 0..50 {
            time.store(now, Ordering::Relaxed);
            // Given up at once: what was sent is owed all the same.
            drop(vitals.begin());
            vitals.said(20, false);
        }
        let owed = Duration::from_nanos(50 * 20 * NANOS_A_BYTE);
        assert_eq!(vitals.deadline(BUDGET), Some(Moment::from_millis(100).after(owed)));
    }

    #[test]
    fn a_long_request_has_time_while_the_socket_takes_it_and_a_millisecond_more_for_10_kb() {
        let (time, vitals) = at_will();
        let _turn = vitals.begin().unwrap();
        vitals.said(1_000_000, false);
        assert_eq!(vitals.deadline(BUDGET), Some(Moment::from_millis(200)));
        time.store(150, Ordering::Relaxed);
        vitals.said(1_000_000, true);
        assert_eq!(vitals.deadline(BUDGET), Some(Moment::from_millis(450)));
    }

    #[test]
    fn a_connection_ends_once_and_the_first_reason_stays() {
        let (_time, vitals) = at_will();
        vitals.finish(End::TimedOut);
        vitals.finish(End::Lost);
        assert_eq!(vitals.end(), Some(End::TimedOut));
        assert!(vitals.begin().is_none());
    }
}
