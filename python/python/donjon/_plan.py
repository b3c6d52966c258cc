"""Plan: what a cached function knows of itself: its keys, how its values are stored, and how its loads go.

Must not know what shape the function has; what its calls share with each other is here, and what they await.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from ._arguments import left_out
from ._backend import Backend, Mode, Storing, check_mode, tag_list
from ._compile import key_source, result_tag, template_key
from ._donjon import MISS, check_tags
from ._errors import ConfigError, DecodeError, LoadTimeout
from ._load import Manner, load
from ._remembered import ErrorTtls, remembered
from ._runtime import Runtime
from ._ttl import Ttl
from ._types import Codec, annotation_codec, codec, return_type

__all__ = ["CacheInfo", "Options", "Plan", "Refresh", "Tag"]

Refresh = Literal["caller", "background"]
"""Who loads what is stale: one of those who ask, or a task that nobody waits for."""

Tag = str | Callable[..., str | Iterable[str]]
"""A tag, a template of one, or a function that makes some of what was returned."""


class Options(NamedTuple):
    """What `Cache.cached` was told: see there."""

    template: str | None = None
    ttl: Ttl | Callable[..., Ttl | None] | None = None
    none_ttl: Ttl | None = None
    grace: Ttl | None = None
    tags: Sequence[Tag] = ()
    condition: Callable[..., object] | None = None
    as_: Any = None
    mode: Mode | None = None
    refresh: Refresh = "caller"
    soft_timeout: float | None = None
    timeout: float | None = None
    errors: ErrorTtls | None = None


class CacheInfo(NamedTuple):
    """How the calls of one cached function went, in this process."""

    hits: int
    """Calls answered by what is stored."""
    misses: int
    """Calls that loaded, or waited for another's load."""


class Plan:
    """A cached function without its shape."""

    def __init__(self, memory: Backend, function: Callable[..., Any], options: Options, *, awaits: bool) -> None:
        if isinstance(options.tags, str):
            raise TypeError(f"tags is a list of tags: write [{options.tags!r}]")
        check_mode(options.mode)
        _check_timing(function, options, awaits)
        self.memory = memory
        self.function = function
        self.mode = options.mode
        self.reader: int | None = None
        self.codec: Codec | None = None
        self.trust: Callable[[Any], Any] | None = None  # how what has the fingerprint is read, where that takes work
        self.is_plain: bool | None = None  # whether what is stored is what is returned; None before the first miss
        self.hits = 0
        self.misses = 0
        self._as = options.as_
        self.keys = key_source(function, options.template)
        self.make_key = self.keys.alone()

        ttl = options.ttl
        self._ttl = _of_result(ttl) if callable(ttl) else None
        self._storing = memory.storing(None if callable(ttl) else ttl, options.grace, ())
        self._none_seconds = None if options.none_ttl is None else memory.seconds(options.none_ttl)
        self._condition = None if options.condition is None else _of_result(options.condition)
        self._tags: list[Callable[..., str]] = []
        self._late_tags: list[Callable[..., Any]] = []
        for tag in options.tags:
            late = _of_result(tag) if callable(tag) else result_tag(function, tag)
            if late is not None:
                self._late_tags.append(late)
            else:
                self._tags.append(template_key(function, tag))  # type: ignore[arg-type]
        self._settles = bool(self._ttl or self._condition or self._late_tags or self._none_seconds is not None)
        self._loads = function if options.timeout is None else _limited(function, options.timeout)
        background = 0.0 if options.refresh == "background" else None
        self._manner = Manner(
            late_tags=bool(self._late_tags),
            aside_after=options.soft_timeout if background is None else background,
            errors=remembered(memory, options.errors),
        )
        self._counts = memory.shared or self._manner.errors is not None

    def resolve(self) -> None:
        """Finds out the type, when a call needs it: an annotation may name what is defined after the function."""
        self.codec = annotation_codec(return_type(self.function)) if self._as is None else codec(self._as)
        self.reader = None if self.codec is None else self.codec.fingerprint
        self.is_plain = self.codec is None or self.codec.is_plain
        self.trust = None if self.codec is None or self.is_plain or self.reader is None else self.codec.trust

    def read(self, key: str, value: Any) -> Any:
        """What a stored value is to the caller; MISS where it is none of the type."""
        try:
            if self.is_plain is None:
                self.resolve()
                # Nobody asked yet what it was made from.
                return value if self.codec is None else self.codec.check(value)
            return value if self.codec is None else self.codec.read(value)
        except DecodeError as error:
            self.memory.tally.undecodable(key, error)
            return MISS

    async def call(self, runtime: Runtime, key: str, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that the hot path could not answer; `value` is what is stored, or MISS."""
        since = None
        if value is not MISS:
            typed = self.read(key, value)
            if typed is not MISS:
                self.hits += 1
                return typed
            since = self.memory.core.ticket()
        return await self.load(runtime, key, args, kwargs, since)

    async def refresh(self, runtime: Runtime, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Loads anew, or joins a load that began after this call."""
        return await self.load(runtime, self.make_key(*args, **kwargs), args, kwargs, self.memory.core.ticket())

    async def load(
        self, runtime: Runtime, key: str, args: tuple[Any, ...], kwargs: dict[str, Any], since: int | None
    ) -> Any:
        """The value, loaded by one caller for all; of who has it already where it is not at hand."""
        if self.is_plain is None:
            self.resolve()
        storing = self._storing
        if self._tags:
            storing = storing._replace(tags=partial(self._named, args, kwargs))
        manner = self._manner
        if self._settles:
            manner = manner._replace(settle=partial(self._settled, storing, args, kwargs))
        function = partial(self._loads, **kwargs) if kwargs else self._loads
        before = self.misses
        if self._counts:
            # Whether there was something is known once the function was called, or was not.
            function = self._counted(function)
        else:
            self.misses += 1
        try:
            return await load(runtime, self.memory, key, function, args, storing, self.codec, since, manner)
        finally:
            if self._counts and self.misses == before:
                self.hits += 1

    def stored(self, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Stores `value` as if the function had returned it, whatever its condition says; gives what storing gives."""
        if self.is_plain is None:
            self.resolve()
        storing = self._storing._replace(tags=partial(self._named, args, kwargs))
        sealed = value if self.codec is None else self.codec.seal(value)
        settled = self._terms(storing, args, kwargs, value)
        return self.memory.store(self.make_key(*args, **kwargs), sealed, settled, self.reader)

    def info(self) -> CacheInfo:
        """How the calls went so far."""
        return CacheInfo(self.hits, self.misses)

    # -- underneath
    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            self.misses += 1
            return function(*args)

        return counted

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
        """The tags that the arguments say."""
        return [tag(*args, **kwargs) for tag in self._tags]

    def _settled(self, storing: Storing, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> Storing | None:
        """How to store what was returned; None where it is not to be."""
        if self._condition is not None and not self._condition(value, *args, **kwargs):
            return None
        return self._terms(storing, args, kwargs, value)

    def _terms(self, storing: Storing, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> Storing:
        if value is None and self._none_seconds is not None:
            storing = storing._replace(ttl=self._none_seconds, grace=None)
        elif self._ttl is not None:
            ttl = self._ttl(value, *args, **kwargs)
            storing = storing._replace(ttl=None if ttl is None else self.memory.seconds(ttl))
        tags = list(storing.tag_names())
        for late in self._late_tags:
            said = late(value, *args, **kwargs)
            tags += [said] if isinstance(said, str) else tag_list(said)
        check_tags(tags)
        return storing._replace(tags=tags)


def _of_result(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of what was returned, to be called with the arguments of the call besides: those are for who takes them."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # of what C wrote, such as `bool`, not always known
        return lambda value, /, *args, **kwargs: function(value)
    takes = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if len(takes) != 1 or any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return function
    return lambda value, /, *args, **kwargs: function(value)


def _check_timing(function: Callable[..., Any], options: Options, awaits: bool) -> None:
    """Refuses what cannot be kept."""
    name = function.__qualname__
    if options.refresh not in ("caller", "background"):
        raise ConfigError(f'`refresh` is "caller" or "background", not {options.refresh!r}')
    for option in ("soft_timeout", "timeout"):
        seconds = getattr(options, option)
        if seconds is not None and (isinstance(seconds, bool) or not 0 < seconds < float("inf")):
            raise ConfigError(f"`{option}` is a number of seconds above 0, not {seconds!r}")
        if seconds is not None and not awaits:
            raise ConfigError(f"{name} cannot be left alone while it runs: `{option}` is for `async def`")
    if options.refresh == "background" and not awaits:
        raise ConfigError(f'{name} has no event loop to run beside its caller: refresh="background" is for `async def`')
    if options.refresh == "background" or options.soft_timeout is not None:
        option = 'refresh="background"' if options.refresh == "background" else "soft_timeout"
        for argument, why in left_out(function).items():
            if why.of_request:
                raise ConfigError(
                    f"{name} takes {why.why}, `{argument}`, which ends with its request, before a load that goes on beside "
                    f"it: open one in the function itself, or leave {option} out"
                )
        if options.grace is None:
            raise ConfigError(f"{option} serves what is stale meanwhile: say by `grace` for how long that may be")


def _limited(function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """As the coroutine function, but it fails after that time."""
    late = (
        f"{function.__qualname__} took longer than its `timeout` of {seconds:g} s: raise it, or serve stale by `grace`"
    )

    async def limited(*args: Any, **kwargs: Any) -> Any:
        if sys.version_info < (3, 11):
            try:
                return await asyncio.wait_for(function(*args, **kwargs), seconds)
            except asyncio.TimeoutError:
                raise LoadTimeout(late) from None
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await function(*args, **kwargs)
        except TimeoutError:
            if limit.expired():
                raise LoadTimeout(late) from None
            raise

    return limited
