"""moka-py, as its README has it: the cache from threads, and the decorator for coroutines, which keeps a cache of its own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import moka_py

from library import MISS, Library, Loader


class Moka(Library):
    name, package = "moka-py", "moka-py"
    backends = {"threads": "`Moka(1000, ttl=60)`, `get_with` from threads"}
    cancellable = False

    async def open(self) -> None:
        self.threads = ThreadPoolExecutor(50)
        self.cache: Any = moka_py.Moka(1000, ttl=60)

    async def close(self) -> None:
        self.threads.shutdown(wait=False)

    async def _called(self, call: Any, *about: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, call, *about)

    async def get(self, key: str) -> Any:
        return self.cache.get(key, MISS)

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: tuple[str, ...] = ()) -> None:
        self.cache.set(key, value, ttl=ttl)

    async def load(self, key: str, loader: Loader, *, tags: tuple[str, ...] = ()) -> Any:
        loop = asyncio.get_running_loop()
        return await self._called(
            self.cache.get_with, key, lambda: asyncio.run_coroutine_threadsafe(_run(loader), loop).result()
        )

    async def delete(self, key: str) -> None:
        self.cache.remove(key)

    async def clear(self) -> None:
        self.cache.clear()


class MokaTasks(Library):
    name, package = "moka-py", "moka-py"
    backends = {"tasks": "`@cached(ttl=60, wait_concurrent=True)` on coroutines"}

    async def open(self) -> None:
        self.cached: Any = moka_py.cached(maxsize=1000, ttl=60, wait_concurrent=True)(_load)

    async def load(self, key: str, loader: Loader, *, tags: tuple[str, ...] = ()) -> Any:
        return await self.cached(_Named(key, loader))

    async def clear(self) -> None:
        self.cached.cache_clear()


class _Named:
    """An argument whose name alone is the key."""

    def __init__(self, key: str, loader: Loader) -> None:
        self.key = key
        self.loader = loader

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Named) and self.key == other.key


async def _load(named: _Named) -> Any:
    return await named.loader()


async def _run(loader: Loader) -> Any:
    return await loader()
