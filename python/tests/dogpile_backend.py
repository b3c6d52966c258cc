"""donjon as a backend of dogpile.cache, so that dogpile.cache's own suite can be run over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dogpile.cache import register_backend
from dogpile.cache.api import NO_VALUE, BytesBackend, CacheMutex

import donjon

NAMES = ("donjon.memory", "donjon.redis")


class DonjonBackend(BytesBackend):
    """Bytes and locks of a cache, by its blocking calls. `cache` among the arguments is that cache."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._cache = arguments["cache"].sync

    def get_mutex(self, key: str) -> CacheMutex:
        return Mutex(self._cache, key)

    def get_serialized(self, key: str) -> Any:
        return self._cache.get(key, NO_VALUE)

    def get_serialized_multi(self, keys: Sequence[str]) -> list[Any]:
        found = self._cache.get_many(list(keys))
        return [found.get(key, NO_VALUE) for key in keys]

    def set_serialized(self, key: str, value: bytes) -> None:
        self._cache.set(key, value)

    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        self._cache.set_many(mapping)

    def delete(self, key: str) -> None:
        self._cache.delete(key)

    def delete_multi(self, keys: Sequence[str]) -> None:
        self._cache.delete_many(list(keys))


class Mutex(CacheMutex):
    """A lock that one holder has, in whichever thread."""

    def __init__(self, cache: donjon.SyncCache, key: str) -> None:
        self._cache = cache
        self._name = f"dogpile:{key}"
        self._held: donjon.SyncLock | None = None

    def acquire(self, wait: bool = True) -> bool:
        lock = self._cache.lock(self._name, ttl=60, wait=None if wait else 0)
        try:
            self._held = lock.__enter__()
        except donjon.LockTimeout:
            return False
        return True

    def release(self) -> None:
        if self._held is not None:
            self._held.release()

    def locked(self) -> bool:
        try:
            with self._cache.lock(self._name, ttl=60, wait=0):
                return False
        except donjon.LockTimeout:
            return True


for _name in NAMES:
    register_backend(_name, __name__, "DonjonBackend")
