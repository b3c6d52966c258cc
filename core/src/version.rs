//! Version: one count that orders loads against invalidations by tag.
//!
//! A load takes a ticket when it begins; an invalidation takes one when it happens and writes it on its tags. What was loaded
//! under ticket `n` is dead as soon as one of its tags carries more than `n`: nothing has to be found or visited, so
//! invalidating a tag costs the same for one entry as for a million.
//!
//! Growth is by distinct tags. A tag that no entry carries is forgotten, and its version raises the floor from which tags
//! start when they are met again: a load that began before the forgotten invalidation is still refused.
//!
//! Must not know what carries a tag. Its lock is a leaf: nothing else is locked while it is held.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use crate::chance::Hasher;
use crate::index::Index;
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::tag::{InvalidTag, check_tags};

/// A place in the order of loads and tag invalidations. Larger is later; unique within one cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(NonZeroU64);

impl Ticket {
    /// The ticket as a number, for hosts that have only numbers. Never zero.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The ticket that a host was given as a number; zero, which is none, stands for the first.
    pub const fn from_number(number: u64) -> Self {
        Self::after(number.saturating_sub(1))
    }

    const fn after(number: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(number))
    }
}

/// The tags that an entry carries. Empty costs nothing but a pointer, in the row of every entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct TagSet(Option<Box<Carried>>);

#[derive(Clone, Debug)]
struct Carried(Box<[Arc<Tag>]>);

#[derive(Debug)]
struct Tag {
    name: Box<str>,
    version: AtomicU64,
}

impl TagSet {
    /// Whether one of the tags was invalidated after this ticket was taken, which nobody asks for where there are no tags.
    #[inline(always)]
    pub(crate) fn moved_since(&self, ticket: impl FnOnce() -> Ticket) -> bool {
        match &self.0 {
            None => false,
            Some(tags) => Self::any_moved_since(&tags.0, ticket()),
        }
    }

    fn any_moved_since(tags: &[Arc<Tag>], ticket: Ticket) -> bool {
        tags.iter().any(|tag| tag.version.load(Ordering::Acquire) > ticket.get())
    }

    /// What it takes of the capacity, in bytes: of each tag as large a share as there are who carry it by now.
    pub(crate) fn weight(&self) -> u64 {
        let Some(tags) = &self.0 else { return 0 };
        let share = |tag: &Arc<Tag>| {
            let carriers = Arc::strong_count(tag) - 1; // the table has it, too
            (tag.name.len() as u64 + TAG_OVERHEAD) / carriers.max(1) as u64
        };
        let lists = 2 * ALLOCATION + size_of::<Carried>() as u64;
        lists + tags.0.iter().map(|tag| share(tag) + size_of::<Arc<Tag>>() as u64).sum::<u64>()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|tags| &tags.0).map(|tag| &*tag.name)
    }
}

/// The count that tickets are drawn from.
#[derive(Debug, Default)]
pub(crate) struct Tickets(AtomicU64);

impl Tickets {
    /// The next one.
    pub(crate) fn next(&self) -> Ticket {
        Ticket::after(self.0.fetch_add(1, Ordering::AcqRel))
    }
}

/// All tags of a cache with their versions, which are drawn from the same count as the tickets of loads.
#[derive(Debug)]
pub(crate) struct Versions {
    tickets: Tickets,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    tags: Vec<Arc<Tag>>,
    index: Index,
    hasher: Hasher,
    /// The highest version that was forgotten: where tags start.
    floor: u64,
    /// Forget what nobody carries once there are this many.
    prune_at: usize,
}

impl Versions {
    pub(crate) fn new(hasher: Hasher) -> Self {
        let table = Table { tags: Vec::new(), index: Index::default(), hasher, floor: 0, prune_at: PRUNE_FROM };
        Self { tickets: Tickets::default(), table: Mutex::new(table) }
    }

    /// The next ticket.
    pub(crate) fn ticket(&self) -> Ticket {
        self.tickets.next()
    }

    /// The tags of these names, made where they are new.
    pub(crate) fn tags<N: AsRef<str>>(&self, names: &[N]) -> Result<TagSet, InvalidTag> {
        if names.is_empty() {
            return Ok(TagSet(None));
        }
        check_tags(names)?;
        let mut table = self.table.lock();
        let mut tags: Vec<Arc<Tag>> = Vec::with_capacity(names.len());
        for name in names {
            if let Err(place) = tags.binary_search_by(|tag| (*tag.name).cmp(name.as_ref())) {
                tags.insert(place, table.tag(name.as_ref()));
            }
        }
        drop(table);
        Ok(TagSet(Some(Box::new(Carried(tags.into())))))
    }

    /// Makes dead whatever carries one of these tags and began to load before this call. Gives how many tags were named.
    pub(crate) fn invalidate<N: AsRef<str>>(&self, names: &[N]) -> Result<u64, InvalidTag> {
        let tags = self.tags(names)?;
        let version = self.ticket();
        let Some(tags) = tags.0 else { return Ok(0) };
        for tag in &tags.0 {
            tag.version.fetch_max(version.get(), Ordering::AcqRel);
        }
        Ok(tags.0.len() as u64)
    }

    /// How many distinct tags are remembered.
    pub(crate) fn len(&self) -> usize {
        self.table.lock().tags.len()
    }
}

impl Table {
    fn tag(&mut self, name: &str) -> Arc<Tag> {
        let hash = self.hasher.hash(name) as u32;
        let tags = &self.tags;
        if let Some(tag) = self.index.find(hash, |row| Some(&tags[row as usize]).filter(|tag| *tag.name == *name)) {
            return Arc::clone(tag);
        }
        if self.tags.len() >= self.prune_at {
            self.prune();
        }
        let tag = Arc::new(Tag { name: name.into(), version: AtomicU64::new(self.floor) });
        self.index.add(hash, self.tags.len() as u32);
        self.tags.push(Arc::clone(&tag));
        tag
    }

    /// Forgets the tags that nobody carries. Only this table hands them out, so a count of one stays one while it is locked.
    fn prune(&mut self) {
        let mut floor = self.floor;
        self.tags.retain(|tag| {
            let carried = Arc::strong_count(tag) > 1;
            if !carried {
                floor = floor.max(tag.version.load(Ordering::Acquire));
            }
            carried
        });
        self.index.clear();
        for (row, tag) in self.tags.iter().enumerate() {
            self.index.add(self.hasher.hash(&tag.name) as u32, row as u32);
        }
        self.floor = floor;
        self.prune_at = (self.tags.len() * 2).max(PRUNE_FROM);
    }
}

const PRUNE_FROM: usize = 1_024;

/// What an allocation costs besides what is asked for, about.
const ALLOCATION: u64 = 16;

/// What a tag costs besides its name: itself, its row in the table, which is at least half full, and two allocations.
const TAG_OVERHEAD: u64 =
    (size_of::<Tag>() + 2 * size_of::<usize>() + 2 * size_of::<Arc<Tag>>()) as u64 + 2 * ALLOCATION;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::{Chance, Seed};

    fn versions() -> Versions {
        Versions::new(Chance::new(Seed(7)).hasher(Seed(7)))
    }

    #[test]
    fn an_invalidated_tag_is_newer_than_the_loads_before_it_and_older_than_those_after() {
        let versions = versions();
        let before = versions.ticket();
        let tags = versions.tags(&["jobs", "users"]).unwrap();
        assert!(!tags.moved_since(|| before));
        versions.invalidate(&["users"]).unwrap();
        assert!(tags.moved_since(|| before));
        assert!(!tags.moved_since(|| versions.ticket()));
    }

    #[test]
    fn a_load_that_names_its_tags_late_still_sees_what_was_invalidated_meanwhile() {
        let versions = versions();
        let begun = versions.ticket();
        versions.invalidate(&["jobs"]).unwrap();
        assert!(versions.tags(&["jobs"]).unwrap().moved_since(|| begun));
    }

    #[test]
    fn forgotten_tags_keep_refusing_the_loads_that_began_before_their_invalidation() {
        let versions = versions();
        let begun = versions.ticket();
        versions.invalidate(&["once"]).unwrap();
        for number in 0..PRUNE_FROM * 4 {
            versions.tags(&[format!("tag{number}")]).unwrap();
        }
        assert!(versions.len() <= PRUNE_FROM, "tags that nobody carries are forgotten");
        assert!(versions.tags(&["once"]).unwrap().moved_since(|| begun));
        assert!(!versions.tags(&["once"]).unwrap().moved_since(|| versions.ticket()));
    }

    #[test]
    fn a_tag_in_use_is_never_forgotten() {
        let versions = versions();
        let begun = versions.ticket();
        let held = versions.tags(&["held"]).unwrap();
        for number in 0..PRUNE_FROM * 4 {
            versions.tags(&[format!("tag{number}")]).unwrap();
        }
        versions.invalidate(&["held"]).unwrap();
        assert!(held.moved_since(|| begun));
    }

    #[test]
    fn the_weight_of_a_tag_is_shared_by_who_carries_it() {
        let versions = versions();
        assert_eq!(versions.tags::<&str>(&[]).unwrap().weight(), 0);
        let names = ["t".repeat(100), "u".repeat(100)];
        let carried: Vec<_> = (0..100).map(|_| versions.tags(&names).unwrap()).collect();
        let shared = carried[0].weight();
        assert!((48..80).contains(&shared), "{shared}");
        drop(carried);
        let alone = versions.tags(&names).unwrap().weight();
        assert!((350..450).contains(&alone), "{alone}");
    }

    #[test]
    fn a_tag_named_twice_counts_once() {
        let versions = versions();
        assert_eq!(versions.tags(&["a", "b", "a"]).unwrap().names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(versions.invalidate(&["a", "b", "a"]), Ok(2));
    }
}
