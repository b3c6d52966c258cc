"""aiocache, as its documentation has it: `cached_stampede` for loads, `namespace` on the cache."""

from __future__ import annotations

from typing import Any

from aiocache import RedisCache, SimpleMemoryCache, cached_stampede

from library import MISS, Library, Loader


class Aiocache(Library):
    name = package = "aiocache"
    backends = {
        "memory": "`SimpleMemoryCache`, `cached_stampede(lease=2)`",
        "redis": "`RedisCache`, `cached_stampede(lease=2)`",
    }

    async def open(self) -> None:
        where: dict[str, Any] = {"cache": SimpleMemoryCache}
        if self.server is not None:
            where = {"cache": RedisCache, "endpoint": "127.0.0.1", "port": self.server.port}
        decorator = cached_stampede(
            lease=2, ttl=60, namespace=self.namespace, key_builder=lambda function, key, loader: key, **where
        )
        self.cached = decorator(_load)
        self.cache = decorator.cache

    async def close(self) -> None:
        await self.cache.close()

    async def get(self, key: str) -> Any:
        return await self.cache.get(key, default=MISS)

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: tuple[str, ...] = ()) -> None:
        await self.cache.set(key, value, ttl=ttl)

    async def load(self, key: str, loader: Loader, *, tags: tuple[str, ...] = ()) -> Any:
        return await self.cached(key, loader)

    async def delete(self, key: str) -> None:
        await self.cache.delete(key)

    async def clear(self) -> None:
        # "Clears the cache in the cache namespace", says its documentation.
        await self.cache.clear()


async def _load(key: str, loader: Loader) -> Any:
    return await loader()
