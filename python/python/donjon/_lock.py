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
import time
import weakref
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import _donjon
from ._backend import Backend
from ._errors import BackendUnavailable, InvalidTtl, LockLost, LockTimeout
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
            asked = time.monotonic()
            got = await self._taken(locks)
            if got is not None:
                break
            left = seconds_left(deadline)
            if left == 0:
                raise LockTimeout(f"lock {self.name} was not free within {self._wait} s")
            if self._memory.shared:
                # In slices, so that the end of the cache is noticed everywhere.
                await self._given(locks.wait(self.name, SLICE if left is None else min(SLICE, left)))
                continue
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
        self._asked = asked
        self.lost.clear()
        self._held = True

    async def _given(self, outcome: Any) -> Any:
        """What a call of the backend gives, once it is there."""
        return await outcome if self._memory.waits else outcome

    async def _taken(self, locks: Any) -> tuple[int, int] | None:
        taking = locks.acquire(self.name, self._ttl)
        if not self._memory.waits:
            return taking  # type: ignore[no-any-return]
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            # It may be ours all the same, and nobody would know.
            taking.add_done_callback(partial(_give_back, locks, self.name))
            raise

    def end(self) -> None:
        """Wakes who waits: the cache is closed."""
        if self._bell is not None:
            self._bell.ring()

    async def _extend(self, ttl: Ttl | None) -> None:
        seconds = self._ttl if ttl is None else self._seconds(ttl)
        asked = time.monotonic()
        if not self._is_ours() or not await self._given(self._locks.renew(self.name, self.token, seconds)):
            self._lose()
            raise LockLost(f"lock {self.name} is not held")
        self._ttl, self._asked = seconds, asked

    async def _release(self) -> None:
        if not self._is_ours() or not await self._given(self._locks.release(self.name, self.token)):
            self._lose()
            raise LockLost(f"lock {self.name} is not held")
        self._held = False

    async def _leave(self) -> None:
        """The end of the block: what happened in it counts for more than a lock that was lost."""
        if not self._held:
            return
        try:
            await self._release()
        except BackendUnavailable:
            self._held = False
            logger.warning("lock %s could not be given back: it ends by its ttl", self.name)
        except LockLost:
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
        self._renewal: asyncio.TimerHandle | asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        await self._acquire(ASYNCIO)
        self._renew_later()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._leave()

    async def extend(self, ttl: Ttl | None = None) -> None:
        """Starts the time to live anew, with `ttl` where given, which also counts for renewals from now on.

        Raises:
            LockLost: The lock was released or lost.
            InvalidTtl: As for `lock`.
            BackendUnavailable: Redis could not be asked: it is held for as long as it was before.
        """
        await self._extend(ttl)
        self._renew_later()

    async def release(self) -> None:
        """Gives the lock up before the block ends.

        Raises:
            LockLost: It was released or lost already; a lock of somebody else's is left alone.
            BackendUnavailable: Redis could not be asked: the lock ends by its time.
        """
        await self._release()

    async def _release(self) -> None:
        # A timer of its own for each lock that was held a moment would outlive it by far.
        if self._renewal is not None:
            self._renewal.cancel()
        await super()._release()

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
        if self._memory.shared:
            keeping = self._locks.keep(self.name, self.token, self._ttl, time.monotonic() - self._asked)
            keeping.add_done_callback(partial(_kept, weakref.ref(self)))
            self._renewal = keeping
        else:
            pause = _donjon.Locks.renew_after(self._ttl)
            self._renewal = asyncio.get_running_loop().call_later(pause, _renew, weakref.ref(self))

    def __del__(self) -> None:
        # A lock that nobody can release any longer must run out.
        renewal = getattr(self, "_renewal", None)
        if isinstance(renewal, asyncio.Future) and not renewal.done():
            with suppress(RuntimeError):  # its loop is closed, and it with that
                renewal.get_loop().call_soon_threadsafe(renewal.cancel)


def _kept(lock: weakref.ref[Lock], keeping: asyncio.Future[None]) -> None:
    """A lock is not kept any longer: it was given up, or it is lost."""
    held = lock()
    if not keeping.cancelled() and held is not None and held._renewal is keeping:
        held._lose()


def _give_back(locks: Any, name: str, taking: asyncio.Future[tuple[int, int] | None]) -> None:
    taken = None if taking.cancelled() or taking.exception() is not None else taking.result()
    if taken is not None:
        giving = locks.release(name, taken[0])
        giving.add_done_callback(lambda given: given.cancelled() or given.exception())


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
        complete(self._leave())

    def extend(self, ttl: Ttl | None = None) -> None:
        """As `Lock.extend`."""
        complete(self._extend(ttl))

    def release(self) -> None:
        """As `Lock.release`."""
        complete(self._release())


SLICE = 5.0
"""Seconds."""
