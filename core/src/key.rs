//! Key: what a key and a namespace may be, and how keys are made from parts.
//!
//! Owns the limits, and the escape that keeps parts apart.
//! Must not know what a key stands for or where its value is kept.
//! Invariants: distinct lists of parts make distinct keys, and the same parts make the same key in every language and
//! release, since keys outlive processes.
//!
//! # How a part is written
//!
//! In a part, `%` becomes `%25` and `:` becomes `%3A`; nothing else is changed, so a key built from parts and one written
//! by hand differ only where a part holds one of the two. A part of more than 128 bytes of UTF-8, counted before escaping,
//! becomes `~` and the first 128 bits of its SHA-256 in 32 lower-case hexadecimal digits: users choose parts, so a hash
//! that can be made to collide would hand one user the entry of another. For the same reason a part that itself is `~` and
//! 32 such digits is hashed like a long one. An empty part is a part: `("a", "")` makes `a:`.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use sha2::{Digest, Sha256};

use crate::pattern::{InvalidPattern, Pattern, glob_escape};
use crate::shown::{Count, Quoted};

/// A key is at most this many bytes of UTF-8, its namespace not counted.
pub const MAX_KEY_BYTES: usize = 1024;

/// A part is written as it is up to this many bytes of UTF-8, counted before escaping; beyond, its hash is.
pub const MAX_PART_BYTES: usize = 128;

/// A text that may be a key: not empty, at most [`MAX_KEY_BYTES`] of UTF-8. Any character is fine, and stands for itself.
///
/// # Examples
///
/// ```
/// use donjon_core::key::{InvalidKey, Key};
///
/// assert_eq!(Key::new("user:5")?.as_str(), "user:5");
/// assert_eq!(Key::new(""), Err(InvalidKey::Empty));
/// # Ok::<(), InvalidKey>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key<'a>(&'a str);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// The text is empty.
    #[error("a key may not be empty")]
    Empty,
    /// The text is over [`MAX_KEY_BYTES`].
    #[error(
        "a key is at most {} bytes of utf-8, this one is {}; build it from parts, which are hashed when long",
        Count(MAX_KEY_BYTES),
        Count(*.bytes)
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl<'a> Key<'a> {
    /// Checks `text`. Two comparisons, no allocation: it is done on every call.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] where it is empty or too long.
    #[inline]
    pub const fn new(text: &'a str) -> Result<Self, InvalidKey> {
        match text.len() {
            0 => Err(InvalidKey::Empty),
            1..=MAX_KEY_BYTES => Ok(Self(text)),
            bytes => Err(InvalidKey::TooLong { bytes }),
        }
    }

    /// The key as it was given.
    #[inline]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// The name that sets one application's keys apart from another's: 1 to 64 of the characters `A-Z a-z 0-9 . _ -`, alone or in braces.
///
/// Neither `:` nor `!` can be in it, so no namespace reaches into another, nor into what donjon keeps for itself. Braces are what a Redis
/// Cluster knows as a hash tag: all that is in such a namespace is on one of its nodes.
///
/// # Examples
///
/// ```
/// use donjon_core::key::Namespace;
///
/// assert_eq!(Namespace::new("shop.eu-1")?.as_str(), "shop.eu-1");
/// assert_eq!(Namespace::new("{shop}")?.as_str(), "{shop}");
/// assert!(Namespace::new("shop:eu").is_err());
/// # Ok::<(), donjon_core::key::InvalidNamespace>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namespace(Arc<str>);

/// Why a text is no namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is no namespace; use 1 to 64 of A-Z a-z 0-9 . _ -, alone or in braces", Quoted(.0))]
pub struct InvalidNamespace(Box<str>);

impl Namespace {
    /// Checks `text`.
    ///
    /// # Errors
    ///
    /// [`InvalidNamespace`] where it is empty, over 64 bytes without its braces, or holds another character.
    pub fn new(text: &str) -> Result<Self, InvalidNamespace> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        if (1..=64).contains(&name.len()) && name.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidNamespace(text.chars().take(65).collect()))
        }
    }

    /// Whether all that is in it is on one node of a cluster.
    pub fn is_in_braces(&self) -> bool {
        self.0.starts_with('{')
    }

    /// The namespace as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Makes `part` safe to stand between the colons of a key; see the head of this file for what changes.
///
/// # Examples
///
/// ```
/// use donjon_core::key::escape_part;
///
/// assert_eq!(escape_part("ann@example.com"), "ann@example.com");
/// assert_eq!(escape_part("a:b"), "a%3Ab");
/// assert_eq!(escape_part(&"x".repeat(500)).len(), 33);
/// ```
pub fn escape_part(part: &str) -> Cow<'_, str> {
    if part.len() > MAX_PART_BYTES || looks_hashed(part) {
        return Cow::Owned(hashed(part));
    }
    if !part.bytes().any(|byte| matches!(byte, b'%' | b':')) {
        return Cow::Borrowed(part);
    }
    let mut escaped = String::with_capacity(part.len() + 8);
    for letter in part.chars() {
        match letter {
            '%' => escaped.push_str("%25"),
            ':' => escaped.push_str("%3A"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// Joins `parts` into a key, escaping each.
///
/// # Errors
///
/// [`InvalidKey`] where the outcome is no key: no parts, one empty part, or more than [`MAX_KEY_BYTES`] in all.
///
/// # Examples
///
/// ```
/// use donjon_core::key::build;
///
/// assert_eq!(build(["user", "5"])?, "user:5");
/// assert_ne!(build(["a:b", "c"])?, build(["a", "b:c"])?);
/// # Ok::<(), donjon_core::key::InvalidKey>(())
/// ```
pub fn build<P: AsRef<str>>(parts: impl IntoIterator<Item = P>) -> Result<String, InvalidKey> {
    let mut key = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            key.push(':');
        }
        key.push_str(&escape_part(part.as_ref()));
    }
    Key::new(&key)?;
    Ok(key)
}

/// What one part of a pattern is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// This text, and no other.
    Is(&'a str),
    /// Anything: a star.
    Any,
}

/// Joins `parts` into the pattern that covers each key [`build`] makes from such parts.
///
/// # Errors
///
/// [`InvalidPattern`] where there are no parts, or more than a pattern may have.
///
/// # Examples
///
/// ```
/// use donjon_core::key::{Part, build, build_pattern};
///
/// let pattern = build_pattern([Part::Is("user"), Part::Any, Part::Is("a*b")])?;
/// assert_eq!(pattern.as_str(), r"user:*:a\*b");
/// assert!(pattern.matches(build(["user", "5", "a*b"])?.as_bytes()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn build_pattern<'p>(parts: impl IntoIterator<Item = Part<'p>>) -> Result<Pattern, InvalidPattern> {
    let mut text = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            text.push(':');
        }
        match part {
            Part::Is(part) => text.push_str(&glob_escape(&escape_part(part))),
            Part::Any => text.push('*'),
        }
    }
    Pattern::new(&text)
}

fn looks_hashed(part: &str) -> bool {
    part.len() == 33
        && part.strip_prefix('~').is_some_and(|digits| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn hashed(part: &str) -> String {
    let digest = Sha256::digest(part.as_bytes());
    let mut text = String::from("~");
    for byte in &digest[..16] {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("it is of four bits"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Cases {
        namespaces: Namespaces,
        parts: Vec<PartCase>,
        keys: Vec<KeyCase>,
        patterns: Vec<PatternCase>,
    }

    #[derive(Deserialize)]
    struct Namespaces {
        valid: Vec<String>,
        invalid: Vec<String>,
    }

    #[derive(Deserialize)]
    struct PartCase {
        part: String,
        escaped: String,
    }

    #[derive(Deserialize)]
    struct KeyCase {
        parts: Vec<String>,
        key: Option<String>,
        error: Option<String>,
    }

    #[derive(Deserialize)]
    struct PatternCase {
        parts: Vec<Option<String>>,
        pattern: String,
    }

    fn cases() -> Cases {
        serde_json::from_str(include_str!("../../tests/cases/keys.json")).expect("the cases are JSON of this shape")
    }

    fn error_word(error: InvalidKey) -> &'static str {
        match error {
            InvalidKey::Empty => "empty",
            InvalidKey::TooLong { .. } => "too long",
        }
    }

    #[test]
    fn a_namespace_holds_only_what_no_key_can_be_mistaken_for() {
        let Namespaces { valid, invalid } = cases().namespaces;
        for text in valid {
            assert_eq!(Namespace::new(&text).expect("it is valid").as_str(), text);
        }
        for text in invalid {
            assert!(Namespace::new(&text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_key_is_any_text_that_is_neither_empty_nor_too_long() {
        assert_eq!(Key::new(""), Err(InvalidKey::Empty));
        assert_eq!(Key::new(&"x".repeat(1025)), Err(InvalidKey::TooLong { bytes: 1025 }));
        assert_eq!(Key::new(&"é".repeat(513)), Err(InvalidKey::TooLong { bytes: 1026 }), "bytes count, not characters");
        for text in ["x".repeat(1024), "é".repeat(512), "\0".into(), "a\r\nb c".into(), "{}*?[]\\🦀".into()] {
            assert_eq!(Key::new(&text).map(Key::as_str), Ok(&*text));
        }
    }

    #[test]
    fn parts_are_escaped_as_in_every_language() {
        for PartCase { part, escaped } in cases().parts {
            assert_eq!(escape_part(&part), escaped, "{part:?}");
        }
    }

    #[test]
    fn keys_are_built_as_in_every_language() {
        for KeyCase { parts, key, error } in cases().keys {
            let built = build(&parts);
            assert_eq!(built.as_ref().err().map(|error| error_word(*error)), error.as_deref(), "{parts:?}");
            assert_eq!(built.ok(), key, "{parts:?}");
        }
    }

    #[test]
    fn patterns_are_built_as_in_every_language() {
        for PatternCase { parts, pattern } in cases().patterns {
            let parts = parts.iter().map(|part| part.as_deref().map_or(Part::Any, Part::Is));
            assert_eq!(build_pattern(parts).expect("it is a pattern").as_str(), pattern);
        }
        assert_eq!(build_pattern([]), Err(InvalidPattern::Empty));
    }

    #[test]
    fn no_part_can_pose_as_the_hash_of_another() {
        let long = "x".repeat(200);
        let posing = escape_part(&long).into_owned();
        assert_ne!(escape_part(&posing), posing);
    }

    /// Parts rich in what the escape is about.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[a:%~é2 53A*-]{0,4}",
            1 => "[ab]{127,130}",
            1 => "~[0-9a-f]{31,33}",
        ]
    }

    fn unescaped(part: &str) -> String {
        part.replace("%3A", ":").replace("%25", "%")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn parts_can_be_told_from_the_key(parts in prop::collection::vec(part(), 1..5)) {
            let Ok(key) = build(&parts) else { return Ok(()) };
            let found: Vec<_> = key.split(':').collect();
            prop_assert_eq!(found.len(), parts.len());
            for (found, part) in found.into_iter().zip(&parts) {
                if part.len() <= MAX_PART_BYTES && !looks_hashed(part) {
                    prop_assert_eq!(&unescaped(found), part);
                } else {
                    prop_assert!(looks_hashed(found) && found != part);
                }
            }
        }

        #[test]
        fn a_pattern_covers_the_keys_of_its_parts_and_no_others(
            parts in prop::collection::vec((part(), any::<bool>()), 1..4), others in prop::collection::vec(part(), 1..4)
        ) {
            let open = |(part, is_open)| if is_open { Part::Any } else { Part::Is(part) };
            let pattern = build_pattern(parts.iter().map(|(part, is_open)| open((part.as_str(), *is_open))));
            let pattern = pattern.unwrap_or_else(|_| Pattern::new("\\").expect("it is a pattern"));
            if let Ok(key) = build(parts.iter().map(|(part, _)| part)) {
                prop_assert!(pattern.matches(key.as_bytes()));
            }
            // Of as many parts: a star in a pattern runs over colons.
            if let Ok(key) = build(&others) && others.len() == parts.len() {
                let covered = parts.iter().zip(&others).all(|((part, is_open), other)| *is_open || part == other);
                prop_assert_eq!(pattern.matches(key.as_bytes()), covered);
            }
        }

    }
}
