"""cachebox, as its README has it: the decorator over a `TTLCache`; for times of single entries a `VTTLCache`."""

from __future__ import annotations

from typing import Any

import cachebox

from library import MISS, Library, Loader, NoSuchThing


class Cachebox(Library):
    name = package = "cachebox"
    backends = {"TTLCache": "`@cached(TTLCache(1000, 60))`, which copies the outermost level as it comes"}

    async def open(self) -> None:
        self.cache: Any = cachebox.TTLCache(1000, 60)
        self.cached: Any = cachebox.cached(self.cache, key_maker=lambda key, loader: key)(_load)

    async def get(self, key: str) -> Any:
        return self.cache.get(key, MISS)

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: tuple[str, ...] = ()) -> None:
        if ttl != 60:
            raise NoSuchThing("one time to live for all entries")
        self.cache.insert(key, value)

    async def load(self, key: str, loader: Loader, *, tags: tuple[str, ...] = ()) -> Any:
        return await self.cached(key, loader)

    async def delete(self, key: str) -> None:
        self.cache.pop(key, None)

    async def clear(self) -> None:
        self.cache.clear()


class CacheboxByHand(Library):
    name = package = "cachebox"
    backends = {"VTTLCache": "`VTTLCache(1000)`, by hand"}

    async def open(self) -> None:
        self.cache: Any = cachebox.VTTLCache(1000)

    async def get(self, key: str) -> Any:
        return self.cache.get(key, MISS)

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: tuple[str, ...] = ()) -> None:
        self.cache.insert(key, value, ttl=ttl)

    async def delete(self, key: str) -> None:
        self.cache.pop(key, None)

    async def clear(self) -> None:
        self.cache.clear()


async def _load(key: str, loader: Loader) -> Any:
    return await loader()
