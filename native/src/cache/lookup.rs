//! Lookup: a hit, or a miss that holds the right to load, for loads that do not fit into a closure.
//!
//! Between the look-up and the fill an invalidation voids the miss, so that what was read before it is never stored after it.

use std::convert::Infallible;
use std::sync::Arc;

use donjon_core::key::Key;

use super::Mode;
use super::backend::{Lease, Want};
use super::call::{Call, options};
use super::load::{Looked, encode, keep, look};
use super::shared::Shared;
use super::terms::Wanted;
use crate::error::{Error, Failure};
use crate::payload::Payload;
use crate::value::{Decode, Encode};

/// What [`Cache::lookup`](crate::Cache::lookup) finds.
#[derive(Debug)]
pub enum Found<T> {
    /// A value.
    Hit(T),
    /// None, and the right to load it.
    Miss(Miss),
}

/// The right to load a key that has no value.
///
/// Others who ask for the key wait until this is filled, failed or dropped, and so does who holds it, should he ask for the
/// key again instead of filling it: he waits for himself, until `load_timeout` ends it.
#[derive(Debug)]
pub struct Miss {
    shared: Arc<Shared>,
    lease: Lease,
}

pub(super) async fn lookup<T: Decode>(shared: &Arc<Shared>, mode: Mode, key: &str) -> Result<Found<T>, Error> {
    let backend = shared.open()?;
    let key = Key::new(key)?;
    // Another's failure is not this caller's, who may load in another way.
    let none = |_| None::<Infallible>;
    match look(shared, backend, key, Want { mode: Some(mode), ..Want::default() }, none).await {
        Ok(Looked::Value(value)) => Ok(Found::Hit(value)),
        Ok(Looked::Load(lease)) => Ok(Found::Miss(Miss { shared: Arc::clone(shared), lease })),
        Err(never) => match never {},
    }
}

impl Miss {
    /// The key to load.
    pub fn key(&self) -> &str {
        self.lease.key()
    }

    /// Stores what was loaded, unless something was invalidated since the look-up: await it to know whether it did.
    ///
    /// # Errors
    ///
    /// When awaited: as [`Cache::set`](crate::Cache::set), but for values that are too large, which are not stored.
    pub fn fill(self, value: &(impl Encode + ?Sized)) -> Fill {
        let payload = encode(self.key(), value);
        Fill { miss: self, payload, wanted: Wanted::default() }
    }

    /// Gives the load up and hands the error to those who wait for it, where they expect its type; others load themselves.
    pub fn fail<E: Send + Sync + 'static>(self, error: E) {
        drop(self.lease.fail(Failure::Loader(Arc::new(error))));
    }
}

/// What was loaded for a [`Miss`]. Await it; see [`Miss::fill`].
#[must_use = "nothing is stored before it is awaited"]
#[derive(Debug)]
pub struct Fill {
    miss: Miss,
    payload: Result<Payload, Error>,
    wanted: Wanted,
}

impl Fill {
    options!(ttl, grace, tags);

    async fn run(self) -> Result<bool, Error> {
        let Miss { shared, lease } = self.miss;
        shared.open()?;
        let terms = self.wanted.terms(&shared.classes)?;
        keep(lease, self.payload, &terms).await
    }
}

impl IntoFuture for Fill {
    type Output = Result<bool, Error>;
    type IntoFuture = Call<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
