"""What a library is to the scenarios: a few calls, each of which it may lack.

Owns the words between scenarios and adapters. Must not know any library.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import metadata
from typing import Any, ClassVar

from redis_server import RedisServer

MISS = object()
"""What `get` gives where there is nothing; a cached None is a hit."""

Loader = Callable[[], Awaitable[Any]]


class NoSuchThing(Exception):
    """The library has no call, or no backend, that the fault could be in."""


class Fails(Exception):
    """The fault is there; the text says what was seen."""


class Library:
    """One opened cache, as one process has it. An adapter inherits from this and has the calls that its library has."""

    name: ClassVar[str]
    package: ClassVar[str]
    backends: ClassVar[dict[str, str]]
    """What it can be run on, and with which settings."""
    shared: ClassVar[frozenset[str]] = frozenset({"redis", "near"})
    """The backends that several processes share."""
    near: ClassVar[frozenset[str]] = frozenset({"near"})
    """Those that keep values in the process in front of Redis, and are told by Redis what changes."""
    cancellable: ClassVar[bool] = True
    """Whether its callers are tasks, which can be cancelled."""
    renews: ClassVar[bool] = False
    """Whether its locks are held for as long as their holder lives."""

    def __init__(self, backend: str, server: RedisServer | None, namespace: str) -> None:
        self.backend = backend
        self.server = server
        self.namespace = namespace

    @classmethod
    def version(cls) -> str:
        """The release that is installed."""
        return metadata.version(cls.package)

    @property
    def url(self) -> str:
        """Where the server is, where there is one."""
        assert self.server is not None
        return self.server.url

    async def open(self) -> None:
        """Makes it ready."""

    async def close(self) -> None:
        """Ends it."""

    async def get(self, key: str) -> Any:
        """The value, or MISS."""
        raise NoSuchThing("no read without a load")

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: tuple[str, ...] = ()) -> None:
        """Stores a value."""
        raise NoSuchThing("no store by hand")

    async def load(self, key: str, loader: Loader, *, tags: tuple[str, ...] = ()) -> Any:
        """The value, or what the loader gives, which is kept for a minute."""
        raise NoSuchThing("no loads")

    async def load_as(self, key: str, loader: Loader, kind: type) -> Any:
        """As `load`, where the library can be told of which type the value is."""
        return await self.load(key, loader)

    async def delete(self, key: str) -> None:
        """Invalidates a key."""
        raise NoSuchThing("no invalidation of a key")

    async def invalidate_pattern(self, pattern: str) -> None:
        """Invalidates keys by a pattern with `*`."""
        raise NoSuchThing("no patterns")

    async def invalidate_tag(self, tag: str) -> None:
        """Invalidates what carries a tag."""
        raise NoSuchThing("no tags")

    async def clear(self) -> None:
        """Invalidates everything of this namespace."""
        raise NoSuchThing("no clear")

    async def lock(self, name: str, ttl: float) -> Any:
        """Takes a lock and says with what to release it; None where somebody else has it."""
        raise NoSuchThing("no locks")

    async def unlock(self, held: Any) -> None:
        """Releases what `lock` gave."""
        raise NoSuchThing("no locks")

    @contextlib.asynccontextmanager
    async def app(self) -> AsyncIterator[Any]:
        """An ASGI application whose `/a` and `/b` are cached and differ."""
        raise NoSuchThing("nothing for HTTP")
        yield

    def has(self, call: str) -> bool:
        """Whether the adapter has a call."""
        return getattr(type(self), call) is not getattr(Library, call)


class World:
    """A server, and the processes of one scenario that use it by one library."""

    def __init__(self, library: type[Library], backend: str, server: RedisServer | None, namespace: str) -> None:
        self.library = library
        self.backend = backend
        self.server = server
        self.namespace = namespace
        self.open_ones: list[Library] = []

    @property
    def is_shared(self) -> bool:
        """Whether another process sees what this one stores."""
        return self.backend in self.library.shared

    async def open(self, namespace: str = "") -> Library:
        """One more process, on the scenario's own namespace or another beside it."""
        one = self.library(self.backend, self.server, self.namespace + namespace)
        await one.open()
        self.open_ones.append(one)
        return one

    async def two(self) -> tuple[Library, Library]:
        """Two processes that share what they store."""
        if not self.is_shared:
            raise NoSuchThing("nothing is shared between processes")
        return await self.open(), await self.open()

    async def close(self) -> None:
        """Ends all of them."""
        for one in self.open_ones:
            await one.close()


async def until(holds: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Whether it comes to hold within the time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await holds():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.002)
    return True
