"""What types go in, and as what types they come out."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import sys
import uuid
from typing import Any, NamedTuple, TypedDict

import pytest
from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, RootModel, computed_field

from donjon import Cache, ConfigError, DecodeError, UnsupportedValue
from donjon._types import annotation_codec, codec


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Inner:
    when: datetime.date


@dataclasses.dataclass
class Outer:
    inner: Inner
    inners: list[Inner]
    level: Level
    double: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.double = 2


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    when: datetime.datetime
    id: uuid.UUID
    price: decimal.Decimal


class Aliased(BaseModel):
    model_config = ConfigDict(alias_generator=AliasGenerator(alias=lambda name: name.title()), extra="forbid")
    first: int
    second: int = Field(alias="2nd")

    @computed_field
    def both(self) -> int:
        return self.first + self.second


class Point(NamedTuple):
    x: int
    y: int


if sys.version_info >= (3, 12):
    from typing import TypedDict as PydanticTypedDict
else:
    from typing_extensions import TypedDict as PydanticTypedDict


class Row(PydanticTypedDict):
    id: int
    when: datetime.date


NOW = datetime.datetime(2026, 1, 31, 12, 30, tzinfo=datetime.timezone.utc)
ROUND_TRIPS: list[tuple[Any, Any]] = [
    (Outer(Inner(NOW.date()), [Inner(NOW.date())], Level.LOW), Outer),
    (Strict(when=NOW, id=uuid.UUID(int=1), price=decimal.Decimal("1.10")), Strict),
    (Aliased.model_validate({"First": 1, "2nd": 2}), Aliased),
    ([Inner(NOW.date()), None], list[Inner | None]),
    ({"a": Aliased.model_validate({"First": 1, "2nd": 2})}, dict[str, Aliased]),
    (RootModel[list[int]]([1, 2]), RootModel[list[int]]),
    (Point(1, 2), Point),
    ((1, NOW), tuple[int, datetime.datetime]),
    (Row(id=1, when=NOW.date()), Row),
    (Level.LOW, Level),
    (datetime.time(12, 30), datetime.time),
    (uuid.UUID(int=5), uuid.UUID),
    (decimal.Decimal("0.10"), decimal.Decimal),
    ({1: "a"}.__class__({"1": "a"}), dict[str, str]),
    (b"\xff", bytes),
]


@pytest.mark.parametrize(("value", "as_"), ROUND_TRIPS, ids=lambda each: getattr(each, "__name__", ""))
async def test_what_goes_in_as_a_type_comes_out_as_that_type(cache: Cache, value: Any, as_: Any) -> None:
    loaded = await cache.get_or_set("k", lambda: value, as_=as_)
    for read in (
        loaded,
        await cache.get("k", as_=as_),
        cache.sync.get("k", as_=as_),
        await cache.get_or_set("k", int, as_=as_),
    ):
        assert read == value
        assert type(read) is type(value)


async def test_without_a_type_it_is_the_json_of_it(cache: Cache) -> None:
    await cache.set("k", Outer(Inner(NOW.date()), [], Level.LOW))
    assert await cache.get("k") == {"inner": {"when": "2026-01-31"}, "inners": [], "level": 1}


async def test_what_is_no_valid_one_is_none(cache: Cache) -> None:
    await cache.set("k", {"when": "hush"})
    assert await cache.get("k", as_=Inner) is None
    assert await cache.get("k", "default", as_=Inner) == "default"
    assert await cache.get("missing", "default", as_=Inner) == "default"
    assert cache.stats().undecodable == 2


async def test_a_value_that_one_reader_cannot_read_is_loaded_once(cache: Cache) -> None:
    calls = []

    def loader() -> Inner:
        calls.append(1)
        return Inner(NOW.date())

    await cache.set("k", {"when": "never"})
    for _ in range(3):
        assert await cache.get_or_set("k", loader, as_=Inner) == Inner(NOW.date())
    assert len(calls) == 1
    assert cache.stats().undecodable == 1


@pytest.mark.parametrize(
    "as_",
    [
        None,
        int,
        bytes,
        dict,
        list,
        dict[str, Any],
        dict[Any, int],
        list[dict[str, list[int]]],
        str | None,
        int | list[str],
    ],
    ids=str,
)
def test_what_a_function_says_it_returns_needs_no_work_where_json_can_say_it(as_: Any) -> None:
    assert annotation_codec(as_).is_plain


@pytest.mark.parametrize(
    ("as_", "good", "bad"),
    [
        (int, 1, True),
        (int, 1, "1"),
        (bool, True, 1),
        (float, 1, True),
        (float, 1.5, "1.5"),
        (str, "a", b"a"),
        (dict, {}, []),
        (list, [], {}),
        (dict[str, Any], {"a": [1]}, [1]),
        (list[dict[str, list[int]]], [{"a": [1]}], [{"a": [1, "2"]}]),
        (str | None, None, 1),
        (int | list[str], ["a"], [1]),
    ],
    ids=str,
)
async def test_a_value_is_what_as_says_or_none_at_all(cache: Cache, as_: Any, good: Any, bad: Any) -> None:
    await cache.set("good", good)
    await cache.set("bad", bad)
    assert await cache.get("good", "none", as_=as_) == good
    assert await cache.get("bad", "none", as_=as_) == "none"
    assert await cache.get_or_set("bad", lambda: good, as_=as_) == good
    with pytest.raises(DecodeError):
        await cache.get_or_set("loaded", lambda: bad, as_=as_)


def test_where_nothing_is_said_nothing_is_looked_at() -> None:
    for as_ in (Any, object):
        assert codec(as_) is annotation_codec(as_) is None


@pytest.mark.parametrize("as_", [dict[int, str], tuple, set[int], TypedDict, list[datetime.date]], ids=str)
def test_what_json_cannot_say_needs_some(as_: Any) -> None:
    try:
        assert not annotation_codec(as_).is_plain
    except ConfigError:
        assert as_ is TypedDict


def test_without_pydantic_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unseen: ...

    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ConfigError, match=r"donjon\[pydantic\]"):
        codec(Unseen)
    assert codec(dict[str, int]) is not None


def test_an_unknown_class_is_told_what_to_be(cache: Cache) -> None:
    class Opaque:
        password = "hush"

    with pytest.raises(UnsupportedValue, match=r"Opaque.*dataclass"):
        cache.sync.set("k", {"in": [Opaque()]})
    with pytest.raises(UnsupportedValue):
        cache.sync.set("k", Inner)  # the class itself
