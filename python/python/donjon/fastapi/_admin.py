"""What a cache is doing, and invalidation by hand, as routes for those who may; and how often a client may insist on a new load."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from donjon._errors import BackendUnavailable, ConfigError, DonjonError
from donjon._keys import key as make_key
from donjon._ttl import Ttl, span

from ._state import CacheDep

__all__ = ["admin_router", "force_refresh"]


def admin_router(auth: Callable[..., Any], *, prefix: str = "/cache") -> APIRouter:
    """Routes for whoever looks after the cache: `app.include_router(admin_router(require_admin), prefix="/admin")`.

    | route | what it does |
    |---|---|
    | `GET /cache/stats` | hit rate, miss rate, size, backend, and everything else that is counted |
    | `GET /cache/explain?key=` | where a key's entry stands, and why its last value left |
    | `POST /cache/invalidate?key=` or `?pattern=` or `?tag=` | invalidates, and says how many values left |
    | `GET /cache/health` | 200 while the backend answers, else 503 |

    Args:
        auth: The dependency that lets through whom it may and raises for all others. It runs before each of these routes.
        prefix: What their paths begin with.

    Raises:
        ConfigError: `auth` is no function: these routes are not for everybody.
    """
    if not callable(auth):
        raise ConfigError(
            "admin_router is mounted behind a dependency that says who may use it: admin_router(require_admin), "
            f"not {type(auth).__name__}"
        )
    router = APIRouter(prefix=prefix, tags=["admin"], dependencies=[Depends(auth)])

    @router.get("/stats")
    async def get_cache_stats(cache: CacheDep) -> dict[str, Any]:
        """Hit rate, miss rate and size, then everything else that is counted, of this process."""
        return {
            "hit_rate": cache.get_hit_rate(),
            "miss_rate": cache.get_miss_rate(),
            "size": cache.get_size(),
            "cache_backend": cache.backend,
            "details": dataclasses.asdict(cache.stats()),
        }

    @router.get("/explain")
    async def explain(key: str, cache: CacheDep) -> dict[str, Any]:
        """Where an entry stands: its tier, its age, how long it stays fresh, its tags, why the last look missed."""
        try:
            facts = await cache.explain(key)
        except DonjonError as error:
            raise _refused(error) from None
        return {name: None if fact == math.inf else fact for name, fact in facts.items()}

    @router.post("/invalidate")
    async def invalidate(
        cache: CacheDep,
        key: str | None = None,
        pattern: str | None = None,
        tag: Annotated[list[str] | None, Query()] = None,
    ) -> dict[str, Any]:
        """Drop a key, every key that matches a pattern such as `user:*`, or everything that carries one of the tags."""
        if [key, pattern, tag].count(None) != 2:
            raise HTTPException(422, "say what to invalidate: one of key, pattern and tag")
        try:
            if key is not None:
                removed = await cache.delete(key)
            elif pattern is not None:
                removed = await cache.invalidate_pattern(pattern)
            else:
                removed = await cache.invalidate_tags(*tag or ())
        except DonjonError as error:
            raise _refused(error) from None
        return {"removed": removed, "queued": removed.queued}

    @router.get("/health")
    async def health(cache: CacheDep, response: Response) -> dict[str, Any]:
        """Whether the backend answers. While it does not, loaders run and nothing else fails."""
        answers = await cache.ping()
        response.status_code = 200 if answers else 503
        return {"status": "ok" if answers else "down", "cache_backend": cache.backend, "enabled": cache.enabled}

    return router


def force_refresh(every: Ttl = 1.0) -> Callable[..., Any]:
    """A dependency for `?force_refresh=true`, which is granted once in a while only.

        @router.get("/status")
        async def status(refresh: Annotated[bool, Depends(force_refresh("5s"))], cache: CacheDep) -> Status:
            return await cache.get_or_set("status", load_status, force_refresh=refresh)

    Refreshes that are asked for at once load once in any case; this bounds how many follow each other, for all processes that
    share the cache and for all clients together. Whoever comes too soon gets a 429 that says when to try again.

    Args:
        every: The time from one refresh of a path to the next.

    Raises:
        InvalidTtl: As for `Cache.set`.
    """
    span(every)

    async def granted(request: Request, cache: CacheDep, force_refresh: bool = False) -> bool:
        if not force_refresh or not cache.enabled:  # switched off, each request loads anyway
            return force_refresh
        mark = make_key("force_refresh", request.url.path)
        try:
            if await cache.add(mark, 1, ttl=every):
                return True
            left = await cache.ttl(mark)
        except BackendUnavailable:
            return True  # as each request loads while it is away
        raise HTTPException(
            429, "this was refreshed a moment ago", {"Retry-After": str(max(1, math.ceil(left or 0.0)))}
        )

    return granted


def _refused(error: DonjonError) -> HTTPException:
    return HTTPException(503 if isinstance(error, BackendUnavailable) else 422, str(error))
