"""The contenders: how each is opened, and how each call is spelled, as its own documentation would have it.

A call is a text, so that what is timed is the call and nothing around it. Every client has its default settings. redis-py and
valkey-glide know no values but bytes, so a dict goes through orjson; the others do what they do by themselves. The floor is
spared even that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

TTL = 300
NAMESPACE = "bench"


@dataclass(frozen=True)
class Client:
    """One contender. In the calls stand `key`, `keys`, `items`, `value`, `pattern` and the names it brings along."""

    names: dict[str, Any]
    get: str
    get_many: str
    set_many: str
    invalidate: str | None
    # What the names of keys begin with, where the client does not put it there by itself.
    prefix: str = f"{NAMESPACE}:"
    values: Callable[[Any], Any] = field(default=lambda value: value)


async def donjon(port: int) -> Client:
    """This project."""
    from donjon import Cache

    cache = Cache.redis(f"redis://127.0.0.1:{port}/0", namespace=NAMESPACE, default_ttl=TTL)
    await cache.connect()
    return Client(
        {"cache": cache},
        get="await cache.get(key)",
        get_many="await cache.get_many(keys)",
        set_many="await cache.set_many(items)",
        invalidate="await cache.invalidate_pattern(pattern)",
        prefix="",
    )


async def floor(port: int) -> Client:
    """Redis by hand."""
    import orjson

    from .floor import Floor

    return Client(
        {"floor": await Floor.connect(port)},
        get="await floor.get(key)",
        get_many="await floor.get_many(keys)",
        set_many=f"await floor.set_many(items, {TTL})",
        invalidate="await floor.invalidate(pattern)",
        values=orjson.dumps,
    )


async def redis_py(port: int) -> Client:
    """The client that most Python programs have, with its fast parser; SCAN and UNLINK pipelined by hand."""
    import orjson
    from redis.asyncio import Redis

    from .floor import PAGE

    redis = Redis(port=port)

    async def set_many(items: dict[str, Any]) -> None:
        pipeline = redis.pipeline(transaction=False)
        for key, value in items.items():
            pipeline.set(key, orjson.dumps(value), ex=TTL)
        await pipeline.execute()

    async def invalidate(pattern: str) -> None:
        cursor, names = 0, []
        while True:
            pipeline = redis.pipeline(transaction=False)
            pipeline.scan(cursor, match=pattern, count=PAGE)
            if names:
                pipeline.unlink(*names)
            (cursor, names), *_ = await pipeline.execute()
            if cursor == 0:
                break
        if names:
            await redis.unlink(*names)

    return Client(
        {"redis": redis, "loads": orjson.loads, "set_many": set_many, "invalidate": invalidate},
        get="loads(await redis.get(key))",
        get_many="[loads(found) for found in await redis.mget(keys)]",
        set_many="await set_many(items)",
        invalidate="await invalidate(pattern)",
    )


async def glide(port: int) -> Client:
    """Valkey's client, whose core is in Rust."""
    import orjson
    from glide import Batch, ExpirySet, ExpiryType, GlideClient, GlideClientConfiguration, NodeAddress

    from .floor import PAGE

    client = await GlideClient.create(GlideClientConfiguration([NodeAddress("127.0.0.1", port)]))

    async def set_many(items: dict[str, Any]) -> None:
        batch = Batch(is_atomic=False)
        for key, value in items.items():
            batch.set(key, orjson.dumps(value), expiry=ExpirySet(ExpiryType.SEC, TTL))
        await client.exec(batch, raise_on_error=True)

    async def invalidate(pattern: str) -> None:
        cursor: Any = b"0"
        unlinking = []
        while True:
            cursor, names = await client.scan(cursor, match=pattern, count=PAGE)
            if names:
                unlinking.append(asyncio.ensure_future(client.unlink(names)))
            if cursor == b"0":
                break
        await asyncio.gather(*unlinking)

    return Client(
        {"client": client, "loads": orjson.loads, "set_many": set_many, "invalidate": invalidate},
        get="loads(await client.get(key))",
        get_many="[loads(found) for found in await client.mget(keys)]",
        set_many="await set_many(items)",
        invalidate="await invalidate(pattern)",
    )


async def cashews(port: int) -> Client:
    """A cache; it pickles values."""
    from cashews import Cache

    cache = Cache()
    cache.setup(f"redis://127.0.0.1:{port}/0")
    await cache.init()
    return Client(
        {"cache": cache},
        get="await cache.get(key)",
        get_many="await cache.get_many(*keys)",
        set_many=f"await cache.set_many(items, expire={TTL})",
        invalidate="await cache.delete_match(pattern)",
    )


async def aiocache(port: int) -> Client:
    """A cache, told to keep JSON; it has no patterns but those of `KEYS`, which halts the server."""
    from aiocache import RedisCache
    from aiocache.serializers import JsonSerializer

    cache = RedisCache(endpoint="127.0.0.1", port=port, serializer=JsonSerializer())
    return Client(
        {"cache": cache},
        get="await cache.get(key)",
        get_many="await cache.multi_get(keys)",
        set_many=f"await cache.multi_set(list(items.items()), ttl={TTL})",
        invalidate=None,
    )


CLIENTS: dict[str, Callable[[int], Awaitable[Client]]] = {
    "floor": floor,
    "donjon": donjon,
    "redis-py": redis_py,
    "valkey-glide": glide,
    "cashews": cashews,
    "aiocache": aiocache,
}
