//! Connect: from an address to a line that callers may use.
//!
//! Socket, TLS, handshake, then what the owner of the link does on each new connection. Runs as a task of its own: no caller
//! that goes away takes the attempt with it. Invariant: whatever becomes of the task, those who wait for it hear of it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use donjon_core::fault::{Class, Fault};
use donjon_core::settings::{RedisAddress, RedisTarget};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo};

use super::ear::Ear;
use super::hub::Hub;
use super::line::Line;
use super::tls::{self, Authorities, Stream};
use super::vitals::{End, Vitals};
use super::wire::Wire;
use super::{Inner, finding, handshake, watch};
use crate::runtime::Address;
use crate::runtime::Runtime;

/// Why there is no line.
pub(super) struct Failure {
    pub(super) fault: Fault,
    /// As the system or the library says it; for the log.
    pub(super) reason: String,
    /// As how many failures it counts.
    pub(super) weight: u32,
}

/// Makes the connection with the number `generation`. Whoever waits for it does so for `patience` at most; `ending` is told
/// even where a runtime that is no more drops this before its first step.
pub(super) async fn attempt<R: Runtime>(inner: Arc<Inner<R>>, generation: u64, patience: Duration, ending: Ending) {
    let mut work = pin!(prepare(&inner, generation));
    let outcome = if let Some(outcome) = within(&inner.runtime, patience, &mut work).await {
        outcome
    } else {
        inner.hub.release();
        work.await
    };
    ending.disarm();
    let now = inner.runtime.now();
    match outcome {
        Err(failure) => {
            inner.note(&failure.reason);
            inner.hub.settle(&Err(failure.fault), failure.weight, now);
        }
        Ok(line) => {
            inner.note_success();
            inner.hub.settle(&Ok(line), 0, now);
        }
    }
}

async fn prepare<R: Runtime>(inner: &Arc<Inner<R>>, generation: u64) -> Result<Line, Failure> {
    let budget = inner.options.connect_budget;
    let clock = inner.runtime.clone();
    let vitals = Arc::new(Vitals::new(Box::new(move || clock.now())));
    let opened = within(&inner.runtime, budget, open(inner, generation, Arc::clone(&vitals))).await;
    let line = opened.unwrap_or_else(|| {
        Err(Failure { fault: Fault::Unreachable, reason: format!("no connection within {budget:?}"), weight: 2 })
    });
    let line = match line {
        Ok(line) => line,
        Err(failure) => {
            vitals.finish(End::Closed);
            // One that takes nobody in now, or never, says so and closes before it was asked anything.
            let farewell = vitals.farewell().filter(|fault| {
                matches!(fault, Fault::Server { class: Class::Down, .. })
                    || matches!(fault, Fault::Server { code, .. } if **code == *"DENIED")
            });
            return Err(farewell.map_or(failure, Failure::from));
        }
    };
    let clock = if inner.heard.is_none() { watch::Clock::Kept } else { watch::Clock::Unused };
    let (runtime, hub, budget) = (inner.runtime.clone(), Arc::clone(&inner.hub), inner.options.command_budget);
    inner.runtime.spawn(watch::watch(runtime, Arc::clone(&vitals), hub, budget, clock));
    match (inner.greet)(line.clone()).await {
        Ok(()) => Ok(line),
        Err(fault) => {
            vitals.finish(End::Closed);
            Err(Failure::from(fault))
        }
    }
}

async fn open<R: Runtime>(inner: &Inner<R>, generation: u64, vitals: Arc<Vitals>) -> Result<Line, Failure> {
    let (target, must_be_primary) = finding::target(inner, generation).await?;
    let ear = inner.heard.clone().map(|heard| Ear::new(heard, inner.options.max_reply_bytes));
    let line = reach(inner, &target, &inner.hub, generation, vitals, ear).await?;
    if must_be_primary {
        finding::check_role(&line).await?;
    }
    Ok(line)
}

/// A line to this very server, which knows us.
pub(super) async fn reach<R: Runtime>(
    inner: &Inner<R>,
    target: &RedisTarget,
    hub: &Arc<Hub>,
    generation: u64,
    vitals: Arc<Vitals>,
    ear: Option<Ear>,
) -> Result<Line, Failure> {
    let address = match target.address() {
        RedisAddress::Tcp { host, port, .. } => Address::Tcp(host, *port),
        RedisAddress::Unix { path } => Address::Unix(path),
        RedisAddress::Cluster { .. } | RedisAddress::Sentinel { .. } => return Err(Fault::Unreachable.into()),
    };
    let stream = inner.runtime.connect(address).await?;
    let stream = if let RedisAddress::Tcp { host, tls: true, .. } = target.address() {
        let authorities = inner.options.ca.clone().map_or_else(Authorities::of_the_system, Ok)?;
        authorities.secure(host, stream).await?
    } else {
        Stream::Plain(stream)
    };
    let wire = Wire::new(stream, Arc::clone(&vitals), inner.options.max_reply_bytes, ear);
    // Says nothing by itself, so as to leave the handshake to us.
    let silent = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    let made = MultiplexedConnection::new_with_config(&silent, wire, config).await;
    let (connection, driver) =
        made.map_err(|error| Failure { reason: error.to_string(), ..Failure::from(Fault::Lost) })?;
    let line = Line::new(connection, Arc::clone(&vitals), Arc::clone(hub), generation);
    let budget = inner.options.command_budget;
    inner.runtime.spawn(drive(driver, budget, vitals, Arc::clone(hub), generation));
    handshake::shake(&line, target).await?;
    Ok(line)
}

/// Moves the bytes of a connection until it ends, by itself or because somebody ended it.
async fn drive(
    driver: impl Future<Output = ()>,
    budget: Duration,
    vitals: Arc<Vitals>,
    hub: Arc<Hub>,
    generation: u64,
) {
    let mut driver = pin!(driver);
    let mut has_waited = false;
    poll_fn(|context| {
        // Where many ask, those who are about to go first: what they ask goes out in the same write.
        has_waited = !has_waited && vitals.is_crowded();
        if has_waited {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        vitals.driven_by(context.waker());
        if vitals.end().is_some() || driver.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let is_overdue = || vitals.deadline(budget).is_some_and(|deadline| deadline <= vitals.now());
        if vitals.is_suspect() && is_overdue() {
            vitals.finish(End::TimedOut);
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    // Before the driver is dropped: those who wait hear of the end by that, and what they do next should find it known.
    let was_awaited = vitals.is_owing();
    vitals.finish(End::Lost);
    if let Some(end) = vitals.end() {
        hub.ended(generation, end, was_awaited, vitals.now());
    }
}

/// What `work` gives, unless `span` is over first.
async fn within<R: Runtime, T>(runtime: &R, span: Duration, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut sleep) = (pin!(work), pin!(runtime.sleep(span)));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Settles an attempt whose task was dropped, or panicked in its owner's code.
pub(super) struct Ending(Option<Arc<Hub>>);

impl Ending {
    pub(super) fn of(hub: Arc<Hub>) -> Self {
        Self(Some(hub))
    }

    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(hub) = &self.0 {
            hub.abandon();
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let fault = if tls::is_untrusted(&error) { Fault::Untrusted } else { Fault::Unreachable };
        Self { fault, reason: error.to_string(), weight: 1 }
    }
}

impl From<Fault> for Failure {
    /// What went wrong on a connection that no caller has used: nothing of theirs was sent.
    fn from(fault: Fault) -> Self {
        let reason = fault.to_string();
        let weight = fault.weight().max(1);
        match fault {
            Fault::TimedOut | Fault::Lost => Self { fault: Fault::Unreachable, reason, weight },
            fault => Self { fault, reason, weight },
        }
    }
}
