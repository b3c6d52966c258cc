"""Cached functions: what `@cache.cached` makes of a function or method.

Owns the shape of the result: a function stays a function, `async def` or `def` as it was, and so awaits nothing on a hit.
A method becomes a descriptor, so that `obj.method.invalidate(5)` means the method of `obj`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from ._arguments import is_method
from ._backend import Backend
from ._donjon import MISS, Unproven
from ._errors import DecodeError
from ._load import peek
from ._plan import CacheInfo, Options, Plan
from ._removed import Removed
from ._runtime import ASYNCIO, BLOCKING, complete

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CachedCoroutine", "CachedFunction", "Decorator", "make_cached"]

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
T = TypeVar("T")


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

    def get(self, *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What is stored for these arguments, without a load; None where that is nothing."""

    def set(self, value: T, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Stores `value` for these arguments, as if the function had returned it."""

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

    async def get(self, *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What is stored for these arguments, without a load; None where that is nothing."""

    async def set(self, value: T, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Stores `value` for these arguments, as if the function had returned it."""

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


def make_cached(memory: Backend, function: Callable[..., Any], options: Options) -> Any:
    """The cached form of `function`."""
    if not inspect.isfunction(function):
        raise TypeError(f"cached decorates functions and methods, not {type(function).__name__}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__qualname__} yields: only a function that returns one value can be cached")
    awaits = inspect.iscoroutinefunction(function)
    plan = Plan(memory.awaiting if awaits else memory.blocking, function, options, awaits=awaits)
    made = _coroutine(plan) if awaits else _function(plan)
    return _Method(made) if is_method(function) else made


def _coroutine(plan: Plan) -> Any:
    memory, make_key = plan.memory, plan.make_key

    async def invalidate(*args: Any, **kwargs: Any) -> Removed:
        removed = memory.delete(make_key(*args, **kwargs))
        return await removed if memory.waits else removed

    async def refresh(*args: Any, **kwargs: Any) -> Any:
        return await plan.refresh(ASYNCIO, args, kwargs)

    async def get(*args: Any, **kwargs: Any) -> Any:
        value = await _peek(plan, args, kwargs)
        return None if value is MISS else value

    async def set_(value: Any, /, *args: Any, **kwargs: Any) -> None:
        stored = plan.stored(value, args, kwargs)
        if memory.waits:
            await stored

    return _dressed(_call(plan, "async def", "await $plan.call($ASYNCIO,"), plan, invalidate, refresh, get, set_)


def _function(plan: Plan) -> Any:
    memory, make_key = plan.memory, plan.make_key

    def invalidate(*args: Any, **kwargs: Any) -> Removed:
        return memory.delete(make_key(*args, **kwargs))

    def refresh(*args: Any, **kwargs: Any) -> Any:
        return complete(plan.refresh(BLOCKING, args, kwargs))

    def get(*args: Any, **kwargs: Any) -> Any:
        value = complete(_peek(plan, args, kwargs))
        return None if value is MISS else value

    def set_(value: Any, /, *args: Any, **kwargs: Any) -> None:
        plan.stored(value, args, kwargs)

    return _dressed(_call(plan, "def", "$complete($plan.call($BLOCKING,"), plan, invalidate, refresh, get, set_)


def _call(plan: Plan, kind: str, otherwise: str) -> Callable[..., Any]:
    """The function itself. A hit ends in it: no other call but that for the value, and that which makes it of its type."""
    hit = "$memory.hit" if plan.mode is None else "$memory.hit_in($mode)"
    body = f"""
$value = {hit}($key, $plan.reader)
if $value is not $MISS and $type($value) is not $Unproven:
    if $plan.is_plain:
        $plan.hits += 1
        return $value
    if $plan.trust is not None:
        try:
            $typed = $plan.trust($value)
        except $DecodeError:
            pass
        else:
            $plan.hits += 1
            return $typed
return {otherwise} $key, $value, $args, $kwargs){")" * (otherwise.count("(") - 1)}
"""
    names = {"plan": plan, "memory": plan.memory, "mode": plan.mode, "MISS": MISS, "Unproven": Unproven}
    names |= {"DecodeError": DecodeError}
    return plan.keys.within(kind, body, names | {"ASYNCIO": ASYNCIO, "BLOCKING": BLOCKING, "complete": complete})


async def _peek(plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if plan.is_plain is None:
        plan.resolve()
    return await peek(plan.memory, plan.make_key(*args, **kwargs), plan.codec, plan.mode)


def _dressed(cached: Any, plan: Plan, invalidate: Any, refresh: Any, get: Any, set_: Any) -> Any:
    update_wrapper(cached, plan.function)
    cached.invalidate = invalidate
    cached.refresh = refresh
    cached.get = get
    cached.set = set_
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
        if name == "set":
            return lambda value, /, *args, **kwargs: attribute(value, self.__self__, *args, **kwargs)
        return partial(attribute, self.__self__) if name in ("get", "invalidate", "key", "refresh") else attribute
