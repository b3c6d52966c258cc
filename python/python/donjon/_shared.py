"""The Redis backend: what processes share.

Two views of one state: that for asyncio, whose calls are awaited, and that for threads, whose calls block. Connections belong to
the event loop that asks; a child of `fork` has its own.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from . import _donjon
from ._backend import CLOSED, Backend, Mode, Storing, check_mode
from ._donjon import MISS
from ._errors import BackendUnavailable, ConfigError, DecodeError, InvalidationQueued, ValueTooLarge
from ._foreign import simpler
from ._notices import Tally, logger
from ._removed import Removed

__all__ = ["Shared"]


class Told:
    """What came of calls, as the extension tells it; knows nothing of who asked."""

    def __init__(self, strict: bool, tally: Tally) -> None:
        self._strict = strict
        self._tally = tally

    def removed(self, count: int, queued: bool) -> Removed:
        removed = Removed(count)
        if queued:
            removed.queued = True
            self._tally.notices.warn(
                "queued",
                "redis could not be told of an invalidation: it is queued, and others may be served what was meant",
            )
            if self._strict:
                raise InvalidationQueued("redis could not be told yet: it is, before this process reads there again")
        return removed

    def not_stored(self, fits: bool) -> None:
        if not fits:
            if self._strict:
                raise ValueTooLarge(
                    "the value is over `max_value_bytes`: it was not stored, and its key is invalidated"
                )
            return
        self._tally.notices.warn("not stored", "a value did not reach redis: its key is invalidated instead")
        if self._strict:
            raise BackendUnavailable("the value did not reach redis: its key is invalidated instead")

    def undecodable(self, key: str, error: DecodeError) -> None:
        self._tally.undecodable(key, error)


class _Leased(Backend):
    """What both views do with a lease, which belongs to neither."""

    name = "redis"
    shared = True
    core: _donjon.Shared

    def ping(self) -> Any:
        return self.core.ping()

    def hit_in(self, mode: Mode | None) -> Callable[..., Any]:
        check_mode(mode)
        if mode is None:
            return self.hit
        return self.core.hit if mode == "local" else _never

    def fill(self, lease: Any, value: Any, storing: Storing) -> Any:
        return self.core.fill(lease, value, storing.ttl, storing.grace, storing.tag_names())

    def pass_on(self, lease: Any, value: Any, storing: Storing) -> Any:
        return self.core.pass_on(lease, value, storing.tag_names())

    def hold_down(self, keys: Sequence[str], seconds: float) -> Any:
        return self.core.hold_down(keys, seconds)

    def lift(self, held: Sequence[tuple[str, Any]]) -> Any:
        return self.core.lift(held)

    def owes_nothing(self, at_most: float) -> Any:
        return self.core.owes_nothing(at_most)

    def remember(self, lease: Any, said: Any, storing: Storing) -> Any:
        return self.core.remember(lease, said, storing.ttl, storing.tag_names())

    def fill_many(self, pairs: list[tuple[Any, Any]], storing: Storing) -> Any:
        return self.core.fill_many(pairs, storing.ttl, storing.grace, storing.tag_names())


class Shared(_Leased):
    """Keeps values in Redis; for asyncio."""

    waits = True

    def __init__(
        self, url: str, *, namespace: str, enabled: bool, strict: bool, near: bool, mode: Mode, **options: Any
    ) -> None:
        check_mode(mode)
        self._url = url
        self._strict = strict
        self.tiers = "memory,redis" if near else "redis"
        self.is_local = near and mode == "local"
        options["near"] = near
        self._options = options
        self._views: weakref.WeakSet[_Blocking] = weakref.WeakSet()
        super().__init__(namespace, enabled)

    def _build(self) -> None:
        self.core = _donjon.Shared(
            self._url,
            Told(self._strict, self.tally),
            namespace=self.namespace,
            enabled=self._enabled,
            foreign=simpler,
            **self._options,
        )
        self.locks, self.hub = self.core.locks, self.core.hub
        self.url = self.core.url
        self.get = self.core.get
        self.hit = self.core.hit if self.is_local else _never
        for rule in self._rules:
            self.core.on(*rule)
        for view in list(self._views):
            view.renew()

    # -- the whole of it
    @property
    def blocking(self) -> Backend:
        view = _Blocking(self)
        self._views.add(view)
        return view

    def close(self) -> Awaitable[None] | None:
        """Says what Redis is owed, then lets go of the connections."""
        if self.closed:
            return None
        core = self.core
        for listener in list(self.listeners):
            listener.end()
        super().close()
        self.locks = self.hub = CLOSED
        for view in list(self._views):
            view.renew()
        return _close(core)

    @contextmanager
    def set_aside(self, clock: _donjon.ManualClock) -> Iterator[None]:
        raise ConfigError("a clock moved by hand does not move that of redis: test with CACHE_BACKEND=memory")
        yield


class _Blocking(_Leased):
    """The same for threads. What does not wait is the other's."""

    def __init__(self, of: Shared) -> None:
        # The state is the other's, and so is its survival.
        self._of = of
        self.renew()

    def renew(self) -> None:
        """Follows the other to another inner state."""
        if self._of.closed:
            self.core = self.locks = self.hub = CLOSED
            self.get = self.hit = CLOSED.refuse
        else:
            self.core = self._of.core.blocking()
            self.locks, self.hub = self.core.locks, self.core.hub
            self.get = self.core.get
            self.hit = self.core.hit if self._of.is_local else _never

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)

    @property
    def awaiting(self) -> Backend:
        return self._of

    @property
    def scope(self) -> object:
        return self._of.scope

    @property
    def enabled(self) -> bool:
        return self._of.enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self._of.enabled = enabled

    def on(self, event: str, keys: Iterable[str], patterns: Iterable[str], tags: Iterable[str]) -> None:
        self._of.on(event, keys, patterns, tags)


def _never(key: str, reader: int | None = None) -> Any:
    """Nothing is known of Redis without asking it, or memory in front of it."""
    return MISS


async def _close(core: _donjon.Shared) -> None:
    owed = await core.close()
    if owed:
        logger.warning(
            "closed with %d invalidations that redis was not told of: others may be served what was meant", owed
        )
