"""What both faces of a cache, awaiting and blocking, offer in the same words, and what they share underneath."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar, overload

from ._backend import Backend, Mode
from ._cached import CachedCoroutine, CachedFunction, Decorator, make_cached
from ._donjon import MISS
from ._errors import DecodeError
from ._load import AS_EVER, Manner, at_hand, load, peek
from ._lookup import Hit, Miss
from ._plan import Options, Refresh, Tag
from ._remembered import ErrorTtls, remembered
from ._rules import Rules
from ._runtime import Runtime
from ._stats import CacheStats
from ._ttl import Ttl, span
from ._types import codec

__all__ = ["Face", "key_list"]

P = ParamSpec("P")
T = TypeVar("T")


class Face:
    """The part of a cache that never waits."""

    def __init__(self, memory: Backend) -> None:
        self._memory = memory
        self._waits = memory.waits
        self._shared = memory.shared

    def __repr__(self) -> str:
        closed = " closed" if self._memory.closed else ""
        return f"<{type(self).__name__} {self.backend} namespace={self.namespace}{closed}>"

    @property
    def namespace(self) -> str:
        """The prefix that keeps these keys apart from those of other applications."""
        return self._memory.namespace

    @property
    def backend(self) -> str:
        """Where values are kept, in the word that `CACHE_BACKEND` has for it: "memory" or "redis"."""
        return self._memory.name

    @property
    def enabled(self) -> bool:
        """The kill switch; True unless it was turned.

        While it is False, reads miss, stores are dropped and every caller loads for itself. Invalidations still take effect.
        """
        return self._memory.enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self._memory.enabled = enabled

    @property
    def rules(self) -> Rules:
        """The invalidation rules, which `emit` runs."""
        return Rules(self._memory)

    @overload
    def cached(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> CachedCoroutine[P, T]: ...
    @overload
    def cached(self, function: Callable[P, T], /) -> CachedFunction[P, T]: ...
    @overload
    def cached(
        self,
        template: str | None = None,
        /,
        *,
        ttl: Ttl | Callable[..., Ttl | None] | None = None,
        none_ttl: Ttl | None = None,
        grace: Ttl | None = None,
        tags: Sequence[Tag] = (),
        condition: Callable[..., object] | None = None,
        as_: Any = None,
        mode: Mode | None = None,
        refresh: Refresh = "caller",
        soft_timeout: float | None = None,
        timeout: float | None = None,
        errors: ErrorTtls | None = None,
    ) -> Decorator: ...

    def cached(
        self,
        template: Any = None,
        /,
        *,
        ttl: Ttl | Callable[..., Ttl | None] | None = None,
        none_ttl: Ttl | None = None,
        grace: Ttl | None = None,
        tags: Sequence[Tag] = (),
        condition: Callable[..., object] | None = None,
        as_: Any = None,
        mode: Mode | None = None,
        refresh: Refresh = "caller",
        soft_timeout: float | None = None,
        timeout: float | None = None,
        errors: ErrorTtls | None = None,
    ) -> Any:
        """Caches what a function or method returns, `async def` or `def`.

        Without a template, module, name and the arguments make the key, each of which then has to be text, a number, a date, a
        UUID, an Enum or None. Left out are `self`, requests, database sessions and connections, what FastAPI injects by
        `Depends`, and what is marked: `Annotated[T, NoKey]`. With a template those arguments count that it names.

        What is a function here takes what was returned, and the arguments of the call besides, where it has more than one
        parameter.

        Args:
            template: The key, such as `user:profile:{user_id}` or `user:{user.id}`. What is put in is escaped.
            ttl: As for `set`, or a function that gives it; None from there is the default.
            none_ttl: The time to live of None, where it is another than that of what was found; it has no grace then.
            grace: As for `set`.
            tags: As for `set`; each may be a template, in which `{result.team_id}` is of what was returned, or a function that
                gives one or several.
            condition: A function that says whether to store what was returned. Who waits for it gets it in any case.
            as_: The type that is returned. The default is what the annotation says. A function without either returns plain
                JSON: a `datetime` comes back as text, and from the first call on, so that no hit differs from a miss.
            mode: As for `get`.
            refresh: Who loads what is stale, within its grace: "caller", one of those who ask, or "background", a task beside
                them, so that nobody waits.
            soft_timeout: Seconds that a caller waits for a load where there is a stale value; then it gets that, and the load
                goes on beside it.
            timeout: Seconds after which a load fails, with LoadTimeout or the stale value.
            errors: Which exceptions are remembered, and for how long: `{NotFound: "30s"}`, as for `get_or_set`.

        Raises:
            InvalidTemplate: The template names no parameter, or one is needed.
            InvalidTtl: As for `set`.
            ConfigError: A load is to go on beside its caller, but the function is no `async def`, takes what ends with the
                request, or has no `grace`. One of `errors` cannot be made anew.

        Examples:
            >>> from donjon import Cache
            >>> cache = Cache.memory()
            >>> @cache.cached("square:{number}", ttl="5m")
            ... def square(number: int) -> int:
            ...     print("computing")
            ...     return number * number
            >>> square(4), square(4)
            computing
            (16, 16)
            >>> square.key(4), square.cache_info()
            ('square:4', CacheInfo(hits=1, misses=1))
            >>> square.invalidate(4)
            1
        """
        if callable(template):
            return make_cached(self._memory, template, Options())
        if template is not None and not isinstance(template, str):
            raise TypeError(f"cached takes a key template or stands above a function, not {type(template).__name__}")
        options = Options(
            template, ttl, none_ttl, grace, tags, condition, as_, mode, refresh, soft_timeout, timeout, errors
        )
        return lambda function: make_cached(self._memory, function, options)

    def stats(self) -> CacheStats:
        """A reading of the counters of this process."""
        return self._memory.stats()

    def reset_stats(self) -> None:
        """Sets the counters to zero; what counts the present, as `entries` does, stays."""
        self._memory.reset_stats()

    def get_hit_rate(self) -> float:
        """The share of look-ups that were answered, from 0.0 to 1.0."""
        return self.stats().hit_rate

    def get_miss_rate(self) -> float:
        """The share of look-ups that found nothing, from 0.0 to 1.0."""
        return self.stats().miss_rate

    def get_size(self) -> int:
        """How many values are kept in this process; what is kept in Redis is not counted."""
        return self.stats().entries

    # -- underneath
    async def _get_as(self, key: str, default: Any, as_: Any, mode: Mode | None) -> Any:
        value = await peek(self._memory, key, None if as_ is None else codec(as_), mode)
        return default if value is MISS else value

    async def _load(
        self,
        runtime: Runtime,
        key: str,
        loader: Callable[[], Any],
        ttl: Ttl | None,
        grace: Ttl | None,
        tags: Sequence[str],
        force_refresh: bool,
        as_: Any,
        mode: Mode | None,
        errors: ErrorTtls | None,
    ) -> Any:
        if not callable(loader):
            raise TypeError(f"the loader is called for the value: give a function, not {type(loader).__name__}")
        hit = self._memory.hit_in(mode)
        of = None if as_ is None else codec(as_)
        reader = None if of is None else of.fingerprint
        storing = self._memory.storing(ttl, grace, tags)
        manner = AS_EVER if errors is None else Manner(errors=remembered(self._memory, errors))
        since = self._memory.core.ticket() if force_refresh else None
        if self._shared and since is None and (value := hit(key, reader)) is not MISS:
            try:
                return value if of is None else of.read(value)
            except DecodeError as error:
                self._memory.tally.undecodable(key, error)
                since = self._memory.core.ticket()
        return await load(runtime, self._memory, key, loader, (), storing, of, since, manner)

    async def _fill(
        self, miss: Hit | Miss, value: Any, ttl: Ttl | None, grace: Ttl | None, tags: Sequence[str]
    ) -> bool:
        if not isinstance(miss, Miss):
            raise TypeError("fill takes the miss that `lookup` gave; a hit needs no filling")
        storing = self._memory.storing(ttl, grace, tags)
        lease = miss.take()
        try:
            filled = self._memory.fill(lease, value, storing)
            if self._waits:
                await filled
        except BaseException as error:
            lease.fail(error)
            raise
        return lease.stored

    def _add(self, key: str, value: Any, ttl: Ttl | None) -> Any:
        return self._memory.core.add(key, value, span(ttl))

    def _incr(self, key: str, by: int, ttl: Ttl | None) -> Any:
        return self._memory.core.incr(key, by, span(ttl))

    def _touch(self, key: str, ttl: Ttl) -> Any:
        return self._memory.core.touch(key, span(ttl))

    async def _get_many(self, keys: Iterable[str], mode: Mode | None) -> dict[str, Any]:
        keys = key_list(keys)
        near = at_hand(self._memory, keys, mode)
        rest = [key for key in keys if key not in near] if near else keys
        if near and not rest:
            return near
        found: Any = self._memory.core.get_many(rest)
        if self._waits:
            found = await found
        if not near:
            return found
        return {key: near[key] if key in near else found[key] for key in keys if key in near or key in found}

    def _hold_down(self, keys: Sequence[str], seconds: float) -> Any:
        return self._memory.hold_down(keys, seconds)

    def _lift(self, held: Sequence[tuple[str, Any]]) -> Any:
        return self._memory.lift(held)

    def _owes_nothing(self, at_most: float) -> Any:
        return self._memory.owes_nothing(at_most)

    def _publish(self, channel: str, message: Any, raw: bool) -> Any:
        return self._memory.hub.publish(channel, message, time.time(), raw)


def key_list(keys: Iterable[str]) -> Sequence[str]:
    """A list of what was given, where a lone key is a mistake: it would be taken letter by letter."""
    if isinstance(keys, str):
        raise TypeError(f"a list of keys is wanted, not one key: write [{keys!r}]")
    return keys if isinstance(keys, (list, tuple)) else list(keys)
