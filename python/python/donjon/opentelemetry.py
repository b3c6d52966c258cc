"""OpenTelemetry (extra `donjon[otel]`): a span for each load and each invalidation.

    from donjon.opentelemetry import instrument

    instrument()          # once, when the process starts

A hit makes no span: it takes less time than one. Keys and values are in no span, as they may be somebody's data.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from opentelemetry import trace

from ._cache import Cache
from ._runtime import ASYNCIO, BLOCKING
from ._sync import SyncCache

__all__ = ["instrument", "uninstrument"]

_INVALIDATIONS = ("clear", "delete", "delete_many", "emit", "invalidate_pattern", "invalidate_tags")
_undo: list[Callable[[], None]] = []


def instrument(tracer_provider: trace.TracerProvider | None = None) -> None:
    """Has every cache of this process make spans; a second call changes the provider.

    `donjon.load` is the time that a loader takes, with the loader's name; one that fails is marked so. `donjon.delete`,
    `donjon.invalidate_pattern` and so on are invalidations, with the namespace, the backend and how many values left.

    Args:
        tracer_provider: None: the global one.
    """
    uninstrument()
    tracer = trace.get_tracer("donjon", tracer_provider=tracer_provider)
    for runtime in (type(ASYNCIO), type(BLOCKING)):
        _replace(runtime, "call", functools.partial(_load, tracer))
    for name in _INVALIDATIONS:
        _replace(Cache, name, functools.partial(_invalidation, tracer, name))
        _replace(SyncCache, name, functools.partial(_blocking_invalidation, tracer, name))


def uninstrument() -> None:
    """Ends it: no cache makes spans any longer."""
    while _undo:
        _undo.pop()()


def _replace(owner: type, name: str, wrap: Callable[[Any], Any]) -> None:
    plain = owner.__dict__[name]
    setattr(owner, name, functools.wraps(plain)(wrap(plain)))
    _undo.append(lambda: setattr(owner, name, plain))


def _load(tracer: trace.Tracer, plain: Any) -> Any:
    async def call(self: Any, load: Callable[..., Any], *args: Any) -> Any:
        function = load.func if isinstance(load, functools.partial) else load
        name = getattr(function, "__qualname__", type(function).__qualname__)
        with tracer.start_as_current_span("donjon.load", attributes={"code.function.name": name}):
            return await plain(self, load, *args)

    return call


def _invalidation(tracer: trace.Tracer, name: str, plain: Any) -> Any:
    async def invalidate(self: Cache, *args: Any, **kwargs: Any) -> Any:
        with tracer.start_as_current_span(f"donjon.{name}", attributes=_of(self)) as span:
            removed = await plain(self, *args, **kwargs)
            _note(span, removed)
            return removed

    return invalidate


def _blocking_invalidation(tracer: trace.Tracer, name: str, plain: Any) -> Any:
    def invalidate(self: SyncCache, *args: Any, **kwargs: Any) -> Any:
        with tracer.start_as_current_span(f"donjon.{name}", attributes=_of(self)) as span:
            removed = plain(self, *args, **kwargs)
            _note(span, removed)
            return removed

    return invalidate


def _of(cache: Cache | SyncCache) -> dict[str, str]:
    return {"donjon.namespace": cache.namespace, "donjon.backend": cache.backend}


def _note(span: trace.Span, removed: Any) -> None:
    span.set_attribute("donjon.removed", int(removed))
    span.set_attribute("donjon.queued", removed.queued)
