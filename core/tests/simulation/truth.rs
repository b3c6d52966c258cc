//! The source of truth that is cached, what a value remembers of it, and what each reader was promised.

use std::cell::Cell;

use donjon_core::entry::Life;

pub const KEYS: usize = 6;
pub const TAGS: usize = 3;

/// One bit a tag.
pub type TagBits = u8;

/// How often the rows behind each key and each tag were changed. Never goes back.
#[derive(Clone, Copy, Default)]
pub struct Source {
    pub keys: [u64; KEYS],
    pub tags: [u64; TAGS],
}

/// A value: where it came from and when.
#[derive(Debug)]
pub struct Origin {
    pub key: usize,
    pub tags: TagBits,
    /// The step at which its load began, or at which it was set by hand.
    pub begun: u64,
    /// What the source said of its key and of each tag when it was read; nothing where it was set by hand.
    pub read: Option<([u64; TAGS], u64)>,
    /// Until when it may be served, as the model has it.
    pub life: Cell<Life>,
}

/// What whoever asks now may rely on.
#[derive(Clone, Copy, Default)]
pub struct Promise {
    /// The step of the last invalidation of each key, or the step at which the newest of its values known to have been
    /// stored began. Nothing that began earlier may be served.
    pub keys: [u64; KEYS],
    /// The step of the last invalidation of each tag.
    pub tags: [u64; TAGS],
    /// The changes whose invalidation has returned.
    pub seen: Source,
}

impl Promise {
    /// Notes that an invalidation of `key`, made after these changes of the source, has returned.
    pub fn invalidated(&mut self, key: usize, step: u64, changes: u64) {
        self.keys[key] = step;
        self.seen.keys[key] = self.seen.keys[key].max(changes);
    }

    /// Fails where this promise forbids to serve `origin` for `key`.
    pub fn allows(&self, key: usize, origin: &Origin) {
        assert_eq!(origin.key, key, "the value of another key was served");
        assert!(
            origin.begun >= self.keys[key],
            "served what began at step {} though its key was invalidated at step {}",
            origin.begun,
            self.keys[key]
        );
        if let Some((_, version)) = origin.read {
            assert!(
                version >= self.seen.keys[key],
                "served version {version}, older than {} whose invalidation had returned",
                self.seen.keys[key]
            );
        }
        for tag in tags_of(origin.tags) {
            assert!(
                origin.begun >= self.tags[tag],
                "served what began at step {} though its tag {tag} was invalidated at step {}",
                origin.begun,
                self.tags[tag]
            );
            if let Some((versions, _)) = origin.read {
                assert!(versions[tag] >= self.seen.tags[tag], "served an older version of tag {tag} than was promised");
            }
        }
    }
}

pub fn tags_of(bits: TagBits) -> impl Iterator<Item = usize> {
    (0..TAGS).filter(move |tag| bits >> tag & 1 == 1)
}
