"""Loading many keys by one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from loaders import Loader

from donjon import Cache, UnsupportedValue
from donjon._donjon import ManualClock

Spin = Callable[[], Awaitable[None]]


async def test_many_are_loaded_by_one_call(cache: Cache) -> None:
    asked = []

    async def loader(keys: list[str]) -> dict[str, Any]:
        asked.append(keys)
        return {key: key.upper() for key in keys if key != "none"} | {"extra": 1}

    await cache.set("b", "kept")
    found = await cache.get_or_set_many(["a", "b", "none", "c", "a"], loader, ttl=10)
    assert list(found.items()) == [("a", "A"), ("b", "kept"), ("c", "C")]
    assert asked == [["a", "none", "c"]]
    assert not await cache.exists("extra")
    assert await cache.get_or_set_many(["a", "c"], loader) == {"a": "A", "c": "C"}
    assert len(asked) == 1
    assert cache.stats().flights == 0


async def test_two_callers_with_overlapping_keys_do_not_wait_for_each_other(cache: Cache, spin: Spin) -> None:
    go = asyncio.Event()
    asked = []

    async def loader(keys: list[str]) -> dict[str, str]:
        asked.append(keys)
        await go.wait()
        return dict.fromkeys(keys, "v")

    one = asyncio.create_task(cache.get_or_set_many(["a", "b"], loader))
    other = asyncio.create_task(cache.get_or_set_many(["c", "b", "a"], loader))
    await spin()
    go.set()
    assert await asyncio.wait_for(one, 5) == {"a": "v", "b": "v"}
    assert await asyncio.wait_for(other, 5) == {"c": "v", "b": "v", "a": "v"}
    assert asked == [["a", "b"], ["c"]]


async def test_a_key_that_another_left_out_is_asked_for_again(cache: Cache, spin: Spin) -> None:
    loader = Loader({})
    one = asyncio.create_task(cache.get_or_set_many(["a"], loader))
    await loader.begun.wait()
    other = asyncio.create_task(cache.get_or_set_many(["a"], lambda keys: dict.fromkeys(keys, 1)))
    await spin()
    loader.go.set()
    assert await one == {}
    assert await other == {"a": 1}


async def test_a_failed_load_of_many_fails_for_all_and_frees_the_keys(cache: Cache, spin: Spin) -> None:
    loader = Loader(error=LookupError())
    many = asyncio.create_task(cache.get_or_set_many(["a", "b"], loader))
    await loader.begun.wait()
    one = asyncio.create_task(cache.get_or_set("b", lambda: 1))
    await spin()
    loader.go.set()
    errors = await asyncio.gather(many, one, return_exceptions=True)
    assert [type(error) for error in errors] == [LookupError, LookupError]
    assert cache.stats().flights == 0


async def test_a_failed_load_of_many_gives_the_stale_values(cache: Cache, clock: ManualClock) -> None:
    def broken(keys: list[str]) -> dict[str, Any]:
        raise LookupError

    await cache.set_many({"a": 1, "b": 2}, ttl=10, grace=60)
    clock.advance(11)
    assert await cache.get_or_set_many(["a", "b"], broken) == {"a": 1, "b": 2}
    with pytest.raises(LookupError):
        await cache.get_or_set_many(["a", "new"], broken)


async def test_one_bad_value_of_many_frees_every_key(cache: Cache) -> None:
    with pytest.raises(UnsupportedValue):
        await cache.get_or_set_many(["a", "b"], lambda keys: {"a": 1, "b": object()})
    assert cache.stats().flights == 0
    with pytest.raises(TypeError, match="mapping"):
        await cache.get_or_set_many(["c"], lambda keys: [1])
    assert cache.stats().flights == 0


async def test_a_cancelled_load_of_many_frees_every_key(cache: Cache) -> None:
    loader = Loader({})
    many = asyncio.create_task(cache.get_or_set_many(["a", "b"], loader))
    await loader.begun.wait()
    assert cache.stats().flights == 2
    many.cancel()
    await asyncio.gather(many, return_exceptions=True)
    assert cache.stats().flights == 0


async def test_a_bad_key_among_many_frees_the_others(cache: Cache) -> None:
    with pytest.raises(ValueError, match="key"):
        await cache.get_or_set_many(["a", ""], dict.fromkeys)
    assert cache.stats().flights == 0


async def test_many_within_their_own_load_are_loaded_directly(cache: Cache) -> None:
    async def outer() -> Any:
        return await cache.get_or_set_many(["k", "j"], lambda keys: dict.fromkeys(keys, 1))

    assert await asyncio.wait_for(cache.get_or_set("k", outer), 5) == {"k": 1, "j": 1}


# -- lookup and fill
