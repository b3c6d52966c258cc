"""The cache of this process."""

from __future__ import annotations

import os
import threading

from ._cache import Cache

__all__ = ["get_cache"]

_cache: Cache | None = None
_making = threading.Lock()


def get_cache() -> Cache:
    """The one cache of this process, made by `Cache.from_env` when it is first asked for.

    A child of `fork` has the same object, empty: what it stores is its own.

    Raises:
        ConfigError: A `CACHE_` variable is wrong.

    Examples:
        >>> get_cache() is get_cache()
        True
    """
    global _cache
    if _cache is not None:
        return _cache
    with _making:
        if _cache is None:
            cache = Cache.from_env()
            cache.announce()
            _cache = cache
    return _cache


def _forget_lock() -> None:
    # A thread that the child does not have may hold it.
    global _making
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
