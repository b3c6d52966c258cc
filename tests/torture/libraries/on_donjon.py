"""donjon, as `docs/python.md` and `docs/fastapi.md` have it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, FastAPI

import donjon
from donjon import Cache
from donjon.fastapi import CachedRoute, cached_response, lifespan
from library import MISS, Library, Loader

# So that a loaded machine is not taken for a server that is away.
LIMITS = {"connect_timeout": 10.0, "command_timeout": 10.0}


class Donjon(Library):
    name = package = "donjon"
    backends = {"memory": "`Cache.memory()`", "redis": "`Cache.redis(url)`", "near": "`Cache.redis(url, near=True)`"}
    renews = True

    async def open(self) -> None:
        self.held: list[Any] = []
        if self.backend == "memory":
            self.cache = Cache.memory(namespace=self.namespace)
        else:
            self.cache = Cache.redis(self.url, namespace=self.namespace, near=self.backend == "near", **LIMITS)
        await self.cache.connect()

    async def close(self) -> None:
        for held in self.held:
            with contextlib.suppress(donjon.LockLost):
                await held.release()
        await self.cache.close()

    async def get(self, key: str) -> Any:
        return await self.cache.get(key, MISS)

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: tuple[str, ...] = ()) -> None:
        await self.cache.set(key, value, ttl=ttl, tags=tags)

    async def load(self, key: str, loader: Loader, *, tags: tuple[str, ...] = ()) -> Any:
        return await self.cache.get_or_set(key, loader, ttl=60, tags=tags)

    async def load_as(self, key: str, loader: Loader, kind: type) -> Any:
        return await self.cache.get_or_set(key, loader, ttl=60, as_=kind)

    async def delete(self, key: str) -> None:
        await self.cache.delete(key)

    async def invalidate_pattern(self, pattern: str) -> None:
        await self.cache.invalidate_pattern(pattern)

    async def invalidate_tag(self, tag: str) -> None:
        await self.cache.invalidate_tags(tag)

    async def clear(self) -> None:
        await self.cache.clear()

    async def lock(self, name: str, ttl: float) -> Any:
        lock = self.cache.lock(name, ttl=ttl, wait=0)
        try:
            held = await lock.__aenter__()
        except donjon.LockTimeout:
            return None
        self.held.append(held)
        return held

    async def unlock(self, held: Any) -> None:
        await held.release()

    @contextlib.asynccontextmanager
    async def app(self) -> AsyncIterator[Any]:
        app = FastAPI()
        router = APIRouter(route_class=CachedRoute)

        @router.get("/a")
        @cached_response("1m")
        async def a() -> dict[str, str]:
            return {"name": "a"}

        @router.get("/b")
        @cached_response("1m")
        async def b() -> dict[str, str]:
            return {"name": "b"}

        app.include_router(router)
        async with lifespan(app, self.cache):
            yield app
