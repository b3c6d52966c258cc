"""The memory backend of one process: the core, its locks and its channels, and all that both faces do without waiting.

Owns the survival of `fork`: a child gets an inner state of its own, as an inherited one may hold a lock for a thread that
the child does not have. The old state is kept for good, never read and never freed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from . import _donjon
from ._backend import CLOSED, Backend
from ._foreign import simpler
from ._notices import Tally
from ._removed import Removed

__all__ = ["Memory"]


class Memory(Backend):
    """Keeps values in this process."""

    name = "memory"
    core: _donjon.Core
    locks: _donjon.Locks
    hub: _donjon.Hub

    def __init__(self, *, clock: _donjon.ManualClock | None, enabled: bool, namespace: str, **options: Any) -> None:
        self._clock = clock
        self._options = options
        super().__init__(namespace, enabled)

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
    def close(self) -> None:
        """Forgets everything."""
        super().close()
        self.locks = CLOSED
        # Who is woken finds the cache closed; a subscription still has to leave the hub.
        for listener in list(self.listeners):
            listener.end()
        self.hub = CLOSED

    @contextmanager
    def set_aside(self, clock: _donjon.ManualClock) -> Iterator[None]:
        before = dict(vars(self))
        self._clock = clock
        # Early refresh is a matter of chance, and a test is not.
        self._options = {**self._options, "early": 0.0}
        self._rules = list(self._rules)
        self.tally = Tally()
        self.closed = False
        self._build()
        try:
            yield
        finally:
            vars(self).update(before)

    # -- invalidation
    def delete(self, key: str) -> Removed:
        return Removed(self.core.delete(key))

    def delete_many(self, keys: Iterable[str]) -> Removed:
        return self._swept(super().delete_many(keys))

    def invalidate_pattern(self, pattern: str) -> Removed:
        return self._swept(self.core.invalidate_pattern(pattern))

    def invalidate_tags(self, tags: Sequence[str]) -> Removed:
        return self._swept(self.core.invalidate_tags(tags))

    def clear(self) -> Removed:
        return self._swept(self.core.clear())

    def emit(self, event: str, params: Mapping[str, object]) -> Removed:
        return self._swept(super().emit(event, params))

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


def _bury(core: _donjon.Core, loop: asyncio.AbstractEventLoop) -> None:
    if core.bury():
        loop.call_soon(_bury, core, loop)
