"""Values that know the type they were made from: who checks them, and who takes them at their word."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import ipaddress
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
import redis
from loaders import PATIENT
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    field_serializer,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict

from donjon import Cache, DecodeError
from donjon._types import annotation_codec, codec
from redis_server import RedisServer

NOW = datetime.datetime(2026, 1, 31, 12, 30, tzinfo=datetime.timezone.utc)
validated: list[str] = []


class Part(BaseModel):
    name: str = Field(min_length=1)
    when: datetime.datetime

    @field_validator("name")
    @classmethod
    def _check(cls, name: str) -> str:
        validated.append(name)
        return name


class Whole(BaseModel):
    parts: list[Part]
    best: Part | None = None

    @model_validator(mode="after")
    def _check(self) -> Whole:
        validated.append("whole")
        return self


@dataclasses.dataclass
class Row:
    id: int
    at: datetime.date


class Plain(TypedDict, total=False):
    id: int
    names: list[str]


class Dated(TypedDict):
    default: datetime.date
    strict: datetime.date
    type: datetime.date
    metadata: datetime.date


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


class Small(BaseModel):
    size: int = Field(le=10)


class Large(BaseModel):
    size: int = Field(gt=10)


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    when: datetime.datetime


class Inner:
    """A class that pydantic knows nothing of but what it is told."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Inner) and other.text == self.text

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            lambda value: value if isinstance(value, Inner) else Inner(value),
            core_schema.union_schema([core_schema.is_instance_schema(cls), core_schema.str_schema()]),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.text),
        )


class Holder(BaseModel):
    inner: Inner
    path: pathlib.Path
    address: ipaddress.IPv4Address
    numbers: set[int]


class Listed(BaseModel):
    tags: list[str]

    @field_validator("tags", mode="before")
    @classmethod
    def _split(cls, tags: object) -> object:
        return tags.split(",") if isinstance(tags, str) else tags

    @field_serializer("tags")
    def _join(self, tags: list[str]) -> str:
        return ",".join(tags)


class Sorted(BaseModel):
    first: Small | Large
    second: Small | Large
    third: Small | None = None
    fourth: Large | None = None


class Doubled(BaseModel):
    number: int

    @field_validator("number", mode="before")
    @classmethod
    def _halve(cls, number: object) -> object:
        return int(number.strip("x")) // 2 if isinstance(number, str) else number

    @field_serializer("number")
    def _double(self, number: int) -> str:
        return str(number * 2)


class Secretive(BaseModel):
    text: str
    _length: int = PrivateAttr(0)

    @model_validator(mode="after")
    def _measure(self) -> Secretive:
        self._length = len(self.text)
        return self


TYPED: list[tuple[Any, Any]] = [
    (Part, Part(name="a", when=NOW)),
    (Whole, Whole(parts=[Part(name="a", when=NOW)], best=Part(name="b", when=NOW))),
    (list[Part], [Part(name="a", when=NOW)]),
    (dict[str, Part], {"a": Part(name="a", when=NOW)}),
    (Part | None, None),
    (Part | None, Part(name="a", when=NOW)),
    (Row, Row(1, NOW.date())),
    (list[Row], [Row(1, NOW.date())]),
    (Plain, Plain(id=1, names=["a"])),
    (list[Plain], [Plain(id=1)]),
    (Dated, Dated(default=NOW.date(), strict=NOW.date(), type=NOW.date(), metadata=NOW.date())),
    (Cat | Dog, Dog(name="a")),
    (Annotated[Cat | Dog, Discriminator("kind")], Dog(name="a")),
    (list[Small | Large], [Large(size=11), Small(size=1)]),
    (Node, Node(name="a", children=[Node(name="b", children=[Node(name="c")])])),
    (Strict, Strict(when=NOW)),
    (
        Holder,
        Holder(inner=Inner("x"), path=pathlib.Path("/a"), address=ipaddress.IPv4Address("127.0.0.1"), numbers={1, 2}),
    ),
    (Listed, Listed(tags=["a", "b"])),
    (Doubled, Doubled(number=5)),
    (Sorted, Sorted(first=Large(size=11), second=Small(size=1), third=Small(size=2), fourth=Large(size=12))),
    (Secretive, Secretive(text="abc")),
    (Annotated[int, Field(gt=3)], 5),
    (Annotated[str, AfterValidator(str.strip)], "a"),
    (set[int], {1, 2}),
    (dict[int, str], {1: "a"}),
    (tuple[int, datetime.date], (1, NOW.date())),
    (Literal["a", "b"], "a"),
    (float, 1.0),
    (pathlib.PurePosixPath, pathlib.PurePosixPath("/a")),
]


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types all the way down."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, BaseModel):
        return all(same(getattr(one, name), getattr(other, name)) for name in type(one).model_fields)
    if isinstance(one, dict):
        return all(same(one[name], other[name]) for name in one)
    return not isinstance(one, (list, tuple)) or all(map(same, one, other))


@pytest.mark.parametrize(("of", "value"), TYPED, ids=lambda each: str(each)[:40])
async def test_a_hit_has_the_type_of_the_miss(cache: Cache, of: Any, value: Any) -> None:
    calls = []

    async def function(number: int) -> Any:
        calls.append(number)
        return value

    function.__annotations__["return"] = of
    cached = cache.cached("k:{number}")(function)
    for _ in range(3):
        assert same(await cached(1), value)
    assert same(await cached.get(1), value)
    assert same(await cache.get("k:1", as_=of), value)
    assert calls == [1]
    assert cache.stats().undecodable == 0


@pytest.fixture(params=["memory", "redis", "near"])
def any_cache(request: pytest.FixtureRequest) -> Cache:
    if request.param == "memory":
        return Cache.memory(early=0.0)
    server: RedisServer = request.getfixturevalue("redis_server")
    namespace = request.getfixturevalue("namespace")
    return Cache.redis(server.url, namespace=namespace, early=0.0, near=request.param == "near", **PATIENT)


async def test_what_was_made_from_the_type_that_is_asked_for_is_not_validated(any_cache: Cache) -> None:
    async with any_cache as cache:

        @cache.cached("whole")
        async def whole() -> Whole:
            part = Part(name="a", when=NOW)
            return Whole(parts=[part, part], best=part)

        first = await whole()
        validated.clear()
        for _ in range(3):
            assert await whole() == first
            assert await cache.get_or_set("whole", int, as_=Whole) == first
            assert await cache.get("whole", as_=Whole) == first
        assert validated == []


async def test_what_was_made_from_another_is_validated(any_cache: Cache) -> None:
    async with any_cache as cache:
        await cache.set("part", Part(name="a", when=NOW))

        @cache.cached("part")
        async def part() -> Part:
            raise AssertionError("there is one")

        expected = Part(name="a", when=NOW)
        validated.clear()
        assert await part() == await part() == expected
        assert validated == ["a", "a"]


async def test_two_versions_of_an_application_do_not_evict_each_other(any_cache: Cache) -> None:
    loads = []

    class Old(BaseModel):
        id: int
        name: str

    class New(BaseModel):
        id: int
        name: str
        email: str | None = None

    async with any_cache as cache:

        async def old(user_id: int) -> Any:
            loads.append("old")
            return Old(id=user_id, name="Ada")

        async def new(user_id: int) -> Any:
            loads.append("new")
            return New(id=user_id, name="Ada", email="ada@example.org")

        first = cache.cached("user:{user_id}", as_=Old)(old)
        second = cache.cached("user:{user_id}", as_=New)(new)
        for _ in range(3):
            assert await first(1) == Old(id=1, name="Ada")
            assert await second(1) == New(id=1, name="Ada")
            assert await second(2) == New(id=2, name="Ada", email="ada@example.org")
            assert await first(2) == Old(id=2, name="Ada")
        assert loads == ["old", "new"]
        assert cache.stats().undecodable == 0


async def test_only_what_another_version_cannot_read_is_a_miss(any_cache: Cache) -> None:
    loads = []

    class Old(BaseModel):
        id: int

    class New(BaseModel):
        id: int
        email: str

    async with any_cache as cache:

        async def old(user_id: int) -> Any:
            loads.append("old")
            return Old(id=user_id)

        async def new(user_id: int) -> Any:
            loads.append("new")
            return New(id=user_id, email="ada@example.org")

        first = cache.cached("user:{user_id}", as_=Old)(old)
        second = cache.cached("user:{user_id}", as_=New)(new)
        assert await first(1) == Old(id=1)
        for _ in range(3):
            assert await second(1) == New(id=1, email="ada@example.org")
            assert await first(1) == Old(id=1)
        assert loads == ["old", "new"]


async def test_a_function_that_now_returns_something_else_is_not_given_what_it_returned_before(cache: Cache) -> None:
    async def old() -> list[int]:
        return [1]

    async def new() -> dict[str, int]:
        return {"a": 1}

    assert await cache.cached("k")(old)() == [1]
    assert await cache.cached("k")(new)() == {"a": 1}
    assert await cache.cached("k")(old)() == [1]


async def test_what_the_loader_gives_is_stored_as_its_type_has_it(cache: Cache) -> None:
    async def loader() -> Any:
        return {"name": "a", "when": NOW.isoformat(), "more": 1}

    assert await cache.get_or_set("k", loader, as_=Part) == Part(name="a", when=NOW)
    assert await cache.get("k") == {"name": "a", "when": "2026-01-31T12:30:00Z"}


async def test_what_the_loader_gives_and_is_none_of_the_type_is_stored_by_nobody(
    cache: Cache, spin: Callable[[], Any]
) -> None:
    gate = asyncio.Event()

    async def loader() -> Any:
        await gate.wait()
        return {"name": 5}

    tasks = [asyncio.create_task(cache.get_or_set("k", loader, as_=Part)) for _ in range(3)]
    await spin()
    gate.set()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, DecodeError)
        assert "5" not in str(outcome)
    assert await cache.exists("k") is False


async def test_private_attributes_that_a_validator_sets_are_set_on_a_hit(cache: Cache) -> None:
    for _ in range(2):
        found = await cache.get_or_set("k", lambda: Secretive(text="abc"), as_=Secretive)
        assert found._length == 3


async def test_a_value_stored_by_hand_for_a_cached_function_is_of_its_type(cache: Cache) -> None:
    @cache.cached("part:{name}")
    async def part(name: str) -> Part:
        raise AssertionError("it was set")

    stored = Part(name="a", when=NOW)
    await part.set(stored, "a")
    validated.clear()
    assert await part("a") == stored
    assert validated == []
    with pytest.raises(DecodeError):
        await part.set({"name": ""}, "b")  # type: ignore[arg-type]


def test_a_fingerprint_is_of_the_schema_and_the_same_in_every_process() -> None:
    program = """
import datetime, json
from pydantic import BaseModel, Field
from donjon._types import codec
class Part(BaseModel):
    name: str = Field(min_length=1)
    when: datetime.datetime
print(json.dumps([codec(Part).fingerprint, codec(list[Part]).fingerprint, codec(Part | None).fingerprint]))
"""
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert json.loads(said) == [codec(of).fingerprint for of in (Part, list[Part], Part | None)]
    prints = [codec(of).fingerprint for of, _ in TYPED if codec(of) is not None]
    assert len(set(prints)) >= len({str(of) for of, _ in TYPED}) - 4


def test_what_is_plain_json_is_not_even_built_anew() -> None:
    for of in (Plain, list[Plain], list[dict[str, int]], Literal["a"]):
        assert annotation_codec(of).is_plain, of
    for of in (Dated, Part, Literal[b"a"], dict[int, str]):
        assert not annotation_codec(of).is_plain, of


async def test_the_envelope_says_what_a_value_was_made_from(
    redis_server: RedisServer, namespace: str, foreign: redis.Redis
) -> None:
    async with Cache.redis(redis_server.url, namespace=namespace, **PATIENT) as cache:
        await cache.get_or_set("typed", lambda: Part(name="a", when=NOW), as_=Part)
        await cache.set("untyped", Part(name="a", when=NOW))
    typed, untyped = foreign.get(f"{namespace}:typed"), foreign.get(f"{namespace}:untyped")
    fingerprint = codec(Part).fingerprint
    assert fingerprint is not None
    assert (typed[36] & 2, typed[44:52]) == (2, fingerprint.to_bytes(8, "big"))
    assert untyped[36] & 2 == 0


async def test_many_are_typed_as_one_is(any_cache: Cache) -> None:
    asked: list[list[str]] = []

    async def loader(keys: list[str]) -> dict[str, Any]:
        asked.append(keys)
        return {key: {"name": key, "when": NOW} for key in keys if key != "none"}

    async with any_cache as cache:
        await cache.set("bad", {"name": 5})
        await cache.set("good", Part(name="good", when=NOW))
        keys = ["a", "bad", "good", "none", "b"]
        expected = {key: Part(name=key, when=NOW) for key in keys if key != "none"}
        assert await cache.get_or_set_many(keys, loader, as_=Part) == expected
        assert sorted(key for some in asked for key in some) == ["a", "b", "bad", "none"]
        validated.clear()
        keys.remove("none")
        for _ in range(2):
            assert await cache.get_or_set_many(keys, loader, as_=Part) == expected
        assert set(validated) == {"good"}
        assert list(await asyncio.to_thread(cache.sync.get_or_set_many, keys, loader, as_=Part)) == keys
        assert len(asked) == 2


async def test_many_of_which_one_is_none_of_the_type_store_none(any_cache: Cache) -> None:
    async with any_cache as cache:
        with pytest.raises(DecodeError):
            await cache.get_or_set_many(["a", "b"], lambda keys: {"a": Part(name="a", when=NOW), "b": 5}, as_=Part)
        assert await cache.get_many(["a", "b"]) == {}
        assert cache.stats().flights == 0


async def test_what_is_warmed_with_a_type_is_of_it(any_cache: Cache) -> None:
    part = Part(name="a", when=NOW)
    async with any_cache as cache:
        await cache.warm(["a"], lambda key: part, as_=Part)
        await cache.warm({"b": part}, as_=Part)
        report = await cache.warm({"c": {"name": 5}}, as_=Part)
        assert isinstance(report.errors["c"], DecodeError)
        validated.clear()
        for key in ("a", "b"):
            assert await cache.get(key, as_=Part) == part
        assert validated == []
