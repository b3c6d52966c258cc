//! Tend: lets what expired leave without being read, while the cache lives.
//!
//! Runs as a task of the tokio runtime in which the cache is written to, and is begun anew in the next where that one is no
//! more, as between two tests. Without a runtime what expired leaves when others are stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use donjon_core::cache::{Cache as Store, EXPIRE_AT_ONCE};
use tokio::runtime::Handle;

use crate::clock::Clock;
use crate::error::Failure;
use crate::payload::Payload;

/// Sees to it that somebody tends.
#[derive(Debug)]
pub(super) struct Tender {
    store: Store<Payload, Failure>,
    clock: Clock,
    tended: Arc<AtomicBool>,
    /// Its end is the end of the task.
    alive: Arc<()>,
}

impl Tender {
    pub(super) fn new(store: &Store<Payload, Failure>, clock: &Clock) -> Self {
        Self { store: store.clone(), clock: clock.clone(), tended: Arc::default(), alive: Arc::default() }
    }

    /// Begins to tend where nobody does and there is a runtime to do it in. One load where somebody does.
    #[inline]
    pub(super) fn see_to_it(&self) {
        if !self.tended.load(Ordering::Relaxed) {
            self.begin();
        }
    }

    #[cold]
    fn begin(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.tended.swap(true, Ordering::AcqRel) {
            return;
        }
        let turn = Turn(Arc::clone(&self.tended));
        let (store, clock, alive) = (self.store.clone(), self.clock.clone(), Arc::downgrade(&self.alive));
        runtime.spawn(async move {
            let turn = turn;
            let mut more = false;
            loop {
                tokio::time::sleep(if more { Duration::ZERO } else { PAUSE }).await;
                if alive.strong_count() == 0 {
                    break;
                }
                more = store.expire(EXPIRE_AT_ONCE, clock.now());
            }
            drop(turn);
        });
    }
}

/// Held by the task; dropped with it also where its runtime goes.
struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

const PAUSE: Duration = Duration::from_secs(1);
