"""Statistics: computed values that are declared once, with their key, their time to live and what makes them untrue.

    class StatsCache(Statistics):
        job_stats = statistic(count_jobs, "jobs:stats", ttl="stats", invalidated_by=[Job], warm=True)
        file_stats = statistic(count_files, "files:stats:{user_id}", ttl="stats", invalidated_by=["document.*"])

    StatsCache.bind(cache, invalidation)                            # when the application starts
    await StatsCache.warm(session=session)

    await StatsCache.job_stats(session)
    await StatsCache.file_stats.get(session, user_id=5, force_refresh=True)
    await StatsCache.file_stats.invalidate(user_id=5)               # of this user; without arguments, of all
    await StatsCache.invalidate_all()

The arguments that count are those that the key names; a session is simply not named. One caller computes for all who ask
meanwhile, and what was computed from before a change is not stored after it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar, get_type_hints

from . import _donjon
from ._cache import Cache
from ._errors import ConfigError, InvalidTemplate
from ._keys import part
from ._process import get_cache
from ._removed import Removed
from ._ttl import Ttl, grace_span, span

if TYPE_CHECKING:
    from .sqlalchemy import Invalidation

__all__ = ["Statistic", "Statistics", "statistic"]

P = ParamSpec("P")
T = TypeVar("T")


class Statistic(Generic[P, T]):
    """One declared value; `statistic` makes it. Called as the function that computes it is."""

    def __init__(
        self,
        compute: Callable[P, Awaitable[T]],
        key: str,
        ttl: Ttl | None,
        grace: Ttl | None,
        invalidated_by: Sequence[str | type],
        warm: bool,
    ) -> None:
        if not inspect.iscoroutinefunction(compute):
            raise TypeError(f"a statistic is computed by an `async def` function, not by {compute!r}")
        span(ttl)
        grace_span(grace)
        self.compute = compute
        """The function itself, past the cache; tests may put another in its place."""
        self._declared_as = compute
        self.invalidated_by = tuple(invalidated_by)
        self.warmed = warm
        self._ttl, self._grace = ttl, grace
        self._key = key
        self._template = _donjon.Template(key)
        self._parameters = inspect.signature(compute).parameters
        for name in self._template.names:
            if name not in self._parameters:
                raise InvalidTemplate(f"{key!r} names {name!r}, which is no parameter of {compute.__qualname__}")
        self.pattern = self._template.pattern({})
        """Matches its key, whatever the arguments."""
        self._cache: Cache | None = None
        self._cached: Any = None

        @functools.wraps(compute)
        async def computed(*args: P.args, **kwargs: P.kwargs) -> T:
            return await self.compute(*args, **kwargs)

        self._computed = computed

    def bind(self, cache: Cache) -> None:
        """Keeps it in this cache from now on."""
        self._computed.__annotations__ = _return_of(self._declared_as)
        self._cache = cache
        self._cached = cache.cached(self._key, ttl=self._ttl, grace=self._grace)(self._computed)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The value, computed where none is kept."""
        value: T = await self._in_cache()(*args, **kwargs)
        return value

    def get(self, *args: Any, force_refresh: bool = False, **kwargs: Any) -> Coroutine[Any, Any, T]:
        """As a call. With `force_refresh` it is computed anew, and that is what others get from then on."""
        cached = self._in_cache()
        value: Coroutine[Any, Any, T] = (cached.refresh if force_refresh else cached)(*args, **kwargs)
        return value

    def key(self, **named: object) -> str:
        """The key for these arguments; those that it names and that are not given have their defaults.

        Raises:
            TypeError: One has no default.
        """
        parts = {}
        for name in self._template.names:
            value = named[name] if name in named else self._parameters[name].default
            if value is inspect.Parameter.empty:
                raise TypeError(f"{self._key!r} needs {name!r}")
            parts[name] = part(value)
        return self._template.render(parts)

    async def invalidate(self, **named: object) -> Removed:
        """Invalidates the value for these arguments; without any, for all."""
        cache = self._bound()
        if named:
            return await cache.delete(self.key(**named))
        return await (cache.invalidate_pattern(self.pattern) if self._template.names else cache.delete(self._key))

    async def warm(self, **given: Any) -> None:
        """Computes it where none is kept, from those of the given arguments that it takes."""
        await self._in_cache()(**{name: given[name] for name in self._parameters if name in given})

    def _bound(self) -> Cache:
        if self._cache is None:
            self.bind(get_cache())
        assert self._cache is not None
        return self._cache

    def _in_cache(self) -> Any:
        self._bound()
        return self._cached


def _return_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Its return annotation, with the meaning that it has where the function was defined; the others may be a type checker's alone.

    Raises:
        NameError: It names what is not there at run time.
    """
    returned = {name: said for name, said in function.__annotations__.items() if name == "return"}
    return get_type_hints(SimpleNamespace(__annotations__=returned), function.__globals__, include_extras=True)


def statistic(
    compute: Callable[P, Awaitable[T]],
    key: str,
    *,
    ttl: Ttl | None = None,
    grace: Ttl | None = None,
    invalidated_by: Sequence[str | type] = (),
    warm: bool = False,
) -> Statistic[P, T]:
    """Declares a value that `compute` gives.

    Args:
        compute: An `async def` function. Its annotation says of which type a hit is, as for `Cache.cached`.
        key: A template over its parameters, such as `files:stats:{user_id}`.
        ttl: As for `Cache.set`.
        grace: As for `Cache.set`.
        invalidated_by: Events, such as `job.*`, and mapped classes: what makes every value of it untrue.
        warm: Whether `Statistics.warm` computes it.

    Raises:
        TypeError: `compute` is no `async def` function.
        InvalidTemplate: The key cannot be read, or names no parameter.
        InvalidTtl: As for `Cache.set`.
    """
    if isinstance(invalidated_by, (str, type)):
        raise TypeError(f"invalidated_by is a list: write [{invalidated_by!r}]")
    return Statistic(compute, key, ttl, grace, invalidated_by, warm)


class Statistics:
    """The base of a class whose attributes are statistics.

    Examples:
        >>> import asyncio
        >>> async def count_users() -> int:
        ...     print("counting")
        ...     return 2
        >>> class StatsCache(Statistics):
        ...     users = statistic(count_users, "stats:users", ttl="1m", invalidated_by=["user.*"])
        >>> async def main() -> None:
        ...     async with Cache.memory() as cache:
        ...         StatsCache.bind(cache)
        ...         print(await StatsCache.users(), await StatsCache.users())
        ...         await cache.emit("user.created", id=3)
        ...         print(await StatsCache.users())
        >>> asyncio.run(main())
        counting
        2 2
        counting
        2
    """

    _declared: ClassVar[dict[str, Statistic[Any, Any]]] = {}

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Statistic)}
        cls._declared = {**cls._declared, **own}

    @classmethod
    def bind(cls, cache: Cache, invalidation: Invalidation | None = None) -> None:
        """Keeps them in this cache from now on, and has its events and these sessions' commits invalidate them.

        Without it they are in `donjon.get_cache()`, and nothing but time and hand makes them go.

        Raises:
            ConfigError: One is invalidated by a mapped class, and there is no `invalidation` to tell of its changes.
        """
        for name, declared in cls._declared.items():
            for cause in declared.invalidated_by:
                if isinstance(cause, str):
                    cache.rules.on(cause, patterns=[declared.pattern])
                elif invalidation is not None:
                    invalidation.on(cause, patterns=[declared.pattern])
                else:
                    raise ConfigError(
                        f"{cls.__qualname__}.{name} is invalidated by {cause.__qualname__}: give `bind` the `Invalidation` of its sessions"
                    )
            declared.bind(cache)

    @classmethod
    async def invalidate_all(cls) -> Removed:
        """Invalidates all of them."""
        removed = [await declared.invalidate() for declared in cls._declared.values()]
        total = Removed(sum(removed))
        total.queued = any(one.queued for one in removed)
        return total

    @classmethod
    async def warm(cls, **given: Any) -> None:
        """Computes those that are declared with `warm=True`, each from the given arguments that it takes: `warm(session=session)`."""
        for declared in cls._declared.values():
            if declared.warmed:
                await declared.warm(**given)
