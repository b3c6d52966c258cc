//! Hub: what all who use a link share: the open line, the attempt to get one, and whether the server is worth asking.
//!
//! Decides who gets the line, who waits for the attempt under way, who starts it, and who is turned away. Must not know how a
//! connection is made. Invariants: one attempt at a time; nobody is woken and nothing is dropped under the lock.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use donjon_core::breaker::{Allowed, Breaker, BreakerConfig, Pass};
use donjon_core::fault::Fault;
use donjon_core::moment::Moment;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::line::Line;
use super::vitals::{End, Vitals};

pub(super) struct Hub {
    /// Where the server is, for the log.
    name: String,
    state: Mutex<State>,
    /// Whether a failure is so recent that successes count too.
    is_troubled: AtomicBool,
    /// What is to be added to the local clock to have Redis's, in nanoseconds.
    clock_ahead: AtomicI64,
    clock_read: AtomicU64,
}

struct State {
    line: Option<Line>,
    opened: Moment,
    /// When the last connection that is no more was last of use.
    heard: Option<Moment>,
    attempt: Option<Attempt>,
    attempts: u64,
    breaker: Breaker,
    /// Under which the latest call went out that could open or close the breaker.
    pass: Pass,
    calm: Moment,
    is_closed: bool,
}

struct Attempt {
    waiters: Vec<Waiter>,
    /// Whether others may wait for it too.
    is_shared: bool,
}

type Waiter = oneshot::Sender<Result<Line, Fault>>;

/// What somebody gets who wants a line.
pub(super) enum Found {
    Line(Line),
    /// Others are about to get one.
    Wait(oneshot::Receiver<Result<Line, Fault>>),
    /// It is for this one to start the attempt.
    Start(Start),
    No(Fault),
}

pub(super) struct Start {
    pub(super) generation: u64,
    /// Whether this is to find out if the server is back: then nobody waits for long.
    pub(super) is_probe: bool,
    pub(super) outcome: oneshot::Receiver<Result<Line, Fault>>,
}

impl Hub {
    pub(super) fn new(config: BreakerConfig, name: String) -> Self {
        let mut breaker = Breaker::new(config);
        let (Allowed::Go(pass) | Allowed::Probe(pass)) = breaker.allow(Moment::default()) else {
            unreachable!("a new breaker is closed")
        };
        let state = State {
            line: None,
            heard: None,
            opened: Moment::default(),
            attempt: None,
            attempts: 0,
            breaker,
            pass,
            calm: Moment::default(),
            is_closed: false,
        };
        Self {
            name,
            state: Mutex::new(state),
            is_troubled: AtomicBool::new(false),
            clock_ahead: AtomicI64::new(UNKNOWN),
            clock_read: AtomicU64::new(0),
        }
    }

    /// The open line, where there is one and nothing speaks against its use.
    pub(super) fn line(&self) -> Option<Line> {
        if self.is_troubled.load(Ordering::Relaxed) {
            return None;
        }
        self.state.lock().line.as_ref().filter(|line| line.is_open()).cloned()
    }

    pub(super) fn find(&self, now: Moment) -> Found {
        let mut state = self.state.lock();
        if state.is_closed {
            return Found::No(Fault::Unreachable);
        }
        let line = state.line.as_ref().filter(|line| line.is_open()).cloned();
        if line.is_none()
            && let Some(attempt) = &mut state.attempt
        {
            if !attempt.is_shared {
                return Found::No(if state.breaker.is_closed() { Fault::Unreachable } else { Fault::Open });
            }
            let (waiter, outcome) = oneshot::channel();
            attempt.waiters.push(waiter);
            return Found::Wait(outcome);
        }
        let (pass, is_probe) = match state.breaker.allow(now) {
            Allowed::Go(pass) => (pass, false),
            Allowed::Probe(pass) => (pass, true),
            Allowed::No { .. } => return Found::No(Fault::Open),
        };
        state.pass = pass;
        if let Some(line) = line {
            return Found::Line(line);
        }
        state.attempts += 1;
        let (waiter, outcome) = oneshot::channel();
        state.attempt = Some(Attempt { waiters: vec![waiter], is_shared: !is_probe });
        Found::Start(Start { generation: state.attempts, is_probe, outcome })
    }

    /// Lets nobody wait any longer for the attempt under way, which goes on.
    pub(super) fn release(&self) {
        let waiters = self.state.lock().attempt.as_mut().map(|attempt| {
            attempt.is_shared = false;
            std::mem::take(&mut attempt.waiters)
        });
        tell(waiters.unwrap_or_default(), &Err(Fault::Unreachable));
    }

    /// The attempt is over; a failure counts as `weight` of them.
    pub(super) fn settle(&self, outcome: &Result<Line, Fault>, weight: u32, now: Moment) {
        let mut state = self.state.lock();
        let waiters = state.attempt.take().map(|attempt| attempt.waiters).unwrap_or_default();
        let is_closed = state.is_closed;
        let before = match outcome {
            Ok(line) if !is_closed => {
                let pass = state.pass;
                state.breaker.succeeded(pass, now);
                state.opened = now;
                state.line.replace(line.clone())
            }
            _ => None,
        };
        drop(state);
        drop(before);
        match outcome {
            Ok(line) if is_closed => {
                line.vitals().finish(End::Closed);
                tell(waiters, &Err(Fault::Unreachable));
            }
            Ok(_) => tell(waiters, outcome),
            Err(_) => {
                self.failed(now, weight);
                tell(waiters, outcome);
            }
        }
    }

    /// A connection is no more. Only one that callers could use counts: before that it is its attempt that fails.
    pub(super) fn ended(&self, generation: u64, end: End, was_awaited: bool, now: Moment) {
        let mut state = self.state.lock();
        let line = state.line.take_if(|line| line.generation() == generation);
        state.heard = line.as_ref().map(|line| line.vitals().last_use()).or(state.heard);
        drop(state);
        if line.is_none() {
            return;
        }
        match end {
            // One budget was spent: nobody else is to spend another before the server is known to be back.
            End::TimedOut => self.failed(now, u32::MAX),
            End::Lost if was_awaited => self.failed(now, 1),
            End::Protocol => self.failed(now, 1),
            End::Lost | End::Closed => {}
        }
        if matches!(end, End::TimedOut | End::Protocol) {
            tracing::warn!(redis = %self.name, why = %end.fault(), "gave up a connection to redis");
        }
        drop(line);
    }

    /// Leaves a connection to those who use it now, so that the next one gets another: its server is a replica. One that
    /// is young stays, or a server that will be nothing else would be asked for a connection by every write.
    pub(super) fn retire(&self, generation: u64, now: Moment) {
        let mut state = self.state.lock();
        let is_due = now - state.opened >= YOUNG;
        let line = state.line.take_if(|line| is_due && line.generation() == generation);
        state.heard = line.as_ref().map(|line| line.vitals().last_use()).or(state.heard);
        drop(state);
        drop(line);
    }

    /// Leaves a connection to those who use it now, whatever its age.
    pub(super) fn leave(&self, generation: u64) {
        let mut state = self.state.lock();
        let line = state.line.take_if(|line| line.generation() == generation);
        state.heard = line.as_ref().map(|line| line.vitals().last_use()).or(state.heard);
        drop(state);
        drop(line);
    }

    /// When the last connection that is no more was last of use.
    pub(super) fn heard(&self) -> Option<Moment> {
        self.state.lock().heard
    }

    /// When the server was last of use, on this connection or on the one before.
    pub(super) fn last_heard(&self) -> Option<Moment> {
        let state = self.state.lock();
        state.line.as_ref().map(|line| line.vitals().last_use()).or(state.heard)
    }

    /// The server answered.
    pub(super) fn answered(&self, vitals: &Vitals) {
        if self.is_troubled.load(Ordering::Relaxed) {
            self.recovered(vitals.now());
        }
    }

    #[cold]
    fn recovered(&self, now: Moment) {
        let mut state = self.state.lock();
        let pass = state.pass;
        state.breaker.succeeded(pass, now);
        if state.breaker.is_closed() && now >= state.calm {
            self.is_troubled.store(false, Ordering::Relaxed);
        }
    }

    /// The server failed, in a way that counts `weight` times.
    #[cold]
    pub(super) fn failed(&self, now: Moment, weight: u32) {
        if weight == 0 {
            return;
        }
        let share = (RandomState::new().hash_one(0_u8) >> 11) as f64 / (1_u64 << 53) as f64;
        let mut state = self.state.lock();
        let pass = state.pass;
        state.breaker.failed(pass, weight.min(MOST_WEIGHT), now, share);
        state.calm = now.after(CALM);
        self.is_troubled.store(true, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let line = state.line.take();
        let waiters = state.attempt.as_mut().map(|attempt| std::mem::take(&mut attempt.waiters));
        drop(state);
        if let Some(line) = line {
            line.vitals().finish(End::Closed);
        }
        tell(waiters.unwrap_or_default(), &Err(Fault::Unreachable));
    }

    /// The attempt under way has come to nothing, not even to a failure.
    pub(super) fn abandon(&self) {
        let attempt = self.state.lock().attempt.take();
        drop(attempt);
    }

    pub(super) fn is_left_alone(&self) -> bool {
        !self.state.lock().breaker.is_closed()
    }

    pub(super) fn generation(&self) -> u64 {
        self.state.lock().line.as_ref().filter(|line| line.is_open()).map_or(0, Line::generation)
    }

    pub(super) fn set_clock(&self, redis: Moment, local: Moment) {
        let ahead = i64::try_from(i128::from(redis.as_nanos()) - i128::from(local.as_nanos()));
        if let Ok(ahead) = ahead {
            self.clock_ahead.store(ahead, Ordering::Relaxed);
            self.clock_read.store(local.as_nanos(), Ordering::Relaxed);
        }
    }

    /// Whether Redis should be asked for its time again.
    pub(super) fn is_clock_due(&self, now: Moment) -> bool {
        now - Moment::from_nanos(self.clock_read.load(Ordering::Relaxed)) >= CLOCK_LASTS
    }

    pub(super) fn redis_now(&self, now: Moment) -> Option<Moment> {
        let ahead = self.clock_ahead.load(Ordering::Relaxed);
        let redis = now.as_nanos().checked_add_signed(ahead).filter(|_| ahead != UNKNOWN)?;
        Some(Moment::from_nanos(redis))
    }
}

fn tell(waiters: Vec<Waiter>, outcome: &Result<Line, Fault>) {
    for waiter in waiters {
        // Whoever went away needs no line.
        let _ = waiter.send(outcome.clone());
    }
}

const UNKNOWN: i64 = i64::MIN;

/// Successes count for so long after a failure: as long as the breaker looks back.
const CALM: Duration = Duration::from_secs(10);

/// What opens any breaker.
const MOST_WEIGHT: u32 = 20;

const YOUNG: Duration = Duration::from_secs(1);

const CLOCK_LASTS: Duration = Duration::from_secs(5);
