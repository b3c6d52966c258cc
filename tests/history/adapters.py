"""The caches that a worker can be run on, behind the few calls that the harness makes.

`Naive` is the cache-aside that is written by hand, with redis-py: get, load, set. It has no leases, so what was invalidated
while a load ran is stored after it. A harness that does not catch it would catch nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Literal, Protocol

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from donjon import Cache
from history import FAILED, OK, QUEUED
from plan import Plan

__all__ = ["ADAPTERS", "Adapter", "LoadFailed", "Loader"]

Loader = Callable[[str], Coroutine[Any, Any, dict[str, int]]]
"""Queries the source for a key, slowly."""


class LoadFailed(Exception):
    """The source could not be read, as the plan has it now and then."""


class Adapter(Protocol):
    """A cache under test."""

    ways: Mapping[str, int]
    """The ways to read, and how often each is taken among all."""

    async def open(self) -> None:
        """Begins."""

    async def close(self) -> None:
        """Ends."""

    async def read(self, way: str, keys: Sequence[str], load: Loader) -> dict[str, Any]:
        """The values of those keys that have one. A way that takes one key reads the first."""

    async def pass_by(self, key: str) -> None:
        """Loads and stores what nobody asks for again."""

    async def invalidate(self, kind: str, names: Sequence[str]) -> str:
        """Invalidates keys, or a pattern, a tag or everything; says how it came out."""

    def counters(self) -> Mapping[str, int]:
        """What the cache counted."""


class Naive:
    """Get, load, set."""

    ways: Mapping[str, int] = {"load": 8, "peek": 2}

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._counted = {"hits": 0, "loads": 0}
        never = Retry(NoBackoff(), 0)
        self._client = redis.asyncio.Redis.from_url(plan.url, socket_timeout=1.0, retry=never, decode_responses=True)

    async def open(self) -> None:
        """Connects at the first call."""

    async def close(self) -> None:
        """Closes what it connected."""
        await self._client.aclose()

    async def read(self, way: str, keys: Sequence[str], load: Loader) -> dict[str, Any]:
        """Cache-aside by hand."""
        key = keys[0]
        name = self._name(key)
        try:
            kept = await self._client.get(name)
        except RedisError:
            kept = None
        if kept is not None:
            self._counted["hits"] += 1
            return {key: json.loads(kept)}
        if way == "peek":
            return {}
        value = await load(key)
        self._counted["loads"] += 1
        with contextlib.suppress(RedisError):
            await self._client.set(name, json.dumps(value), px=int(self._plan.keys[key].ttl * 1000))
        return {key: value}

    async def pass_by(self, key: str) -> None:
        """Left out: it could not go wrong."""

    async def invalidate(self, kind: str, names: Sequence[str]) -> str:
        """Unlinks what is covered, tags by a list of their keys."""
        try:
            if kind in ("pattern", "clear"):
                pattern = names[0] if kind == "pattern" else "*"
                found = [name async for name in self._client.scan_iter(self._name(pattern), count=1000)]
            else:
                keys = self._plan.tags[names[0]] if kind == "tag" else names
                found = [self._name(key) for key in keys]
            if found:
                await self._client.unlink(*found)
        except RedisError:
            return FAILED
        return OK

    def counters(self) -> Mapping[str, int]:
        """What was counted here."""
        return self._counted

    def _name(self, key: str) -> str:
        return f"{self._plan.namespace}:{key}"


class Donjon:
    """donjon as asyncio code uses it, each of its reads among the ways."""

    ways: Mapping[str, int] = {
        "get_or_set": 10,
        "cached": 3,
        "lookup": 3,
        "get_or_set_many": 2,
        "get": 2,
        "get_many": 1,
        "force_refresh": 1,
    }

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._cache = Cache.redis(plan.url, namespace=plan.namespace)
        self._loader: contextvars.ContextVar[Loader] = contextvars.ContextVar("loader")

        @self._cache.cached("c:{number}", ttl=plan.keys["c:0"].ttl)
        async def cached(number: str) -> dict[str, int]:
            return await self._loader.get()(f"c:{number}")

        self._cached = cached

    async def open(self) -> None:
        """Connects."""
        await self._cache.connect()

    async def close(self) -> None:
        """Closes what it connected."""
        await self._cache.close()

    async def read(
        self, way: str, keys: Sequence[str], load: Loader, mode: Literal["local", "strong"] | None = None
    ) -> dict[str, Any]:
        """One of the reads that donjon has."""
        cache, key = self._cache, keys[0]
        alike = self._plan.keys[key]
        if way == "get":
            return _present(key, await cache.get(key, mode=mode))
        if way == "get_many":
            return await cache.get_many(keys, mode=mode)
        if way == "get_or_set_many":
            those = [each for each in keys if self._plan.keys[each] == alike]

            async def load_many(missing: list[str]) -> dict[str, Any]:
                return {each: await load(each) for each in missing}

            return await cache.get_or_set_many(
                those, load_many, ttl=alike.ttl, grace=alike.grace, tags=alike.tags, mode=mode
            )
        if way == "lookup":
            async with await cache.lookup(key, mode=mode) as found:
                if found:
                    return {key: found.value}
                value = await load(key)
                await cache.fill(found, value, ttl=alike.ttl, grace=alike.grace, tags=alike.tags)
                return {key: value}
        if way == "cached":
            self._loader.set(load)
            number = key[2:]
            return {f"c:{number}": await self._cached(number)}
        value = await cache.get_or_set(
            key,
            lambda: load(key),
            ttl=alike.ttl,
            grace=alike.grace,
            tags=alike.tags,
            force_refresh=way == "force_refresh",
            mode=mode,
        )
        return {key: value}

    async def pass_by(self, key: str) -> None:
        """As any function with a cache in front of it would."""
        await self._cache.get_or_set(key, lambda: "", ttl=PASSING, tags=["passing"])

    async def invalidate(self, kind: str, names: Sequence[str]) -> str:
        """The invalidation of that kind."""
        cache = self._cache
        if kind == "key":
            removed = await cache.delete(names[0])
        elif kind == "keys":
            removed = await cache.delete_many(names)
        elif kind == "pattern":
            removed = await cache.invalidate_pattern(names[0])
        elif kind == "tag":
            removed = await cache.invalidate_tags(names[0])
        else:
            removed = await cache.clear()
        return QUEUED if removed.queued else OK

    def counters(self) -> Mapping[str, int]:
        """The numbers of `stats()`."""
        stats = self._cache.stats()
        return {name: getattr(stats, name) for name in COUNTED}


class Near(Donjon):
    """donjon with memory in front of Redis, which may answer most of the reads."""

    ways: Mapping[str, int] = {
        **{f"near {way}": 2 * often for way, often in Donjon.ways.items() if way not in ("cached", "force_refresh")},
        **{way: often for way, often in Donjon.ways.items() if way != "cached"},
    }

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._cache = Cache.redis(plan.url, namespace=plan.namespace, near=True)

    async def read(
        self, way: str, keys: Sequence[str], load: Loader, mode: Literal["local", "strong"] | None = None
    ) -> dict[str, Any]:
        """One of the reads, as fresh as its way is meant."""
        mode = "local" if way.startswith("near ") else "strong"
        return await super().read(way.removeprefix("near "), keys, load, mode)


class Faces(Donjon):
    """donjon's asyncio and blocking faces by turns, in one process: two connections, and loads that both share."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._sync = self._cache.sync
        self._turns = itertools.cycle([False, True])

    async def read(
        self, way: str, keys: Sequence[str], load: Loader, mode: Literal["local", "strong"] | None = None
    ) -> dict[str, Any]:
        """One of the reads; where it blocks, in a thread, which waits for the load on the loop."""
        if way in ("cached", "get_or_set_many") or next(self._turns):
            return await super().read(way, keys, load, mode)
        loop = asyncio.get_running_loop()

        def blocking(key: str) -> dict[str, int]:
            return asyncio.run_coroutine_threadsafe(load(key), loop).result()

        return await asyncio.to_thread(self._read, way, keys, blocking)

    async def invalidate(self, kind: str, names: Sequence[str]) -> str:
        """The invalidation of that kind."""
        if next(self._turns):
            return await super().invalidate(kind, names)
        return await asyncio.to_thread(self._invalidate, kind, names)

    def _read(self, way: str, keys: Sequence[str], load: Callable[[str], dict[str, int]]) -> dict[str, Any]:
        cache, key = self._sync, keys[0]
        alike = self._plan.keys[key]
        if way == "get":
            return _present(key, cache.get(key))
        if way == "get_many":
            return cache.get_many(keys)
        if way == "lookup":
            with cache.lookup(key) as found:
                if found:
                    return {key: found.value}
                value = load(key)
                cache.fill(found, value, ttl=alike.ttl, grace=alike.grace, tags=alike.tags)
                return {key: value}
        value = cache.get_or_set(
            key,
            lambda: load(key),
            ttl=alike.ttl,
            grace=alike.grace,
            tags=alike.tags,
            force_refresh=way == "force_refresh",
        )
        return {key: value}

    def _invalidate(self, kind: str, names: Sequence[str]) -> str:
        cache = self._sync
        if kind == "key":
            removed = cache.delete(names[0])
        elif kind == "keys":
            removed = cache.delete_many(names)
        elif kind == "pattern":
            removed = cache.invalidate_pattern(names[0])
        elif kind == "tag":
            removed = cache.invalidate_tags(names[0])
        else:
            removed = cache.clear()
        return QUEUED if removed.queued else OK


def _present(key: str, value: Any) -> dict[str, Any]:
    return {} if value is None else {key: value}


PASSING = 1.0
COUNTED = (
    "hits",
    "memory_hits",
    "misses",
    "stale",
    "loads",
    "load_failures",
    "loads_refused",
    "takeovers",
    "stores",
    "undecodable",
)
ADAPTERS: Mapping[str, Callable[[Plan], Adapter]] = {
    "naive": Naive,
    "donjon": Donjon,
    "donjon-faces": Faces,
    "donjon-near": Near,
}
