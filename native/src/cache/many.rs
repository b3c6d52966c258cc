//! Many: loading those of many keys that are missing, by one call of their loader.
//!
//! The missing keys are loaded before those of others are waited for, so that two callers whose keys overlap never wait for each
//! other. Only where such a load ends without a value is the loader called again, for that key.

use std::collections::HashMap;
use std::sync::Arc;

use donjon_core::key::Key;
use donjon_core::remote::Storing;
use donjon_core::version::Ticket;

use super::Mode;
use super::backend::{Backend, Begun, Lease, Want};
use super::call::{Call, options};
use super::load::{Looked, encode, keep, look};
use super::loading;
use super::shared::Shared;
use super::terms::Wanted;
use super::write::keys;
use crate::error::{Failure, LoadError};
use crate::value::{Decode, Encode};

/// Values to be had, loaded where there are none. Await them; see [`Cache::get_or_set_many`](crate::Cache::get_or_set_many).
#[must_use = "nothing is looked up or loaded before it is awaited"]
#[derive(Debug)]
pub struct GetOrSetMany<'a, F> {
    shared: &'a Arc<Shared>,
    mode: Mode,
    names: Vec<String>,
    loader: F,
    wanted: Wanted,
}

impl<'a, F> GetOrSetMany<'a, F> {
    pub(super) fn new<N: Into<String>>(
        shared: &'a Arc<Shared>,
        mode: Mode,
        names: impl IntoIterator<Item = N>,
        loader: F,
    ) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self { shared, mode, names, loader, wanted: Wanted::default() }
    }

    options!(ttl, grace, tags);
}

impl<'a, T, E, F, Fut> IntoFuture for GetOrSetMany<'a, F>
where
    F: Fn(Vec<String>) -> Fut + Send + Sync + 'a,
    Fut: Future<Output = Result<HashMap<String, T>, E>> + Send + 'a,
    T: Encode + Decode + Send + Sync + 'a,
    E: Send + Sync + 'static,
{
    type Output = Result<HashMap<String, T>, LoadError<E>>;
    type IntoFuture = Call<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

async fn run<T, E, F, Fut>(call: GetOrSetMany<'_, F>) -> Result<HashMap<String, T>, LoadError<E>>
where
    F: Fn(Vec<String>) -> Fut + Send + Sync,
    Fut: Future<Output = Result<HashMap<String, T>, E>> + Send,
    T: Encode + Decode + Send + Sync,
    E: Send + Sync + 'static,
{
    let GetOrSetMany { shared, mode, mut names, loader, wanted } = call;
    let backend = shared.open()?;
    names.sort_unstable();
    names.dedup();
    let keys = keys(&names)?;
    let terms = wanted.terms(&shared.classes)?;
    let mut found = HashMap::with_capacity(keys.len());

    let Round { leases, later } = begin(shared, backend, mode, &keys, &terms, &mut found).await;
    if !leases.is_empty() {
        found.extend(lead(shared, leases, &loader, &terms).await?);
    }
    for (key, since) in later {
        let want = Want { since, again: true, tags: Some(Arc::clone(&terms.tags)), ..Want::default() };
        match look(shared, backend, key, want, Failure::of).await? {
            Looked::Value(value) => drop(found.insert(key.as_str().to_owned(), value)),
            // At once: while this waited for another's load, somebody else would wait for this one.
            Looked::Load(lease) => found.extend(lead(shared, vec![lease], &loader, &terms).await?),
        }
    }
    Ok(found)
}

/// What is to be done after the first look.
struct Round<'a> {
    leases: Vec<Lease>,
    /// What others load, and, with a ticket, what has to be loaded anew since it cannot be read.
    later: Vec<(Key<'a>, Option<Ticket>)>,
}

async fn begin<'a, T: Decode>(
    shared: &Shared,
    backend: &Backend,
    mode: Mode,
    keys: &[Key<'a>],
    terms: &Storing,
    found: &mut HashMap<String, T>,
) -> Round<'a> {
    let mut round = Round { leases: Vec::new(), later: Vec::new() };
    for (key, begun) in keys.iter().zip(backend.begin_many(keys, mode, &terms.tags).await) {
        match begun {
            Some(Begun::Load(lease)) => round.leases.push(lease),
            Some(Begun::Value(payload)) => match T::decode(&payload) {
                Ok(value) => drop(found.insert(key.as_str().to_owned(), value)),
                Err(why) => {
                    shared.notes.undecodable::<T>(*key, &why);
                    round.later.push((*key, Some(backend.ticket())));
                }
            },
            Some(Begun::Failed(_)) | None => round.later.push((*key, None)),
        }
    }
    round
}

/// What one call of the loader gave for the keys of `leases`; a key that it left out has no value.
async fn lead<T, E, F, Fut>(
    shared: &Arc<Shared>,
    leases: Vec<Lease>,
    loader: &F,
    terms: &Storing,
) -> Result<HashMap<String, T>, LoadError<E>>
where
    F: Fn(Vec<String>) -> Fut + Send + Sync,
    Fut: Future<Output = Result<HashMap<String, T>, E>> + Send,
    T: Encode + Decode + Send + Sync,
    E: Send + Sync + 'static,
{
    let names: Vec<String> = leases.iter().map(|lease| lease.key().to_owned()).collect();
    let tickets = leases.iter().map(Lease::ticket).collect();
    match loading::load(shared.id(), tickets, async { loader(names).await }).await {
        Ok(mut given) => {
            let mut values = HashMap::with_capacity(leases.len());
            for lease in leases {
                if let Some((key, value)) = given.remove_entry(lease.key()) {
                    let payload = encode(&key, &value);
                    keep(lease, payload, terms).await?;
                    values.insert(key, value);
                }
            }
            Ok(values)
        }
        Err(error) => {
            let error = Arc::new(error);
            let mut stale = HashMap::with_capacity(leases.len());
            let (all, mut last) = (leases.len(), String::new());
            for lease in leases {
                let key = lease.key().to_owned();
                last.clone_from(&key);
                let payload = lease.fail(Failure::Loader(Arc::clone(&error) as _));
                stale.extend(payload.and_then(|payload| T::decode(&payload).ok()).map(|value| (key, value)));
            }
            if stale.len() < all {
                return Err(LoadError::Loader(error));
            }
            shared.notes.served_stale::<E>(&last);
            Ok(stale)
        }
    }
}
