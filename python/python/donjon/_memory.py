"""The memory backend of one process: the core, its locks and its channels, and all that both faces do without waiting.

Owns the survival of `fork`: a child gets an inner state of its own, as an inherited one may hold a lock for a thread that
the child does not have. The old state is kept for good, never read and never freed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Protocol

from . import _donjon
from ._errors import CacheClosed, DecodeError
from ._foreign import simpler
from ._keys import text
from ._removed import Removed
from ._stats import CacheStats
from ._ttl import Ttl, grace_span, span

__all__ = ["AS_USUAL", "Memory", "Storing", "Tags", "logger"]

logger = logging.getLogger("donjon")

Tags = Sequence[str] | Callable[[], Sequence[str]]
"""Tags, or what makes them when they are needed."""

_QUIET_SECONDS: Final = 60.0


class Storing(NamedTuple):
    """How a loaded value is to be stored."""

    ttl: float | None = None
    grace: float | None = None
    tags: Tags = ()

    def fill(self, lease: _donjon.Lease, value: Any) -> Any:
        tags = self.tags() if callable(self.tags) else self.tags
        return lease.fill(value, self.ttl, self.grace, tags)

    def set(self, core: _donjon.Core, key: str, value: Any) -> None:
        tags = self.tags() if callable(self.tags) else self.tags
        core.set(key, value, self.ttl, self.grace, tags)


AS_USUAL: Final = Storing()


class Listener(Protocol):
    """Who waits for messages or a lock, and has to be told when there will be no more."""

    def end(self) -> None: ...


class _Closed:
    """Takes the place of what a closed cache worked with."""

    def __getattr__(self, name: str) -> Any:
        raise CacheClosed("the cache is closed: connect() opens it again, empty")

    def refuse(self, *args: object) -> Any:
        return self.__getattr__("core")


class Memory:
    """What `Cache` and `SyncCache` share."""

    core: _donjon.Core
    get: Callable[..., Any]
    hit: Callable[[str], Any]
    locks: _donjon.Locks
    hub: _donjon.Hub

    def __init__(self, *, clock: _donjon.ManualClock | None, enabled: bool, namespace: str, **options: Any) -> None:
        self.namespace: Final = namespace
        self.closed = False
        self.listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._clock = clock
        self._options = options
        self._enabled = enabled
        self._rules: list[tuple[str, Sequence[str], Sequence[str], Sequence[str]]] = []
        self._last_warned: dict[str, float] = {}
        self._stale_on_error = 0
        self._undecodable = 0
        self._build()
        _live.add(self)

    def _build(self) -> None:
        self.core = _donjon.Core(
            namespace=self.namespace, clock=self._clock, enabled=self._enabled, foreign=simpler, **self._options
        )
        self.get = self.core.get
        self.hit = self.core.hit
        self.locks = _donjon.Locks(self._clock)
        self.hub = _donjon.Hub(simpler)
        for rule in self._rules:
            self.core.on(*rule)

    # -- the whole of it
    def open(self) -> None:
        """Makes a closed cache usable again, empty."""
        if self.closed:
            self.closed = False
            self._build()

    def close(self) -> None:
        """Forgets everything; what is used afterwards raises CacheClosed."""
        self.closed = True
        closed: Any = _Closed()
        self.core = self.locks = closed
        self.get = self.hit = closed.refuse
        # Who is woken finds the cache closed; a subscription still has to leave the hub.
        for listener in list(self.listeners):
            listener.end()
        self.hub = closed

    def start_anew(self) -> None:
        """Goes on, empty, with an inner state that no other process has touched."""
        _inherited.append((self.core, self.get, self.hit, self.locks, self.hub))
        if not self.closed:
            self._build()

    @contextmanager
    def set_aside(self, clock: _donjon.ManualClock) -> Iterator[None]:
        """Puts an empty inner state in the place of the present one meanwhile; for tests."""
        before = dict(vars(self))
        self._clock = clock
        # Early refresh is a matter of chance, and a test is not.
        self._options = {**self._options, "early": 0.0}
        self._rules = list(self._rules)
        self._last_warned = {}
        self.closed = False
        self._build()
        try:
            yield
        finally:
            vars(self).update(before)

    @property
    def enabled(self) -> bool:
        return self._enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        if not self.closed:
            self.core.enabled = enabled
        self._enabled = enabled

    # -- writes
    def set(self, key: str, value: Any, ttl: Ttl | None, grace: Ttl | None, tags: Sequence[str]) -> None:
        self.core.set(key, value, span(ttl), grace_span(grace), _tag_list(tags))

    def set_many(self, items: Mapping[str, Any], ttl: Ttl | None, grace: Ttl | None, tags: Sequence[str]) -> None:
        self.core.set_many(items, span(ttl), grace_span(grace), _tag_list(tags))

    def seconds(self, ttl: Ttl) -> float:
        """What a time to live means here; `math.inf` for ever.

        Raises:
            InvalidTtl: It is none.
        """
        return self.core.seconds(span(ttl))

    def storing(self, ttl: Ttl | None, grace: Ttl | None, tags: Tags) -> Storing:
        """How to store what a loader is about to load, found good before it runs."""
        if ttl is None and grace is None and not tags:
            return AS_USUAL
        seconds = None if ttl is None else self.seconds(ttl)
        grace_seconds = grace_span(grace)
        if grace_seconds is not None:
            grace_seconds = self.core.seconds(grace_seconds)
        if not callable(tags):
            tags = _tag_list(tags)
            _donjon.check_tags(tags)
        return Storing(seconds, grace_seconds, tags)

    # -- invalidation
    def delete(self, key: str) -> Removed:
        return Removed(self.core.delete(key))

    def delete_many(self, keys: Iterable[str]) -> Removed:
        return self._swept(self.core.delete_many(_listed(keys)))

    def invalidate_pattern(self, pattern: str) -> Removed:
        return self._swept(self.core.invalidate_pattern(pattern))

    def invalidate_tags(self, tags: Sequence[str]) -> Removed:
        return self._swept(self.core.invalidate_tags(tags))

    def clear(self) -> Removed:
        return self._swept(self.core.clear())

    def _swept(self, count: int) -> Removed:
        """What was swept away is already out of reach; here it is freed, in an event loop by slices between other work."""
        core = self.core
        if core.bury():
            loop = asyncio._get_running_loop()
            if loop is not None:
                loop.call_soon(_bury, core, loop)
            else:
                while core.bury():
                    pass
        return Removed(count)

    # -- events
    def on(self, event: str, keys: Iterable[str], patterns: Iterable[str], tags: Iterable[str]) -> None:
        rule = (event, _listed(keys), _listed(patterns), _listed(tags))
        self.core.on(*rule)
        self._rules.append(rule)

    def emit(self, event: str, params: Mapping[str, object]) -> Removed:
        return self._swept(self.core.emit(event, {name: text(value) for name, value in params.items()}))

    # -- what went wrong without hurting anybody
    def served_stale(self, key: str, error: Exception) -> None:
        """Notes that a load failed and its caller got the stale value."""
        self._stale_on_error += 1
        self._warn("stale", "loading %s failed with %s: serving the stale value", key, type(error).__name__)

    def undecodable(self, key: str, error: DecodeError) -> None:
        """Notes that a stored value was no valid one for its reader."""
        self._undecodable += 1
        self._warn("undecodable", "%s: %s; treated as a miss", key, error)

    def _warn(self, kind: str, message: str, *args: object) -> None:
        now = time.monotonic()
        if now - self._last_warned.get(kind, -_QUIET_SECONDS) >= _QUIET_SECONDS:
            self._last_warned[kind] = now
            logger.warning(message, *args)

    def stats(self) -> CacheStats:
        return CacheStats.of(self.core.stats(), stale_on_error=self._stale_on_error, undecodable=self._undecodable)

    def reset_stats(self) -> None:
        self._stale_on_error = self._undecodable = 0
        self.core.reset_stats()


def _listed(texts: Iterable[str]) -> list[str]:
    """A list of what was given, where a lone text is a mistake: it would be taken letter by letter."""
    if isinstance(texts, str):
        raise TypeError(f"a list of texts is wanted, not one text: write [{texts!r}]")
    return list(texts)


def _tag_list(tags: Iterable[str]) -> Sequence[str]:
    return tags if isinstance(tags, (list, tuple)) else _listed(tags)


def _bury(core: _donjon.Core, loop: asyncio.AbstractEventLoop) -> None:
    if core.bury():
        loop.call_soon(_bury, core, loop)


_live: weakref.WeakSet[Memory] = weakref.WeakSet()
_inherited: list[object] = []


def _start_anew() -> None:
    for memory in list(_live):
        memory.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
