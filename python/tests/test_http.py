"""HTTP's rules of caching, as tables: no request, no cache, no clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fastapi")
from donjon.fastapi._http import (
    Lifetime,
    Wanted,
    directives,
    etag,
    lifetime,
    may_answer,
    not_modified,
    varied_by,
    wanted,
)
from donjon.fastapi._kept import PASS, Kept, Varied, parse, response_key

OF = {"sets_cookie": False, "vary": (), "expires": None, "now": 1_000.0, "ttl": 300.0, "grace": 30.0}


def life(control: str = "", status: int = 200, **others: Any) -> Lifetime | None:
    return lifetime(status, [control] if control else [], **{**OF, **others})


@pytest.mark.parametrize(
    ("control", "kept"),
    [
        ("", (300, 30, 30)),
        ("public", (300, 30, 30)),
        ("max-age=60", (60, 0, 0)),
        ("max-age=60, s-maxage=600", (600, 0, 0)),
        ("s-maxage=0, max-age=60", None),
        ('max-age="60"', (60, 0, 0)),
        ("MAX-AGE = 60", (60, 0, 0)),
        ("max-age=60, max-age=600", (60, 0, 0)),
        ("max-age=soon", None),
        ("max-age=-1", None),
        ("max-age", None),
        ("max-age=99999999999", (2**31, 0, 0)),
        ("max-age=60, stale-while-revalidate=5", (60, 5, 0)),
        ("max-age=60, stale-if-error=7", (60, 0, 7)),
        ("stale-if-error=7", (300, 30, 7)),
        ("max-age=60, stale-if-error=7, must-revalidate", (60, 0, 0)),
        ("proxy-revalidate", (300, 0, 0)),
        ("no-cache", None),
        ("no-store", None),
        ("private", None),
        ('private="set-cookie"', None),
        ('ext="no-store, private", max-age=60', (60, 0, 0)),
    ],
)
def test_a_response_says_for_how_long_it_may_be_kept(control: str, kept: tuple[float, float, float] | None) -> None:
    assert life(control) == (None if kept is None else Lifetime(*kept))


@pytest.mark.parametrize(
    ("status", "kept"),
    [
        (200, True),
        (203, True),
        (204, True),
        (301, True),
        (404, True),
        (410, True),
        (101, False),
        (206, False),
        (304, False),
        (500, False),
        (503, False),
    ],
)
def test_what_is_partial_or_a_failure_is_not_kept(status: int, kept: bool) -> None:
    assert (life("max-age=60", status) is not None) == kept


def test_what_is_one_clients_or_varies_by_everything_is_not_kept() -> None:
    assert life("max-age=60", sets_cookie=True) is None
    assert life("max-age=60", vary=["*"]) is None


def test_an_end_counts_where_there_is_no_age() -> None:
    end = "Thu, 01 Jan 1970 00:20:00 GMT"
    assert life(expires=end) == Lifetime(200, 0, 0)
    assert life("max-age=60", expires=end) == Lifetime(60, 0, 0)
    assert life(expires="0") is None


@pytest.mark.parametrize(
    ("age", "asked", "may"),
    [
        (0, Wanted(), True),
        (59, Wanted(), True),
        (60, Wanted(), True),
        (89, Wanted(), True),
        (90, Wanted(), False),
        (90, Wanted(max_stale=40), True),
        (10, Wanted(no_cache=True), False),
        (10, Wanted(max_age=10), True),
        (11, Wanted(max_age=10), False),
        (11, Wanted(min_fresh=50), False),
        (10, Wanted(min_fresh=50), True),
    ],
)
def test_a_kept_response_answers_as_long_as_it_and_the_request_allow(age: float, asked: Wanted, may: bool) -> None:
    assert may_answer(Lifetime(60, 30, 600), age, asked) == may


def test_a_request_says_how_fresh_its_answer_has_to_be() -> None:
    assert wanted(None) == Wanted()
    assert wanted(None, "no-cache") == Wanted(no_cache=True)
    assert wanted("max-age=1", "no-cache") == Wanted(max_age=1)
    assert wanted("no-store, only-if-cached, min-fresh=5") == Wanted(no_store=True, only_if_cached=True, min_fresh=5)
    assert wanted("max-stale").max_stale > 1e9
    assert wanted("max-stale=5").max_stale == 5
    assert wanted("max-age=x").max_age == 0


@pytest.mark.parametrize(
    ("none_match", "known"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
        ('"', False),
        ("", False),
    ],
)
def test_an_entity_tag_that_the_client_has_is_found_in_its_list(none_match: str, known: bool) -> None:
    assert not_modified(none_match, None, '"a"', None) == known


def test_a_list_of_entity_tags_counts_before_a_date() -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    assert not_modified(None, date, None, date)
    assert not not_modified('"b"', date, '"a"', date)
    assert not not_modified(None, date, None, None)
    assert not not_modified(None, "never", None, date)


def test_an_entity_tag_is_of_its_parts_and_not_of_their_sum() -> None:
    tags = {
        etag("/a", [], ["text/plain"], b"x"),
        etag("/a", [], ["text/html"], b"x"),
        etag("/a", [("accept", "b")], ["text/plain"], b"x"),
        etag("/a", [("accept", "")], ["text/plain"], b"x"),
        etag("/at", [], ["ext/plain"], b"x"),
        etag("/a", [], ["text/plain"], b"y"),
    }
    assert len(tags) == 6


@given(st.lists(st.text()), st.text())
def test_no_header_a_client_sends_is_too_odd_to_read(values: list[str], text: str) -> None:
    wanted(text, text)
    directives(values)
    varied_by(values)
    not_modified(text, text, text, text)


@given(st.binary())
def test_what_is_no_work_of_ours_is_nothing(stored: bytes) -> None:
    assert parse(stored) in (None, PASS)


def test_what_was_kept_is_read_as_it_was() -> None:
    kept = Kept(200, [("x", "ü"), ("x", "2")], b"a\nb\x00", 5.5, Lifetime(1.0, 2.0, 3.0))
    varied = Varied.by(["b", "a", "b"])
    assert parse(kept.dump()) == kept
    assert parse(varied.dump()) == varied
    assert varied.names == ["a", "b"]
    for other in (None, 1, "text", {}, b'["kept", 1]\n', b"[]\n", b'["kept",200,1.0,1.0,1.0,1.0,[["one"]]]\n'):
        assert parse(other) is None


def test_a_url_is_its_own_key_unless_it_is_too_long() -> None:
    scope = {"scheme": "https", "path": "/ü", "raw_path": b"/%C3%BC", "query_string": b"q=*"}
    headers = {"host": "App.example:8000"}
    assert response_key(scope, headers) == "response:https://app.example:8000/%C3%BC?q=*"
    assert response_key({**scope, "query_string": b"q" * 1000}, headers) is None
