"""Messages: what is published on a channel reaches those who subscribe to it at that moment, and nobody later."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from ._backend import Backend
from ._runtime import ASYNCIO, BLOCKING, Runtime, complete, deadline_in, seconds_left

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Message", "Subscription", "SyncSubscription"]


class Message(NamedTuple):
    """What a subscriber gets."""

    channel: str
    """The channel it was published on."""
    data: Any
    """A copy of its own of what was published."""
    received_at: float
    """Seconds since 1970 at which it reached this process."""


class _Subscription:
    def __init__(self, memory: Backend, channels: Sequence[str], limit: int, raw: bool) -> None:
        if not channels:
            raise ValueError("subscribe names at least one channel")
        self._memory = memory
        self._hub = memory.hub
        self._inner = memory.hub.subscribe(channels, limit, raw)
        self._closed = False
        memory.listeners.add(self)

    @property
    def dropped(self) -> int:
        """Messages lost because `limit` were waiting already: the oldest go first."""
        return self._inner.dropped

    @property
    def gaps(self) -> int:
        """How often the connection to Redis was lost meanwhile, and with it what was published before it was back."""
        return self._inner.gaps if self._memory.shared else 0

    async def _next(self, runtime: Runtime, deadline: float | None = None) -> Message | None:
        """The next message; None where the subscription is over or time is up."""
        while True:
            # After `fork`, what this listens to is no more.
            if self._closed or self._hub is not self._memory.hub:
                return None
            taken = self._inner.take()
            if taken is not None:
                return Message(*taken)
            if self._memory.shared:
                left = seconds_left(deadline)
                if self._inner.closed or left == 0:
                    return None
                arrived = self._inner.arrived(left)
                if self._memory.waits:
                    await arrived
                continue
            bell = runtime.bell()
            waiting = self._inner.notify(bell.ring)
            if waiting is None:
                continue
            try:
                if not await bell.wait(seconds_left(deadline)):
                    return None
            finally:
                waiting.leave()

    def end(self) -> None:
        """Stops listening, and wakes who waits."""
        if not self._closed:
            self._closed = True
            if self._hub is self._memory.hub:
                self._inner.close()


class Subscription(_Subscription):
    """An async iterator over the messages of some channels; also `async with`, which ends it.

    It listens from the moment it was made, so nothing that is published in this event loop between `subscribe` and the first step
    is lost. Over Redis `async with` waits until it hears other processes, too, where Redis can be reached; where it cannot, or the
    connection is lost, listening goes on once it is back, and what was published meanwhile is lost.
    """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        message = await self._next(ASYNCIO)
        if message is None:
            raise StopAsyncIteration
        return message

    async def __aenter__(self) -> Self:
        if self._memory.shared:
            await self._inner.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.end()

    async def close(self) -> None:
        """Stops listening: the iteration ends, also one that is waiting."""
        self.end()


class SyncSubscription(_Subscription):
    """An iterator over the messages of some channels; also `with`, which ends it."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        message = self.next()
        if message is None:
            raise StopIteration
        return message

    def next(self, timeout: float | None = None) -> Message | None:
        """The next message; None when `timeout` seconds have passed, or it was closed."""
        return complete(self._next(BLOCKING, deadline_in(timeout)))

    def __enter__(self) -> Self:
        if self._memory.shared:
            self._inner.ready()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def close(self) -> None:
        """Stops listening: the iteration ends, also one that is waiting in another thread."""
        self.end()
