//! Warm: fills the cache before anybody asks, with bounded concurrency.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use donjon_core::remote::Storing;
use futures_util::{StreamExt, stream};

use super::backend::Want;
use super::call::{Call, options};
use super::load::load;
use super::shared::Shared;
use super::terms::Wanted;
use crate::error::{Error, LoadError};
use crate::value::{Decode, Encode};

/// Keys to be loaded before anybody asks. Await it; see [`Cache::warm`](crate::Cache::warm).
#[must_use = "nothing is loaded before it is awaited"]
#[derive(Debug)]
pub struct Warm<'a, F> {
    shared: &'a Arc<Shared>,
    names: Vec<String>,
    loader: F,
    concurrency: NonZeroUsize,
    wanted: Wanted,
}

/// What became of each key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WarmReport<E> {
    /// Keys that have a new value.
    pub loaded: u64,
    /// Keys that had a fresh one already.
    pub skipped: u64,
    /// Keys without one, and why.
    pub errors: HashMap<String, LoadError<E>>,
}

impl<'a, F> Warm<'a, F> {
    pub(super) fn new<N: Into<String>>(shared: &'a Arc<Shared>, names: impl IntoIterator<Item = N>, loader: F) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self { shared, names, loader, concurrency: DEFAULT_CONCURRENCY, wanted: Wanted::default() }
    }

    /// How many loads to run at a time. Default: 8.
    pub fn concurrency(mut self, concurrency: NonZeroUsize) -> Self {
        self.concurrency = concurrency;
        self
    }

    options!(ttl, grace, tags);
}

impl<'a, T, E, F, Fut> IntoFuture for Warm<'a, F>
where
    F: Fn(String) -> Fut + Send + Sync + 'a,
    Fut: Future<Output = Result<T, E>> + Send + 'a,
    T: Encode + Decode + Send + 'a,
    E: Send + Sync + 'static,
{
    type Output = Result<WarmReport<E>, Error>;
    type IntoFuture = Call<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

async fn run<T, E, F, Fut>(warm: Warm<'_, F>) -> Result<WarmReport<E>, Error>
where
    F: Fn(String) -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, E>> + Send,
    T: Encode + Decode + Send,
    E: Send + Sync + 'static,
{
    let Warm { shared, names, loader, concurrency, wanted } = warm;
    shared.open()?;
    let terms = wanted.terms(&shared.classes)?;
    let ends: Vec<_> = stream::iter(names)
        .map(|name| one(shared, name, &loader, &terms))
        .buffer_unordered(concurrency.get())
        .collect()
        .await;
    let mut report = WarmReport { loaded: 0, skipped: 0, errors: HashMap::new() };
    for (name, end) in ends {
        match end {
            Ok(true) => report.loaded += 1,
            Ok(false) => report.skipped += 1,
            Err(error) => drop(report.errors.insert(name, error)),
        }
    }
    Ok(report)
}

/// Whether it was loaded; where another loaded it meanwhile, there was nothing left to do.
async fn one<T, E, F, Fut>(
    shared: &Arc<Shared>,
    name: String,
    loader: &F,
    terms: &Storing,
) -> (String, Result<bool, LoadError<E>>)
where
    F: Fn(String) -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, E>> + Send,
    T: Encode + Decode + Send,
    E: Send + Sync + 'static,
{
    let ran = AtomicBool::new(false);
    let counted = || {
        ran.store(true, Ordering::Relaxed);
        loader(name.clone())
    };
    let end = load(shared, &name, counted, terms, Want::default()).await.map(|_: T| ran.load(Ordering::Relaxed));
    (name, end)
}

const DEFAULT_CONCURRENCY: NonZeroUsize = NonZeroUsize::new(8).expect("it is not zero");
