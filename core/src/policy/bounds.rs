//! Bounds: how much may be held, of all values and of those in the window.
//!
//! Must not know what is held.

use super::share::Share;

/// How much may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most that all values may weigh together, in bytes; more than 2^62 is as good as 2^62.
    pub max_weight: u64,
    /// The most values, or `None` for as many as their weight allows.
    pub max_entries: Option<u64>,
    /// What a slot weighs that there is without a value, in bytes; zero where rows are no matter.
    pub idle_weight: u64,
}

/// How much values may be together, in number and weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) entries: u64,
    pub(super) weight: u64,
}

impl Most {
    /// Of all values. What is held, one that is over the bound, and what is idle: no sum of them wraps.
    pub(super) fn of(bounds: Bounds) -> Self {
        Self { entries: bounds.max_entries.unwrap_or(u64::MAX), weight: bounds.max_weight.min(1 << 62) }
    }

    /// The window's part of it: room for one value at least.
    pub(super) fn in_window(self, share: &Share) -> Self {
        Self { entries: share.of(self.entries).max(1), weight: share.of(self.weight) }
    }

    pub(super) const fn is_less_than(self, entries: u64, weight: u64) -> bool {
        weight > self.weight || entries > self.entries
    }
}
