//! Shared: what the clones of a cache, and the builders made of it, have in common.

use std::any::type_name;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use donjon_core::expiry::TtlClasses;
use donjon_core::key::{Key, Namespace};
use donjon_core::rules::Rules;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::backend::Backend;
use super::stats::Stats;
use crate::error::Error;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) namespace: Namespace,
    pub(super) classes: TtlClasses,
    pub(super) rules: RwLock<Rules>,
    pub(super) notes: Notes,
    backend: Backend,
    /// Read by every call, and so not behind the lock that the other is.
    is_closed: AtomicBool,
    closed: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn new(namespace: Namespace, classes: TtlClasses, backend: Backend) -> Arc<Self> {
        Arc::new(Self {
            namespace,
            classes,
            rules: RwLock::default(),
            notes: Notes::default(),
            backend,
            is_closed: AtomicBool::new(false),
            closed: watch::Sender::new(false),
        })
    }

    /// Where values are kept, unless the cache was closed.
    pub(super) fn open(&self) -> Result<&Backend, Error> {
        if self.is_closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(&self.backend) }
    }

    /// Why a call failed: what was closed meanwhile cannot be asked either.
    pub(super) fn closed_or(&self, error: Error) -> Error {
        self.open().err().unwrap_or(error)
    }

    /// Where values are kept, for what has a meaning when the cache is closed as well.
    pub(super) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Says that the cache is closed, once; false where it was.
    pub(super) fn shut(&self) -> bool {
        let was_open = !self.is_closed.swap(true, Ordering::AcqRel);
        self.closed.send_replace(true);
        was_open
    }

    /// Waits for the cache to be closed.
    pub(super) async fn closing(&self) {
        // Its sender is in here.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Tells this cache from every other.
    pub(super) fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    pub(super) fn stats(&self) -> Stats {
        let (coherence, last_push) = self.backend.coherence().unzip();
        Stats {
            coherence,
            last_push: last_push.flatten(),
            counted: self.backend.counted(),
            undecodable: self.notes.undecodable.load(Ordering::Relaxed),
            stale_on_error: self.notes.stale_on_error.load(Ordering::Relaxed),
        }
    }
}

/// What went wrong without hurting anybody: counted, and said in the log once in a while.
#[derive(Debug, Default)]
pub(super) struct Notes {
    undecodable: AtomicU64,
    stale_on_error: AtomicU64,
}

impl Notes {
    /// A stored value was no `T`.
    pub(super) fn undecodable<T>(&self, key: Key<'_>, why: &dyn std::error::Error) {
        if is_round(self.undecodable.fetch_add(1, Ordering::Relaxed)) {
            tracing::warn!(key = key.as_str(), wanted = type_name::<T>(), %why, "a cached value cannot be read: it counts as none");
        }
    }

    /// A load failed, and its caller got the stale value.
    pub(super) fn served_stale<E>(&self, key: &str) {
        if is_round(self.stale_on_error.fetch_add(1, Ordering::Relaxed)) {
            tracing::warn!(key, error = type_name::<E>(), "a load failed: the stale value is served");
        }
    }

    pub(super) fn reset(&self) {
        self.undecodable.store(0, Ordering::Relaxed);
        self.stale_on_error.store(0, Ordering::Relaxed);
    }
}

/// Whether the thing that happened this many times before is worth a line: the first, and each thousandth.
fn is_round(before: u64) -> bool {
    before.is_multiple_of(1_000)
}
