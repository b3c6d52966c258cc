"""What the cache is doing, and invalidation by hand. For the admin only."""

import dataclasses
from typing import Any

from donjon import DonjonError
from fastapi import APIRouter, Depends, HTTPException

from app.core.cache import get_cache
from app.core.security import require_admin
from app.services.stats_cache import StatsCache

router = APIRouter(prefix="/admin/cache", tags=["admin"], dependencies=[Depends(require_admin)])


@router.get("/stats")
async def get_cache_stats() -> dict[str, Any]:
    """Hit rate, miss rate and size, then everything else that is counted."""
    cache = get_cache()
    return {
        "hit_rate": cache.get_hit_rate(),
        "miss_rate": cache.get_miss_rate(),
        "size": cache.get_size(),
        "cache_backend": cache.backend,
        "details": dataclasses.asdict(cache.stats()),
    }


@router.get("/explain")
async def explain(key: str) -> dict[str, Any]:
    """Where an entry stands: its tier, its age, how long it stays fresh, its tags, why the last look missed."""
    try:
        return await get_cache().explain(key)
    except DonjonError as error:
        raise HTTPException(422, str(error)) from None


@router.post("/invalidate")
async def invalidate(pattern: str) -> dict[str, int]:
    """Drop every key that matches, such as `user:*`."""
    try:
        return {"removed": await get_cache().invalidate_pattern(pattern)}
    except DonjonError as error:
        raise HTTPException(422, str(error)) from None


@router.post("/invalidate/stats")
async def invalidate_stats() -> dict[str, str]:
    """Drop the statistics of jobs and files."""
    await StatsCache.invalidate_all_stats()
    return {"status": "ok"}
