//! Words: what a cache is asked with and what it answers.

use alloc::vec::Vec;
use core::time::Duration;

use crate::cache::lease::Lease;
use crate::entry::Life;
use crate::flight::Joined;
use crate::version::{TagSet, Ticket};

/// How a value is to be stored.
#[derive(Clone, Debug)]
pub struct Fill {
    /// Until when it is fresh and usable: see [`Cache::life`](super::Cache::life).
    pub life: Life,
    /// What it weighs, in bytes, without its key.
    pub bytes: u64,
    /// What it can be invalidated by, besides its key: see [`Cache::tags`](super::Cache::tags).
    pub tags: Tags,
}

/// Names that were checked and found in the cache's table of tags. Empty by default.
#[derive(Clone, Debug, Default)]
pub struct Tags(pub(crate) TagSet);

/// What [`Cache::begin`](super::Cache::begin) is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask {
    pub(super) since: Option<Ticket>,
    pub(super) again: bool,
}

impl Ask {
    /// Any usable value, or a load.
    pub fn value() -> Self {
        Self::default()
    }

    /// A value whose load began after `since` was taken (by [`Cache::ticket`](super::Cache::ticket)), or such a load.
    pub fn newer_than(since: Ticket) -> Self {
        Self { since: Some(since), again: false }
    }

    /// The same once more, after waiting: the look-up was counted already.
    pub fn again(self) -> Self {
        Self { again: true, ..self }
    }
}

/// What to do next.
#[derive(Debug)]
pub enum Step<V: Clone, E: Clone> {
    /// Serve this.
    Done(V),
    /// Load under the lease. Until then this value may be served; should the load fail, it is served instead.
    Stale(V, Lease<V, E>),
    /// Load under the lease.
    Load(Lease<V, E>),
    /// Another loads: wait for it, but no longer than this, and then begin again.
    Join(Joined<V, E>, Duration),
}

/// What a plain read finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<V> {
    /// A fresh value.
    Hit(V),
    /// A value past its time to live, within its grace.
    Stale(V),
    /// Nothing that may be served.
    Miss,
}

/// What an invalidation removed. The caller drops the values, where it likes.
#[derive(Debug)]
pub struct Removed<V> {
    /// How many of them could still have been served.
    pub count: u64,
    /// All that left.
    pub values: Vec<V>,
}

/// A value with what is needed to replace exactly it.
#[derive(Clone, Debug)]
pub struct Seen<V> {
    /// The value.
    pub value: V,
    /// What it was stored under: see [`Cache::swap`](super::Cache::swap).
    pub ticket: Ticket,
    /// Until when it lives.
    pub life: Life,
}
