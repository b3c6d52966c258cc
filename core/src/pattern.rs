//! Pattern: which keys a glob covers, to the byte as Redis answers it.
//!
//! Owns the syntax, its limits, matching, and the escape that makes literal text safe within a pattern.
//! Must not know what a key means or where keys are kept.
//! Invariants: text becomes a pattern only through [`Pattern::new`]; matching takes at most (pattern × key) steps and no
//! memory, whatever both say.
//!
//! # Syntax
//!
//! Bytes are matched, not characters, upper and lower case differ, and the whole key must match.
//!
//! | written | matches |
//! |---|---|
//! | `*` | any run of bytes, also none; `**` is one `*` |
//! | `?` | exactly one byte |
//! | `[abc]` `[a-z]` `[^a-z]` | one byte that is (not) in the class; a reversed range is turned round |
//! | `\x` | the byte `x`, whatever it is |
//! | anything else | itself; there is no `{a,b}`, and `!`, `/` and `.` are ordinary |
//!
//! What Redis makes of odd patterns holds here too: a class that is never closed ends with the pattern (`[abc`); a lone
//! final `\` is itself; `]` closes a class even as its first byte, so `[]` matches nothing and `[^]` any one byte; the
//! end of a range is taken raw, so `[a-]` is the range from `]` to `a` in a class still open; an escaped byte never starts
//! a range (`[\a-z]` is `a`, `-` and `z`). Only the pattern `*` itself matches the empty text.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::shown::Count;

/// A pattern is at most this many bytes.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// A pattern has at most this many stars, a run of stars counting as one.
pub const MAX_STARS: usize = 32;

/// A glob, read once, to be matched often.
///
/// # Examples
///
/// ```
/// use donjon_core::pattern::Pattern;
///
/// let pattern = Pattern::new("user:*:profile")?;
/// assert!(pattern.matches(b"user:5:profile"));
/// assert!(!pattern.matches(b"user:5:settings"));
/// # Ok::<(), donjon_core::pattern::InvalidPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    /// What stands before each star.
    starred: Box<[Segment]>,
    /// What stands behind the last star, or all of it where there is none.
    last: Segment,
    shortest: usize,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// The text is empty, which could only match a key that cannot be.
    #[error("a pattern may not be empty; `*` covers every key")]
    Empty,
    /// The text is over [`MAX_PATTERN_BYTES`].
    #[error("a pattern is at most {} bytes, this one is {}; shorten it, or invalidate by tag", Count(MAX_PATTERN_BYTES), Count(*.bytes))]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// There are more than [`MAX_STARS`] stars.
    #[error("a pattern has at most {} stars, this one has {}; write fewer, or invalidate by tag", Count(MAX_STARS), Count(*.stars))]
    TooManyStars {
        /// How many, a run of stars counting as one.
        stars: usize,
    },
    /// A class has a range that begins or ends outside ASCII, which Redis servers read differently.
    #[error("the range at byte {} goes beyond ascii, where servers differ; list its bytes one by one", Count(*.at))]
    HighRange {
        /// Where the range begins, in bytes.
        at: usize,
    },
}

impl Pattern {
    /// Reads `text` as a pattern.
    ///
    /// # Errors
    ///
    /// [`InvalidPattern`] where it is empty or beyond the limits. Everything else means something, as it does in Redis.
    pub fn new(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(InvalidPattern::TooLong { bytes: text.len() });
        }
        let mut starred = Vec::new();
        let mut open = Vec::new();
        let mut after_star = false;
        for token in Tokens::of(text) {
            let token = token?;
            let is_star = matches!(token, Token::Star);
            match token {
                Token::Star if after_star => {}
                Token::Star => starred.push(Segment::new(core::mem::take(&mut open))),
                Token::One(one) => open.push(one),
            }
            after_star = is_star;
        }
        if starred.len() > MAX_STARS {
            return Err(InvalidPattern::TooManyStars { stars: starred.len() });
        }
        let last = Segment::new(open);
        let shortest = last.len() + starred.iter().map(Segment::len).sum::<usize>();
        Ok(Self { text: text.into(), starred: starred.into(), last, shortest })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern covers all of `key`. At most (pattern × key) steps; no allocation.
    pub fn matches(&self, key: &[u8]) -> bool {
        let Some((first, middle)) = self.starred.split_first() else {
            return key.len() == self.shortest && self.last.fits(key);
        };
        if key.len() < self.shortest {
            return false;
        }
        // Redis looks at stars only while bytes are left; `*` alone never gets that far, it is every key.
        if key.is_empty() {
            return &*self.text == "*";
        }
        let (head, key) = key.split_at(first.len());
        let (mut body, tail) = key.split_at(key.len() - self.last.len());
        // Each segment has one length, so its first place is the best: what follows finds all that any other would leave.
        first.fits(head)
            && self.last.fits(tail)
            && middle.iter().all(|segment| match segment.find(body) {
                Some(at) => {
                    body = &body[at + segment.len()..];
                    true
                }
                None => false,
            })
    }

    /// Whether the pattern is nothing but stars, and so means every key.
    pub fn is_everything(&self) -> bool {
        self.shortest == 0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Makes `text` stand for itself within a pattern: a backslash before each of `* ? [ ] \ ^ -`.
///
/// # Examples
///
/// ```
/// use donjon_core::pattern::{Pattern, glob_escape};
///
/// let pattern = Pattern::new(&format!("{}:*", glob_escape("a*b")))?;
/// assert!(pattern.matches(b"a*b:1"));
/// assert!(!pattern.matches(b"axb:1"));
/// # Ok::<(), donjon_core::pattern::InvalidPattern>(())
/// ```
pub fn glob_escape(text: &str) -> Cow<'_, str> {
    let special = |c: char| matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-');
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if special(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    Cow::Owned(escaped)
}

/// Whether `glob` ends where a new token would begin: outside a class, and not upon a backslash that would escape what is
/// put after it.
pub(crate) fn ends_between_tokens(glob: &str) -> bool {
    let mut tokens = Tokens::of(glob);
    while tokens.next().is_some() {}
    !tokens.cut_short
}

/// What stands between two stars. It always takes the same number of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<[u8]>),
    Mixed(Box<[One]>),
}

impl Segment {
    fn new(ones: Vec<One>) -> Self {
        let literal = ones.iter().map(|one| if let One::Byte(byte) = one { Some(*byte) } else { None });
        match literal.collect() {
            Some(bytes) => Self::Literal(bytes),
            None => Self::Mixed(ones.into()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Literal(bytes) => bytes.len(),
            Self::Mixed(ones) => ones.len(),
        }
    }

    /// Whether it matches `bytes`, which are as many as it takes.
    fn fits(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Literal(literal) => **literal == *bytes,
            Self::Mixed(ones) => ones.iter().zip(bytes).all(|(one, byte)| one.matches(*byte)),
        }
    }

    /// The first place in `bytes` where it matches. It is not empty: stars in a row are one.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        let mut windows = bytes.windows(self.len());
        match self {
            // A look at the first byte spares most places the call that compares the rest.
            Self::Literal(literal) => windows.position(|window| window[0] == literal[0] && *window == **literal),
            Self::Mixed(_) => windows.position(|window| self.fits(window)),
        }
    }
}

/// What matches exactly one byte.
#[derive(Clone, Debug, PartialEq, Eq)]
enum One {
    Any,
    Byte(u8),
    Class(Box<ByteSet>),
}

impl One {
    fn matches(&self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::Byte(own) => *own == byte,
            Self::Class(set) => set.contains(byte),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ByteSet([u64; 4]);

impl ByteSet {
    fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    fn complement(self) -> Self {
        Self(self.0.map(|word| !word))
    }
}

enum Token {
    Star,
    One(One),
}

/// Reads a glob from left to right. After a range that is refused it reads on.
struct Tokens<'a> {
    rest: &'a [u8],
    whole: usize,
    /// The glob ended within a class, or upon a backslash.
    cut_short: bool,
}

impl<'a> Tokens<'a> {
    fn of(glob: &'a str) -> Self {
        Self { rest: glob.as_bytes(), whole: glob.len(), cut_short: false }
    }

    /// Reads on behind the `[` of a class.
    fn class(&mut self) -> Result<ByteSet, InvalidPattern> {
        let negated = self.rest.first() == Some(&b'^');
        if negated {
            self.rest = &self.rest[1..];
        }
        let mut set = ByteSet::default();
        let mut refused = None;
        loop {
            match *self.rest {
                [b'\\', byte, ref rest @ ..] => {
                    set.insert(byte);
                    self.rest = rest;
                }
                [b']', ref rest @ ..] => {
                    self.rest = rest;
                    break;
                }
                [] => {
                    self.cut_short = true;
                    break;
                }
                [from, b'-', to, ref rest @ ..] => {
                    if !from.is_ascii() || !to.is_ascii() {
                        refused.get_or_insert(InvalidPattern::HighRange { at: self.whole - self.rest.len() });
                    }
                    (from.min(to)..=from.max(to)).for_each(|byte| set.insert(byte));
                    self.rest = rest;
                }
                [byte, ref rest @ ..] => {
                    set.insert(byte);
                    self.rest = rest;
                }
            }
        }
        match refused {
            Some(error) => Err(error),
            None if negated => Ok(set.complement()),
            None => Ok(set),
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Result<Token, InvalidPattern>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        let one = match (byte, rest) {
            (b'*', _) => return Some(Ok(Token::Star)),
            (b'?', _) => One::Any,
            (b'\\', [escaped, rest @ ..]) => {
                self.rest = rest;
                One::Byte(*escaped)
            }
            (b'\\', []) => {
                self.cut_short = true;
                One::Byte(b'\\')
            }
            (b'[', _) => match self.class() {
                Ok(set) => One::Class(Box::new(set)),
                Err(error) => return Some(Err(error)),
            },
            _ => One::Byte(byte),
        };
        Some(Ok(Token::One(one)))
    }
}

#[cfg(test)]
#[path = "../../tests/src/glob_model.rs"]
mod glob_model;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::glob_model as model;
    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        texts: Vec<String>,
        patterns: Vec<Row>,
        refused: Vec<String>,
    }

    #[derive(Deserialize)]
    struct Row {
        pattern: String,
        matches: Vec<usize>,
    }

    fn vectors() -> Vectors {
        serde_json::from_str(include_str!("../../tests/cases/glob.json")).expect("the cases are JSON of this shape")
    }

    #[test]
    fn every_pattern_matches_what_a_redis_server_says_it_does() {
        let vectors = vectors();
        assert!(vectors.patterns.len() > 200);
        for row in &vectors.patterns {
            let pattern = Pattern::new(&row.pattern).expect("the server was asked about valid patterns only");
            for (index, text) in vectors.texts.iter().enumerate() {
                let expected = row.matches.contains(&index);
                assert_eq!(pattern.matches(text.as_bytes()), expected, "{:?} on {text:?}", row.pattern);
                let modelled = model::matches(row.pattern.as_bytes(), text.as_bytes());
                assert_eq!(modelled, expected, "the model, {:?} on {text:?}", row.pattern);
            }
        }
    }

    #[test]
    fn what_servers_read_differently_or_too_slowly_is_refused() {
        for text in vectors().refused {
            assert!(Pattern::new(&text).is_err(), "{text:?}");
        }
        assert_eq!(Pattern::new(""), Err(InvalidPattern::Empty));
        assert_eq!(Pattern::new(&"*a".repeat(33)), Err(InvalidPattern::TooManyStars { stars: 33 }));
        assert_eq!(Pattern::new(&"x".repeat(1025)), Err(InvalidPattern::TooLong { bytes: 1025 }));
        assert_eq!(Pattern::new("a[é-z]"), Err(InvalidPattern::HighRange { at: 3 }));
        assert_eq!(Pattern::new("[a-é]"), Err(InvalidPattern::HighRange { at: 1 }));
    }

    #[test]
    fn what_lies_within_the_limits_is_accepted() {
        assert!(Pattern::new(&"x".repeat(1024)).is_ok());
        assert!(Pattern::new(&"*a".repeat(32)).is_ok());
        assert!(Pattern::new(&"*".repeat(1024)).is_ok(), "a run of stars is one star");
        assert!(Pattern::new("[éa]").is_ok(), "bytes beyond ascii may be listed");
    }

    #[test]
    fn only_stars_mean_every_key() {
        for (text, everything) in
            [("*", true), ("***", true), ("*?", false), ("\\*", false), ("[*]", false), ("a*", false)]
        {
            let pattern = Pattern::new(text).expect("it is valid");
            assert_eq!(pattern.is_everything(), everything, "{text}");
            assert_eq!(pattern.to_string(), text, "it is shown as it was written");
        }
    }

    #[test]
    fn the_worst_pattern_is_done_in_no_time() {
        // Each would take more steps than there are atoms, were stars tried one within the other.
        let key = "a".repeat(1024);
        for text in [format!("{}b", "*a".repeat(31)), "*a*?[a]*\\a".repeat(8) + "b", format!("*{}b", "a".repeat(500))] {
            assert!(!Pattern::new(&text).expect("it is within the limits").matches(key.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_glob_cut_within_a_token_is_seen_to_be() {
        for whole in ["", "a*", "[a]", "\\\\", "[\\]]", "[a-]]", "[^]"] {
            assert!(ends_between_tokens(whole), "{whole}");
        }
        for cut in ["\\", "a\\", "[", "[a", "[a-", "[a-]", "[\\]", "\\\\\\", "[é-z"] {
            assert!(!ends_between_tokens(cut), "{cut}");
        }
    }

    fn glob() -> impl Strategy<Value = String> {
        proptest::string::string_regex("[*?\\[\\]\\\\^!ab\u{e9}c-]{0,14}").expect("it is a regex")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn matching_agrees_with_the_rules(text in glob(), keys in prop::collection::vec(glob(), 1..8)) {
            if let Ok(pattern) = Pattern::new(&text) {
                for key in keys {
                    prop_assert_eq!(
                        pattern.matches(key.as_bytes()), model::matches(text.as_bytes(), key.as_bytes()), "{:?}", key
                    );
                }
            }
        }

        #[test]
        fn a_pattern_made_from_a_key_covers_it(key in "[ab:]{1,12}", cuts in prop::collection::vec((0usize..12, 0usize..4), 0..4)) {
            let mut text = key.clone();
            for (at, how) in cuts {
                let at = at % key.len();
                let put = ["*", "?", "[ab:]", "[^c]"][how];
                if text.len() == key.len() {
                    text.replace_range(at..=at, put);
                }
            }
            prop_assert!(Pattern::new(&text).expect("it is valid").matches(key.as_bytes()));
        }

        #[test]
        fn escaped_text_matches_itself_alone(text in "\\PC{1,20}", other in glob()) {
            let pattern = Pattern::new(&glob_escape(&text)).expect("escaping makes it valid");
            prop_assert!(pattern.matches(text.as_bytes()));
            prop_assert_eq!(pattern.matches(other.as_bytes()), text == other);
        }
    }
}
