"""How the background is doing."""

from typing import Annotated, Any

from donjon.fastapi import force_refresh as once_in_a_while
from fastapi import APIRouter, Depends, Query

from app.core.cache import get_cache, or_directly
from app.core.database import SessionDep
from app.core.security import require_admin
from app.routes import Id
from app.services import jobs
from app.services.stats_cache import StatsCache, calculate_file_stats, calculate_job_stats

router = APIRouter(tags=["jobs"])
admin = APIRouter(prefix="/admin", tags=["admin"], dependencies=[Depends(require_admin)])

ForceRefresh = Annotated[bool, Depends(once_in_a_while("1s"))]


@admin.get("/jobs/status")
async def get_job_status(session: SessionDep, force_refresh: ForceRefresh) -> dict[str, Any]:
    """Statistics of all jobs; `force_refresh` counts anew."""
    stats = await or_directly(
        StatsCache.get_job_stats(session, force_refresh=force_refresh), lambda: calculate_job_stats(session)
    )
    return {"status": "ok", "data": stats, "cached": not force_refresh, "cache_backend": get_cache().backend}


@admin.get("/files/status")
async def get_file_status(
    session: SessionDep, force_refresh: ForceRefresh, user_id: Id | None = None
) -> dict[str, Any]:
    """Statistics of the files of one user, or of all."""
    stats = await or_directly(
        StatsCache.get_file_stats(session, user_id, force_refresh=force_refresh),
        lambda: calculate_file_stats(session, user_id),
    )
    return {"status": "ok", "data": stats, "cached": not force_refresh, "cache_backend": get_cache().backend}


@router.get("/stats")
async def get_stats(session: SessionDep) -> dict[str, Any]:
    """What the start page shows."""
    return {
        "jobs": await or_directly(StatsCache.get_job_stats(session), lambda: calculate_job_stats(session)),
        "files": await or_directly(StatsCache.get_file_stats(session), lambda: calculate_file_stats(session)),
    }


@router.get("/jobs")
async def list_jobs(session: SessionDep, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> list[jobs.JobInfo]:
    """The newest first."""
    return await or_directly(jobs.list_jobs(session, limit), lambda: jobs.load_jobs(session, limit))
