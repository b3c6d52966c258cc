"""Stand-ins: a cache that is down, and a load that waits to be told to go on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import pytest
from donjon import Cache

T = TypeVar("T")


class BrokenCache(Cache):
    """Nothing that is asked of it works."""


async def _fails(*_: object, **__: object) -> NoReturn:
    raise ConnectionError("the cache is down")


def _fails_at_once(*_: object, **__: object) -> NoReturn:
    raise ConnectionError("the cache is down")


for _name in ("get", "set", "get_or_set", "lookup", "fill", "delete", "delete_many", "invalidate_pattern"):
    setattr(BrokenCache, _name, _fails)
for _name in ("invalidate_tags", "emit", "warm", "publish", "explain"):
    setattr(BrokenCache, _name, _fails)
for _name in ("lock", "subscribe"):
    setattr(BrokenCache, _name, _fails_at_once)


def _cached(*_: object, **__: object) -> Callable[[object], Any]:
    async def failing(*_: object, **__: object) -> NoReturn:
        await _fails()

    failing.refresh = _fails  # type: ignore[attr-defined]
    return lambda _: failing


setattr(BrokenCache, "cached", _cached)  # noqa: B010  # mypy would have it the real one's signature


class Paused:
    """A loader that has read the database and waits with its answer until `go_on`. Only the first call waits."""

    def __init__(self, load: Callable[..., Awaitable[Any]]) -> None:
        self._load = load
        self._release = asyncio.Event()
        self.has_read = asyncio.Event()
        self.calls = 0

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        first = self.calls == 1
        value = await self._load(*args, **kwargs)
        if first:
            self.has_read.set()
            await self._release.wait()
        return value

    def go_on(self) -> None:
        self._release.set()

    @classmethod
    def instead_of(cls, patch: pytest.MonkeyPatch, module: object, name: str) -> "Paused":
        paused = cls(getattr(module, name))
        patch.setattr(module, name, paused)
        return paused


async def raced(paused: Paused, read: Callable[[], Awaitable[T]], change: Callable[[], Awaitable[object]]) -> T:
    """What `read` gives after `change` came, complete with its invalidation, in the middle of an earlier read's load."""
    early = asyncio.create_task(_run(read))
    await paused.has_read.wait()
    await change()
    paused.go_on()
    await early
    return await read()


async def _run(read: Callable[[], Awaitable[T]]) -> T:
    return await read()
