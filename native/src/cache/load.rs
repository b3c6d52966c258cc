//! Load: from a key to its value, loaded at most once for everyone who asks.
//!
//! A load runs in its caller's own task. However that ends, the right to load goes with it, so that nobody waits for a load
//! that is no more. Who loads, who waits and what is stored are the backend's decisions.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use donjon_core::key::Key;
use donjon_core::remote::Storing;

use super::Mode;
use super::backend::{Backend, Begun, Lease, Want};
use super::call::{Call, options};
use super::loading;
use super::shared::Shared;
use super::terms::Wanted;
use crate::error::{Error, Failure, LoadError};
use crate::payload::Payload;
use crate::value::{Decode, Encode};

/// A value to be had, loaded where there is none. Await it; see [`Cache::get_or_set`](crate::Cache::get_or_set).
#[must_use = "nothing is looked up or loaded before it is awaited"]
#[derive(Debug)]
pub struct GetOrSet<'a, F> {
    shared: &'a Arc<Shared>,
    mode: Mode,
    key: &'a str,
    loader: F,
    wanted: Wanted,
    forced: bool,
    /// Whether this look-up was counted already.
    counted: bool,
}

impl<'a, F> GetOrSet<'a, F> {
    pub(super) fn new(shared: &'a Arc<Shared>, mode: Mode, key: &'a str, loader: F) -> Self {
        Self { shared, mode, key, loader, wanted: Wanted::default(), forced: false, counted: false }
    }

    options!(ttl, grace, tags);

    /// Loads anew whatever is there, or joins a load that began after this call.
    pub fn force_refresh(mut self) -> Self {
        self.forced = true;
        self
    }
}

impl<'a, T, E, F, Fut> IntoFuture for GetOrSet<'a, F>
where
    F: FnOnce() -> Fut + Send + 'a,
    Fut: Future<Output = Result<T, E>> + Send + 'a,
    T: Encode + Decode + Send + 'a,
    E: Send + Sync + 'static,
{
    type Output = Result<T, LoadError<E>>;
    type IntoFuture = Getting<'a, F, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Getting { state: State::New(self) }
    }
}

/// The future of [`GetOrSet`]. A value that is at hand costs it no allocation.
#[derive(Debug)]
pub struct Getting<'a, F, O> {
    state: State<'a, F, O>,
}

enum State<'a, F, O> {
    New(GetOrSet<'a, F>),
    Running(Call<'a, O>),
    Over,
}

impl<F, O> std::fmt::Debug for State<'_, F, O> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::New(_) => "New",
            Self::Running(_) => "Running",
            Self::Over => "Over",
        })
    }
}

// The loader is moved out before it is run, never pinned in here.
impl<F, O> Unpin for Getting<'_, F, O> {}

impl<'a, T, E, F, Fut> Future for Getting<'a, F, Result<T, LoadError<E>>>
where
    F: FnOnce() -> Fut + Send + 'a,
    Fut: Future<Output = Result<T, E>> + Send + 'a,
    T: Encode + Decode + Send + 'a,
    E: Send + Sync + 'static,
{
    type Output = Result<T, LoadError<E>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut running = match std::mem::replace(&mut self.state, State::Over) {
            State::New(mut new) => {
                if let Some(value) = at_hand(&mut new) {
                    return Poll::Ready(Ok(value));
                }
                Box::pin(run(new)) as Call<'a, Self::Output>
            }
            State::Running(running) => running,
            State::Over => panic!("a future is not polled again once it is ready"),
        };
        let polled = running.as_mut().poll(context);
        if polled.is_pending() {
            self.state = State::Running(running);
        }
        polled
    }
}

/// The hot path: what is there and fresh.
fn at_hand<T: Decode, F>(new: &mut GetOrSet<'_, F>) -> Option<T> {
    if new.forced {
        return None;
    }
    let payload = new.shared.open().ok()?.hit(Key::new(new.key).ok()?, new.mode)?;
    new.counted = true;
    T::decode(&payload).ok()
}

async fn run<T, E, F, Fut>(new: GetOrSet<'_, F>) -> Result<T, LoadError<E>>
where
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = Result<T, E>> + Send,
    T: Encode + Decode + Send,
    E: Send + Sync + 'static,
{
    let terms = new.wanted.terms(&new.shared.classes)?;
    let since = if new.forced { Some(new.shared.open()?.ticket()) } else { None };
    load(new.shared, new.key, new.loader, &terms, Want { since, again: new.counted, ..Want::default() }).await
}

/// The value of a key, loaded where there is none that is wanted.
pub(super) async fn load<T, E, F, Fut>(
    shared: &Arc<Shared>,
    key: &str,
    loader: F,
    terms: &Storing,
    want: Want,
) -> Result<T, LoadError<E>>
where
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = Result<T, E>> + Send,
    T: Encode + Decode + Send,
    E: Send + Sync + 'static,
{
    let backend = shared.open()?;
    let key = Key::new(key).map_err(Error::from)?;
    let want = Want { tags: Some(Arc::clone(&terms.tags)), ..want };
    match look(shared, backend, key, want, Failure::of).await? {
        Looked::Value(value) => Ok(value),
        Looked::Load(lease) => lead(shared, lease, loader, terms).await,
    }
}

/// What a look-up for a caller that can load comes to.
pub(super) enum Looked<T> {
    Value(T),
    Load(Lease),
}

/// Looks up, waiting for another's load where there is one. Its failure is what `fail` makes of it; where that is nothing, the
/// caller loads for itself.
pub(super) async fn look<T: Decode, X>(
    shared: &Arc<Shared>,
    backend: &Backend,
    key: Key<'_>,
    mut want: Want,
    fail: impl Fn(Failure) -> Option<X>,
) -> Result<Looked<T>, X> {
    want.own = loading::own(shared.id());
    // Once more for each way in which another's load can be of no use; after that, past it all.
    for _ in 0..3 {
        match backend.begin(key, want.clone()).await {
            Begun::Load(lease) => return Ok(Looked::Load(lease)),
            Begun::Value(payload) => match T::decode(&payload) {
                Ok(value) => return Ok(Looked::Value(value)),
                Err(why) => {
                    shared.notes.undecodable::<T>(key, &why);
                    want.since = Some(backend.ticket());
                }
            },
            Begun::Failed(failure) => {
                if let Some(error) = fail(failure) {
                    return Err(error);
                }
            }
        }
        want.again = true;
    }
    Ok(Looked::Load(backend.bypass(key).await))
}

async fn lead<T, E, F, Fut>(shared: &Arc<Shared>, lease: Lease, loader: F, terms: &Storing) -> Result<T, LoadError<E>>
where
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = Result<T, E>> + Send,
    T: Encode + Decode + Send,
    E: Send + Sync + 'static,
{
    // The loader is called inside, too: it may ask for something before it gives its future.
    match loading::load(shared.id(), vec![lease.ticket()], async { loader().await }).await {
        Ok(value) => {
            // Not across the wait: a value need not be shared between threads.
            let payload = encode(lease.key(), &value);
            keep(lease, payload, terms).await?;
            Ok(value)
        }
        Err(error) => {
            let error = Arc::new(error);
            let key = Box::<str>::from(lease.key());
            let stale = lease.fail(Failure::Loader(Arc::clone(&error) as _));
            match stale.and_then(|payload| T::decode(&payload).ok()) {
                Some(value) => {
                    shared.notes.served_stale::<E>(&key);
                    Ok(value)
                }
                None => Err(LoadError::Loader(error)),
            }
        }
    }
}

/// Ends a load well, or as badly for those who wait as for its caller where its value has no bytes. False where it was not
/// stored.
pub(super) async fn keep(lease: Lease, payload: Result<Payload, Error>, terms: &Storing) -> Result<bool, Error> {
    match payload {
        Ok(payload) => Ok(lease.fill(payload, terms).await),
        Err(error) => {
            drop(lease.fail(Failure::Cache(error.clone())));
            Err(error)
        }
    }
}

/// The bytes of a value that is meant for `key`.
pub(super) fn encode(key: &str, value: &(impl Encode + ?Sized)) -> Result<Payload, Error> {
    value.encode().map_err(|why| Error::UnsupportedValue { key: key.into(), why: why.to_string().into() })
}
