//! Name: what things are called in Redis.
//!
//! A key of the user is `{namespace}:{key}`. All else is `{namespace}!…`, and since no namespace holds a `!`, no key, pattern or
//! sweep of the user reaches it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::key::{Key, Namespace};
use crate::pattern::{Pattern, glob_escape};

/// What the things of one namespace are called.
#[derive(Clone, Debug)]
pub struct Names(Namespace);

impl Names {
    /// The names of this namespace.
    pub fn new(namespace: Namespace) -> Self {
        Self(namespace)
    }

    /// The namespace itself.
    pub fn namespace(&self) -> &Namespace {
        &self.0
    }

    /// Where a key is kept.
    pub fn key(&self, key: Key<'_>) -> Vec<u8> {
        self.key_parts(key).concat()
    }

    /// What has this name, where it is something that memory depends on.
    pub(crate) fn read<'n>(&self, name: &'n [u8]) -> Option<Named<'n>> {
        let rest = name.strip_prefix(self.0.as_str().as_bytes())?;
        match rest {
            [b':', key @ ..] => core::str::from_utf8(key).ok().and_then(|key| Key::new(key).ok()).map(Named::Key),
            [b'!', b't', digits @ ..] => {
                let table = core::str::from_utf8(digits).ok()?.parse().ok()?;
                (table < TABLES).then_some(Named::Table(table))
            }
            b"!p" => Some(Named::Sweeps),
            _ => None,
        }
    }

    /// How the names of all begin that memory depends on; none is the beginning of another.
    pub fn prefixes(&self) -> [Vec<u8>; 3] {
        [self.with(&[":"]), self.with(&["!t"]), self.sweeps()]
    }

    /// [`Names::key`] in parts, for who puts them together elsewhere.
    pub fn key_parts<'a>(&'a self, key: Key<'a>) -> [&'a [u8]; 3] {
        [self.0.as_str().as_bytes(), b":", key.as_str().as_bytes()]
    }

    /// The key that is kept under a name; none where that is the name of something else.
    pub fn key_of<'n>(&self, name: &'n [u8]) -> Option<&'n str> {
        let key = name.strip_prefix(self.0.as_str().as_bytes())?.strip_prefix(b":")?;
        core::str::from_utf8(key).ok()
    }

    /// What a sweep looks for: whatever matches within this namespace.
    pub fn matching(&self, pattern: &Pattern) -> String {
        let glob = if pattern.is_everything() { "*" } else { pattern.as_str() };
        [&*glob_escape(self.0.as_str()), ":", glob].concat()
    }

    /// The namespace, and what follows it.
    fn with(&self, parts: &[&str]) -> Vec<u8> {
        let mut name = self.0.as_str().as_bytes().to_vec();
        for part in parts {
            name.extend_from_slice(part.as_bytes());
        }
        name
    }

    /// Who refreshes a stale key.
    pub(crate) fn refresh(&self, key: &str) -> Vec<u8> {
        self.with(&["!r:", key])
    }

    /// The versions of the tags that [`table_of`] puts there.
    pub(crate) fn table(&self, table: u8) -> Vec<u8> {
        self.with(&["!t", &u64::from(table).to_string()])
    }

    /// Where the versions of a tag are kept.
    pub fn table_of(&self, tag: &str) -> Vec<u8> {
        self.table(table_of(tag))
    }

    /// The list of what is being swept.
    pub(crate) fn sweeps(&self) -> Vec<u8> {
        self.sweeps_parts().concat()
    }

    /// Its name in parts, for who puts them together elsewhere.
    pub fn sweeps_parts(&self) -> [&[u8]; 2] {
        [self.0.as_str().as_bytes(), b"!p"]
    }

    /// A name under which nothing is ever kept, by number. Whoever answers for one has its slot.
    pub(crate) fn sign(&self, number: u32) -> Vec<u8> {
        self.with(&["!s", &u64::from(number).to_string()])
    }

    /// Who holds a lock. The braces keep it on one node of a cluster with its count.
    pub fn lock(&self, lock: &str) -> Vec<u8> {
        self.with(&["!{lock:", lock, "}"])
    }

    /// How often a lock was taken.
    pub fn fence(&self, lock: &str) -> Vec<u8> {
        self.with(&["!{lock:", lock, "}#fence"])
    }

    /// A channel of the user's.
    pub fn channel(&self, channel: &str) -> Vec<u8> {
        self.with(&["!ch:", channel])
    }

    /// The channel that tells who waits for a lock that it is free.
    pub fn lock_channel(&self, lock: &str) -> Vec<u8> {
        self.with(&["!ch!lock:", lock])
    }
}

/// What a name in Redis is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named<'n> {
    /// A key of the user's.
    Key(Key<'n>),
    /// A table of versions.
    Table(u8),
    /// The list of what is being swept.
    Sweeps,
}

/// Which of the tables of versions a tag is in: FNV-1a of its name, folded. The same in every language, or they would not
/// see each other's invalidations.
pub(crate) fn table_of(tag: &str) -> u8 {
    let hash = tag
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    ((hash ^ (hash >> 32)) % u64::from(TABLES)) as u8
}

/// How many tables of versions there are.
pub(crate) const TABLES: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_donjon_keeps_for_itself_is_out_of_reach_of_keys_and_patterns() {
        let names = Names::new(Namespace::new("a-b").unwrap());
        assert_eq!(names.key(Key::new("user:1").unwrap()), b"a-b:user:1");
        assert_eq!(names.key_of(b"a-b:user:1"), Some("user:1"));
        assert_eq!([&b"a-b!t1"[..], b"a-c:k", b"k"].map(|name| names.key_of(name)), [None; 3]);
        assert_eq!(names.matching(&Pattern::new("user:*").unwrap()), "a\\-b:user:*");
        assert_eq!(names.matching(&Pattern::new("**").unwrap()), "a\\-b:*");
        let all = Pattern::new("*").unwrap();
        let sweep = Pattern::new(&names.matching(&all)).unwrap();
        assert!(sweep.matches(b"a-b:!t1"));
        for own in [
            names.refresh("k"),
            names.table(3),
            names.sweeps(),
            names.lock("l"),
            names.fence("l"),
            names.sign(0),
            names.channel("c"),
        ] {
            assert!(!sweep.matches(&own), "{}", String::from_utf8_lossy(&own));
        }
    }

    #[test]
    fn a_name_is_read_as_it_was_made() {
        let names = Names::new(Namespace::new("a").unwrap());
        let key = Key::new("user:1").unwrap();
        assert_eq!(names.read(&names.key(key)), Some(Named::Key(key)));
        assert_eq!(names.read(&names.table(63)), Some(Named::Table(63)));
        assert_eq!(names.read(&names.sweeps()), Some(Named::Sweeps));
        for own in [names.refresh("k"), names.lock("l"), names.channel("c"), b"a!t64".to_vec(), b"a!t".to_vec()] {
            assert_eq!(names.read(&own), None, "{}", String::from_utf8_lossy(&own));
        }
        for others in [&b"ab:user:1"[..], b"a", b"", b"a:", b"a:\xff", b"b:user:1"] {
            assert_eq!(names.read(others), None, "{}", String::from_utf8_lossy(others));
        }
        let [keys, tables, sweeps] = names.prefixes();
        assert!(names.key(key).starts_with(&keys) && names.table(7).starts_with(&tables) && names.sweeps() == sweeps);
    }

    #[test]
    fn tags_spread_over_the_tables_and_stay_in_theirs() {
        let tables: std::collections::BTreeSet<u8> = (0..1_000).map(|tag| table_of(&format!("user:{tag}"))).collect();
        assert_eq!(tables.len(), usize::from(TABLES));
        assert_eq!([table_of("jobs"), table_of("user:5")], [KNOWN_JOBS, KNOWN_USER]);
    }

    // Worked out once; other languages have the same.
    const KNOWN_JOBS: u8 = 3;
    const KNOWN_USER: u8 = 29;
}
