"""The cache of this process, and what is noticed about the process when a cache starts."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._cache import Cache

__all__ = ["get_cache", "worker_count"]

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
            from ._cache import Cache

            cache = Cache.from_env()
            cache.announce()
            _cache = cache
    return _cache


def worker_count(environment: Mapping[str, str] | None = None, command: Sequence[str] | None = None) -> int:
    """How many worker processes the server was told to start, as far as its usual ways of being told show; else 1.

    Examples:
        >>> worker_count({"WEB_CONCURRENCY": "4"}, ["uvicorn", "app:app"])
        4
        >>> worker_count({}, ["/usr/bin/gunicorn", "-w", "2", "app:app"])
        2
    """
    environment = os.environ if environment is None else environment
    command = sys.argv if command is None else command
    told = [environment.get("WEB_CONCURRENCY", "")]
    if command:
        # A worker that was spawned has its parent's command line; `python -m uvicorn` shows its package's file.
        program = PurePath(command[0])
        servers = {"uvicorn", "gunicorn", "hypercorn", "granian", "fastapi"}
        if servers & {program.stem, program.parent.name}:
            for option, following in zip(command[1:], [*command[2:], ""], strict=True):
                if option in ("-w", "--workers"):
                    told.append(following)
                elif option.startswith(("-w", "--workers=")):
                    told.append(option.removeprefix("--workers=").removeprefix("-w"))
    return max((int(count) for count in told if count.isdecimal()), default=1)


def _forget_lock() -> None:
    # A thread that the child does not have may hold it.
    global _making
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
