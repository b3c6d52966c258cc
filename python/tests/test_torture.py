"""Faults that other caches have, each by the number it has in the project's list, and named after what donjon does instead.

These are the ones that a single process can show; the same names run against every backend.
"""

from __future__ import annotations

import asyncio
import datetime
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from loaders import Loader, elsewhere
from pydantic import BaseModel

import donjon
from donjon import Cache
from donjon._donjon import ManualClock

Spin = Callable[[], Awaitable[None]]
Invalidate = Callable[[Cache], Awaitable[object]]


class Author(BaseModel):
    name: str
    born: datetime.date


class Book(BaseModel):
    id: uuid.UUID
    authors: list[Author]


INVALIDATIONS: dict[str, Invalidate] = {
    "key": lambda cache: cache.delete("user:1:profile"),
    "keys": lambda cache: cache.delete_many(["x", "user:1:profile"]),
    "pattern": lambda cache: cache.invalidate_pattern("user:*:profile"),
    "tag": lambda cache: cache.invalidate_tags("user:1"),
    "namespace": lambda cache: cache.clear(),
    "event": lambda cache: cache.emit("user.changed", id=1),
}


@pytest.fixture
def cache(cache: Cache) -> Cache:
    cache.rules.on("user.changed", keys=["user:{id}:profile"])
    return cache


@pytest.mark.parametrize("invalidate", INVALIDATIONS.values(), ids=INVALIDATIONS)
@pytest.mark.parametrize("way", ["get_or_set", "lookup", "cached", "get_or_set_many"])
async def test_t01_a_load_that_began_before_an_invalidation_is_not_stored(
    cache: Cache, spin: Spin, invalidate: Invalidate, way: str
) -> None:
    row = {"name": "old"}
    read, go = asyncio.Event(), asyncio.Event()

    async def query(*keys: Any) -> Any:
        seen = dict(row)
        read.set()
        await go.wait()
        return {"user:1:profile": seen} if way == "get_or_set_many" else seen

    @cache.cached("user:{user_id}:profile", tags=["user:{user_id}"])
    async def profile(user_id: int) -> Any:
        return await query()

    async def ask() -> Any:
        if way == "get_or_set":
            return await cache.get_or_set("user:1:profile", query, tags=["user:1"])
        if way == "cached":
            return await profile(1)
        if way == "get_or_set_many":
            return (await cache.get_or_set_many(["user:1:profile"], query, tags=["user:1"]))["user:1:profile"]
        async with await cache.lookup("user:1:profile") as found:
            if found:
                return found.value  # type: ignore[union-attr]
            value = await query()
            await cache.fill(found, value, tags=["user:1"])
            return value

    leader = elsewhere(ask())
    await read.wait()
    joined_before = elsewhere(ask())
    await spin()
    row["name"] = "new"
    await invalidate(cache)
    asked_after = elsewhere(ask())
    await spin()
    go.set()
    assert await asked_after == {"name": "new"}
    assert (await leader)["name"] == "old"
    assert await joined_before == {"name": "new"}
    assert await cache.get("user:1:profile") == {"name": "new"}
    assert await ask() == {"name": "new"}


async def test_t01_a_set_by_hand_outlives_the_load_it_met(cache: Cache) -> None:
    loader = Loader("loaded")
    leader = asyncio.create_task(cache.get_or_set("k", loader))
    await loader.begun.wait()
    await cache.set("k", "set")
    loader.go.set()
    assert await leader == "loaded"
    assert await cache.get("k") == "set"


async def test_t02_when_the_leader_is_cancelled_a_waiter_takes_the_lead(cache: Cache, spin: Spin) -> None:
    first, second = Loader("first"), Loader("second")
    leader = asyncio.create_task(cache.get_or_set("k", first))
    await first.begun.wait()
    followers = [asyncio.create_task(cache.get_or_set("k", second)) for _ in range(5)]
    await spin()
    leader.cancel()
    second.go.set()
    assert await asyncio.gather(*followers) == ["second"] * 5
    assert (first.calls, second.calls) == (1, 1)
    assert await cache.get("k") == "second"


@pytest.mark.memory
async def test_t02_a_load_ends_with_the_last_one_who_wanted_it(cache: Cache, spin: Spin) -> None:
    loader = Loader(1)
    callers = [asyncio.create_task(cache.get_or_set("k", loader)) for _ in range(3)]
    await spin()
    for caller in callers:
        caller.cancel()
        await spin()
    assert all(caller.cancelled() for caller in callers)
    assert cache.stats().flights == 0
    assert loader.calls == 3


async def test_t03_never_two_loads_of_one_generation(cache: Cache, spin: Spin) -> None:
    running = most = calls = 0

    async def failing() -> None:
        nonlocal running, most, calls
        running += 1
        calls += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        raise ConnectionError

    async def insistent() -> None:
        for _ in range(20):
            with pytest.raises(ConnectionError):
                await cache.get_or_set("k", failing)

    await asyncio.gather(*(insistent() for _ in range(10)))
    assert most == 1
    assert calls >= 20


async def test_t04_twenty_callers_load_once(cache: Cache, spin: Spin) -> None:
    calls = 0

    @cache.cached("f:{n}")
    async def function(n: int) -> int:
        nonlocal calls
        calls += 1
        await spin()
        return n

    assert await asyncio.gather(*(function(5) for _ in range(20))) == [5] * 20
    assert calls == 1


async def test_t07_a_pattern_is_a_redis_glob_and_not_a_regular_expression(cache: Cache) -> None:
    keys = ["a.b1", "axb1", "a*b", "user:1:profile", "user:12:profile", "user:1:settings", "h[a]t", "hat", "", "ü1"][
        :-2
    ]
    await cache.set_many(dict.fromkeys(keys, 1))

    async def matched(pattern: str) -> list[str]:
        count = await cache.invalidate_pattern(pattern)
        left = await cache.get_many(keys)
        gone = [key for key in keys if key not in left]
        assert count == len(gone)
        await cache.set_many(dict.fromkeys(gone, 1))
        return gone

    assert await matched("a.b*") == ["a.b1"]
    assert await matched("a\\*b") == ["a*b"]
    assert await matched("user:?:profile") == ["user:1:profile"]
    assert await matched("user:*:profile") == ["user:1:profile", "user:12:profile"]
    assert await matched("h[a]t") == ["hat"]
    assert await matched(donjon.pattern("h[a]t")) == ["h[a]t"]
    assert await matched("user:1") == []


async def test_t07_a_pattern_costs_what_it_removes_and_not_what_there_is() -> None:
    cache = Cache.memory()
    await cache.set_many(
        {f"other:{number}": 1 for number in range(20_000)} | {f"gone:{number}": 1 for number in range(50)}
    )
    assert await cache.invalidate_pattern("gone:*") == 50
    assert cache.get_size() == 20_000


@pytest.mark.parametrize("face", ["async", "sync"])
async def test_t09_the_caller_gets_the_loaders_error_unchanged(cache: Cache, face: str) -> None:
    failure = LookupError("no such user")

    def loader() -> None:
        raise failure

    async def ask() -> object:
        return await cache.get_or_set("k", loader) if face == "async" else cache.sync.get_or_set("k", loader)

    with pytest.raises(LookupError) as caught:
        await ask()
    assert caught.value is failure
    assert failure.__cause__ is None
    assert failure.args == ("no such user",)
    assert await cache.get_or_set("k", lambda: "there") == "there"


async def test_t11_none_is_a_value(cache: Cache) -> None:
    loader = Loader(None)
    loader.go.set()
    for _ in range(3):
        assert await cache.get_or_set("k", loader) is None
    assert loader.calls == 1
    assert await cache.get("k", "default") is None
    assert await cache.get_many(["k", "x"]) == {"k": None}
    assert await cache.exists("k")
    assert not await cache.add("k", 1)


async def test_t12_clear_empties_this_namespace_and_no_other() -> None:
    ours, theirs = Cache.memory(namespace="app"), Cache.memory(namespace="app2")
    keys = {f"k:{number}": number for number in range(5000)}
    await ours.set_many(keys)
    await theirs.set_many(keys)
    assert await ours.clear() == 5000
    assert (ours.get_size(), theirs.get_size()) == (0, 5000)
    assert await ours.get_many(keys) == {}


async def test_t13_each_reader_has_its_own_copy(cache: Cache, spin: Spin) -> None:
    original = {"list": [1, {"deep": True}]}
    await cache.set("k", original)
    original["list"].append("changed by the writer")
    mine = await cache.get("k")
    mine["list"][1]["deep"] = "changed by a reader"
    mine["new"] = 1
    assert await cache.get("k") == {"list": [1, {"deep": True}]}

    loaded = {"list": [1]}
    loader = Loader(loaded)
    callers = [asyncio.create_task(cache.get_or_set("j", loader)) for _ in range(3)]
    await spin()
    loader.go.set()
    for value in await asyncio.gather(*callers):
        assert value == {"list": [1]}
        value["list"].append("changed by a caller")
    loaded["list"].append("changed by the loader")
    assert await cache.get("j") == {"list": [1]}


async def test_t17_every_option_is_honoured(cache: Cache, clock: ManualClock) -> None:
    async def loaded() -> int:
        return 1

    @cache.cached("f:{n}", ttl=10, grace=5, tags=["f"])
    async def function(n: int) -> int:
        return n

    await cache.set("set", 1, ttl=10, grace=5, tags=["t"])
    await cache.set_many({"many": 1}, ttl=10, grace=5, tags=["t"])
    await cache.get_or_set("loaded", loaded, ttl=10, grace=5, tags=["t"])
    await cache.get_or_set_many(["loaded many"], lambda keys: dict.fromkeys(keys, 1), ttl=10, grace=5, tags=["t"])
    await cache.fill(await cache.lookup("filled"), 1, ttl=10, grace=5, tags=["t"])
    await cache.warm({"warmed": 1}, ttl=10, grace=5, tags=["t"])
    await cache.warm(["warm"], lambda key: 1, ttl=10, grace=5, tags=["t"])
    await function(1)
    await cache.add("added", 1, ttl=10)
    await cache.incr("counted", ttl=10)
    with_grace = ["set", "many", "loaded", "loaded many", "filled", "warmed", "warm", "f:1"]
    everything = [*with_grace, "added", "counted"]
    clock.advance(9.9)
    assert list(await cache.get_many(everything)) == everything
    clock.advance(5)
    assert list(await cache.get_many(everything)) == with_grace
    await cache.invalidate_tags("t")
    assert list(await cache.get_many(everything)) == ["f:1"]
    clock.advance(0.2)
    assert await cache.get_many(everything) == {}


async def test_t20_a_hit_has_the_type_that_the_miss_had(cache: Cache) -> None:
    book = Book(id=uuid.uuid4(), authors=[Author(name="Ada", born=datetime.date(1815, 12, 10))])

    @cache.cached("book:{n}")
    async def get_book(n: int) -> Book:
        return book

    @cache.cached("books:{n}")
    async def get_books(n: int) -> dict[str, list[Book]]:
        return {"all": [book]}

    @cache.cached("raw:{n}")
    async def get_raw(n: int):  # type: ignore[no-untyped-def]
        return {"when": datetime.date(2026, 1, 1), "pair": (1, 2)}

    for function in (get_book, get_books, get_raw):
        miss, hit = await function(1), await function(1)
        assert type(miss) is type(hit)
        assert miss == hit
        assert function.cache_info() == (1, 1)
    assert await get_book(1) == book
    assert await get_books(1) == {"all": [book]}
    assert await get_raw(1) == {"when": "2026-01-01", "pair": [1, 2]}
    for _ in range(2):
        assert await cache.get_or_set("k", lambda: book, as_=Book) == book
