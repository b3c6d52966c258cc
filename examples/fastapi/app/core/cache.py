"""The cache of this process, and the two ways of using it that survive a change in the middle of a load.

`simple_cached` is the small decorator that every project ends up with. Its usual form (get, load, set) has a hole: a
load that read the old row before a change stores it after the invalidation, and the old value stays for its whole ttl.
`get_or_set`, which this one rests on, refuses that.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import wraps
from typing import ParamSpec, TypeVar

import donjon
from donjon import Cache
from donjon.fastapi import lifespan
from fastapi import FastAPI, HTTPException
from sqlalchemy.exc import SQLAlchemyError

logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_cache: Cache | None = None


def get_cache() -> Cache:
    """The cache of this process: the running application's; in a script, one that the `CACHE_` variables describe."""
    return _cache or donjon.get_cache()


@asynccontextmanager
async def running_cache(app: FastAPI, cache: Cache | None = None) -> AsyncIterator[Cache]:
    """Connect the cache while the application runs. Given none, it is made from the `CACHE_` variables."""
    global _cache
    _cache = opened = cache or Cache.from_env()
    try:
        async with lifespan(app, opened):
            yield opened
    finally:
        _cache = None


def simple_cached(
    key_builder: Callable[P, str], ttl: timedelta | str
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Cache what a function returns under the key that `key_builder` makes of its arguments. `None` counts as well."""

    def decorator(func: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @wraps(func)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            key = key_builder(*args, **kwargs)
            value: T = await get_cache().get_or_set(key, lambda: func(*args, **kwargs), ttl=ttl)
            return value

        return wrapper

    return decorator


async def or_directly(cached: Awaitable[T], direct: Callable[[], Awaitable[T]]) -> T:
    """What the cache answers; where the cache itself fails, what the database says.

    Errors of the database are the answer: asking it again would only add to its trouble.
    """
    try:
        return await cached
    except (HTTPException, SQLAlchemyError):
        raise
    except Exception as error:
        logger.warning("Cache failed, using direct query: %s", error)
        return await direct()
