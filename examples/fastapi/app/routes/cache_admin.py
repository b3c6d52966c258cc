"""What the cache is doing, and invalidation by hand. For the admin only."""

from donjon.fastapi import admin_router

from app.core.security import require_admin
from app.services.stats_cache import StatsCache

router = admin_router(require_admin, prefix="/admin/cache")


@router.post("/invalidate/stats")
async def invalidate_stats() -> dict[str, str]:
    """Drop the statistics of jobs and files."""
    await StatsCache.invalidate_all()
    return {"status": "ok"}
