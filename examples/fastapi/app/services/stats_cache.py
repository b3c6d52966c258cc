"""Statistics, cached for a minute (`CACHE_TTL_STATS`) or until what they count changes."""

from donjon.statistics import Statistics, statistic
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import TypedDict

from app.core.database import all_as
from app.models import Document, Job


class JobStats(TypedDict):
    total: int
    queued: int
    running: int
    completed: int
    failed: int
    average_seconds: float | None


class FileStats(TypedDict):
    total: int
    waiting: int
    indexed: int
    failed: int
    bytes: int
    chunks: int


async def calculate_job_stats(session: AsyncSession) -> JobStats:
    seconds = (func.julianday(Job.finished_at) - func.julianday(Job.started_at)) * 86_400
    query = select(
        func.count().label("total"),
        *(
            func.count().filter(Job.status == status).label(status)
            for status in ("queued", "running", "completed", "failed")
        ),
        func.avg(seconds).label("average_seconds"),
    ).select_from(Job)
    (stats,) = await all_as(JobStats, session, query)
    return stats


async def calculate_file_stats(session: AsyncSession, user_id: int | None = None) -> FileStats:
    query = select(
        func.count().label("total"),
        *(func.count().filter(Document.status == status).label(status) for status in ("waiting", "indexed", "failed")),
        func.coalesce(func.sum(Document.bytes), 0).label("bytes"),
        func.coalesce(func.sum(Document.chunk_count), 0).label("chunks"),
    ).select_from(Document)
    if user_id is not None:
        query = query.where(Document.user_id == user_id)
    (stats,) = await all_as(FileStats, session, query)
    return stats


class StatsCache(Statistics):
    """Job and file statistics, the latter of one user or of all."""

    job_stats = statistic(calculate_job_stats, "jobs:stats", ttl="stats", invalidated_by=[Job], warm=True)
    file_stats = statistic(
        calculate_file_stats, "files:stats:{user_id}", ttl="stats", invalidated_by=[Document], warm=True
    )

    # The guide's names.
    get_job_stats, invalidate_job_stats = job_stats.get, job_stats.invalidate
    get_file_stats, invalidate_file_stats = file_stats.get, file_stats.invalidate
