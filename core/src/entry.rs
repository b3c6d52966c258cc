//! Entry: what the cache knows of a value besides its key: how long it lives, what it weighs, why it left.
//!
//! Must not know where the value is kept or what it means.

use core::num::NonZeroU64;

use crate::moment::Moment;

/// What one entry takes of the capacity, in bytes. Never zero, or evicting it would win nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(NonZeroU64);

impl Weight {
    /// A weight of `bytes`; zero counts as one.
    pub fn new(bytes: u64) -> Self {
        Self(NonZeroU64::new(bytes).unwrap_or(NonZeroU64::MIN))
    }

    /// Bytes.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// Until when a value is fresh, and until when it may still be served stale.
///
/// Invariant: `fresh_until <= usable_until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    fresh_until: Moment,
    usable_until: Moment,
}

impl Life {
    /// The life of what leaves only by eviction or invalidation.
    pub const FOREVER: Self = Self { fresh_until: Moment::NEVER, usable_until: Moment::NEVER };

    /// Fresh until the one moment, usable until the other; a grace that would end before freshness does counts as none.
    #[inline]
    pub fn new(fresh_until: Moment, usable_until: Moment) -> Self {
        Self { fresh_until, usable_until: usable_until.max(fresh_until) }
    }

    /// The same grace after another end of freshness. What was fresh for ever had no grace to keep.
    pub(crate) fn retimed(self, fresh_until: Moment) -> Self {
        let usable_until = match (self.fresh_until, self.usable_until) {
            (Moment::NEVER, _) => fresh_until,
            (_, Moment::NEVER) => Moment::NEVER,
            (fresh, usable) => fresh_until.after(usable - fresh),
        };
        Self::new(fresh_until, usable_until)
    }

    /// The first moment at which the value is no longer fresh.
    pub const fn fresh_until(self) -> Moment {
        self.fresh_until
    }

    /// The first moment at which the value may no longer be served at all.
    pub const fn usable_until(self) -> Moment {
        self.usable_until
    }

    /// Whether the value is fresh at `now`.
    #[inline(always)]
    pub fn is_fresh(self, now: Moment) -> bool {
        now < self.fresh_until || self.fresh_until == Moment::NEVER
    }

    /// How the value stands at `now`. What ends at a moment is over at that moment.
    #[inline]
    pub fn at(self, now: Moment) -> Freshness {
        if self.is_fresh(now) {
            Freshness::Fresh
        } else if now < self.usable_until || self.usable_until == Moment::NEVER {
            Freshness::Stale
        } else {
            Freshness::Over
        }
    }
}

/// How a value stands at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Within its time to live.
    Fresh,
    /// Past its time to live, within its grace.
    Stale,
    /// Past both: to be treated as absent.
    Over,
}

/// Why a value left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Removal {
    /// Another value took its place.
    Replaced,
    /// Somebody said so: its key, a pattern, a tag, or the whole namespace.
    Invalidated,
    /// Its time and its grace were over.
    Expired,
    /// There was no room for it.
    Evicted,
}
