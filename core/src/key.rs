//! Key: what a key and a namespace may be, and how keys are made from parts and templates.
//!
//! Owns the limits, the escape that keeps parts apart, and templates such as `user:{user_id}:profile`.
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

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::pattern::{InvalidPattern, Pattern, glob_escape};

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
        "a key is at most {MAX_KEY_BYTES} bytes of utf-8, this one is {bytes}; build it from parts, which are hashed when long"
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

/// The name that sets one application's keys apart from another's: 1 to 64 of the characters `A-Z a-z 0-9 . _ -`.
///
/// Neither `:` nor `!` can be in it, so no namespace reaches into another, nor into what donjon keeps for itself.
///
/// # Examples
///
/// ```
/// use donjon_core::key::Namespace;
///
/// assert_eq!(Namespace::new("shop.eu-1")?.as_str(), "shop.eu-1");
/// assert!(Namespace::new("shop:eu").is_err());
/// # Ok::<(), donjon_core::key::InvalidNamespace>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namespace(Arc<str>);

/// Why a text is no namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no namespace; use 1 to 64 of the characters A-Z a-z 0-9 . _ -")]
pub struct InvalidNamespace(Box<str>);

impl Namespace {
    /// Checks `text`.
    ///
    /// # Errors
    ///
    /// [`InvalidNamespace`] where it is empty, over 64 bytes or holds another character.
    pub fn new(text: &str) -> Result<Self, InvalidNamespace> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidNamespace(text.chars().take(65).collect()))
        }
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
    if !part.contains(['%', ':']) {
        return Cow::Borrowed(part);
    }
    Cow::Owned(part.replace('%', "%25").replace(':', "%3A"))
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

/// A text with names to be filled in: `user:{user_id}:profile`. `{{` and `}}` stand for the braces themselves.
///
/// What is put in is escaped, the text around it is used as it is. Values cannot be taken for one another where a `:`
/// stands between two names; `{a}-{b}` cannot tell `1-2` and `3` from `1` and `2-3`.
///
/// # Examples
///
/// ```
/// use donjon_core::key::Template;
///
/// let template = Template::new("user:{user_id}:{view}")?;
/// let key = template.render(|name| Some(if name == "user_id" { "5".into() } else { "a:b".into() }))?;
/// assert_eq!(key, "user:5:a%3Ab");
/// let pattern = template.pattern(|name| (name == "user_id").then(|| "5".into()))?;
/// assert_eq!(pattern.as_str(), "user:5:*");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Box<[Piece]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Name(Box<str>),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template {template:?}, byte {at}: {fault}")]
pub struct InvalidTemplate {
    /// The template as it was given.
    pub template: Box<str>,
    /// Where the fault is, in bytes.
    pub at: usize,
    /// What is wrong there.
    pub fault: TemplateFault,
}

/// What can be wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateFault {
    /// There is nothing.
    #[error("a template may not be empty")]
    Empty,
    /// A `{` without its `}`.
    #[error("this `{{` is never closed; write `{{{{` for the brace itself")]
    Unclosed,
    /// A `}` without its `{`.
    #[error("this `}}` closes nothing; write `}}}}` for the brace itself")]
    Stray,
    /// What stands in braces is no name.
    #[error("{0:?} is no name; a name is letters, digits and `_`, and begins with no digit")]
    Name(Box<str>),
    /// Two names with nothing between them.
    #[error("nothing stands between two names, so `1`, `23` and `12`, `3` would be one key; put a `:` there")]
    Adjacent,
}

/// Why a template could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// No value was given for a name.
    #[error("no value for `{name}`")]
    Missing {
        /// The name.
        name: Box<str>,
    },
    /// What came out is no key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// What came out is no pattern.
    #[error(transparent)]
    Pattern(#[from] InvalidPattern),
}

impl Template {
    /// Reads `text` as a template.
    ///
    /// # Errors
    ///
    /// [`InvalidTemplate`], which says what is wrong and where.
    pub fn new(text: &str) -> Result<Self, InvalidTemplate> {
        let pieces = pieces(text).map_err(|(at, fault)| InvalidTemplate { template: text.into(), at, fault })?;
        Ok(Self { pieces: pieces.into() })
    }

    /// The names to be filled in, each once, in the order they first appear.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for piece in &self.pieces {
            if let Piece::Name(name) = piece
                && !names.contains(&&**name)
            {
                names.push(&**name);
            }
        }
        names
    }

    /// The key with what `value` gives for each name put in, escaped.
    ///
    /// # Errors
    ///
    /// [`RenderError::Missing`] where `value` gives nothing, [`RenderError::Key`] where the outcome is no key.
    pub fn render<'v>(&self, mut value: impl FnMut(&str) -> Option<Cow<'v, str>>) -> Result<String, RenderError> {
        let mut key = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => key.push_str(text),
                Piece::Name(name) => {
                    let value = value(name).ok_or_else(|| RenderError::Missing { name: name.clone() })?;
                    key.push_str(&escape_part(&value));
                }
            }
        }
        Key::new(&key)?;
        Ok(key)
    }

    /// The pattern that covers each key [`render`](Self::render) can make with these values: what `value` gives is put in
    /// and matches itself alone, a name it gives nothing for becomes a star.
    ///
    /// # Errors
    ///
    /// [`RenderError::Pattern`] where the outcome is beyond the limits of a pattern.
    pub fn pattern<'v>(&self, mut value: impl FnMut(&str) -> Option<Cow<'v, str>>) -> Result<Pattern, RenderError> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(literal) => text.push_str(&glob_escape(literal)),
                Piece::Name(name) => match value(name) {
                    Some(value) => text.push_str(&glob_escape(&escape_part(&value))),
                    None => text.push('*'),
                },
            }
        }
        Ok(Pattern::new(&text)?)
    }
}

/// Cuts a template into text and names. Text is never empty and never follows text.
fn pieces(template: &str) -> Result<Vec<Piece>, (usize, TemplateFault)> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut at = 0;
    while let Some(brace) = template[at..].find(['{', '}']).map(|found| at + found) {
        text.push_str(&template[at..brace]);
        let behind = &template[brace + 1..];
        if behind.as_bytes().first() == Some(&template.as_bytes()[brace]) {
            text.push_str(&template[brace..=brace]);
            at = brace + 2;
            continue;
        }
        if template.as_bytes()[brace] == b'}' {
            return Err((brace, TemplateFault::Stray));
        }
        let name = behind.split_once('}').ok_or((brace, TemplateFault::Unclosed))?.0;
        if !is_name(name) {
            return Err((brace, TemplateFault::Name(name.into())));
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text).into()));
        } else if !pieces.is_empty() {
            return Err((brace, TemplateFault::Adjacent));
        }
        pieces.push(Piece::Name(name.into()));
        at = brace + name.len() + 2;
    }
    text.push_str(&template[at..]);
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
    if pieces.is_empty() { Err((0, TemplateFault::Empty)) } else { Ok(pieces) }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c == '_' || c.is_alphabetic()) && text.chars().all(|c| c == '_' || c.is_alphanumeric())
}

fn looks_hashed(part: &str) -> bool {
    part.len() == 33
        && part.strip_prefix('~').is_some_and(|digits| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn hashed(part: &str) -> String {
    let digest = Sha256::digest(part.as_bytes());
    digest[..16].iter().fold(String::from("~"), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes what is written to it");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Cases {
        namespaces: Namespaces,
        parts: Vec<PartCase>,
        keys: Vec<KeyCase>,
        patterns: Vec<PatternCase>,
        templates: Vec<TemplateCase>,
        invalid_templates: Vec<InvalidCase>,
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

    #[derive(Deserialize)]
    struct TemplateCase {
        template: String,
        names: Vec<String>,
        values: BTreeMap<String, String>,
        key: Option<String>,
        missing: Option<String>,
        pattern: String,
    }

    #[derive(Deserialize)]
    struct InvalidCase {
        template: String,
        at: usize,
        fault: String,
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

    fn fault_word(fault: &TemplateFault) -> &'static str {
        match fault {
            TemplateFault::Empty => "empty",
            TemplateFault::Unclosed => "unclosed",
            TemplateFault::Stray => "stray",
            TemplateFault::Name(_) => "name",
            TemplateFault::Adjacent => "adjacent",
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
    fn templates_are_filled_in_as_in_every_language() {
        for case in cases().templates {
            let template = Template::new(&case.template).expect("it is a template");
            assert_eq!(template.names(), case.names, "{}", case.template);
            let value = |name: &str| case.values.get(name).map(|value| Cow::Borrowed(value.as_str()));
            let expected = case.key.ok_or_else(|| RenderError::Missing {
                name: case.missing.expect("a case has a key, or what is missing").into(),
            });
            assert_eq!(template.render(value), expected, "{}", case.template);
            assert_eq!(template.pattern(value).expect("it is a pattern").as_str(), case.pattern, "{}", case.template);
        }
    }

    #[test]
    fn a_template_that_is_wrong_says_where() {
        for InvalidCase { template, at, fault } in cases().invalid_templates {
            let error = Template::new(&template).expect_err("it is no template");
            assert_eq!((error.at, fault_word(&error.fault)), (at, &*fault), "{template:?}");
        }
        assert_eq!(
            Template::new("user:{").expect_err("it is no template").to_string(),
            r#"template "user:{", byte 5: this `{` is never closed; write `{{` for the brace itself"#
        );
    }

    #[test]
    fn a_key_that_comes_out_of_a_template_is_checked() {
        let template = Template::new("{a}").expect("it is a template");
        assert_eq!(template.render(|_| Some("".into())), Err(RenderError::Key(InvalidKey::Empty)));
        let template = Template::new(&"{a}:".repeat(40)).expect("it is a template");
        let rendered = template.render(|_| Some("x".repeat(100).into()));
        assert_eq!(rendered, Err(RenderError::Key(InvalidKey::TooLong { bytes: 4040 })));
        let starred = template.pattern(|_| None);
        assert_eq!(starred, Err(RenderError::Pattern(InvalidPattern::TooManyStars { stars: 40 })));
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
        fn a_template_makes_the_key_that_its_parts_make(parts in prop::collection::vec(part(), 1..5)) {
            let text = (0..parts.len()).map(|index| format!("{{p{index}}}")).collect::<Vec<_>>().join(":");
            let names: HashMap<_, _> = (0..).map(|index| format!("p{index}")).zip(&parts).collect();
            let template = Template::new(&text).expect("it is a template");
            let rendered = template.render(|name| names.get(name).map(|part| part.as_str().into()));
            prop_assert_eq!(rendered, build(&parts).map_err(RenderError::Key));
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

        #[test]
        fn any_text_is_a_template_once_its_braces_are_doubled(text in "[a:{}é]{1,12}") {
            let template = Template::new(&text.replace('{', "{{").replace('}', "}}")).expect("it is a template");
            prop_assert_eq!(template.render(|_| None), Ok(text));
        }

        #[test]
        fn reading_a_template_never_fails_but_by_an_error(text in "[a:{}é]{0,12}") {
            let _ = Template::new(&text);
        }
    }
}
