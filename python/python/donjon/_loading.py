"""Which loads the running task is in the middle of.

A loader that asks for the very key it loads would wait for itself; it loads directly instead. Child tasks and threads that a
loader starts inherit the set, as they too are waited for.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar, Token

from . import _donjon

__all__ = ["enter", "forget", "is_own", "leave"]

_Load = tuple[int, int]
# A load is known by its core as well: two caches count their tickets independently.
_loads: ContextVar[frozenset[_Load]] = ContextVar("donjon_loads", default=frozenset())


def enter(core: _donjon.Core, lease: _donjon.Lease) -> Token[frozenset[_Load]]:
    """Notes that this task loads under `lease`."""
    return _loads.set(_loads.get() | {(id(core), lease.ticket)})


def leave(token: Token[frozenset[_Load]]) -> None:
    """Undoes `enter`."""
    # A coroutine that nobody finished is closed wherever the collector runs: there is nothing to undo in that context.
    with suppress(ValueError):
        _loads.reset(token)


def forget(core: _donjon.Core, lease: _donjon.Lease) -> None:
    """Undoes `enter` where its token is not at hand, as for a lease that left the function that took it."""
    _loads.set(_loads.get() - {(id(core), lease.ticket)})


def is_own(core: _donjon.Core, join: _donjon.Join) -> bool:
    """Whether waiting for `join` would be waiting for oneself."""
    loads = _loads.get()
    return bool(loads) and (id(core), join.ticket) in loads
