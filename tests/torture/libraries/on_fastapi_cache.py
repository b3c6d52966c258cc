"""fastapi-cache2, as its README has it: `FastAPICache.init` once, `@cache` on what is cached."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis.asyncio import Redis

from library import Library, Loader, NoSuchThing


class FastapiCache(Library):
    name = package = "fastapi-cache2"
    backends = {
        "memory": "`InMemoryBackend`, `@cache(expire=60)` on functions that are called; T8 on routes",
        "redis": "`RedisBackend`, the same",
    }

    opened: Any = None

    async def open(self) -> None:
        if FastapiCache.opened is not None:
            raise NoSuchThing("one cache in a process")
        FastapiCache.opened = self
        if self.backend == "memory":
            # What is kept is the class's, and so every instance's.
            InMemoryBackend._store.clear()
            backend: Any = InMemoryBackend()
        else:
            self.client = Redis.from_url(self.url)
            backend = RedisBackend(self.client)
        FastAPICache.init(backend, prefix=self.namespace)

    async def close(self) -> None:
        FastapiCache.opened = None
        FastAPICache.reset()
        if self.backend == "redis":
            await self.client.aclose()

    async def load(self, key: str, loader: Loader, *, tags: tuple[str, ...] = ()) -> Any:
        return await self._cached(key, None)(loader)

    async def load_as(self, key: str, loader: Loader, kind: type) -> Any:
        return await self._cached(key, kind)(loader)

    def _cached(self, key: str, kind: type | None) -> Any:
        async def function(loader: Loader) -> Any:
            return await loader()

        if kind is not None:
            function.__annotations__["return"] = kind
        return cache(expire=60, key_builder=lambda function, namespace, **rest: f"{namespace}:{key}")(function)

    async def delete(self, key: str) -> None:
        # `FastAPICache.clear(key=…)` clears the whole prefix; its backend alone is asked for one key, and raises for one that is not there.
        with contextlib.suppress(KeyError):
            await FastAPICache.get_backend().clear(key=f"{self.namespace}::{key}")

    async def clear(self) -> None:
        await FastAPICache.clear()

    @contextlib.asynccontextmanager
    async def app(self) -> AsyncIterator[Any]:
        app = FastAPI()

        @app.get("/a")
        @cache(expire=60)
        async def a() -> dict[str, str]:
            return {"name": "a"}

        @app.get("/b")
        @cache(expire=60)
        async def b() -> dict[str, str]:
            return {"name": "b"}

        yield app
