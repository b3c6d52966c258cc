"""Each scenario finds its fault: donjon's adapter with that fault, made on purpose, fails it."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest
from fastapi import FastAPI, Response

from libraries.on_donjon import Donjon
from library import MISS, Fails, Loader, World
from redis_server import RedisServer
from scenarios import SCENARIOS

Tags = tuple[str, ...]


class ByHand(Donjon):
    """Get, load, set: T1 and T4."""

    async def load(self, key: str, loader: Loader, *, tags: Tags = ()) -> Any:
        value = await self.get(key)
        if value is MISS:
            value = await loader()
            await self.set(key, value, tags=tags)
        return value


class OneTask(Donjon):
    """All await the leader's own task, and get its cancellation: T2."""

    async def open(self) -> None:
        await super().open()
        self.flights: dict[str, asyncio.Task[Any]] = {}

    async def load(self, key: str, loader: Loader, *, tags: Tags = ()) -> Any:
        if key not in self.flights:
            self.flights[key] = asyncio.ensure_future(loader())
        return await self.flights[key]


class LeadsAfterAnError(Donjon):
    """Whoever waited for a load that failed loads at once: T3."""

    async def open(self) -> None:
        await super().open()
        self.flights: dict[str, asyncio.Task[Any]] = {}

    async def load(self, key: str, loader: Loader, *, tags: Tags = ()) -> Any:
        if (flight := self.flights.get(key)) is not None:
            with contextlib.suppress(LookupError):
                return await asyncio.shield(flight)
            return await loader()
        flight = self.flights[key] = asyncio.ensure_future(loader())
        try:
            return await asyncio.shield(flight)
        finally:
            del self.flights[key]


class TagsInSets(Donjon):
    """T5, which grows."""

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: Tags = ()) -> None:
        await super().set(key, value, ttl=ttl, tags=tags)
        assert self.server is not None
        for tag in tags:
            self.server.ask("SADD", f"{self.namespace}:the-keys-of:{tag}", key)


class OwnMemory(Donjon):
    """Keeps what it has read or written, as it is, and hears of nothing: T6, T10, T13, T16, T17."""

    async def open(self) -> None:
        await super().open()
        self.kept: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        if key not in self.kept:
            value = await super().get(key)
            if value is MISS:
                return MISS
            self.kept[key] = value
        return self.kept[key]

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: Tags = ()) -> None:
        await super().set(key, value, ttl=ttl, tags=tags)
        self.kept[key] = value


class Regex(Donjon):
    """T7."""

    async def invalidate_pattern(self, pattern: str) -> None:
        for key in ("a.b1", "axb1", "c"):
            if re.fullmatch(pattern.replace("*", ".*"), key):
                await self.delete(key)


class OneTag(Donjon):
    """T8."""

    @contextlib.asynccontextmanager
    async def app(self) -> AsyncIterator[Any]:
        app = FastAPI()

        @app.get("/{name}")
        async def get(name: str, if_none_match: str = "") -> Response:
            return Response(name, headers={"ETag": '"1"'})

        @app.middleware("http")
        async def answer(request: Any, call_next: Any) -> Any:
            return Response(status_code=304) if "if-none-match" in request.headers else await call_next(request)

        yield app


class Swallows(Donjon):
    """T9."""

    async def load(self, key: str, loader: Loader, *, tags: Tags = ()) -> Any:
        with contextlib.suppress(Exception):
            return await super().load(key, loader, tags=tags)


class NoNone(ByHand):
    """T11."""

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: Tags = ()) -> None:
        if value is not None:
            await super().set(key, value, ttl=ttl, tags=tags)


class Flushes(Donjon):
    """T12."""

    async def clear(self) -> None:
        assert self.server is not None
        self.server.ask("FLUSHDB")


class Pickles(Donjon):
    """T14."""

    async def get(self, key: str) -> Any:
        assert self.server is not None
        return pickle.loads(self.server.ask("GET", f"{self.namespace}:{key}"))

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: Tags = ()) -> None:
        assert self.server is not None
        self.server.ask("SET", f"{self.namespace}:{key}", pickle.dumps(value))


class AnyoneUnlocks(Donjon):
    """T15."""

    taken: ClassVar[set[str]] = set()

    async def lock(self, name: str, ttl: float) -> Any:
        if name in self.taken:
            return None
        self.taken.add(name)
        return name

    async def unlock(self, held: Any) -> None:
        self.taken.discard(held)


class TagsByTime(Donjon):
    """A tag is the time of the host that invalidates it: T18."""

    async def get(self, key: str) -> Any:
        found = await super().get(key)
        return MISS if found is MISS or await self.invalidated(found["tags"]) > found["at"] else found["value"]

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: Tags = ()) -> None:
        await super().set(key, {"value": value, "at": time.time(), "tags": list(tags)})

    async def invalidated(self, tags: list[str]) -> float:
        return max([await self.cache.get(f"tag:{tag}", 0.0) for tag in tags], default=0.0)

    async def invalidate_tag(self, tag: str) -> None:
        await self.cache.set(f"tag:{tag}", time.time())


class TagsOnce(TagsByTime):
    """And is asked for once: T19."""

    async def open(self) -> None:
        await super().open()
        self.known: float | None = None

    async def invalidated(self, tags: list[str]) -> float:
        if self.known is None:
            self.known = await super().invalidated(tags)
        return self.known


class Untyped(Donjon):
    """T20."""

    async def load_as(self, key: str, loader: Loader, kind: type) -> Any:
        found = await self.get(key)
        if found is MISS:
            value = await loader()
            await self.set(key, value)
            return value
        return found


FAULTY = {
    1: ByHand,
    2: OneTask,
    3: LeadsAfterAnError,
    4: ByHand,
    5: TagsInSets,
    6: OwnMemory,
    7: Regex,
    8: OneTag,
    9: Swallows,
    10: OwnMemory,
    11: NoNone,
    12: Flushes,
    13: OwnMemory,
    14: Pickles,
    15: AnyoneUnlocks,
    16: OwnMemory,
    17: OwnMemory,
    18: TagsByTime,
    19: TagsOnce,
    20: Untyped,
}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.mark.parametrize("number", SCENARIOS, ids=lambda number: f"t{number}")
async def test_a_fault_that_is_there_is_found(
    number: int, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is waited for in vain, so not for as long as where it is hoped for.
    monkeypatch.setattr("scenarios.PATIENCE", 0.3 if number != 10 else 3.0)
    monkeypatch.setattr("scenarios.ENOUGH", 1)
    backend = "near" if FAULTY[number] is OwnMemory else "redis"
    world = World(FAULTY[number], backend, server, f"t{number}-{uuid.uuid4().hex[:8]}")
    try:
        with pytest.raises(Fails):
            await SCENARIOS[number](world)
    finally:
        await world.close()
