//! Explained: what is known of one key, for people who wonder why it is served, or why not.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::cache::Cache;
use crate::entry::{Freshness, Life, Removal, Weight};
use crate::key::Key;
use crate::moment::Moment;

/// What the cache knows of a key, for people who wonder why.
#[derive(Clone, Debug)]
pub struct Explained {
    /// How its value stands, where it has one that may be served.
    pub freshness: Option<Freshness>,
    /// Until when that value lives.
    pub life: Option<Life>,
    /// How long ago it was stored.
    pub age: Option<Duration>,
    /// How long its loader took; zero for what was set by hand.
    pub load_time: Option<Duration>,
    /// What the entry weighs.
    pub weight: Option<Weight>,
    /// The tags of the value.
    pub tags: Vec<String>,
    /// Whether a tag of the value was invalidated, so that it is not served.
    pub tag_invalidated: bool,
    /// For how long a load has been under way.
    pub loading: Option<Duration>,
    /// Why its last value left and how long ago, where that is not too many removals back.
    pub last_removal: Option<(Removal, Duration)>,
}

impl Explained {
    /// `fresh`, `stale` or `absent`.
    pub fn state(&self) -> &'static str {
        match self.freshness {
            Some(Freshness::Fresh) => "fresh",
            Some(_) => "stale",
            None => "absent",
        }
    }

    /// Why there is nothing to serve, in a word; `None` where there is.
    pub fn why_absent(&self) -> Option<&'static str> {
        match (self.freshness, self.tag_invalidated, self.last_removal) {
            (Some(_), ..) => None,
            (None, true, _) => Some("tag invalidated"),
            (None, false, Some((Removal::Invalidated, _))) => Some("invalidated"),
            (None, false, Some((Removal::Evicted, _))) => Some("evicted"),
            (None, false, Some((Removal::Expired, _))) => Some("expired"),
            (None, false, Some((Removal::Replaced, _)) | None) => {
                Some("never stored, or too long ago to be remembered")
            }
        }
    }
}

impl<V: Clone, E: Clone> Cache<V, E> {
    /// Says what is known of a key. Counts nothing.
    pub fn explain(&self, key: Key<'_>, now: Moment) -> Explained {
        let (hash, shard) = self.place(key);
        let rows = shard.rows.read();
        let slot = rows.find(hash, key.as_str());
        let usable = slot.and_then(|slot| rows.usable(slot, now));
        let held = usable.map(|(_, held)| held);
        Explained {
            freshness: usable.map(|(freshness, _)| freshness),
            life: held.and(slot).and_then(|slot| rows.life(slot)),
            age: held.and(slot).map(|slot| now - rows.stored(slot)),
            load_time: held.and(slot).map(|slot| rows.load_time(slot)),
            weight: held.and(slot).and_then(|slot| rows.weight(slot)),
            tags: held.map(|held| held.tags.names().map(Into::into).collect()).unwrap_or_default(),
            tag_invalidated: slot.is_some_and(|slot| rows.tag_invalidated(slot)),
            loading: slot.and_then(|slot| rows.flight(slot)).map(|flight| now - flight.begun),
            last_removal: match slot.and_then(|slot| rows.over(slot, now)) {
                Some(since) => Some((Removal::Expired, now - since)),
                None => rows.last_removal(hash).map(|(why, when)| (why, now - when)),
            },
        }
    }
}
