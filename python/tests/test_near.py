"""Memory in front of Redis: two caches stand for two processes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from donjon import Cache, ConfigError
from redis_server import RedisServer

PATIENT = {"connect_timeout": 5.0, "command_timeout": 5.0}


@pytest.fixture
def server() -> Any:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def near(server: RedisServer) -> AsyncIterator[Cache]:
    async with Cache.redis(server.url, near=True, **PATIENT) as cache:
        await eventually(lambda: cache.stats().coherence == "tracking")
        yield cache


@pytest.fixture
async def other(server: RedisServer) -> AsyncIterator[Cache]:
    async with Cache.redis(server.url, **PATIENT) as cache:
        yield cache


async def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to hold")


async def kept(cache: Cache, key: str) -> Any:
    """Reads until memory answers: what is just being told keeps an answer out."""
    before = cache.stats().memory_hits
    while cache.stats().memory_hits == before:
        value = await cache.get(key)
    return value


def reads(server: RedisServer) -> int:
    with server.client() as client:
        stats = client.info("commandstats")
    return sum(stats[name]["calls"] for name in ("cmdstat_get", "cmdstat_mget") if name in stats)


async def test_hits_are_copies_from_memory_and_cost_the_server_nothing(
    server: RedisServer, near: Cache, other: Cache
) -> None:
    value = {"name": "Ada", "tags": ["a", {"b": 1}], "none": None, "half": 0.5}
    await other.set("user:1", value)
    await other.set("raw", b"\0\xff")
    assert await kept(near, "user:1") == value
    assert await kept(near, "raw") == b"\0\xff"
    before = reads(server)
    first, second = await near.get("user:1"), await near.get("user:1")
    first["tags"][1]["b"] = 2
    assert second == value
    assert await near.get("user:1") == value
    assert await near.get_or_set("user:1", never) == value
    assert await near.get_many(["user:1", "raw"]) == {"user:1": value, "raw": b"\0\xff"}
    assert await near.get_or_set_many(["raw", "user:1"], never) == {"raw": b"\0\xff", "user:1": value}
    async with await near.lookup("user:1") as found:
        assert found and found.value == value
    assert near.sync.get("user:1") == value
    assert near.sync.get_many(["user:1"]) == {"user:1": value}
    assert await near.get("user:1", as_=dict) == value
    assert reads(server) == before


def never(*asked: object) -> Any:
    raise AssertionError("nothing is to be loaded")


async def test_a_hit_waits_for_nothing(near: Cache, other: Cache) -> None:
    await other.set("k", 1)
    await kept(near, "k")
    for call in (near.get("k"), near.get_or_set("k", never), near.get_many(["k"]), near.lookup("k")):
        with pytest.raises(StopIteration):
            call.send(None)


async def test_a_strong_read_asks_redis_and_a_local_one_may_not(server: RedisServer, near: Cache, other: Cache) -> None:
    await other.set("k", {"n": 1})
    await kept(near, "k")
    before = reads(server)
    assert await near.get("k", mode="strong") == {"n": 1}
    assert await near.get_or_set("k", never, mode="strong") == {"n": 1}
    assert await near.get_many(["k"], mode="strong") == {"k": {"n": 1}}
    assert await near.get_or_set_many(["k"], never, mode="strong") == {"k": {"n": 1}}
    assert (await near.lookup("k", mode="strong")).value == {"n": 1}
    assert near.sync.get("k", mode="strong") == {"n": 1}
    assert reads(server) == before + 6
    async with Cache.redis(server.url, near=True, mode="strong", **PATIENT) as strong:
        await eventually(lambda: strong.stats().coherence == "tracking")
        await kept_locally(strong, "k")
        before = reads(server)
        assert await strong.get("k") == {"n": 1}
        assert reads(server) == before + 1
        assert await strong.get("k", mode="local") == {"n": 1}
        assert reads(server) == before + 1
    for call in (near.get("k", mode="weak"), near.get_or_set("k", never, mode="weak"), near.lookup("k", mode="weak")):
        with pytest.raises(ValueError, match="'local' or 'strong', not 'weak'"):
            await call  # type: ignore[arg-type]


async def kept_locally(cache: Cache, key: str) -> None:
    while not cache.stats().memory_hits:
        await cache.get(key, mode="local")


async def test_what_others_change_is_seen_and_what_this_process_changes_at_once(
    server: RedisServer, near: Cache, other: Cache
) -> None:
    changes: list[Callable[[Cache], Awaitable[Any]]] = [
        lambda cache: cache.set("user:1", 2),
        lambda cache: cache.delete("user:1"),
        lambda cache: cache.invalidate_pattern("user:*"),
        lambda cache: cache.invalidate_tags("users"),
        lambda cache: cache.clear(),
    ]
    for change in changes:
        await other.set("user:1", "old", tags=["users"])
        await kept(near, "user:1")
        await change(near)
        assert await near.get("user:1") in (2, None)

        await other.set("user:1", "old", tags=["users"])
        await kept(near, "user:1")
        await change(other)
        await gone(near, "user:1", "old")
    await other.set("user:1", "old")
    await kept(near, "user:1")
    server.ask("FLUSHALL")
    await gone(near, "user:1", "old")


async def gone(cache: Cache, key: str, old: object) -> None:
    for _ in range(10_000):
        if await cache.get(key) != old:
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"{key} is served though it changed")


async def test_what_was_read_in_one_loop_serves_threads_and_other_loops(near: Cache, other: Cache) -> None:
    await other.set("k", [1, 2])
    await kept(near, "k")
    read: list[Any] = []
    threads = [
        threading.Thread(target=lambda: read.append(near.sync.get("k"))),
        threading.Thread(target=lambda: read.append(asyncio.run(near.get("k")))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert read == [[1, 2], [1, 2]]
    assert near.stats().memory_hits >= 3


async def test_explain_and_stats_say_where_a_value_is_and_what_that_is_worth(near: Cache, other: Cache) -> None:
    await other.set("k", 1, tags=["t"])
    await kept(near, "k")
    facts = await near.explain("k")
    assert (facts["tier"], facts["state"], facts["coherence"]) == ("memory", "fresh", "tracking")
    assert not facts["redis_left_alone"]
    await other.delete("k")
    await gone(near, "k", 1)
    facts = await near.explain("k")
    assert (facts["tier"], facts["state"]) == (None, "absent")
    assert facts["last_push"] >= 0
    stats = near.stats()
    assert stats.coherence == "tracking" and stats.last_push is not None
    assert (await other.explain("k"))["coherence"] is None
    assert other.stats().coherence is None


async def test_what_cannot_be_read_is_no_hit_of_memory(server: RedisServer, near: Cache, other: Cache) -> None:
    await other.set("k", {"n": 1})
    entry = server.ask("GET", "app:k")
    server.ask("SET", "app:broken", entry.replace(b'{"n":1}', b'{"n":1,'[:7]))
    for _ in range(3):
        assert await near.get("broken", "none") == "none"
    assert near.stats().memory_hits == 0
    assert await near.get_or_set("broken", lambda: 2) == 2


async def test_memory_is_bounded_by_what_its_objects_take(server: RedisServer, other: Cache) -> None:
    async with Cache.redis(server.url, near=True, max_entries=10, **PATIENT) as near:
        await eventually(lambda: near.stats().coherence == "tracking")
        for number in range(50):
            await other.set(f"k:{number}", number)
            await near.get(f"k:{number}")
        assert 0 < near.stats().entries <= 10
    async with Cache.redis(server.url, near=True, **PATIENT) as near:
        await eventually(lambda: near.stats().coherence == "tracking")
        await other.set("k", {"text": "x" * 1000})
        await near.get("k")
        guessed = near.stats().bytes
        await kept(near, "k")
        assert 1_000 < near.stats().bytes < guessed


def test_options_of_memory_in_front_need_it() -> None:
    for option in ({"near_broadcast": True}, {"near_max_stale": 1.0}, {"max_bytes": 1}, {"max_entries": 1}):
        with pytest.raises(ConfigError, match=next(iter(option))):
            Cache.redis("redis://localhost:1", **option)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="near_max_stale"):
        Cache.redis("redis://localhost:1", near=True, near_max_stale=-1.0)
    with pytest.raises(ValueError, match="'weak'"):
        Cache.redis("redis://localhost:1", mode="weak")  # type: ignore[arg-type]
    cache = Cache.from_env({"CACHE_BACKEND": "redis", "CACHE_NEAR": "true", "CACHE_REDIS_PORT": "1"})
    assert cache.stats().coherence == "suspect"


async def test_without_a_connection_nothing_is_served_unless_it_was_allowed(server: RedisServer, other: Cache) -> None:
    async with (
        Cache.redis(server.url, near=True) as near,
        Cache.redis(server.url, near=True, near_max_stale=600.0) as lax,
    ):
        await eventually(lambda: near.stats().coherence == lax.stats().coherence == "tracking")
        await other.set("k", 1)
        await kept(near, "k")
        await kept(lax, "k")
        server.kill()
        await eventually(lambda: near.stats().coherence == lax.stats().coherence == "suspect")
        assert await near.get("k") is None
        assert (await lax.get("k"), lax.stats().stale > 0) == (1, True)
