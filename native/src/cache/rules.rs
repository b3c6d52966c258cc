//! Rules: which event makes which keys, patterns and tags invalid.

use std::borrow::Cow;
use std::collections::HashMap;

use donjon_core::rules::{Plan, Targets};

use super::shared::Shared;
use crate::error::Error;

/// The invalidation rules of a cache; see [`Cache::rules`](crate::Cache::rules).
#[derive(Debug)]
pub struct Rules<'a>(&'a Shared);

impl<'a> Rules<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self(shared)
    }

    /// From now on, `event` invalidates `targets`: an event by its name, or `job.*` for every event of jobs.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRule`] where a template in it cannot be read, or nothing would be invalidated.
    pub fn on(&self, event: &str, targets: Targets<'_>) -> Result<(), Error> {
        Ok(self.0.rules.write().on(event, targets)?)
    }

    pub(super) fn plan<N: AsRef<str>>(
        &self,
        event: &str,
        values: impl IntoIterator<Item = (N, impl ToString)>,
    ) -> Result<Plan, Error> {
        let values: HashMap<String, String> =
            values.into_iter().map(|(name, value)| (name.as_ref().to_owned(), value.to_string())).collect();
        let value = |name: &str| values.get(name).map(|value| Cow::Borrowed(value.as_str()));
        Ok(self.0.rules.read().plan(event, value)?)
    }
}
