//! Watch: ends a connection that keeps somebody waiting for longer than a command may take.
//!
//! One task for each connection, which sleeps to the earliest moment at which anything could be overdue; a timer for each
//! command would cost more than all else on this side. A connection that nobody uses costs nothing.

use std::sync::Arc;
use std::time::Duration;

use super::handshake;
use super::hub::Hub;
use super::vitals::Vitals;
use crate::runtime::Runtime;

/// What becomes of Redis's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// It is kept up to date while the connection is used.
    Kept,
    /// Nobody needs it: the older protocol has no `TIME` where one listens.
    Unused,
}

/// Watches a connection until it ends. Holds nothing that would keep it open.
pub(super) async fn watch<R: Runtime>(runtime: R, vitals: Arc<Vitals>, hub: Arc<Hub>, budget: Duration, clock: Clock) {
    while vitals.end().is_none() {
        let now = runtime.now();
        match vitals.deadline(budget) {
            Some(deadline) if now < deadline => runtime.sleep((deadline - now).min(budget)).await,
            Some(_) => {
                // For one round of the event loop: what has come by now lies in the socket until then.
                runtime.sleep(GRACE).await;
                if vitals.deadline(budget).is_some_and(|deadline| deadline <= runtime.now()) {
                    vitals.suspect();
                }
            }
            None if now - vitals.last_use() < LINGER => runtime.sleep(budget).await,
            None => vitals.parked().await,
        }
        let now = runtime.now();
        if clock == Clock::Kept
            && now - vitals.last_use() < LINGER
            && hub.is_clock_due(now)
            && let Some(line) = hub.line()
        {
            runtime.spawn(async move {
                // Best effort: the last estimate serves until the next.
                let _ = handshake::read_clock(&line).await;
            });
        }
    }
}

const GRACE: Duration = Duration::from_millis(2);

/// How long a connection may be unused before its watch stops looking.
const LINGER: Duration = Duration::from_secs(1);
