"""The cache of an application: opened with it, closed with it, and asked for by its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypeAlias

from fastapi import Depends
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from donjon._cache import Cache
from donjon._process import get_cache

__all__ = ["CacheDep", "current_cache", "lifespan"]

_NAME = "donjon_cache"


@asynccontextmanager
async def lifespan(app: Starlette, cache: Cache | None = None) -> AsyncIterator[None]:
    """Opens the cache while the application runs: `FastAPI(lifespan=donjon.fastapi.lifespan)`.

    Inside a lifespan of your own, which may bring a cache of its own: `async with lifespan(app, cache): yield`.

    Args:
        cache: What `CacheDep` and cached responses use. None: `donjon.get_cache()`, made from the `CACHE_` variables.

    Raises:
        ConfigError: A `CACHE_` variable is wrong.
    """
    opened = get_cache() if cache is None else cache
    async with opened:
        setattr(app.state, _NAME, opened)
        try:
            yield
        finally:
            delattr(app.state, _NAME)


def current_cache(connection: HTTPConnection) -> Cache:
    """The cache that `lifespan` opened for this application; `donjon.get_cache()` without one."""
    cache: Cache | None = getattr(connection.app.state, _NAME, None)
    return get_cache() if cache is None else cache


CacheDep: TypeAlias = Annotated[Cache, Depends(current_cache)]
"""A parameter of a route that is the application's cache: `async def route(cache: CacheDep)`."""
