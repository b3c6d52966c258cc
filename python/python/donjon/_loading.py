"""Which loads the running task is in the middle of.

A loader that asks for the very key it loads would wait for itself; it loads directly instead. Child tasks and threads that a
loader starts inherit the set, as they too are waited for.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar, Token
from typing import Protocol

__all__ = ["enter", "forget", "is_own", "leave", "owned"]

_Load = tuple[int, int]
# A load is known by what counts the tickets as well: two caches count theirs independently.
_loads: ContextVar[frozenset[_Load]] = ContextVar("donjon_loads", default=frozenset())


class Ticketed(Protocol):
    """A lease, or a place in the queue for one."""

    @property
    def ticket(self) -> int: ...


def enter(scope: object, lease: Ticketed) -> Token[frozenset[_Load]]:
    """Notes that this task loads under `lease`."""
    return _loads.set(_loads.get() | {(id(scope), lease.ticket)})


def leave(token: Token[frozenset[_Load]]) -> None:
    """Undoes `enter`."""
    # A coroutine that nobody finished is closed wherever the collector runs: there is nothing to undo in that context.
    with suppress(ValueError):
        _loads.reset(token)


def forget(scope: object, lease: Ticketed) -> None:
    """Undoes `enter` where its token is not at hand, as for a lease that left the function that took it."""
    _loads.set(_loads.get() - {(id(scope), lease.ticket)})


def is_own(scope: object, join: Ticketed) -> bool:
    """Whether waiting for `join` would be waiting for oneself."""
    loads = _loads.get()
    return bool(loads) and (id(scope), join.ticket) in loads


def owned(scope: object) -> list[int]:
    """The tickets of the loads that this task is in the middle of."""
    loads = _loads.get()
    return [ticket for counted, ticket in loads if counted == id(scope)] if loads else []
