"""How a cache is told of what was committed: all of it, with patience, and without failing who committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from donjon._cache import Cache
from donjon._errors import InvalidationQueued
from donjon._notices import logger
from donjon._runtime import complete

from ._rules import Targets

__all__ = ["tell", "tell_blocking"]

_RETRY_SECONDS = 0.05

Call = tuple[str, tuple[Any, ...]]


async def tell(cache: Cache, targets: Targets, patience: float) -> None:
    """Returns when it holds for everybody, or after `patience` seconds. Never raises: the change is committed."""

    async def say(call: Call) -> bool:
        name, arguments = call
        queued: bool = (await getattr(cache, name)(*arguments)).queued
        return queued

    await _tell(targets, patience, say, asyncio.sleep)


def tell_blocking(cache: Cache, targets: Targets, patience: float) -> None:
    """As `tell`, for sessions without asyncio."""

    async def say(call: Call) -> bool:
        name, arguments = call
        queued: bool = getattr(cache.sync, name)(*arguments).queued
        return queued

    async def sleep(seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # runs in no loop

    complete(_tell(targets, patience, say, sleep))


async def _tell(
    targets: Targets, patience: float, say: Callable[[Call], Awaitable[bool]], sleep: Callable[[float], Awaitable[None]]
) -> None:
    end = time.monotonic() + patience
    calls = _calls(targets)
    while calls:
        queued = []
        for call in calls:
            try:
                if await say(call):
                    queued.append(call)
            except InvalidationQueued:
                queued.append(call)
            except Exception:
                logger.exception(
                    "an invalidation after a commit failed, entries may be stale until their ttl ends: %s", call
                )
        if queued and time.monotonic() >= end:
            logger.error(
                "invalidations after a commit wait for redis, other processes may be stale until then: %s", queued
            )
            return
        calls = queued
        if calls:
            await sleep(_RETRY_SECONDS)


def _calls(targets: Targets) -> list[Call]:
    calls: list[Call] = [("invalidate_pattern", (pattern,)) for pattern in sorted(targets.patterns)]
    if targets.keys:
        calls.append(("delete_many", (sorted(targets.keys),)))
    if targets.tags:
        calls.append(("invalidate_tags", tuple(sorted(targets.tags))))
    return calls
