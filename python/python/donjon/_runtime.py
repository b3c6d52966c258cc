"""How to wait and how to call a loader: once for asyncio, once for threads.

Everything that waits is written once, as a coroutine over a `Runtime`. Under asyncio it is awaited. The blocking runtime's
coroutines never suspend, so `complete` runs one to its end by a single step in the calling thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from inspect import isawaitable
from types import CoroutineType
from typing import Any, Protocol, TypeVar

__all__ = ["ASYNCIO", "BLOCKING", "Bell", "Runtime", "complete"]

T = TypeVar("T")


class Bell(Protocol):
    """Something to wait for. One waiter, and at most one ring counts."""

    def ring(self) -> None:
        """Wakes the waiter. From any thread; does nothing where nobody waits any longer."""

    async def wait(self, seconds: float | None) -> bool:
        """Waits for the ring, or until `seconds` have passed; says whether it rang. None waits for ever."""


class Runtime(Protocol):
    """What the code that waits asks of the place it runs in."""

    def bell(self) -> Bell: ...

    def may_wait(self) -> bool:
        """Whether waiting here can end: a thread that blocks its own event loop waits for itself."""

    async def call(self, load: Callable[..., Any], *args: Any) -> Any:
        """What the user's function gives, in the caller's own task or thread."""


class _AsyncioBell:
    __slots__ = ("_future", "_loop", "_thread")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._future: asyncio.Future[bool] = self._loop.create_future()

    def ring(self) -> None:
        try:
            if threading.get_ident() == self._thread:
                self._settle(True)
            else:
                self._loop.call_soon_threadsafe(self._settle, True)
        except RuntimeError:
            if not self._loop.is_closed():  # with its loop, the waiter is gone
                raise

    def _settle(self, rang: bool) -> None:
        if not self._future.done():
            self._future.set_result(rang)

    async def wait(self, seconds: float | None) -> bool:
        if seconds is None:
            return await self._future
        timer = self._loop.call_later(seconds, self._settle, False)
        try:
            return await self._future
        finally:
            timer.cancel()


class _Asyncio:
    """Waiting in an event loop."""

    def bell(self) -> Bell:
        return _AsyncioBell()

    def may_wait(self) -> bool:
        return True

    async def call(self, load: Callable[..., Any], *args: Any) -> Any:
        value = load(*args)
        if type(value) is CoroutineType or isawaitable(value):
            value = await value
        return value


class _ThreadBell:
    __slots__ = ("_event", "ring")

    def __init__(self) -> None:
        self._event = threading.Event()
        self.ring = self._event.set

    async def wait(self, seconds: float | None) -> bool:
        return self._event.wait(seconds)


class _Blocking:
    """Waiting in a thread."""

    def bell(self) -> Bell:
        return _ThreadBell()

    def may_wait(self) -> bool:
        return asyncio._get_running_loop() is None

    async def call(self, load: Callable[..., Any], *args: Any) -> Any:
        value = load(*args)
        if isawaitable(value):
            if isinstance(value, Coroutine):
                value.close()
            raise TypeError("the blocking API was given an async loader: use the cache itself instead of `cache.sync`")
        return value


ASYNCIO: Runtime = _Asyncio()
BLOCKING: Runtime = _Blocking()


def complete(work: Coroutine[Any, Any, T]) -> T:
    """Runs to its end a coroutine that waits by the blocking runtime alone."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise RuntimeError("the blocking API met something that only an event loop can wait for")


def seconds_left(deadline: float | None) -> float | None:
    """What is left until `deadline`, a moment of `time.monotonic`; never negative."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def deadline_in(seconds: float | None) -> float | None:
    """The moment of `time.monotonic` that lies `seconds` ahead."""
    return None if seconds is None else time.monotonic() + seconds
