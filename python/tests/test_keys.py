"""Keys and patterns from parts."""

from __future__ import annotations

from typing import Any

import pytest

import donjon
from donjon import ANY, InvalidKey
from donjon._donjon import glob_matches

PARTS = ["a", "a:b", "%", "%3A", "*", "?", "[x]", "\\", "", "x" * 129, "é" * 70, 5, None, True, "null"]


@pytest.mark.parametrize("first", PARTS, ids=str)
@pytest.mark.parametrize("second", PARTS, ids=str)
def test_a_pattern_matches_the_key_of_the_same_parts_and_no_wildcard_in_them(first: Any, second: Any) -> None:
    key = donjon.key(first, "x", second)
    assert glob_matches(donjon.pattern(first, "x", second), key)
    assert glob_matches(donjon.pattern(first, ANY, second), key)
    assert glob_matches(donjon.pattern(ANY, "x", ANY), key)
    for other in PARTS:
        assert glob_matches(donjon.pattern(other, "x", second), key) == (other == first and type(other) is type(first))


def test_no_two_lists_of_texts_make_one_key() -> None:
    texts = ["a", "b", "a:b", "a%3Ab", "%3A", ":", "", "%", "x" * 129, "x" * 130]
    keys = [donjon.key("k", first, second) for first in texts for second in texts]
    assert len(set(keys)) == len(keys)
    assert donjon.key("a", "b", "c") not in {donjon.key("a:b", "c"), donjon.key("a", "b:c")}


def test_a_key_has_to_be_one() -> None:
    for parts in ((), ("",), ("x" * 100,) * 11, ("\ud800",), (1.5,), (b"x",)):
        with pytest.raises(InvalidKey):
            donjon.key(*parts)
    for parts in ((), ("\ud800",), (object(),)):
        with pytest.raises(InvalidKey):
            donjon.pattern(*parts)
