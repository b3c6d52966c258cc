//! Targets: a bounded set of invalidations, each with a mark.
//!
//! Must not know what a mark means. Invariants: each target is in it once; the counts are those of what is in it.

use alloc::vec;
use alloc::vec::Vec;

use super::{MAX_NAMES, MAX_PATTERNS, Target};
use crate::sorted::Sorted;

/// Targets, each with a mark that only rises: everything, and beside it what was put in after.
#[derive(Debug)]
pub(super) struct Targets<M> {
    pub(super) everything: Option<M>,
    pub(super) others: Sorted<Target, M>,
    /// How many keys, patterns and tags the others are.
    pub(super) counts: [usize; 3],
    pub(super) bounds: [usize; 3],
}

#[derive(PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    None,
}

impl<M> Targets<M> {
    pub(super) fn is_empty(&self) -> bool {
        self.everything.is_none() && self.others.is_empty()
    }

    /// Puts `target` in, or marks it anew.
    pub(super) fn put(&mut self, target: &Target, mark: M) -> Room {
        let Some(kind) = kind(target) else {
            *self = Self { everything: Some(mark), bounds: self.bounds, ..Self::default() };
            return Room::Enough;
        };
        if let Some(known) = self.others.get_mut(target) {
            *known = mark;
        } else if self.counts[kind] == self.bounds[kind] {
            return Room::None;
        } else {
            self.counts[kind] += 1;
            self.others.insert(target.clone(), mark);
        }
        Room::Enough
    }

    /// Whether there is what may mean any key.
    pub(super) fn means_many(&self) -> bool {
        self.everything.is_some() || self.counts[PATTERNS] > 0
    }

    pub(super) fn has_key(&self, key: &str) -> bool {
        self.others.get(&Target::Key(key.into())).is_some()
    }

    pub(super) fn tags(&self) -> impl Iterator<Item = &str> {
        self.others.keys().filter_map(|target| if let Target::Tag(tag) = target { Some(&**tag) } else { None })
    }

    pub(super) fn keep(&mut self, stays: impl Fn(&Target, &M) -> bool) {
        self.everything = self.everything.take().filter(|mark| stays(&Target::Everything, mark));
        self.others.retain(|target, mark| {
            let stays = stays(target, mark);
            if let (false, Some(kind)) = (stays, kind(target)) {
                self.counts[kind] -= 1;
            }
            stays
        });
    }

    pub(super) fn list(&self) -> Vec<Target> {
        if self.everything.is_some() { vec![Target::Everything] } else { self.others.keys().cloned().collect() }
    }
}

impl<M> Default for Targets<M> {
    fn default() -> Self {
        Self { everything: None, others: Sorted::default(), counts: [0; 3], bounds: BOUNDS }
    }
}

/// Where a target is counted; everything is not.
pub(super) fn kind(target: &Target) -> Option<usize> {
    match target {
        Target::Key(_) => Some(0),
        Target::Pattern(_) => Some(PATTERNS),
        Target::Tag(_) => Some(2),
        Target::Everything => None,
    }
}

const PATTERNS: usize = 1;

/// How many keys, patterns and tags are kept one by one.
const BOUNDS: [usize; 3] = [MAX_NAMES, MAX_PATTERNS, MAX_NAMES];
