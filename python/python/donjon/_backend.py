"""What the backends have in common, and what the faces ask of one.

A call of a backend gives its outcome, or, where `waits` says so, what is to be awaited for it.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Literal, NamedTuple, Protocol

from . import _donjon
from ._errors import CacheClosed
from ._keys import text
from ._notices import Tally
from ._stats import CacheStats
from ._ttl import Ttl, grace_span, span

__all__ = ["AS_USUAL", "Backend", "Mode", "Storing", "Tags", "check_mode", "listed", "tag_list"]

Mode = Literal["local", "strong"]
"""How fresh an answer has to be. "local": memory in front of Redis may answer, at most two seconds behind what others change, usually
under a millisecond. "strong": Redis answers. Where there is one place to look, both mean the same."""

Tags = Sequence[str] | Callable[[], Sequence[str]]
"""Tags, or what makes them when they are needed."""


class Storing(NamedTuple):
    """How a loaded value is to be stored."""

    ttl: float | None = None
    grace: float | None = None
    tags: Tags = ()

    def tag_names(self) -> Sequence[str]:
        return self.tags() if callable(self.tags) else self.tags


AS_USUAL: Final = Storing()


class Listener(Protocol):
    """Who waits for messages or a lock, and has to be told when there will be no more."""

    def end(self) -> None: ...


class _Closed:
    """Takes the place of what a closed cache worked with."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by who inspects, not by who calls
            raise AttributeError(name)
        raise CacheClosed("the cache is closed: connect() opens it again, empty")

    def refuse(self, *args: object) -> Any:
        return self.__getattr__("core")


CLOSED: Final[Any] = _Closed()


class Backend:
    """What `Cache` and `SyncCache` share, and all that both do without waiting."""

    name: ClassVar[str]
    """The word that `CACHE_BACKEND` has for it."""
    shared: ClassVar[bool] = False
    """Whether other processes store there, too."""
    waits: ClassVar[bool] = False
    """Whether calls are to be awaited."""

    core: Any
    get: Callable[..., Any]
    hit: Callable[..., Any]
    """A value at hand, as fresh as this cache's calls are to be answered where they do not say; or MISS. Takes the reader's
    fingerprint after the key."""
    locks: Any
    hub: Any

    def __init__(self, namespace: str, enabled: bool) -> None:
        self.namespace: Final = namespace
        self.closed = False
        self.listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self.tally = Tally()
        self.aside: set[asyncio.Task[Any]] = set()
        """Loads that nobody waits for."""
        self._enabled = enabled
        self._rules: list[tuple[str, Sequence[str], Sequence[str], Sequence[str]]] = []
        self._build()
        _live.add(self)

    def _build(self) -> None:
        """Makes the inner state anew."""
        raise NotImplementedError

    # -- the whole of it
    @property
    def awaiting(self) -> Backend:
        """The same for asyncio code."""
        return self

    @property
    def blocking(self) -> Backend:
        """The same for threads."""
        return self

    @property
    def scope(self) -> object:
        """What counts the tickets of the loads."""
        return self.core

    def open(self) -> None:
        """Makes a closed cache usable again, empty."""
        if self.closed:
            self.closed = False
            self._build()

    def close(self) -> Awaitable[None] | None:
        """What is used afterwards raises CacheClosed."""
        self.closed = True
        self.core = CLOSED
        self.get = self.hit = CLOSED.refuse
        return None

    def start_anew(self) -> None:
        """Goes on with an inner state that no other process has touched."""
        _inherited.append(dict(vars(self)))
        if not self.closed:
            self._build()

    @contextmanager
    def set_aside(self, clock: _donjon.ManualClock) -> Iterator[None]:
        """Puts an empty inner state in the place of the present one meanwhile; for tests."""
        raise NotImplementedError
        yield

    @property
    def enabled(self) -> bool:
        return self._enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        if not self.closed:
            self.core.enabled = enabled
        self._enabled = enabled

    def ping(self) -> Any:
        """Whether it answers."""
        return True

    # -- reads
    def hit_in(self, mode: Mode | None) -> Callable[..., Any]:
        """As `hit`, for a call that says how fresh its answer has to be.

        Raises:
            ValueError: There is no such mode.
        """
        check_mode(mode)
        return self.hit

    # -- writes
    def set(self, key: str, value: Any, ttl: Ttl | None, grace: Ttl | None, tags: Sequence[str]) -> Any:
        return self.core.set(key, value, span(ttl), grace_span(grace), tag_list(tags))

    def set_many(self, items: Mapping[str, Any], ttl: Ttl | None, grace: Ttl | None, tags: Sequence[str]) -> Any:
        return self.core.set_many(items, span(ttl), grace_span(grace), tag_list(tags))

    def store(self, key: str, value: Any, storing: Storing, made_from: int | None = None) -> Any:
        """As `set`, with what was found good before, and the fingerprint of its type."""
        return self.core.set(key, value, storing.ttl, storing.grace, storing.tag_names(), made_from)

    def fill(self, lease: Any, value: Any, storing: Storing) -> Any:
        """Stores what was loaded, and gives the copy that a reader would get."""
        return lease.fill(value, storing.ttl, storing.grace, storing.tag_names())

    def pass_on(self, lease: Any, value: Any, storing: Storing) -> Any:
        """Gives what was loaded to those who wait, stores nothing, and gives the copy that a reader would get."""
        return lease.pass_on(value)

    def remember(self, lease: Any, said: Any, storing: Storing) -> Any:
        """Stores how a load failed."""
        return lease.remember(said, storing.ttl, storing.tag_names())

    def fill_many(self, pairs: list[tuple[Any, Any]], storing: Storing) -> Any:
        """As `fill` for each pair of lease and value."""
        return [self.fill(lease, value, storing) for lease, value in pairs]

    def seconds(self, ttl: Ttl) -> float:
        """What a time to live means here; `math.inf` for ever.

        Raises:
            InvalidTtl: It is none.
        """
        seconds: float = self.core.seconds(span(ttl))
        return seconds

    def storing(self, ttl: Ttl | None, grace: Ttl | None, tags: Tags) -> Storing:
        """How to store what a loader is about to load, found good before it runs."""
        if ttl is None and grace is None and not tags:
            return AS_USUAL
        seconds = None if ttl is None else self.seconds(ttl)
        grace_seconds = None if grace is None else self.core.grace_seconds(grace_span(grace))
        if not callable(tags):
            tags = tag_list(tags)
            _donjon.check_tags(tags)
        return Storing(seconds, grace_seconds, tags)

    # -- invalidation
    def delete(self, key: str) -> Any:
        return self.core.delete(key)

    def delete_many(self, keys: Iterable[str]) -> Any:
        return self.core.delete_many(listed(keys))

    def invalidate_pattern(self, pattern: str) -> Any:
        return self.core.invalidate_pattern(pattern)

    def invalidate_tags(self, tags: Sequence[str]) -> Any:
        return self.core.invalidate_tags(tags)

    def clear(self) -> Any:
        return self.core.clear()

    def hold_down(self, keys: Sequence[str], seconds: float) -> Any:
        """Marks keys that are about to change: nobody stores what they load for them, even if this process dies. Gives what `lift` takes.

        Memory dies with its process, and marks nothing.
        """
        return [None] * len(keys)

    def lift(self, held: Sequence[tuple[str, Any]]) -> Any:
        """Invalidates keys that were marked."""
        return self.delete_many([key for key, _ in held])

    def owes_nothing(self, at_most: float) -> Any:
        """Waits until all invalidations were said; false where that takes longer."""
        return True

    # -- events
    def on(self, event: str, keys: Iterable[str], patterns: Iterable[str], tags: Iterable[str]) -> None:
        rule = (event, listed(keys), listed(patterns), listed(tags))
        self.core.on(*rule)
        self._rules.append(rule)

    def emit(self, event: str, params: Mapping[str, object]) -> Any:
        return self.core.emit(event, {name: text(value) for name, value in params.items()})

    # -- the rest
    def stats(self) -> CacheStats:
        tally = self.tally
        return CacheStats.of(
            self.core.stats(), stale_on_error=tally.stale_on_error, undecodable=tally.undecodable_values
        )

    def reset_stats(self) -> None:
        self.tally.reset()
        self.core.reset_stats()


def check_mode(mode: Mode | None) -> None:
    """Refuses what is none.

    Raises:
        ValueError: There is no such mode.
    """
    if mode not in (None, "local", "strong"):
        raise ValueError(f"mode is 'local' or 'strong', not {mode!r}")


def listed(texts: Iterable[str]) -> list[str]:
    """A list of what was given, where a lone text is a mistake: it would be taken letter by letter."""
    if isinstance(texts, str):
        raise TypeError(f"a list of texts is wanted, not one text: write [{texts!r}]")
    return list(texts)


def tag_list(tags: Iterable[str]) -> Sequence[str]:
    return tags if isinstance(tags, (list, tuple)) else listed(tags)


_live: weakref.WeakSet[Backend] = weakref.WeakSet()
_inherited: list[object] = []


def _start_anew() -> None:
    for backend in list(_live):
        backend.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
