"""Memory in front of Redis in two processes of different languages: what one changes the other does not serve.

The numbers are those of the faults of other caches in `python/tests/test_torture.py` and its like.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from donjon import Cache
from in_node import NODE, PATIENT, Node, eventually
from redis_server import RedisServer


async def kept(cache: Cache, key: str) -> Any:
    """Reads until memory answers."""
    value = None

    async def has() -> bool:
        nonlocal value
        before = cache.stats().memory_hits
        value = await cache.get(key)
        return cache.stats().memory_hits > before

    await eventually(has)
    return value


async def gone(cache: Cache, key: str, old: object) -> None:
    """Waits until a value is served no more."""

    async def has_not() -> bool:
        return bool(await cache.get(key) != old)

    await eventually(has_not)


@pytest.fixture
def server() -> Any:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def here(server: RedisServer) -> AsyncIterator[Cache]:
    async with Cache.redis(server.url, namespace="both", near=True, early=0.0, **PATIENT) as cache:

        async def is_told() -> bool:
            await cache.ping()
            return cache.stats().coherence == "tracking"

        await eventually(is_told)
        yield cache


@pytest.fixture(params=["node-redis", "ioredis"])
async def there(server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    process = await asyncio.create_subprocess_exec(
        "node", str(NODE), server.url, "both", request.param, stdin=-1, stdout=-1, limit=2**20
    )
    node = Node(process)

    async def is_told() -> bool:
        await node.ask("ping")
        return (await node.ask("stats")).get("coherence") in ("tracking", "fallback")

    await eventually(is_told)
    yield node
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


async def test_t05_tags_cost_by_their_number_and_not_by_that_of_keys(
    server: RedisServer, here: Cache, there: Node
) -> None:
    for number in range(200):
        await here.set(f"k:{number}", number, tags=["even" if number % 2 == 0 else "odd"])
    await there.ask("invalidateTags", "even")
    await gone(here, "k:0", 0)
    assert await there.kept("k:1") == 1
    with server.client() as client:
        tables = list(client.keys("both!*"))
    assert len(tables) <= 2
    await here.delete_many([f"k:{number}" for number in range(200)])
    with server.client() as client:
        assert sorted(client.keys("both!*")) == sorted(tables)


async def test_t06_two_that_write_one_key_at_once_both_come_to_what_redis_has(here: Cache, there: Node) -> None:
    for number in range(50):
        await asyncio.gather(here.set("k", f"python {number}"), there.ask("set", "k", f"node {number}"))
        true = await here.get("k", mode="strong")
        assert true == await there.ask("get", "k", {"mode": "strong"})
        await gone(here, "k", f"node {number}" if true == f"python {number}" else f"python {number}")
        await there.served(true)
        # And memory has it, in both.
        assert await kept(here, "k") == true
        assert await there.kept("k") == true


async def test_t10_memory_has_nothing_for_longer_than_redis(server: RedisServer, here: Cache, there: Node) -> None:
    await here.set("k", 1, ttl=3.0)
    await there.kept("k")
    explained = await there.ask("explain", "k")
    assert explained["tier"] == "memory"
    with server.client() as client:
        assert explained["freshFor"] < 50_000, "as long as Redis has it, not as long as memory may"
        assert 0 < client.pttl("both:k") <= 50_000
    await there.ask("set", "other", 1, {"ttl": 3_000})
    await kept(here, "other")
    assert (await here.explain("other"))["tier"] == "memory"
    await there.gone("k")
    await gone(here, "other", 1)
    assert await there.ask("get", "k") is None


async def test_t16_what_was_read_before_it_changed_is_not_kept_after_it(
    server: RedisServer, here: Cache, there: Node
) -> None:
    for number in range(200):
        await here.set("k", number)
        await asyncio.gather(there.ask("get", "k"), here.set("k", f"new {number}"))
        await there.served(f"new {number}")
        assert await there.kept("k") == f"new {number}"
    await kept(here, "k")
    with server.client() as client:
        client.flushall()
    await there.gone("k")
    await gone(here, "k", "new 199")


async def test_t18_the_clocks_of_processes_decide_nothing_about_tags(
    server: RedisServer, here: Cache, there: Node
) -> None:
    # What Redis counts is compared, so that the order of calls is that of what they say.
    for number in range(50):
        await there.ask("set", "k", number, {"tags": ["t"]})
        assert await here.get("k", mode="strong") == number
        await here.invalidate_tags("t")
        assert await there.ask("get", "k", {"mode": "strong"}) is None
        await here.set("k", f"after {number}", tags=["t"])
        assert await there.ask("get", "k", {"mode": "strong"}) == f"after {number}"
        await there.ask("invalidateTags", "t")
        assert await here.get("k", mode="strong") is None


async def test_t19_what_is_known_of_a_tag_is_told_like_any_key(here: Cache, there: Node) -> None:
    for number in range(20):
        await here.set("a", number, tags=["t"])
        await here.set("b", number, tags=["t", "u"])
        await kept(here, "a")
        for key in ("a", "b"):
            await there.kept(key)
        await there.ask("invalidateTags", "t")
        await gone(here, "a", number)
        assert await there.ask("peek", "b") is None, "what it has invalidated itself is gone at once"
        await there.ask("set", "a", f"by node {number}", {"tags": ["t"]})
        await kept(here, "a")
        await there.kept("a")
        await here.invalidate_tags("t")
        await there.gone("a")


async def test_a_load_that_was_overtaken_elsewhere_is_in_no_memory(here: Cache, there: Node) -> None:
    await there.ask("load", "k", "old", {"tags": ["t"]})
    await here.invalidate_tags("t")
    assert await there.ask("finish", "k") == "old"
    assert await there.ask("peek", "k") is None
    assert await here.get_or_set("k", lambda: "new", tags=["t"]) == "new"
    assert await there.kept("k") == "new"


@pytest.mark.parametrize("change", ["pattern", "clear", "delete"])
async def test_what_one_invalidates_goes_from_the_memory_of_the_other(here: Cache, there: Node, change: str) -> None:
    for number in range(10):
        await here.set("k:1", number)
        await kept(here, "k:1")
        assert await there.kept("k:1") == number
        if change == "pattern":
            await here.invalidate_pattern("k:*")
        elif change == "clear":
            await here.clear()
        else:
            await here.delete("k:1")
        await there.gone("k:1")
        await there.ask("set", "k:1", f"by node {number}")
        assert await kept(here, "k:1") == f"by node {number}"
        call = {"pattern": ["invalidatePattern", "k:*"], "clear": ["clear"], "delete": ["delete", "k:1"]}[change]
        await there.ask(*call)
        await gone(here, "k:1", f"by node {number}")
