"""A pattern whose sweeper is killed, in processes of two languages: who is left keeps to what was written down, and ends the sweep."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest

from donjon import Cache
from in_node import NODE, PATIENT, Node, eventually
from redis_proxy import Proxy
from redis_server import RedisServer

NAMESPACE = "both"
LIST = f"{NAMESPACE}!p"

SWEEPER = """
import asyncio
import sys

from donjon import Cache


async def main():
    cache = Cache.redis(sys.argv[1], namespace=sys.argv[2], connect_timeout=10.0, command_timeout=10.0)
    sys.stdin.readline()
    print(await cache.ping(), flush=True)
    sys.stdin.readline()
    await cache.invalidate_pattern("a:*")


asyncio.run(main())
"""


class Side(Protocol):
    """A process with memory in front of Redis, in whichever language."""

    async def get(self, key: str) -> Any: ...
    async def set(self, key: str, value: str) -> None: ...
    async def add(self, key: str, value: str) -> bool: ...
    async def load(self, key: str, value: str) -> str: ...


class InPython:
    """This process."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def get(self, key: str) -> Any:
        return await self._cache.get(key)

    async def set(self, key: str, value: str) -> None:
        await self._cache.set(key, value)

    async def add(self, key: str, value: str) -> bool:
        return await self._cache.add(key, value)

    async def load(self, key: str, value: str) -> str:
        return str(await self._cache.get_or_set(key, lambda: value))


class InNode:
    """A process of its own."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def get(self, key: str) -> Any:
        return await self._node.ask("get", key)

    async def set(self, key: str, value: str) -> None:
        await self._node.ask("set", key, value)

    async def add(self, key: str, value: str) -> bool:
        return bool(await self._node.ask("add", key, value))

    async def load(self, key: str, value: str) -> str:
        await self._node.ask("load", key, value)
        return str(await self._node.ask("finish", key))


@asynccontextmanager
async def side(url: str, language: str) -> AsyncIterator[Side]:
    if language == "python":
        async with Cache.redis(url, namespace=NAMESPACE, near=True, early=0.0, **PATIENT) as cache:
            yield InPython(cache)
        return
    process = await asyncio.create_subprocess_exec("node", str(NODE), url, NAMESPACE, language, stdin=-1, stdout=-1)
    yield InNode(Node(process))
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


@asynccontextmanager
async def sweeper(proxy: Proxy, language: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is about to sweep `a:*`, once it is sent another line."""
    program = [sys.executable, "-c", SWEEPER] if language == "python" else ["node", str(NODE)]
    process = await asyncio.create_subprocess_exec(*program, proxy.url, NAMESPACE, language, stdin=-1, stdout=-1)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'["ping"]\n')
    assert await process.stdout.readline(), "it ended"
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


async def remember(one: Side, key: str, value: str) -> None:
    """Waits until a key is read as it is by now, be it by memory."""

    async def is_it() -> bool:
        return bool(await one.get(key) == value)

    await eventually(is_it)


async def forget(one: Side, key: str) -> None:
    """Waits until a key is served no more."""

    async def is_gone() -> bool:
        return await one.get(key) is None

    await eventually(is_gone)


@pytest.mark.parametrize(
    ("dies", "stays"),
    [("node-redis", "python"), ("ioredis", "python"), ("python", "node-redis"), ("python", "ioredis")],
)
async def test_who_dies_amid_a_sweep_is_followed_in_another_language(
    server: RedisServer, dies: str, stays: str
) -> None:
    with Proxy(server.port) as proxy:
        async with side(server.url, stays) as one, sweeper(proxy, dies) as sweeping:
            async with side(server.url, dies) as other:
                for key in ("a:1", "a:2", "a:3", "a:left", "b"):
                    await one.set(key, "old")
                    for each in (one, other):
                        await remember(each, key, "old")
                # It is written down, and its process never hears of it.
                proxy.delay("replies", 0.5)
                assert sweeping.stdin is not None
                sweeping.stdin.write(b'["invalidatePattern", "a:*"]\n')
                began = time.monotonic()
                while not server.ask("EXISTS", LIST):
                    assert time.monotonic() - began < 10, "it is not written down"
                proxy.hold("replies")
                for each in (one, other):
                    for key in ("a:1", "a:2", "a:3", "a:left"):
                        await forget(each, key)
                    assert await each.get("b") == "old"
                # What either stores from now on is served by both, in whichever way it is stored.
                await one.set("a:1", "one")
                await other.set("a:2", "other")
                assert await other.load("a:3", "loaded") == "loaded"
                assert await one.add("a:4", "added")
                assert not await other.add("a:4", "added again")
                for each in (one, other):
                    for key, value in (("a:1", "one"), ("a:2", "other"), ("a:3", "loaded"), ("a:4", "added")):
                        await remember(each, key, value)
                assert server.ask("EXISTS", f"{NAMESPACE}:a:left", LIST) == 2, "it was not swept yet"
            sweeping.kill()
            await sweeping.wait()
            killed = time.monotonic()
            while server.ask("EXISTS", LIST):
                assert time.monotonic() - killed < 30, "nobody took it over"
                assert [await one.get("a:left"), await one.get("b")] == [None, "old"]
                await asyncio.sleep(0.05)
            assert server.ask("EXISTS", f"{NAMESPACE}:a:left") == 0
            assert await one.get("b") == "old"
            # The sweep may take along what was stored since it began, and brings nothing back.
            assert await one.get("a:1") in (None, "one")
