"""dogpile.cache, as its documentation has it: `get_or_create` from threads, with a lock in Redis where processes share."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE

from library import MISS, Library, Loader, NoSuchThing


class Dogpile(Library):
    name, package = "dogpile.cache", "dogpile.cache"
    backends = {
        "memory": "`dogpile.cache.memory`, `get_or_create`",
        "redis": "`dogpile.cache.redis` with `distributed_lock`, `get_or_create`, and pickle as its own serializer",
    }
    cancellable = False

    async def open(self) -> None:
        self.threads = ThreadPoolExecutor(50)
        self.region = make_region(key_mangler=lambda key: f"{self.namespace}:{key}")
        if self.backend == "memory":
            self.region.configure("dogpile.cache.memory", expiration_time=60)
        else:
            arguments = {"url": self.url, "distributed_lock": True, "thread_local_lock": False}
            self.region.configure("dogpile.cache.redis", expiration_time=60, arguments=arguments)

    async def close(self) -> None:
        self.threads.shutdown(wait=False)
        if self.backend == "redis":
            self.region.backend.writer_client.close()

    async def _called(self, call: Any, *about: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, call, *about)

    async def get(self, key: str) -> Any:
        value = await self._called(self.region.get, key)
        return MISS if value is NO_VALUE else value

    async def set(self, key: str, value: Any, *, ttl: float = 60, tags: tuple[str, ...] = ()) -> None:
        if ttl != 60:
            raise NoSuchThing("one time to live for all entries of a region")
        await self._called(self.region.set, key, value)

    async def load(self, key: str, loader: Loader, *, tags: tuple[str, ...] = ()) -> Any:
        loop = asyncio.get_running_loop()
        return await self._called(
            self.region.get_or_create, key, lambda: asyncio.run_coroutine_threadsafe(_run(loader), loop).result()
        )

    async def delete(self, key: str) -> None:
        await self._called(self.region.delete, key)

    async def clear(self) -> None:
        await self._called(self.region.invalidate)


async def _run(loader: Loader) -> Any:
    return await loader()
