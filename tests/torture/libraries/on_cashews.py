"""cashews, as its README has it: the decorator for loads, `lock=True` where processes share, a `secret` for what is pickled."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import cashews
from cashews.contrib.fastapi import CacheEtagMiddleware
from fastapi import FastAPI

from library import MISS, Library, Loader


class Cashews(Library):
    name = package = "cashews"
    backends = {
        "memory": "`mem://`, `@cache(ttl)`",
        "redis": "`redis://…?secret=…`, by which its pickles are signed; `@cache(ttl, lock=True)`",
        # Over RESP3, which its client library speaks by default, it never hears of a change.
        "near": "the same with `client_side=True`, and `protocol=2`, without which it is told of nothing",
    }

    async def open(self) -> None:
        self.cache = cashews.Cache()
        if self.backend == "memory":
            self.cache.setup("mem://")
        elif self.backend == "redis":
            self.cache.setup(self.url, secret="a secret")
        else:
            self.cache.setup(
                self.url, secret="a secret", protocol=2, client_side=True, client_side_prefix=f"{self.namespace}-near:"
            )
        await self.cache.init()
        shared = {"lock": True} if self.backend != "memory" else {}
        # Its keys are templates; a namespace is a prefix that the user writes.
        self.loads = {
            tags: self.cache(ttl="1m", key=self._key("{key}"), tags=tags, **shared)(self._load)
            for tags in ((), ("users",))
        }

    async def close(self) -> None:
        await self.cache.close()

    def _key(self, key: str) -> str:
        return f"{self.namespace}:{key}"

    @staticmethod
    async def _load(key: str, loader: Loader) -> Any:
        return await loader()

    async def get(self, key: str) -> Any:
        return await self.cache.get(self._key(key), default=MISS)

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: tuple[str, ...] = ()) -> None:
        await self.cache.set(self._key(key), value, expire=ttl, tags=tags)

    async def load(self, key: str, loader: Loader, *, tags: tuple[str, ...] = ()) -> Any:
        return await self.loads[tags](key, loader)

    async def delete(self, key: str) -> None:
        await self.cache.delete(self._key(key))

    async def invalidate_pattern(self, pattern: str) -> None:
        await self.cache.delete_match(self._key(pattern))

    async def invalidate_tag(self, tag: str) -> None:
        await self.cache.delete_tags(tag)

    async def clear(self) -> None:
        await self.cache.delete_match(self._key("*"))

    async def lock(self, name: str, ttl: float) -> Any:
        key, token = self._key(name), str(uuid.uuid4())
        return (key, token) if await self.cache.set_lock(key, token, expire=ttl) else None

    async def unlock(self, held: Any) -> None:
        await self.cache.unlock(*held)

    @contextlib.asynccontextmanager
    async def app(self) -> AsyncIterator[Any]:
        app = FastAPI()
        app.add_middleware(CacheEtagMiddleware, cache_instance=self.cache)

        @app.get("/a")
        @self.cache(ttl="1m", key=self._key("a"))
        async def a() -> dict[str, str]:
            return {"name": "a"}

        @app.get("/b")
        @self.cache(ttl="1m", key=self._key("b"))
        async def b() -> dict[str, str]:
            return {"name": "b"}

        yield app
