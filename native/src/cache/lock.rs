//! Lock: one holder a name, among all who share the cache.
//!
//! A lock has a time to live, so that a holder that is gone blocks nobody for long; one that is alive renews it. No lock of this
//! kind excludes for certain: a holder may be paused past its time and go on. Where that matters, hand the fence to what the
//! lock protects, and have it refuse a number lower than the highest it has seen.

use std::sync::Arc;
use std::time::Duration;

use donjon_core::expiry::Ttl;
use donjon_core::key::Key;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::backend::{Grant, LockToken};
use super::call::awaited;
use super::shared::Shared;
use super::terms::Span;
use crate::error::Error;

/// A lock to be taken. Await it; see [`Cache::lock`](crate::Cache::lock).
#[must_use = "nothing is locked before it is awaited"]
#[derive(Debug)]
pub struct Lock<'a> {
    shared: &'a Arc<Shared>,
    name: &'a str,
    ttl: Span,
    wait: Option<Duration>,
}

impl<'a> Lock<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, name: &'a str, ttl: Span) -> Self {
        Self { shared, name, ttl, wait: Some(DEFAULT_WAIT) }
    }

    /// How long to wait for it; zero tries once. Default: 10 seconds.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Waits for it for as long as it takes.
    pub fn wait_forever(mut self) -> Self {
        self.wait = None;
        self
    }

    async fn run(self) -> Result<LockGuard, Error> {
        let key = Key::new(self.name)?;
        let ttl = limited(self.ttl.ttl(&self.shared.classes)?, self.name)?;
        // Past counting, it is for ever.
        let deadline = self.wait.and_then(|wait| Instant::now().checked_add(wait));
        loop {
            let backend = self.shared.open()?;
            let asked = Instant::now();
            if let Some(grant) = backend.acquire(key, ttl).await.map_err(|fault| self.shared.closed_or(fault))? {
                return Ok(LockGuard::new(self.shared, self.name, ttl, &grant, asked));
            }
            let free = async {
                tokio::select! {
                    () = backend.lock_may_be_free(key) => {}
                    () = self.shared.closing() => {}
                }
            };
            let in_time = match deadline {
                Some(deadline) if deadline <= Instant::now() => false,
                Some(deadline) => timeout_at(deadline, free).await.is_ok(),
                None => {
                    free.await;
                    true
                }
            };
            if !in_time {
                return Err(Error::LockTimeout { name: self.name.into(), waited: self.wait.unwrap_or_default() });
            }
        }
    }
}

awaited!(Lock => Result<LockGuard, Error>);

fn limited(ttl: Ttl, name: &str) -> Result<Ttl, Error> {
    if ttl == Ttl::FOREVER { Err(Error::LockWithoutEnd { name: name.into() }) } else { Ok(ttl) }
}

/// A lock that is held: renewed at a third of its time to live while this lives, and given up when it is dropped.
#[derive(Debug)]
pub struct LockGuard {
    holding: Arc<Holding>,
    fence: u64,
    renewal: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Holding {
    shared: Arc<Shared>,
    name: Box<str>,
    token: LockToken,
    ttl: Mutex<Ttl>,
    lost: watch::Sender<bool>,
}

impl LockGuard {
    fn new(shared: &Arc<Shared>, name: &str, ttl: Ttl, grant: &Grant, asked: Instant) -> Self {
        let holding = Holding {
            shared: Arc::clone(shared),
            name: name.into(),
            token: grant.token,
            ttl: Mutex::new(ttl),
            lost: watch::Sender::new(false),
        };
        let guard = Self { holding: Arc::new(holding), fence: grant.fence, renewal: Mutex::default() };
        guard.renew_from(asked);
        guard
    }

    /// The name of the lock.
    pub fn name(&self) -> &str {
        &self.holding.name
    }

    /// Larger than in every earlier holding of this name, for what the lock protects to check.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Whether the lock is known to be lost: its time ran out before it was renewed, and another may hold it.
    pub fn is_lost(&self) -> bool {
        *self.holding.lost.borrow()
    }

    /// Waits until the lock is known to be lost. For `select!`, beside the work that it guards.
    pub async fn lost(&self) {
        // Its sender is in here.
        let _ = self.holding.lost.subscribe().wait_for(|lost| *lost).await;
    }

    /// Starts the time to live anew with `ttl`, which also counts for renewals from now on.
    ///
    /// # Errors
    ///
    /// [`Error::LockLost`] where it was lost, [`Error::InvalidTtl`] and [`Error::LockWithoutEnd`] as for
    /// [`Cache::lock`](crate::Cache::lock).
    pub async fn extend(&self, ttl: impl Into<Span>) -> Result<(), Error> {
        let ttl = limited(ttl.into().ttl(&self.holding.shared.classes)?, self.name())?;
        let asked = Instant::now();
        if !self.holding.renew(ttl).await? {
            return Err(self.holding.is_lost());
        }
        *self.holding.ttl.lock() = ttl;
        self.renew_from(asked);
        Ok(())
    }

    /// Gives the lock up, and says whether it was held until now. Dropping the guard does the same and says nothing.
    ///
    /// # Errors
    ///
    /// [`Error::LockLost`] where it was lost already; a lock of somebody else's is left alone.
    pub async fn release(mut self) -> Result<(), Error> {
        self.stop();
        let released = self.holding.release().await;
        // Not once more by `drop`.
        let _ = self.holding.lost.send_replace(true);
        if released? { Ok(()) } else { Err(Error::LockLost { name: self.name().into() }) }
    }

    fn renew_from(&self, asked: Instant) {
        let task = tokio::spawn(keep(Arc::clone(&self.holding), asked));
        if let Some(before) = self.renewal.lock().replace(task) {
            before.abort();
        }
    }

    fn stop(&mut self) {
        if let Some(task) = self.renewal.get_mut().take() {
            task.abort();
        }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.stop();
        if self.is_lost() {
            return;
        }
        let holding = Arc::clone(&self.holding);
        if let Some(released) = holding.release_at_once() {
            if !released {
                holding.lost_before_release();
            }
        } else {
            let shared = Arc::clone(&holding.shared);
            shared.backend().spawn(async move {
                if matches!(holding.release().await, Ok(false)) {
                    holding.lost_before_release();
                }
            });
        }
    }
}

/// Ends with its guard, if not before: a lock that nobody can release any longer must run out.
async fn keep(holding: Arc<Holding>, asked: Instant) {
    let ttl = *holding.ttl.lock();
    if let (Ok(backend), Ok(name)) = (holding.shared.open(), holding.key()) {
        tokio::select! {
            () = backend.keep(name, holding.token, ttl, asked.elapsed()) => {}
            () = holding.shared.closing() => {}
        }
    }
    holding.is_lost();
}

impl Holding {
    async fn renew(&self, ttl: Ttl) -> Result<bool, Error> {
        if *self.lost.borrow() {
            return Ok(false);
        }
        self.shared.open()?.renew(self.key()?, self.token, ttl).await
    }

    async fn release(&self) -> Result<bool, Error> {
        self.shared.backend().release(self.key()?, self.token).await
    }

    /// Where the backend needs no waiting.
    fn release_at_once(&self) -> Option<bool> {
        self.shared.backend().release_at_once(self.key().ok()?, self.token)
    }

    fn is_lost(&self) -> Error {
        self.lost.send_replace(true);
        Error::LockLost { name: self.name.clone() }
    }

    fn lost_before_release(&self) {
        tracing::warn!(
            lock = &*self.name,
            "a lock was lost before it was released: its holder took longer than its ttl"
        );
    }

    fn key(&self) -> Result<Key<'_>, Error> {
        Ok(Key::new(&self.name)?)
    }
}

const DEFAULT_WAIT: Duration = Duration::from_secs(10);
