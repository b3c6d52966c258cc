"""What other processes are served while a pattern is being swept, and once its sweeper is dead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from loaders import PATIENT
from other_process import OtherProcess

from donjon import Cache
from redis_proxy import Proxy
from redis_server import RedisServer

ProxyTo = Callable[[RedisServer], Proxy]


async def test_a_pattern_holds_for_all_before_it_is_swept_and_is_swept_though_its_process_dies(
    own_server: Callable[..., RedisServer], proxy_to: ProxyTo
) -> None:
    server = own_server()
    proxy = proxy_to(server)
    one = Cache.redis(server.url, namespace="app", early=0.0, **PATIENT)
    near = Cache.redis(server.url, namespace="app", near=True, **PATIENT)
    async with one, near:
        await one.set("user:1", "old")
        await one.set("job:1", "kept")
        while near.stats().memory_hits < 2:
            assert [await near.get("user:1"), await near.get("job:1")] == ["old", "kept"]
        with OtherProcess(proxy.url, "app") as other:
            # It is written down, and the other process never hears of it.
            proxy.delay("replies", 0.5)
            other.tell("(await cache.invalidate_pattern('user:*')).queued")
            written = time.monotonic()
            while not server.ask("EXISTS", "app!p"):
                assert time.monotonic() - written < 10, "it is not written down"
            proxy.hold("replies")
            assert await one.get("user:1") is None
            assert [await one.get_many(["user:1", "job:1"]), await one.exists("user:1")] == [{"job:1": "kept"}, False]
            while await near.get("user:1") is not None:
                assert time.monotonic() - written < 10, "memory is not told"
                await asyncio.sleep(0.001)
            assert server.ask("EXISTS", "app:user:1", "app!p") == 2, "it was not swept yet"
            # What is loaded from now on is new, and is served to all.
            assert await one.get_or_set("user:2", lambda: "new") == "new"
            assert await near.get_or_set("user:2", lambda: "newer") == "new"
            other.kill()
        while server.ask("EXISTS", "app!p"):
            assert time.monotonic() - written < 30, "nobody took it over"
            assert [await one.get("user:1"), await near.get("user:1"), await one.get("job:1")] == [None, None, "kept"]
            await asyncio.sleep(0.05)
        assert server.ask("EXISTS", "app:user:1") == 0
        assert [await one.get("user:1"), await near.get("user:1"), await near.get("job:1")] == [None, None, "kept"]
