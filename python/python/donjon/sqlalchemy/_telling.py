"""How a cache is told of what is to be committed and of what was: all of it, with patience, and without failing who commits."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import isawaitable
from typing import Any

from donjon._cache import Cache
from donjon._errors import InvalidationQueued
from donjon._notices import logger
from donjon._sync import SyncCache

from ._rules import Targets

__all__ = ["Held", "announce", "tell"]

Held = Mapping[str, Any]
"""The keys that are marked, each with what it takes to lift its mark."""

Call = tuple[str, tuple[Any, ...]]


async def announce(cache: Cache | SyncCache, targets: Targets, seconds: float) -> Held:
    """Marks the keys before the commit, so that nothing stale is stored for them should there be no word after it.

    Never raises: without Redis the commit goes on as it does without marks.
    """
    keys = sorted(targets.keys)
    try:
        marks = cache._hold_down(keys, seconds)
        return dict(zip(keys, await marks if isawaitable(marks) else marks, strict=True))
    except Exception as error:
        logger.warning("a commit goes on without its write intent, as redis cannot be told: %s", error)
        return dict.fromkeys(keys)


async def tell(cache: Cache | SyncCache, targets: Targets, held: Held, patience: float) -> None:
    """Returns when it holds for everybody, or after `patience` seconds. Never raises: the change is committed.

    Of a blocking cache nothing is awaited.
    """
    queued = []
    for call in _calls(targets, held):
        name, arguments = call
        try:
            removed = getattr(cache, name)(*arguments)
            if isawaitable(removed):
                removed = await removed
            if removed.queued:
                queued.append(call)
        except InvalidationQueued:
            queued.append(call)
        except Exception:
            logger.exception(
                "an invalidation after a commit failed, entries may be stale until their ttl ends: %s", call
            )
    if not queued:
        return
    told = cache._owes_nothing(patience)
    if not (await told if isawaitable(told) else told):
        logger.error("invalidations after a commit wait for redis, other processes may be stale until then: %s", queued)


def _calls(targets: Targets, held: Held) -> list[Call]:
    calls: list[Call] = [("invalidate_pattern", (pattern,)) for pattern in sorted(targets.patterns)]
    keys = sorted(targets.keys)
    if held:
        calls.append(("_lift", ([(key, held.get(key)) for key in keys],)))
    elif keys:
        calls.append(("delete_many", (keys,)))
    if targets.tags:
        calls.append(("invalidate_tags", tuple(sorted(targets.tags))))
    return calls
