"""Cached functions: what `@cache.cached` makes of a function or method.

Owns the shape of the result: a function stays a function, `async def` or `def` as it was, and so awaits nothing on a hit.
A method becomes a descriptor, so that `obj.method.invalidate(5)` means the method of `obj`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar, overload

from ._backend import Backend, Storing
from ._compile import automatic_key, is_method, template_key
from ._donjon import MISS
from ._errors import DecodeError
from ._load import load
from ._removed import Removed
from ._runtime import ASYNCIO, BLOCKING, Runtime, complete
from ._ttl import Ttl
from ._types import Decoder, annotation_decoder, decoder, return_type

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CacheInfo", "CachedCoroutine", "CachedFunction", "Decorator", "make_cached"]

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")


class CacheInfo(NamedTuple):
    """How the calls of one cached function went, in this process."""

    hits: int
    """Calls answered by a stored value."""
    misses: int
    """Calls that loaded, or waited for another's load."""


class CachedFunction(Protocol[P, T]):
    """A cached `def`: called like the function it stands for."""

    __wrapped__: Callable[P, T]
    """The function itself, past the cache."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T: ...

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], T], instance: S, owner: type | None = None
    ) -> CachedFunction[Q, T]: ...

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Removed:
        """Invalidates the value for these arguments; says whether there was one."""

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Loads anew for these arguments, whatever is stored."""

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key for these arguments."""

    def cache_info(self) -> CacheInfo:
        """How the calls went so far."""


class CachedCoroutine(Protocol[P, T]):
    """A cached `async def`: called like the function it stands for."""

    __wrapped__: Callable[P, Coroutine[Any, Any, T]]
    """The function itself, past the cache."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]: ...

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self: CachedCoroutine[Concatenate[S, Q], T], instance: S, owner: type | None = None
    ) -> CachedCoroutine[Q, T]: ...

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Removed:
        """Invalidates the value for these arguments; says whether there was one."""

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Loads anew for these arguments, whatever is stored."""

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key for these arguments."""

    def cache_info(self) -> CacheInfo:
        """How the calls went so far."""


class Decorator(Protocol):
    """Keeps the parameters and the result of what it decorates."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> CachedCoroutine[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> CachedFunction[P, T]: ...


def make_cached(
    memory: Backend,
    function: Callable[..., Any],
    template: str | None,
    ttl: Ttl | None,
    grace: Ttl | None,
    tags: Sequence[str],
    as_: Any,
) -> Any:
    """The cached form of `function`; the arguments are those of `Cache.cached`."""
    if not inspect.isfunction(function):
        raise TypeError(f"cached decorates functions and methods, not {type(function).__name__}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__qualname__} yields: only a function that returns one value can be cached")
    if isinstance(tags, str):
        raise TypeError(f"tags is a list of tags: write [{tags!r}]")
    awaits = inspect.iscoroutinefunction(function)
    memory = memory.awaiting if awaits else memory.blocking
    plan = _Plan(memory, function, template, memory.storing(ttl, grace, ()), tags, as_)
    made = _coroutine(plan) if awaits else _function(plan)
    return _Method(made) if is_method(function) else made


class _Plan:
    """What a cached function knows of itself."""

    __slots__ = ("as_", "decode", "function", "hits", "is_plain", "make_key", "memory", "misses", "storing", "tags")

    def __init__(
        self,
        memory: Backend,
        function: Callable[..., Any],
        template: str | None,
        storing: Storing,
        tags: Sequence[str],
        as_: Any,
    ) -> None:
        self.memory = memory
        self.function = function
        self.make_key = automatic_key(function) if template is None else template_key(function, template)
        self.storing = storing
        self.tags = [template_key(function, tag) for tag in tags]
        self.as_ = as_
        self.decode: Decoder | None = None
        self.is_plain: bool | None = None  # whether what is stored is what is returned; None before the first miss
        self.hits = 0
        self.misses = 0

    def resolve(self) -> None:
        """Finds out the type, when a call needs it: an annotation may name what is defined after the function."""
        self.decode = annotation_decoder(return_type(self.function)) if self.as_ is None else decoder(self.as_)
        self.is_plain = self.decode is None

    async def call(self, runtime: Runtime, key: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that the hot path could not answer; `value` is what is stored, or MISS."""
        if self.is_plain is None:
            self.resolve()
        since = None
        if value is not MISS:
            try:
                typed = value if self.decode is None else self.decode(value)
            except DecodeError as error:
                self.memory.tally.undecodable(key, error)
                since = self.memory.core.ticket()
            else:
                self.hits += 1
                return typed
        return await self.load(runtime, key, args, kwargs, since)

    async def refresh(self, runtime: Runtime, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.is_plain is None:
            self.resolve()
        return await self.load(runtime, self.make_key(*args, **kwargs), args, kwargs, self.memory.core.ticket())

    async def load(
        self, runtime: Runtime, key: str, args: tuple[Any, ...], kwargs: dict[str, Any], since: int | None
    ) -> Any:
        storing = self.storing
        if self.tags:
            storing = storing._replace(tags=lambda: [tag(*args, **kwargs) for tag in self.tags])
        function = partial(self.function, **kwargs) if kwargs else self.function
        if self.memory.shared:
            return await self.load_shared(runtime, key, function, args, storing, since)
        self.misses += 1
        return await load(runtime, self.memory, key, function, args, storing, self.decode, since)

    async def load_shared(
        self,
        runtime: Runtime,
        key: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        storing: Storing,
        since: int | None,
    ) -> Any:
        """Whether there was a value is known once the function was called, or was not."""
        before = self.misses

        def counted(*args: Any) -> Any:
            self.misses += 1
            return function(*args)

        value = await load(runtime, self.memory, key, counted, args, storing, self.decode, since)
        if self.misses == before:
            self.hits += 1
        return value

    def info(self) -> CacheInfo:
        return CacheInfo(self.hits, self.misses)


def _coroutine(plan: _Plan) -> Any:
    memory, make_key = plan.memory, plan.make_key

    async def cached(*args: Any, **kwargs: Any) -> Any:
        key = make_key(*args, **kwargs)
        value = memory.hit(key)
        if plan.is_plain and value is not MISS:
            plan.hits += 1
            return value
        return await plan.call(ASYNCIO, key, value, args, kwargs)

    async def invalidate(*args: Any, **kwargs: Any) -> Removed:
        removed = memory.delete(make_key(*args, **kwargs))
        return await removed if memory.waits else removed

    async def refresh(*args: Any, **kwargs: Any) -> Any:
        return await plan.refresh(ASYNCIO, args, kwargs)

    return _dressed(cached, plan, invalidate, refresh)


def _function(plan: _Plan) -> Any:
    memory, make_key = plan.memory, plan.make_key

    def cached(*args: Any, **kwargs: Any) -> Any:
        key = make_key(*args, **kwargs)
        value = memory.hit(key)
        if plan.is_plain and value is not MISS:
            plan.hits += 1
            return value
        return complete(plan.call(BLOCKING, key, value, args, kwargs))

    def invalidate(*args: Any, **kwargs: Any) -> Removed:
        return memory.delete(make_key(*args, **kwargs))

    def refresh(*args: Any, **kwargs: Any) -> Any:
        return complete(plan.refresh(BLOCKING, args, kwargs))

    return _dressed(cached, plan, invalidate, refresh)


def _dressed(cached: Any, plan: _Plan, invalidate: Any, refresh: Any) -> Any:
    update_wrapper(cached, plan.function)
    cached.invalidate = invalidate
    cached.refresh = refresh
    cached.key = plan.make_key
    cached.cache_info = plan.info
    return cached


class _Method:
    """A cached method, as the class has it: what it is called with begins with the instance."""

    def __init__(self, cached: Callable[..., Any]) -> None:
        self._cached = cached
        update_wrapper(self, cached.__wrapped__)  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._cached(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else _Bound(self._cached, instance)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cached, name)


class _Bound:
    """A cached method of one instance."""

    __slots__ = ("__self__", "_cached")

    def __init__(self, cached: Callable[..., Any], instance: object) -> None:
        self._cached = cached
        self.__self__ = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._cached(self.__self__, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._cached, name)
        return partial(attribute, self.__self__) if name in ("invalidate", "key", "refresh") else attribute
