//! Promises: which versions of the source nobody may be served any more.
//!
//! Owns what was invalidated for everyone, and when, and what each process invalidated itself. Must not know how that was done.

use std::collections::BTreeMap;

use donjon_core::moment::Moment;

use crate::machine::Owner;

/// How many keys there are.
pub const KEYS: usize = 3;

/// A version of each key; zero where there is none.
pub type Versions = [u64; KEYS];

/// Everything that was promised.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// To everyone, in the order of time.
    all: Vec<(Moment, Versions)>,
    now: Versions,
    own: BTreeMap<Owner, Own>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Own {
    now: Versions,
    /// Of these, what the process says again to a server that takes over.
    lasting: Versions,
}

impl Promises {
    /// An invalidation of these versions returned, which Redis had done.
    pub fn make(&mut self, versions: Versions, at: Moment) {
        self.now = later(self.now, versions);
        self.all.push((at, self.now));
    }

    /// An invalidation by this process returned, be it done or owed. One that is not said again does not outlast a failover.
    pub fn make_own(&mut self, owner: Owner, versions: Versions, is_lasting: bool) {
        let own = self.own.entry(owner).or_default();
        own.now = later(own.now, versions);
        if is_lasting {
            own.lasting = later(own.lasting, versions);
        }
    }

    /// A server took over that has what was there at the time of `then`: what was promised since is lost, save to those who promised.
    pub fn fail_over(&mut self, then: &Self) {
        let own = std::mem::take(&mut self.own);
        *self = Self { own, ..then.clone() };
        self.own.values_mut().for_each(|own| own.now = own.lasting);
    }

    /// A process is no more.
    pub fn forget(&mut self, owner: Owner) {
        self.own.remove(&owner);
    }

    /// What a process may not be served any less than, and what of it outlasts a failover.
    pub fn to(&self, owner: Owner, key: usize) -> (u64, u64) {
        let own = self.own.get(&owner).copied().unwrap_or_default();
        (self.now[key].max(own.now[key]), own.lasting[key])
    }

    /// The same for what is in its memory, which may be late by what was promised after `then`.
    pub fn to_memory(&self, owner: Owner, key: usize, then: Moment) -> u64 {
        let known = self.all.iter().rev().find(|(at, _)| *at <= then).map_or(0, |(_, versions)| versions[key]);
        known.max(self.own.get(&owner).map_or(0, |own| own.now[key]))
    }

    /// For how long a version has been one that should not be served.
    pub fn late_since(&self, key: usize, version: u64) -> Option<Moment> {
        self.all.iter().find(|(_, versions)| versions[key] > version).map(|(at, _)| *at)
    }
}

fn later(one: Versions, other: Versions) -> Versions {
    std::array::from_fn(|key| one[key].max(other[key]))
}
