//! Spelling: the known name that a mistyped one was probably meant to be.
//!
//! Owns the distance between two names. Must not know what the names are of.

use alloc::vec::Vec;

/// The name of `known` that `given` is closest to; the first of several that are equally close.
///
/// Costs the product of the two lengths for each known name, `given` counting as at most [`LONGEST`] bytes.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known.into_iter().min_by_key(|name| distance(given, name))
}

/// How many bytes must be put in, left out or replaced to make `there` of `here`.
///
/// Of names longer than [`LONGEST`] only that many bytes are looked at.
pub(crate) fn distance(here: &str, there: &str) -> usize {
    let here = &here.as_bytes()[..here.len().min(LONGEST)];
    let there = &there.as_bytes()[..there.len().min(LONGEST)];
    let mut row: Vec<usize> = (0..=there.len()).collect();
    for (above, &byte) in here.iter().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (column, &other) in there.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[there.len()]
}

/// Names come from people, but also from whoever sets the environment: more is not worth comparing.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(here: &[u8], there: &[u8]) -> usize {
        match (here, there) {
            ([], rest) | (rest, []) => rest.len(),
            ([one, here_rest @ ..], [other, there_rest @ ..]) => (naive(here_rest, there_rest)
                + usize::from(one != other))
            .min(naive(here_rest, there) + 1)
            .min(naive(here, there_rest) + 1),
        }
    }

    proptest! {
        #[test]
        fn the_distance_is_that_of_the_recursive_definition(here in "[abc]{0,6}", there in "[abc]{0,6}") {
            prop_assert_eq!(distance(&here, &there), naive(here.as_bytes(), there.as_bytes()));
        }
    }

    #[test]
    fn two_letters_that_changed_places_are_two_away() {
        assert_eq!(distance("defualt", "default"), 2);
        assert_eq!(nearest("defualt", ["stats", "default", "config"]), Some("default"));
        assert_eq!(nearest("x", []), None);
    }
}
