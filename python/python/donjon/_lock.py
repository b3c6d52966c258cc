"""Locks: one holder a name, within this cache.

A lock has a time to live, so that a holder that is gone blocks nobody for long; one that is alive renews it. No lock of this
kind excludes for certain: a holder may be paused past its time and go on. Where that matters, hand `fence` to what the lock
protects, and have it refuse a number lower than the highest it has seen.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from . import _donjon
from ._backend import Backend
from ._errors import InvalidTtl, LockNotOwned, LockTimeout
from ._runtime import ASYNCIO, BLOCKING, Bell, Runtime, complete, deadline_in, seconds_left
from ._ttl import Ttl

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Lock", "SyncLock"]

logger = logging.getLogger("donjon")

Lost = TypeVar("Lost", bound=asyncio.Event | threading.Event)


class _Lock(Generic[Lost]):
    """What the two kinds of lock share: everything that does not wait."""

    lost: Lost
    """Set when the lock was lost: its time ran out before it was renewed, and another may hold it."""
    token: int
    """Tells this holding from every other."""
    fence: int
    """Larger than in every earlier holding of this name, for what the lock protects to check."""

    def __init__(self, memory: Backend, name: str, ttl: Ttl, wait: float | None, lost: Lost) -> None:
        _donjon.check_key(name)
        if wait is not None and not wait >= 0:
            raise ValueError(f"wait is None, for ever, or seconds from 0 on, not {wait}")
        self.name = name
        self._memory = memory
        self._ttl = self._seconds(ttl)
        self._wait = wait
        self.lost = lost
        self._locks = memory.locks
        self._held = False
        self._bell: Bell | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {'held' if self._held else 'not held'}>"

    async def _acquire(self, runtime: Runtime) -> None:
        if self._held:
            raise RuntimeError(f"lock {self.name} is held by this very object: make another to wait for it")
        deadline = deadline_in(self._wait)
        while True:
            # Anew each time: the cache may have been closed meanwhile, and then says so.
            locks = self._locks = self._memory.locks
            got = locks.acquire(self.name, self._ttl)
            if got is not None:
                break
            left = seconds_left(deadline)
            if left == 0:
                raise LockTimeout(f"lock {self.name} was not free within {self._wait} s")
            bell = self._bell = runtime.bell()
            self._memory.listeners.add(self)
            waiting = locks.notify(self.name, bell.ring)
            if waiting is None:
                continue
            try:
                await bell.wait(waiting.at_most if left is None else min(waiting.at_most, left))
            finally:
                waiting.leave()
        self.token, self.fence = got
        self.lost.clear()
        self._held = True

    def end(self) -> None:
        """Wakes who waits: the cache is closed."""
        if self._bell is not None:
            self._bell.ring()

    def _extend(self, ttl: Ttl | None) -> None:
        seconds = self._ttl if ttl is None else self._seconds(ttl)
        if not self._is_ours() or not self._locks.renew(self.name, self.token, seconds):
            self._lose()
            raise LockNotOwned(f"lock {self.name} is not held")
        self._ttl = seconds

    def _release(self) -> None:
        if not self._is_ours() or not self._locks.release(self.name, self.token):
            self._lose()
            raise LockNotOwned(f"lock {self.name} is not held")
        self._held = False

    def _leave(self) -> None:
        """The end of the block: what happened in it counts for more than a lock that was lost."""
        if not self._held:
            return
        try:
            self._release()
        except LockNotOwned:
            logger.warning("lock %s was lost before it was released: its holder took longer than its ttl", self.name)

    def _seconds(self, ttl: Ttl) -> float:
        seconds = math.inf if ttl is None else self._memory.seconds(ttl)
        if math.isinf(seconds):
            raise InvalidTtl("a lock needs an end: give its ttl in seconds")
        return seconds

    def _is_ours(self) -> bool:
        # A child of `fork` or a closed cache has other locks.
        return self._held and self._locks is self._memory.locks

    def _lose(self) -> None:
        if self._held:
            self._held = False
            self.lost.set()


class Lock(_Lock[asyncio.Event]):
    """`async with cache.lock(...) as held`. Renewed at a third of its time to live for as long as the event loop runs.

    Never re-entrant: whoever holds a lock and asks for it again waits like everybody else.
    """

    def __init__(self, memory: Backend, name: str, ttl: Ttl, wait: float | None) -> None:
        super().__init__(memory, name, ttl, wait, asyncio.Event())
        self._renewal: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._acquire(ASYNCIO)
        self._renew_later()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._leave()

    async def extend(self, ttl: Ttl | None = None) -> None:
        """Starts the time to live anew, with `ttl` where given, which also counts for renewals from now on.

        Raises:
            LockNotOwned: The lock was released or lost.
            InvalidTtl: As for `lock`.
        """
        self._extend(ttl)
        self._renew_later()

    async def release(self) -> None:
        """Gives the lock up before the block ends.

        Raises:
            LockNotOwned: It was released or lost already; a lock of somebody else's is left alone.
        """
        self._release()

    def _release(self) -> None:
        # A timer of its own for each lock that was held a moment would outlive it by far.
        if self._renewal is not None:
            self._renewal.cancel()
        super()._release()

    def _renew(self) -> None:
        if not self._held:
            return
        if self._is_ours() and self._locks.renew(self.name, self.token, self._ttl):
            self._renew_later()
        else:
            self._lose()

    def _renew_later(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._renewal = asyncio.get_running_loop().call_later(self._ttl / 3, _renew, weakref.ref(self))


def _renew(lock: weakref.ref[Lock]) -> None:
    # Weakly: a lock that nobody can release any longer must run out.
    held = lock()
    if held is not None:
        held._renew()


class SyncLock(_Lock[threading.Event]):
    """`with cache.sync.lock(...) as held`. Not renewed by itself: choose a `ttl` that is long enough, or call `extend`."""

    def __init__(self, memory: Backend, name: str, ttl: Ttl, wait: float | None) -> None:
        super().__init__(memory, name, ttl, wait, threading.Event())

    def __enter__(self) -> Self:
        complete(self._acquire(BLOCKING))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave()

    def extend(self, ttl: Ttl | None = None) -> None:
        """As `Lock.extend`."""
        self._extend(ttl)

    def release(self) -> None:
        """As `Lock.release`."""
        self._release()
