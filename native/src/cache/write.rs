//! Write: the calls that store by hand.
//!
//! An explicit write is authoritative and never refused for what is being loaded; everything a caller can get wrong is found
//! before anything changes.

use std::sync::Arc;

use donjon_core::key::Key;

use super::call::{awaited, options};
use super::load::encode;
use super::shared::Shared;
use super::terms::Wanted;
use crate::error::Error;
use crate::payload::Payload;
use crate::value::Encode;

/// A value to be stored. Await it; see [`Cache::set`](crate::Cache::set).
#[must_use = "nothing is stored before it is awaited"]
#[derive(Debug)]
pub struct Set<'a> {
    shared: &'a Shared,
    key: &'a str,
    payload: Result<Payload, Error>,
    wanted: Wanted,
}

impl<'a> Set<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, key: &'a str, value: &(impl Encode + ?Sized)) -> Self {
        Self { shared, key, payload: encode(key, value), wanted: Wanted::default() }
    }

    options!(ttl, grace, tags);

    async fn run(self) -> Result<(), Error> {
        let backend = self.shared.open()?;
        let (key, terms, payload) = (Key::new(self.key)?, self.wanted.terms(&self.shared.classes)?, self.payload?);
        backend.set(key, payload, &terms).await
    }
}

awaited!(Set => Result<(), Error>);

/// Values to be stored. Await them; see [`Cache::set_many`](crate::Cache::set_many).
#[must_use = "nothing is stored before it is awaited"]
#[derive(Debug)]
pub struct SetMany<'a> {
    shared: &'a Shared,
    items: Vec<(String, Result<Payload, Error>)>,
    wanted: Wanted,
}

impl<'a> SetMany<'a> {
    pub(super) fn new<K: Into<String>>(
        shared: &'a Arc<Shared>,
        items: impl IntoIterator<Item = (K, impl Encode)>,
    ) -> Self {
        let items = items.into_iter().map(|(key, value)| {
            let key = key.into();
            let payload = encode(&key, &value);
            (key, payload)
        });
        Self { shared, items: items.collect(), wanted: Wanted::default() }
    }

    options!(ttl, grace, tags);

    async fn run(self) -> Result<(), Error> {
        let backend = self.shared.open()?;
        let terms = self.wanted.terms(&self.shared.classes)?;
        let (names, payloads): (Vec<_>, Vec<_>) = self.items.into_iter().unzip();
        let keys = keys(&names)?;
        let payloads = payloads.into_iter().collect::<Result<Vec<_>, _>>()?;
        backend.set_many(keys.into_iter().zip(payloads).collect(), &terms).await
    }
}

awaited!(SetMany => Result<(), Error>);

/// A value to be stored where there is none. Await it; see [`Cache::add`](crate::Cache::add).
#[must_use = "nothing is stored before it is awaited"]
#[derive(Debug)]
pub struct Add<'a> {
    shared: &'a Shared,
    key: &'a str,
    payload: Result<Payload, Error>,
    wanted: Wanted,
}

impl<'a> Add<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, key: &'a str, value: &(impl Encode + ?Sized)) -> Self {
        Self { shared, key, payload: encode(key, value), wanted: Wanted::default() }
    }

    options!(ttl);

    async fn run(self) -> Result<bool, Error> {
        let backend = self.shared.open()?;
        let (key, terms, payload) = (Key::new(self.key)?, self.wanted.terms(&self.shared.classes)?, self.payload?);
        backend.add(key, payload, &terms).await
    }
}

awaited!(Add => Result<bool, Error>);

/// A number to be added to. Await it; see [`Cache::incr`](crate::Cache::incr).
#[must_use = "nothing is counted before it is awaited"]
#[derive(Debug)]
pub struct Incr<'a> {
    shared: &'a Shared,
    key: &'a str,
    by: i64,
    wanted: Wanted,
}

impl<'a> Incr<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, key: &'a str, by: i64) -> Self {
        Self { shared, key, by, wanted: Wanted::default() }
    }

    options!(ttl);

    async fn run(self) -> Result<i64, Error> {
        let backend = self.shared.open()?;
        let (key, terms) = (Key::new(self.key)?, self.wanted.terms(&self.shared.classes)?);
        backend.incr(key, self.by, &terms).await
    }
}

awaited!(Incr => Result<i64, Error>);

/// Checks all keys before any is used; an error names the place of the bad one.
pub(super) fn keys(names: &[impl AsRef<str>]) -> Result<Vec<Key<'_>>, Error> {
    let check = |(index, name)| {
        let name: &str = AsRef::as_ref(name);
        Key::new(name).map_err(|why| Error::InvalidKey { index: Some(index), why })
    };
    names.iter().enumerate().map(check).collect()
}
