"""The caches that a worker can be run on, behind the few calls that the harness makes.

`Naive` is the cache-aside that is written by hand, with redis-py: get, load, set. It has no leases, so what was invalidated
while a load ran is stored after it. A harness that does not catch it would catch nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from history import FAILED, OK
from plan import Plan

__all__ = ["ADAPTERS", "Adapter", "LoadFailed", "Loader"]

Loader = Callable[[str], Awaitable[dict[str, int]]]
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


ADAPTERS: Mapping[str, Callable[[Plan], Adapter]] = {"naive": Naive}
