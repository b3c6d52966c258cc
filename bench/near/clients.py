"""The contenders: caches in a process's memory that Redis tells of changes, opened as each one's documentation would have it.

Each gives a function that reads a number that somebody else keeps writing under `KEY`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

NAMESPACE = "bench"
KEY = "hot"
NAME = f"{NAMESPACE}:{KEY}"
"""What `KEY` is called in Redis."""

Read = Callable[[], Awaitable[Any]]


async def donjon(port: int) -> Read:
    """This project."""
    from donjon import Cache

    cache = Cache.redis(f"redis://127.0.0.1:{port}/0", namespace=NAMESPACE, near=True)
    await cache.connect()
    return lambda: cache.get(KEY)


async def coredis(port: int) -> Read:
    """An asynchronous client with a cache that is told of changes over a connection of its own."""
    from coredis import Redis
    from coredis.patterns.cache import LRUCache

    client = Redis(host="127.0.0.1", port=port, cache=LRUCache())
    await client.__aenter__()
    return lambda: client.get(NAME)


async def redis_py(port: int) -> Read:
    """The client that most Python programs have; its asynchronous form has no cache, so this one blocks. Redis 7.4 or newer."""
    from redis import Redis
    from redis.cache import CacheConfig

    client = Redis(port=port, protocol=3, cache_config=CacheConfig())

    async def read() -> Any:
        return client.get(NAME)

    return read


async def glide(port: int) -> Read:
    """Valkey's client, whose core is in Rust."""
    from glide import ClientSideCache, GlideClient, GlideClientConfiguration, NodeAddress, ProtocolVersion

    cache = ClientSideCache.create(max_cache_kb=1024, entry_ttl_ms=60_000, server_assisted=True)
    settings = GlideClientConfiguration(
        [NodeAddress("127.0.0.1", port)], protocol=ProtocolVersion.RESP3, client_side_cache=cache
    )
    client = await GlideClient.create(settings)
    return lambda: client.get(NAME)


CLIENTS = {"donjon": donjon, "coredis": coredis, "redis-py": redis_py, "valkey-glide": glide}
