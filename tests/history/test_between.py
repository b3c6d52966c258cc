"""Faults of other caches in which two processes have a part, with memory in front of both: one is in Python, the other in Rust.

Each is tried both ways round. The numbers are those of `python/tests/test_torture.py`, which has the faults of a single process.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

import run
from donjon import Cache
from redis_proxy import Proxy
from redis_server import RedisServer

NAMESPACE = "between"
PATIENCE = 20.0  # seconds
JOBS = f"{NAMESPACE}!t3"
"""The table that has the tag `jobs`."""


class Side(Protocol):
    """A process with a cache, in whichever language."""

    async def get(self, key: str) -> Any: ...
    async def strong_get(self, key: str) -> Any: ...
    async def set(self, key: str, value: Any, *, ttl: float = 60.0, tags: Sequence[str] = ()) -> None: ...
    async def load(self, key: str, value: Any, *, tags: Sequence[str] = ()) -> Any: ...
    async def delete(self, key: str) -> None: ...
    async def invalidate_tags(self, *tags: str) -> None: ...
    async def memory_hits(self) -> int: ...


class InPython:
    """This process."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def get(self, key: str) -> Any:
        return await self._cache.get(key)

    async def strong_get(self, key: str) -> Any:
        return await self._cache.get(key, mode="strong")

    async def set(self, key: str, value: Any, *, ttl: float = 60.0, tags: Sequence[str] = ()) -> None:
        await self._cache.set(key, value, ttl=ttl, tags=list(tags))

    async def load(self, key: str, value: Any, *, tags: Sequence[str] = ()) -> Any:
        return await self._cache.get_or_set(key, lambda: value, tags=list(tags))

    async def delete(self, key: str) -> None:
        await self._cache.delete(key)

    async def invalidate_tags(self, *tags: str) -> None:
        await self._cache.invalidate_tags(*tags)

    async def memory_hits(self) -> int:
        return self._cache.stats().memory_hits


class InRust:
    """A process of its own: `src/asked.rs`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def _ask(self, call: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"call": call, **arguments}).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)
        assert line, "the other process ended"
        answer = json.loads(line)
        assert "error" not in answer, answer
        return answer["value"]

    async def get(self, key: str) -> Any:
        return await self._ask("get", key=key)

    async def strong_get(self, key: str) -> Any:
        return await self._ask("strong_get", key=key)

    async def set(self, key: str, value: Any, *, ttl: float = 60.0, tags: Sequence[str] = ()) -> None:
        await self._ask("set", key=key, value=value, ttl=ttl, tags=tags)

    async def load(self, key: str, value: Any, *, tags: Sequence[str] = ()) -> Any:
        return await self._ask("load", key=key, value=value, tags=tags)

    async def delete(self, key: str) -> None:
        await self._ask("delete", key=key)

    async def invalidate_tags(self, *tags: str) -> None:
        await self._ask("invalidate_tags", tags=tags)

    async def memory_hits(self) -> int:
        return await self._ask("memory_hits")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def rust() -> Path:
    return run.in_rust("history-asked")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@asynccontextmanager
async def between(rust: Path, reader: str, here: str, there: str) -> AsyncIterator[tuple[Side, Side]]:
    """The one that reads, in the language named, and the other; each by its URL."""
    python_url, rust_url = (here, there) if reader == "python" else (there, here)
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(str(rust), rust_url, NAMESPACE, stdin=pipe, stdout=pipe)
    try:
        async with Cache.redis(
            python_url, namespace=NAMESPACE, near=True, connect_timeout=5.0, command_timeout=5.0
        ) as cache:
            sides: tuple[Side, Side] = (InPython(cache), InRust(process))
            yield sides if reader == "python" else (sides[1], sides[0])
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), PATIENCE)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async def met() -> None:
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    await asyncio.wait_for(met(), PATIENCE)


async def kept(side: Side, key: str, value: Any) -> None:
    """Waits until the memory of this one answers with the value."""

    async def answers() -> bool:
        before = await side.memory_hits()
        return await side.get(key) == value and await side.memory_hits() > before

    await eventually(answers)


async def gone(side: Side, key: str) -> None:
    async def is_gone() -> bool:
        return await side.get(key) is None

    await eventually(is_gone)


both_ways = pytest.mark.parametrize("reader", ["python", "rust"])


@both_ways
def test_t05_what_is_kept_for_a_tag_grows_with_tags_and_not_with_keys(
    rust: Path, server: RedisServer, reader: str
) -> None:
    async def holds() -> None:
        async with between(rust, reader, server.url, server.url) as (one, other):
            for number in range(100):
                await other.set(f"old:{number}", number, tags=["jobs", "old"])
            for number in range(100):
                await other.delete(f"old:{number}")
            for number in range(20):
                await other.load(f"k{number}", number, tags=["jobs"])
                await kept(one, f"k{number}", number)
            tables = server.ask("KEYS", f"{NAMESPACE}!t*")
            assert len(tables) <= 2, "one for each of the tags"
            assert sum(server.ask("HLEN", table) for table in tables) <= 8
            await other.invalidate_tags("jobs")
            for number in range(20):
                await gone(one, f"k{number}")
            assert [await one.strong_get(f"k{number}") for number in range(20)] == [None] * 20, "none is missed"

    asyncio.run(holds())


@both_ways
def test_t06_two_that_write_one_key_at_once_agree_on_what_redis_holds(
    rust: Path, server: RedisServer, reader: str
) -> None:
    chance = random.Random(6)

    async def write(side: Side, value: str) -> None:
        await side.get("k")
        # Either may be the later one: the one in Rust is asked through pipes.
        await asyncio.sleep(chance.uniform(0.0, 0.01))
        await side.set("k", value)
        await side.get("k")

    async def holds() -> None:
        # Of its own: a strong read would set right what memory has.
        plain = Cache.redis(server.url, namespace=NAMESPACE, connect_timeout=5.0, command_timeout=5.0)
        async with between(rust, reader, server.url, server.url) as (one, other), plain:
            for number in range(100):
                await asyncio.gather(write(one, f"one {number}"), write(other, f"other {number}"))
                there = await plain.get("k")
                assert there in (f"one {number}", f"other {number}")

                async def agree(there: str = there) -> bool:
                    return bool(await one.get("k") == there == await other.get("k"))

                await eventually(agree)
                assert await agree(), "and it stays so"

    asyncio.run(holds())


@both_ways
def test_t10_memory_has_nothing_for_longer_than_redis_would(rust: Path, server: RedisServer, reader: str) -> None:
    async def holds() -> None:
        async with between(rust, reader, server.url, server.url) as (one, other):
            await other.set("warm", 1)
            await kept(one, "warm", 1)

            async def was_kept() -> bool:
                await other.set("k", "short", ttl=0.4)
                # Nobody tells that its time is over: it stays in Redis, which does not remember when it was to go.
                server.ask("PERSIST", f"{NAMESPACE}:k")
                before = await one.memory_hits()
                await one.get("k")
                return await one.get("k") == "short" and await one.memory_hits() > before

            await eventually(was_kept)
            await gone(one, "k")
            assert await other.get("k") is None

    asyncio.run(holds())


@both_ways
def test_t16_what_was_read_before_a_change_was_told_is_not_kept(rust: Path, server: RedisServer, reader: str) -> None:
    async def holds() -> None:
        with Proxy(server.port) as proxy:
            async with between(rust, reader, proxy.url, server.url) as (one, other):
                await other.set("warm", 1)
                await kept(one, "warm", 1)
                for number in range(20):
                    await other.set("k", number)
                    proxy.hold("replies")
                    before = _gets(server)
                    reading = asyncio.create_task(one.get("k"))
                    if number % 2:

                        async def has_asked(before: int = before) -> bool:
                            return _gets(server) > before

                        await eventually(has_asked)
                    await other.delete("k")
                    proxy.release("replies")
                    assert await reading in (number, None), "what it was while it was asked for"
                    await gone(one, "k")
                await other.set("k", "kept")
                await kept(one, "k", "kept")
                server.ask("FLUSHALL")
                await gone(one, "k")
                await other.set("k", "kept")
                await kept(one, "k", "kept")
                proxy.cut()
                await other.set("k", "behind its back")
                await kept(one, "k", "behind its back")

    asyncio.run(holds())


def _gets(server: RedisServer) -> int:
    with server.client() as client:
        stats = client.info("commandstats")
    return sum(stats[name]["calls"] for name in ("cmdstat_get", "cmdstat_mget") if name in stats)


@both_ways
def test_t18_an_invalidation_holds_though_the_one_before_it_was_made_by_a_clock_that_was_ahead(
    rust: Path, server: RedisServer, reader: str
) -> None:
    async def holds() -> None:
        async with between(rust, reader, server.url, server.url) as (one, other):
            await other.load("k", 1, tags=["jobs"])
            await other.invalidate_tags("jobs")
            # As a server had it whose clock was a day ahead, and whose keys this one took over.
            ahead = int((time.time() + 86_400) * 1e6)
            server.ask("HSET", JOBS, "\0seq", ahead, "jobs", ahead)
            for number in range(5):
                assert await other.load("k", number, tags=["jobs"]) == number, "it was invalidated"
                await kept(one, "k", number)
                await (one if number % 2 else other).invalidate_tags("jobs")
                await gone(one, "k")
                assert await other.strong_get("k") is None

    asyncio.run(holds())


@both_ways
def test_t19_a_tag_is_told_of_like_a_key_however_often_it_is_invalidated(
    rust: Path, server: RedisServer, reader: str
) -> None:
    async def holds() -> None:
        async with between(rust, reader, server.url, server.url) as (one, other):
            for number in range(20):
                await other.load("a", number, tags=["jobs", "user:5"])
                await one.load("b", number, tags=["user:5"])
                await kept(one, "a", number)
                await kept(one, "b", number)
                await other.invalidate_tags("jobs" if number % 2 else "user:5")
                await gone(one, "a")
                if number % 2:
                    assert await one.get("b") == number, "it has another tag"
                await other.invalidate_tags("user:5")
                await gone(one, "b")

    asyncio.run(holds())
