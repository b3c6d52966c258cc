//! Tag: what a tag may be called, and how many an entry may carry.
//!
//! Owns the rules for names alone. Must not know what a tag's version is or who carries it.

use crate::shown::Count;

/// As many tags as one entry may carry.
pub const MAX_TAGS: usize = 64;

/// As many bytes as the name of a tag may have, in UTF-8.
pub const MAX_TAG_BYTES: usize = 256;

/// Says whether `name` may name a tag: 1 to [`MAX_TAG_BYTES`] bytes, no NUL, and not `*` alone.
///
/// Names with a NUL are kept for the cache's own use, and `*` would look as if it meant every tag.
///
/// # Errors
///
/// [`InvalidTag`], which says which of these does not hold.
///
/// # Examples
///
/// ```
/// use donjon_core::tag::{InvalidTag, check_tag};
///
/// assert_eq!(check_tag("user:5"), Ok(()));
/// assert_eq!(check_tag("user:*"), Ok(()), "a star inside a name is a letter like any other");
/// assert_eq!(check_tag("*"), Err(InvalidTag::Star));
/// ```
pub fn check_tag(name: &str) -> Result<(), InvalidTag> {
    if name.is_empty() || name.len() > MAX_TAG_BYTES {
        Err(InvalidTag::Length { bytes: name.len() })
    } else if name.bytes().any(|byte| byte == 0) {
        Err(InvalidTag::Reserved)
    } else if name == "*" {
        Err(InvalidTag::Star)
    } else {
        Ok(())
    }
}

/// Says whether an entry may carry `names`: at most [`MAX_TAGS`], each as [`check_tag`] wants it.
///
/// # Errors
///
/// [`InvalidTag`]; the number of names is looked at first.
///
/// # Examples
///
/// ```
/// use donjon_core::tag::{InvalidTag, check_tags};
///
/// assert_eq!(check_tags(&["jobs", "user:5"]), Ok(()));
/// assert_eq!(check_tags(&vec!["jobs"; 65]), Err(InvalidTag::TooMany { tags: 65 }));
/// ```
pub fn check_tags<S: AsRef<str>>(names: &[S]) -> Result<(), InvalidTag> {
    if names.len() > MAX_TAGS {
        return Err(InvalidTag::TooMany { tags: names.len() });
    }
    names.iter().try_for_each(|name| check_tag(name.as_ref()))
}

/// Why a tag, or a list of them, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTag {
    /// The name has no letters, or more than [`MAX_TAG_BYTES`].
    #[error("a tag must have a name of 1 to {} bytes, got one of {}", Count(MAX_TAG_BYTES), Count(*.bytes))]
    Length {
        /// How long it is.
        bytes: usize,
    },
    /// The name contains a NUL.
    #[error("a tag with a NUL in its name is reserved for the cache itself")]
    Reserved,
    /// The name is `*`.
    #[error("`*` is no tag: to invalidate everything, use `clear`")]
    Star,
    /// There are more than [`MAX_TAGS`] names.
    #[error("an entry carries at most {} tags, got {}", Count(MAX_TAGS), Count(*.tags))]
    TooMany {
        /// How many there are.
        tags: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_measured_in_bytes() {
        assert_eq!(check_tag(&"ä".repeat(128)), Ok(()));
        assert_eq!(check_tag(&"ä".repeat(129)), Err(InvalidTag::Length { bytes: 258 }));
        assert_eq!(check_tag(""), Err(InvalidTag::Length { bytes: 0 }));
        assert_eq!(check_tag("*"), Err(InvalidTag::Star));
    }

    #[test]
    fn the_names_that_the_cache_keeps_for_itself_are_refused() {
        for name in ["\0seq", "\0epoch", "a\0b", "\0"] {
            assert_eq!(check_tag(name), Err(InvalidTag::Reserved));
        }
    }

    #[test]
    fn one_bad_name_spoils_the_list() {
        assert_eq!(check_tags(&["a", ""]), Err(InvalidTag::Length { bytes: 0 }));
        assert_eq!(check_tags(&vec!["a"; MAX_TAGS]), Ok(()));
        assert_eq!(check_tags(&vec!["a"; 10_000]), Err(InvalidTag::TooMany { tags: 10_000 }));
        assert_eq!(check_tags::<&str>(&[]), Ok(()));
    }
}
