//! Template: a text with names to be filled in, such as `user:{user_id}:profile`.
//!
//! Owns the syntax, and the escape of what is put in. Must not know what the outcome is used for.
//! Invariant: read once; what is filled in can neither end its part nor, in a pattern, stand for anything but itself.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::key::{InvalidKey, Key, escape_part};
use crate::pattern::{InvalidPattern, Pattern, ends_between_tokens, glob_escape};
use crate::shown::{Count, Plain, Quoted};
use crate::tag::{InvalidTag, check_tag};

/// A text with names to be filled in: `user:{user_id}:profile`. `{{` and `}}` stand for the braces themselves. A name may lead to a part
/// of what it names, `{user.id}`: a name of its own here, which the host makes sense of.
///
/// What is put in is escaped, the text around it is used as it is. Values cannot be taken for one another where a `:`
/// stands between two names; `{a}-{b}` cannot tell `1-2` and `3` from `1` and `2-3`.
///
/// # Examples
///
/// ```
/// use donjon_core::template::Template;
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
    text: Box<str>,
    pieces: Box<[Piece]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// `at` is where its brace stands, in bytes.
    Name {
        name: Box<str>,
        at: usize,
    },
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template {}, byte {}: {fault}", Quoted(.template), Count(*.at))]
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
    #[error("{} is no name; a name is letters, digits and `_`, and begins with no digit; `.` leads to a part of what it names", Quoted(.0))]
    Name(Box<str>),
    /// Two names with nothing between them.
    #[error("nothing stands between two names, so `1`, `23` and `12`, `3` would be one key; put a `:` there")]
    Adjacent,
    /// In a pattern: a name within a class, or behind a backslash.
    #[error("a name may stand neither within `[…]` nor behind a backslash, where its value could not be escaped")]
    InToken,
    /// In a pattern: whatever is put in, it is none.
    #[error(transparent)]
    Pattern(InvalidPattern),
}

/// Why a template could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// No value was given for a name.
    #[error("no value for `{}`", Plain(.name))]
    Missing {
        /// The name.
        name: Box<str>,
    },
    /// What came out is no key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// What came out is no tag.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
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
        Ok(Self { text: text.into(), pieces: pieces.into() })
    }

    /// The names to be filled in, each once, in the order they first appear.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for piece in &self.pieces {
            if let Piece::Name { name, .. } = piece
                && !names.contains(&&**name)
            {
                names.push(&**name);
            }
        }
        names
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key with what `value` gives for each name put in, escaped.
    ///
    /// # Errors
    ///
    /// [`RenderError::Missing`] where `value` gives nothing, [`RenderError::Key`] where the outcome is no key.
    pub fn render<'v>(&self, mut value: impl FnMut(&str) -> Option<Cow<'v, str>>) -> Result<String, RenderError> {
        let key = self.fill(&mut value, escape_part)?;
        Key::new(&key)?;
        Ok(key)
    }

    /// The tag with what `value` gives for each name put in, escaped as in a key.
    ///
    /// # Errors
    ///
    /// [`RenderError::Missing`] where `value` gives nothing, [`RenderError::Tag`] where the outcome is no tag.
    pub fn tag<'v>(&self, mut value: impl FnMut(&str) -> Option<Cow<'v, str>>) -> Result<String, RenderError> {
        let tag = self.fill(&mut value, escape_part)?;
        check_tag(&tag)?;
        Ok(tag)
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
                Piece::Name { name, .. } => match value(name) {
                    Some(value) => text.push_str(&glob_escape(&escape_part(&value))),
                    None => text.push('*'),
                },
            }
        }
        Ok(Pattern::new(&text)?)
    }

    /// The text with what `value` gives for each name put in, as `escape` writes it.
    fn fill<'v>(
        &self,
        value: &mut dyn FnMut(&str) -> Option<Cow<'v, str>>,
        escape: fn(&str) -> Cow<'_, str>,
    ) -> Result<String, RenderError> {
        let mut filled = String::with_capacity(self.text.len() + 16);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Name { name, .. } => {
                    let value = value(name).ok_or_else(|| RenderError::Missing { name: name.clone() })?;
                    filled.push_str(&escape(&value));
                }
            }
        }
        Ok(filled)
    }
}

/// A glob with names to be filled in: `user:{id}:*`. What is put in matches itself alone; the text around it is the
/// pattern's own. `{{` and `}}` stand for the braces themselves.
///
/// # Examples
///
/// ```
/// use donjon_core::template::PatternTemplate;
///
/// let template = PatternTemplate::new("user:{id}:*")?;
/// assert_eq!(template.render(|_| Some("a*b".into()))?.as_str(), r"user:a\*b:*");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternTemplate(Template);

impl PatternTemplate {
    /// Reads `text` as a pattern template.
    ///
    /// # Errors
    ///
    /// [`InvalidTemplate`], which says what is wrong and where.
    pub fn new(text: &str) -> Result<Self, InvalidTemplate> {
        let template = Template::new(text)?;
        // Within a class, or upon a backslash, the escape of a value would be read as a member or as escaped itself, and
        // what the value holds would come alive.
        for two in template.pieces.windows(2) {
            if let [Piece::Text(before), Piece::Name { at, .. }] = two
                && !ends_between_tokens(before)
            {
                return Err(InvalidTemplate { template: text.into(), at: *at, fault: TemplateFault::InToken });
            }
        }
        let template = Self(template);
        match template.render(|_| Some("x".into())) {
            Err(RenderError::Pattern(invalid)) => {
                Err(InvalidTemplate { template: text.into(), at: 0, fault: TemplateFault::Pattern(invalid) })
            }
            _ => Ok(template),
        }
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The pattern with what `value` gives for each name put in, escaped as in a key and then as literal text.
    ///
    /// # Errors
    ///
    /// [`RenderError::Missing`] where `value` gives nothing, [`RenderError::Pattern`] where the outcome is too long.
    pub fn render<'v>(&self, mut value: impl FnMut(&str) -> Option<Cow<'v, str>>) -> Result<Pattern, RenderError> {
        let text = self.0.fill(&mut value, |value| glob_escape(&escape_part(value)).into_owned().into())?;
        Ok(Pattern::new(&text)?)
    }
}

/// Cuts a template into text and names. Text is never empty and never follows text.
fn pieces(template: &str) -> Result<Vec<Piece>, (usize, TemplateFault)> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut letters = template.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let is_brace = matches!(letter, '{' | '}');
        if !is_brace || letters.next_if(|(_, next)| *next == letter).is_some() {
            text.push(letter);
            continue;
        }
        if letter == '}' {
            return Err((at, TemplateFault::Stray));
        }
        let mut name = String::new();
        loop {
            match letters.next() {
                Some((_, '}')) => break,
                Some((_, letter)) => name.push(letter),
                None => return Err((at, TemplateFault::Unclosed)),
            }
        }
        if !is_name(&name) {
            return Err((at, TemplateFault::Name(name.into())));
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(core::mem::take(&mut text).into()));
        } else if !pieces.is_empty() {
            return Err((at, TemplateFault::Adjacent));
        }
        pieces.push(Piece::Name { name: name.into(), at });
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
    if pieces.is_empty() { Err((0, TemplateFault::Empty)) } else { Ok(pieces) }
}

/// Beyond ASCII any character passes for a letter: which of them are letters is a table of kilobytes, in every page that loads this.
fn is_name(text: &str) -> bool {
    let mut begins = true;
    for letter in text.bytes() {
        let fits = match letter {
            b'.' | b'0'..=b'9' => !begins,
            _ => letter == b'_' || letter.is_ascii_alphabetic() || !letter.is_ascii(),
        };
        if !fits {
            return false;
        }
        begins = letter == b'.';
    }
    !begins
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::key::build;

    #[derive(Deserialize)]
    struct Cases {
        templates: Vec<TemplateCase>,
        invalid_templates: Vec<InvalidCase>,
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

    fn fault_word(fault: &TemplateFault) -> &'static str {
        match fault {
            TemplateFault::Empty => "empty",
            TemplateFault::Unclosed => "unclosed",
            TemplateFault::Stray => "stray",
            TemplateFault::Name(_) => "name",
            TemplateFault::Adjacent => "adjacent",
            TemplateFault::InToken => "in token",
            TemplateFault::Pattern(_) => "pattern",
        }
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
    fn a_tag_that_comes_out_of_a_template_is_checked() {
        let template = Template::new("{a}").expect("it is a template");
        assert_eq!(template.tag(|_| Some("jobs:1".into())), Ok("jobs%3A1".into()));
        assert_eq!(template.tag(|_| Some("*".into())), Err(RenderError::Tag(InvalidTag::Star)));
    }

    #[test]
    fn the_stars_of_a_pattern_template_are_its_own_and_those_of_a_value_are_not() {
        let template = PatternTemplate::new("user:{id}:*").expect("it is a template");
        let pattern = template.render(|_| Some("a*:[b]".into())).expect("it is a pattern");
        assert_eq!(pattern.as_str(), r"user:a\*%3A\[b\]:*");
        assert_eq!(template.render(|_| None), Err(RenderError::Missing { name: "id".into() }));
        let long = template.render(|_| Some("x".repeat(129).into())).expect("it is a pattern");
        assert_eq!(long.as_str().len(), "user:".len() + 33 + ":*".len());
    }

    #[test]
    fn a_pattern_template_keeps_its_names_out_of_classes_and_escapes() {
        for (text, at, fault) in [
            ("[{a}]", 1, "in token"),
            ("x[^{a}", 3, "in token"),
            ("[a-{a}]", 3, "in token"),
            ("{a}:\\{b}", 5, "in token"),
            ("", 0, "empty"),
            ("{a", 0, "unclosed"),
            ("[é-z]{a}", 0, "pattern"),
        ] {
            let error = PatternTemplate::new(text).expect_err("it is no template");
            assert_eq!((error.at, fault_word(&error.fault)), (at, fault), "{text:?}");
        }
        for text in ["[ab]{a}[", "\\\\{a}\\", "*{a}?", "[\\]]{a}"] {
            assert!(PatternTemplate::new(text).is_ok(), "{text:?}");
        }
    }

    /// Globs of nothing but what is special.
    fn glob() -> impl Strategy<Value = String> {
        "[*?a\\[\\]\\\\^-]{0,4}"
    }

    /// Whether `glob`, as part of a longer one, covers `text`.
    fn covers(glob: &str, text: &str) -> bool {
        if glob.is_empty() || text.is_empty() {
            text.is_empty() && glob.chars().all(|c| c == '*')
        } else {
            Pattern::new(glob).expect("it has no range beyond ascii").matches(text.as_bytes())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_template_makes_the_key_that_its_parts_make(parts in prop::collection::vec("[a:%~é2*-]{0,4}|[ab]{127,130}", 1..5)) {
            let text = (0..parts.len()).map(|index| format!("{{p{index}}}")).collect::<Vec<_>>().join(":");
            let names: HashMap<_, _> = (0..).map(|index| format!("p{index}")).zip(&parts).collect();
            let template = Template::new(&text).expect("it is a template");
            let rendered = template.render(|name| names.get(name).map(|part| part.as_str().into()));
            prop_assert_eq!(rendered, build(&parts).map_err(RenderError::Key));
        }

        #[test]
        fn a_value_in_a_pattern_template_matches_itself_alone(
            before in glob(), value in glob(), after in glob(), key in "[*?a\\[\\]\\\\-]{1,6}"
        ) {
            if let Ok(template) = PatternTemplate::new(&format!("{before}{{v}}{after}")) {
                let pattern = template.render(|_| Some(value.as_str().into()));
                let expected = (0..=key.len()).any(|at| {
                    let (start, rest) = key.split_at(at);
                    covers(&before, start) && rest.strip_prefix(&*value).is_some_and(|end| covers(&after, end))
                });
                let matched = pattern.is_ok_and(|pattern| pattern.matches(key.as_bytes()));
                prop_assert_eq!(matched, expected);
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
