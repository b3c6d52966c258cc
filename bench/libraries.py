"""The contenders in memory: how each is opened, and how each call is spelled, as its own documentation would have it.

A call is a text, so that what is timed is the call and nothing around it: awaited where the library is asynchronous, plain where it
is not, which spares it an `await` that a program of coroutines gives it for nothing. Sizes are above what is stored; a time to live is
given where the library knows one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiocache
import cachebox
import cachetools
import cashews
import moka_py
import orjson
import theine
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.decorator import cache as fastapi_cached

import donjon

KEYS = 1_000
TTL = 300
ROOM = 100 * KEYS

SCALAR = 1_234_567
SMALL = {"id": 123, "name": "John Smith", "email": "john@example.org", "active": True, "score": 4.5}
NESTED = {
    "id": 123,
    "title": "Quarterly report",
    "owner": SMALL,
    "chunks": [
        {"n": n, "text": f"Chunk {n} of the report, as the index has it.", "score": n / 7, "tags": ["report", "q3"]}
        for n in range(15)
    ],
    "counts": {"pages": 12, "words": 4_801, "links": None},
}


@dataclass
class Library:
    """One contender. In its calls stand `cache`, `function`, `key`, `value`, `load` and the names it brings along."""

    name: str
    cache: Any
    function: Callable[[int], Any] | None = None
    get: str | None = "await cache.get(key)"
    set: str | None = None
    get_or_set: str | None = None
    call: str | None = "await function(key)"
    names: dict[str, Any] = field(default_factory=dict)
    only: str | None = None
    """The operation that it takes part in, where that is one."""

    def spelled(self, operation: str) -> str | None:
        """What the loop does for `operation`; None where the library has no such call."""
        if self.only is not None and operation != self.only:
            return None
        if operation.startswith("get "):
            return self.get
        if operation.startswith("set"):
            return self.set
        if operation.startswith("get_or_set"):
            return self.get_or_set
        return None if self.function is None else self.call


class DictCache:
    """The floor: a dict behind `async def`, with no limit, no time to live and no isolation."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        return self._values.get(key)

    async def set(self, key: str, value: Any) -> None:
        self._values[key] = value

    async def get_or_set(self, key: str, loader: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return self._values[key]
        except KeyError:
            value = self._values[key] = await loader()
            return value

    def cached(self, function: Callable[[int], Awaitable[Any]]) -> Callable[[int], Awaitable[Any]]:
        values: dict[int, Any] = {}

        async def wrapper(user_id: int) -> Any:
            try:
                return values[user_id]
            except KeyError:
                value = values[user_id] = await function(user_id)
                return value

        return wrapper


async def load() -> Any:
    """Loads what the cache lacks: in a measured slice, never called."""
    return SMALL


async def profile(user_id: int) -> Any:
    """The function that is cached."""
    return SMALL


def blocking_profile(user_id: int) -> Any:
    """The same for a library that caches no coroutines."""
    return SMALL


def libraries() -> list[Library]:
    """The floor first, then donjon, then the peers."""
    floor = DictCache()
    ours = donjon.Cache.memory(namespace="bench", default_ttl=TTL)
    theirs = cashews.Cache()
    theirs.setup("mem://", size=ROOM)
    other = aiocache.SimpleMemoryCache()
    FastAPICache.init(InMemoryBackend(), prefix="bench")
    ttl = timedelta(seconds=TTL)
    return [
        Library(
            "async dict",
            floor,
            floor.cached(profile),
            set="await cache.set(key, value)",
            get_or_set="await cache.get_or_set(key, load)",
        ),
        Library(
            "donjon",
            ours,
            ours.cached("profile:{user_id}", ttl=TTL)(profile),
            set=f"await cache.set(key, value, ttl={TTL})",
            get_or_set=f"await cache.get_or_set(key, load, ttl={TTL})",
        ),
        Library(
            "cashews",
            theirs,
            theirs(ttl=TTL, key="profile:{user_id}")(profile),
            set=f"await cache.set(key, value, expire={TTL})",
            get_or_set=f"await cache.get_or_set(key, load, expire={TTL})",
        ),
        Library("aiocache", other, aiocache.cached(ttl=TTL)(profile), set=f"await cache.set(key, value, ttl={TTL})"),
        Library("fastapi-cache2", None, fastapi_cached(expire=TTL)(profile), get=None),
        Library(
            "cachetools",
            cachetools.TTLCache(ROOM, TTL),
            cachetools.cached(cachetools.TTLCache(ROOM, TTL))(blocking_profile),
            get="cache.get(key)",
            set="cache[key] = value",
            call="function(key)",
        ),
        Library(
            "moka-py",
            moka_py.Moka(ROOM, ttl=TTL),
            moka_py.cached(maxsize=ROOM, ttl=TTL)(profile),
            get="cache.get(key)",
            set="cache.set(key, value)",
        ),
        Library(
            "cachebox",
            cachebox.TTLCache(ROOM, TTL),
            cachebox.cached(cachebox.TTLCache(ROOM, TTL))(profile),
            get="cache.get(key)",
            set="cache[key] = value",
        ),
        Library(
            "theine",
            theine.Cache(ROOM),
            theine.Memoize(ROOM, ttl)(profile),
            get="cache.get(key)[0]",
            set="cache.set(key, value, ttl)",
            names={"ttl": ttl},
        ),
        # What a library that keeps bytes pays at least.
        Library(
            "orjson.loads",
            {},
            get="loads(cache[key])",
            set="cache[key] = dumps(value)",
            names={"loads": orjson.loads, "dumps": orjson.dumps},
            only="get hit, nested",
        ),
    ]
