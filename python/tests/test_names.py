"""Keys, patterns, templates, times and settings, as the extension reads them."""

import copy
import pickle
from typing import Any

import pytest

from donjon import _donjon
from donjon._donjon import (
    ANY,
    MISS,
    Template,
    check_key,
    glob_escape,
    glob_matches,
    key,
    parse_settings,
    parse_ttl,
    pattern,
)
from donjon._errors import ConfigError, DonjonError, InvalidKey, InvalidPattern, InvalidTemplate, InvalidTtl

LONE = "\ud800"


def test_parts_cannot_be_taken_for_one_another() -> None:
    assert key("user", "5") == "user:5"
    assert key("a:b", "c") == "a%3Ab:c"
    assert key("a", "b:c") == "a:b%3Ac"


def test_a_pattern_of_parts_covers_the_keys_of_such_parts_alone() -> None:
    made = pattern("user", ANY, "a*b")
    assert made == r"user:*:a\*b"
    assert glob_matches(made, key("user", "5", "a*b"))
    assert not glob_matches(made, key("user", "5", "axb"))


@pytest.mark.parametrize("bad", ["", "x" * 1025, LONE, "a" + LONE])
def test_what_is_no_key_is_refused(bad: str) -> None:
    with pytest.raises(InvalidKey):
        check_key(bad)


@pytest.mark.parametrize("odd", ["\0", "\r\n", " ", "\U0001f600", "{}", "*?[]\\", "x" * 1024])
def test_any_other_text_is_a_key(odd: str) -> None:
    check_key(odd)


@pytest.mark.parametrize("other", [1, None, b"key", 1.5, ["key"]])
def test_nothing_but_text_is_taken_for_it(other: Any) -> None:
    for take in (
        check_key,
        key,
        pattern,
        glob_escape,
        parse_ttl,
        Template,
        lambda value: Template("{a}").render({"a": value}),
    ):
        with pytest.raises(TypeError, match="is a str, not"):
            take(other)


def test_text_with_a_lone_surrogate_is_refused_as_what_it_was_to_be() -> None:
    for take, error in (
        (check_key, InvalidKey),
        (key, InvalidKey),
        (glob_escape, InvalidPattern),
        (Template, InvalidTemplate),
        (parse_ttl, InvalidTtl),
    ):
        with pytest.raises(error, match="lone surrogate"):
            take(LONE)


def test_a_glob_matches_text_and_bytes() -> None:
    assert glob_matches("user:*", "user:5")
    assert glob_matches("a?", b"a\xff")
    assert glob_matches(glob_escape("*"), "*")
    assert not glob_matches(glob_escape("*"), "a")
    for bad in ("", "*a" * 2000, "x" * 2000):
        with pytest.raises(InvalidPattern):
            glob_matches(bad, "a")


def test_times_are_read_in_seconds() -> None:
    assert parse_ttl("300") == 300.0
    assert parse_ttl("1h30m") == 5400.0
    assert parse_ttl("250ms") == 0.25
    for bad in ("", "0", "-5", "nan", "inf", "5 m", "11y", "9999d"):
        with pytest.raises(InvalidTtl):
            parse_ttl(bad)


def test_a_template_is_filled_in_with_escaped_parts() -> None:
    template = Template("user:{user_id}:{view}")
    assert template.names == ["user_id", "view"]
    assert template.render({"user_id": "5", "view": "a:b", "more": "x"}) == "user:5:a%3Ab"
    assert template.pattern({"user_id": "*"}) == r"user:\*:*"
    with pytest.raises(InvalidTemplate, match="no value for `view`"):
        template.render({"user_id": "5"})
    with pytest.raises(InvalidKey):
        Template("{a}").render({"a": ""})
    with pytest.raises(InvalidTemplate):
        Template("user:{")
    assert repr(template) == 'Template("user:{user_id}:{view}")'


def test_a_template_takes_any_mapping() -> None:
    class Parts(dict[str, str]):
        pass

    assert Template("a:{b}").render(Parts(b="c")) == "a:c"


def test_settings_are_read_from_pairs() -> None:
    settings = parse_settings({"CACHE_TTL_STATS": "2m", "CACHE_NAMESPACE": "shop", "HOME": LONE, LONE: ""}.items())
    assert (settings.backend, settings.namespace, settings.enabled, settings.near) == ("memory", "shop", True, False)
    assert (settings.max_bytes, settings.max_entries, settings.redis_url) == (256 * 2**20, None, None)
    assert settings.ttl_classes == {"default": 300.0, "stats": 120.0, "config": 3600.0, "user_data": 300.0}
    assert settings.warnings == []


def test_settings_warn_and_refuse_by_the_name_of_the_variable() -> None:
    assert "CACHE_NAMESPACE" in parse_settings([("CACHE_NAMESPCE", "x")]).warnings[0]
    with pytest.raises(ConfigError, match="CACHE_MAX_BYTES"):
        parse_settings([("CACHE_MAX_BYTES", "many")])
    with pytest.raises(ConfigError, match="CACHE_NAMESPACE"):
        parse_settings([("CACHE_NAMESPACE", LONE)])


def test_the_password_is_in_the_url_and_nowhere_else() -> None:
    settings = parse_settings([("CACHE_BACKEND", "redis"), ("CACHE_REDIS_PASSWORD", "hunter2")])
    assert settings.redis_url == "redis://:hunter2@localhost:6379/0"
    assert "hunter2" not in repr(settings)
    assert "***" in repr(settings)


def test_sentinels_are_one_of_a_kind() -> None:
    assert (repr(MISS), repr(ANY)) == ("MISS", "ANY")
    assert MISS is not ANY
    for sentinel in (MISS, ANY):
        assert pickle.loads(pickle.dumps(sentinel)) is sentinel
        assert copy.copy(sentinel) is copy.deepcopy(sentinel) is sentinel
    with pytest.raises(TypeError):
        type(MISS)()


def test_a_manual_clock_moves_when_told_to_and_never_back() -> None:
    clock = _donjon.ManualClock()
    assert clock.now() == 1000.0
    clock.advance(0.25)
    assert clock.now() == 1000.25
    for bad in (-1, float("nan"), float("inf"), 1e30):
        with pytest.raises(ValueError, match="clock"):
            clock.advance(bad)
    assert clock.now() == 1000.25


def test_every_error_is_a_donjon_error_and_survives_pickling() -> None:
    from donjon import _errors

    for name in _errors.__all__:
        error = getattr(_errors, name)("what to do")
        assert isinstance(error, DonjonError)
        assert str(pickle.loads(pickle.dumps(error))) == "what to do"
