"""Helpers of the tests: loaders that the test lets through, and tasks that know nothing of the test's own loads."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import redis

from donjon import Cache
from donjon._shared import Shared

T = TypeVar("T")

PATIENT: Any = {"connect_timeout": 5.0, "command_timeout": 5.0}
"""For tests in which a machine with other work must not look like a Redis that is away."""


def elsewhere(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task as another request would have it: it does not inherit what the caller is in the middle of."""
    return contextvars.Context().run(asyncio.create_task, work)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what another thread does, or time by itself, and nothing announces."""

    async def met() -> None:
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)

    await asyncio.wait_for(met(), 10)


def size_of(cache: Cache) -> int:
    """How many values are kept, in Redis counted there."""
    backend = cache._memory
    if not isinstance(backend, Shared):
        return cache.get_size()
    with redis.Redis.from_url(backend._url) as client:
        return sum(1 for _ in client.scan_iter(f"{cache.namespace}:*", count=1000))


class Loader:
    """A loader that the test lets through: `async def`, counts its calls, and says when one has begun."""

    def __init__(self, value: Any = None, error: Exception | None = None) -> None:
        self.value = value
        self.error = error
        self.calls = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, *args: object) -> Any:
        self.calls += 1
        self.begun.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return self.value
