//! Writers: they change the source and then invalidate, as the contract asks, with whatever happens in between.

use std::cell::Cell;
use std::rc::Rc;

use donjon_core::cache::Fill;
use donjon_core::pattern::Pattern;

use crate::caller::{Caller, Told};
use crate::truth::{KEYS, Origin, Source, TAGS, TagBits, tags_of};
use crate::world::{MAX_BYTES, NAMES, World, key_of};

/// A change of the source that was committed and whose invalidation is still to come.
pub struct Change {
    what: What,
    committed: Source,
}

#[derive(Clone, Copy)]
enum What {
    Key(usize),
    Tag(usize),
    Pattern(&'static str),
    Everything,
}

const PATTERNS: [&str; 5] = ["a*", "*1", "b[02]", "?2", "*"];

impl What {
    fn covers(self, key: usize) -> bool {
        match self {
            Self::Key(covered) => covered == key,
            Self::Tag(_) => false,
            Self::Pattern(pattern) => pattern_of(pattern).matches(NAMES[key].as_bytes()),
            Self::Everything => true,
        }
    }
}

impl World {
    pub fn writer_turn(&mut self) {
        if self.changes.len() < 4 && self.chance.one_in(2) {
            let what = self.random_what();
            self.commit(what);
        } else if !self.changes.is_empty() {
            let chosen = self.chance.below(self.changes.len() as u64) as usize;
            let change = self.changes.swap_remove(chosen);
            self.invalidate(change.what, &change.committed);
        }
    }

    fn random_what(&mut self) -> What {
        match self.chance.below(10) {
            0..5 => What::Key(self.random_key()),
            5..8 => What::Tag(self.chance.below(TAGS as u64) as usize),
            8 => What::Pattern(self.chance.pick(&PATTERNS)),
            _ => What::Everything,
        }
    }

    fn commit(&mut self, what: What) {
        for key in (0..KEYS).filter(|key| what.covers(*key)) {
            self.source.keys[key] += 1;
        }
        if let What::Tag(tag) = what {
            self.source.tags[tag] += 1;
        }
        self.changes.push(Change { what, committed: self.source });
    }

    fn invalidate(&mut self, what: What, committed: &Source) {
        match what {
            What::Key(key) => _ = self.cache.delete(key_of(key), self.now),
            What::Tag(tag) => {
                self.cache.invalidate_tags(&[tag_name(tag)]).expect("a valid tag");
                self.promise.tags[tag] = self.step;
                self.promise.seen.tags[tag] = self.promise.seen.tags[tag].max(committed.tags[tag]);
            }
            What::Pattern(pattern) => drop(self.cache.invalidate_pattern(&pattern_of(pattern), self.now)),
            What::Everything => drop(self.cache.clear(self.now)),
        }
        for key in (0..KEYS).filter(|key| what.covers(*key)) {
            self.promise.invalidated(key, self.step, committed.keys[key]);
            self.ends(key, &Told::Again);
        }
    }

    /// Sets a value, whatever the source says: from here on nothing older may be served.
    pub fn set_by_hand(&mut self) {
        let key = self.random_key();
        let (value, fill) = self.made_by_hand(key);
        let stored = self.cache.set(key_of(key), value, fill.clone(), self.now);
        assert_eq!(stored, self.takes(&fill), "a set is never refused for another reason");
        self.was_set(key);
    }

    /// Looks at a value in order to replace it, at once or some steps later.
    pub fn look_to_swap(&mut self) -> Caller {
        let key = self.random_key();
        let seen = self.cache.peek(key_of(key), self.now);
        if let Some(seen) = &seen {
            self.is_served(key, &seen.value, None);
            assert_eq!(seen.life, seen.value.life.get(), "a value lives as long as it was given");
        }
        let seen = seen.map(|seen| (seen.ticket, seen.value));
        Caller::Swapping { key, seen }
    }

    pub fn swap(&mut self, key: usize, seen: Option<&(donjon_core::version::Ticket, Rc<Origin>)>) {
        let (value, fill) = self.made_by_hand(key);
        let ticket = seen.map(|(ticket, _)| *ticket);
        if let Some(stored) = self.cache.swap(key_of(key), ticket, value, fill.clone(), self.now) {
            assert_eq!(stored, self.takes(&fill));
            if let Some((_, origin)) = seen {
                self.is_served(key, origin, None);
            }
            self.was_set(key);
        }
    }

    pub fn retime(&mut self) {
        let (key, ttl) = (self.random_key(), self.random_ttl());
        let seen = self.cache.peek(key_of(key), self.now);
        let retimed = self.cache.retime(key_of(key), ttl, self.now);
        assert_eq!(retimed, seen.is_some(), "what can be seen can be given another time to live");
        if let Some(seen) = seen {
            let now = self.cache.peek(key_of(key), self.now).expect("a life begins now, so nothing ends it");
            assert!(Rc::ptr_eq(&seen.value, &now.value) && seen.ticket == now.ticket, "the value is the same one");
            let fresh = ttl.as_duration().map(|ttl| self.now.after(ttl));
            assert_eq!(Some(now.life.fresh_until()), fresh.or(Some(donjon_core::moment::Moment::NEVER)));
            seen.value.life.set(now.life);
        }
    }

    pub fn takes(&self, fill: &Fill) -> bool {
        self.cache.is_enabled() && fill.bytes < MAX_BYTES
    }

    /// How to store a value with these tags; now and then one too large to be stored.
    pub fn random_fill(&mut self, tags: TagBits) -> Fill {
        let names: Vec<_> = tags_of(tags).map(tag_name).collect();
        let bytes = if self.chance.one_in(30) { MAX_BYTES } else { self.chance.below(MAX_BYTES / 4) };
        Fill { life: self.random_life(), bytes, tags: self.cache.tags(&names).expect("valid tags") }
    }

    pub fn random_tags(&mut self) -> TagBits {
        if self.chance.one_in(3) { 0 } else { self.chance.below(1 << TAGS) as TagBits }
    }

    fn made_by_hand(&mut self, key: usize) -> (Rc<Origin>, Fill) {
        let tags = self.random_tags();
        let fill = self.random_fill(tags);
        let value = Origin { key, tags, begun: self.step, read: None, life: Cell::new(fill.life) };
        (Rc::new(value), fill)
    }

    fn was_set(&mut self, key: usize) {
        self.promise.keys[key] = self.step;
        self.ends(key, &Told::Again);
    }
}

fn pattern_of(text: &str) -> Pattern {
    Pattern::new(text).expect("a valid pattern")
}

fn tag_name(tag: usize) -> &'static str {
    ["red", "green", "blue"][tag]
}
